//! The names of the facts of a call that checks use. SPEC 4.6.
//!
//! Owns: the predicates that both a rendered capability and the facts of a call use. Does not own:
//! the views of an argument, each of which has a predicate of its own (`family`).

use crate::biscuit::datalog::{Predicate, Term};

/// The fact that a call has once: audience, action, number of arguments.
pub(crate) const CALL: &str = "call";

/// The fact that a call has once: the set of its arguments' names.
pub(crate) const NAMES: &str = "arg_names";

/// The fact of an argument that is null.
pub(crate) const NULL: &str = "arg_null";

/// The fact of a path and of each directory above it.
pub(crate) const UNDER: &str = "arg_under";

/// The fact of the number of hops: a chain has it for every n that the number does not exceed.
pub(crate) const HOPS: &str = "hops";

/// The fact that the last holder is a delegate of an agent (directory, name): a chain has it for
/// every agent that is neither the last holder nor the agent of that helper.
const DELEGATE_OF: &str = "delegate_of";

/// Returns the fact, and the test, that the caller is a delegate of this agent (directory, name).
pub(crate) fn delegate_of<'a>(agent: (&'a str, &'a str)) -> Predicate<'a> {
    Predicate::new(DELEGATE_OF, [Term::text(agent.0), Term::text(agent.1)])
}

/// Returns whether a predicate is [`delegate_of`] any agent.
pub(crate) fn is_delegate_of(predicate: &Predicate<'_>) -> bool {
    predicate.name == DELEGATE_OF
}
