//! The parts of `all_of` and `any_of`, and the text form of nested constraints.

use crate::base::json::Json;
use crate::biscuit::datalog::{Binary, Expression, Term};
use crate::capability::bad_scope::BadScope;
use crate::capability::kind::Member;
use crate::capability::tree::join;
use crate::capability::words::{json, value};

/// At least two constraints, each on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts<M>(Vec<M>);

impl<M: Member> Parts<M> {
    /// Returns the parts. Fewer than two are refused, and parts of the kind itself, `any` or
    /// `absent`.
    pub(super) fn new(kind: &str, parts: Vec<M>) -> Result<Self, BadScope> {
        if parts.len() < 2 || parts.iter().any(|part| part.kind() == kind) {
            let detail = format!("{kind} takes two constraints or more, none of them {kind}");
            return Err(BadScope(detail));
        }
        if parts.iter().any(|part| part.admits(None)) {
            return Err(BadScope(format!(
                "{kind} takes constraints on a value, not any or absent"
            )));
        }
        Ok(Parts(parts))
    }

    pub(super) fn as_slice(&self) -> &[M] {
        &self.0
    }

    pub(super) fn check(&self) -> Result<(), BadScope> {
        self.0.iter().try_for_each(M::check)
    }

    /// Returns one expression: the tests of each part, and the parts joined by the operator.
    pub(super) fn joined<'a>(&'a self, view: &Term<'a>, operator: Binary) -> Vec<Expression<'a>> {
        let parts = self.0.iter().map(|part| join(part.tests(view), Binary::And));
        vec![join(parts, operator)]
    }

    pub(super) fn to_json(&self) -> Json {
        Json::List(self.0.iter().map(M::to_json).collect())
    }

    pub(super) fn from_json(kind: &str, value: &Json) -> Result<Self, BadScope> {
        let Json::List(parts) = value else {
            return Err(BadScope(format!("{kind} takes a list of constraints")));
        };
        let parts = parts.iter().map(M::from_json).collect::<Result<_, _>>();
        Parts::new(kind, parts?)
    }
}

/// Returns nested constraints in SCOPE text, which are JSON.
pub(super) fn to_text(json: &Json) -> String {
    String::from_utf8_lossy(&json.canonical()).into_owned()
}

/// Parses the result of `to_text`.
pub(super) fn from_text(kind: &str, text: Option<&str>) -> Result<Json, BadScope> {
    let text = value(kind, text)?;
    json(text).map_err(|_| {
        let like =
            if kind == "not" { r#"{"under":"/x"}"# } else { r#"[{"under":"/x"},{"under":"/y"}]"# };
        BadScope(format!("{text:?}: {kind} takes constraints as JSON, as in {kind}:{like}"))
    })
}
