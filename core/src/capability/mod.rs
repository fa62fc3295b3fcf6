//! Authority: capabilities, their constraints, and what "narrower" means. SPEC section 4.
//!
//! Owns: [`Capability`], [`Scope`], the kinds of constraint (one file each), `admits` and
//! `covers`. Does not own: windows, depth, who holds what (`block`, `narrow`).
//!
//! Invariants: a capability is closed unless it says otherwise, so a name that is not constrained
//! must be absent; `covers` is sound: what a covered child admits, its parent admits. It may say
//! no when unsure. A capability that exists is normal: it names nothing that its default says.

mod absent;
mod all_of;
mod any;
mod any_of;
mod bounds;
mod cidr;
mod contains_all;
mod decimal;
mod exactly;
pub(crate) mod family;
mod glob;
mod hop_limits;
mod json_form;
mod kind;
mod max_length;
mod meet;
mod narrow;
mod not;
mod not_one_of;
mod one_of;
mod parts;
mod pattern;
mod pattern_text;
mod prefix;
mod range;
mod regex;
mod render;
mod reserved;
mod scalar;
mod subset_of;
mod text_form;
mod tree;
mod under;
mod url;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use absent::Absent;
pub use all_of::AllOf;
pub use any::Any;
pub use any_of::AnyOf;
pub use cidr::Cidr;
pub use contains_all::ContainsAll;
pub use decimal::Decimal;
pub use exactly::Exactly;
pub use glob::Glob;
pub(crate) use hop_limits::delegate_of;
pub use hop_limits::{ChainPosition, HopLimits, Step};
pub use kind::{Constraint, KINDS};
pub use max_length::MaxLength;
pub use meet::Clamped;
pub(crate) use meet::Meets;
pub use narrow::Excess;
pub use not::Not;
pub use not_one_of::NotOneOf;
pub use one_of::OneOf;
pub use pattern::{Action, Audience, Pattern};
pub use prefix::Prefix;
pub use range::Range;
pub use regex::Regex;
pub(crate) use render::{CALL, NAMES, check_patterns, lift_scope, render_scope};
pub use reserved::RESERVED_WORDS;
pub use scalar::Scalar;
pub use subset_of::SubsetOf;
pub use under::Under;
pub use url::Url;

use crate::call::Call;
use crate::limits;

/// Why a text or JSON is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadScope(pub String);

/// One capability: which tools, which actions, with which arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    audience: Audience,
    action: Action,
    args: BTreeMap<String, Constraint>,
    open: bool,
    travel: HopLimits,
}

impl Capability {
    /// A capability over these arguments. `open` lets every argument that is not named through;
    /// closed, which is the rule, it must be absent.
    pub fn new(
        audience: Audience,
        action: Action,
        args: impl IntoIterator<Item = (String, Constraint)>,
        open: bool,
    ) -> Result<Self, BadScope> {
        let capability = Self::of_parts(audience, action, args, open)?;
        let lifted = render::lift(&render::render(&capability, ("", "")));
        match lifted {
            Some(same) if same == capability => Ok(capability),
            Some(simpler) => Err(BadScope(format!("{capability} is written as {simpler}"))),
            None => Err(BadScope(format!("{capability} cannot be written in a block"))),
        }
    }

    /// The same, of parts that were just read from a block, which is rendered again and compared.
    fn of_parts(
        audience: Audience,
        action: Action,
        args: impl IntoIterator<Item = (String, Constraint)>,
        open: bool,
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
        let travel = HopLimits::default();
        Ok(Capability { audience, action, args: named, open, travel })
    }

    /// The narrowest capability that admits this call: what to ask for. Arguments that are lists or
    /// empty objects are left as `any`.
    pub fn of_call(call: &Call) -> Result<Self, BadScope> {
        let exactly = |value: &crate::json::Json| match Scalar::from_json(value) {
            Ok(scalar) => Constraint::Exactly(Exactly(scalar)),
            Err(_) => Constraint::Any(Any),
        };
        let args = call.arguments.leaves().map(|(name, value)| (name.to_owned(), exactly(value)));
        Capability::new(call.audience.parse()?, call.action.parse()?, args, false)
    }

    /// The same capability, with these bounds on who exercises it and how far it goes.
    pub fn travelling(mut self, travel: HopLimits) -> Result<Self, BadScope> {
        travel.check()?;
        if travel == self.travel {
            return Ok(self);
        }
        self.travel = travel;
        // What a block would not say is not promised.
        let lifted = render::lift(&render::render(&self, ("", "")));
        match lifted {
            Some(same) if same == self => Ok(self),
            _ => Err(BadScope(format!("{self} cannot be written in a block"))),
        }
    }

    fn default_constraint(open: bool) -> Constraint {
        if open { Constraint::Any(Any) } else { Constraint::Absent(Absent) }
    }

    /// Which tools.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Which actions.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Named constraints, by name.
    pub fn args(&self) -> impl Iterator<Item = (&str, &Constraint)> {
        self.args.iter().map(|(name, constraint)| (name.as_str(), constraint))
    }

    /// Whether arguments that are not named are let through.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Who may exercise it, and how far it goes.
    pub fn travel(&self) -> HopLimits {
        self.travel
    }

    /// How many arguments a call must have: a closed capability of which none may be missing.
    fn exact_count(&self) -> Option<i64> {
        let exact = !self.open && self.args.values().all(Constraint::needs_a_value);
        exact.then(|| i64::try_from(self.args.len()).unwrap_or(i64::MAX))
    }

    /// What holds for an argument of this name.
    fn constraint(&self, name: &str) -> Constraint {
        self.args.get(name).cloned().unwrap_or_else(|| Self::default_constraint(self.open))
    }

    /// Whether the call, by one who stands there, lies inside this capability.
    pub fn admits(&self, call: &Call, standing: ChainPosition) -> bool {
        self.refusal(call, standing).is_none()
    }

    /// What lies outside, in words; `None` when nothing does.
    pub fn refusal(&self, call: &Call, standing: ChainPosition) -> Option<String> {
        // Every member, so that one more cannot be forgotten here.
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
        unnamed.or_else(|| travel.refusal(standing))
    }
}

/// A scope travels through serde as the list of its capabilities' JSON long forms.
impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = self
            .0
            .iter()
            .map(|capability| String::from_utf8_lossy(&capability.to_json()).into_owned());
        serializer.collect_seq(texts)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Scope::from_jsons(&texts).map_err(serde::de::Error::custom)
    }
}

/// The authority that one block states: a call is inside when any capability admits it. Clones
/// share what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Arc<[Capability]>);

impl Scope {
    /// A scope of 1 to [`limits::CAPABILITIES_MAX`] capabilities.
    pub fn new(capabilities: Vec<Capability>) -> Result<Self, BadScope> {
        match capabilities.len() {
            0 => Err(BadScope("a scope needs at least one capability".into())),
            n if n > limits::CAPABILITIES_MAX => Err(BadScope(format!(
                "{n} capabilities, at most {} are allowed",
                limits::CAPABILITIES_MAX
            ))),
            _ => {
                let scope = Scope(capabilities.into());
                check_patterns(scope.patterns(), limits::PATTERNS_MAX, "scope")?;
                Ok(scope)
            }
        }
    }

    /// Whether it is this very scope, not one that only says the same.
    pub(crate) fn is(&self, other: &Scope) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether its rendering names the agent of its block.
    pub(crate) fn names_its_holder(&self) -> bool {
        self.0.iter().any(|capability| capability.travel.delegates_only)
    }

    /// Patterns in it: regex, glob, url with a wildcard.
    pub(crate) fn patterns(&self) -> usize {
        self.0
            .iter()
            .flat_map(|capability| capability.args.values())
            .map(Constraint::patterns)
            .sum()
    }

    /// Of one capability.
    fn one(capability: &Capability) -> Self {
        Scope([capability.clone()].into())
    }

    /// Reads each text as one capability in SCOPE text form (docs, "SCOPE text").
    pub fn from_texts<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadScope> {
        let capabilities =
            texts.iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>()?;
        Scope::new(capabilities)
    }

    /// Reads each text as one capability in its JSON long form.
    pub fn from_jsons<T: AsRef<[u8]>>(texts: &[T]) -> Result<Self, BadScope> {
        let capabilities = texts.iter().map(|text| Capability::from_json(text.as_ref()));
        Scope::new(capabilities.collect::<Result<_, _>>()?)
    }

    /// The capabilities.
    pub fn capabilities(&self) -> &[Capability] {
        &self.0
    }

    /// Whether any capability admits the call, by one who stands there.
    pub fn admits(&self, call: &Call, standing: ChainPosition) -> bool {
        self.0.iter().any(|capability| capability.admits(call, standing))
    }

    /// Why no capability admits the call, from the one that comes nearest; `None` if one does.
    pub fn refusal(&self, call: &Call, standing: ChainPosition) -> Option<String> {
        if self.admits(call, standing) {
            return None;
        }
        let distance =
            |c: &&Capability| (!c.audience.admits(&call.audience), !c.action.admits(&call.action));
        self.0.iter().min_by_key(distance).and_then(|nearest| nearest.refusal(call, standing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Arguments;

    fn call(action: &str, args: &str) -> Call {
        let arguments = Arguments::from_json(args.as_bytes()).unwrap();
        Call { audience: "tool://files".into(), action: action.into(), arguments }
    }

    #[test]
    fn closed_by_default() {
        let scope = Scope::from_texts(&["fs.read@tool://files path=under:/data"]).unwrap();
        let admits = |call| scope.admits(&call, ChainPosition::default());
        assert!(admits(call("fs.read", r#"{"path":"/data/a"}"#)));
        assert!(!admits(call("fs.read", r#"{"path":"/data/a","mode":"raw"}"#)));
        assert!(!admits(call("fs.read", r#"{}"#)), "under needs a value");
        assert!(!admits(call("fs.write", r#"{"path":"/data/a"}"#)));
        let outside = call("fs.read", r#"{"path":"/etc/x"}"#);
        let detail = scope.refusal(&outside, ChainPosition::default()).unwrap();
        assert_eq!(detail, r#"the argument "path" is "/etc/x", held is under:/data"#);
    }

    #[test]
    fn opening_is_explicit_and_a_child_may_close_but_not_open() {
        let open = Scope::from_texts(&["fs.@tool://files *=any path=under:/data"]).unwrap();
        let closed = Scope::from_texts(&["fs.read@tool://files path=under:/data"]).unwrap();
        let opened = call("fs.read", r#"{"path":"/data/a","mode":"raw"}"#);
        assert!(open.admits(&opened, ChainPosition::default()));
        assert_eq!(open.covers(&closed), Ok(()));
        assert!(closed.covers(&open).is_err());
    }
}
