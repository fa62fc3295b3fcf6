//! The authority of one block: capabilities of which at least one must admit a call. SPEC 4.1.
//!
//! Owns: [`Scope`], `admits` over several capabilities, the limits on capabilities and patterns.
//! Does not own: whether one scope covers another (`narrow`), its check in a block (`scope_check`).

use std::sync::Arc;

use super::bad_scope::BadScope;
use super::constraint::Constraint;
use super::hop_limits::ChainPosition;
use super::one::Capability;
use crate::base::limits;
use crate::evidence::call::Call;

/// The authority of one block: a call is in scope when at least one capability admits it. Clones
/// are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Arc<[Capability]>);

impl Scope {
    /// Returns a scope of 1 to [`limits::CAPABILITIES_MAX`] capabilities.
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

    /// Returns whether both are the same value in memory, not only equal.
    pub(crate) fn is(&self, other: &Scope) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns whether its rendering names the agent of its block.
    pub(crate) fn names_its_holder(&self) -> bool {
        self.0.iter().any(|capability| capability.travel.delegates_only)
    }

    /// Returns how many patterns it has: regex, glob, url with a wildcard.
    pub(crate) fn patterns(&self) -> usize {
        self.0
            .iter()
            .flat_map(|capability| capability.args.values())
            .map(Constraint::patterns)
            .sum()
    }

    /// Returns the scope of one capability.
    pub(super) fn one(capability: &Capability) -> Self {
        Scope([capability.clone()].into())
    }

    /// Parses each text as one capability in SCOPE text (docs/FORMATS, "SCOPE text").
    ///
    /// ```
    /// use sublet_core::capability::Scope;
    ///
    /// let scope = Scope::from_texts(&[
    ///     "fs.read@tool://files path=under:/data", // exact action; the path and no other argument
    ///     "mail.@svc://mail to=one_of:alice,bob *=any", // every mail. action, open
    /// ])?;
    /// assert_eq!(scope.capabilities().len(), 2);
    /// assert!(Scope::from_texts(&["fs.read"]).is_err()); // without an audience
    /// # Ok::<(), sublet_core::capability::BadScope>(())
    /// ```
    pub fn from_texts<T: AsRef<str>>(texts: &[T]) -> Result<Self, BadScope> {
        let capabilities =
            texts.iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>()?;
        Scope::new(capabilities)
    }

    /// Parses each text as one capability in its JSON long form.
    pub fn from_jsons<T: AsRef<[u8]>>(texts: &[T]) -> Result<Self, BadScope> {
        let capabilities = texts.iter().map(|text| Capability::from_json(text.as_ref()));
        Scope::new(capabilities.collect::<Result<_, _>>()?)
    }

    /// Returns the capabilities.
    pub fn capabilities(&self) -> &[Capability] {
        &self.0
    }

    /// Returns whether any capability admits the call of a holder at this position.
    pub fn admits(&self, call: &Call, position: ChainPosition) -> bool {
        self.0.iter().any(|capability| capability.admits(call, position))
    }

    /// Returns why no capability admits the call, from the nearest one; `None` when one does.
    pub fn refusal(&self, call: &Call, position: ChainPosition) -> Option<String> {
        if self.admits(call, position) {
            return None;
        }
        let distance =
            |c: &&Capability| (!c.audience.admits(&call.audience), !c.action.admits(&call.action));
        self.0.iter().min_by_key(distance).and_then(|nearest| nearest.refusal(call, position))
    }
}

/// In serde a scope is the list of its capabilities' JSON long forms.
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

/// Refuses more patterns than a scope or a token may have.
pub(crate) fn check_patterns(count: usize, max: usize, of: &str) -> Result<(), BadScope> {
    if count > max {
        return Err(BadScope(format!(
            "{count} patterns (regex, glob, url with *.) in one {of}, at most {max} are allowed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::call::Arguments;

    fn call(action: &str, args: &str) -> Call {
        let arguments = Arguments::from_json(args.as_bytes()).unwrap();
        Call { audience: "tool://files".into(), action: action.into(), arguments }
    }

    // SPEC 4.3.3.
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
    fn a_refusal_is_explained_by_the_capability_that_comes_nearest() {
        let scope = Scope::from_texts(&[
            "fs.read@tool://mail",
            "db.query@tool://files",
            "fs.read@tool://files path=under:/data",
            "db.query@tool://mail",
        ]);
        let said = |action: &str| {
            let call = call(action, r#"{"path":"/etc/x"}"#);
            scope.as_ref().unwrap().refusal(&call, ChainPosition::default()).unwrap()
        };
        assert_eq!(said("fs.read"), r#"the argument "path" is "/etc/x", held is under:/data"#);
        assert_eq!(said("fs.write"), r#"the action "fs.write" is not db.query"#);
    }

    // SPEC 4.3.3, 4.4.
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
