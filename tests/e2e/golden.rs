//! What people read is an interface: help texts are golden files. SUBLET_GOLDEN=write renews them.

use std::path::{Path, PathBuf};

use sublet_core::base::id::HopId;
use sublet_core::capability::Scope;
use sublet_core::refusal::{Deny, Fault, Malformed, Overload, Refusal, Unauthenticated};
use sublet_core::trust::bundle::{KeyId, KeyRefusal};
use tonic_types::StatusExt as _;

use crate::stage::sublet_in;

/// The help of a command and of all below it, by the words that lead there.
fn helps(home: &Path, command: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    let help = sublet_in(home, &words).ok();
    let listed = help.split_once("Commands:\n").map_or("", |(_, list)| list);
    let listed = listed.lines().take_while(|line| !line.is_empty());
    // A name is behind two spaces; what goes on over lines is behind more.
    let names = listed.filter_map(|line| line.strip_prefix("  "));
    let names = names.filter_map(|line| line.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    let below: Vec<_> =
        names.flat_map(|name| helps(home, format!("{command} {name}").trim())).collect();
    [vec![(command.to_owned(), help)], below].concat()
}

/// Holds a text against its golden file.
fn agreed(name: &str, text: &str) {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let path = golden.join(name);
    if std::env::var_os("SUBLET_GOLDEN").is_some() {
        std::fs::create_dir_all(&golden).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, agreed, "{}: SUBLET_GOLDEN=write renews it", path.display());
}

/// One of each kind of no, and those that people meet most.
fn refusals() -> Vec<Refusal> {
    let agent = || "spiffe://acme.example/agent/planner".parse().unwrap();
    let scope = |text: &str| Scope::from_texts(&[text]).unwrap();
    let exceeds =
        |child: &str| scope("fs.@tool://files path=under:/data").covers(&scope(child)).unwrap_err();
    vec![
        Malformed::from("fs.read".parse::<sublet_core::capability::Capability>().unwrap_err())
            .into(),
        Malformed::Field { field: "ttl_seconds", detail: "missing".into() }.into(),
        Unauthenticated::Missing("the call proof").into(),
        Unauthenticated::Root(KeyRefusal::Tainted(KeyId(1))).into(),
        Unauthenticated::Signature { block: 2 }.into(),
        Unauthenticated::NotAdmin.into(),
        Deny::Expired { hop: 1, at: 300 }.into(),
        Deny::NotAllowed { hop: 1, detail: "the action \"fs.write\" is not fs.read".into() }.into(),
        Deny::ScopeExceeds { exceeds: exceeds("fs.read@tool://files path=under:/"), hop: 1 }.into(),
        Deny::ScopeExceeds {
            exceeds: exceeds("fs.read@tool://files path=under:/data x=any"),
            hop: 0,
        }
        .into(),
        Deny::ScopeExceeds { exceeds: exceeds("db.read@tool://files path=under:/data"), hop: 0 }
            .into(),
        Deny::OutlivesParent { asked: 400, held: 300, hop: 1 }.into(),
        Deny::NoHopsLeft { hop: 0, allowed: 2, next: 3 }.into(),
        Deny::FanOut { hop: 1, followers: 3, allowed: 3 }.into(),
        Deny::Unrecorded { unrecorded: 2, hop: 0, allowed: 1 }.into(),
        Deny::UnrecordedAgentHop { hop: 2, agent: agent() }.into(),
        Deny::HopRevoked { hop: 1, id: HopId([7; 32]) }.into(),
        Deny::AgentSuspended { hop: 1, agent: agent() }.into(),
        Deny::StaleView { age_ms: Some(12_000), bound_ms: 10_000 }.into(),
        Deny::StaleView { age_ms: None, bound_ms: 10_000 }.into(),
        Deny::NotTheAgentsKey { hop: 2, agent: agent() }.into(),
        Deny::ProfileLimit {
            what: "seconds",
            asked: 7_200,
            allowed: 3_600,
            profile: "default".into(),
        }
        .into(),
        Overload::Queue("commits").into(),
        Fault::Store("cannot flush: no space left".into()).into(),
        Fault::Internal("what the caller does not hear".into()).into(),
    ]
}

#[test]
fn error_texts_and_statuses_are_as_they_were_agreed() {
    let mut text = String::new();
    for refusal in refusals() {
        let status = sublet_broker::request::respond::status(&refusal);
        // A guarded tool answers with the same kind and code as the broker.
        let tool = sublet_client::error::status(&refusal);
        let reason = |status: &tonic::Status| {
            status.get_details_error_info().map(|info| (info.reason, info.domain))
        };
        assert_eq!((tool.code(), reason(&tool)), (status.code(), reason(&status)));
        assert_eq!(reason(&status), Some((refusal.code().to_owned(), "sublet".to_owned())));
        text.push_str(&format!(
            "{:?} {}\n    {}\n",
            status.code(),
            refusal.code(),
            status.message()
        ));
    }
    agreed("refusals.txt", &text);
}

#[test]
fn help_texts_are_as_they_were_agreed() {
    let home = tempfile::tempdir().unwrap();
    let helps = helps(home.path(), "");
    assert!(helps.len() > 60, "{} commands", helps.len());
    for (command, help) in helps {
        let name = if command.is_empty() { "sublet".to_owned() } else { command.replace(' ', "-") };
        agreed(&format!("{name}.help.txt"), &help);
    }
}
