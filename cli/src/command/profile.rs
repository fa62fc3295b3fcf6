//! `sublet profile …`: the upper bound of what the broker issues to agents.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use sublet_client::files;
use sublet_core::capability::{Capability, Scope};
use sublet_core::refusal::Malformed;
use sublet_proto::convert::{field, scope_message};
use sublet_proto::v1;

use crate::cli_error::CliError;
use crate::context::Context;
use crate::print;

/// Profiles (admin).
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Publish a profile, new or changed (admin)
    ///
    /// The whole profile replaces an older one of the same name.
    Apply {
        /// TOML file with the profile (docs/FORMATS.md, "Profile")
        file: PathBuf,
    },
    /// List all profiles (admin)
    List,
    /// Show one profile (admin)
    Show {
        /// Name of the profile
        name: String,
    },
}

/// A profile as its file states it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    name: String,
    principals: Vec<String>,
    ttl_seconds_max: i64,
    hops_max: u32,
    offline_hops_max: u32,
    #[serde(default = "fan_out_default")]
    fan_out_max: u32,
    allow: Vec<String>,
    #[serde(default)]
    enroll: Vec<Rule>,
    #[serde(default)]
    consent_required: bool,
}

/// An enrollment rule: which workloads of an issuer enroll as which agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    issuer: String,
    claims: BTreeMap<String, String>,
    agent: String,
    #[serde(default)]
    rekey: bool,
}

impl From<Rule> for v1::EnrollRule {
    fn from(rule: Rule) -> Self {
        let claims = rule.claims.into_iter().map(|(name, value)| v1::Claim { name, value });
        v1::EnrollRule {
            issuer: rule.issuer,
            claims: claims.collect(),
            agent: rule.agent,
            rekey: rule.rekey,
        }
    }
}

/// The fan-out bound where the file states none.
fn fan_out_default() -> u32 {
    1_000
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let (broker, admin) = match &command {
        Command::Apply { file } => {
            let profile = read(file)?;
            let (broker, admin) = (context.broker().await?, context.admin()?);
            let request =
                v1::ApplyProfileRequest { profile: Some(profile), idempotency_key: Vec::new() };
            return show(context, &broker.apply_profile(&admin, request).await?);
        }
        _ => (context.broker().await?, context.admin()?),
    };
    match command {
        Command::Show { name } => {
            show(context, &broker.get_profile(&admin, v1::GetProfileRequest { name }).await?)
        }
        _ => {
            let profiles = broker.all_profiles(&admin).await?;
            let rows: Vec<_> = profiles
                .iter()
                .map(|profile| {
                    vec![
                        profile.name.clone(),
                        profile.principals.join(" "),
                        limits(profile),
                        profile.allow_json.len().to_string(),
                    ]
                })
                .collect();
            let value = profiles.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            print::rows(
                context,
                &["PROFILE", "PRINCIPALS", "LIMITS", "CAPABILITIES"],
                &rows,
                &Value::Array(value),
            );
            Ok(())
        }
    }
}

fn read(path: &std::path::Path) -> Result<v1::Profile, CliError> {
    let text = files::read_text(path)?;
    let file: File = toml::from_str(&text)
        .map_err(|bad| field("profile", format!("{}: {bad}", path.display())))?;
    file.message()
}

impl File {
    /// Returns the profile as a message. A scope that is not understood is malformed.
    pub(crate) fn message(self) -> Result<v1::Profile, CliError> {
        let allow = Scope::from_texts(&self.allow).map_err(Malformed::from)?;
        Ok(v1::Profile {
            name: self.name,
            principals: self.principals,
            ttl_seconds_max: self.ttl_seconds_max,
            hops_max: self.hops_max,
            offline_hops_max: self.offline_hops_max,
            fan_out_max: self.fan_out_max,
            allow_json: scope_message(&allow),
            enroll: self.enroll.into_iter().map(v1::EnrollRule::from).collect(),
            consent_required: self.consent_required,
        })
    }
}

/// Returns what a profile states, one fact a line. `sublet diff` compares these lines.
pub(crate) fn facts(profile: &v1::Profile) -> Vec<String> {
    let mut facts = vec![
        format!("principals {}", profile.principals.join(" ")),
        format!("limits {}", limits(profile)),
    ];
    let allow = texts(profile).unwrap_or_else(|_| profile.allow_json.clone());
    facts.extend(allow.into_iter().map(|text| format!("allow {text}")));
    facts.extend(profile.enroll.iter().map(|rule| format!("enrolls {}", enrolls(rule))));
    if profile.consent_required {
        facts.push(format!("consent {CONSENT}"));
    }
    facts
}

const CONSENT: &str = "required: a user token, or a session granted by the admin";

fn enrolls(rule: &v1::EnrollRule) -> String {
    let claims = rule.claims.iter().map(|claim| format!("{}={}", claim.name, claim.value));
    let claims = claims.collect::<Vec<_>>().join(" ");
    let again = if rule.rekey { ", again with a new key" } else { "" };
    format!("{} with {claims} of {}{again}", rule.agent, rule.issuer)
}

fn show(context: &Context, profile: &v1::Profile) -> Result<(), CliError> {
    let texts = texts(profile)?;
    let mut pairs = vec![
        ("profile", profile.name.clone()),
        ("principals", profile.principals.join(" ")),
        ("limits", limits(profile)),
    ];
    pairs.extend(texts.iter().map(|text| ("allow", text.clone())));
    pairs.extend(profile.enroll.iter().map(|rule| ("enrolls", enrolls(rule))));
    if profile.consent_required {
        pairs.push(("consent", CONSENT.to_owned()));
    }
    print::pairs(context, &pairs, &value(profile)?);
    Ok(())
}

fn limits(profile: &v1::Profile) -> String {
    format!(
        "lifetime {} s, hops {}, offline hops {}, fan-out {}",
        profile.ttl_seconds_max, profile.hops_max, profile.offline_hops_max, profile.fan_out_max
    )
}

fn texts(profile: &v1::Profile) -> Result<Vec<String>, CliError> {
    let text = |json: &String| {
        Capability::from_json(json.as_bytes()).map(|capability| capability.to_string())
    };
    Ok(profile.allow_json.iter().map(text).collect::<Result<_, _>>().map_err(Malformed::from)?)
}

fn rule_value(rule: &v1::EnrollRule) -> Value {
    let claims: BTreeMap<&str, &str> =
        rule.claims.iter().map(|claim| (claim.name.as_str(), claim.value.as_str())).collect();
    json!({
        "issuer": rule.issuer,
        "claims": claims,
        "agent": rule.agent,
        "rekey": rule.rekey,
    })
}

fn value(profile: &v1::Profile) -> Result<Value, CliError> {
    Ok(json!({
        "name": profile.name,
        "principals": profile.principals,
        "ttl_seconds_max": profile.ttl_seconds_max,
        "hops_max": profile.hops_max,
        "offline_hops_max": profile.offline_hops_max,
        "fan_out_max": profile.fan_out_max,
        "allow": texts(profile)?,
        "consent_required": profile.consent_required,
        "enroll": profile.enroll.iter().map(rule_value).collect::<Vec<_>>(),
    }))
}
