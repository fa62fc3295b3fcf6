//! Authority: capabilities, their constraints, and when one covers another. SPEC section 4.
//!
//! Owns: [`Capability`], [`Scope`], the kinds of constraint (one file each in `kinds/`), `admits`
//! and `covers`. Does not own: lifetimes, hops, who holds what (`block`, `token::narrow`).
//!
//! Invariants: a capability is closed unless it says otherwise, so an argument that it does not
//! name must be absent; `covers` is sound: the parent admits everything that a covered child
//! admits. It may return false for a child that is in fact narrower. Every capability is in normal
//! form: it does not repeat its default.
//!
//! From the bottom up: the views of an argument (`family`, over `path`, `address`, `url_parts`) and
//! the names of `facts`; what each kind provides (`kind`), the `kinds`, a constraint of any kind
//! (`constraint`); `one` capability, its rendering in a block (`render`), its making (`normal`,
//! `text_form`, `json_form`); a `scope` of several, what it covers (`narrow`) and has in common
//! with another (`meet`). `evidence::call` uses only the lowest of these.

mod address;
mod bad_scope;
mod constraint;
pub mod effective;
pub(crate) mod facts;
pub(crate) mod family;
mod hop_limits;
mod json_form;
mod kind;
mod kinds;
mod meet;
mod narrow;
mod normal;
mod one;
pub(crate) mod path;
mod pattern;
mod render;
mod reserved;
mod scalar;
mod scope;
mod scope_check;
mod text_form;
mod tree;
mod url_parts;
mod words;

pub use bad_scope::BadScope;
pub use constraint::{AllOf, AnyOf, Constraint, KINDS, Not};
pub(crate) use facts::CALL;
pub use hop_limits::{ChainPosition, HopLimits, Step};
pub use kinds::{
    Absent, Any, Cidr, ContainsAll, Decimal, Exactly, Glob, MaxLength, NotOneOf, OneOf, Prefix,
    Range, Regex, SubsetOf, Under, Url,
};
pub use meet::Clamped;
pub(crate) use meet::Meets;
pub use narrow::Excess;
pub use one::Capability;
pub use pattern::{Action, Audience, Pattern};
pub use reserved::RESERVED_WORDS;
pub use scalar::Scalar;
pub use scope::Scope;
pub(crate) use scope::check_patterns;
pub(crate) use scope_check::{lift_scope, render_scope};

#[cfg(test)]
mod kinds_tests;
