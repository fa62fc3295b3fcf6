//! Profiles: the upper bound of what agents may be issued, and on whose behalf. docs/FORMATS,
//! "Profile".
//!
//! Owns: the row, and which principals a pattern matches. Does not own: the decisions that use it.

use serde::{Deserialize, Serialize};

use crate::base::id::Principal;
use crate::capability::Scope;
use crate::evidence::workload::EnrollRule;

/// The principals that an agent may act for: one, or all of one kind in one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalPattern(String);

impl PrincipalPattern {
    /// Returns whether the pattern matches the principal.
    pub fn admits(&self, principal: &Principal) -> bool {
        match self.0.split_once(":*@") {
            Some((kind, realm)) => {
                let named = principal.as_str().split_once(':').map(|(kind, _)| kind);
                named == Some(kind) && principal.realm() == realm
            }
            None => principal.as_str() == self.0,
        }
    }

    /// Returns the pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PrincipalPattern {
    type Error = crate::base::id::BadId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.replacen(":*@", ":any@", 1).parse::<Principal>()?;
        Ok(PrincipalPattern(text))
    }
}

impl From<PrincipalPattern> for String {
    fn from(pattern: PrincipalPattern) -> String {
        pattern.0
    }
}

/// The upper bound of what agents with this profile may be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name of the profile.
    pub name: String,
    /// The principals that the agents may act for.
    pub principals: Vec<PrincipalPattern>,
    /// The longest lifetime of a delegation, in seconds.
    pub ttl_seconds_max: i64,
    /// The most hops below the root.
    pub hops_max: u32,
    /// The most hops without a receipt.
    pub offline_hops_max: u32,
    /// The fan-out: the most recorded hops directly below one hop.
    pub fan_out_max: u32,
    /// The scope that the profile covers.
    pub allow: Scope,
    /// The enrollment rules: which workloads are agents with this profile.
    #[serde(default)]
    pub enroll: Vec<EnrollRule>,
    /// Whether the profile alone is not enough, so a user's token or a session is needed.
    #[serde(default)]
    pub consent_required: bool,
    /// How often this row was changed.
    pub version: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_principals_is_kept_as_it_is_written() {
        for text in ["user:alice@acme.example", "job:*@acme.example"] {
            let pattern = PrincipalPattern::try_from(text.to_owned()).unwrap();
            assert_eq!(pattern.as_str(), text);
            assert_eq!(String::from(pattern.clone()), text);
            let stored = serde_json::to_string(&pattern).unwrap();
            assert_eq!(serde_json::from_str::<PrincipalPattern>(&stored).unwrap(), pattern);
        }
        assert!(PrincipalPattern::try_from("*:alice@acme.example".to_owned()).is_err());
    }
}
