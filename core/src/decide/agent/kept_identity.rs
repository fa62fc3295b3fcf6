//! Which methods give an agent another identity for the one that it shows. SPEC 3.7.
//!
//! Owns: their names. Does not own: what they decide (`enroll`), who may call them (`chain`).

/// The method that gives an agent a new identity for the same key.
pub(in crate::decide) const RENEW: &str = "/sublet.v1.Identity/Renew";

/// The method that gives an agent an identity for a new key.
pub(in crate::decide) const ROTATE_KEY: &str = "/sublet.v1.Identity/RotateKey";

/// Whether a method gives an agent another identity for the one that it shows.
pub fn keeps_an_identity(method: &str) -> bool {
    method == RENEW || method == ROTATE_KEY
}
