//! What the negative controls break on purpose: each property must notice its own.

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::caller::Caller;
use sublet_core::evidence::record::{Body, HopRecord, Record};
use sublet_core::refusal::Deny;
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{LedgerEnd, Mutation, RecordedHop, Row};
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::VerifiedToken;

use crate::ask::{Ask, Decided, Granted};

/// One thing that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// P1: a hop that is wider than its source is recorded.
    WiderHop,
    /// P1: a tool asks the last hop alone.
    LastHopAlone,
    /// P5: a tool does not count the hops that no receipt covers.
    AnyDepth,
    /// The row of an agent is not changed.
    NoRow,
    /// P2: the row of a hop ends later than its block.
    LongerHop,
    /// P2: a revocation is recorded and not applied.
    NoRevocation,
    /// P2: a chain that is revoked still gets hops.
    DeadHop,
    /// P3: records name another.
    AnotherActor,
    /// P3: the key of a caller is not asked.
    AnyKey,
    /// P4: another block lies beside the record of a hop.
    AnotherBlock,
    /// P5: a hop has no record.
    NoRecord,
    /// P5: after a restart the log begins one index too early.
    EarlyLog,
    /// P5: after a restart the time of the last record is forgotten.
    TimeForgotten,
    /// P6: a tool does not mind how old its view is.
    AnyAge,
    /// P7: a token is not what was signed.
    NoBiscuit,
    /// A restart loses a revocation.
    RevocationLost,
    /// A restart loses a hop.
    HopLost,
    /// What a decision rests on is not asked again at the commit.
    NoPreconditions,
    /// A hop is counted for another agent.
    AnotherMaker,
    /// The same request is recorded again.
    RecordsAgain,
    /// A refusal changes something.
    RefusalWrites,
}

impl Fault {
    /// A decision with this fault in it.
    pub(crate) fn decided(self, mut decided: Decided, ask: &Ask, caller: &Caller) -> Decided {
        let effects = &mut decided.effects;
        match self {
            Fault::WiderHop => {
                let code = decided.outcome.as_ref().err().map(Deny::code);
                if code == Some("scope_exceeds_parent") {
                    return recorded_all_the_same(decided, ask, caller);
                }
            }
            Fault::DeadHop => {
                let code = decided.outcome.as_ref().err().map(Deny::code);
                if matches!(code, Some("hop_revoked" | "agent_suspended" | "key_revoked")) {
                    return recorded_all_the_same(decided, ask, caller);
                }
            }
            Fault::LongerHop | Fault::AnotherMaker => {
                for mutation in &mut effects.mutations {
                    let Mutation::RecordHop { hop, .. } = mutation else { continue };
                    if self == Fault::LongerHop {
                        hop.expires_at = hop.expires_at.plus_ms(1_000);
                    } else {
                        hop.maker = Some(crate::cast::agent_id(0));
                    }
                }
            }
            Fault::NoRevocation => {
                effects.mutations.retain(|mutation| !matches!(mutation, Mutation::Revoke { .. }));
            }
            Fault::NoRow => {
                let is_agent = |mutation: &Mutation| matches!(mutation, Mutation::Put(row) if matches!(**row, Row::Agent(_)));
                if matches!(ask, Ask::SuspendAgent(_)) {
                    effects.mutations.retain(|mutation| !is_agent(mutation));
                }
            }
            Fault::AnotherActor => {
                for record in &mut effects.records {
                    record.actor.name = crate::cast::agent_id(0).to_string();
                }
            }
            Fault::AnotherBlock => {
                for record in &mut effects.records {
                    let Body::HopRecorded(HopRecord { block: Some(block), .. }) = &mut record.body
                    else {
                        continue;
                    };
                    block.payload.push(0);
                }
            }
            Fault::NoRecord => {
                effects.records.retain(|record| !matches!(record.body, Body::HopRecorded(_)));
            }
            Fault::NoPreconditions => effects.preconditions.clear(),
            Fault::RefusalWrites if decided.outcome.is_err() && !decided.is_dead => {
                let revocation = Revocation::AgentSuspended(crate::cast::agent_id(0));
                let expires_at = UnixMillis(i64::MAX);
                effects.mutations.push(Mutation::Revoke { revocation, expires_at });
            }
            _ => {}
        }
        decided
    }

    /// A restart with this fault in it.
    pub(crate) fn restarted(self, rows: &mut Vec<Row>, end: &mut LedgerEnd) {
        let lost = |row: &Row| match self {
            Fault::RevocationLost => matches!(row, Row::Revocation(_)),
            Fault::HopLost => matches!(row, Row::Hop(_)),
            _ => false,
        };
        if let Some(at) = rows.iter().position(lost) {
            rows.remove(at);
        }
        match self {
            Fault::EarlyLog => end.size = end.size.saturating_sub(1),
            Fault::TimeForgotten => end.last = UnixMillis(i64::MIN),
            _ => {}
        }
    }
}

/// The last hop of a chain is recorded, whatever was decided.
fn recorded_all_the_same(decided: Decided, ask: &Ask, caller: &Caller) -> Decided {
    let token = match ask {
        Ask::Delegate(op) => &op.token,
        Ask::RecordHop(op) => &op.token,
        _ => return decided,
    };
    let hop = last_hop(token);
    let block = token.last().block();
    let record = HopRecord {
        hop: hop.id,
        parent: hop.parent,
        position: hop.position,
        holder: token.holder(),
        key: hop.key,
        expires: block.not_after,
        session: None,
        block: Some(BlockPayload::from(token.last())),
    };
    let mut forged = decided;
    forged.effects.mutations = vec![Mutation::RecordHop { hop, record: 0 }];
    forged.effects.records = vec![Record {
        delegation: Some(token.delegation()),
        actor: caller.actor(),
        body: Body::HopRecorded(record),
    }];
    forged.is_dead = false;
    forged.outcome = Ok(Granted::Other);
    forged
}

fn last_hop(token: &VerifiedToken) -> RecordedHop {
    let position = token.depth();
    let before = usize::try_from(position).unwrap().checked_sub(1);
    RecordedHop {
        id: token.id(),
        parent: before.and_then(|before| token.id_at(before)),
        delegation: token.delegation(),
        position,
        agent: token.holder().agent,
        helper: token.holder().helper,
        key: token.holder_key().thumbprint(),
        expires_at: UnixMillis::from_seconds(token.last().block().not_after),
        maker: before
            .and_then(|before| token.signed_blocks().get(before))
            .map(|parent| parent.block().agent.clone()),
        index: 0,
    }
}
