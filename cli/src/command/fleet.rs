//! `sublet apply | diff | lint | who-can`: a fleet as a file declares it, and who may do what.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use sublet_client::broker::connect::Broker;
use sublet_client::error::Error;
use sublet_client::files;
use sublet_core::base::id::AgentId;
use sublet_core::capability::Capability;
use sublet_core::refusal::Malformed;
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::command::agent::write_join_token;
use crate::context::Context;
use crate::declared::{Change, Declared, Difference};
use crate::print;

/// A file that declares agents and profiles.
#[derive(clap::Args)]
pub(crate) struct FileArgs {
    /// TOML: profiles as in a profile's file, agents with id and profile (docs/FORMATS.md)
    file: PathBuf,
}

/// A file, and where secrets go.
#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// TOML: profiles as in a profile's file, agents with id and profile (docs/FORMATS.md)
    file: PathBuf,
    /// The directory for the join tokens of new agents: AGENT-PATH.join, for its owner alone
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What may be done where.
#[derive(clap::Args)]
pub(crate) struct WhoArgs {
    /// The action: fs.read
    action: String,
    /// The tool: tool://files
    resource: String,
}

/// Makes the broker have what the file declares. Each step is recorded.
pub(crate) async fn apply(args: ApplyArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let found = Difference::of(&declared, &broker, &admin).await?;
    if !found.conflicts.is_empty() {
        // All of it or nothing, as far as can be seen before.
        return say(context, &found, &[]);
    }
    let out = join_tokens(&found, args.out.as_deref())?;
    let mut invited = Vec::new();
    for change in &found.changes {
        if let Some((id, token)) = make(&broker, &admin, change).await? {
            let file = out.file(&id)?;
            write_join_token(&file, &token)?;
            invited.push((id, file.display().to_string()));
        }
    }
    say(context, &found, &invited)
}

/// Where join tokens are written.
struct JoinTokens(PathBuf);

impl JoinTokens {
    /// The file of an agent's; the path of its id below the directory, so that no two are one.
    fn file(&self, id: &str) -> Result<PathBuf, CliError> {
        let id: AgentId = id.parse().map_err(Malformed::from)?;
        let file = self.0.join(format!("{}.join", id.path()));
        if let Some(directory) = file.parent() {
            files::create_directory(directory)?;
        }
        Ok(file)
    }
}

/// Before anything is made: where the join tokens of new agents go, and that nothing is there yet.
fn join_tokens(found: &Difference, out: Option<&Path>) -> Result<JoinTokens, CliError> {
    let new = found.changes.iter().filter_map(|change| match change {
        Change::NewAgent(id, _) => Some(id),
        Change::NewProfile(_) | Change::Profile(..) => None,
    });
    let new: Vec<&String> = new.collect();
    let Some(out) = out else {
        let detail = "the join tokens of new agents are written and not printed: --out DIR";
        let none = || Ok(JoinTokens(PathBuf::new()));
        return if new.is_empty() { none() } else { Err(CliError::usage(detail)) };
    };
    let out = JoinTokens(out.to_owned());
    for id in new {
        let file = out.file(id)?;
        if file.exists() {
            let detail = "is there already; a join token is not written over another file";
            return Err(Error::file(&file, detail).into());
        }
    }
    Ok(out)
}

/// Says what `apply` would do.
pub(crate) async fn diff(args: FileArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let (broker, admin) = (context.broker().await?, context.admin()?);
    say(context, &Difference::of(&declared, &broker, &admin).await?, &[])
}

/// Profiles before the agents that have them; the join token of a new agent, once.
async fn make(
    broker: &Broker,
    admin: &sublet_client::Credential,
    change: &Change,
) -> Result<Option<(String, String)>, CliError> {
    match change {
        Change::NewProfile(profile) | Change::Profile(profile, _) => {
            let profile = Some(profile.clone());
            let request = v1::ApplyProfileRequest { profile, ..Default::default() };
            broker.apply_profile(admin, request).await?;
            Ok(None)
        }
        Change::NewAgent(id, profile) => {
            let request = v1::CreateAgentRequest {
                agent_id: id.clone(),
                profile: profile.clone(),
                join_ttl_seconds: JOIN_SECONDS,
                ..Default::default()
            };
            let answer = broker.create_agent(admin, request).await?;
            Ok(Some((id.clone(), answer.join_token)))
        }
    }
}

/// How long a new agent has to come in: a day.
const JOIN_SECONDS: i64 = 24 * 3600;

fn say(
    context: &Context,
    found: &Difference,
    invited: &[(String, String)],
) -> Result<ExitCode, CliError> {
    let changes: Vec<String> = found.changes.iter().flat_map(change_lines).collect();
    let value = json!({
        "changes": changes,
        "conflicts": found.conflicts,
        "not_in_the_file": found.others,
        "join_token_files": invited.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    if context.json() {
        print::json(&value);
    } else {
        changes.iter().for_each(|line| print::text(line));
        found.conflicts.iter().for_each(|detail| print::text(&format!("CONFLICT: {detail}")));
        invited.iter().for_each(|(id, file)| print::text(&format!("{id} joins by {file}")));
        found.others.iter().for_each(|name| eprintln!("left as it is: {name}"));
        if changes.is_empty() && found.conflicts.is_empty() {
            eprintln!("no difference");
        }
    }
    Ok(if found.conflicts.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn change_lines(change: &Change) -> Vec<String> {
    match change {
        Change::NewProfile(profile) => vec![format!("+ profile {}", profile.name)],
        Change::NewAgent(id, profile) => vec![format!("+ agent {id} ({profile})")],
        Change::Profile(profile, lines) => {
            let head = format!("~ profile {}", profile.name);
            std::iter::once(head).chain(lines.iter().map(|line| format!("    {line}"))).collect()
        }
    }
}

/// Says what of a file is wider than it has to be. Asks nobody. Exit 0: nothing; 2: something.
pub(crate) fn lint(args: &FileArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let mut found = Vec::new();
    for profile in &declared.profiles {
        let detail = warnings(profile)?;
        found
            .extend(detail.into_iter().map(|detail| format!("profile {}: {detail}", profile.name)));
        if !declared.agents.iter().any(|(_, name)| *name == profile.name)
            && profile.enroll.is_empty()
        {
            found.push(format!("profile {}: no agent has it", profile.name));
        }
    }
    for (id, name) in &declared.agents {
        if !declared.profiles.iter().any(|profile| profile.name == *name) {
            found.push(format!("{id}: the profile {name:?} is not in this file"));
        }
    }
    if context.json() {
        print::json(&json!(found));
    } else {
        found.iter().for_each(|detail| print::text(detail));
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn capabilities(profile: &v1::Profile) -> Result<Vec<Capability>, CliError> {
    let read = profile.allow_json.iter().map(|json| Capability::from_json(json.as_bytes()));
    Ok(read.collect::<Result<_, _>>().map_err(Malformed::from)?)
}

fn warnings(profile: &v1::Profile) -> Result<Vec<String>, CliError> {
    let mut found = Vec::new();
    let held = capabilities(profile)?;
    for (at, one) in held.iter().enumerate() {
        if one.is_open() {
            found.push(format!("{one}: lets any argument through that it does not name"));
        }
        if one.audience().to_string().ends_with("//") {
            found.push(format!("{one}: means every tool of its kind"));
        }
        let others = held.iter().enumerate().filter(|(other, _)| *other != at);
        if let Some((_, wider)) = others.into_iter().find(|(_, wider)| covers(wider, one)) {
            found.push(format!("{one}: is within {wider} anyway"));
        }
    }
    let for_all = profile.principals.iter().any(|pattern| pattern.contains(":*@"));
    if for_all && !profile.consent_required {
        found.push("its agents act for anybody, by their own word (consent_required)".to_owned());
    }
    if profile.ttl_seconds_max > 24 * 3600 {
        found.push("a delegation may live for more than a day".to_owned());
    }
    let few =
        profile.enroll.iter().filter(|rule| rule.claims.len() < 2 && !rule.agent.contains('{'));
    found.extend(
        few.map(|rule| format!("one claim of {} makes somebody {}", rule.issuer, rule.agent)),
    );
    Ok(found)
}

fn covers(wider: &Capability, one: &Capability) -> bool {
    let scope = |capability: &Capability| {
        sublet_core::capability::Scope::new(vec![capability.clone()]).ok()
    };
    let both = scope(wider).zip(scope(one));
    wider != one && both.is_some_and(|(wider, one)| wider.covers(&one).is_ok())
}

/// Says which agents may ask for an action at a tool, by which capability of which profile.
pub(crate) async fn who_can(args: WhoArgs, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let profiles = broker.all_profiles(&admin).await?;
    let agents = broker.all_agents(&admin).await?;
    let mut rows = Vec::new();
    for profile in &profiles {
        for capability in capabilities(profile)? {
            let means = capability.action().admits(&args.action)
                && capability.audience().admits(&args.resource);
            if !means {
                continue;
            }
            for agent in agents.iter().filter(|agent| agent.profile == profile.name) {
                rows.push(vec![
                    agent.agent_id.clone(),
                    agent.state.clone(),
                    profile.principals.join(" "),
                    capability.to_string(),
                ]);
            }
        }
    }
    let value = rows.iter().map(|row| match row.as_slice() {
        [agent, state, principals, by] => {
            json!({"agent": agent, "state": state, "for": principals, "by": by})
        }
        _ => serde_json::Value::Null,
    });
    let value = json!(value.collect::<Vec<_>>());
    print::rows(context, &["AGENT", "STATE", "FOR", "BY"], &rows, &value);
    Ok(())
}
