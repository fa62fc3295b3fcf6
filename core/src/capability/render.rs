//! A capability as a query of a Datalog check, and back. SPEC 4.5.
//!
//! One capability is one query of the check: `call(audience, action, count)`, then its limits of
//! use and delegation, then each argument in the order of names. A closed capability whose
//! arguments must all be present fixes their number; one whose arguments may be missing fixes the
//! set of names. `lift` reads leniently; the block is rendered again and compared byte by byte, so
//! what `lift` misreads is refused.

use std::collections::BTreeSet;

use super::constraint::{AllOf, Constraint};
use super::facts::{CALL, NAMES};
use super::family::Family;
use super::hop_limits::HopLimits;
use super::kind::{Member as _, Shown};
use super::kinds::{Absent, Any};
use super::one::Capability;
use super::pattern::Pattern;
use super::tree::{self, Tree, test, within};
use crate::biscuit::datalog::{Binary, Expression, Op, Predicate, Query, Term};

pub(super) fn render<'a>(capability: &'a Capability, agent: (&'a str, &'a str)) -> Query<'a> {
    // Each member is named, so a further one cannot be left out of a block. `args` and `open` are
    // rendered through the count, the names and `args()`.
    let Capability { audience, action, args: _, open: _, travel } = capability;
    let mut query = Query::default();
    let (audience, audience_prefix) = render_pattern("audience", audience.pattern());
    let (action, action_prefix) = render_pattern("action", action.pattern());
    let count = match capability.exact_count() {
        Some(count) => Term::Integer(count),
        None => Term::variable("count"),
    };
    query.body.push(Predicate::new(CALL, [audience, action, count]));
    query.body.extend(travel.render(agent));
    query.expressions.extend(audience_prefix.into_iter().chain(action_prefix));
    render_names(capability, &mut query);
    let mut views = 0;
    for (name, constraint) in capability.args() {
        render_argument(name, constraint, &mut views, &mut query);
    }
    query
}

/// Returns the term of a pattern, and the test if it is a prefix.
fn render_pattern<'a>(
    variable: &'static str,
    pattern: &'a Pattern,
) -> (Term<'a>, Option<Expression<'a>>) {
    match pattern {
        Pattern::Exact(text) => (Term::text(text.as_str()), None),
        Pattern::Prefix(text) => {
            let variable = Term::variable(variable);
            let prefix = test(&variable, Binary::Prefix, Term::text(text.as_str()));
            (variable, Some(prefix))
        }
    }
}

/// Renders which names may be present, and which must be absent.
fn render_names<'a>(capability: &'a Capability, query: &mut Query<'a>) {
    let absent = || capability.args().filter(|(_, c)| matches!(c, Constraint::Absent(_)));
    let by_names = !capability.is_open() && capability.exact_count().is_none();
    if !by_names && absent().next().is_none() {
        return;
    }
    let names = Term::variable("names");
    query.body.push(Predicate::new(NAMES, [names.clone()]));
    if by_names {
        let known: BTreeSet<Term<'a>> =
            capability.args().map(|(name, _)| Term::text(name)).collect();
        query.expressions.push(within(&names, Term::Set(known)));
    }
    for (name, _) in absent() {
        let mut expression = test(&names, Binary::Contains, Term::text(name));
        expression.push(Op::Negate);
        query.expressions.push(expression);
    }
}

fn render_argument<'a>(
    name: &'a str,
    constraint: &'a Constraint,
    views: &mut usize,
    query: &mut Query<'a>,
) {
    if let Constraint::Any(_) | Constraint::Absent(_) = constraint {
        // `render_names` renders it.
    } else if let Constraint::AllOf(all) = constraint {
        all.parts().iter().for_each(|part| render_argument(name, part, views, query));
    } else if let Some((predicate, value)) = constraint.fact() {
        let terms = std::iter::once(Term::text(name)).chain(value);
        query.body.push(Predicate::new(predicate, terms));
    } else if let Some(family) = constraint.family() {
        let view = view(*views);
        *views += 1;
        query.body.push(Predicate::new(family.predicate(), [Term::text(name), view.clone()]));
        query.expressions.extend(constraint.tests(&view));
    }
}

/// Returns the variable of the next view that is tested: `$v0`, `$v1`, …
fn view<'a>(number: usize) -> Term<'a> {
    const NAMES: [&str; 8] = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"];
    NAMES
        .get(number)
        .map_or_else(|| Term::variable(format!("v{number}")), |name| Term::variable(*name))
}

/// The rest of a query that is not read yet.
struct Cursor<'q, 'a> {
    body: &'q [Predicate<'a>],
    expressions: &'q [Expression<'a>],
}

impl<'q, 'a> Cursor<'q, 'a> {
    fn predicate(&mut self) -> Option<&'q Predicate<'a>> {
        let (first, rest) = self.body.split_first()?;
        self.body = rest;
        Some(first)
    }

    /// Reads the next expressions that are trees over this variable.
    fn tests(&mut self, view: &Term<'a>) -> Vec<Tree<'a>> {
        let mut trees = Vec::with_capacity(2);
        while let Some((first, rest)) = self.expressions.split_first() {
            let Some(tree) = tree::read(first, view) else { break };
            trees.push(tree);
            self.expressions = rest;
        }
        trees
    }
}

pub(super) fn lift(query: &Query<'_>) -> Option<Capability> {
    let mut cursor = Cursor { body: &query.body, expressions: &query.expressions };
    let call = cursor.predicate().filter(|call| call.name == CALL)?;
    let [audience, action, count] = call.terms.as_slice() else { return None };
    let audience = lift_pattern(audience, &mut cursor)?.parse().ok()?;
    let action = lift_pattern(action, &mut cursor)?.parse().ok()?;
    let travel = HopLimits::lift(&mut cursor.body)?;
    let (closed, mut args) = lift_names(&mut cursor)?;
    let open = !closed && !matches!(count, Term::Integer(_));
    while let Some(shown) = cursor.predicate() {
        let (name, constraint) = lift_argument(shown, &mut cursor)?;
        match args.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = both(known.clone(), constraint)?,
            None => args.push((name, constraint)),
        }
    }
    if !cursor.expressions.is_empty() {
        return None;
    }
    // `HopLimits::lift` has checked `travel`.
    Capability::of_parts(audience, action, args, open, travel).ok()
}

fn lift_pattern(term: &Term<'_>, cursor: &mut Cursor<'_, '_>) -> Option<String> {
    match term {
        Term::String(text) => Some(text.clone().into_owned()),
        Term::Variable(_) => {
            let (first, rest) = cursor.expressions.split_first()?;
            cursor.expressions = rest;
            match first.as_slice() {
                [Op::Value(variable), Op::Value(text), Op::Binary(Binary::Prefix)]
                    if variable == term =>
                {
                    text.as_text().map(str::to_owned)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reads whether the names are fixed by a set, and what that set implies for each name.
fn lift_names(cursor: &mut Cursor<'_, '_>) -> Option<(bool, Vec<(String, Constraint)>)> {
    let (mut closed, mut args) = (false, Vec::new());
    let Some(names) = cursor.body.first().filter(|first| first.name == NAMES) else {
        return Some((closed, args));
    };
    cursor.predicate();
    for tree in cursor.tests(names.terms.first()?) {
        match tree {
            Tree::In(Term::Set(names)) => {
                closed = true;
                for name in &names {
                    args.push((name.as_text()?.to_owned(), Constraint::Any(Any)));
                }
            }
            Tree::Not(inner) => match *inner {
                Tree::Test(Binary::Contains, name) => {
                    args.push((name.as_text()?.to_owned(), Constraint::Absent(Absent)));
                }
                _ => return None,
            },
            _ => return None,
        }
    }
    Some((closed, args))
}

fn lift_argument<'a>(
    shown: &Predicate<'a>,
    cursor: &mut Cursor<'_, 'a>,
) -> Option<(String, Constraint)> {
    let name = shown.terms.first()?.as_text()?.to_owned();
    let constraint = match shown.terms.get(1) {
        Some(view @ Term::Variable(_)) => {
            let family = Family::of_predicate(&shown.name)?;
            Constraint::lift(&Shown::Tests(family, &cursor.tests(view)))
        }
        _ => Constraint::lift(&Shown::Fact(&shown.name, &shown.terms)),
    };
    Some((name, constraint?))
}

/// Returns the constraint of a name that two predicates mention.
fn both(known: Constraint, more: Constraint) -> Option<Constraint> {
    match known {
        Constraint::Any(_) => Some(more),
        Constraint::AllOf(all) => {
            let parts = all.parts().iter().cloned().chain([more]).collect();
            AllOf::new(parts).ok().map(Constraint::AllOf)
        }
        known => AllOf::new(vec![known, more]).ok().map(Constraint::AllOf),
    }
}
