//! May this call be made? The one check of a tool. SPEC sections 2 to 8: P1, P2, P3, P5, P6.
//!
//! Owns: which steps a call passes, and in which order. A tool, a service that asks who calls, the
//! replay of a recorded use and the broker's own door take their steps from here. Does not own: what
//! a step asks (`verify`, `proof`, `receipt`, `feed`, `seen`), where bytes come from, clocks, what is
//! kept as evidence.
//!
//! Invariants: nothing here asks anybody: bundle, revocations, used proofs and the time are given; a
//! part that is missing, stale or broken is a refusal; the nonce is spent last, after everything else
//! admits, so that a call that is refused spends nothing; no switch turns a step off.
//!
//! | step | refusal |
//! |---|---|
//! | the call is of this tool | malformed |
//! | the trust bundle is in its time | malformed |
//! | token and call proof are present | unauthenticated |
//! | the proof is understood | malformed |
//! | token and receipt: understood, signed, of each other ([`chain`]) | malformed, unauthenticated |
//! | the holder signed this very call, just now ([`prove`]) | unauthenticated |
//! | the call names one tool and one action | malformed |
//! | the token's kind; the view is young enough; nothing of the chain is revoked; time, depth, receipt, scope of every block ([`decide_call`]) | unauthenticated, deny |
//! | whatever more the tool demands (inclusion in the ledger) | its own |
//! | the proof is new ([`spend`]) | unauthenticated, overload |

mod chain;
mod credentials;
mod decision;
mod possession;

pub use chain::{Anew, Chain, ChainMemory, Digest, chain, verify_token};
pub use credentials::Credentials;
pub use decision::{CallView, Peer, Permit, decide_call, decide_peer, foresee_call, unproven_name};
pub use possession::{Bound, confirm, prove, prove_key, prove_undated, spend};

use crate::base::id::UnixMillis;
use crate::evidence::call::Call;
use crate::evidence::replay_cache::ReplayCache;
use crate::refusal::{Malformed, Refusal};
use crate::revocation::feed::{FeedPosition, RevocationView};
use crate::token::verify::{Possession, VerifiedToken};
use crate::trust::bundle::TrustBundle;

/// Where the revocation view lies. It may be behind a lock that its writer needs, so it is looked at
/// for as long as a decision takes and no longer.
pub trait RevocationSource {
    /// Shows the view and its age in milliseconds; `None` when no signed head was seen, or when the view
    /// cannot be relied on.
    fn read<T>(&self, look: impl FnOnce(&RevocationView, Option<i64>) -> T) -> T;
}

/// A view in hand, of a known age.
#[derive(Clone, Copy, Debug)]
pub struct AgedView<'a> {
    /// What is known of revocations.
    pub view: &'a RevocationView,
    /// Its age in milliseconds; `None` when it has no signed head.
    pub age_ms: Option<i64>,
}

impl RevocationSource for AgedView<'_> {
    fn read<T>(&self, look: impl FnOnce(&RevocationView, Option<i64>) -> T) -> T {
        look(self.view, self.age_ms)
    }
}

/// What a verifier goes by when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Authorizer<'a, M, R> {
    /// The verifier's own name, which every proof must be for.
    pub audience: &'a str,
    /// Whom it trusts.
    pub bundle: &'a TrustBundle,
    /// The chains that it has verified before; [`Anew`] keeps none.
    pub chains: &'a M,
    /// What it knows of revocations.
    pub revocations: R,
    /// The greatest age of that view, or of the receipt that stands in for it, in milliseconds.
    pub staleness_ms_max: i64,
    /// The proofs that were used.
    pub seen: &'a ReplayCache,
}

/// What came of a call.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The permit, or why not.
    pub verdict: Result<Permit, Refusal>,
    /// What the decision was made on; `None` unless the holder proved itself, in a name that is shown to
    /// be its own. Of anybody else no evidence may be kept.
    pub proven: Option<Proven>,
}

/// What the decision about a proven holder was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The position in the revocation feed.
    pub revocations: FeedPosition,
    /// Their age in milliseconds; `None` when there was no signed head.
    pub age_ms: Option<i64>,
}

/// A token whose holder made this very call.
struct Shown {
    chain: Chain,
    possession: Possession,
}

impl<M: ChainMemory, R: RevocationSource> Authorizer<'_, M, R> {
    /// Decides one call. A permit is for this call, at `now`, and was given once.
    pub fn authorize(&self, shown: &Credentials, call: &Call, now: UnixMillis) -> Outcome {
        self.authorize_with(shown, call, now, |_| Ok(()))
    }

    /// The same for a verifier that demands more of a chain than all of them do, such as inclusion in the
    /// ledger. `more` is asked of what was otherwise admitted, before the nonce is spent.
    pub fn authorize_with(
        &self,
        shown: &Credentials,
        call: &Call,
        now: UnixMillis,
        more: impl FnOnce(&VerifiedToken) -> Result<(), Refusal>,
    ) -> Outcome {
        let mut proven = None;
        let verdict = self.decide(shown, call, now, &mut proven, more);
        Outcome { verdict, proven }
    }

    fn decide(
        &self,
        shown: &Credentials,
        call: &Call,
        now: UnixMillis,
        proven: &mut Option<Proven>,
        more: impl FnOnce(&VerifiedToken) -> Result<(), Refusal>,
    ) -> Result<Permit, Refusal> {
        let Shown { chain, possession } = self.shown(shown, call, now)?;
        let token = chain.token.as_ref();
        let permit = self.revocations.read(|revocations, age_ms| {
            let coverage = chain.coverage.as_deref();
            // In an agent's name that nothing shows, nobody has proven itself.
            if unproven_name(token, coverage).is_none() {
                *proven = Some(Proven { revocations: revocations.position(), age_ms });
            }
            let staleness_ms_max = self.staleness_ms_max;
            let view = CallView { revocations, age_ms, staleness_ms_max, coverage };
            decide_call(token, &possession, call, view, now)
        })?;
        more(token)?;
        spend(self.seen, holder(token), &possession, now)?;
        Ok(permit)
    }

    /// Decides who makes this call, by an identity token alone. No authority is asked for and none is
    /// given.
    pub fn recognise(
        &self,
        shown: &Credentials,
        call: &Call,
        now: UnixMillis,
    ) -> Result<Peer, Refusal> {
        let Shown { chain, possession } = self.shown(shown, call, now)?;
        let peer = self.revocations.read(|revocations, age_ms| {
            let staleness_ms_max = self.staleness_ms_max;
            let view = CallView { revocations, age_ms, staleness_ms_max, coverage: None };
            decide_peer(&chain.token, &possession, call, view, now)
        })?;
        spend(self.seen, holder(&chain.token), &possession, now)?;
        Ok(peer)
    }

    /// Everything up to possession.
    fn shown(&self, shown: &Credentials, call: &Call, now: UnixMillis) -> Result<Shown, Refusal> {
        if call.audience != self.audience {
            let detail = format!("{:?}, this tool is {:?}", call.audience, self.audience);
            return Err(Malformed::Field { field: "audience", detail }.into());
        }
        self.bundle.check_time(now).map_err(Malformed::from)?;
        let (token, proof) = shown.parts()?;
        let chain = chain(self.chains, token, shown.receipt.as_deref(), self.bundle, now)?;
        let possession = prove(&chain.token, &proof, &Bound::of(call), now)?;
        Ok(Shown { chain, possession })
    }
}

/// The thumbprint of the key that holds a token: that of [`VerifiedToken::holder_key`], which was
/// computed when the token was read.
fn holder(token: &VerifiedToken) -> crate::base::key::Thumbprint {
    let known = token.thumbprints().last().copied();
    known.unwrap_or_else(|| token.holder_key().thumbprint())
}
