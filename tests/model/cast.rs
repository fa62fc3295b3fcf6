//! Who and what takes part in the model: agents, principals, capabilities and the calls that probe them.
//!
//! Capabilities come from a small grid of actions and folders, so that what one admits is seen by asking a few
//! calls. [`Mask`] is that answer, found without the core.

use sublet_core::base::id::{AgentId, Principal};
use sublet_core::capability::Scope;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::workload::Attested;
use sublet_core::state::rows::session::Login;
use sublet_tests::{AUDIENCE, agent, scope};

/// The names of all agents.
const AGENTS: [&str; 6] = ["planner", "reader", "writer", "scout", "clerk", "guard"];

/// How many agents there are.
pub(crate) const AGENT_COUNT: usize = AGENTS.len();

/// The id of an agent, by its number.
pub(crate) fn agent_id(number: usize) -> AgentId {
    agent(AGENTS[number % AGENTS.len()])
}

/// The agent that a workload is by another's word.
pub(crate) fn attested_agent(shown: &Attested) -> AgentId {
    agent(shown.claim("name").unwrap())
}

/// The principals.
pub(crate) const PRINCIPALS: [&str; 3] =
    ["user:alice@acme.example", "user:bob@acme.example", "job:nightly@acme.example"];

/// A principal, by its number.
pub(crate) fn principal(number: usize) -> Principal {
    PRINCIPALS[number % PRINCIPALS.len()].parse().unwrap()
}

/// The profiles.
pub(crate) const PROFILES: [&str; 3] = ["wide", "narrow", "strict"];

/// The logins of alice and bob: two that their provider tells apart, and one that it does not.
pub(crate) fn login(number: usize) -> Login {
    let (subject, sid) =
        [("alice", "phone"), ("alice", ""), ("bob", "desk"), ("bob", "")][number % 4];
    Login {
        issuer: "https://login.example".into(),
        subject: subject.into(),
        sid: Some(sid.to_owned()).filter(|sid| !sid.is_empty()),
    }
}

/// How many logins there are.
pub(crate) const LOGINS: usize = 4;

/// A capability of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    /// An action, or a family of actions where it ends in a dot.
    pub(crate) action: &'static str,
    /// A folder.
    pub(crate) folder: &'static str,
}

/// Actions that a capability may name.
pub(crate) const ACTIONS: [&str; 3] = ["fs.", "fs.read", "fs.write"];

/// Folders that a capability may name.
pub(crate) const FOLDERS: [&str; 4] = ["/data", "/data/q3", "/data/q3/x", "/logs"];

/// The calls that probe a token: each action in each folder, then two that nothing of the grid admits.
const PROBES: [(&str, &str); 14] = [
    ("fs.read", "/data/a"),
    ("fs.read", "/data/q3/a"),
    ("fs.read", "/data/q3/x/a"),
    ("fs.read", "/logs/a"),
    ("fs.write", "/data/a"),
    ("fs.write", "/data/q3/a"),
    ("fs.write", "/data/q3/x/a"),
    ("fs.write", "/logs/a"),
    ("fs.list", "/data/a"),
    ("fs.list", "/data/q3/a"),
    ("fs.list", "/data/q3/x/a"),
    ("fs.list", "/logs/a"),
    ("db.read", "/data/a"),
    ("fs.read", "/database/a"),
];

/// How many probes there are.
pub(crate) const PROBE_COUNT: usize = PROBES.len();

/// The probes that a scope admits, a bit each.
pub(crate) type Mask = u16;

/// Which probes a scope of the grid admits, read from its text.
pub(crate) fn mask(scope: &Scope) -> Mask {
    let texts: Vec<String> = scope.capabilities().iter().map(ToString::to_string).collect();
    let admits = |text: &String, (asked, path): (&str, &str)| {
        let (action, rest) = text.split_once('@').unwrap();
        let (_, folder) = rest.split_once("path=under:").unwrap();
        let in_family = action.ends_with('.') && asked.starts_with(action);
        let is_below = path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        (in_family || action == asked) && is_below
    };
    let bits = PROBES.iter().enumerate();
    let bits = bits.filter(|(_, probe)| texts.iter().any(|text| admits(text, **probe)));
    bits.fold(0, |mask, (bit, _)| mask | 1 << bit)
}

/// The scope of these capabilities.
pub(crate) fn scope_of(caps: &[Cap]) -> Scope {
    let texts: Vec<String> = caps
        .iter()
        .map(|cap| format!("{}@{AUDIENCE} path=under:{}", cap.action, cap.folder))
        .collect();
    scope(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The call of a probe.
pub(crate) fn call(probe: usize) -> Call {
    let (action, path) = PROBES[probe % PROBES.len()];
    let arguments = Arguments::from_json(format!("{{\"path\":\"{path}\"}}").as_bytes()).unwrap();
    Call { audience: AUDIENCE.to_owned(), action: action.to_owned(), arguments }
}
