//! The person beside the principal: recorded with each consent, shown by an audit, in no leaf, and erased
//! with what lies beside. SPEC 3.10.9.

use std::sync::Arc;

use serde_json::{Value, json};
use sublet_client::audit::records::{RawRecord, read_raw};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::key_file::KeyLock;

use crate::consent::{claims, exchange, issue, stage};
use crate::enroll::{Provider, jwk, token};
use crate::stage::Stage;

const SUBJECT: &str = "employee-0042";

fn consents(stage: &Stage) -> Vec<Value> {
    let told = stage.sublet(&["audit", "replay", "--all", "--output", "json"]).json();
    told["consents"].as_array().unwrap().clone()
}

/// The records whose leaf names the person, and those beside which it is named.
async fn named(stage: &Stage) -> (Vec<usize>, Vec<usize>) {
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let key = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(key), trust.domain());
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let records = read_raw(&broker, &admin).await.unwrap().records;
    let named = |bytes: &[u8]| bytes.windows(SUBJECT.len()).any(|at| at == SUBJECT.as_bytes());
    let of = |part: fn(&RawRecord) -> &[u8]| {
        let records = records.iter().enumerate();
        records.filter(|(_, record)| named(part(record))).map(|(at, _)| at).collect()
    };
    (of(|record| record.leaf().unwrap_or_default()), of(RawRecord::payload))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_names_the_person_until_that_is_erased() {
    let provider = Provider::start(json!({"keys": [jwk("one", 1)]}));
    let stage = stage(&provider);
    let user =
        |sid: &str| token("one", 1, &claims(&provider, &json!({"sub": SUBJECT, "sid": sid})));
    issue(&stage, "user:alice", &user("issued"), "60s").ok();
    let (status, answer) = exchange(&stage, &user("exchanged"));
    assert_eq!(status, 200, "{answer}");
    let by_operator = ["session", "grant", "agent/planner", "--for", "user:bob"];
    stage.sublet(&by_operator).ok();
    // By the user's own token, and so by no key.
    stage.sublet(&["session", "end", "--user-token", "user"]).ok();

    let told = consents(&stage);
    let [issued, exchanged, operator] = told.as_slice() else { panic!("three: {told:?}") };
    for consent in [issued, exchanged] {
        assert_eq!(consent["subject"], SUBJECT);
        assert_eq!(consent["issuer"], provider.url);
        assert_eq!(consent["principal"], "user:alice@acme.example");
        assert_eq!(consent["agent"], "spiffe://acme.example/agent/planner");
    }
    assert_ne!(issued["session"], exchanged["session"]);
    assert_eq!((&operator["subject"], &operator["issuer"]), (&Value::Null, &Value::Null));
    assert_eq!(operator["principal"], "user:bob@acme.example");
    let words = stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(words.contains(&format!("by {SUBJECT} at {}", provider.url)), "{words}");
    assert!(words.contains("user:bob@acme.example, by a grant of the admin"), "{words}");
    let listed = stage.sublet(&["session", "list"]).ok();
    assert!(listed.contains(&format!("{SUBJECT} at {}", provider.url)), "{listed}");

    // The name is beside records, and in none.
    let (leaves, beside) = named(&stage).await;
    assert_eq!(leaves, Vec::<usize>::new());
    assert!(beside.len() >= 3, "two consents and an end: {beside:?}");
    for record in &beside {
        let record = record.to_string();
        stage.sublet(&["audit", "erase", &record, "--reason", "asked to", "--yes"]).ok();
    }
    assert_eq!(named(&stage).await, (vec![], vec![]));
    let told = consents(&stage);
    assert_eq!(told.len(), 3);
    for consent in &told[..2] {
        assert_eq!((&consent["subject"], &consent["principal"]), (&Value::Null, &Value::Null));
        assert_eq!((&consent["erased"], &consent["issuer"]), (&json!(true), &json!(provider.url)));
    }
    let words = stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(!words.contains(SUBJECT) && words.contains("by (erased) at"), "{words}");
}
