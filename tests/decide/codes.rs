//! Codes that no other suite provokes: of trust bundles, receipts, proofs, arguments, keys that fail.

use sublet_core::base::json::Json;
use sublet_core::base::key::PublicKey;
use sublet_core::base::limits::CALL_BYTES_MAX;
use sublet_core::base::sign::{Signer, SignerFault};
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::CallProof;
use sublet_core::evidence::receipt::{BadReceipt, Receipt};
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::revocation::feed::read_snapshot;
use sublet_core::state::{AgentState, JoinTokenState, Row, State};
use sublet_core::token::mint;
use sublet_core::trust::bundle::{
    BadBundle, KeyId, KeyState, KeyUse, SignedBundle, TrustBundle, TrustedKey,
};
use sublet_tests::{Fleet, NOW, code, key, nonce, to_helper};

use crate::{READ, issue};

fn trusted(id: u32, use_: KeyUse, name: &str) -> TrustedKey {
    TrustedKey {
        use_,
        id: KeyId(id),
        alg: "ed25519".into(),
        public: key(name).public_key().clone(),
        not_before: NOW.plus_ms(-1_000),
        not_after: NOW.plus_ms(3_600_000),
        state: KeyState::Active,
    }
}

fn bundle_of(domain: &str, version: u64, keys: Vec<TrustedKey>) -> TrustBundle {
    let domain = domain.parse().unwrap();
    TrustBundle::new(domain, version, NOW, NOW.plus_ms(3_600_000), keys).unwrap()
}

fn bundle(version: u64, keys: Vec<TrustedKey>) -> TrustBundle {
    bundle_of("acme.example", version, keys)
}

fn sign(bundle: &TrustBundle) -> Vec<u8> {
    bundle.sign(KeyId(2), &key("bundle")).unwrap().into_bytes()
}

fn signer() -> TrustedKey {
    trusted(2, KeyUse::Bundle, "bundle")
}

fn told<T>(result: Result<T, BadBundle>) -> &'static str {
    result.map_or_else(|bad| bad.code(), |_| "granted")
}

#[test]
fn each_bundle_that_is_none_has_its_code() {
    let held = bundle(2, vec![signer(), trusted(1, KeyUse::Feed, "feed")]);
    let text = String::from_utf8(sign(&held)).unwrap();
    let open = |text: &str| told(TrustBundle::open(text.as_bytes(), NOW));
    assert_eq!(open(&text), "granted");
    assert_eq!(open(&text.replacen("\"version\": 2", "\"version\": 3", 1)), "bundle_signature");
    assert_eq!(told(SignedBundle::read(vec![b' '; 65 * 1024])), "bundle_too_large");
    let update = |next: &TrustBundle| told(held.accept_update(&sign(next), NOW));
    assert_eq!(update(&held), "granted");
    let feed = || trusted(1, KeyUse::Feed, "feed");
    assert_eq!(update(&bundle(1, vec![signer(), feed()])), "bundle_rolled_back");
    assert_eq!(update(&bundle_of("evil.example", 3, vec![signer(), feed()])), "bundle_domain");
    let another = trusted(1, KeyUse::Feed, "another");
    assert_eq!(update(&bundle(3, vec![signer(), another])), "bundle_key_changed");
    let tainted = bundle(2, vec![signer(), TrustedKey { state: KeyState::Tainted, ..feed() }]);
    let healed = tainted.accept_update(&sign(&bundle(3, vec![signer(), feed()])), NOW);
    assert_eq!(told(healed), "bundle_untainted");
    // By the bundle held, the time of the key that signs is over.
    let over = TrustedKey { not_after: NOW, ..signer() };
    let late = bundle(2, vec![over]).accept_update(&sign(&bundle(3, vec![signer()])), NOW);
    assert_eq!(told(late), "bundle_signed_out_of_time");
}

#[test]
fn each_receipt_that_is_none_has_its_code() {
    let fleet = Fleet::new();
    let bytes = fleet.receipt(&fleet.root("planner", READ)).encode();
    let decode = |bytes: &[u8]| Receipt::decode(bytes).map_or_else(|bad| bad.code(), |_| "read");
    assert_eq!(decode(&bytes), "read");
    assert_eq!(decode(&bytes[1..]), "receipt_layout");
    let at = bytes.windows(4).position(|part| part == b"acme").unwrap();
    let mut named = bytes.clone();
    named[at] = b'A';
    assert_eq!(decode(&named), "receipt_issuer");
    // Its position stands before its one index, three times and a position of the feed.
    let receipt = Receipt::decode(&bytes).unwrap();
    let hop = bytes.windows(32).position(|part| part == receipt.claims.hop.0).unwrap();
    let mut far = bytes.clone();
    far[hop + 32..hop + 36].copy_from_slice(&65u32.to_be_bytes());
    assert_eq!(decode(&far), "receipt_indices");
    let signed = receipt.verify_signature(key("another").public_key());
    assert_eq!(signed.map_err(|bad: BadReceipt| bad.code()), Err("receipt_signature"));
}

#[test]
fn proofs_arguments_and_snapshots_that_cannot_be_read_have_their_codes() {
    assert_eq!(CallProof::from_text("no proof").unwrap_err().code(), "proof_text");
    assert_eq!(CallProof::decode(b"no proof").unwrap_err().code(), "proof_layout");
    let (large, none) = (vec![0; CALL_BYTES_MAX + 1], Json::parse(b"{}").unwrap());
    let large = Arguments::from_message(&large, &none);
    assert_eq!(large.unwrap_err().code(), "arguments_too_large");
    assert_eq!(read_snapshot("no snapshot").unwrap_err().code(), "feed_text");
}

#[test]
fn a_full_set_of_proofs_says_so() {
    let seen = ReplayCache::new(Bounds { total: 1, per_holder: 1 }, NOW);
    let thumbprint = |name: &str| key(name).public_key().thumbprint();
    let spend = |name: &str| seen.check_and_insert(thumbprint(name), nonce(&[b"n"]), NOW, NOW);
    assert_eq!(spend("a"), Ok(()));
    assert_eq!(spend("b").unwrap_err().code(), "proof_set_full");
}

/// A key in a device that does not answer.
struct Broken(PublicKey);

impl Signer for Broken {
    fn public_key(&self) -> &PublicKey {
        &self.0
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignerFault> {
        Err(SignerFault("the device does not answer".into()))
    }
}

#[test]
fn a_key_that_does_not_sign_is_a_fault() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let broken = Broken(key("planner").public_key().clone());
    let made = mint::append(&root, &to_helper("scout", READ), NOW, &broken);
    assert_eq!(code(made), "signer_unavailable");
}

#[test]
fn a_broker_without_a_key_for_it_issues_nothing() {
    let fleet = Fleet::new();
    let (_, mut house, planner) = crate::staffed_in(fleet);
    let rows = house.state.profile("default").unwrap().clone();
    let signed = SignedBundle::read(sign(&bundle(2, vec![signer()]))).unwrap();
    house.state = State::new(signed);
    house.state.put(Row::Profile(rows));
    house.enroll("planner", key("planner").public_key().clone());
    assert_eq!(code(house.ask(&planner, &issue())), "no_broker_key");
}

#[test]
fn states_have_the_names_that_commands_print() {
    let agents = [AgentState::Invited, AgentState::Active, AgentState::Suspended];
    assert_eq!(agents.map(AgentState::name), ["invited", "active", "suspended"]);
    let tokens = [JoinTokenState::Open, JoinTokenState::Spent, JoinTokenState::Revoked];
    assert_eq!(tokens.map(JoinTokenState::name), ["open", "spent", "revoked"]);
}
