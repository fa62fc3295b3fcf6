//! The methods that replace an agent's identity. SPEC 3.7.
//!
//! Owns: their names. Does not own: their decisions (`enroll`), who may call them (`chain`).

/// The method that issues a new identity for the same key.
pub(in crate::decide) const RENEW: &str = "/sublet.v1.Identity/Renew";

/// The method that issues an identity for a new key.
pub(in crate::decide) const ROTATE_KEY: &str = "/sublet.v1.Identity/RotateKey";

/// Returns whether a method replaces the identity that the agent shows.
pub fn keeps_an_identity(method: &str) -> bool {
    method == RENEW || method == ROTATE_KEY
}
