//! The facts of a call that checks ask about, by name. SPEC 4.6.
//!
//! Owns: the predicates that both who renders a capability and who presents a call write. Does not own: the
//! views of an argument, each of which has a predicate (`family`).

use crate::biscuit::datalog::{Predicate, Term};

/// The fact that a call has once: audience, action, number of arguments.
pub(crate) const CALL: &str = "call";

/// The fact that a call has once: the set of its arguments' names.
pub(crate) const NAMES: &str = "arg_names";

/// The fact of an argument that is null.
pub(crate) const NULL: &str = "arg_null";

/// The fact of a path and of each directory above it.
pub(crate) const UNDER: &str = "arg_under";

/// The fact that a chain has for every n that it does not exceed: blocks after block 0.
pub(crate) const HOPS: &str = "hops";

/// The fact that a chain has for every agent in it, as directory and name, that is not the last
/// holder or the one that the last holder is a helper of.
const DELEGATE_OF: &str = "delegate_of";

/// The fact, and the test, that the caller is a delegate of this agent (directory, name).
pub(crate) fn delegate_of<'a>(agent: (&'a str, &'a str)) -> Predicate<'a> {
    Predicate::new(DELEGATE_OF, [Term::text(agent.0), Term::text(agent.1)])
}

/// Whether a predicate is [`delegate_of`] some agent.
pub(crate) fn is_delegate_of(predicate: &Predicate<'_>) -> bool {
    predicate.name == DELEGATE_OF
}
