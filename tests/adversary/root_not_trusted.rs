//! Roots that are unknown, retired, tainted, not yet in use, or of another domain.

use sublet_core::base::id::UnixMillis;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::token::mint;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustedKey};
use sublet_tests::{Fleet, NOW, code, key, key_id, raw};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

fn with_root(change: impl Fn(&mut TrustedKey)) -> &'static str {
    let fleet = Fleet::changed(|keys| {
        keys.iter_mut().filter(|key| key.use_ == KeyUse::Delegation).for_each(&change);
    });
    let token = fleet.root("planner", READ);
    code(fleet.verify(&token.encode()))
}

// SPEC 2.11.7.
#[test]
fn each_state_of_a_root_key_has_its_answer() {
    let in_state = |state| with_root(|key| key.state = state);
    assert_eq!(in_state(KeyState::Active), "granted");
    assert_eq!(in_state(KeyState::Retired), "granted", "what it signed in its time holds");
    assert_eq!(in_state(KeyState::Tainted), "key_tainted");
    assert_eq!(in_state(KeyState::Prepared), "granted", "it was announced for this time");
}

/// A prepared key that is stolen before its time opens nothing until then.
// SPEC 2.11.7, 2.11.9.
#[test]
fn a_root_signs_from_the_time_that_was_announced_and_for_no_longer_than_it_is_good() {
    let fresh = |from| {
        with_root(|key| {
            key.state = KeyState::Prepared;
            key.not_before = from;
        })
    };
    assert_eq!(fresh(NOW.plus_ms(1)), "key_prepared");
    assert_eq!(fresh(NOW), "granted");
    let fleet = Fleet::new();
    let ends = UnixMillis::from_seconds(fleet.root("planner", READ).expires());
    assert_eq!(with_root(|key| key.not_after = ends), "granted");
    assert_eq!(with_root(|key| key.not_after = ends.plus_ms(-1)), "key_outlived");
}

// SPEC 2.11.7.
#[test]
fn a_root_key_signs_in_its_time_only() {
    assert_eq!(with_root(|key| key.not_after = NOW), "key_outside_its_time");
    assert_eq!(with_root(|key| key.not_before = NOW.plus_ms(1)), "key_outside_its_time");
    assert_eq!(with_root(|key| key.not_before = NOW), "granted");
}

// SPEC 2.11.7.
#[test]
fn an_unknown_root_is_refused() {
    let fleet = Fleet::changed(|keys| keys.retain(|key| key.use_ != KeyUse::Delegation));
    assert_eq!(code(fleet.verify(&fleet.root("planner", READ).encode())), "unknown_key");
}

/// The root key id is under no signature: it selects, and is trusted for nothing.
// SPEC 2.5.
#[test]
fn a_root_key_id_that_points_elsewhere_fails_the_signature() {
    let fleet = Fleet::changed(|keys| {
        keys.push(TrustedKey {
            id: KeyId(77),
            public: key("second root").public_key().clone(),
            ..keys[0].clone()
        });
    });
    let mut envelope = raw::open(&fleet.root("planner", READ).encode());
    for (id, refusal) in [(77, "bad_signature"), (78, "unknown_key"), (2, "unknown_key")] {
        envelope.root_key_id = Some(id);
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), refusal);
    }
}

#[test]
fn an_attackers_own_root_is_refused() {
    let fleet = Fleet::new();
    let id = key_id(KeyUse::Delegation);
    let grant = fleet.grant("planner", &["fs.@tool:// *=any"]);
    let token = mint::root(grant, key("planner").public_key(), id, &key("attacker")).unwrap();
    assert_eq!(code(fleet.verify(&token.encode())), "bad_signature");
}

/// A root that the bundle trusts, but for another domain than the names in the token.
// SPEC 2.13.
#[test]
fn the_issuer_the_agents_and_the_principal_belong_to_the_roots_domain() {
    let fleet = Fleet::new();
    let sent = |block: Block| {
        let (id, signer) = (key_id(KeyUse::Delegation), Fleet::signer(KeyUse::Delegation));
        let token = mint::root(block, key("planner").public_key(), id, &signer).unwrap();
        code(fleet.verify(&token.encode()))
    };
    let grant = fleet.grant("planner", READ);
    let origin = grant.role.origin().unwrap().clone();
    let role = |issuer: &str, principal: &str| Role::Grant {
        origin: Origin { issuer: issuer.parse().unwrap(), ..origin.clone() },
        on_behalf_of: principal.parse().unwrap(),
    };
    let (ours, alice) = ("spiffe://acme.example/sublet", "user:alice@acme.example");
    assert_eq!(sent(Block { role: role(ours, alice), ..grant.clone() }), "granted");
    for issuer in [
        "spiffe://evil.example/sublet",
        "spiffe://acme.example/agent/planner",
        "spiffe://acme.example.evil.example/sublet",
    ] {
        let block = Block { role: role(issuer, alice), ..grant.clone() };
        assert_eq!(sent(block), "wrong_issuer", "{issuer}");
    }
    for principal in ["user:alice@evil.example", "user:alice@sub.acme.example"] {
        let block = Block { role: role(ours, principal), ..grant.clone() };
        assert_eq!(sent(block), "foreign_domain", "{principal}");
    }
    let agent = "spiffe://evil.example/agent/planner".parse().unwrap();
    assert_eq!(sent(Block { agent, ..grant }), "foreign_domain");
}

// SPEC 2.13.
#[test]
fn a_later_block_names_no_agent_of_another_domain() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let hop = sublet_tests::append(&root, &sublet_tests::to_agent("b", READ), "planner").unwrap();
    let agent = "spiffe://evil.example/agent/b".parse().unwrap();
    let block = Block { agent, ..hop.last().block().clone() };
    let forged = raw::forge(&root, &block, key("b").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&forged)), "foreign_domain");
}

#[test]
fn a_bundle_that_is_over_or_not_yet_issued_decides_nothing() {
    use sublet_tests::{Request, Tool};
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let args = r#"{"path":"/data/a"}"#;
    for (now, refusal) in [
        (fleet.bundle.expires(), "bundle_expired"),
        (fleet.bundle.issued().plus_ms(-5_001), "bundle_from_future"),
    ] {
        let request = Request::at(now, &token, &key("planner"), "fs.read", args);
        assert_eq!(code(Tool::new(&fleet).answer_at(now, &request)), refusal);
    }
}
