//! A scope as one Datalog check, and back. SPEC 4.5.
//!
//! Owns: the check, with one query for each capability. Does not own: the query (`render`).

use super::bad_scope::BadScope;
use super::render::{lift, render};
use super::scope::{Scope, check_patterns};
use super::tree::is_pattern;
use crate::base::limits;
use crate::biscuit::datalog::Check;

/// Returns the scope as one check, of a block of this agent (directory, name).
pub(crate) fn render_scope<'a>(scope: &'a Scope, agent: (&'a str, &'a str)) -> Check<'a> {
    let queries = scope.capabilities().iter().map(|capability| render(capability, agent));
    Check { queries: queries.collect() }
}

/// Returns the scope of a check that `render_scope` could have written.
pub(crate) fn lift_scope(check: &Check<'_>) -> Result<Scope, BadScope> {
    // Patterns are counted before any is compiled.
    let expressions = check.queries.iter().flat_map(|query| query.expressions.iter().flatten());
    check_patterns(expressions.filter(|op| is_pattern(op)).count(), limits::PATTERNS_MAX, "scope")?;
    let capabilities = check.queries.iter().map(|query| {
        lift(query)
            .ok_or_else(|| BadScope("the scope check is no rendering of a capability".into()))
    });
    Scope::new(capabilities.collect::<Result<_, _>>()?)
}
