//! Stable codes: what a program may rely on is written down.

use sublet_core::evidence::receipt::BadReceipt;
use sublet_core::state::{AgentState, JoinTokenState};
use sublet_core::trust::bundle::{BadBundle, KeyId};

#[test]
fn the_codes_of_bundles_and_receipts_are_documented() {
    let codes = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CODES.md");
    let codes = std::fs::read_to_string(codes).unwrap();
    let domain = || "acme.example".parse().unwrap();
    let bundles = [
        BadBundle::TooLarge.code(),
        BadBundle::Expired(sublet_core::base::id::UnixMillis(0)).code(),
        BadBundle::FromFuture.code(),
        BadBundle::Domain { found: domain(), held: domain() }.code(),
        BadBundle::KeyChanged(KeyId(1)).code(),
        BadBundle::Untainted(KeyId(1)).code(),
    ];
    let receipts =
        [BadReceipt::Issuer.code(), BadReceipt::Indices.code(), BadReceipt::Signature.code()];
    for code in bundles.into_iter().chain(receipts) {
        assert!(codes.contains(&format!("`{code}`")), "docs/CODES.md does not list {code}");
    }
}

#[test]
fn states_have_the_names_that_commands_print() {
    let agents = [AgentState::Invited, AgentState::Active, AgentState::Suspended];
    assert_eq!(agents.map(AgentState::name), ["invited", "active", "suspended"]);
    let tokens = [JoinTokenState::Open, JoinTokenState::Spent, JoinTokenState::Revoked];
    assert_eq!(tokens.map(JoinTokenState::name), ["open", "spent", "revoked"]);
}
