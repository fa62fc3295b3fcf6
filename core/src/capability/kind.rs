//! What every kind of constraint gives, and the list of kinds. SPEC 4.3.
//!
//! Adding a kind: one file that implements [`Kind`], and its row in `kinds!` below.

use std::fmt;

use super::{BadScope, render};
use crate::datalog::Query;
use crate::json::Json;

/// A set of values, absence being one of them, written in one way.
pub(crate) trait Kind: Sized {
    /// Its name in text and JSON.
    const NAME: &'static str;

    /// Refuses a set whose values cannot be written and read back.
    fn check(&self) -> Result<(), BadScope> {
        Ok(())
    }

    /// Whether the value, or its absence, is in the set.
    fn admits(&self, value: Option<&Json>) -> bool;

    /// Every value of the set, when they can be listed.
    fn values(&self) -> Option<Vec<Option<Json>>> {
        None
    }

    /// Whether every value of `child`, a set that cannot be listed, is in this one. Sound, and
    /// free to say no when unsure.
    fn covers(&self, child: &Constraint) -> bool;

    /// Adds predicates and expressions to the query of the capability.
    fn render(&self, argument: &render::Argument<'_>, query: &mut Query);

    /// Takes what `render` added off the front, with the argument's name. May be lenient: what it
    /// returns is rendered again and compared.
    fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Self)>;

    /// The value behind `kind:` in SCOPE text; `None` when there is none.
    fn to_text(&self) -> Option<String>;

    /// Reads what `to_text` writes.
    fn from_text(value: Option<&str>) -> Result<Self, BadScope>;

    /// The value of the JSON long form `{"kind": value}`.
    fn to_json(&self) -> Json;

    /// Reads what `to_json` writes.
    fn from_json(value: &Json) -> Result<Self, BadScope>;
}

macro_rules! kinds {
    ($($module:ident $variant:ident),*) => {
        /// What holds for one argument. SPEC 4.3.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Constraint {
            $(#[doc = concat!("`", stringify!($module), "`")] $variant(super::$variant)),*
        }

        impl Constraint {
            /// The name of its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Constraint::$variant(_) => super::$variant::NAME),* }
            }

            /// Whether the value, or its absence, is allowed.
            pub fn admits(&self, value: Option<&Json>) -> bool {
                match self { $(Constraint::$variant(kind) => kind.admits(value)),* }
            }

            /// Whether all that `child` allows is allowed here. Sound, not complete.
            pub fn covers(&self, child: &Constraint) -> bool {
                match child.values() {
                    Some(values) => values.iter().all(|value| self.admits(value.as_ref())),
                    None => match self { $(Constraint::$variant(kind) => kind.covers(child)),* },
                }
            }

            pub(super) fn check(&self) -> Result<(), BadScope> {
                match self { $(Constraint::$variant(kind) => kind.check()),* }
            }

            fn values(&self) -> Option<Vec<Option<Json>>> {
                match self { $(Constraint::$variant(kind) => kind.values()),* }
            }

            pub(super) fn render(&self, argument: &render::Argument<'_>, query: &mut Query) {
                match self { $(Constraint::$variant(kind) => kind.render(argument, query)),* }
            }

            pub(super) fn lift(cursor: &mut render::Cursor<'_>) -> Option<(String, Constraint)> {
                $(
                    let mut ahead = cursor.clone();
                    if let Some((name, kind)) = super::$variant::lift(&mut ahead) {
                        *cursor = ahead;
                        return Some((name, Constraint::$variant(kind)));
                    }
                )*
                None
            }

            pub(super) fn to_text(&self) -> Option<String> {
                match self { $(Constraint::$variant(kind) => kind.to_text()),* }
            }

            pub(super) fn from_text(kind: &str, value: Option<&str>) -> Result<Self, BadScope> {
                $(if kind == super::$variant::NAME {
                    return super::$variant::from_text(value).map(Constraint::$variant);
                })*
                Err(unknown(kind))
            }

            pub(super) fn to_json(&self) -> Json {
                match self { $(Constraint::$variant(kind) => kind.to_json()),* }
            }

            pub(super) fn from_json(kind: &str, value: &Json) -> Result<Self, BadScope> {
                $(if kind == super::$variant::NAME {
                    return super::$variant::from_json(value).map(Constraint::$variant);
                })*
                Err(unknown(kind))
            }
        }

        const NAMES: &[&str] = &[$(super::$variant::NAME),*];
    };
}

kinds!(any Any, absent Absent, exactly Exactly, one_of OneOf, prefix Prefix, under Under, range Range);

fn unknown(kind: &str) -> BadScope {
    BadScope(format!("{kind:?} is no kind of constraint: {}", NAMES.join(", ")))
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_text() {
            Some(value) => write!(f, "{}:{value}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

/// Refuses a value where a kind has none.
pub(super) fn no_value(kind: &str, value: Option<&str>) -> Result<(), BadScope> {
    match value {
        None => Ok(()),
        Some(value) => Err(BadScope(format!("{kind} has no value, {value:?} was given"))),
    }
}

/// Demands a value where a kind has one.
pub(super) fn value<'a>(kind: &str, value: Option<&'a str>) -> Result<&'a str, BadScope> {
    value.ok_or_else(|| BadScope(format!("{kind} needs a value: {kind}:VALUE")))
}
