//! Is a chain alive? Time and revocation, asked of every hop. SPEC 7.1: P2.
//!
//! Owns: these questions, over whatever knows revocations: the broker's state or a verifier's view. Does not
//! own: what is revoked (`feed`, `state`).
//!
//! Invariants: broker and tool ask by the same functions.

use crate::base::id::{Principal, UnixMillis};
use crate::refusal::Deny;
use crate::revocation::feed::{Revocation, RevocationView};
use crate::token::verify::VerifiedToken;

/// Something that knows what was revoked.
pub(crate) trait Revocations {
    /// Whether this is revoked now.
    fn is_revoked(&self, revocation: &Revocation) -> bool;
    /// Whether what was issued for a principal at this time is revoked now.
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

/// Refuses a chain that has not begun, or of which any hop is over.
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

/// Refuses a chain of which anything was revoked: a hop, an agent, a key, the principal, the root.
pub(crate) fn check_revocations(
    token: &VerifiedToken,
    known: &dyn Revocations,
) -> Result<(), Deny> {
    if known.is_revoked(&Revocation::RootKey(token.root_key().thumbprint())) {
        return Err(Deny::RootRevoked);
    }
    check_revocations_but_of_the_root(token, known)
}

/// All of [`check_revocations`] but the root key.
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
