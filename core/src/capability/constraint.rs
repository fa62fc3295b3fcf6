//! A condition on one argument: a constraint of any kind. SPEC 4.3.
//!
//! Owns: the list of kinds, and what follows from it: which kind a name stands for, how constraints
//! of different kinds compare, which parts they have. Does not own: any kind (`kinds`), what all of
//! them provide (`kind`).
//!
//! Invariants: no kind depends on this file. To add a kind, add its file in `kinds/` and its row in
//! `kinds!` below. Every list here names each kind, so a further kind does not compile until it is
//! in all of them.

use std::fmt;

use super::bad_scope::BadScope;
use super::family::Family;
use super::kind::{Compare, Holds, Kind, Member, Shown};
use super::kinds::{
    self, Absent, Any, Cidr, ContainsAll, Decimal, Exactly, Glob, MaxLength, NotOneOf, OneOf,
    Prefix, Range, Regex, SubsetOf, Under, Url,
};
use super::reserved;
use super::tree::Tree;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};

/// The values that every part allows.
pub type AllOf = kinds::AllOf<Constraint>;

/// The values that at least one part allows.
pub type AnyOf = kinds::AnyOf<Constraint>;

/// The values with the same view that the part does not allow.
pub type Not = kinds::Not<Constraint>;

macro_rules! kinds {
    ($($module:ident $variant:ident),*) => {
        /// A condition on one argument. SPEC 4.3.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Constraint {
            $(#[doc = concat!("`", stringify!($module), "`")] $variant($variant)),*
        }

        impl Constraint {
            /// Returns the name of its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Constraint::$variant(_) => $variant::NAME),* }
            }

            /// Returns whether the value, or its absence, is allowed.
            pub fn admits(&self, value: Option<&Json>) -> bool {
                match self { $(Constraint::$variant(kind) => kind.admits(value)),* }
            }

            pub(super) fn values(&self) -> Option<Vec<Option<Json>>> {
                match self { $(Constraint::$variant(kind) => kind.values()),* }
            }

            fn kind_covers(&self, child: &Constraint) -> bool {
                match self { $(Constraint::$variant(kind) => kind.covers(child)),* }
            }

            fn kind_excludes(&self, other: &Constraint) -> bool {
                match self { $(Constraint::$variant(kind) => kind.excludes(other)),* }
            }

            pub(super) fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
                match self { $(Constraint::$variant(kind) => kind.fact()),* }
            }

            pub(super) fn lift(shown: &Shown<'_>) -> Option<Self> {
                $(if let Some(kind) = $variant::lift(shown) {
                    return Some(Constraint::$variant(kind));
                })*
                None
            }

            fn to_text(&self) -> Option<String> {
                match self { $(Constraint::$variant(kind) => kind.to_text()),* }
            }

            pub(super) fn from_text(kind: &str, value: Option<&str>) -> Result<Self, BadScope> {
                $(if kind == $variant::NAME {
                    return $variant::from_text(value).map(Constraint::$variant);
                })*
                reserved::refuse(kind)?;
                Err(unknown(kind))
            }

            fn value_to_json(&self) -> Json {
                match self { $(Constraint::$variant(kind) => kind.to_json()),* }
            }

            fn value_from_json(kind: &str, value: &Json) -> Result<Self, BadScope> {
                $(if kind == $variant::NAME {
                    return $variant::from_json(value).map(Constraint::$variant);
                })*
                reserved::refuse(kind)?;
                Err(unknown(kind))
            }
        }

        impl Member for Constraint {
            fn kind(&self) -> &'static str {
                Constraint::kind(self)
            }

            fn check(&self) -> Result<(), BadScope> {
                match self { $(Constraint::$variant(kind) => kind.check()),* }
            }

            fn admits(&self, value: Option<&Json>) -> bool {
                Constraint::admits(self, value)
            }

            fn covers(&self, child: &Constraint) -> bool {
                Constraint::covers(self, child)
            }

            fn excludes(&self, other: &Constraint) -> bool {
                excludes(self, other)
            }

            fn family(&self) -> Option<Family> {
                match self { $(Constraint::$variant(kind) => kind.family()),* }
            }

            fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
                match self { $(Constraint::$variant(kind) => kind.tests(view)),* }
            }

            fn lift_nested(family: Family, tests: &[Tree<'_>]) -> Option<Self> {
                Constraint::lift(&Shown::Tests(family, tests))
            }

            fn to_json(&self) -> Json {
                Json::Object(vec![(self.kind().to_owned(), self.value_to_json())])
            }

            fn from_json(json: &Json) -> Result<Self, BadScope> {
                match json {
                    Json::Object(members) => match members.as_slice() {
                        [(kind, value)] => Constraint::value_from_json(kind, value),
                        _ => Err(BadScope("a constraint needs exactly one kind".into())),
                    },
                    _ => Err(BadScope(r#"a constraint is written {"kind": value}"#.into())),
                }
            }
        }

        $(impl Holds<$variant> for Constraint {
            fn held(&self) -> Option<&$variant> {
                match self { Constraint::$variant(kind) => Some(kind), _ => None }
            }
        })*

        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$($variant::NAME),*];
    };
}

kinds!(
    any Any, absent Absent, exactly Exactly, one_of OneOf, not_one_of NotOneOf, prefix Prefix,
    glob Glob, regex Regex, under Under, url Url, cidr Cidr, range Range, decimal Decimal,
    max_length MaxLength, contains_all ContainsAll, subset_of SubsetOf, all_of AllOf, any_of AnyOf,
    not Not
);

impl Constraint {
    /// Returns whether everything that `child` allows is allowed here. Sound: it may return false
    /// for a child that is narrower.
    pub fn covers(&self, child: &Constraint) -> bool {
        if let Some(values) = child.values() {
            return values.iter().all(|value| self.admits(value.as_ref()));
        }
        match (self, child) {
            (Constraint::AllOf(all), _) => all.parts().iter().all(|part| part.covers(child)),
            (_, Constraint::AnyOf(any)) => any.parts().iter().all(|part| self.covers(part)),
            (Constraint::AnyOf(any), _) if any.parts().iter().any(|part| part.covers(child)) => {
                true
            }
            (_, Constraint::AllOf(all)) => all.parts().iter().any(|part| self.covers(part)),
            _ => self.kind_covers(child),
        }
    }

    /// Returns whether absence is refused.
    pub(super) fn needs_a_value(&self) -> bool {
        !self.admits(None)
    }

    /// Returns the constraints that it consists of.
    fn parts(&self) -> &[Constraint] {
        match self {
            Constraint::AllOf(all) => all.parts(),
            Constraint::AnyOf(any) => any.parts(),
            Constraint::Not(not) => std::slice::from_ref(not.part()),
            // Each kind is named, so a further kind cannot be forgotten here.
            Constraint::Any(_)
            | Constraint::Absent(_)
            | Constraint::Exactly(_)
            | Constraint::OneOf(_)
            | Constraint::NotOneOf(_)
            | Constraint::Prefix(_)
            | Constraint::Under(_)
            | Constraint::Cidr(_)
            | Constraint::Range(_)
            | Constraint::Decimal(_)
            | Constraint::MaxLength(_)
            | Constraint::ContainsAll(_)
            | Constraint::SubsetOf(_)
            | Constraint::Glob(_)
            | Constraint::Regex(_)
            | Constraint::Url(_) => &[],
        }
    }

    /// Returns how many constraints it has, itself included, and how deeply they nest.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.parts().iter().map(Constraint::size);
        sizes.fold((1, 1), |(count, depth), (c, d)| (count + c, depth.max(d + 1)))
    }

    /// Returns how many patterns it has. They are costly to read and to match.
    pub(super) fn patterns(&self) -> usize {
        match self {
            Constraint::Regex(_) | Constraint::Glob(_) => 1,
            Constraint::Url(url) => usize::from(url.is_wildcard()),
            Constraint::AllOf(_) | Constraint::AnyOf(_) | Constraint::Not(_) => {
                self.parts().iter().map(Constraint::patterns).sum()
            }
            Constraint::Any(_)
            | Constraint::Absent(_)
            | Constraint::Exactly(_)
            | Constraint::OneOf(_)
            | Constraint::NotOneOf(_)
            | Constraint::Prefix(_)
            | Constraint::Under(_)
            | Constraint::Cidr(_)
            | Constraint::Range(_)
            | Constraint::Decimal(_)
            | Constraint::MaxLength(_)
            | Constraint::ContainsAll(_)
            | Constraint::SubsetOf(_) => 0,
        }
    }
}

/// Returns whether no value is allowed by both. Sound: it may return false although there is none.
fn excludes(one: &Constraint, other: &Constraint) -> bool {
    if let Some(values) = other.values() {
        return !values.iter().any(|value| one.admits(value.as_ref()));
    }
    match (one, other) {
        (Constraint::AnyOf(any), _) => any.parts().iter().all(|part| part.excludes(other)),
        (_, Constraint::AnyOf(any)) => any.parts().iter().all(|part| one.excludes(part)),
        (Constraint::AllOf(all), _) if all.parts().iter().any(|part| part.excludes(other)) => true,
        (_, Constraint::AllOf(all)) => all.parts().iter().any(|part| one.excludes(part)),
        _ => one.kind_excludes(other) || other.kind_excludes(one),
    }
}

fn unknown(kind: &str) -> BadScope {
    BadScope(format!("{kind:?} is no kind of constraint: {}", KINDS.join(", ")))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_text() {
            Some(value) => write!(f, "{}:{value}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}
