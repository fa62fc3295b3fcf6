//! The check whether a chain is valid: time and revocation of every hop. SPEC 7.1: P2.
//!
//! Owns: these checks, over any source of revocations: the broker's state or a verifier's view.
//! Does not own: what is revoked (`feed`, `state`).
//!
//! Invariants: broker and tool use the same functions.

use crate::base::id::{Principal, UnixMillis};
use crate::refusal::Deny;
use crate::revocation::feed::{Revocation, RevocationView};
use crate::token::verify::VerifiedToken;

/// A source of revocations.
pub(crate) trait Revocations {
    /// Returns whether this subject is revoked.
    fn is_revoked(&self, revocation: &Revocation) -> bool;
    /// Returns whether a delegation that was issued for a principal at this time is revoked.
    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool;
}

impl Revocations for RevocationView {
    fn is_revoked(&self, revocation: &Revocation) -> bool {
        RevocationView::is_revoked(self, revocation)
    }

    fn ends(&self, principal: &Principal, issued_at: UnixMillis) -> bool {
        RevocationView::ends(self, principal, issued_at)
    }
}

/// Refuses a chain that is not valid yet, or of which a hop has expired.
pub(crate) fn check_time(token: &VerifiedToken, now: UnixMillis) -> Result<(), Deny> {
    let second = now.seconds();
    let from = token.window().not_before;
    if second < from {
        return Err(Deny::NotYetValid { hop: 0, from });
    }
    for (hop, signed) in token.signed_blocks().iter().enumerate() {
        let at = signed.block().not_after;
        if second >= at {
            return Err(Deny::Expired { hop, at });
        }
    }
    Ok(())
}

/// Refuses a chain if a hop, an agent, a key, the principal or the root key is revoked.
pub(crate) fn check_revocations(
    token: &VerifiedToken,
    known: &dyn Revocations,
) -> Result<(), Deny> {
    if known.is_revoked(&Revocation::RootKey(token.root_key().thumbprint())) {
        return Err(Deny::RootRevoked);
    }
    check_revocations_but_of_the_root(token, known)
}

/// Makes the checks of [`check_revocations`] except that of the root key.
pub(crate) fn check_revocations_but_of_the_root(
    token: &VerifiedToken,
    known: &dyn Revocations,
) -> Result<(), Deny> {
    let revoked = |principal: &&Principal| known.ends(principal, token.issued_at());
    if let Some(principal) = token.principal().filter(revoked) {
        return Err(Deny::PrincipalRevoked { principal: principal.clone() });
    }
    for (hop, ((id, signed), key)) in token.hops().zip(token.thumbprints()).enumerate() {
        let agent = &signed.block().agent;
        if known.is_revoked(&Revocation::Hop(id)) {
            return Err(Deny::HopRevoked { hop, id });
        }
        if known.is_revoked(&Revocation::AgentSuspended(agent.clone())) {
            return Err(Deny::AgentSuspended { hop, agent: agent.clone() });
        }
        if known.is_revoked(&Revocation::AgentKey(*key)) {
            return Err(Deny::KeyRevoked { hop, agent: agent.clone() });
        }
    }
    Ok(())
}
