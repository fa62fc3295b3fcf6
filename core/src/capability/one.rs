//! One capability: its parts, which calls it admits, and its text. SPEC 4.1 to 4.3.
//!
//! Owns: [`Capability`], its parts within their limits, `admits`, its SCOPE text. Does not own: how
//! one is made (`normal`), its rendering in a block (`render`).
//!
//! Invariants: a capability is closed unless it says otherwise: an argument that it does not name
//! must be absent. It does not repeat its default.

use std::collections::BTreeMap;
use std::fmt;

use super::bad_scope::BadScope;
use super::constraint::Constraint;
use super::hop_limits::{self, ChainPosition, HopLimits};
use super::kind::Member as _;
use super::kinds::{Absent, Any};
use super::pattern::{Action, Audience};
use super::reserved;
use super::scalar::{plain_or_quoted, quoted};
use super::words::OTHERS;
use crate::base::limits;
use crate::evidence::call::Call;

/// One capability: which tools, which actions, with which arguments.
///
/// ```
/// use sublet_core::capability::{Capability, ChainPosition};
/// use sublet_core::evidence::call::{Arguments, Call};
///
/// let text = "fs.read@tool://files limit=range:1..1000 path=under:/data";
/// let capability: Capability = text.parse()?;
/// assert_eq!(capability.to_string(), text);
/// assert_eq!(Capability::from_json(&capability.to_json())?, capability);
///
/// let arguments = Arguments::from_json(br#"{"path":"/etc/passwd","limit":5}"#).unwrap();
/// let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
/// let refusal = capability.refusal(&call, ChainPosition::default()).unwrap();
/// assert_eq!(refusal, r#"the argument "path" is "/etc/passwd", held is under:/data"#);
/// # Ok::<(), sublet_core::capability::BadScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub(super) audience: Audience,
    pub(super) action: Action,
    pub(super) args: BTreeMap<String, Constraint>,
    pub(super) open: bool,
    pub(super) travel: HopLimits,
}

impl Capability {
    /// Returns a capability of these parts, without those that repeat its default. Parts beyond the
    /// limits are refused. There may be a simpler form; `normal` refuses that, and a block that was
    /// read is rendered again and compared.
    pub(super) fn of_parts(
        audience: Audience,
        action: Action,
        args: impl IntoIterator<Item = (String, Constraint)>,
        open: bool,
        travel: HopLimits,
    ) -> Result<Self, BadScope> {
        let default = Self::default_constraint(open);
        let mut named = BTreeMap::new();
        for (name, constraint) in args {
            if name.len() > limits::TEXT_BYTES_MAX {
                return Err(BadScope(format!(
                    "an argument name is over {} bytes",
                    limits::TEXT_BYTES_MAX
                )));
            }
            constraint.check()?;
            if constraint.size().1 > limits::CONSTRAINT_DEPTH_MAX {
                let max = limits::CONSTRAINT_DEPTH_MAX;
                return Err(BadScope(format!("constraints nest at most {max} deep")));
            }
            if named.contains_key(&name) {
                return Err(BadScope(format!("the argument {name:?} is constrained twice")));
            }
            named.insert(name, constraint);
        }
        named.retain(|_, constraint| *constraint != default);
        if named.values().map(|c| c.size().0).sum::<usize>() > limits::CONSTRAINTS_MAX {
            return Err(BadScope(format!(
                "over {} constraints in one capability",
                limits::CONSTRAINTS_MAX
            )));
        }
        Ok(Capability { audience, action, args: named, open, travel })
    }

    fn default_constraint(open: bool) -> Constraint {
        if open { Constraint::Any(Any) } else { Constraint::Absent(Absent) }
    }

    /// Returns which tools it is for.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Returns which actions it is for.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Returns the named constraints, sorted by name.
    pub fn args(&self) -> impl Iterator<Item = (&str, &Constraint)> {
        self.args.iter().map(|(name, constraint)| (name.as_str(), constraint))
    }

    /// Returns whether arguments that are not named may have any value.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Returns the limits on its use and its delegation.
    pub fn travel(&self) -> HopLimits {
        self.travel
    }

    /// Returns how many arguments a call must have; `None` unless the capability is closed and all
    /// of its arguments must be present.
    pub(super) fn exact_count(&self) -> Option<i64> {
        let exact = !self.open && self.args.values().all(Constraint::needs_a_value);
        exact.then(|| i64::try_from(self.args.len()).unwrap_or(i64::MAX))
    }

    /// Returns the constraint on the argument of this name.
    pub(super) fn constraint(&self, name: &str) -> Constraint {
        self.args.get(name).cloned().unwrap_or_else(|| Self::default_constraint(self.open))
    }

    /// Returns whether the capability admits the call of a holder at this position.
    pub fn admits(&self, call: &Call, position: ChainPosition) -> bool {
        self.refusal(call, position).is_none()
    }

    /// Returns why it does not admit the call, as text; `None` when it does.
    pub fn refusal(&self, call: &Call, position: ChainPosition) -> Option<String> {
        // Each member is named, so a further one cannot be forgotten here.
        let Capability { audience, action, args, open, travel } = self;
        if !audience.admits(&call.audience) {
            return Some(format!("the audience {:?} is not {audience}", call.audience));
        }
        if !action.admits(&call.action) {
            return Some(format!("the action {:?} is not {action}", call.action));
        }
        let refused =
            args.iter().find(|(name, constraint)| !constraint.admits(call.arguments.leaf(name)));
        if let Some((name, constraint)) = refused {
            let asked =
                call.arguments.leaf(name).map_or("absent".to_owned(), |value| value.brief());
            return Some(format!("the argument {name:?} is {asked}, held is {constraint}"));
        }
        let unnamed = call.arguments.leaves().find(|(name, _)| !open && !args.contains_key(*name));
        let unnamed = unnamed.map(|(name, _)| {
            format!("the argument {name:?} is not named by the capability, which is closed")
        });
        unnamed.or_else(|| travel.refusal(position))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each member is named, so a further one cannot be left out of what a person reads.
        let Capability { audience, action, args, open, travel } = self;
        write!(f, "{action}@{audience}")?;
        for (name, constraint) in args {
            write!(f, " {}={constraint}", name_text(name))?;
        }
        if *open {
            write!(f, " {OTHERS}=any")?;
        }
        write!(f, "{travel}")
    }
}

/// Returns an argument's name, quoted if it would read as a word with a meaning, now or in a later
/// version.
fn name_text(name: &str) -> String {
    match hop_limits::begins(name) || reserved::begins(name) {
        true => quoted(name),
        false => plain_or_quoted(name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AllOf, AnyOf, Prefix};
    use super::*;

    #[test]
    fn names_and_nesting_have_their_bounds() {
        let of = |name: &str, constraint: &str| {
            format!("fs.read@tool://files {name}={constraint}").parse::<Capability>()
        };
        let name = |bytes: usize| of(&"n".repeat(bytes), "exactly:a");
        assert!(name(limits::TEXT_BYTES_MAX).is_ok());
        assert!(name(limits::TEXT_BYTES_MAX + 1).is_err());
        // Each of these is one in the other, so none is written more simply.
        let nested = |depth: usize| {
            let mut constraint = Constraint::Prefix(Prefix("a".into()));
            for at in 1..depth {
                let other = Constraint::Prefix(Prefix(format!("b{at}")));
                let parts = vec![constraint, other];
                constraint = match at % 2 {
                    1 => Constraint::AnyOf(AnyOf::new(parts).unwrap()),
                    _ => Constraint::AllOf(AllOf::new(parts).unwrap()),
                };
            }
            let named = [("p".to_owned(), constraint)];
            Capability::new(
                "tool://files".parse().unwrap(),
                "fs.read".parse().unwrap(),
                named,
                false,
            )
        };
        assert!(nested(limits::CONSTRAINT_DEPTH_MAX).is_ok());
        let deeper = nested(limits::CONSTRAINT_DEPTH_MAX + 1).unwrap_err();
        assert_eq!(deeper, BadScope("constraints nest at most 4 deep".into()));
    }
}
