//! The agents and profiles that a fleet file declares, and how the broker differs from it.
//!
//! Owns: the file (docs/FORMATS, "Fleet") and the difference. Does not own: the validity of a profile (the
//! broker), printing and applying (`command::fleet`).
//!
//! Invariants: nothing is removed. What the broker has and the file does not name stays, and is reported.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::error::Error;
use sublet_client::files;
use sublet_proto::convert::field;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::command::profile;
use crate::context::Context;
use crate::names::agent_id;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    profile: Vec<profile::File>,
    #[serde(default)]
    agent: Vec<AgentEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentEntry {
    id: String,
    #[serde(default = "default_profile")]
    profile: String,
}

fn default_profile() -> String {
    "default".to_owned()
}

/// A fleet as a file declares it.
pub(crate) struct Declared {
    pub(crate) profiles: Vec<v1::Profile>,
    /// The full id of each agent, with its profile.
    pub(crate) agents: Vec<(String, String)>,
}

impl Declared {
    /// Reads a file. A name that is declared twice, or an unknown field, is malformed.
    pub(crate) fn read(context: &Context, path: &Path) -> Result<Self, CliError> {
        let text = files::read_text(path)?;
        let bad = |detail: String| field("fleet", format!("{}: {detail}", path.display()));
        let file: File = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let profiles = file.profile.into_iter().map(profile::File::message);
        let profiles = profiles.collect::<Result<Vec<_>, _>>()?;
        let agents = file.agent.into_iter().map(|agent| {
            Ok::<_, CliError>((agent_id(context, &agent.id)?.to_string(), agent.profile))
        });
        let agents = agents.collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        let named = profiles.iter().map(|profile| profile.name.as_str());
        if let Some(twice) =
            named.chain(agents.iter().map(|(id, _)| id.as_str())).find(|name| !names.insert(*name))
        {
            return Err(bad(format!("{twice:?} is declared twice")).into());
        }
        Ok(Declared { profiles, agents })
    }
}

/// One step that makes the broker match the file.
pub(crate) enum Change {
    /// A profile that the broker does not have.
    NewProfile(v1::Profile),
    /// A profile that differs, with the lines that are removed (-) and added (+).
    Profile(v1::Profile, Vec<String>),
    /// An agent that the broker does not have, with its profile.
    NewAgent(String, String),
}

/// How a broker differs from a file.
pub(crate) struct Difference {
    pub(crate) changes: Vec<Change>,
    /// What cannot be applied: the profile of an agent cannot change.
    pub(crate) conflicts: Vec<String>,
    /// What the broker has and the file does not name.
    pub(crate) others: Vec<String>,
}

impl Difference {
    /// Compares a file with the agents and profiles of a broker.
    pub(crate) async fn of(
        declared: &Declared,
        broker: &Broker,
        admin: &Credential,
    ) -> Result<Self, Error> {
        let there = broker.all_profiles(admin).await?;
        let agents = broker.all_agents(admin).await?;
        let mut found =
            Difference { changes: Vec::new(), conflicts: Vec::new(), others: Vec::new() };
        for profile in &declared.profiles {
            match there.iter().find(|one| one.name == profile.name) {
                None => found.changes.push(Change::NewProfile(profile.clone())),
                Some(one) if one == profile => {}
                Some(one) => {
                    let lines = lines(one, profile);
                    found.changes.push(Change::Profile(profile.clone(), lines));
                }
            }
        }
        for (id, profile) in &declared.agents {
            match agents.iter().find(|one| one.agent_id == *id) {
                None => found.changes.push(Change::NewAgent(id.clone(), profile.clone())),
                Some(one) if one.profile == *profile => {}
                Some(one) => found.conflicts.push(format!(
                    "{id} has the profile {:?}, and the file asks for {profile:?}: the profile of an agent cannot \
                     change; create another agent",
                    one.profile
                )),
            }
        }
        let named = |name: &String| declared.profiles.iter().any(|one| one.name == *name);
        let others = there.iter().map(|one| &one.name).filter(|name| !named(name));
        found.others.extend(others.map(|name| format!("profile {name}")));
        let named = |id: &String| declared.agents.iter().any(|(one, _)| one == id);
        let others = agents.iter().map(|one| &one.agent_id).filter(|id| !named(id));
        found.others.extend(others.cloned());
        Ok(found)
    }
}

/// The lines that are removed (-) and added (+).
fn lines(before: &v1::Profile, after: &v1::Profile) -> Vec<String> {
    let (before, after) = (profile::facts(before), profile::facts(after));
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let come = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(come).collect()
}
