//! What every kind of constraint gives, and what it may ask of any other. SPEC 4.3.
//!
//! Owns: the traits between the kinds and the list of them. Does not own: any kind, or the list
//! (`constraint`); nothing here knows either.
//!
//! A kind implements [`Kind`] and [`Compare`]. It is compared with any [`Member`], and names the kinds that
//! it understands as [`Holds`] of them.

use super::bad_scope::BadScope;
use super::family::Family;
use super::tree::Tree;
use crate::base::json::Json;
use crate::biscuit::datalog::{Expression, Term};

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

    /// The view of the argument that it tests; `None` when it tests none, or several. Each kind has to
    /// say it: one without a view and without a fact would leave nothing in a block.
    fn family(&self) -> Option<Family>;

    /// The fact that alone says it, as (predicate, term): shorter than an expression.
    fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
        None
    }

    /// What it tests of the view, as expressions that must all hold. Of values without the view
    /// nothing is said here: they have no fact and are refused.
    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>>;

    /// Reads what `fact` or `tests` say; `None` when it is not of this kind. May be lenient: what
    /// it returns is rendered again and compared.
    fn lift(shown: &Shown<'_>) -> Option<Self>;

    /// The value behind `kind:` in SCOPE text; `None` when there is none.
    fn to_text(&self) -> Option<String>;

    /// Reads what `to_text` writes.
    fn from_text(value: Option<&str>) -> Result<Self, BadScope>;

    /// The value of the JSON long form `{"kind": value}`.
    fn to_json(&self) -> Json;

    /// Reads what `to_json` writes.
    fn from_json(value: &Json) -> Result<Self, BadScope>;
}

/// How a kind of constraint compares with any constraint.
pub(crate) trait Compare<M>: Kind {
    /// Whether every value of `child`, a set that cannot be listed, is in this one. Sound, and
    /// free to say no when unsure.
    fn covers(&self, child: &M) -> bool;

    /// Whether no value is in both sets. Sound, and free to say no when unsure.
    fn excludes(&self, _: &M) -> bool {
        false
    }
}

/// A constraint of any kind: what a kind may ask of another constraint, and of those that it holds.
pub(crate) trait Member: Sized {
    /// The name of its kind.
    fn kind(&self) -> &'static str;

    /// Refuses a set whose values cannot be written and read back.
    fn check(&self) -> Result<(), BadScope>;

    /// Whether the value, or its absence, is allowed.
    fn admits(&self, value: Option<&Json>) -> bool;

    /// Whether all that `child` allows is allowed here. Sound, not complete.
    fn covers(&self, child: &Self) -> bool;

    /// Whether no value is allowed by both. Sound, not complete.
    fn excludes(&self, other: &Self) -> bool;

    /// The view of the argument that it tests; `None` when it tests none, or several.
    fn family(&self) -> Option<Family>;

    /// What it tests of the view, as expressions that must all hold.
    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>>;

    /// The constraint behind tests that stand inside `any_of`, `all_of` or `not`.
    fn lift_nested(family: Family, tests: &[Tree<'_>]) -> Option<Self>;

    /// The JSON long form: `{"kind": value}`.
    fn to_json(&self) -> Json;

    /// Reads the JSON long form.
    fn from_json(json: &Json) -> Result<Self, BadScope>;

    /// What it says, when it is of this kind.
    fn as_kind<K>(&self) -> Option<&K>
    where
        Self: Holds<K>,
    {
        self.held()
    }
}

/// A constraint that may be of kind `K`.
pub(crate) trait Holds<K> {
    /// What it says, when it is of this kind: asked by [`Member::as_kind`].
    fn held(&self) -> Option<&K>;
}

/// What a block says about one argument.
pub(crate) enum Shown<'a> {
    /// One fact of this name, with these terms.
    Fact(&'a str, &'a [Term<'a>]),
    /// The view that must be there, and what is tested of it.
    Tests(Family, &'a [Tree<'a>]),
}
