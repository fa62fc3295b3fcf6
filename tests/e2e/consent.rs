//! On behalf of a user, with processes: the user's own token from an identity provider on loopback,
//! logout by the user and by its provider, the token exchange of OAuth, and how fast what was issued is
//! refused at a tool that is offline but for the feed. SUBLET_DESCENDANTS sets how many hang below the
//! login (100 here; 100,000 for the long run, with --release).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::Follower;
use sublet_client::trust::Trust;
use sublet_client::{Consent, Grant, Identity};
use sublet_core::base::text::base64url;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::token::Presentation;

use crate::enroll::{Provider, jwk, seconds, token};
use crate::pki::Authority;
use crate::stage::{Run, Stage};
use crate::transport::{self, by_tls};

const SCOPE: [&str; 1] = ["fs.read@tool://files path=under:/data"];
const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 900\nhops_max = 8\noffline_hops_max = 8\nfan_out_max = 65536\n\
    consent_required = true\nallow = [\"fs.@tool://files path=under:/data\"]\n";

/// A broker that takes logins of a provider, and an agent.
pub(crate) fn stage(provider: &Provider) -> Stage {
    let config = format!(
        "[[user_issuer]]\nname = \"{}\"\naudience = \"desk\"\nprincipal = \"user:{{email}}\"\n",
        provider.url
    );
    let stage = Stage::configured(&config, &[("default.toml", PROFILE)]);
    stage.sublet(&["profile", "apply", "default.toml"]).ok();
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
    stage
}

pub(crate) fn claims(provider: &Provider, more: &Value) -> Value {
    let mut all = json!({
        "iss": provider.url, "aud": "desk", "sub": "0042", "sid": "s1",
        "email": "alice@acme.example", "email_verified": true,
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

pub(crate) fn issue(stage: &Stage, user: &str, token: &str, ttl: &str) -> Run {
    fs::write(stage.path("user"), token).unwrap();
    let args = ["issue", "--as", "planner", "--on-behalf-of", user, "--allow", SCOPE[0]];
    stage.sublet(&[&args[..], &["--user-token", "user", "--ttl", ttl, "--out", "t"]].concat())
}

/// A form as HTTP/1.1, with headers: the status and the body.
fn post(
    stage: &Stage,
    path: &str,
    headers: &[(&str, String)],
    form: &[(&str, &str)],
) -> (u16, Value) {
    let body: Vec<String> =
        form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    post_body(stage, path, headers, &body.join("&"))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(
            |b| {
                if b.is_ascii_alphanumeric() {
                    (b as char).to_string()
                } else {
                    format!("%{b:02X}")
                }
            },
        )
        .collect()
}

fn post_body(stage: &Stage, path: &str, headers: &[(&str, String)], body: &str) -> (u16, Value) {
    let address = stage.endpoint.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).unwrap();
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(status != 200 || head.to_lowercase().contains("no-store"), "{head}");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn an_agent_acts_for_the_user_that_its_token_proves_and_for_no_other() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let plain = ["issue", "--as", "planner", "--on-behalf-of", "user:alice", "--allow", SCOPE[0]];
    stage.sublet(&[&plain[..], &["--out", "t"]].concat()).fails(2, "[consent_needed]");
    let alice = token("one", 1, &claims(&provider, &json!({})));
    issue(&stage, "user:alice", &alice, "60s").ok();
    issue(&stage, "user:bob", &alice, "60s").fails(2, "[principal_not_proven]");
    issue(&stage, "user:alice", &alice, "10m").fails(2, "[outlives_consent]");
    for (detail, wrong) in [
        ("[jwt_signature]", token("one", 9, &claims(&provider, &json!({})))),
        ("[jwt_key]", token("nine", 9, &claims(&provider, &json!({})))),
        ("[jwt_audience]", token("one", 1, &claims(&provider, &json!({"aud": "other"})))),
        ("[jwt_audience]", token("one", 1, &claims(&provider, &json!({"azp": "other"})))),
        ("[jwt_audience]", token("one", 1, &claims(&provider, &json!({"aud": ["desk", "other"]})))),
        (
            "[jwt_audience]",
            token("one", 1, &claims(&provider, &json!({"aud": ["other", "desk"], "azp": "other"}))),
        ),
        ("[jwt_expired]", token("one", 1, &claims(&provider, &json!({"exp": seconds() - 1})))),
        ("[jwt_issuer]", token("one", 1, &claims(&provider, &json!({"iss": "https://evil"})))),
        ("[user_unmapped]", token("one", 1, &claims(&provider, &json!({"email_verified": false})))),
        (
            "[user_unmapped]",
            token("one", 1, &claims(&provider, &json!({"email": "alice@evil.example"}))),
        ),
        ("[jwt_malformed]", token("one", 1, &claims(&provider, &json!({"events": {"x": {}}})))),
    ] {
        issue(&stage, "user:alice", &wrong, "60s").fails(2, detail);
    }
    let both = json!({"aud": ["other", "desk"], "azp": "desk"});
    issue(&stage, "user:alice", &token("one", 1, &claims(&provider, &both)), "60s").ok();
    // A grant of the admin in its place.
    let granted = stage.sublet(&[
        "session",
        "grant",
        "agent/planner",
        "--for",
        "user:bob",
        "--output",
        "json",
    ]);
    let granted: Value = serde_json::from_str(&granted.ok()).unwrap();
    let id = granted["session"].as_str().unwrap().to_owned();
    let bob = ["issue", "--as", "planner", "--on-behalf-of", "user:bob", "--allow", SCOPE[0]];
    stage.sublet(&[&bob[..], &["--session", &id, "--out", "b"]].concat()).ok();
    let listed = stage.sublet(&["session", "list"]).ok();
    assert!(
        listed.contains("user:alice@acme.example") && listed.contains(&provider.url),
        "{listed}"
    );
    stage.sublet(&["session", "end", &id, "--reason", "month is over"]).ok();
    stage
        .sublet(&[&bob[..], &["--session", &id, "--out", "c"]].concat())
        .fails(2, "[session_ended]");
    // What consent there was, is in the ledger.
    let told = stage.sublet(&["audit", "replay", "--all", "--output", "json"]).ok();
    assert!(told.contains("month is over"), "{told}");
}

#[test]
fn a_user_and_its_provider_end_what_was_issued() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let alice = token("one", 1, &claims(&provider, &json!({})));
    issue(&stage, "user:alice", &alice, "60s").ok();
    // By the user's own token, and no key.
    let ended = stage.sublet(&["session", "end", "--user-token", "user"]).ok();
    assert!(ended.contains("revoked delegations  1"), "{ended}");
    issue(&stage, "user:alice", &alice, "60s").fails(2, "[session_ended]");

    // By the provider's word, where the user logs out there.
    let again = token("one", 1, &claims(&provider, &json!({"sid": "s2"})));
    issue(&stage, "user:alice", &again, "60s").ok();
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let logout = |more: Value| {
        let mut all = json!({
            "iss": provider.url, "aud": "desk", "sub": "0042", "sid": "s2", "jti": "1", "events": event,
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token("one", 1, &all)
    };
    for (detail, wrong) in [
        ("jwt_malformed", again.clone()),
        ("jwt_malformed", logout(json!({"nonce": "n"}))),
        ("jwt_malformed", logout(json!({"events": {"other": {}}}))),
        ("jwt_audience", logout(json!({"aud": "other"}))),
    ] {
        let (status, answer) = post(&stage, "/logout", &[], &[("logout_token", &wrong)]);
        assert_eq!((status, answer["sublet_code"].as_str().unwrap()), (401, detail));
    }
    issue(&stage, "user:alice", &again, "60s").ok();
    let (status, _) = post(&stage, "/logout", &[], &[("logout_token", &logout(json!({})))]);
    assert_eq!(status, 200);
    issue(&stage, "user:alice", &again, "60s").fails(2, "[session_ended]");
}

/// With the clock of the broker: a token of a login that has ended, and a logout token from before, are
/// shown again when the user has logged in anew.
#[test]
fn a_word_from_before_ends_no_newer_login() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let of = |iat: i64, more: Value| {
        let mut all = claims(&provider, &json!({"iat": iat}));
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token("one", 1, &all)
    };
    let end = |token: &str| {
        fs::write(stage.path("ended"), token).unwrap();
        stage.sublet(&["session", "end", "--user-token", "ended"]).ok()
    };
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let old = of(seconds() - 100, json!({}));
    issue(&stage, "user:alice", &old, "60s").ok();
    assert!(end(&old).contains("revoked delegations  1"));
    issue(&stage, "user:alice", &old, "60s").fails(2, "[session_ended]");
    // Within the skew that clocks may have, so that nobody waits.
    let new = of(seconds() + 3, json!({}));
    issue(&stage, "user:alice", &new, "60s").ok();
    assert!(end(&old).contains("revoked delegations  0"));
    for sid in ["s1", ""] {
        let told = of(seconds() - 50, json!({"events": event, "sid": sid, "jti": "1"}));
        assert_eq!(post(&stage, "/logout", &[], &[("logout_token", &told)]).0, 200);
    }
    issue(&stage, "user:alice", &new, "60s").ok();
    assert!(end(&new).contains("revoked delegations  2"), "both of the newer login were alive");
}

/// What an agent of an OAuth shop asks for.
fn details() -> String {
    let details = json!([{
        "type": "sublet_capability", "audience": "tool://files", "action": "fs.read",
        "args": {"path": {"under": "/data"}},
    }]);
    details.to_string()
}

/// The form of a token exchange by this agent.
fn exchange_form(identity: &Identity, subject: &str) -> String {
    let (actor, details) = (base64url(identity.token().encode()), details());
    [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", subject),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("actor_token", &actor),
        ("actor_token_type", "urn:sublet:params:oauth:token-type:identity"),
        ("authorization_details", &details),
        ("requested_expires_in", "60"),
    ]
    .map(|(name, value)| format!("{name}={}", escaped(value)))
    .join("&")
}

/// The headers by which this agent proves that form.
fn exchange_headers(identity: &Identity, body: &str) -> Vec<(&'static str, String)> {
    let ports = Ports::system();
    let claims = CallClaims::of_digest(
        identity.token().id(),
        "sublet://acme.example",
        "/token",
        sublet_core::base::bytes::sha256(body.as_bytes()),
        ports.clock.now(),
        ports.entropy.nonce().unwrap(),
    );
    let proof = CallProof::sign(claims, identity.key().as_ref()).unwrap();
    let shown = Presentation { token: identity.token().encode(), receipt: None };
    vec![("sublet-token", shown.to_text()), ("sublet-proof", proof.to_text())]
}

/// The planner exchanges a user's token.
pub(crate) fn exchange(stage: &Stage, subject: &str) -> (u16, Value) {
    let identity = Identity::load(stage.path("planner")).unwrap();
    let body = exchange_form(&identity, subject);
    post_body(stage, "/token", &exchange_headers(&identity, &body), &body)
}

#[test]
fn an_oauth_shop_exchanges_a_users_token_for_a_delegation() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let identity = Identity::load(stage.path("planner")).unwrap();
    let alice = token("one", 1, &claims(&provider, &json!({})));
    let details = details();
    let form = |subject: &str| exchange_form(&identity, subject);
    let shown = |body: &str| exchange_headers(&identity, body);
    let body = form(&alice);
    let (status, answer) = post_body(&stage, "/token", &shown(&body), &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "N_A");
    assert_eq!(answer["sublet"]["sub"], "user:alice@acme.example");
    assert_eq!(answer["sublet"]["act"]["sub"], "spiffe://acme.example/agent/planner");
    let held = identity.open(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(held.token().principal().unwrap().as_str(), "user:alice@acme.example");

    // A part that the broker does not know is refused by its name.
    let mut further = shown(&body);
    further.push(("sublet-further", "AAAA".to_owned()));
    let (status, answer) = post_body(&stage, "/token", &further, &body);
    assert_eq!((status, answer["sublet_code"].as_str()), (400, Some("bad_part")), "{answer}");
    assert!(answer["error_description"].as_str().unwrap().starts_with("sublet-further: "));

    // The proof is over this body, once; and without it an actor token is worth nothing.
    let headers = shown(&body);
    assert_eq!(post_body(&stage, "/token", &headers, &body).0, 200);
    let code = |headers: &[(&str, String)], body: &str| {
        let (status, answer) = post_body(&stage, "/token", headers, body);
        (status, answer["sublet_code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(&headers, &body), (401, "proof_replayed".into()));
    let bob = form(&token("one", 1, &claims(&provider, &json!({"email": "bob@acme.example"}))));
    assert_eq!(code(&shown(&body), &bob), (401, "wrong_arguments".into()));
    assert_eq!(code(&[], &body), (401, "credentials_missing".into()));
    let forged = form(&token("one", 9, &claims(&provider, &json!({}))));
    assert_eq!(code(&shown(&forged), &forged), (401, "jwt_signature".into()));
    let wide = body.replace(&escaped("fs.read"), &escaped("db.read"));
    assert_eq!(code(&shown(&wide), &wide), (400, "scope_exceeds_profile".into()));
    // A member that stands twice is read by nobody, in a capability or in what is inside it.
    for (member, twice) in [
        (
            r#""type":"sublet_capability""#,
            r#""type":"sublet_capability","type":"sublet_capability""#,
        ),
        (r#""action":"fs.read""#, r#""action":"fs.read","action":"fs.write""#),
        (r#""under":"/data""#, r#""under":"/data","under":"/""#),
        (r#""path":{"#, r#""path":{"under":"/"},"path":{"#),
    ] {
        assert!(details.contains(member), "{details}");
        let twice = body.replace(&escaped(&details), &escaped(&details.replace(member, twice)));
        assert_eq!(code(&shown(&twice), &twice), (400, "bad_field".into()), "{member}");
    }
    let odd = body.replace("grant_type=urn", "grant_type=urm");
    assert_eq!(code(&shown(&odd), &odd), (400, "bad_field".into()));
    let twice = format!("{body}&grant_type=x");
    assert_eq!(code(&shown(&twice), &twice), (400, "bad_field".into()));
}

/// As an OAuth client of any kind does it: over HTTPS, with the form and the headers that one command makes;
/// an access token of the same provider, for another audience, will do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_is_one_post_over_https() {
    let (provider, authority) =
        (Provider::start(json!({"keys": [jwk("one", 1)]})), Authority::new());
    let login = format!(
        "[[user_issuer]]\nname = \"{}\"\naudience = [\"desk\", \"https://api.example\"]\n\
         principal = \"user:{{email}}\"\n",
        provider.url
    );
    let stage = transport::broker(&authority, &login, &[("users.toml", PROFILE)]);
    by_tls(&stage, &["profile", "apply", "users.toml"]).ok();
    let join = by_tls(&stage, &["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    by_tls(&stage, &["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(root).build().unwrap();
    let exchange = async |audience: &str| {
        let user = token("one", 1, &claims(&provider, &json!({"aud": audience})));
        fs::write(stage.path("user"), user).unwrap();
        let make =
            ["oauth", "exchange", "--as", "planner", "--user-token", "user", "--allow", SCOPE[0]];
        let out = ["--ttl", "60s", "--form", "form", "--headers", "headers", "--output", "json"];
        let made = stage.sublet(&[&make[..], &out].concat()).json();
        let body = fs::read_to_string(stage.path("form")).unwrap();
        let mut request = client.post(made["post"].as_str().unwrap()).body(body);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for line in fs::read_to_string(stage.path("headers")).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, body)
    };
    for audience in ["desk", "https://api.example"] {
        let (status, answer) = exchange(audience).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["sublet"]["sub"], "user:alice@acme.example");
        assert_eq!(answer["sublet"]["act"]["sub"], "spiffe://acme.example/agent/planner");
        // What comes back is a token as any other: its holder hands it on and proves its calls.
        let identity = Identity::load(stage.path("planner")).unwrap();
        let held = identity.open(answer["access_token"].as_str().unwrap()).unwrap();
        held.credentials_for("tool://files", "fs.read", r#"{"path":"/data/q3"}"#).unwrap();
    }
    let (status, answer) = exchange("https://other.example").await;
    assert_eq!((status, answer["sublet_code"].as_str()), (401, Some("jwt_audience")));
}

/// Whoever says that a user's authority is over and does not wait for the answer has said it: all that it
/// opened is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_whose_caller_hung_up_is_one() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let identity = Identity::load(stage.path("planner")).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    for hangs_up in 0..6 {
        let sid = json!({"sid": format!("round{hangs_up}")});
        let user = token("one", 1, &claims(&provider, &sid));
        let grant = Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(60)).unwrap();
        let grant = grant.hops(1).by(Consent::UserToken(user.clone()));
        let mut held = vec![identity.ask(&grant).await.unwrap()];
        // Others are issued beside the end.
        let (asking, more) = (identity.clone(), grant.clone());
        let beside = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                match asking.ask(&more).await {
                    Ok(one) => held.push(one),
                    Err(refusal) if refusal.code() == "session_ended" => break held,
                    Err(refusal) => assert!(!refusal.is_final(), "{refusal}"),
                }
            }
        });
        // One that did not reach the broker was not said.
        let mut patience = (1 + hangs_up..).map(Duration::from_millis);
        while !beside.is_finished() {
            let said = broker.log_out(&user, "bye");
            if tokio::time::timeout(patience.next().unwrap(), said).await.is_ok() {
                break;
            }
        }
        held.extend(beside.await.unwrap());
        let over = async {
            for one in &held {
                let terms = Attenuation::of(&SCOPE, Duration::from_secs(10)).unwrap();
                loop {
                    let mut child = one.spawn_helper("late", &terms).unwrap();
                    match child.record().await {
                        Err(refusal) if refusal.code() == "hop_revoked" => break,
                        _ => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.unwrap();
    }
}

fn call(checker: &Checker, held: &Delegation) -> Result<(), String> {
    let arguments = r#"{"path":"/data/q3"}"#;
    let shown = held.credentials_for("tool://files", "fs.read", arguments).unwrap();
    let arguments = Arguments::from_json(arguments.as_bytes()).unwrap();
    let allowed = checker.check(&shown, &checker.call("fs.read", arguments));
    allowed.map(drop).map_err(|refusal| refusal.code().to_owned())
}

/// Hops of the deepest chain.
const DEEP: usize = 7;

/// Helpers below a root until there are so many, each recorded: eight levels deep, then broad.
async fn descendants(root: &Delegation, count: usize) -> Vec<Delegation> {
    let terms = |seconds| Attenuation::of(&SCOPE, Duration::from_secs(seconds)).unwrap();
    let mut held: Vec<Delegation> = Vec::new();
    for depth in 0..count.min(DEEP) {
        let terms = terms(780 - 40 * depth as u64);
        let parent = held.last().unwrap_or(root);
        let mut child = parent.spawn_helper(&format!("d{depth}"), &terms).unwrap();
        child.record().await.unwrap();
        held.push(child);
    }
    // No hop may have more than 65,536 behind it.
    let parents: Vec<Arc<Delegation>> = held.iter().chain([root]).cloned().map(Arc::new).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for number in held.len()..count {
        while tasks.len() >= 256 {
            held.push(tasks.join_next().await.unwrap().unwrap());
        }
        let (parent, terms) = (parents[number % parents.len()].clone(), terms(400));
        tasks.spawn(async move {
            let mut child = parent.spawn_helper(&format!("h{number}"), &terms).unwrap();
            child.record().await.unwrap();
            child
        });
    }
    while let Some(child) = tasks.join_next().await {
        held.push(child.unwrap());
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_login_opened_is_refused_to_the_deepest_descendant_moments_after_it_ends() {
    let most: usize =
        std::env::var("SUBLET_DESCENDANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let identity = Identity::load(stage.path("planner")).unwrap();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let follower = Follower::start(broker.clone(), Some(Arc::new(identity.clone())), trust.clone());
    follower.ready(Duration::from_secs(10)).await.unwrap();
    let checker = Checker::new("tool://files", trust, follower.view(), Options::default());
    let clock = Ports::system().clock;
    for (round, count) in [1, most].into_iter().enumerate() {
        let sid = format!("round{round}");
        let user =
            token("one", 1, &claims(&provider, &json!({"sid": sid, "exp": seconds() + 900})));
        let grant = Grant::of("user:alice@acme.example", &SCOPE, Duration::from_secs(840)).unwrap();
        let grant = grant.hops(8).by(Consent::UserToken(user.clone()));
        let root = identity.ask(&grant).await.unwrap();
        let held = descendants(&root, count).await;
        let deepest = held[count.min(DEEP) - 1].clone();
        assert_eq!(call(&checker, &deepest), Ok(()));
        // Somebody mints below it all the while: what is answered after the end is refused.
        let (stop, minting) = (Arc::new(AtomicBool::new(false)), root.clone());
        let (stopped, first) = (stop.clone(), Arc::new(tokio::sync::Notify::new()));
        let begun = first.clone();
        let minter = tokio::spawn(async move {
            let (mut minted, mut number) = (Vec::new(), 0);
            let terms = Attenuation::of(&SCOPE, Duration::from_secs(200)).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let mut child = minting.spawn_helper(&format!("m{number}"), &terms).unwrap();
                match child.record().await {
                    Ok(()) => minted.push(child),
                    Err(refusal) => {
                        assert!(refusal.code() == "hop_revoked" || !refusal.is_final(), "{refusal}")
                    }
                }
                first.notify_one();
            }
            minted
        });
        begun.notified().await;
        let began = clock.monotonic_ms();
        let answer = broker.log_out(&user, "bye").await.unwrap();
        let committed = clock.monotonic_ms() - began;
        // Told by the feed, not by a clock.
        let mut told = follower.watch();
        let reached =
            told.wait_for(|now| now.position >= FeedPosition::new(answer.epoch, answer.sequence));
        tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap().unwrap();
        let refused = clock.monotonic_ms() - began;
        assert_eq!(call(&checker, &deepest), Err("hop_revoked".to_owned()));
        let terms = Attenuation::of(&SCOPE, Duration::from_secs(100)).unwrap();
        let mut late = root.spawn_helper("late", &terms).unwrap();
        assert_eq!(late.record().await.unwrap_err().code(), "hop_revoked");
        stop.store(true, Ordering::Relaxed);
        let minted = minter.await.unwrap();
        assert!(!minted.is_empty());
        for child in minted.iter().chain(&held) {
            assert_eq!(call(&checker, child), Err("hop_revoked".to_owned()));
        }
        if most > 100 {
            assert!(refused < 1_000, "refused after {refused} ms");
        } else {
            // Nothing was recorded below it behind its end.
            let id = root.delegation().to_string();
            let told = stage.sublet(&["audit", "replay", &id, "--output", "json"]).json();
            let records = |what: &str| -> Vec<u64> {
                let all = told[what].as_array().unwrap();
                all.iter().map(|one| one["record"].as_u64().unwrap()).collect()
            };
            let (hops, ends) = (records("hops"), records("revocations"));
            assert!(hops.len() > held.len() && !ends.is_empty(), "{told}");
            assert!(hops.iter().max() < ends.iter().min(), "{hops:?} {ends:?}");
        }
        println!(
            "{} descendants: the end was committed after {committed} ms and refused at the tool after \
             {refused} ms",
            held.len()
        );
    }
}
