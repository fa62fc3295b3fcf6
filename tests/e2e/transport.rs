//! TLS, its certificates that change while the broker runs, certificates of clients, and the admin's
//! own socket: with the real binary.

use std::fs;
use std::time::Duration;

use sublet_client::agent::identity::Identity;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::tls::Tls;
use sublet_client::ports::Ports;

use crate::pki::{Authority, Leaf};
use crate::stage::{Run, Stage};

const PROFILE: &str = "name = \"default\"\nprincipals = [\"user:*@acme.example\"]\n\
    ttl_seconds_max = 600\nhops_max = 4\noffline_hops_max = 1\n\
    allow = [\"fs.@tool://files path=under:/data\"]\n\
    [[enroll]]\nissuer = \"spiffe://prod.example\"\nclaims = { \"/spiffe/0\" = \"ns\" }\n\
    agent = \"agent/{/spiffe/1}/{/spiffe/3}\"\nrekey = true\n";

/// A broker with TLS, by this authority.
pub(crate) fn broker(authority: &Authority, more: &str, files: &[(&str, &str)]) -> Stage {
    let server = authority.server();
    let config = format!("{more}\n[tls]\ncertificate = \"server.pem\"\nkey = \"server-key.pem\"\n");
    let own = [
        ("server.pem", server.certificate.as_str()),
        ("server-key.pem", &server.key),
        ("ca.pem", &authority.pem),
        ("default.toml", PROFILE),
    ];
    let files: Vec<_> = own.iter().chain(files).copied().collect();
    Stage::configured(&config, &files)
}

/// Runs a command with the authority of the broker's certificate.
pub(crate) fn by_tls(stage: &Stage, args: &[&str]) -> Run {
    stage.sublet(&[args, &["--ca", "ca.pem"]].concat())
}

fn keep(stage: &Stage, name: &str, leaf: &Leaf) {
    fs::write(stage.path(&format!("{name}.pem")), &leaf.certificate).unwrap();
    fs::write(stage.path(&format!("{name}-key.pem")), &leaf.key).unwrap();
}

/// Runs a command and shows this certificate.
fn showing(stage: &Stage, name: &str, args: &[&str]) -> Run {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}-key.pem"));
    let shown = ["--ca", "ca.pem", "--client-certificate", &certificate, "--client-key", &key];
    stage.sublet(&[args, &shown].concat())
}

fn enroll(stage: &Stage, certificate: &str, out: &str) -> Run {
    showing(stage, certificate, &["agent", "enroll", "--x509-svid", "--out", out])
}

#[test]
fn tls_is_spoken_by_the_authority_that_is_believed_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stage = broker(&authority, "", &[("other.pem", &other.pem)]);
    assert!(stage.endpoint.starts_with("https://"), "{}", stage.endpoint);
    by_tls(&stage, &["status"]).ok();
    // Not by a public one, not by another, and not in plain text.
    stage.sublet(&["status"]).fails(1, "certificate");
    stage.sublet(&["status", "--ca", "other.pem"]).fails(1, "certificate");
    let plain = stage.endpoint.replace("https", "http");
    assert_ne!(stage.sublet(&["status", "--broker", &plain]).code, 0);
    // An agent keeps what it was told of TLS beside its identity.
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let join = by_tls(&stage, &["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    by_tls(&stage, &["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
    stage.sublet(&["agent", "renew", "--as", "planner"]).ok();
}

#[test]
fn a_certificate_is_taken_anew_while_the_broker_runs_and_a_broken_one_is_not() {
    let (authority, next) = (Authority::new(), Authority::new());
    let stage = broker(&authority, "", &[("next.pem", &next.pem)]);
    // Half a rotation: a certificate without its key stays unused.
    let server = next.server();
    fs::write(stage.path("server.pem"), &server.certificate).unwrap();
    // It looks every five seconds.
    let clock = Ports::system().clock;
    let began = clock.monotonic_ms();
    while clock.monotonic_ms() - began < 6_000 {
        by_tls(&stage, &["status"]).ok();
    }
    fs::write(stage.path("server-key.pem"), &server.key).unwrap();
    // It looks every five seconds; each attempt is a process of its own.
    let mut taken = stage.sublet(&["status", "--ca", "next.pem"]);
    for _ in 0..2_000 {
        if taken.code == 0 {
            break;
        }
        taken = stage.sublet(&["status", "--ca", "next.pem"]);
    }
    taken.ok();
    by_tls(&stage, &["status"]).fails(1, "certificate");
}

#[test]
fn a_workload_enrols_with_its_x509_svid_and_a_connection_carries_its_calls_alone() {
    let (authority, prod, staging) = (Authority::new(), Authority::new(), Authority::new());
    let issuers = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n\
        [[issuer]]\nname = \"spiffe://staging.example\"\nx509_bundle = \"staging.pem\"\n";
    let bundles = [("prod.pem", prod.pem.as_str()), ("staging.pem", &staging.pem)];
    let stage = broker(&authority, issuers, &bundles);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let web = "spiffe://prod.example/ns/shop/sa/web";
    keep(&stage, "web", &prod.svid(&[web]));
    let said = enroll(&stage, "web", "web").ok();
    assert!(said.contains("spiffe://acme.example/agent/shop/web"), "{said}");
    stage.sublet(&["agent", "renew", "--as", "web"]).ok();
    // Again, with another key: the rule says that this workload keeps none.
    enroll(&stage, "web", "web-anew").ok();

    // None of these comes in, and each hears why.
    for (name, leaf, code) in [
        ("old", prod.old_svid(web), "certificate_expired"),
        (
            "two",
            prod.svid(&[web, "spiffe://prod.example/ns/shop/sa/db"]),
            "certificate_without_spiffe_id",
        ),
        ("none", prod.svid(&[]), "certificate_without_spiffe_id"),
        ("unknown", Authority::new().svid(&[web]), "certificate_authority"),
        // Bundles of trust domains are not merged: staging's authority says nothing of prod.
        ("merged", staging.svid(&[web]), "certificate_authority"),
        (
            "stranger",
            prod.svid(&["spiffe://stranger.example/ns/shop/sa/web"]),
            "certificate_domain",
        ),
    ] {
        keep(&stage, name, &leaf);
        enroll(&stage, name, &format!("{name}-out")).fails(2, &format!("[{code}]"));
        assert!(!stage.path(&format!("{name}-out/identity.token")).exists());
        // Nor does anybody else over a connection that shows it, the admin included.
        showing(&stage, name, &["status"]).fails(2, &format!("[{code}]"));
        let user = ["session", "end", "--user-token", "ca.pem"];
        showing(&stage, name, &user).fails(2, &format!("[{code}]"));
    }
    // Of a domain that is known, and no rule means it.
    keep(&stage, "test", &staging.svid(&["spiffe://staging.example/ns/shop/sa/web"]));
    enroll(&stage, "test", "test-out").fails(2, "[not_enrollable]");
    // Without a certificate there is nothing to enroll by.
    by_tls(&stage, &["agent", "enroll", "--x509-svid", "--out", "no"]).fails(1, "certificate");

    // A stolen identity over a connection of somebody else's.
    keep(&stage, "db", &prod.svid(&["spiffe://prod.example/ns/shop/sa/db"]));
    let about = fs::read_to_string(stage.path("web-anew/agent.toml")).unwrap();
    assert!(about.contains("web.pem"), "{about}");
    fs::write(stage.path("web-anew/agent.toml"), about.replace("web", "db")).unwrap();
    let about = fs::read_to_string(stage.path("web-anew/agent.toml")).unwrap();
    let about = about.replace("agent/shop/db", "agent/shop/web");
    fs::write(stage.path("web-anew/agent.toml"), about).unwrap();
    stage.sublet(&["agent", "renew", "--as", "web-anew"]).fails(2, "[certificate_of_another]");
}

/// A connection outlives the moment in which the authorities that are known here are behind.
#[tokio::test]
async fn a_certificate_is_looked_at_again_until_it_holds() {
    let (authority, prod, next) = (Authority::new(), Authority::new(), Authority::new());
    let issuers = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n";
    let stage = broker(&authority, issuers, &[("prod.pem", &prod.pem)]);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let join = by_tls(&stage, &["agent", "create", "agent/shop/web"]).ok();
    keep(&stage, "web", &next.svid(&["spiffe://prod.example/ns/shop/sa/web"]));
    let tls = Tls {
        ca: Some(stage.path("ca.pem")),
        certificate: Some(stage.path("web.pem")),
        key: Some(stage.path("web-key.pem")),
        workload_api: None,
    };
    let broker = Broker::connect_by(&stage.endpoint, &tls).await.unwrap();
    let enroll = async |out: &str| Identity::enroll(&broker, &join, stage.path(out)).await;
    let refused = enroll("early").await.unwrap_err();
    assert_eq!(refused.code(), "certificate_authority");
    fs::write(stage.path("prod.pem"), next.pem.clone() + &prod.pem).unwrap();
    // It looks at its files every five seconds; this connection stays.
    let came = async {
        loop {
            match enroll("web").await {
                Err(refusal) if refusal.code() == "certificate_authority" => {}
                came => break came,
            }
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(60), came).await.unwrap();
    came.unwrap().renew().await.unwrap();
}

#[test]
fn where_certificates_are_required_nobody_gets_in_without_one() {
    let (authority, prod) = (Authority::new(), Authority::new());
    let issuers = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n";
    let mut stage = broker(&authority, issuers, &[("prod.pem", &prod.pem)]);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    stage.kill();
    let config = fs::read_to_string(stage.path("sublet.toml")).unwrap();
    let required = config + "client_certificates = \"required\"\n";
    fs::write(stage.path("sublet.toml"), required).unwrap();
    stage.start_configured("sublet.toml", "own", "admin/key.pem");
    assert_eq!(by_tls(&stage, &["status"]).code, 1);
    keep(&stage, "web", &prod.svid(&["spiffe://prod.example/ns/shop/sa/web"]));
    enroll(&stage, "web", "web").ok();
    stage.sublet(&["agent", "renew", "--as", "web"]).ok();
    // With one that does not hold no connection comes about.
    keep(&stage, "old", &prod.old_svid("spiffe://prod.example/ns/shop/sa/web"));
    enroll(&stage, "old", "old-out").fails(1, "[unreachable]");
}

#[test]
fn where_the_admin_has_a_socket_the_admins_key_opens_nothing_elsewhere() {
    let stage = Stage::configured("admin_socket = \"own/admin.sock\"\n", &[("p.toml", PROFILE)]);
    let socket = format!("unix:{}", stage.path("own/admin.sock").display());
    stage.sublet(&["status"]).fails(2, "[admin_socket]");
    let local = |args: &[&str]| stage.sublet(&[args, &["--broker", &socket]].concat());
    local(&["status"]).ok();
    local(&["profile", "apply", "p.toml"]).ok();
    let join = local(&["agent", "create", "agent/planner"]).ok();
    fs::write(stage.path("join"), join).unwrap();
    stage.sublet(&["agent", "enroll", "--join-token", "join", "--out", "planner"]).ok();
    // Whoever has no key is no admin there either.
    let other = stage.sublet(&["key", "create", "--out", "other"]);
    other.ok();
    let key = stage.path("other/key.pem").display().to_string();
    local(&["status", "--admin-key", &key]).fails(2, "[not_admin]");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(stage.path("own/admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// An agent of one company comes in at another, by its own broker's word.
#[test]
fn an_identity_of_a_federated_domain_enrols_and_that_of_a_stranger_does_not() {
    let theirs = Stage::set();
    let join = theirs.sublet(&["agent", "create", "agent/buyer"]).ok();
    fs::write(theirs.path("join"), join).unwrap();
    theirs.sublet(&["agent", "enroll", "--join-token", "join", "--out", "buyer"]).ok();
    let bundle = fs::read_to_string(&theirs.trust).unwrap();
    let profile = "name = \"partners\"\nprincipals = [\"user:*@acme.example\"]\n\
        ttl_seconds_max = 600\nhops_max = 1\noffline_hops_max = 0\n\
        allow = [\"fs.@tool://files path=under:/data\"]\n\
        [[enroll]]\nissuer = \"spiffe://dev.sublet.example\"\nclaims = { \"/spiffe/0\" = \"agent\" }\n\
        agent = \"partner/{/spiffe/1}\"\n";
    let issuer =
        "[[issuer]]\nname = \"spiffe://dev.sublet.example\"\ntrust_bundle = \"theirs.json\"\n";
    let files = [("theirs.json", bundle.as_str()), ("p.toml", profile)];
    let stage = Stage::configured(issuer, &files);
    stage.sublet(&["profile", "apply", "p.toml"]).ok();
    let buyer = theirs.path("buyer").display().to_string();
    let said =
        stage.sublet(&["agent", "enroll", "--federated-domain", &buyer, "--out", "buyer"]).ok();
    assert!(said.contains("spiffe://acme.example/partner/buyer"), "{said}");
    stage.sublet(&["agent", "renew", "--as", "buyer"]).ok();
    // Once: the rule does not say that it comes in anew.
    let again = stage.sublet(&["agent", "enroll", "--federated-domain", &buyer, "--out", "again"]);
    again.fails(2, "[agent_not_active]");
    // Their keys change, and the file follows: one bundle vouches for the next.
    theirs.sublet(&["trust", "prepare", "identity", "--lead", "1s"]).ok();
    theirs.sublet(&["trust", "activate", "8", "--now"]).ok();
    let join = theirs.sublet(&["agent", "create", "agent/seller"]).ok();
    fs::write(theirs.path("join"), join).unwrap();
    theirs.sublet(&["agent", "enroll", "--join-token", "join", "--out", "seller"]).ok();
    let seller = theirs.path("seller").display().to_string();
    let enroll =
        |out: &str| stage.sublet(&["agent", "enroll", "--federated-domain", &seller, "--out", out]);
    enroll("seller").fails(2, "[unknown_key]");
    fs::copy(&theirs.trust, stage.path("theirs.json")).unwrap();
    enroll("seller").ok();
    // A broker of the same name, with other keys, is not the federated one.
    let stranger = Stage::set();
    let join = stranger.sublet(&["agent", "create", "agent/thief"]).ok();
    fs::write(stranger.path("join"), join).unwrap();
    stranger.sublet(&["agent", "enroll", "--join-token", "join", "--out", "thief"]).ok();
    let thief = stranger.path("thief").display().to_string();
    let refused =
        stage.sublet(&["agent", "enroll", "--federated-domain", &thief, "--out", "thief"]);
    refused.fails(2, "[bad_signature]");
    fs::copy(&stranger.trust, stage.path("theirs.json")).unwrap();
    let refused =
        stage.sublet(&["agent", "enroll", "--federated-domain", &thief, "--out", "thief"]);
    refused.fails(2, "[bad_signature]");
}
