//! Enrollment by another broker's identity: each forged, expired, replayed, misdirected or confused
//! variant has its own code. The broker here is of home.example, federated with acme.example.

use std::path::Path;

use prost::Message as _;
use sublet_broker::config::{Config, IssuerConfig};
use sublet_broker::enroll::Methods;
use sublet_broker::enroll::method::Presented;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::decide::Credential;
use sublet_core::evidence::proof::{CallClaims, CallProof, enroll_message};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_proto::v1;
use sublet_tests::{Fleet, NOW, key, nonce};

const METHOD: &str = "federated";
const ACTION: &str = "/sublet.v1.Identity/Enroll";
const HOME: &str = "sublet://home.example";

fn methods(directory: &Path, bundle: &Fleet) -> Methods {
    federated_domains(directory, &[bundle])
}

fn federated_domains(directory: &Path, bundles: &[&Fleet]) -> Methods {
    let mut config = Config::dev("data".into(), "127.0.0.1:0".parse().unwrap()).unwrap();
    config.trust_domain = "home.example".parse().unwrap();
    let issuers = bundles.iter().map(|fleet| {
        let domain = fleet.bundle.trust_domain();
        let path = directory.join(format!("{domain}.json"));
        std::fs::write(&path, fleet.signed_bundle().text()).unwrap();
        IssuerConfig {
            name: format!("spiffe://{domain}"),
            audience: None,
            jwks_file: None,
            jwks_url: None,
            x509_bundle: None,
            trust_bundle: Some(path),
            algorithms: Vec::new(),
        }
    });
    config.issuer = issuers.collect();
    Methods::of(&config, None).unwrap()
}

/// Bundles of trust domains are never merged: each speaks for its own, and what is wrong with one is no
/// concern of the others.
#[tokio::test]
async fn one_federated_domain_says_nothing_of_another_and_shuts_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let (acme, other) = (Fleet::new(), Fleet::of("other.example"));
    let theirs = Try { token: other.identity("planner"), ..Try::honest(&acme) };
    let methods = federated_domains(directory.path(), &[&other, &acme]);
    assert_eq!(detail(&methods, &Try::honest(&acme).credential(), NOW).await, "shown");
    // The same keys are in both bundles here, and the names decide.
    let ended = Fleet::ended("other.example");
    let methods = federated_domains(directory.path(), &[&ended, &acme]);
    assert_eq!(detail(&methods, &Try::honest(&acme).credential(), NOW).await, "shown");
    assert_eq!(detail(&methods, &theirs.credential(), NOW).await, "federated_identity");
    // Of a domain that is not federated.
    let stranger =
        Try { token: Fleet::of("evil.example").identity("planner"), ..Try::honest(&acme) };
    assert_eq!(detail(&methods, &stranger.credential(), NOW).await, "federated_identity");
}

/// What an agent shows, and what of it is wrong.
struct Try<'a> {
    token: VerifiedToken,
    holder: SecretKey,
    audience: &'a str,
    action: &'a str,
    /// What the proof is made for.
    agent: &'a str,
    new: PublicKey,
    at: UnixMillis,
}

impl Try<'_> {
    fn honest(fleet: &Fleet) -> Self {
        Try {
            token: fleet.identity("planner"),
            holder: key("planner"),
            audience: HOME,
            action: ACTION,
            agent: "",
            new: key("new").public_key().clone(),
            at: NOW,
        }
    }

    fn credential(&self) -> Vec<u8> {
        let enrollment = sha256(&enroll_message(METHOD, &[], self.agent, &self.new));
        let claims = CallClaims::of_digest(
            self.token.id(),
            self.audience,
            self.action,
            enrollment,
            self.at,
            nonce(&[b"n"]),
        );
        let proof = CallProof::sign(claims, &self.holder).unwrap().encode();
        v1::FederatedCredential { identity_token: self.token.encode(), proof }.encode_to_vec()
    }
}

/// What becomes of it: "shown", or the code.
async fn detail(methods: &Methods, credential: &[u8], now: UnixMillis) -> &'static str {
    let key = key("new");
    let shown = Presented { credential, agent: "", key: key.public_key(), certificate: None };
    match methods.get(METHOD).unwrap().show(&shown, now).await {
        Ok(Credential::Attested(shown)) => {
            assert_eq!(shown.claim("sub"), Some("spiffe://acme.example/agent/planner"));
            assert!(shown.once, "its proof opens one enrolment");
            "shown"
        }
        Ok(_) => panic!("no join token"),
        Err(refusal) => refusal.code(),
    }
}

#[tokio::test]
async fn each_way_to_misuse_a_federated_domains_identity_has_its_answer() {
    let (directory, fleet) = (tempfile::tempdir().unwrap(), Fleet::new());
    let methods = methods(directory.path(), &fleet);
    let honest = || Try::honest(&fleet);
    let delegation = fleet.root("planner", &["fs.read@tool://files path=any"]);
    let other = Fleet::of("evil.example");
    let ended = UnixMillis::from_seconds(honest().token.expires());
    let begun = UnixMillis::from_seconds(honest().token.window().not_before - 1);
    for (says_code, now, tried) in [
        ("shown", NOW, honest()),
        ("wrong_audience", NOW, Try { audience: "sublet://acme.example", ..honest() }),
        ("wrong_action", NOW, Try { action: "/sublet.v1.Identity/Renew", ..honest() }),
        ("wrong_arguments", NOW, Try { agent: "spiffe://home.example/admin", ..honest() }),
        ("wrong_arguments", NOW, Try { new: key("thief").public_key().clone(), ..honest() }),
        ("proof_signature", NOW, Try { holder: key("thief"), ..honest() }),
        ("proof_expired", NOW.plus_ms(36_000), honest()),
        ("proof_from_future", NOW.plus_ms(-6_000), honest()),
        ("identity_expired", ended, Try { at: ended, ..honest() }),
        ("identity_expired", begun, Try { at: begun, ..honest() }),
        ("federated_identity", NOW, Try { token: delegation, ..honest() }),
    ] {
        assert_eq!(detail(&methods, &tried.credential(), now).await, says_code);
    }
    for (says_code, bytes) in [
        ("bad_field", vec![0xff; 9]),
        ("proof_malformed", {
            let token = honest().token.encode();
            v1::FederatedCredential { identity_token: token, proof: vec![1] }.encode_to_vec()
        }),
    ] {
        assert_eq!(detail(&methods, &bytes, NOW).await, says_code);
    }
    // A bundle of another domain is not taken for it, whatever it vouches for.
    let path = directory.path().join("acme.example.json");
    assert!(path.exists());
    std::fs::write(path, other.signed_bundle().text()).unwrap();
    assert_eq!(detail(&methods, &honest().credential(), NOW).await, "shown", "the one held");
    let theirs = Try::honest(&other).credential();
    assert_ne!(detail(&methods, &theirs, NOW).await, "shown", "and nobody by the other");
}

#[tokio::test]
async fn a_federated_domains_root_that_is_tainted_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let tainted = Fleet::changed(|keys| {
        for key in keys.iter_mut().filter(|key| key.use_ == KeyUse::Identity) {
            key.state = sublet_core::trust::bundle::KeyState::Tainted;
        }
    });
    let methods = methods(directory.path(), &tainted);
    let honest = Try::honest(&Fleet::new()).credential();
    assert_eq!(detail(&methods, &honest, NOW).await, "key_tainted");
}
