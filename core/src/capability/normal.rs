//! Making a capability in its only written form. SPEC 4.5.
//!
//! Owns: `Capability::new`, `of_call`, `travelling`. Does not own: its parts and their limits
//! (`one`), the rendering (`render`).
//!
//! Invariants: a capability made here is read back from its rendering as itself. So one that a
//! block cannot state, or that has a simpler form, is refused.

use super::bad_scope::BadScope;
use super::constraint::Constraint;
use super::hop_limits::HopLimits;
use super::kinds::{Any, Exactly};
use super::one::Capability;
use super::pattern::{Action, Audience};
use super::render::{lift, render};
use super::scalar::Scalar;
use crate::base::json::Json;
use crate::evidence::call::Call;

impl Capability {
    /// Returns a capability over these arguments. If it is `open`, arguments that are not named may
    /// have any value; otherwise they must be absent.
    pub fn new(
        audience: Audience,
        action: Action,
        args: impl IntoIterator<Item = (String, Constraint)>,
        open: bool,
    ) -> Result<Self, BadScope> {
        let capability = Self::of_parts(audience, action, args, open, HopLimits::default())?;
        let lifted = lift(&render(&capability, ("", "")));
        match lifted {
            Some(same) if same == capability => Ok(capability),
            Some(simpler) => Err(BadScope(format!("{capability} is written as {simpler}"))),
            None => Err(BadScope(format!("{capability} cannot be written in a block"))),
        }
    }

    /// Returns the narrowest capability that admits this call, to ask for. Arguments that are lists
    /// or empty objects become `any`.
    ///
    /// ```
    /// use sublet_core::capability::Capability;
    /// use sublet_core::evidence::call::{Arguments, Call};
    ///
    /// let arguments = Arguments::from_json(br#"{"path":"/data/a.csv"}"#).unwrap();
    /// let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
    /// let capability = Capability::of_call(&call)?;
    /// assert_eq!(capability.to_string(), "fs.read@tool://files path=exactly:/data/a.csv");
    /// # Ok::<(), sublet_core::capability::BadScope>(())
    /// ```
    pub fn of_call(call: &Call) -> Result<Self, BadScope> {
        let exactly = |value: &Json| match Scalar::from_json(value) {
            Ok(scalar) => Constraint::Exactly(Exactly(scalar)),
            Err(_) => Constraint::Any(Any),
        };
        let args = call.arguments.leaves().map(|(name, value)| (name.to_owned(), exactly(value)));
        Capability::new(call.audience.parse()?, call.action.parse()?, args, false)
    }

    /// Returns the same capability with these limits on its use and its delegation.
    pub fn travelling(mut self, travel: HopLimits) -> Result<Self, BadScope> {
        travel.check()?;
        if travel == self.travel {
            return Ok(self);
        }
        self.travel = travel;
        // What a block cannot state is refused.
        let lifted = lift(&render(&self, ("", "")));
        match lifted {
            Some(same) if same == self => Ok(self),
            _ => Err(BadScope(format!("{self} cannot be written in a block"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::tree::is_pattern;

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
            let capability = Capability::new(audience, action, args, false).unwrap();
            let query = render(&capability, ("", ""));
            let rendered = query.expressions.iter().flatten().filter(|op| is_pattern(op)).count();
            assert_eq!(constraint.patterns(), rendered, "{text}");
        }
    }
}
