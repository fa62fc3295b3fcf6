//! `sublet apply`, `diff`, `lint` and `who-can`: a fleet as a file declares it, and who may do what.

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
use crate::context::Context;
use crate::declared::{Change, Declared, Difference};
use crate::{join_token, print};

/// Make the broker match a fleet file: create and change profiles and agents (admin)
///
/// Nothing is removed: what the file does not name stays. The profile of an agent cannot change; that is a
/// conflict, and then nothing is applied.
///
/// Exit codes: 0 applied; 2 conflict.
///
/// Example: sublet apply fleet.toml --out join-tokens
#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// Fleet file, TOML: profiles, and agents with id and profile (docs/FORMATS.md, "Fleet")
    file: PathBuf,
    /// Directory for the join tokens of new agents, one file each: DIR/PATH-OF-ID.join
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Show what apply would change, and change nothing (admin)
///
/// Exit codes: 0; 2 conflict.
#[derive(clap::Args)]
pub(crate) struct DiffArgs {
    /// Fleet file, TOML: profiles, and agents with id and profile (docs/FORMATS.md, "Fleet")
    file: PathBuf,
}

/// Report over-broad rules in a fleet file, offline
///
/// Exit codes: 0 nothing to report; 2 something is reported.
#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Fleet file, TOML: profiles, and agents with id and profile (docs/FORMATS.md, "Fleet")
    file: PathBuf,
}

/// List the agents that may be issued an action at a tool (admin)
///
/// Example: sublet who-can fs.read tool://files
#[derive(clap::Args)]
pub(crate) struct WhoArgs {
    /// Action, such as fs.read
    action: String,
    /// URI of the tool, such as tool://files
    resource: String,
}

/// Makes the broker match the file. Each step is recorded.
pub(crate) async fn apply(args: ApplyArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let (broker, admin) = (context.broker().await?, context.admin()?);
    let found = Difference::of(&declared, &broker, &admin).await?;
    if !found.conflicts.is_empty() {
        // Nothing is applied while a part of it cannot be.
        return say(context, &found, &[]);
    }
    let out = join_tokens(&found, args.out.as_deref())?;
    let mut invited = Vec::new();
    for change in &found.changes {
        if let Some((id, token)) = make(&broker, &admin, change).await? {
            let file = out.file(&id)?;
            join_token::write(&file, &token)?;
            invited.push((id, file.display().to_string()));
        }
    }
    say(context, &found, &invited)
}

/// The directory that join tokens are written to.
struct JoinTokens(PathBuf);

impl JoinTokens {
    /// Returns the file for the join token of an agent, and makes its directory. The path of the id is part of
    /// the name, so two agents never share a file.
    fn file(&self, id: &str) -> Result<PathBuf, CliError> {
        let id: AgentId = id.parse().map_err(Malformed::from)?;
        let file = self.0.join(format!("{}.join", id.path()));
        if let Some(directory) = file.parent() {
            files::create_directory(directory)?;
        }
        Ok(file)
    }
}

/// Checks, before anything is made, that the join tokens of new agents can be written and replace no file.
fn join_tokens(found: &Difference, out: Option<&Path>) -> Result<JoinTokens, CliError> {
    let new = found.changes.iter().filter_map(|change| match change {
        Change::NewAgent(id, _) => Some(id),
        Change::NewProfile(_) | Change::Profile(..) => None,
    });
    let new: Vec<&String> = new.collect();
    let Some(out) = out else {
        let detail =
            "the file declares new agents; give a directory for their join tokens: --out DIR";
        let none = || Ok(JoinTokens(PathBuf::new()));
        return if new.is_empty() { none() } else { Err(CliError::usage(detail)) };
    };
    let out = JoinTokens(out.to_owned());
    for id in new {
        let file = out.file(id)?;
        if file.exists() {
            let detail = "exists already; a join token does not replace a file";
            return Err(Error::file(&file, detail).into());
        }
    }
    Ok(out)
}

/// Prints what `apply` would do.
pub(crate) async fn diff(args: DiffArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let (broker, admin) = (context.broker().await?, context.admin()?);
    say(context, &Difference::of(&declared, &broker, &admin).await?, &[])
}

/// Applies one change; returns the id and the join token of a new agent.
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

/// The lifetime of the join tokens, in seconds: a day.
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
        found
            .conflicts
            .iter()
            .for_each(|detail| print::text(&format!("CONFLICT, nothing was applied: {detail}")));
        invited.iter().for_each(|(id, file)| print::text(&format!("join token of {id}: {file}")));
        found.others.iter().for_each(|name| eprintln!("note: not in the file, unchanged: {name}"));
        if changes.is_empty() && found.conflicts.is_empty() {
            eprintln!("no changes");
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

/// Prints the rules of a file that are wider than needed, offline. The exit code is 2 when there are any.
pub(crate) fn lint(args: &LintArgs, context: &Context) -> Result<ExitCode, CliError> {
    let declared = Declared::read(context, &args.file)?;
    let mut found = Vec::new();
    for profile in &declared.profiles {
        let detail = warnings(profile)?;
        found
            .extend(detail.into_iter().map(|detail| format!("profile {}: {detail}", profile.name)));
        if !declared.agents.iter().any(|(_, name)| *name == profile.name)
            && profile.enroll.is_empty()
        {
            found.push(format!("profile {}: no agent has this profile", profile.name));
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
            found.push(format!("{one}: permits any argument that it does not name"));
        }
        if one.audience().to_string().ends_with("//") {
            found.push(format!("{one}: covers every tool of this URI scheme"));
        }
        let others = held.iter().enumerate().filter(|(other, _)| *other != at);
        if let Some((_, wider)) = others.into_iter().find(|(_, wider)| covers(wider, one)) {
            found.push(format!("{one}: is already covered by {wider}"));
        }
    }
    let for_all = profile.principals.iter().any(|pattern| pattern.contains(":*@"));
    if for_all && !profile.consent_required {
        found.push(
            "its agents may act for every user without consent; set consent_required".to_owned(),
        );
    }
    if profile.ttl_seconds_max > 24 * 3600 {
        found.push("ttl_seconds_max is more than a day".to_owned());
    }
    let few =
        profile.enroll.iter().filter(|rule| rule.claims.len() < 2 && !rule.agent.contains('{'));
    found.extend(
        few.map(|rule| {
            format!("one claim of {} is enough to enroll as {}", rule.issuer, rule.agent)
        }),
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

/// Lists the agents that may be issued an action at a tool, with the capability of their profile.
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
    print::rows(context, &["AGENT", "STATE", "ON BEHALF OF", "CAPABILITY"], &rows, &value);
    Ok(())
}
