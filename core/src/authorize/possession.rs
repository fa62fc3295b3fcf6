//! Did the holder make this very call, and is it the first time? SPEC section 5.
//!
//! Owns: what a proof is held against. Does not own: a proof's layout (`proof`), the set of used proofs
//! (`seen`).
//!
//! Invariants: what is expected of a proof is named by whoever verifies, and is never read out of the
//! proof; a [`Possession`] comes from here alone.

use crate::base::id::{HopId, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::evidence::call::Call;
use crate::evidence::proof::{BadProof, CallProof, Expected};
use crate::evidence::replay_cache::{ReplayCache, ReplayRefusal};
use crate::refusal::{Overload, Refusal, Unauthenticated};
use crate::token::verify::{Possession, VerifiedToken};

/// What a proof must be of.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The verifier's own name.
    pub audience: &'a str,
    /// The action called.
    pub action: &'a str,
    /// SHA-256 of the arguments received.
    pub arguments_hash: [u8; 32],
}

impl<'a> Bound<'a> {
    /// That of a call.
    pub fn of(call: &'a Call) -> Self {
        let (audience, action) = (call.audience.as_str(), call.action.as_str());
        Bound { audience, action, arguments_hash: call.arguments.digest() }
    }

    pub(super) fn under(&self, hop: HopId) -> Expected<'a> {
        let Bound { audience, action, arguments_hash } = *self;
        Expected { hop, audience, action, arguments_hash }
    }
}

/// Verifies that the token's holder signed this call, within the proof's window before `now`. That the
/// proof is new is asked last ([`spend`]).
pub fn prove(
    token: &VerifiedToken,
    proof: &CallProof,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<Possession, Unauthenticated> {
    Possession::verify(token, proof, &call.under(token.id()), now)
}

/// The same for a caller that shows no token but holds a known key, and says so under `hop`: the admin.
pub fn prove_key(
    key: &PublicKey,
    hop: HopId,
    proof: &CallProof,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<Possession, Unauthenticated> {
    Possession::verify_key(key, proof, &call.under(hop), now)
}

/// Verifies that the token's holder signed this call at some time. For a call that others decided on
/// before: it opens nothing.
pub fn prove_undated(
    token: &VerifiedToken,
    proof: &CallProof,
    call: &Bound<'_>,
) -> Result<(), BadProof> {
    proof.verify_undated(token.holder_key(), &call.under(token.id()))
}

/// Holds a possession against the call once more: for a verifier that did not have all of the call when
/// the proof was verified. Some time may have passed since, so the window is asked again.
pub fn confirm(
    possession: &Possession,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<(), Unauthenticated> {
    let claims = possession.claims();
    let held = claims.check_call(&call.under(claims.hop)).and_then(|()| claims.check_time(now));
    held.map_err(Unauthenticated::Proof)
}

/// Spends the proof's nonce under the key that made it. Asked last: what is spent here was otherwise
/// admitted.
pub fn spend(
    seen: &ReplayCache,
    key: Thumbprint,
    possession: &Possession,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let claims = possession.claims();
    let spent = seen.check_and_insert(key, claims.nonce, claims.issued_at, now);
    spent.map_err(|bad| match bad {
        ReplayRefusal::Replayed | ReplayRefusal::BeforeStart => Unauthenticated::Replay(bad).into(),
        ReplayRefusal::QuotaExceeded { .. }
        | ReplayRefusal::Full { .. }
        | ReplayRefusal::Damaged => Overload::Proofs(bad).into(),
    })
}
