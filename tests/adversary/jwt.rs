//! Enrollment by a signed token: forged, expired, for somebody else, by another algorithm, with a key
//! taken for one of another kind. Each has its own code.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use sublet_broker::config::{Config, IssuerConfig, OneOrSome};
use sublet_broker::enroll::Methods;
use sublet_broker::enroll::method::Presented;
use sublet_core::base::id::UnixMillis;
use sublet_core::decide::Credential;
use sublet_core::refusal::Refusal;

const ISSUER: &str = "https://ci.example";
const NOW: i64 = 1_800_000_000;

/// Of a key that is made for this test and used nowhere else.
const RSA: &[u8] = include_bytes!("jwt_rsa_test_key.pem");
const RSA_MODULUS: &str = "pxcQnnwTjHjdBawyMKJ4J21z-dof8EYDTZVXTGv28ojFfLOTe7Qgt0ebBOEjgS8Uy8wpLSpU2vPMp5tPCCJr0GdyEpQaIqYrXNpCozXZ19l0w1mG92aCnZR97IUQvNTzS_1l_7Ac3PSRXwxZPSm-HXn20pgrImXBEvGQJWpZzYobI3HACJvyYx70nanRhuKzWDI3CpzT4sgtzf35MZXPlIrGmFPUAzmjqg5T2S8mTwu-1POqVBmlBYm49jQuRBdVdBIu8dkuWxL49yc2ONjXiNuLarFrRX26NtznCOZCllbWXdPLRAuJV0z8Yxy4APjz4oQNEJ7C2FbrEVCcx6kO7Q";

fn ed25519(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn p256() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_bytes(&[7; 32].into()).unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys that the issuer publishes.
fn keys() -> Value {
    let point = p256().verifying_key().to_encoded_point(false);
    let public = |seed| b64(ed25519(seed).verifying_key().as_bytes());
    json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "use": "sig", "x": public(1)},
        {"kty": "OKP", "crv": "Ed25519", "kid": "twice", "x": public(3)},
        {"kty": "OKP", "crv": "Ed25519", "kid": "twice", "x": public(4)},
        {"kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": public(1)},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(point.x().unwrap()), "y": b64(point.y().unwrap())},
        {"kty": "RSA", "kid": "rsa", "alg": "RS256", "n": RSA_MODULUS, "e": "AQAB"},
        {"kty": "oct", "kid": "oct", "k": b64([9; 32])},
        {"kty": "later", "kid": "later"},
    ]})
}

fn good() -> Value {
    json!({"iss": ISSUER, "sub": "repo:acme/app", "aud": "sublet://acme.example",
        "exp": NOW + 300, "iat": NOW, "repository_id": "42"})
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    format!("{message}.{}", b64(sign(message.as_bytes())))
}

fn by_ed(seed: u8) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| ed25519(seed).sign(message).to_bytes().to_vec()
}

fn header(alg: &str, kid: &str) -> Value {
    json!({"typ": "JWT", "alg": alg, "kid": kid})
}

fn methods(directory: &Path, issuer: &str, algorithms: &[&str]) -> Methods {
    let path = directory.join("jwks.json");
    std::fs::write(&path, keys().to_string()).unwrap();
    let mut config = Config::dev("data".into(), "127.0.0.1:0".parse().unwrap()).unwrap();
    config.trust_domain = "acme.example".parse().unwrap();
    config.issuer = vec![IssuerConfig {
        name: issuer.into(),
        audience: None,
        jwks_file: Some(path),
        jwks_url: None,
        x509_bundle: None,
        trust_bundle: None,
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
    }];
    Methods::of(&config, None).unwrap()
}

/// Shows a token as it is.
async fn show(methods: &Methods, method: &str, token: &str) -> Result<Credential, Refusal> {
    let key = sublet_tests::key("new");
    let shown = Presented {
        credential: token.as_bytes(),
        agent: "",
        key: sublet_core::base::sign::Signer::public_key(&key),
        certificate: None,
    };
    methods.get(method).unwrap().show(&shown, UnixMillis(NOW * 1000)).await
}

/// What becomes of a token: "shown", or the code.
async fn detail(methods: &Methods, method: &str, token: &str) -> &'static str {
    match show(methods, method, token).await {
        Ok(Credential::Attested(shown)) => {
            assert_eq!(shown.method, method);
            "shown"
        }
        Ok(_) => panic!("not a join token"),
        Err(refusal) => refusal.code(),
    }
}

/// SPEC 8.5: an issuer whose keys are not to be had vouches for nobody.
#[tokio::test]
async fn without_the_issuers_keys_nothing_is_decided() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), ISSUER, &["EdDSA"]);
    std::fs::remove_file(directory.path().join("jwks.json")).unwrap();
    let token = signed(&header("EdDSA", "ed"), &good(), by_ed(1));
    assert_eq!(detail(&methods, "jwt", &token).await, "issuer_keys_unavailable");
}

#[tokio::test]
async fn each_family_of_keys_signs_and_none_in_place_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let taken = ["RS256", "PS256", "ES256", "EdDSA"];
    let methods = methods(directory.path(), ISSUER, &taken);
    let rsa = EncodingKey::from_rsa_pem(RSA).unwrap();
    let by_rsa = |algorithm| {
        let rsa = rsa.clone();
        move |message: &[u8]| {
            let text = crypto::sign(message, &rsa, algorithm).unwrap();
            URL_SAFE_NO_PAD.decode(text).unwrap()
        }
    };
    let by_ec = |message: &[u8]| {
        let signature: p256::ecdsa::Signature = p256().sign(message);
        signature.to_bytes().to_vec()
    };
    let by_mac = |secret: Vec<u8>| {
        move |message: &[u8]| {
            let key = EncodingKey::from_secret(&secret);
            URL_SAFE_NO_PAD.decode(crypto::sign(message, &key, Algorithm::HS256).unwrap()).unwrap()
        }
    };
    let claims = good();
    let public = ed25519(1).verifying_key().to_bytes().to_vec();
    let modulus = URL_SAFE_NO_PAD.decode(RSA_MODULUS).unwrap();
    for (what, token, code) in [
        ("EdDSA", signed(&header("EdDSA", "ed"), &claims, by_ed(1)), "shown"),
        ("ES256", signed(&header("ES256", "ec"), &claims, by_ec), "shown"),
        ("RS256", signed(&header("RS256", "rsa"), &claims, by_rsa(Algorithm::RS256)), "shown"),
        ("no signature", signed(&header("none", "ed"), &claims, |_| vec![]), "jwt_algorithm"),
        ("not even a name", signed(&json!({"alg": "none"}), &claims, |_| vec![]), "jwt_algorithm"),
        (
            "a MAC by the public key",
            signed(&header("HS256", "ed"), &claims, by_mac(public)),
            "jwt_algorithm",
        ),
        (
            "a MAC by the modulus",
            signed(&header("HS256", "rsa"), &claims, by_mac(modulus)),
            "jwt_algorithm",
        ),
        (
            "a MAC by its own key",
            signed(&header("HS256", "oct"), &claims, by_mac(vec![9; 32])),
            "jwt_algorithm",
        ),
        (
            "another family's key",
            signed(&header("RS256", "ed"), &claims, by_ed(1)),
            "jwt_algorithm",
        ),
        ("and the other way", signed(&header("EdDSA", "rsa"), &claims, by_ed(1)), "jwt_algorithm"),
        ("and another", signed(&header("ES256", "ed"), &claims, by_ed(1)), "jwt_algorithm"),
        (
            "another padding than the key is for",
            signed(&header("PS256", "rsa"), &claims, by_rsa(Algorithm::PS256)),
            "jwt_algorithm",
        ),
        (
            "a key that encrypts",
            signed(&header("EdDSA", "enc"), &claims, by_ed(1)),
            "jwt_algorithm",
        ),
        ("not configured", signed(&header("ES384", "ec"), &claims, by_ec), "jwt_algorithm"),
        ("another key", signed(&header("EdDSA", "ed"), &claims, by_ed(2)), "jwt_signature"),
        ("a key of no issuer", signed(&header("EdDSA", "no"), &claims, by_ed(2)), "jwt_key"),
        ("one of two of a name", signed(&header("EdDSA", "twice"), &claims, by_ed(3)), "jwt_key"),
        ("which of many", signed(&json!({"alg": "EdDSA"}), &claims, by_ed(1)), "jwt_key"),
        (
            "a kind that is not known",
            signed(&header("EdDSA", "later"), &claims, by_ed(1)),
            "jwt_key",
        ),
        (
            "a key that comes along",
            signed(
                &json!({"alg": "EdDSA", "kid": "mine", "jwk": {"kty": "OKP", "crv": "Ed25519",
                    "x": b64(ed25519(2).verifying_key().as_bytes())}, "jku": "http://127.0.0.1/"}),
                &claims,
                by_ed(2),
            ),
            "jwt_key",
        ),
        (
            "an extension that must be understood",
            signed(
                &json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false}),
                &claims,
                by_ed(1),
            ),
            "jwt_malformed",
        ),
    ] {
        assert_eq!(detail(&methods, "jwt", &token).await, code, "{what}");
    }
}

#[tokio::test]
async fn a_token_is_for_this_broker_now_and_about_somebody() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), ISSUER, &["EdDSA"]);
    let changes: [(&str, Value, &str); 19] = [
        ("aud", json!(["x", "sublet://acme.example"]), "shown"),
        ("aud", json!("sublet://acme.example/"), "jwt_audience"),
        ("aud", json!(["sublet://other.example"]), "jwt_audience"),
        ("aud", json!([]), "jwt_audience"),
        ("aud", Value::Null, "jwt_audience"),
        ("exp", json!(NOW), "jwt_expired"),
        ("exp", json!(NOW - 1), "jwt_expired"),
        ("exp", json!(NOW + 1), "shown"),
        ("exp", Value::Null, "jwt_malformed"),
        ("exp", json!("1800000300"), "jwt_malformed"),
        ("exp", json!(NOW + 26 * 3600), "jwt_lifetime"),
        ("nbf", json!(NOW + 5), "shown"),
        ("nbf", json!(NOW + 6), "jwt_not_yet_valid"),
        ("iat", json!(NOW + 60), "jwt_not_yet_valid"),
        ("iss", json!("https://ci.example/"), "jwt_issuer"),
        ("iss", json!("https://evil.example"), "jwt_issuer"),
        ("iss", Value::Null, "jwt_issuer"),
        ("sub", json!(""), "jwt_malformed"),
        ("sub", json!(7), "jwt_malformed"),
    ];
    for (name, value, code) in changes {
        let mut claims = good();
        match &value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
        let token = signed(&header("EdDSA", "ed"), &claims, by_ed(1));
        assert_eq!(detail(&methods, "jwt", &token).await, code, "{name} {value}");
    }
}

/// A workload's token is made for the workload, so `azp` is its own, where it is there. In one that is for
/// several it must be one that is taken here: it was made for another of them.
// SPEC 3.10.8.
#[tokio::test]
async fn a_token_for_several_is_not_made_for_another_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), ISSUER, &["EdDSA"]);
    let ours = "sublet://acme.example";
    for (aud, azp, code) in [
        (json!(["x", ours]), json!("x"), "jwt_audience"),
        (json!([ours, "x"]), json!("y"), "jwt_audience"),
        (json!(["x", ours]), json!(ours), "shown"),
        (json!(ours), json!("113774264463038321964"), "shown"),
        (json!(ours), json!(ours), "shown"),
        (json!(["x", ours]), json!(["x"]), "jwt_malformed"),
        (json!(ours), json!(7), "jwt_malformed"),
    ] {
        let mut claims = good();
        (claims["aud"], claims["azp"]) = (aud.clone(), azp.clone());
        let token = signed(&header("EdDSA", "ed"), &claims, by_ed(1));
        assert_eq!(detail(&methods, "jwt", &token).await, code, "{aud} {azp}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), ISSUER, &["EdDSA"]);
    let whole = signed(&header("EdDSA", "ed"), &good(), by_ed(1));
    assert_eq!(detail(&methods, "jwt", &whole).await, "shown");
    let parts: Vec<&str> = whole.split('.').collect();
    let twice = format!("{{\"iss\":\"{ISSUER}\",\"sub\":\"a\",\"sub\":\"b\"}}");
    for wrong in [
        String::new(),
        "..".into(),
        parts[..2].join("."),
        format!("{whole}.x"),
        format!("{whole}="),
        format!("{} {}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}", b64("[]"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], b64("[]"), parts[2]),
        format!("{}.{}.{}", parts[0], b64(twice), parts[2]),
        format!("{}.{}", "x".repeat(20_000), whole),
    ] {
        let told: String = wrong.chars().take(60).collect();
        assert_eq!(detail(&methods, "jwt", &wrong).await, "jwt_malformed", "{told}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_ne!(detail(&methods, "jwt", &changed).await, "shown", "byte {at}");
    }
    assert!(methods.get("jwt_svid").is_err() && methods.get("password").is_err());
}

#[tokio::test]
async fn a_workload_identity_is_of_the_trust_domain_that_signs_it() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), "spiffe://prod.example", &["EdDSA"]);
    let svid = |subject: &str| {
        let mut claims = good();
        claims["sub"] = json!(subject);
        signed(&header("EdDSA", "ed"), &claims, by_ed(1))
    };
    for (subject, code) in [
        ("spiffe://prod.example/ns/web/sa/app", "shown"),
        ("spiffe://prod.example", "jwt_malformed"),
        ("spiffe://prod.example.evil/ns/web", "jwt_issuer"),
        ("spiffe://acme.example/agent/planner", "jwt_issuer"),
        ("https://prod.example/ns/web", "jwt_issuer"),
    ] {
        assert_eq!(detail(&methods, "jwt_svid", &svid(subject)).await, code, "{subject}");
    }
    let shown = svid("spiffe://prod.example/ns/web/sa/app");
    let key = sublet_tests::key("new");
    let shown = Presented {
        credential: shown.as_bytes(),
        agent: "",
        key: sublet_core::base::sign::Signer::public_key(&key),
        certificate: None,
    };
    let shown = methods.get("jwt_svid").unwrap().show(&shown, UnixMillis(NOW * 1000));
    let Credential::Attested(shown) = shown.await.unwrap() else { panic!("attested") };
    assert_eq!(
        (shown.claim("/spiffe/1"), shown.issuer.as_str()),
        (Some("web"), "spiffe://prod.example")
    );
}

/// ECDSA has two signatures of each message, and whoever has one can make the other: (r, s) and (r, n - s).
/// Both are taken, as JWTs know no low s, and they are one token: it opens once.
#[tokio::test]
async fn a_token_whose_signature_was_turned_over_is_the_same_token() {
    let directory = tempfile::tempdir().unwrap();
    let methods = methods(directory.path(), ISSUER, &["ES256"]);
    let by = |message: &[u8]| -> p256::ecdsa::Signature { p256().sign(message) };
    let one = signed(&header("ES256", "ec"), &good(), |message| by(message).to_bytes().to_vec());
    let other = signed(&header("ES256", "ec"), &good(), |message| {
        let (r, s) = by(message).split_scalars();
        let over = p256::ecdsa::Signature::from_scalars(r, -*s).unwrap();
        over.to_bytes().to_vec()
    });
    assert_ne!(one, other);
    let mut ids = Vec::new();
    for token in [one, other] {
        match show(&methods, "jwt", &token).await.unwrap() {
            Credential::Attested(shown) => ids.push((shown.id, shown.once)),
            _ => panic!("a signed token"),
        }
    }
    assert_eq!(ids[0], ids[1]);
    assert!(ids[0].1, "it is good once");
}

#[test]
fn an_issuer_whose_tokens_are_for_nobody_is_none() {
    let mut config = Config::dev("data".into(), "127.0.0.1:0".parse().unwrap()).unwrap();
    for audience in [OneOrSome::Some(Vec::new()), OneOrSome::One(String::new())] {
        config.issuer = vec![IssuerConfig {
            name: ISSUER.into(),
            audience: Some(audience),
            jwks_file: Some("jwks.json".into()),
            jwks_url: None,
            x509_bundle: None,
            trust_bundle: None,
            algorithms: vec!["EdDSA".to_owned()],
        }];
        let refused = Methods::of(&config, None).err().unwrap().to_string();
        assert!(refused.contains("audience is empty"), "{refused}");
    }
}
