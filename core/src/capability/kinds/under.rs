//! `under`: a path that is the base or lies below it. `path=under:/data`.
//!
//! Only an absolute path with exactly one reading is admitted (`safe_path`): no `..`, no `..;`, no
//! `%`, no `\`, no empty segment, no segment that ends in a dot, Unicode NFKC. Every other path is
//! refused, wherever it may resolve to. Renders as `arg_under("path", "/data")`, a fact that a call
//! has for its path and for each directory above it; inside `any_of` and `not` as
//! `$v.starts_with("/data/")`.

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::facts::UNDER;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::path::{safe_path, slashed};
use crate::capability::scalar::{bare_or_quoted, string_from_json, string_from_text, text};
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// A safe absolute path that is the base or lies below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Under(String);

impl Under {
    /// Returns the constraint with this base: a safe absolute path without a trailing slash.
    pub fn new(base: &str) -> Result<Self, BadScope> {
        match safe_path(base) {
            Some(base) => Ok(Under(base.to_owned())),
            None => Err(BadScope(format!(
                "{base:?} is no base for under: an absolute path in Unicode NFKC, without a trailing slash, % or \\, and without segments that are empty, . or .. up to a ; or end in a dot"
            ))),
        }
    }

    /// Returns the base.
    pub fn base(&self) -> &str {
        &self.0
    }

    fn contains(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&self.0);
        rest.is_some_and(|rest| self.0 == "/" || rest.is_empty() || rest.starts_with('/'))
    }
}

impl Kind for Under {
    const NAME: &'static str = "under";

    fn check(&self) -> Result<(), BadScope> {
        text(&self.0).map(|_| ())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        let Some(Json::Str(text)) = value else { return false };
        safe_path(text).is_some_and(|path| self.contains(path))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Path)
    }

    fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
        Some((UNDER, Some(Term::text(self.0.as_str()))))
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::Prefix, Term::text(slashed(&self.0)))]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Fact(UNDER, terms) => Under::new(terms.get(1)?.as_text()?).ok(),
            Shown::Tests(Family::Path, [Tree::Test(Binary::Prefix, literal)]) => {
                let slashed = literal.as_text()?;
                Under::new(if slashed == "/" { "/" } else { slashed.strip_suffix('/')? }).ok()
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.0))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        Under::new(&string_from_text(value(Self::NAME, text)?)?)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.0.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        Under::new(&string_from_json(Self::NAME, value)?)
    }
}

impl<M: Member + Holds<Under>> Compare<M> for Under {
    fn covers(&self, child: &M) -> bool {
        child.as_kind::<Under>().is_some_and(|child| self.contains(&child.0))
    }

    fn excludes(&self, other: &M) -> bool {
        other
            .as_kind::<Under>()
            .is_some_and(|other| !self.contains(&other.0) && !other.contains(&self.0))
    }
}
