//! Recording hops: Delegate and RecordHop. SPEC 3.5, 6.2: P1, P2, P4, P5.
//!
//! Both use one decision: the hops of a chain that are not recorded yet are checked one by one and
//! recorded. For a chain that is recorded already the same grant is returned and nothing is
//! written: both are idempotent on hop ids.

use std::sync::Arc;

use crate::base::id::{HopId, UnixMillis};
use crate::decide::authority::chain::{check_revocations, check_time, principal_alive, subjects};
use crate::decide::authority::issue::check_room;
use crate::decide::caller::{Caller, Kind};
use crate::decide::{Context, Decision, Grant, Operation};
use crate::evidence::record::{Body, HopRecord};
use crate::refusal::Deny;
use crate::state::{AgentState, Mutation, Precondition, RecordedHop, RowKey};
use crate::token::BlockPayload;
use crate::token::SignedBlock;
use crate::token::narrow;
use crate::token::verify::{Holder, VerifiedToken, is_same_holder};

/// A holder makes the last hop of a chain, and has it recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// The verified chain, with the new hop last.
    pub token: Arc<VerifiedToken>,
}

/// Records a chain whose last hops were made offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHop {
    /// The verified chain.
    pub token: Arc<VerifiedToken>,
}

/// The result of recording.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recording {
    /// The id of the last hop, for which the receipt is.
    pub hop: HopId,
    /// How many hops were recorded now; 0 when all were recorded before.
    pub recorded: u32,
}

impl Operation for Delegate {
    type Granted = Recording;
    const METHOD: &'static str = "/sublet.v1.Delegation/Delegate";

    fn describe(&self) -> String {
        describe(&self.token)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Recording> {
        // The caller must be the holder that signed the last block, by name; the keys may differ
        // after a rotation.
        let holders = holders(&self.token);
        let maker = holders.len().checked_sub(2).and_then(|before| holders.get(before));
        check_caller(cx.caller, maker.or(holders.last()).into_iter())?;
        if self.token.depth() == 0 && cx.view.state.delegation(&self.token.delegation()).is_some() {
            return Err(Deny::HopNotFound);
        }
        record(cx, &self.token)
    }

    fn receipt(recording: &Recording) -> Option<HopId> {
        Some(recording.hop)
    }
}

impl Operation for RecordHop {
    type Granted = Recording;
    const METHOD: &'static str = "/sublet.v1.Delegation/RecordHop";

    fn describe(&self) -> String {
        describe(&self.token)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Recording> {
        // The caller must be a holder in the chain.
        check_caller(cx.caller, holders(&self.token).iter())?;
        record(cx, &self.token)
    }

    fn receipt(recording: &Recording) -> Option<HopId> {
        Some(recording.hop)
    }
}

fn describe(token: &VerifiedToken) -> String {
    let block = token.last().block();
    let scope = block.scope.iter().flat_map(|scope| scope.capabilities()).map(ToString::to_string);
    let scope: Vec<String> = scope.collect();
    format!(
        "hop {} of {} to {}, as the caller names it, with the key {}: {}",
        token.depth(),
        token.delegation(),
        token.holder(),
        token.holder_key().thumbprint(),
        scope.join(" | ")
    )
}

fn holders(token: &VerifiedToken) -> Vec<(HopId, Holder)> {
    token.hops().map(|(id, signed)| (id, holder(signed))).collect()
}

/// Refuses a caller that is none of these holders. Others learn nothing, not even whether the chain
/// is known.
fn check_caller<'a>(
    caller: &Caller,
    holders: impl Iterator<Item = &'a (HopId, Holder)>,
) -> Result<(), Deny> {
    let mut last = None;
    for (id, holder) in holders {
        let is_caller = match caller.kind() {
            Kind::Agent(identity) => *holder == identity.holder(),
            Kind::Holder(token) => *id == token.id(),
            Kind::Admin | Kind::Tainted(_) | Kind::NewKey(_) | Kind::User(_) => false,
        };
        if is_caller {
            return Ok(());
        }
        last = Some(holder);
    }
    let holder = last.map(ToString::to_string).unwrap_or_default();
    Err(Deny::NotTheHolder { holder, caller: caller.to_string() })
}

/// Records the hops of a chain that are not recorded yet, if the chain is valid.
fn record(cx: &Context<'_>, token: &VerifiedToken) -> Decision<Recording> {
    let delegation = token.delegation();
    let row = cx.view.state.delegation(&delegation);
    let row = row.ok_or(Deny::UnknownDelegation { id: delegation })?;
    check_time(token, cx.now)?;
    check_revocations(token, cx.view.state)?;
    let session = row.session.and_then(|id| cx.view.state.session(&id));
    if let Some(ended) = session.filter(|s| s.ended_at.is_some_and(|at| at >= row.issued_at)) {
        return Err(Deny::SessionEnded { session: ended.id });
    }
    let unchanged = session.map(Precondition::unchanged);
    let grant = new_hops(cx, token, row.fan_out_max)?;
    let grant = grant.requiring(unchanged).requiring(principal_alive(token));
    Ok(grant.not_revoked(subjects(token)))
}

/// Checks and records every hop of a chain that is not recorded yet. The caller has checked whether
/// the chain is valid, or does not need it.
pub(in crate::decide) fn new_hops(
    cx: &Context<'_>,
    token: &VerifiedToken,
    fan_out_max: u32,
) -> Decision<Recording> {
    let delegation = token.delegation();
    let blocks = token.signed_blocks();
    let known = token.hops().take_while(|(id, _)| cx.view.state.hop(id).is_some()).count();
    let mut grant = Grant::read(Recording { hop: token.id(), recorded: 0 });
    for (position, (id, signed)) in token.hops().enumerate().skip(known) {
        let before = position.checked_sub(1).ok_or(Deny::UnknownDelegation { id: delegation })?;
        let parent = blocks.get(before).ok_or(Deny::HopNotFound)?;
        narrow::check(parent.block(), signed.block(), before)?;
        let room = check_fan_out(cx, token.id_at(before), before, fan_out_max)?;
        let guard = check_recipient(cx, parent, signed, position)?;
        let row = row(token, id, position, (parent, signed));
        let record = grant.effects.records.len();
        let maker = &parent.block().agent;
        let own = blocks.iter().take(position).skip(known.saturating_sub(1));
        let own = own.filter(|before| before.block().agent == *maker).count();
        let own_room = check_room(cx.view, maker, u32::try_from(own).unwrap_or(u32::MAX))?;
        let body = Body::HopRecorded(hop_record(&row, signed));
        grant = grant
            .requiring(guard.into_iter().chain(room))
            .requiring([own_room, Precondition::absent(RowKey::Hop(id))])
            .changing([Mutation::RecordHop { hop: row, record }])
            .recording_in(delegation, cx.caller, body);
    }
    grant.granted.recorded = u32::try_from(grant.effects.records.len()).unwrap_or(u32::MAX);
    Ok(grant)
}

fn row(
    token: &VerifiedToken,
    id: HopId,
    position: usize,
    (parent, signed): (&SignedBlock, &SignedBlock),
) -> RecordedHop {
    let block = signed.block();
    RecordedHop {
        id,
        parent: position.checked_sub(1).and_then(|before| token.id_at(before)),
        delegation: token.delegation(),
        position: u32::try_from(position).unwrap_or(u32::MAX),
        agent: block.agent.clone(),
        helper: block.helper.clone(),
        key: signed.next_key().thumbprint(),
        expires_at: UnixMillis::from_seconds(block.not_after),
        maker: Some(parent.block().agent.clone()),
        index: 0,
    }
}

fn holder(signed: &SignedBlock) -> Holder {
    Holder { agent: signed.block().agent.clone(), helper: signed.block().helper.clone() }
}

/// Checks that the fan-out of the profile at the time of issue is not exceeded.
fn check_fan_out(
    cx: &Context<'_>,
    parent: Option<HopId>,
    hop: usize,
    allowed: u32,
) -> Result<Option<Precondition>, Deny> {
    let followers = parent.map_or(0, |parent| cx.view.state.followers(&parent));
    if followers >= allowed {
        return Err(Deny::FanOut { hop, followers, allowed });
    }
    Ok(parent.map(|parent| Precondition::FanOut(parent, allowed)))
}

/// Checks the key of a hop's recipient: an agent's current key, or its previous one within
/// `KEY_CHANGE_MS`; a helper's key must belong to no agent.
fn check_recipient(
    cx: &Context<'_>,
    parent: &SignedBlock,
    signed: &SignedBlock,
    hop: usize,
) -> Result<Option<Precondition>, Deny> {
    if is_same_holder(parent, signed) {
        return Ok(None);
    }
    let id = &signed.block().agent;
    let key = signed.next_key().thumbprint();
    if signed.block().helper.is_some() {
        return match cx.view.state.key_owner(&key) {
            Some(owner) => Err(Deny::HelperKeyInUse { hop, agent: owner.agent.clone() }),
            None => Ok(Some(Precondition::absent(RowKey::KeyOwner(key)))),
        };
    }
    let agent = cx.view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })?;
    if agent.state != AgentState::Active {
        return Err(Deny::AgentNotActive { agent: id.clone(), state: agent.state.name() });
    }
    if !agent.has(signed.next_key(), cx.now) {
        return Err(Deny::NotTheAgentsKey { hop, agent: id.clone() });
    }
    Ok(Some(Precondition::unchanged(agent)))
}

fn hop_record(row: &RecordedHop, signed: &SignedBlock) -> HopRecord {
    HopRecord {
        hop: row.id,
        parent: row.parent,
        position: row.position,
        holder: holder(signed),
        key: row.key,
        expires: signed.block().not_after,
        session: None,
        block: Some(BlockPayload::from(signed)),
    }
}
