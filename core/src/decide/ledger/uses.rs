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
use crate::evidence::call::{NotExact, check_exact};
use crate::evidence::proof::{BadProof, CallProof};
use crate::evidence::record::{
    ASKED_BYTES_MAX, Body, SAYS_BYTES_MAX, UseEvidence, UseRecord, UseVerdict, cut,
};
use crate::refusal::Refusal;
use crate::revocation::feed::FeedPosition;
use crate::state::{Mutation, Precondition, RowKey, State, Verifier};
use crate::token::verify::VerifiedToken;
use crate::token::{BadToken, BlockPayload};

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
    /// What the tool decided; a code of at most 64 bytes.
    pub verdict: UseVerdict,
    /// When it was decided, by the tool's clock.
    pub decided_at: UnixMillis,
    /// The position in the revocation feed that the tool had applied.
    pub revocations: FeedPosition,
    /// The age of the tool's revocation view in milliseconds; `None` when it had no head.
    pub age_ms: Option<i64>,
    /// The greatest age that the tool accepted, in milliseconds.
    pub staleness_ms_max: i64,
    /// The arguments as the tool read them, at most [`ARGUMENTS_BYTES_MAX`]; `None` when they were longer.
    pub arguments: Option<Vec<u8>>,
    /// The call proof.
    pub proof: CallProof,
    /// The receipt that was shown; `None` when none was.
    pub receipt: Option<Vec<u8>>,
}

/// Why a reported use is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadUse {
    /// The tool, the action or the code is too long.
    #[error("a tool, action or code of over {NAMES_BYTES_MAX:?} bytes")]
    NameTooLong,
    /// The arguments are too long.
    #[error("arguments of over {ARGUMENTS_BYTES_MAX} bytes")]
    ArgumentsTooLong,
    /// The token is an identity token.
    #[error("an identity token opens no tool")]
    IdentityToken,
    /// The tool or the action is no exact one.
    #[error(transparent)]
    NotExact(#[from] NotExact),
    /// The token is not understood.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The chain does not hold.
    #[error(transparent)]
    Chain(Box<Refusal>),
    /// The holder did not sign this call.
    #[error("the holder's signature does not hold")]
    Signature,
    /// The call proof does not hold for another reason.
    #[error(transparent)]
    Proof(BadProof),
    /// No hop of the chain is one that this broker issued.
    #[error("no hop of this broker's")]
    UnknownDelegation,
}

impl From<BadProof> for BadUse {
    fn from(bad: BadProof) -> Self {
        match bad {
            BadProof::Signature { .. } => BadUse::Signature,
            bad => BadUse::Proof(bad),
        }
    }
}

/// A use whose signatures verify: the holder's over the call, and those of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenUse {
    reported: ReportedUse,
    token: VerifiedToken,
}

impl ProvenUse {
    /// Verifies that the holder of this chain signed this very call.
    pub fn verify(reported: ReportedUse, token: VerifiedToken) -> Result<Self, BadUse> {
        let named = [reported.audience.as_str(), &reported.action, reported.verdict.to_wire()];
        if named.iter().zip(NAMES_BYTES_MAX).any(|(name, most)| name.len() > most) {
            return Err(BadUse::NameTooLong);
        }
        if reported.arguments.as_ref().is_some_and(|text| text.len() > ARGUMENTS_BYTES_MAX) {
            return Err(BadUse::ArgumentsTooLong);
        }
        if token.is_identity() {
            return Err(BadUse::IdentityToken);
        }
        // No tool decides on such a call, so none has one to report.
        check_exact(&reported.audience, &reported.action)?;
        // Of long arguments the hash alone is kept, which is in the proof.
        let call = Bound {
            audience: &reported.audience,
            action: &reported.action,
            arguments_hash: reported.proof.claims.arguments_hash,
        };
        prove_undated(&token, &reported.proof, &call)?;
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
            verdict: reported.verdict,
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

/// Uses are reported, in the order of their counters.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportUses {
    /// Each with what it is when it holds, or with its counter and why it does not.
    pub uses: Vec<Result<ProvenUse, (u64, BadUse)>>,
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
                    None => not_taken.push((counter, BadUse::UnknownDelegation)),
                },
                Err((_, why)) => not_taken.push((counter, why.clone())),
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
        let checkpoint = head.map(|(_, note)| note.clone());
        let synced = Body::VerifierSynced { epoch, sequence, checkpoint };
        let grant = grant.recording(cx.caller, synced);
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

/// One record of all uses in a report that were not taken: their counters, and what is wrong with the
/// first of them.
fn refused(not_taken: &[(u64, BadUse)]) -> Body {
    let counters: Vec<String> = not_taken.iter().map(|(counter, _)| counter.to_string()).collect();
    let detail = not_taken.first().map(|(_, why)| why.to_string()).unwrap_or_default();
    Body::Refused {
        method: ReportUses::METHOD,
        code: "use_not_proven",
        detail: cut(detail, SAYS_BYTES_MAX),
        asked: cut(format!("{USES_NOT_TAKEN}{}", counters.join(" ")), ASKED_BYTES_MAX),
    }
}

/// The start of the text in such a record; the counters follow.
pub const USES_NOT_TAKEN: &str = "uses ";
