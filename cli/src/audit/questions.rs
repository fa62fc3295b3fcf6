//! What a replay is asked, read from the names and ids that a person typed.

use sublet_client::audit::history::History;
use sublet_client::audit::questions::{Query, Source};
use sublet_core::base::id::{AgentId, BadId, HopId, Principal, TrustDomain};
use sublet_core::refusal::Malformed;

use crate::cli_error::CliError;
use crate::print;

/// The texts of the flags, as they were typed.
#[derive(Default)]
pub(crate) struct Typed<'a> {
    pub(crate) delegation: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) principal: Option<&'a str>,
    pub(crate) resource: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) blast_radius: Option<&'a str>,
}

/// What is asked, with full names.
pub(crate) struct Questions {
    /// Which uses are shown.
    pub(crate) query: Query,
    /// Whose blast radius is shown; `None` when it was not asked for.
    pub(crate) radius: Option<Source>,
}

impl Questions {
    /// Completes names with the trust domain of the ledger. A text that is no name is malformed.
    pub(crate) fn read(typed: &Typed<'_>, domain: &TrustDomain) -> Result<Self, CliError> {
        let radius = typed.blast_radius.map(|text| source(domain, text)).transpose();
        Ok(Questions { query: query(typed, domain).map_err(Malformed::from)?, radius: radius? })
    }

    /// Returns the filters that were given: the kind of each, and its full name.
    pub(crate) fn asked(&self) -> Vec<(&'static str, String)> {
        let Query { delegation, agent, principal, resource, action } = &self.query;
        let asked = [
            ("delegation", delegation.as_ref().map(ToString::to_string)),
            ("agent", agent.as_ref().map(ToString::to_string)),
            ("principal", principal.as_ref().map(ToString::to_string)),
            ("resource", resource.clone()),
            ("action", action.clone()),
        ];
        asked.into_iter().filter_map(|(kind, name)| Some((kind, name?))).collect()
    }

    /// Returns the names and ids that were asked for and that no record of the ledger holds.
    pub(crate) fn unnamed(&self, history: &History) -> Vec<String> {
        let Query { delegation, agent, principal, .. } = &self.query;
        let asked = [
            delegation.map(Source::Hop),
            agent.clone().map(Source::Agent),
            principal.clone().map(Source::Principal),
            self.radius.clone(),
        ];
        let unnamed = asked.into_iter().flatten().filter(|source| !history.is_named(source));
        let mut unnamed: Vec<String> = unnamed.map(|source| source.to_string()).collect();
        unnamed.dedup();
        unnamed
    }
}

fn query(typed: &Typed<'_>, domain: &TrustDomain) -> Result<Query, BadId> {
    let agent = typed.agent.map(|text| AgentId::parse_in(domain, text));
    let principal = typed.principal.map(|text| Principal::parse_in(domain, text));
    Ok(Query {
        delegation: typed.delegation.map(str::parse).transpose()?,
        agent: agent.transpose()?,
        principal: principal.transpose()?,
        resource: typed.resource.map(str::to_owned),
        action: typed.action.map(str::to_owned),
    })
}

/// Reads a hop's id, a principal (a text with a colon or an at sign that is no URI), or an agent.
fn source(domain: &TrustDomain, text: &str) -> Result<Source, CliError> {
    if let Ok(hop) = text.parse() {
        return Ok(Source::Hop(hop));
    }
    let is_principal = !text.contains("://") && text.contains([':', '@']);
    let source = match is_principal {
        true => Principal::parse_in(domain, text).map(Source::Principal),
        false => AgentId::parse_in(domain, text).map(Source::Agent),
    };
    Ok(source.map_err(Malformed::from)?)
}

/// Reads `HOP@TIME`: a hop's id and milliseconds since 1970.
pub(crate) fn hop_at(text: &str) -> Result<(HopId, i64), String> {
    let (hop, at) = text.split_once('@').ok_or("expected HOP@TIME")?;
    let hop = hop.parse().map_err(|bad: BadId| bad.to_string())?;
    Ok((hop, time(at)?))
}

/// Reads a time: RFC 3339 in UTC to the second, or milliseconds since 1970. Returns milliseconds.
pub(crate) fn time(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    print::from_utc(text).ok_or_else(|| {
        format!("{text:?} is not a time: expected 2026-11-24T10:02:00Z, or milliseconds since 1970")
    })
}
