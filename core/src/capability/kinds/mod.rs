//! The kinds of constraint, one file each. SPEC 4.3.
//!
//! Owns: what each kind allows, how it is compared, rendered, read and written. Does not own: what
//! all of them provide (`kind`), the list of them (`constraint`).
//!
//! Invariants: a kind depends only on the kinds that it understands as children. Kinds with parts
//! hold any `Member`, so no kind depends on the list.

mod absent;
mod all_of;
mod any;
mod any_of;
mod bounds;
mod cidr;
mod contains_all;
mod decimal;
mod exactly;
mod glob;
mod max_length;
mod not;
mod not_one_of;
mod one_of;
mod parts;
mod pattern_text;
mod prefix;
mod range;
mod regex;
mod subset_of;
mod under;
mod url;
mod values;

pub use absent::Absent;
pub(super) use all_of::AllOf;
pub use any::Any;
pub(super) use any_of::AnyOf;
pub use cidr::Cidr;
pub use contains_all::ContainsAll;
pub use decimal::Decimal;
pub use exactly::Exactly;
pub use glob::Glob;
pub use max_length::MaxLength;
pub(super) use not::Not;
pub use not_one_of::NotOneOf;
pub use one_of::OneOf;
pub use prefix::Prefix;
pub use range::Range;
pub use regex::Regex;
pub use subset_of::SubsetOf;
pub use under::Under;
pub use url::Url;
