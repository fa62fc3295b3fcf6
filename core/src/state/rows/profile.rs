//! Profiles: the ceiling of what agents may be issued, and on whose behalf. docs/FORMATS, "Profile".
//!
//! Owns: the row, and which principals a pattern means. Does not own: what is decided by it.

use serde::{Deserialize, Serialize};

use crate::base::id::Principal;
use crate::capability::Scope;
use crate::evidence::workload::EnrollRule;

/// For whom an agent may act: one principal, or all of one kind in one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalPattern(String);

impl PrincipalPattern {
    /// Whether the principal is meant.
    pub fn admits(&self, principal: &Principal) -> bool {
        match self.0.split_once(":*@") {
            Some((kind, realm)) => {
                let named = principal.as_str().split_once(':').map(|(kind, _)| kind);
                named == Some(kind) && principal.realm() == realm
            }
            None => principal.as_str() == self.0,
        }
    }

    /// As it is written.
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

/// The ceiling of what agents with this profile may be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// On whose behalf.
    pub principals: Vec<PrincipalPattern>,
    /// How long, in seconds.
    pub ttl_seconds_max: i64,
    /// How deep.
    pub hops_max: u32,
    /// How many hops offline.
    pub offline_hops_max: u32,
    /// How many recorded hops may follow one hop.
    pub fan_out_max: u32,
    /// What.
    pub allow: Scope,
    /// Which workloads are agents with it, by somebody else's word.
    #[serde(default)]
    pub enroll: Vec<EnrollRule>,
    /// Whether an agent's own word is not enough: a user's token, or an operator's, is needed.
    #[serde(default)]
    pub consent_required: bool,
    /// Counts changes of this row.
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
