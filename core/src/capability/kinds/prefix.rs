//! `prefix`: a string with this prefix. `name=prefix:q3-`. For paths use `under`, which handles
//! `..`.

use super::under::Under;
use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::kind::{Compare, Holds, Kind, Member, Shown};
use crate::capability::scalar::{bare_or_quoted, string_from_json, string_from_text, text};
use crate::capability::tree::{Tree, test};
use crate::capability::words::value;

/// A string with this prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub String);

impl Kind for Prefix {
    const NAME: &'static str = "prefix";

    fn check(&self) -> Result<(), BadScope> {
        text(&self.0).map(|_| ())
    }

    fn admits(&self, value: Option<&Json>) -> bool {
        matches!(value, Some(Json::Str(text)) if text.starts_with(&self.0))
    }

    fn family(&self) -> Option<Family> {
        Some(Family::Str)
    }

    fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
        vec![test(view, Binary::Prefix, Term::text(self.0.as_str()))]
    }

    fn lift(shown: &Shown<'_>) -> Option<Self> {
        match shown {
            Shown::Tests(Family::Str, [Tree::Test(Binary::Prefix, literal)]) => {
                literal.as_text().map(|text| Prefix(text.to_owned()))
            }
            _ => None,
        }
    }

    fn to_text(&self) -> Option<String> {
        Some(bare_or_quoted(&self.0))
    }

    fn from_text(text: Option<&str>) -> Result<Self, BadScope> {
        string_from_text(value(Self::NAME, text)?).map(Prefix)
    }

    fn to_json(&self) -> Json {
        Json::Str(self.0.clone())
    }

    fn from_json(value: &Json) -> Result<Self, BadScope> {
        string_from_json(Self::NAME, value).map(Prefix)
    }
}

impl<M: Member + Holds<Prefix> + Holds<Under>> Compare<M> for Prefix {
    fn covers(&self, child: &M) -> bool {
        if let Some(child) = child.as_kind::<Prefix>() {
            return child.0.starts_with(&self.0);
        }
        // `under` admits only normal paths, so everything that it admits begins with its base.
        child.as_kind::<Under>().is_some_and(|child| child.base().starts_with(&self.0))
    }

    fn excludes(&self, other: &M) -> bool {
        other
            .as_kind::<Prefix>()
            .is_some_and(|other| !other.0.starts_with(&self.0) && !self.0.starts_with(&other.0))
    }
}
