//! Is it allowed? One pure function for each thing that can be asked. SPEC sections 3 to 7.
//!
//! `(view, caller, ask, now, entropy) → verdict`: no clock, no store, no random source. A verdict
//! says what is granted or refused, what shall be written, what shall be recorded, and what must
//! still hold when it is committed.
//!
//! Owns: the decisions. Does not own: who the caller is (`verify`, `caller`), the writing.

mod admin;
mod chain;
mod consent;
mod enroll;
mod former;
mod issue;
mod keys;
mod read;
mod record;
mod retain;
mod revoke;
mod uses;

pub use admin::{
    ApplyProfile, CreateAgent, CreateJoinToken, Created, Invitation, ResumeAgent, RevokeAgentKey,
    RevokeJoinToken, SuspendAgent, join_token_hash, split_join_token,
};
pub use chain::{check_holder_key, check_names};
pub use consent::{EndSessions, Ending, GrantSession, sweep_sessions};
pub use enroll::{Credential, Enroll, Renew, RotateKey, check_repeats, keeps_an_identity};
pub use former::{FORMER_KEYS_IN_FORCE_MAX, FORMER_KEYS_MAX, FormerKeys, RevokeFormerKeys};
pub use issue::{By, Issue};
pub use keys::{ChangeKey, turn_keys};
pub use read::{
    Inspect, InspectedHop, ListDelegations, Listed, LookupAgent, Page, ReadAdmin, ReadHead,
    ReadLedger, Replay, Replayed, WatchFeed,
};
pub use record::{RecordChain, Recording};
pub use retain::{Erase, PlaceHold, Prune, ReadRetention, ReleaseHold};
pub use revoke::{RestorePrincipal, Restored, Revoke, Target};
pub use uses::{
    ARGUMENTS_BYTES_MAX, ProvenUse, ReportUses, ReportedUse, SyncVerifier, USES_MAX, USES_NOT_TAKEN,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::block::Block;
use crate::bundle::{KeyUse, SignedBundle, TrustBundle, TrustedKey};
use crate::bytes::{domain, sha256};
use crate::caller::{Caller, Kind};
use crate::feed::Revocation;
use crate::id::{AgentId, HopId, Nonce, UnixMillis};
use crate::key::PublicKey;
use crate::no::Deny;
use crate::record::{
    ASKED_BYTES_MAX, BlockPayload, Body, Record, RecordedHolder, SAYS_BYTES_MAX, cut,
};
use crate::rotation::{NextBundle, Schedule};
use crate::state::{Guard, State, Write};
use crate::verify::{Holder, VerifiedToken};

/// What a decision may rest on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rows.
    pub state: &'a State,
    /// What the broker was set up with.
    pub settings: &'a Settings,
}

impl<'a> View<'a> {
    /// The trust bundle.
    pub fn trust(self) -> &'a TrustBundle {
        self.state.trust().bundle()
    }

    /// The key that signs for this use.
    fn signing(self, use_: KeyUse) -> Result<&'a TrustedKey, Deny> {
        self.trust().active(use_).ok_or(Deny::NoBrokerKey(use_.name()))
    }
}

/// What the broker was set up with, as far as decisions need it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an identity token lives.
    pub identity_ttl_seconds: i64,
    /// When the broker's keys change.
    pub schedule: Schedule,
    /// How many hops that live one agent may have made, its helpers counted in.
    pub hops_live_max: u32,
}

/// Fresh randomness for one decision: 32 bytes from which named parts are derived.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 32]);

impl Entropy {
    /// 32 bytes for one purpose.
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        let mut bytes = domain("entropy-v1");
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(purpose.as_bytes());
        sha256(&bytes)
    }

    /// A nonce for one purpose.
    pub fn nonce(&self, purpose: &str) -> Nonce {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.bytes(purpose);
        Nonce([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// A request that can be decided.
pub trait Ask: Clone + Send + Sync + 'static {
    /// What is granted.
    type Granted: Clone + Send + Serialize + DeserializeOwned + 'static;

    /// The full gRPC method path; also the action that the call proof binds.
    const METHOD: &'static str;

    /// What is asked, in one line, for the record of a refusal.
    fn asked(&self) -> String;

    /// Decides.
    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        entropy: &Entropy,
    ) -> Decision<Self::Granted>;

    /// Takes the token that the broker signed for [`Unsigned`] into what is granted.
    fn with_token(granted: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        let _ = token;
        granted
    }

    /// Whether what was granted is kept, for when the same request is sent again.
    const KEEPS: Keeps = Keeps::WhereThereIsRoom;

    /// What of the grant may be kept for a repeated request; `None` when it holds a secret.
    fn remembered(granted: &Self::Granted) -> Option<&Self::Granted> {
        Some(granted)
    }

    /// The identity token among what was granted, where it gives an agent one.
    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        let _ = granted;
        None
    }

    /// Whether what was granted then is an answer now; where it is none, the request is decided anew.
    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        let _ = (granted, view);
        true
    }
}

/// Whether an answer is kept for a repeated request. docs/decisions/0003.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// It is not: to ask again changes nothing.
    Nothing,
    /// For some minutes, where the caller's room for answers is not full.
    WhereThereIsRoom,
    /// Always: it gives an agent an identity, and each agent has room for the last one.
    TheIdentity,
}

/// Granted with its consequences, or refused.
pub type Decision<G> = Result<Grant<G>, Deny>;

/// A grant and its consequences.
#[derive(Clone, Debug)]
pub struct Grant<G> {
    /// What is granted.
    pub granted: G,
    /// What must still hold when it is committed.
    pub guards: Vec<Guard>,
    /// What the decision asked whether it was revoked, beside the caller's own token, and was not.
    pub alive: Vec<Revocation>,
    /// What is written.
    pub writes: Vec<Write>,
    /// What is recorded. Empty together with `writes` for reads, which leave no trace.
    pub records: Vec<Record>,
    /// What the broker must sign before it commits.
    pub unsigned: Option<Unsigned>,
}

/// What one of the broker's keys has to sign.
#[derive(Clone, Debug)]
pub enum Unsigned {
    /// A block 0.
    Block(Box<UnsignedBlock>),
    /// The next trust bundle.
    Trust(Box<NextBundle>),
}

/// A block 0 to be signed by one of the broker's root keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedBlock {
    /// The block.
    pub block: Block,
    /// The holder's key.
    pub holder_key: PublicKey,
    /// Which root signs.
    pub root: TrustedKey,
}

impl<G> Grant<G> {
    /// A grant that leaves no trace.
    pub fn read(granted: G) -> Self {
        Grant {
            granted,
            guards: Vec::new(),
            alive: Vec::new(),
            writes: Vec::new(),
            records: Vec::new(),
            unsigned: None,
        }
    }

    /// The same consequences of another grant.
    fn with<H>(self, granted: H) -> Grant<H> {
        let Grant { guards, alive, writes, records, unsigned, .. } = self;
        Grant { granted, guards, alive, writes, records, unsigned }
    }

    /// These consequences, and behind them those of another grant, whose writes name no records.
    fn and(mut self, next: Grant<G>) -> Self {
        self.guards.extend(next.guards);
        self.alive.extend(next.alive);
        self.writes.extend(next.writes);
        self.records.extend(next.records);
        self
    }

    fn guarded(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }

    /// Rests on it that none of these is revoked.
    fn resting_on(mut self, subjects: impl IntoIterator<Item = Revocation>) -> Self {
        self.alive.extend(subjects);
        self
    }

    fn writing(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        self.writes.extend(writes);
        self
    }

    fn recording(mut self, actor: &Caller, body: Body) -> Self {
        self.records.push(Record { delegation: None, actor: actor.actor(), body });
        self
    }

    fn recording_in(mut self, delegation: HopId, actor: &Caller, body: Body) -> Self {
        self.records.push(Record { delegation: Some(delegation), actor: actor.actor(), body });
        self
    }
}

/// A decision that was made: what the pipeline commits. Granted or refused, it is recorded.
#[must_use]
#[derive(Clone, Debug)]
pub struct Verdict<G> {
    /// Granted, or why not.
    pub outcome: Result<G, Deny>,
    /// What must still hold when it is committed.
    pub guards: Vec<Guard>,
    /// What is written.
    pub writes: Vec<Write>,
    /// What is recorded.
    pub records: Vec<Record>,
    /// What must be signed first.
    pub unsigned: Option<Unsigned>,
    /// Whether it is the refusal of a caller that is not alive, which is counted and not recorded.
    pub is_dead: bool,
}

/// Decides an authenticated request; a refusal becomes a record. The refusal of a caller that is not
/// alive does not: whoever holds a dead token could write as many as it likes.
pub fn decide<A: Ask>(
    view: View<'_>,
    caller: &Caller,
    ask: &A,
    now: UnixMillis,
    entropy: &Entropy,
) -> Verdict<A::Granted> {
    if let Err(deny) = chain::check_caller(view, caller, A::METHOD, now) {
        return match enroll::cloned(view, caller, A::METHOD, deny) {
            cloned @ Deny::IdentityCloned { .. } => refused(view, caller, ask, cloned),
            deny => Verdict::dead(deny),
        };
    }
    match ask.decide(view, caller, now, entropy) {
        Ok(grant) => granted(view, caller, grant),
        Err(deny) => refused(view, caller, ask, deny),
    }
}

fn granted<G>(view: View<'_>, caller: &Caller, grant: Grant<G>) -> Verdict<G> {
    let Grant { granted, mut guards, mut alive, writes, mut records, unsigned } = grant;
    if !writes.is_empty() {
        // What is granted rests on what was not revoked.
        alive.extend(chain::subjects_of_caller(caller));
        guards.extend(chain::principal_of_caller(caller));
        if !alive.is_empty() {
            guards.push(Guard::Alive(alive));
        }
    }
    if unsigned.is_some() {
        guards.push(Guard::Trust(view.trust().version()));
    }
    name_recorded(view, caller, &mut records);
    Verdict { outcome: Ok(granted), guards, writes, records, unsigned, is_dead: false }
}

fn refused<A: Ask>(view: View<'_>, caller: &Caller, ask: &A, deny: Deny) -> Verdict<A::Granted> {
    let body = Body::Refused {
        method: A::METHOD,
        code: deny.code(),
        says: cut(deny.to_string(), SAYS_BYTES_MAX),
        asked: cut(ask.asked(), ASKED_BYTES_MAX),
    };
    let delegation = match caller.kind() {
        Kind::Holder(token) => Some(token.delegation()),
        _ => None,
    };
    let delegation = delegation.filter(|id| view.state.delegation(id).is_some());
    let record = Record { delegation, actor: caller.actor(), body };
    let mut verdict = Verdict {
        outcome: Err(deny.clone()),
        guards: Vec::new(),
        writes: Vec::new(),
        records: vec![record],
        unsigned: None,
        is_dead: false,
    };
    if let Deny::IdentityCloned { agent } = &deny {
        lock(view, caller, agent, &mut verdict);
    }
    name_recorded(view, caller, &mut verdict.records);
    verdict
}

/// Says in each record whom the ledger knows the caller's chain by, where it does not know the caller's
/// own hop: the name of such a hop is the word of whoever made it.
fn name_recorded(view: View<'_>, caller: &Caller, records: &mut [Record]) {
    let Kind::Holder(token) = caller.kind() else { return };
    let own = token.id();
    // Parents are recorded first, so the last one that is known is the deepest.
    let last = token.hops().filter_map(|(id, _)| view.state.hop(&id)).last();
    let Some(last) = last.filter(|last| last.id != own) else { return };
    let holder = Holder { agent: last.agent.clone(), helper: last.helper.clone() };
    let known = RecordedHolder { hop: last.id, holder };
    for record in records {
        record.actor.recorded = Some(known.clone());
    }
}

/// Stops an agent of which somebody has a copy, in the commit that records it: that agent alone.
fn lock<G>(view: View<'_>, caller: &Caller, agent: &AgentId, verdict: &mut Verdict<G>) {
    let why = "two hold its key: one renewed with an identity that the other had renewed before";
    if let Ok(stopped) = admin::suspend(view, caller, agent, why, ()) {
        verdict.guards.extend(stopped.guards);
        verdict.writes.extend(stopped.writes);
        verdict.records.extend(stopped.records);
    }
}

impl<G> Verdict<G> {
    fn dead(deny: Deny) -> Self {
        Verdict {
            outcome: Err(deny),
            guards: Vec::new(),
            writes: Vec::new(),
            records: Vec::new(),
            unsigned: None,
            is_dead: true,
        }
    }

    /// Takes the signed block 0 in: its bytes lie beside the ledger's leaf.
    pub fn sign<A: Ask<Granted = G>>(mut self, token: &VerifiedToken) -> Self {
        self.unsigned = None;
        self.outcome = self.outcome.map(|granted| A::with_token(granted, token));
        for record in &mut self.records {
            if let Body::Issued(hop) = &mut record.body {
                hop.block = Some(BlockPayload::from(token.last()));
            }
        }
        self
    }

    /// Takes the signed bundle in, to be committed.
    pub fn with_trust(mut self, trust: SignedBundle) -> Self {
        self.unsigned = None;
        self.writes.push(Write::Trust(trust));
        self
    }

    /// Whether there is anything to commit.
    pub fn is_read(&self) -> bool {
        self.writes.is_empty() && self.records.is_empty()
    }
}

/// The enrolled agent that asks by its identity, or a refusal.
fn agent_only<'a>(view: View<'a>, caller: &Caller) -> Result<&'a crate::state::Agent, Deny> {
    let id = caller
        .agent()
        .ok_or(Deny::NotPermitted("only an enrolled agent may do this, with its identity token"))?;
    view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })
}

/// The admin, or a refusal.
fn admin_only(caller: &Caller) -> Result<(), Deny> {
    if caller.is_admin() { Ok(()) } else { Err(Deny::NotPermitted("only the admin may do this")) }
}

/// Whether an operator may name something so: 1 to 63 of a-z 0-9 -.
fn is_name(text: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(ok)
}

/// Whether the state says this is revoked.
fn is_revoked(view: View<'_>, revocation: Revocation) -> bool {
    view.state.revoked(&revocation).is_some()
}
