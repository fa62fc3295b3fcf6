//! Conversion between messages and domain types. A message that does not convert is `Malformed`.

use std::collections::BTreeMap;

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key::{Algorithm, PublicKey, Thumbprint};
use sublet_core::capability::Scope;
use sublet_core::decide::Target;
use sublet_core::evidence::workload::EnrollRule;
use sublet_core::refusal::Malformed;
use sublet_core::state::{Agent, JoinToken, PrincipalPattern, Profile};

use crate::v1;

/// Returns the error of a field that is wrong.
pub fn field(field: &'static str, detail: impl ToString) -> Malformed {
    Malformed::Field { field, detail: detail.to_string() }
}

/// Returns exactly `N` bytes; another length is an error.
pub fn fixed<const N: usize>(name: &'static str, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| field(name, format!("{} bytes, {N} are needed", bytes.len())))
}

/// Converts a hop's id.
pub fn hop_id(name: &'static str, bytes: &[u8]) -> Result<HopId, Malformed> {
    fixed(name, bytes).map(HopId)
}

/// Converts a public key, which must be present.
pub fn public_key(name: &'static str, key: Option<&v1::PublicKey>) -> Result<PublicKey, Malformed> {
    let key = key.ok_or_else(|| field(name, "missing"))?;
    let algorithm = Algorithm::from_name(&key.algorithm).ok_or_else(|| {
        field(name, format!("{:?} is no algorithm: ed25519 or secp256r1", key.algorithm))
    })?;
    PublicKey::from_bytes(algorithm, &key.key).map_err(|bad| field(name, bad))
}

/// Returns a public key as a message.
pub fn public_key_message(key: &PublicKey) -> v1::PublicKey {
    v1::PublicKey { algorithm: key.algorithm().name().to_owned(), key: key.bytes().to_vec() }
}

/// Parses a scope from JSON long forms.
pub fn scope(texts: &[String]) -> Result<Scope, Malformed> {
    Ok(Scope::from_jsons(texts)?)
}

/// Returns a scope as JSON long forms.
pub fn scope_message(scope: &Scope) -> Vec<String> {
    let text = |json: Vec<u8>| String::from_utf8_lossy(&json).into_owned();
    scope.capabilities().iter().map(|capability| text(capability.to_json())).collect()
}

/// Converts a profile. The decision sets its version.
pub fn profile(message: Option<v1::Profile>) -> Result<Profile, Malformed> {
    let message = message.ok_or_else(|| field("profile", "missing"))?;
    let pattern = |text: String| PrincipalPattern::try_from(text).map_err(Malformed::from);
    let principals = message.principals.into_iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
    if principals.is_empty() {
        return Err(field("profile.principals", "at least one principal is needed"));
    }
    Ok(Profile {
        name: message.name,
        principals,
        ttl_seconds_max: message.ttl_seconds_max,
        hops_max: message.hops_max,
        offline_hops_max: message.offline_hops_max,
        fan_out_max: message.fan_out_max,
        allow: scope(&message.allow_json)?,
        enroll: message.enroll.into_iter().map(enroll_rule).collect::<Result<_, _>>()?,
        consent_required: message.consent_required,
        version: 0,
    })
}

/// Returns a profile as a message.
pub fn profile_message(profile: &Profile) -> v1::Profile {
    v1::Profile {
        name: profile.name.clone(),
        principals: profile.principals.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        ttl_seconds_max: profile.ttl_seconds_max,
        hops_max: profile.hops_max,
        offline_hops_max: profile.offline_hops_max,
        fan_out_max: profile.fan_out_max,
        allow_json: scope_message(&profile.allow),
        enroll: profile.enroll.iter().map(enroll_rule_message).collect(),
        consent_required: profile.consent_required,
    }
}

fn enroll_rule(message: v1::EnrollRule) -> Result<EnrollRule, Malformed> {
    let mut claims = BTreeMap::new();
    for claim in message.claims {
        if let Some(twice) = claims.insert(claim.name, claim.value) {
            return Err(field("profile.enroll", format!("a claim is there twice: {twice:?}")));
        }
    }
    let rule =
        EnrollRule { issuer: message.issuer, claims, agent: message.agent, rekey: message.rekey };
    rule.check().map_err(|bad| field("profile.enroll", bad.to_string()))?;
    Ok(rule)
}

fn enroll_rule_message(rule: &EnrollRule) -> v1::EnrollRule {
    let claim =
        |(name, value): (&String, &String)| v1::Claim { name: name.clone(), value: value.clone() };
    v1::EnrollRule {
        issuer: rule.issuer.clone(),
        claims: rule.claims.iter().map(claim).collect(),
        agent: rule.agent.clone(),
        rekey: rule.rekey,
    }
}

/// Returns an agent's row as a message.
pub fn agent_message(agent: &Agent) -> v1::AgentRow {
    v1::AgentRow {
        agent_id: agent.id.to_string(),
        profile: agent.profile.clone(),
        state: agent.state.name().to_owned(),
        public_key: agent.key.as_ref().map(public_key_message),
        created_at_ms: agent.created_at.0,
    }
}

/// Returns a join token's row as a message, without its secret.
pub fn join_token_message(row: &JoinToken, now: UnixMillis) -> v1::JoinTokenRow {
    let open = row.state == sublet_core::state::JoinTokenState::Open;
    let state = if open && now >= row.expires_at { "expired" } else { row.state.name() };
    v1::JoinTokenRow {
        join_token_id: row.id.clone(),
        agent_id: row.agent.to_string(),
        state: state.to_owned(),
        expires_at_ms: row.expires_at.0,
    }
}

/// Converts the subject of a revocation, which must be present.
pub fn target(target: Option<v1::revoke_request::Target>) -> Result<Target, Malformed> {
    use v1::revoke_request::Target as Message;
    match target.ok_or_else(|| field("target", "missing"))? {
        Message::Hop(id) => Ok(Target::Hop(hop_id("hop", &id)?)),
        Message::Delegation(id) => Ok(Target::Delegation(hop_id("delegation", &id)?)),
        Message::AgentId(id) => Ok(Target::Agent(id.parse()?)),
        Message::Key(key) => Ok(Target::Key(Thumbprint(fixed("key", &key)?))),
        Message::Principal(principal) => Ok(Target::Principal(principal.parse()?)),
    }
}

/// Returns the subject of a revocation as a message.
pub fn target_message(target: &Target) -> v1::revoke_request::Target {
    use v1::revoke_request::Target as Message;
    match target {
        Target::Hop(id) => Message::Hop(id.0.to_vec()),
        Target::Delegation(id) => Message::Delegation(id.0.to_vec()),
        Target::Agent(agent) => Message::AgentId(agent.to_string()),
        Target::Key(key) => Message::Key(key.0.to_vec()),
        Target::Principal(principal) => Message::Principal(principal.to_string()),
    }
}
