//! No log, no authority: a tool that believes no receipt without the proof that its hops are in
//! the ledger.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::key_file::KeyLock;
use sublet_core::evidence::call::Arguments;
use sublet_core::refusal::Refusal;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_proto::credentials::Credentials;
use sublet_proto::v1;

use crate::stage::Stage;
use crate::walk::{CALL, enroll, issue, run};

const TOOL: &str = "tool://files";
const ARGS: &str = r#"{"path":"/data/a"}"#;

struct Fleet {
    _stage: Stage,
    root: Delegation,
    trust: Trust,
    checker: Checker,
}

async fn fleet(require_inclusion: bool) -> Fleet {
    let stage = Stage::set();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let admin = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(admin), trust.domain());
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    let identity =
        Identity::enroll_trusting(&broker, &join, stage.path("planner"), &trust).await.unwrap();
    let grant =
        Grant::of("user:alice@dev.sublet.example", &["fs.read@tool://files path=under:/data"], TTL);
    let root = identity.ask(&grant.unwrap().hops(4).offline_hops(2)).await.unwrap();
    let (view, _) = follow::snapshot(&broker, Some(&admin), &trust).await.unwrap();
    let options = Options { require_inclusion, staleness_ms_max: 60_000, ..Options::default() };
    let checker = Checker::new(TOOL, trust.clone(), view, options);
    Fleet { _stage: stage, root, trust, checker }
}

const TTL: Duration = Duration::from_secs(300);

fn helper(of: &Delegation, label: &str, seconds: u64) -> Delegation {
    let scope = ["fs.read@tool://files path=under:/data"];
    let terms = Attenuation::of(&scope, Duration::from_secs(seconds));
    of.spawn_helper(label, &terms.unwrap()).unwrap()
}

/// What the tool says of a call by this holder, shown as `change` leaves it.
fn detail(fleet: &Fleet, held: &Delegation, change: impl FnOnce(&mut Credentials)) -> String {
    let mut shown = held.credentials_for(TOOL, "fs.read", ARGS).unwrap();
    change(&mut shown);
    let call = fleet.checker.call("fs.read", Arguments::from_json(ARGS.as_bytes()).unwrap());
    match fleet.checker.check(&shown, &call) {
        Ok(_) => "allowed".to_owned(),
        Err(refusal @ (Refusal::Deny(_) | Refusal::Malformed(_))) => refusal.code().to_owned(),
        Err(refusal) => panic!("{refusal}"),
    }
}

fn altered(shown: &mut Credentials, change: impl FnOnce(&mut v1::Inclusion)) {
    let mut inclusion = v1::Inclusion::decode(shown.inclusion.as_deref().unwrap()).unwrap();
    change(&mut inclusion);
    shown.inclusion = Some(inclusion.encode_to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_is_not_shown_in_the_ledger_opens_nothing() {
    let fleet = fleet(true).await;
    let mut scout = helper(&fleet.root, "scout", 60);
    scout.record().await.unwrap();
    assert_eq!(detail(&fleet, &scout, |_| ()), "not_in_log", "a receipt alone is not enough");
    let mut other = helper(&fleet.root, "other", 60);
    other.record().await.unwrap();
    other.get_inclusion_proof().await.unwrap();
    let of_other = other.inclusion().map(<[u8]>::to_vec);
    assert_eq!(detail(&fleet, &scout, |shown| shown.inclusion = of_other), "not_in_log");
    scout.get_inclusion_proof().await.unwrap();

    type Attack = dyn Fn(&mut v1::Inclusion);
    let attacks: [(&str, &Attack); 6] = [
        ("not_in_log", &|inclusion| inclusion.hops[1].leaf[9] ^= 1),
        ("not_in_log", &|inclusion| inclusion.hops[1].proof[0][0] ^= 1),
        ("not_in_log", &|inclusion| inclusion.hops[1].index += 1),
        ("not_in_log", &|inclusion| drop(inclusion.hops.pop())),
        ("bad_field", &|inclusion| inclusion.checkpoint[30] ^= 1),
        ("bad_field", &|inclusion| inclusion.checkpoint.clear()),
    ];
    for (code, attack) in attacks {
        assert_eq!(detail(&fleet, &scout, |shown| altered(shown, attack)), code);
    }
    // A ledger of one's own, with the record in it, under a key of one's own.
    let forged = |inclusion: &mut v1::Inclusion| {
        let key = sublet_core::base::sign::SecretKey::ed25519_from_seed([66; 32]);
        let public = sublet_core::base::sign::Signer::public_key(&key).bytes().to_vec();
        let origin = "dev.sublet.example/sublet".to_owned();
        inclusion.hops.truncate(2);
        let root = sublet_ledger::leaf_hash(&inclusion.hops[1].leaf).unwrap();
        let head = Checkpoint { origin: origin.clone(), size: 1, root };
        let signature =
            sublet_core::base::sign::Signer::sign(&key, head.text().as_bytes()).unwrap();
        let own = CheckpointKey::new(&origin, &public).unwrap();
        inclusion.checkpoint = head.signed(&own, &signature).unwrap();
        (inclusion.hops[1].index, inclusion.hops[1].proof) = (0, Vec::new());
    };
    assert_eq!(detail(&fleet, &scout, |shown| altered(shown, forged)), "bad_field");

    assert_eq!(detail(&fleet, &scout, |_| ()), "allowed");
    // What was shown once is known; a hop below it has to be shown itself.
    assert_eq!(detail(&fleet, &scout, |shown| shown.inclusion = None), "allowed");
    let mut below = helper(&scout, "below", 30);
    assert_eq!(detail(&fleet, &below, |_| ()), "not_in_log", "made offline, recorded nowhere");
    assert_eq!(below.get_inclusion_proof().await.unwrap_err().code(), "hop_not_found");
    below.record().await.unwrap();
    below.get_inclusion_proof().await.unwrap();
    assert_eq!(detail(&fleet, &below, |_| ()), "allowed");
    assert_eq!(fleet.trust.current().version(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_demands_no_proof_takes_the_receipt() {
    let fleet = fleet(false).await;
    let mut scout = helper(&fleet.root, "scout", 60);
    scout.record().await.unwrap();
    assert_eq!(detail(&fleet, &scout, |_| ()), "allowed");
    assert_eq!(detail(&fleet, &scout, |shown| shown.inclusion = Some(vec![1, 2, 3])), "allowed");
}

#[test]
fn the_commands_keep_and_demand_the_proof() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let record = ["record", "--as", "planner", "--token", "root.token", "--inclusion", "in.log"];
    stage.sublet(&record).ok();
    let call = ["prove", "call", "--as", "planner", "--token", "root.token", "--out", "proof"];
    let verify = ["authorize", "--token", "root.token", "--proof", "proof", "--require-inclusion"];
    let with = [&CALL[..], &["--inclusion", "in.log"]].concat();
    run(&stage, &call, &CALL).ok();
    run(&stage, &verify, &CALL).fails(2, "[not_in_log]");
    let detail = run(&stage, &verify, &with).ok();
    assert!(detail.contains("allowed"), "{detail}");
}
