//! Enrollment by what a workload has anyway: a signed token of a CI system whose keys are fetched and
//! change, a SPIFFE JWT-SVID by a bundle in a file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sublet_client::agent::directory::Directory;
use sublet_client::agent::enrollment::Proof;
use sublet_client::agent::identity::Identity;
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::base::text::base64url;

use crate::stage::Stage;

fn key(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

pub(crate) fn jwk(kid: &str, seed: u8) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(key(seed).public_key().bytes())})
}

pub(crate) fn seconds() -> i64 {
    Ports::system().clock.now().seconds()
}

/// A token by this key, with these claims and those that each needs.
pub(crate) fn token(kid: &str, seed: u8, claims: &Value) -> String {
    let mut all = json!({"aud": "sublet://acme.example", "exp": seconds() + 300, "iat": seconds()});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let header = json!({"alg": "EdDSA", "kid": kid});
    let message = format!("{}.{}", base64url(header.to_string()), base64url(all.to_string()));
    format!("{message}.{}", base64url(key(seed).sign(message.as_bytes()).unwrap()))
}

/// An OpenID provider on loopback: says where its keys are, and counts who asks for them.
pub(crate) struct Provider {
    pub(crate) url: String,
    keys: Arc<Mutex<(Value, usize)>>,
}

impl Provider {
    pub(crate) fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new((keys, 0)));
        let (own, shared) = (url.clone(), keys.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let (mut request, mut byte) = (Vec::new(), [0; 1]);
                while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap() == 1 {
                    request.push(byte[0]);
                }
                let body = if request.starts_with(b"GET /.well-known/openid-configuration ") {
                    json!({"issuer": own, "jwks_uri": format!("{own}/keys")})
                } else {
                    let mut keys = shared.lock().unwrap();
                    keys.1 += 1;
                    keys.0.clone()
                };
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = socket.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Provider { url, keys }
    }
}

/// A broker of acme.example that believes a provider and a SPIFFE trust domain.
fn broker(provider: &Provider, claim: &str) -> Stage {
    let config = format!(
        "[[issuer]]\nname = \"{}\"\n\
         [[issuer]]\nname = \"spiffe://prod.example\"\njwks_file = \"bundle.json\"\n",
        provider.url
    );
    let bundle = json!({"keys": [jwk("spire", 9)]}).to_string();
    let stage = Stage::configured(&config, &[("bundle.json", &bundle)]);
    let profile = format!(
        "name = \"ci\"\nprincipals = [\"job:*@acme.example\"]\nttl_seconds_max = 900\nhops_max = 4\n\
         offline_hops_max = 2\nallow = [\"fs.@tool://files path=under:/data\"]\n\
         [[enroll]]\nissuer = \"{}\"\nclaims = {{ ref = \"main\" }}\nagent = \"agent/ci/{claim}\"\n\
         [[enroll]]\nissuer = \"spiffe://prod.example\"\nclaims = {{ \"/spiffe/0\" = \"ns\" }}\n\
         agent = \"agent/{{/spiffe/1}}/{{/spiffe/3}}\"\nrekey = true\n",
        provider.url
    );
    fs::write(stage.path("ci.toml"), profile).unwrap();
    let shown = stage.sublet(&["profile", "apply", "ci.toml"]).ok();
    assert!(shown.contains("enrolls") && shown.contains("again with a new key"), "{shown}");
    stage
}

/// Enrols with a token as a file.
fn enroll(stage: &Stage, how: &str, token: &str, out: &str) -> crate::stage::Run {
    fs::write(stage.path("token"), token).unwrap();
    stage.sublet(&["agent", "enroll", how, "token", "--out", out])
}

#[test]
fn a_run_of_a_ci_system_enrols_with_its_own_token_and_once() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = broker(&provider, "{repository_id}");
    let run = |kid: &str, seed: u8, id: &str| {
        let claims = json!({"iss": provider.url, "sub": "run", "ref": "main", "repository_id": id});
        token(kid, seed, &claims)
    };
    let first = run("one", 1, "42");
    let said = enroll(&stage, "--jwt", &first, "ci").ok();
    assert!(said.contains("spiffe://acme.example/agent/ci/42"), "{said}");
    stage
        .sublet(&[
            "issue",
            "--as",
            "ci",
            "--on-behalf-of",
            "job:build",
            "--allow",
            "fs.read@tool://files path=under:/data/q3",
            "--ttl",
            "60s",
            "--out",
            "t",
        ])
        .ok();
    enroll(&stage, "--jwt", &first, "again").fails(2, "[credential_used]");
    // One that was killed before it kept the answer has its key, and another token by now.
    let lose = || {
        for lost in ["identity.token", "agent.toml", "trust.json"] {
            fs::remove_file(stage.path("ci").join(lost)).unwrap();
        }
    };
    let key = fs::read(stage.path("ci/key.pem")).unwrap();
    lose();
    enroll(&stage, "--jwt", &first, "ci").ok();
    lose();
    let next = token(
        "one",
        1,
        &json!({
            "iss": provider.url, "sub": "run", "ref": "main", "repository_id": "42", "jti": "next",
        }),
    );
    enroll(&stage, "--jwt", &next, "ci").ok();
    assert_eq!(fs::read(stage.path("ci/key.pem")).unwrap(), key);
    stage.sublet(&["agent", "renew", "--as", "ci"]).ok();
    // Once it was renewed the answer of then is a copy's, and is given to nobody.
    lose();
    enroll(&stage, "--jwt", &next, "ci").fails(2, "[credential_used]");
    let third = token(
        "one",
        1,
        &json!({
            "iss": provider.url, "sub": "run", "ref": "main", "repository_id": "42", "jti": "third",
        }),
    );
    enroll(&stage, "--jwt", &third, "ci").ok();
    stage.sublet(&["agent", "renew", "--as", "ci"]).ok();
    enroll(&stage, "--jwt", &run("one", 2, "43"), "forged").fails(2, "[jwt_signature]");
    enroll(&stage, "--jwt", &run("one", 1, "4/3"), "path").fails(2, "[not_enrollable]");
    enroll(&stage, "--jwt", "nonsense", "none").fails(2, "[jwt_malformed]");
    enroll(&stage, "--jwt-svid", &first, "svid").fails(2, "[jwt_issuer]");
    let asked = ["agent", "enroll", "--jwt", "token", "--id", "agent/ci/7", "--out", "other"];
    fs::write(stage.path("token"), run("one", 1, "8")).unwrap();
    stage.sublet(&asked).fails(2, "[not_enrollable]");
    stage
        .sublet(&["agent", "enroll", "--jwt", "token", "--join-token", "token", "--out", "x"])
        .fails(64, "");
    // Its keys change, and the broker asks again; noise makes it ask no more than the back-off lets.
    let asked_before = provider.keys.lock().unwrap().1;
    let began = seconds();
    provider.keys.lock().unwrap().0 = json!({"keys": [jwk("two", 2)]});
    for _ in 0..5 {
        enroll(&stage, "--jwt", &run("noise", 3, "9"), "noise").fails(2, "[jwt_key]");
    }
    let asked_now = provider.keys.lock().unwrap().1;
    let most = asked_before + 1 + (seconds() - began) as usize / 10;
    assert!(asked_now <= most, "{asked_before} then {asked_now}");
    // Within the back-off, a token by the new key waits for its turn, and is taken then.
    let came = (0..600).any(|_| {
        let came = enroll(&stage, "--jwt", &run("two", 2, "9"), "turned").code == 0;
        if !came {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        came
    });
    assert!(came && provider.keys.lock().unwrap().1 > asked_before);
    // Who it was, by whose word, with which token: in the ledger.
    let told = stage.sublet(&["audit", "export", "--out", "evidence.sublet"]);
    assert_eq!(told.code, 0, "{told:?}");
    let bytes = fs::read(stage.path("evidence.sublet")).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        has(&provider.url) && has("\"repository_id\":\"42\""),
        "the claims lie beside the record"
    );
    assert!(!has(&first), "and the token itself nowhere");
}

#[test]
fn a_workload_identity_enrols_and_comes_in_again_where_its_rule_says_so() {
    let provider = Provider::start(json!({"keys": []}));
    let stage = broker(&provider, "{sub}");
    let svid = |seed: u8, nonce: u32| {
        let sub = "spiffe://prod.example/ns/web/sa/app";
        token("spire", seed, &json!({"sub": sub, "nonce": nonce}))
    };
    let said = enroll(&stage, "--jwt-svid", &svid(9, 1), "pod").ok();
    assert!(said.contains("spiffe://acme.example/agent/web/app"), "{said}");
    // The pod starts anew and has no key any more.
    enroll(&stage, "--jwt-svid", &svid(9, 2), "pod-2").ok();
    enroll(&stage, "--jwt-svid", &svid(8, 3), "forged").fails(2, "[jwt_signature]");
    stage
        .sublet(&["agent", "suspend", "spiffe://acme.example/agent/web/app", "--reason", "x"])
        .ok();
    enroll(&stage, "--jwt-svid", &svid(9, 4), "pod-3").fails(2, "[agent_not_active]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_clients_with_one_token_one_enrols() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = Arc::new(broker(&provider, "{repository_id}"));
    let claims = json!({"iss": provider.url, "sub": "run", "ref": "main", "repository_id": "1"});
    let proof = Arc::new(Proof::jwt(&token("one", 1, &claims)));
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let endpoint = Broker::connect(&stage.endpoint).await.unwrap();
    let clients = (0..100).map(|n| {
        let (proof, trust, broker) = (proof.clone(), trust.clone(), endpoint.clone());
        let directory = stage.path(&format!("client-{n}"));
        tokio::spawn(async move {
            Identity::enroll_by(&broker, &proof, Directory::new(directory), Some(&trust), None)
                .await
        })
    });
    let mut enrolled = 0;
    for client in clients.collect::<Vec<_>>() {
        match client.await.unwrap() {
            Ok(_) => enrolled += 1,
            Err(failure) => assert_eq!(failure.code(), "credential_used", "{failure}"),
        }
    }
    assert_eq!(enrolled, 1);
}
