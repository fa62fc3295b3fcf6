//! A scope as a Datalog check, and back. SPEC 4.5.
//!
//! One capability is one query of the check: audience, action, the closure over names, then each
//! argument in order of its name. `lift` reads leniently; the block is rendered again and compared
//! byte by byte, so what it misreads is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Any, Audience, BadScope, Capability, Constraint, Pattern, Scope};
use crate::datalog::{Binary, Check, Op, Predicate, Query, Term};

/// The variable that holds the names of a call.
pub(crate) const NAMES: &str = "names";

/// The argument that a constraint is rendered for.
pub(crate) struct Argument<'a> {
    name: &'a str,
    index: usize,
}

impl Argument<'_> {
    pub(crate) fn name(&self) -> Term {
        Term::String(self.name.to_owned())
    }

    pub(crate) fn variable(&self) -> Term {
        Term::Variable(format!("v{}", self.index))
    }
}

/// What is left to lift of a query.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    body: &'a [Predicate],
    expressions: &'a [Vec<Op>],
}

impl<'a> Cursor<'a> {
    fn predicate(&mut self) -> Option<&'a Predicate> {
        let (first, rest) = self.body.split_first()?;
        self.body = rest;
        Some(first)
    }

    /// The next predicate as (predicate, argument name, its value).
    pub(crate) fn argument(&mut self) -> Option<(&'a str, &'a str, Option<&'a Term>)> {
        let predicate = self.predicate()?;
        match predicate.terms.as_slice() {
            [Term::String(name)] => Some((&predicate.name, name, None)),
            [Term::String(name), value] => Some((&predicate.name, name, Some(value))),
            _ => None,
        }
    }

    /// The next expression.
    pub(crate) fn expression(&mut self) -> Option<&'a [Op]> {
        let (first, rest) = self.expressions.split_first()?;
        self.expressions = rest;
        Some(first)
    }

    fn is_empty(&self) -> bool {
        self.body.is_empty() && self.expressions.is_empty()
    }
}

/// The scope as one check.
pub(crate) fn render_scope(scope: &Scope) -> Check {
    Check { queries: scope.capabilities().iter().map(render).collect() }
}

/// The scope of a check that `render_scope` could have written.
pub(crate) fn lift_scope(check: &Check) -> Result<Scope, BadScope> {
    let capabilities = check.queries.iter().map(|query| {
        lift(query)
            .ok_or_else(|| BadScope("the scope check is no rendering of a capability".into()))
    });
    Scope::new(capabilities.collect::<Result<_, _>>()?)
}

fn render(capability: &Capability) -> Query {
    let mut query = Query::default();
    render_pattern("audience", capability.audience.pattern(), &mut query);
    render_pattern("action", capability.action.pattern(), &mut query);
    let negates =
        capability.args.values().any(|constraint| matches!(constraint, Constraint::Absent(_)));
    if !capability.open || negates {
        query.body.push(Predicate::new("arg_names", [Term::Variable(NAMES.into())]));
    }
    if !capability.open {
        let names: BTreeSet<Term> =
            capability.args.keys().map(|name| Term::String(name.clone())).collect();
        query.expressions.push(vec![
            Op::Value(Term::Set(names)),
            Op::Value(Term::Variable(NAMES.into())),
            Op::Binary(Binary::Contains),
        ]);
    }
    for (index, (name, constraint)) in capability.args.iter().enumerate() {
        constraint.render(&Argument { name, index }, &mut query);
    }
    query
}

fn render_pattern(predicate: &str, pattern: &Pattern, query: &mut Query) {
    match pattern {
        Pattern::Exact(text) => {
            query.body.push(Predicate::new(predicate, [Term::String(text.clone())]))
        }
        Pattern::Prefix(text) => {
            let variable = || Term::Variable(predicate.to_owned());
            query.body.push(Predicate::new(predicate, [variable()]));
            query.expressions.push(vec![
                Op::Value(variable()),
                Op::Value(Term::String(text.clone())),
                Op::Binary(Binary::Prefix),
            ]);
        }
    }
}

fn lift(query: &Query) -> Option<Capability> {
    let mut cursor = Cursor { body: &query.body, expressions: &query.expressions };
    let audience: Audience = lift_pattern("audience", &mut cursor)?.parse().ok()?;
    let action: Action = lift_pattern("action", &mut cursor)?.parse().ok()?;
    let names = lift_names(&mut cursor);
    let open = names.is_none();
    let mut args: BTreeMap<String, Constraint> = BTreeMap::new();
    args.extend(names.into_iter().flatten().map(|name| (name, Constraint::Any(Any))));
    while !cursor.is_empty() {
        let (name, constraint) = Constraint::lift(&mut cursor)?;
        args.insert(name, constraint);
    }
    Capability::new(audience, action, args, open).ok()
}

fn lift_pattern(predicate: &str, cursor: &mut Cursor<'_>) -> Option<String> {
    let found = cursor.predicate()?;
    match found.terms.as_slice() {
        _ if found.name != predicate => None,
        [Term::String(text)] => Some(text.clone()),
        [Term::Variable(_)] => match cursor.expression()? {
            [_, Op::Value(Term::String(text)), Op::Binary(Binary::Prefix)] => Some(text.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The names of a closed capability; `None` for an open one.
fn lift_names(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let first = cursor.body.first()?;
    if first.name != "arg_names" {
        return None;
    }
    cursor.predicate();
    let mut ahead = cursor.clone();
    // An open capability can begin with another set, that of a `one_of`: over another variable.
    let [Op::Value(Term::Set(names)), Op::Value(Term::Variable(over)), ..] = ahead.expression()?
    else {
        return None;
    };
    if over != NAMES {
        return None;
    }
    let names = names.iter().map(|term| match term {
        Term::String(name) => Some(name.clone()),
        _ => None,
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    *cursor = ahead;
    Some(names)
}
