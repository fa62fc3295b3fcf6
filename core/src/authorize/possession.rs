//! The check that the holder signed this call, and that the proof is new. SPEC section 5.
//!
//! Owns: which call a proof is compared with. Does not own: a proof's layout (`proof`), the set of
//! used proofs (`replay_cache`).
//!
//! Invariants: the verifier names the call that a proof must be for, and never reads it from the
//! proof; only this file makes a [`Possession`].

use crate::base::id::{HopId, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::evidence::call::Call;
use crate::evidence::proof::{BadProof, CallProof, Expected};
use crate::evidence::replay_cache::{ReplayCache, ReplayRefusal};
use crate::refusal::{Overload, Refusal, Unauthenticated};
use crate::token::verify::{Possession, VerifiedToken};

/// The call that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The verifier's own audience.
    pub audience: &'a str,
    /// The action of the call.
    pub action: &'a str,
    /// SHA-256 of the received arguments.
    pub arguments_hash: [u8; 32],
}

impl<'a> Bound<'a> {
    /// Returns the values of a call.
    pub fn of(call: &'a Call) -> Self {
        let (audience, action) = (call.audience.as_str(), call.action.as_str());
        Bound { audience, action, arguments_hash: call.arguments.digest() }
    }

    pub(super) fn under(&self, hop: HopId) -> Expected<'a> {
        let Bound { audience, action, arguments_hash } = *self;
        Expected { hop, audience, action, arguments_hash }
    }
}

/// Verifies that the token's holder signed this call, within the proof's window around `now`.
/// Whether the proof is new is checked last ([`spend`]).
pub fn prove(
    token: &VerifiedToken,
    proof: &CallProof,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<Possession, Unauthenticated> {
    Possession::verify(token, proof, &call.under(token.id()), now)
}

/// Verifies the proof of a caller with a known key and no token, under the hop id that stands for
/// that key: the admin.
pub fn prove_key(
    key: &PublicKey,
    hop: HopId,
    proof: &CallProof,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<Possession, Unauthenticated> {
    Possession::verify_key(key, proof, &call.under(hop), now)
}

/// Verifies that the token's holder signed this call at any time. This serves a call that a tool
/// decided before; it permits nothing.
pub fn prove_undated(
    token: &VerifiedToken,
    proof: &CallProof,
    call: &Bound<'_>,
) -> Result<(), BadProof> {
    proof.verify_undated(token.holder_key(), &call.under(token.id()))
}

/// Compares a verified possession with the call once more, for a verifier that did not have the
/// whole call when it verified the proof. Time may have passed, so the window is checked again.
pub fn confirm(
    possession: &Possession,
    call: &Bound<'_>,
    now: UnixMillis,
) -> Result<(), Unauthenticated> {
    let claims = possession.claims();
    let held = claims.check_call(&call.under(claims.hop)).and_then(|()| claims.check_time(now));
    held.map_err(Unauthenticated::Proof)
}

/// Spends the proof's nonce under the key that signed it. Call this last, for a call that is
/// otherwise permitted.
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
