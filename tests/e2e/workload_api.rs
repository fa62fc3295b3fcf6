//! Enrollment through SPIFFE's Workload API: the host of client/examples on a Unix socket, which gives what
//! is in its files and refuses whoever does not say the word.

#[path = "../../client/examples/workload_api/host.rs"]
mod host;

use std::time::Duration;

use serde_json::json;
use sublet_client::agent::identity::Identity;
use tokio::net::UnixListener;

use crate::enroll::{jwk, token};
use crate::pki::{Authority, Leaf};
use crate::stage::Stage;
use crate::transport::{broker, by_tls};

const WEB: &str = "spiffe://prod.example/ns/shop/sa/web";

/// Has a host give these from now on.
fn give(stage: &Stage, svid: &Leaf) {
    for (name, pem) in [("svid-key.pem", &svid.key), ("svid.pem", &svid.certificate)] {
        std::fs::write(stage.path("host").join(name), pem).unwrap();
    }
}

/// A host that gives this, and its socket.
fn serve(stage: &Stage, svid: &Leaf) -> String {
    std::fs::create_dir(stage.path("host")).unwrap();
    give(stage, svid);
    let jwt = token("spire", 9, &json!({"sub": WEB}));
    std::fs::write(stage.path("host/svid"), jwt).unwrap();
    let (socket, directory) = (stage.path("api.sock"), stage.path("host"));
    let told = format!("unix:{}", socket.display());
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { host::serve(listener, &directory).await.unwrap() });
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_enrols_with_what_its_host_gives_it() {
    let (authority, prod) = (Authority::new(), Authority::new());
    let issuer = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n\
        jwks_file = \"bundle.json\"\n";
    let bundle = json!({"keys": [jwk("spire", 9)]}).to_string();
    let files = [("prod.pem", prod.pem.as_str()), ("bundle.json", &bundle)];
    let stage = broker(&authority, issuer, &files);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let socket = serve(&stage, &prod.svid(&[WEB]));
    let asked = tokio::task::spawn_blocking(move || {
        for kind in ["jwt", "x509"] {
            let enroll =
                ["agent", "enroll", "--workload-api", kind, "--socket", &socket, "--out", kind];
            let said = by_tls(&stage, &enroll).ok();
            assert!(said.contains("spiffe://acme.example/agent/shop/web"), "{said}");
            stage.sublet(&["agent", "renew", "--as", kind]).ok();
        }
        let gone = ["agent", "enroll", "--workload-api", "jwt", "--out", "gone", "--socket"];
        let gone = |socket: &str| by_tls(&stage, &[&gone[..], &[socket]].concat());
        gone("unix:nowhere.sock").fails(1, "[unreachable]");
        gone("/run/api.sock").fails(1, "[bad_endpoint]");
    });
    asked.await.unwrap();
}

/// An SVID lives for an hour or less: an agent shows the one of this moment, whoever signed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_shows_the_svid_that_its_host_gives_it_now() {
    let (authority, prod, next) = (Authority::new(), Authority::new(), Authority::new());
    let issuer = "[[issuer]]\nname = \"spiffe://prod.example\"\nx509_bundle = \"prod.pem\"\n";
    let mut stage = broker(&authority, issuer, &[("prod.pem", prod.pem.as_str())]);
    by_tls(&stage, &["profile", "apply", "default.toml"]).ok();
    let socket = serve(&stage, &prod.svid(&[WEB]));
    let enroll = ["agent", "enroll", "--workload-api", "x509", "--socket", &socket, "--out", "web"];
    by_tls(&stage, &enroll).ok();
    let identity = Identity::load(stage.path("web")).unwrap();
    let _renewal = identity.keep_renewed();
    identity.renew().await.unwrap();
    // The host gives it another, by another authority, and the one before is nobody's any more.
    let file = stage.path("web/svid.pem");
    let before = std::fs::read(&file).unwrap();
    give(&stage, &next.svid(&[WEB]));
    let changed = async {
        while std::fs::read(&file).unwrap() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap();
    std::fs::write(stage.path("prod.pem"), &next.pem).unwrap();
    stage.restart_configured();
    identity.renew().await.unwrap();
    // A command asks the host by itself.
    give(&stage, &next.svid(&[WEB]));
    stage.sublet(&["agent", "renew", "--as", "web"]).ok();
    // One that enrolled when certificate and key were two files goes on with one.
    let about = std::fs::read_to_string(stage.path("web/agent.toml")).unwrap();
    let (before, behind) = about.split_once("key = ").unwrap();
    let behind = behind.replacen("svid.pem", "svid-key.pem", 1);
    std::fs::write(stage.path("web/agent.toml"), format!("{before}key = {behind}")).unwrap();
    std::fs::write(stage.path("web/svid-key.pem"), next.svid(&[WEB]).key).unwrap();
    for _ in 0..2 {
        give(&stage, &next.svid(&[WEB]));
        stage.sublet(&["agent", "renew", "--as", "web"]).ok();
    }
}
