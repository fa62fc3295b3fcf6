//! The whole check of a call by a tool. SPEC sections 2 to 8: P1, P2, P3, P5, P6.
//!
//! Owns: the steps of the check, and their order. A tool, a service that authenticates its caller,
//! the replay of a recorded use, and the broker itself use these steps. Does not own: what one step
//! checks (`verify`, `proof`, `receipt`, `feed`, `replay_cache`), where bytes come from, clocks,
//! what is kept as evidence.
//!
//! Invariants: the check is offline: bundle, revocations, used proofs and time are arguments; a
//! part that is missing, stale or broken leads to a refusal; the nonce is spent last, so a refused
//! call spends nothing; no option turns a step off.
//!
//! | step | refusal |
//! |---|---|
//! | the call is for this tool | malformed |
//! | the trust bundle is valid now | malformed |
//! | token and call proof are present | unauthenticated |
//! | the proof can be decoded | malformed |
//! | token and receipt can be decoded, are signed, and belong together ([`chain`]) | malformed, unauthenticated |
//! | the holder signed this call, just now ([`prove`]) | unauthenticated |
//! | the call names exactly one tool and one action | malformed |
//! | the token's kind; the revocation view is fresh enough; nothing of the chain is revoked; time, depth, receipt, scope of every block ([`decide_call`]) | unauthenticated, deny |
//! | the tool's additional requirement, such as inclusion in the ledger | its own |
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

/// A source of the revocation view. The view may be behind a lock that its writer needs, so it is
/// read only for as long as one decision takes.
pub trait RevocationSource {
    /// Calls `look` with the view and its age in milliseconds. The age is `None` when the view has
    /// no head, or is not reliable.
    fn read<T>(&self, look: impl FnOnce(&RevocationView, Option<i64>) -> T) -> T;
}

/// A view together with its age.
#[derive(Clone, Copy, Debug)]
pub struct AgedView<'a> {
    /// The view of revocations.
    pub view: &'a RevocationView,
    /// Its age in milliseconds; `None` when it has no head.
    pub age_ms: Option<i64>,
}

impl RevocationSource for AgedView<'_> {
    fn read<T>(&self, look: impl FnOnce(&RevocationView, Option<i64>) -> T) -> T {
        look(self.view, self.age_ms)
    }
}

/// Everything that a verifier decides with.
///
/// ```
/// use sublet_core::authorize::{AgedView, Anew, Authorizer};
/// use sublet_core::evidence::call::{Arguments, Call};
/// use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # let (bundle, view, now) = (world::bundle(), world::view(), world::NOW);
///
/// let authorizer = Authorizer {
///     audience: "tool://files",
///     bundle: &bundle,
///     chains: &Anew, // keeps no verified chains
///     revocations: AgedView { view: &view, age_ms: Some(200) },
///     staleness_ms_max: 10_000,
///     seen: &ReplayCache::new(Bounds::default(), now),
/// };
/// let arguments = Arguments::from_json(br#"{"path":"/data/a.csv"}"#)?;
/// let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
/// # let shown = world::shown(&world::delegation(), &call, 10);
/// let permit = authorizer.authorize(&shown, &call, now).verdict?;
/// assert_eq!(permit.principal.to_string(), "user:alice@acme.example");
///
/// let again = authorizer.authorize(&shown, &call, now).verdict.unwrap_err();
/// assert_eq!(again.code(), "proof_replayed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Authorizer<'a, M, R> {
    /// The verifier's own audience, which every proof must be for.
    pub audience: &'a str,
    /// The trust bundle.
    pub bundle: &'a TrustBundle,
    /// The chains that were verified before; [`Anew`] keeps none.
    pub chains: &'a M,
    /// The source of the revocation view.
    pub revocations: R,
    /// The greatest age of that view, or of the receipt that stands in for it, in milliseconds.
    pub staleness_ms_max: i64,
    /// The replay cache.
    pub seen: &'a ReplayCache,
}

/// The result of a decision on a call.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The permit, or the refusal.
    pub verdict: Result<Permit, Refusal>,
    /// The inputs of the decision; `None` unless the holder proved possession, in a name that is
    /// proven to be its own. No evidence may be kept about any other caller.
    pub proven: Option<Proven>,
}

/// The inputs of a decision about a proven holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The position in the revocation feed.
    pub revocations: FeedPosition,
    /// The age of the revocation view in milliseconds; `None` when it had no head.
    pub age_ms: Option<i64>,
}

/// A verified chain whose holder signed this call.
struct Shown {
    chain: Chain,
    possession: Possession,
}

impl<M: ChainMemory, R: RevocationSource> Authorizer<'_, M, R> {
    /// Decides one call at `now`. A permit is for this call only: the proof is accepted once.
    pub fn authorize(&self, shown: &Credentials, call: &Call, now: UnixMillis) -> Outcome {
        self.authorize_with(shown, call, now, |_| Ok(()))
    }

    /// Decides one call with an additional requirement, such as inclusion in the ledger. `more` is
    /// called for a call that would be permitted, before the nonce is spent.
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
            // If nothing proves the agent's name, the caller has not proven to be that agent.
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

    /// Authenticates the caller by its identity token alone. This gives no authority.
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

    /// Makes all checks up to possession.
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

/// Returns the thumbprint of [`VerifiedToken::holder_key`], which was computed when the token was
/// read.
fn holder(token: &VerifiedToken) -> crate::base::key::Thumbprint {
    let known = token.thumbprints().last().copied();
    known.unwrap_or_else(|| token.holder_key().thumbprint())
}
