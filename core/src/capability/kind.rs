//! What every kind of constraint provides, and what it may ask of any other. SPEC 4.3.
//!
//! Owns: the traits between the kinds and the list of them. Does not own: any kind, or the list
//! (`constraint`); nothing here depends on either.
//!
//! A kind implements [`Kind`] and [`Compare`]. It is compared with any [`Member`], and names the
//! kinds that it understands as [`Holds`] of them.

use super::bad_scope::BadScope;
use super::family::Family;
use super::tree::Tree;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};

/// A set of values with one written form. Absence is one of the possible values.
pub(crate) trait Kind: Sized {
    /// The name in text and JSON.
    const NAME: &'static str;

    /// Refuses a set whose values cannot be written and read back.
    fn check(&self) -> Result<(), BadScope> {
        Ok(())
    }

    /// Returns whether the value, or its absence, is in the set.
    fn admits(&self, value: Option<&Json>) -> bool;

    /// Returns every value of the set; `None` when they cannot be listed.
    fn values(&self) -> Option<Vec<Option<Json>>> {
        None
    }

    /// Returns the view of the argument that it tests; `None` when it tests none, or several. Each
    /// kind must implement this: a kind without a view and without a fact would render as nothing.
    fn family(&self) -> Option<Family>;

    /// Returns the fact that is its whole rendering, as (predicate, term), which is shorter than an
    /// expression; `None` when it has none.
    fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
        None
    }

    /// Returns its tests of the view, as expressions that must all hold. They need not cover values
    /// without the view, which have no fact and are refused.
    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>>;

    /// Reads a fact or tests; `None` when they are not of this kind. It may be lenient: its result
    /// is rendered again and compared.
    fn lift(shown: &Shown<'_>) -> Option<Self>;

    /// Returns the value after `kind:` in SCOPE text; `None` when there is none.
    fn to_text(&self) -> Option<String>;

    /// Parses the result of `to_text`.
    fn from_text(value: Option<&str>) -> Result<Self, BadScope>;

    /// Returns the value in the JSON long form `{"kind": value}`.
    fn to_json(&self) -> Json;

    /// Parses the result of `to_json`.
    fn from_json(value: &Json) -> Result<Self, BadScope>;
}

/// How a kind of constraint compares with any constraint.
pub(crate) trait Compare<M>: Kind {
    /// Returns whether every value of `child`, a set that cannot be listed, is in this one. Sound:
    /// it may return false when unsure.
    fn covers(&self, child: &M) -> bool;

    /// Returns whether no value is in both sets. Sound: it may return false when unsure.
    fn excludes(&self, _: &M) -> bool {
        false
    }
}

/// A constraint of any kind: what a kind may ask of another constraint, and of its own parts.
pub(crate) trait Member: Sized {
    /// Returns the name of its kind.
    fn kind(&self) -> &'static str;

    /// Refuses a set whose values cannot be written and read back.
    fn check(&self) -> Result<(), BadScope>;

    /// Returns whether the value, or its absence, is allowed.
    fn admits(&self, value: Option<&Json>) -> bool;

    /// Returns whether everything that `child` allows is allowed here. Sound: it may return false
    /// for a child that is narrower.
    fn covers(&self, child: &Self) -> bool;

    /// Returns whether no value is allowed by both. Sound: it may return false although there is
    /// none.
    fn excludes(&self, other: &Self) -> bool;

    /// Returns the view of the argument that it tests; `None` when it tests none, or several.
    fn family(&self) -> Option<Family>;

    /// Returns its tests of the view, as expressions that must all hold.
    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>>;

    /// Reads the constraint of tests inside `any_of`, `all_of` or `not`; `None` when they are of no
    /// kind.
    fn lift_nested(family: Family, tests: &[Tree<'_>]) -> Option<Self>;

    /// Returns the JSON long form: `{"kind": value}`.
    fn to_json(&self) -> Json;

    /// Parses the JSON long form.
    fn from_json(json: &Json) -> Result<Self, BadScope>;

    /// Returns the constraint as kind `K`; `None` when it is of another kind.
    fn as_kind<K>(&self) -> Option<&K>
    where
        Self: Holds<K>,
    {
        self.held()
    }
}

/// A constraint that may be of kind `K`.
pub(crate) trait Holds<K> {
    /// Returns the constraint as kind `K`, for [`Member::as_kind`]; `None` when it is of another
    /// kind.
    fn held(&self) -> Option<&K>;
}

/// What a block states about one argument.
pub(crate) enum Shown<'a> {
    /// A fact with this name and these terms.
    Fact(&'a str, &'a [Term<'a>]),
    /// The view that must be present, and the tests of it.
    Tests(Family, &'a [Tree<'a>]),
}
