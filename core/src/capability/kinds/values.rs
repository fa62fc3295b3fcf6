//! A set of values of one type, for `one_of`, `not_one_of` and the kinds for lists.

use std::collections::BTreeSet;

use crate::base::json::Json;
use crate::base::limits;
use crate::biscuit::datalog::Term;
use crate::capability::bad_scope::BadScope;
use crate::capability::family::Family;
use crate::capability::scalar::Scalar;

/// 1 to [`limits::ONE_OF_MAX`] strings, integers or decimals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values(BTreeSet<Scalar>);

impl Values {
    /// Returns the set of these values. None, too many, or mixed types are refused.
    pub(super) fn new(
        kind: &str,
        values: impl IntoIterator<Item = Scalar>,
    ) -> Result<Self, BadScope> {
        let values: BTreeSet<Scalar> = values.into_iter().collect();
        let Some(first) = values.first() else {
            return Err(BadScope(format!("{kind} needs at least one value")));
        };
        if values.len() > limits::ONE_OF_MAX {
            return Err(BadScope(format!("{kind} takes at most {} values", limits::ONE_OF_MAX)));
        }
        if matches!(first, Scalar::Null | Scalar::Bool(_))
            || values.iter().any(|v| v.family() != first.family())
        {
            return Err(BadScope(format!(
                "{kind} takes strings, or integers, or decimals, not a mixture"
            )));
        }
        Ok(Values(values))
    }

    pub(super) fn check(&self) -> Result<(), BadScope> {
        self.0.iter().try_for_each(Scalar::check)
    }

    /// Returns the view of all values.
    pub(super) fn family(&self) -> Option<Family> {
        self.0.first().and_then(Scalar::family)
    }

    pub(super) fn contains(&self, value: &Json) -> bool {
        self.0.iter().any(|scalar| scalar.is(value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Scalar> {
        self.0.iter()
    }

    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    pub(super) fn set(&self) -> Term<'_> {
        Term::Set(self.0.iter().filter_map(Scalar::term).collect())
    }

    /// Returns the values of a set under this view of its items; `None` when they are none.
    pub(super) fn from_set(kind: &str, family: Family, set: &Term<'_>) -> Option<Self> {
        let Term::Set(terms) = set else { return None };
        let values: Option<Vec<_>> = terms.iter().map(|t| Scalar::from_term(family, t)).collect();
        Values::new(kind, values?).ok()
    }

    pub(super) fn to_text(&self) -> String {
        let words: Vec<String> = self.0.iter().map(Scalar::to_string).collect();
        words.join(",")
    }

    pub(super) fn to_json(&self) -> Json {
        Json::List(self.0.iter().map(Scalar::to_json).collect())
    }
}

/// Returns the view of a list of such values; `None` for decimals.
pub(super) fn list_family(values: &Values) -> Option<Family> {
    match values.family() {
        Some(Family::Str) => Some(Family::ListStr),
        Some(Family::Int) => Some(Family::ListInt),
        _ => None,
    }
}

/// Returns the values of a set under a list's view; `None` when they are none.
pub(super) fn of_list(kind: &str, family: Family, set: &Term<'_>) -> Option<Values> {
    match family {
        Family::ListStr => Values::from_set(kind, Family::Str, set),
        Family::ListInt => Values::from_set(kind, Family::Int, set),
        _ => None,
    }
}
