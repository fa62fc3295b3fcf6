//! Witness policies, which say which witnesses suffice: C2SP tlog-policy,
//! <https://c2sp.org/tlog-policy>.
//!
//! Owns: reading a policy file, and whether a note meets it. Does not own: asking witnesses (the
//! broker), the keys of a log that come from elsewhere (the trust bundle).
//!
//! Invariants: a name is defined once, before it is used, and is a member at most once, so no
//! witness counts twice; a policy without a quorum line is refused.

use std::collections::{BTreeMap, BTreeSet};

use signed_note::Verifier;

use crate::checkpoint::{BadCheckpoint, Checkpoint, CheckpointKey, open_note};
use crate::cosignature::WitnessKey;

/// The largest policy that is read, in bytes.
const POLICY_BYTES_MAX: usize = 64 * 1024;

/// The most logs, witnesses and groups, each.
const NAMES_MAX: usize = 256;

/// A witness of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its key.
    pub key: WitnessKey,
    /// The URL of the witness; `None` in a policy that is only for verifying.
    pub url: Option<String>,
}

/// A witness policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<CheckpointKey>,
    witnesses: BTreeMap<String, Witness>,
    groups: Vec<Group>,
    quorum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    needed: usize,
    members: Vec<String>,
}

/// Why a text is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct BadPolicy {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

/// A note that was compared with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The checkpoint.
    pub head: Checkpoint,
    /// The names, in the policy, of the witnesses that cosigned it.
    pub by: BTreeSet<String>,
    /// Whether they meet the quorum.
    pub enough: bool,
}

impl Policy {
    /// Parses a policy file.
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let mut reading = Reading::default();
        if text.len() > POLICY_BYTES_MAX {
            return Err(BadPolicy { line: 1, detail: format!("over {POLICY_BYTES_MAX} bytes") });
        }
        for (number, line) in text.split('\n').enumerate() {
            let words: Vec<&str> =
                line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
            let read = match words.as_slice() {
                [] => Ok(()),
                [first, ..] if first.starts_with('#') => Ok(()),
                _ if line.contains(|c: char| c.is_ascii_control() && c != '\t') => {
                    Err("a control character".to_owned())
                }
                ["log", key] | ["log", key, _] => reading.log(key),
                ["witness", name, key] => reading.witness(name, key, None),
                ["witness", name, key, url] => reading.witness(name, key, Some(url)),
                ["group", name, needed, members @ ..] => reading.group(name, needed, members),
                ["quorum", name] => reading.quorum(name),
                _ => Err("log, witness, group or quorum is expected".to_owned()),
            };
            read.map_err(|detail| BadPolicy { line: number + 1, detail })?;
        }
        let none = || BadPolicy { line: 1, detail: "there is no quorum line".to_owned() };
        let quorum = reading.quorum.ok_or_else(none)?;
        Ok(Policy {
            logs: reading.logs,
            witnesses: reading.witnesses,
            groups: reading.groups,
            quorum,
        })
    }

    /// Returns the witnesses, by their names in the policy.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &Witness)> {
        self.witnesses.iter().map(|(name, witness)| (name.as_str(), witness))
    }

    /// Opens a checkpoint under one of these keys of its log, and counts who cosigned it. If the
    /// policy names logs, the key must be one of them. A cosignature of a known witness that does
    /// not verify is an error.
    pub fn open(&self, note: &[u8], keys: &[CheckpointKey]) -> Result<Witnessed, BadCheckpoint> {
        let named = |key: &&CheckpointKey| self.logs.is_empty() || self.logs.contains(key);
        let logs: Vec<&CheckpointKey> = keys.iter().filter(named).collect();
        let of_logs = logs.iter().map(|key| *key as &dyn Verifier);
        let of_witnesses = self.witnesses.values().map(|witness| &witness.key as &dyn Verifier);
        let verifiers: Vec<&dyn Verifier> = of_logs.chain(of_witnesses).collect();
        let (head, signers) = open_note(note, &verifiers)?;
        let signed = |key: &dyn Verifier| signers.contains(&(key.name().to_owned(), key.key_id()));
        if !logs.iter().any(|key| key.name() == head.origin && signed(*key)) {
            return Err(BadCheckpoint::Unsigned);
        }
        let by = self.witnesses.iter().filter(|(_, witness)| signed(&witness.key));
        let by: BTreeSet<String> = by.map(|(name, _)| name.clone()).collect();
        let enough = self.enough(&by);
        Ok(Witnessed { head, by, enough })
    }

    /// Returns whether these witnesses, by their names in the policy, meet the quorum.
    pub fn enough(&self, by: &BTreeSet<String>) -> bool {
        let Some(quorum) = &self.quorum else { return true };
        let mut there = by.clone();
        // A group names only members that are defined before it.
        for group in &self.groups {
            if group.members.iter().filter(|member| there.contains(*member)).count() >= group.needed
            {
                there.insert(group.name.clone());
            }
        }
        there.contains(quorum)
    }
}

#[derive(Default)]
struct Reading {
    logs: Vec<CheckpointKey>,
    witnesses: BTreeMap<String, Witness>,
    groups: Vec<Group>,
    members: BTreeSet<String>,
    quorum: Option<Option<String>>,
}

impl Reading {
    fn log(&mut self, key: &str) -> Result<(), String> {
        let key: CheckpointKey = key.parse().map_err(|_| "this is no key of a log".to_owned())?;
        if self.logs.iter().any(|known| known.public() == key.public()) {
            return Err("a log of this key is there already".to_owned());
        }
        self.logs.push(key);
        within(self.logs.len())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), String> {
        self.is_new(name)?;
        let key: WitnessKey = key.parse().map_err(|_| "this is no key of a witness".to_owned())?;
        if self.witnesses.values().any(|known| known.key.public() == key.public()) {
            return Err("a witness of this key is there already".to_owned());
        }
        let url = url.map(str::to_owned);
        self.witnesses.insert(name.to_owned(), Witness { key, url });
        within(self.witnesses.len())
    }

    fn group(&mut self, name: &str, needed: &str, members: &[&str]) -> Result<(), String> {
        self.is_new(name)?;
        let needed = match needed {
            "any" => 1,
            "all" => members.len(),
            number => number.parse().map_err(|_| format!("{number:?} is no number"))?,
        };
        if !(1..=members.len()).contains(&needed) {
            return Err(format!("{needed} of {} members", members.len()));
        }
        for member in members {
            if !self.is_there(member) {
                return Err(format!("{member:?} is not defined before"));
            }
            if !self.members.insert((*member).to_owned()) {
                return Err(format!("{member:?} is a member already"));
            }
        }
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.push(Group { name: name.to_owned(), needed, members });
        within(self.groups.len())
    }

    fn quorum(&mut self, name: &str) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a quorum line already".to_owned());
        }
        if name != "none" && !self.is_there(name) {
            return Err(format!("{name:?} is not defined before"));
        }
        self.quorum = Some(Some(name.to_owned()).filter(|name| name != "none"));
        Ok(())
    }

    fn is_there(&self, name: &str) -> bool {
        self.witnesses.contains_key(name) || self.groups.iter().any(|group| group.name == name)
    }

    fn is_new(&self, name: &str) -> Result<(), String> {
        if name == "none" || self.is_there(name) {
            return Err(format!("{name:?} is taken"));
        }
        Ok(())
    }
}

fn within(count: usize) -> Result<(), String> {
    if count <= NAMES_MAX { Ok(()) } else { Err(format!("over {NAMES_MAX} of them")) }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
