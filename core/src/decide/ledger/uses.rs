//! Reports of tools: uses of authority, and the applied revocations. docs/DESIGN, "Evidence of
//! use".
//!
//! Invariants: a use is recorded only with the holder's signature over the call, under a chain
//! whose signatures all verify; a use that is reported twice is recorded once, by its counter; a
//! use that does not verify is recorded as the refusal of a report.

use crate::authorize::{Bound, prove_undated};
use crate::base::id::{AgentId, DelegationId, HopId, UnixMillis};
use crate::decide::authority::chain::check_names;
use crate::decide::{Context, Decision, Grant, Operation, View};
use crate::evidence::call::check_exact;
use crate::evidence::proof::{BadProof, CallProof};
use crate::evidence::record::{ASKED_BYTES_MAX, Body, SAYS_BYTES_MAX, UseEvidence, UseRecord, cut};
use crate::revocation::feed::FeedPosition;
use crate::state::{Mutation, Precondition, RowKey, State, Verifier};
use crate::token::BlockPayload;
use crate::token::verify::VerifiedToken;

/// The most uses in one report.
pub const USES_MAX: usize = 64;

/// The longest names of a tool and an action, and the longest code, in bytes. A ledger leaf has to
/// hold all three.
const NAMES_BYTES_MAX: [usize; 3] = [1024, 512, 64];

/// The largest arguments that are kept with a use, in bytes. For larger ones only the hash in the
/// proof is kept.
pub const ARGUMENTS_BYTES_MAX: usize = 16 * 1024;

/// A use as a tool reports it, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedUse {
    /// The tool's counter of the use, without a gap.
    pub counter: u64,
    /// The tool's audience.
    pub audience: String,
    /// The action of the call.
    pub action: String,
    /// The stable code of a refusal; empty when it was allowed.
    pub code: String,
    /// The tool's time of the decision.
    pub decided_at: UnixMillis,
    /// The position in the revocation feed that the tool had applied.
    pub revocations: FeedPosition,
    /// The age of the tool's revocation view in milliseconds; `None` when it had no head.
    pub age_ms: Option<i64>,
    /// The greatest age that the tool accepted, in milliseconds.
    pub staleness_ms_max: i64,
    /// The arguments as the tool read them, at most [`ARGUMENTS_BYTES_MAX`]; else empty.
    pub arguments: Vec<u8>,
    /// The call proof.
    pub proof: CallProof,
    /// The receipt that was shown; empty when none was.
    pub receipt: Vec<u8>,
}

/// A use whose signatures verify: the holder's over the call, and those of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUse {
    reported: ReportedUse,
    token: VerifiedToken,
}

impl ProvenUse {
    /// Verifies that the holder of this chain signed this call. The error says what does not hold.
    pub fn verify(reported: ReportedUse, token: VerifiedToken) -> Result<Self, String> {
        let named = [&reported.audience, &reported.action, &reported.code];
        if named.iter().zip(NAMES_BYTES_MAX).any(|(name, most)| name.len() > most) {
            return Err(format!("a tool, action or code of over {NAMES_BYTES_MAX:?} bytes"));
        }
        if reported.arguments.len() > ARGUMENTS_BYTES_MAX {
            return Err(format!("arguments of over {ARGUMENTS_BYTES_MAX} bytes"));
        }
        if token.is_identity() {
            return Err("an identity token opens no tool".to_owned());
        }
        // No tool decides such a call, so none can report one.
        check_exact(&reported.audience, &reported.action).map_err(|bad| bad.to_string())?;
        // For long arguments only the hash in the proof is kept.
        let call = Bound {
            audience: &reported.audience,
            action: &reported.action,
            arguments_hash: reported.proof.claims.arguments_hash,
        };
        prove_undated(&token, &reported.proof, &call).map_err(|bad| match bad {
            BadProof::Signature { .. } => "the holder's signature does not hold".to_owned(),
            bad => bad.to_string(),
        })?;
        Ok(ProvenUse { reported, token })
    }

    /// Returns whether every agent in its chain is proven to hold its hop ([`check_names`]).
    /// Otherwise nothing is recorded, because it would be recorded in that agent's name.
    pub fn names_hold(&self, state: &State) -> bool {
        check_names(&self.token, state).is_ok()
    }

    /// Returns the delegation that it belongs to; `None` when this broker did not issue it.
    fn delegation(&self, view: View<'_>) -> Option<DelegationId> {
        let id = self.token.delegation();
        view.state.delegation(&id).map(|_| id)
    }

    /// Returns the blocks of the chain that no record has, and the hop before them. A hop is only
    /// recorded after its parent, so they are the last ones.
    fn unrecorded(&self, view: View<'_>) -> (Option<HopId>, Vec<BlockPayload>) {
        let is_known = |(id, _): &(HopId, _)| view.state.hop(id).is_some();
        let known = self.token.hops().take_while(is_known).count();
        let behind = known.checked_sub(1).and_then(|last| self.token.id_at(last));
        let new = self.token.hops().skip(known);
        (behind, new.map(|(_, signed)| BlockPayload::from(signed)).collect())
    }

    fn record(&self, view: View<'_>) -> UseRecord {
        let reported = self.reported.clone();
        let (behind, blocks) = self.unrecorded(view);
        UseRecord {
            hop: reported.proof.claims.hop,
            audience: reported.audience,
            action: reported.action,
            code: reported.code,
            decided_at: reported.decided_at,
            counter: reported.counter,
            revocations: reported.revocations,
            evidence: Box::new(UseEvidence {
                proof: reported.proof.encode(),
                holder_key: self.token.holder_key().clone(),
                arguments: reported.arguments,
                receipt: reported.receipt,
                blocks,
                behind,
                age_ms: reported.age_ms,
                staleness_ms_max: reported.staleness_ms_max,
            }),
        }
    }
}

/// Reports uses, in the order of their counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportUses {
    /// Each verified use, or the counter and the reason of one that does not verify.
    pub uses: Vec<Result<ProvenUse, (u64, String)>>,
}

impl Operation for ReportUses {
    /// The counter that is expected next.
    type Granted = u64;
    const METHOD: &'static str = "/sublet.v1.Audit/ReportUses";

    fn describe(&self) -> String {
        format!("{} uses to be recorded", self.uses.len())
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<u64> {
        let agent = cx.agent()?;
        let (before, mut row) = verifier(cx.view, &agent.id);
        let (mut grant, mut not_taken) = (Grant::read(row.next), Vec::new());
        for proven in &self.uses {
            let counter = match proven {
                Ok(proven) => proven.reported.counter,
                Err((counter, _)) => *counter,
            };
            // A lower counter was recorded before. A gap shows that uses were lost.
            if counter < row.next {
                continue;
            }
            row.next = counter.saturating_add(1);
            match proven {
                // Its counter is missing among the tool's, which shows it.
                Ok(proven) if !proven.names_hold(cx.view.state) => {}
                Ok(proven) => match proven.delegation(cx.view) {
                    Some(id) => {
                        grant =
                            grant.recording_in(id, cx.caller, Body::Used(proven.record(cx.view)));
                    }
                    None => not_taken.push((counter, "no hop of this broker's")),
                },
                Err((_, detail)) => not_taken.push((counter, detail)),
            }
        }
        if !not_taken.is_empty() {
            grant = grant.recording(cx.caller, refused(&not_taken));
        }
        if grant.granted == row.next {
            return Ok(grant);
        }
        grant.granted = row.next;
        Ok(grant
            .requiring([Precondition::as_read(RowKey::Verifier(row.agent.clone()), before)])
            .changing([Mutation::from(row)]))
    }
}

/// Reports up to which position a tool has applied revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportVerifierState {
    /// The position.
    pub revocations: FeedPosition,
    /// The largest checkpoint that the tool was shown and that a ledger key signed: its number of
    /// records, and its bytes; `None` when none was shown.
    pub head: Option<(u64, Vec<u8>)>,
}

impl Operation for ReportVerifierState {
    /// The counter that is expected of its next use.
    type Granted = u64;
    const METHOD: &'static str = "/sublet.v1.Audit/ReportVerifierState";

    fn describe(&self) -> String {
        let FeedPosition { epoch, sequence } = self.revocations;
        format!("revocations applied up to {sequence} of epoch {epoch}")
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<u64> {
        let agent = cx.agent()?;
        let (before, mut row) = verifier(cx.view, &agent.id);
        let grant = Grant::read(row.next);
        // A repeated or older report is not recorded.
        let head = self.head.as_ref().filter(|(size, _)| *size > row.head);
        if before.is_some() && self.revocations <= row.revocations && head.is_none() {
            return Ok(grant);
        }
        row.revocations = row.revocations.max(self.revocations);
        row.head = head.map_or(row.head, |(size, _)| *size);
        let FeedPosition { epoch, sequence } = row.revocations;
        let head = head.map(|(_, note)| note.clone()).unwrap_or_default();
        let grant = grant.recording(cx.caller, Body::VerifierSynced { epoch, sequence, head });
        Ok(grant
            .requiring([Precondition::as_read(RowKey::Verifier(row.agent.clone()), before)])
            .changing([Mutation::from(row)]))
    }
}

/// Returns the row of a verifier as it is, and as it will be written; a new one when there is none.
fn verifier<'a>(view: View<'a>, agent: &AgentId) -> (Option<&'a Verifier>, Verifier) {
    let before = view.state.verifier(agent);
    let next = match before {
        Some(row) => Verifier { version: row.version.saturating_add(1), ..row.clone() },
        None => {
            let agent = agent.clone();
            let revocations = FeedPosition::BEGINNING;
            Verifier { agent, next: 0, revocations, head: 0, version: 0 }
        }
    };
    (before, next)
}

/// Returns one record of all uses of a report that were not accepted: their counters, and what is
/// wrong with the first one.
fn refused(not_taken: &[(u64, &str)]) -> Body {
    let counters: Vec<String> = not_taken.iter().map(|(counter, _)| counter.to_string()).collect();
    let detail = not_taken.first().map(|(_, detail)| (*detail).to_owned()).unwrap_or_default();
    Body::Refused {
        method: ReportUses::METHOD,
        code: "use_not_proven",
        detail: cut(detail, SAYS_BYTES_MAX),
        asked: cut(format!("{USES_NOT_TAKEN}{}", counters.join(" ")), ASKED_BYTES_MAX),
    }
}

/// The start of the text in such a record; the counters follow.
pub const USES_NOT_TAKEN: &str = "uses ";
