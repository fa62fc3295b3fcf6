//! What every kind of constraint gives, and the list of kinds. SPEC 4.3.
//!
//! Adding a kind: one file that implements [`Kind`], and its row in `kinds!` below.

use std::fmt;

use super::family::Family;
use super::tree::Tree;
use super::{BadScope, Scalar, reserved};
use crate::datalog::{Binary, Expression, Op, Term};
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

    /// Whether no value is in both sets. Sound, and free to say no when unsure.
    fn excludes(&self, _: &Constraint) -> bool {
        false
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

/// What a block says about one argument.
pub(crate) enum Shown<'a> {
    /// One fact of this name, with these terms.
    Fact(&'a str, &'a [Term<'a>]),
    /// The view that must be there, and what is tested of it.
    Tests(Family, &'a [Tree<'a>]),
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

            pub(super) fn check(&self) -> Result<(), BadScope> {
                match self { $(Constraint::$variant(kind) => kind.check()),* }
            }

            pub(super) fn values(&self) -> Option<Vec<Option<Json>>> {
                match self { $(Constraint::$variant(kind) => kind.values()),* }
            }

            pub(super) fn kind_covers(&self, child: &Constraint) -> bool {
                match self { $(Constraint::$variant(kind) => kind.covers(child)),* }
            }

            pub(super) fn kind_excludes(&self, other: &Constraint) -> bool {
                match self { $(Constraint::$variant(kind) => kind.excludes(other)),* }
            }

            pub(crate) fn family(&self) -> Option<Family> {
                match self { $(Constraint::$variant(kind) => kind.family()),* }
            }

            pub(super) fn fact(&self) -> Option<(&'static str, Option<Term<'_>>)> {
                match self { $(Constraint::$variant(kind) => kind.fact()),* }
            }

            pub(super) fn tests<'a>(&'a self, view: &Term<'a>) -> Vec<Expression<'a>> {
                match self { $(Constraint::$variant(kind) => kind.tests(view)),* }
            }

            pub(super) fn lift(shown: &Shown<'_>) -> Option<Self> {
                $(if let Some(kind) = super::$variant::lift(shown) {
                    return Some(Constraint::$variant(kind));
                })*
                None
            }

            pub(super) fn to_text(&self) -> Option<String> {
                match self { $(Constraint::$variant(kind) => kind.to_text()),* }
            }

            pub(super) fn from_text(kind: &str, value: Option<&str>) -> Result<Self, BadScope> {
                $(if kind == super::$variant::NAME {
                    return super::$variant::from_text(value).map(Constraint::$variant);
                })*
                reserved::refuse(kind)?;
                Err(unknown(kind))
            }

            fn value_to_json(&self) -> Json {
                match self { $(Constraint::$variant(kind) => kind.to_json()),* }
            }

            fn value_from_json(kind: &str, value: &Json) -> Result<Self, BadScope> {
                $(if kind == super::$variant::NAME {
                    return super::$variant::from_json(value).map(Constraint::$variant);
                })*
                reserved::refuse(kind)?;
                Err(unknown(kind))
            }
        }

        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$(super::$variant::NAME),*];
    };
}

kinds!(
    any Any, absent Absent, exactly Exactly, one_of OneOf, not_one_of NotOneOf, prefix Prefix,
    glob Glob, regex Regex, under Under, url Url, cidr Cidr, range Range, decimal Decimal,
    max_length MaxLength, contains_all ContainsAll, subset_of SubsetOf, all_of AllOf, any_of AnyOf,
    not Not
);

impl Constraint {
    /// Whether all that `child` allows is allowed here. Sound, not complete.
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

    /// Whether no value is allowed by both. Sound, not complete.
    pub(super) fn excludes(&self, other: &Constraint) -> bool {
        if let Some(values) = other.values() {
            return !values.iter().any(|value| self.admits(value.as_ref()));
        }
        match (self, other) {
            (Constraint::AnyOf(any), _) => any.parts().iter().all(|part| part.excludes(other)),
            (_, Constraint::AnyOf(any)) => any.parts().iter().all(|part| self.excludes(part)),
            (Constraint::AllOf(all), _) if all.parts().iter().any(|part| part.excludes(other)) => {
                true
            }
            (_, Constraint::AllOf(all)) => all.parts().iter().any(|part| self.excludes(part)),
            _ => self.kind_excludes(other) || other.kind_excludes(self),
        }
    }

    /// The constraint behind tests that stand inside `any_of`, `all_of` or `not`.
    pub(super) fn lift_nested(family: Family, tests: &[Tree<'_>]) -> Option<Self> {
        Constraint::lift(&Shown::Tests(family, tests))
    }

    /// Whether absence is refused.
    pub(super) fn needs_a_value(&self) -> bool {
        !self.admits(None)
    }

    /// The constraints that it is made of.
    fn parts(&self) -> &[Constraint] {
        match self {
            Constraint::AllOf(all) => all.parts(),
            Constraint::AnyOf(any) => any.parts(),
            Constraint::Not(not) => std::slice::from_ref(not.part()),
            // Each by its name, so that one more cannot hide what it is made of.
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

    /// Constraints in it, itself included, and how deep they nest.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.parts().iter().map(Constraint::size);
        sizes.fold((1, 1), |(count, depth), (c, d)| (count + c, depth.max(d + 1)))
    }

    /// Patterns in it, which are costly to read and to match.
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

    /// The JSON long form: `{"kind": value}`.
    pub(super) fn to_json(&self) -> Json {
        Json::Object(vec![(self.kind().to_owned(), self.value_to_json())])
    }

    /// Reads the JSON long form.
    pub(super) fn from_json(json: &Json) -> Result<Self, BadScope> {
        match json {
            Json::Object(members) => match members.as_slice() {
                [(kind, value)] => Constraint::value_from_json(kind, value),
                _ => Err(BadScope("a constraint needs exactly one kind".into())),
            },
            _ => Err(BadScope(r#"a constraint is written {"kind": value}"#.into())),
        }
    }
}

/// Whether a step of an expression matches a pattern.
pub(super) fn is_pattern(op: &Op<'_>) -> bool {
    matches!(op, Op::Binary(Binary::Regex))
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

/// The values of a list in SCOPE text: by comma, or a JSON array.
pub(super) fn list(kind: &str, text: Option<&str>) -> Result<Vec<Scalar>, BadScope> {
    let text = value(kind, text)?;
    if text.starts_with('[') {
        return list_from_json(kind, &json(text)?);
    }
    super::text_form::split(text, ',').iter().map(|word| Scalar::from_text(word)).collect()
}

/// The values of a JSON array.
pub(super) fn list_from_json(kind: &str, value: &Json) -> Result<Vec<Scalar>, BadScope> {
    let Json::List(items) = value else { return Err(BadScope(format!("{kind} takes a list"))) };
    items.iter().map(Scalar::from_json).collect()
}

/// JSON inside SCOPE text.
pub(super) fn json(text: &str) -> Result<Json, BadScope> {
    let parsed = Json::parse_canonicalised(text.as_bytes());
    parsed.map(|(json, _)| json).map_err(|bad| BadScope(format!("{text:?} is no JSON: {bad}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_counted_as_they_are_rendered() {
        let texts = [
            r#"regex:"a|b""#,
            "glob:a*",
            "url:https://*.acme.example",
            "url:https://acme.example",
            "prefix:a",
            r#"not:{"glob":"a*"}"#,
            r#"any_of:[{"glob":"a*"},{"glob":"b*"}]"#,
            r#"all_of:[{"url":"https://*.acme.example"},{"not":{"regex":"a|b"}}]"#,
        ];
        for text in texts {
            let (kind, value) = text.split_once(':').unwrap();
            let constraint = Constraint::from_text(kind, Some(value)).unwrap();
            let args = [("a".to_owned(), constraint.clone())];
            let (audience, action) = ("t:x".parse().unwrap(), "a.b".parse().unwrap());
            let capability = super::super::Capability::new(audience, action, args, false).unwrap();
            let query = super::super::render::render(&capability, ("", ""));
            let rendered = query.expressions.iter().flatten().filter(|op| is_pattern(op)).count();
            assert_eq!(constraint.patterns(), rendered, "{text}");
        }
    }
}
