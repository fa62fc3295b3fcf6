//! The JSON long form of a capability, which holds everything. docs/FORMATS.
//!
//! ```json
//! {"action": "fs.read", "audience": "tool://files", "args": {"path": {"under": "/data"}}, "other_args": "any"}
//! ```
//! `action`, `audience` and `args` must be there; without `other_args` the capability is closed.
//! `"use": "delegates"` and `"hops": 2` bound how it travels.

use super::bad_scope::BadScope;
use super::constraint::Constraint;
use super::hop_limits::{HopLimits, read_hops, read_use};
use super::kind::Member as _;
use super::one::Capability;
use super::reserved;
use crate::base::json::Json;

impl Capability {
    /// Parses the JSON long form. Unknown members are refused.
    pub fn from_json(text: &[u8]) -> Result<Self, BadScope> {
        let (json, _) = Json::parse_canonicalised(text)
            .map_err(|bad| BadScope(format!("a capability is not JSON: {bad}")))?;
        let Json::Object(members) = json else {
            return Err(BadScope("a capability is a JSON object".into()));
        };
        let (mut action, mut audience, mut args, mut open) = (None, None, None, false);
        let mut travel = HopLimits::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("action", Json::Str(text)) => action = Some(text.parse()?),
                ("audience", Json::Str(text)) => audience = Some(text.parse()?),
                ("args", Json::Object(members)) => args = Some(constraints(&members)?),
                ("other_args", Json::Str(text)) if text == "any" => open = true,
                ("use", Json::Str(text)) => travel.delegates_only = read_use(&text)?,
                ("hops", Json::Int(hops)) => travel.hops_max = Some(read_hops(&hops.to_string())?),
                _ => {
                    reserved::refuse(&name)?;
                    return Err(BadScope(format!(
                        "a capability has no member {name:?} of this form"
                    )));
                }
            }
        }
        let missing = |name: &str| BadScope(format!("a capability needs {name:?}"));
        Capability::new(
            audience.ok_or_else(|| missing("audience"))?,
            action.ok_or_else(|| missing("action"))?,
            args.ok_or_else(|| missing("args"))?,
            open,
        )?
        .travelling(travel)
    }

    /// Returns the JSON long form as RFC 8785 canonical bytes.
    pub fn to_json(&self) -> Vec<u8> {
        // Each member is named, so a further one cannot be forgotten here.
        let Capability { audience, action, args, open, travel } = self;
        let HopLimits { delegates_only, hops_max } = *travel;
        let args = args.iter().map(|(name, constraint)| (name.clone(), constraint.to_json()));
        let mut members = vec![
            ("action".to_owned(), Json::Str(action.to_string())),
            ("args".to_owned(), Json::Object(args.collect())),
            ("audience".to_owned(), Json::Str(audience.to_string())),
        ];
        if *open {
            members.push(("other_args".to_owned(), Json::Str("any".to_owned())));
        }
        if delegates_only {
            members.push(("use".to_owned(), Json::Str("delegates".to_owned())));
        }
        members.extend(hops_max.map(|hops| ("hops".to_owned(), Json::Int(hops.into()))));
        // `canonical` sorts the members; argument names in a capability are unique.
        Json::Object(members).canonical()
    }
}

fn constraints(members: &[(String, Json)]) -> Result<Vec<(String, Constraint)>, BadScope> {
    let one = |(name, value): &(String, Json)| {
        let named = |bad: BadScope| BadScope(format!("the argument {name:?}: {bad}"));
        Ok((name.clone(), Constraint::from_json(value).map_err(named)?))
    };
    members.iter().map(one).collect()
}
