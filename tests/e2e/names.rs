//! Nobody writes a record in another's name. Whoever holds a token can append a hop in any agent's name,
//! with a key of its own: the broker takes nobody for that agent, an honest tool says nothing of it, and
//! what somebody reports all the same is no evidence.

use std::sync::Arc;
use std::time::Duration;

use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::audit::replay;
use sublet_client::broker::credential::Credential;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::Follower;
use sublet_client::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::decide::Target;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::credentials::Credentials;
use sublet_proto::v1;

use crate::records::{Records, SCOPE, credential, fresh_key, misnamed, terms};
use crate::stage::Stage;

const TOOL: &str = "tool://files";
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that the holder of a chain may ask of the broker, and what it hears.
async fn asks(fleet: &Records, key: &Arc<SecretKey>, token: &VerifiedToken) -> Vec<String> {
    let who = Credential::holder(key.clone(), Arc::new(token.clone()), None);
    let (broker, chain) = (&fleet.broker, token.encode());
    let target = Target::Hop(token.id());
    let heard = [
        broker.revoke_target(&who, &target, "mine", chain.clone()).await.err(),
        broker.record_hop(&who, v1::RecordHopRequest { token: chain.clone() }).await.err(),
        broker.delegate(&who, v1::DelegateRequest { token: chain.clone() }).await.err(),
        broker.inspect(&who, v1::InspectRequest { token: chain }).await.err(),
        broker.list_delegations(&who, Default::default()).await.err(),
        broker
            .revoke_target(&who, &Target::Agent(fleet.id("agent/reader")), "x", vec![])
            .await
            .err(),
    ];
    heard
        .into_iter()
        .map(|refusal| refusal.map_or("granted".to_owned(), |refusal| refusal.code()))
        .collect()
}

// SPEC 2.13.1, 5.8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_appends_a_hop_in_anothers_name_is_nobody_at_the_broker() {
    let fleet = Records::of(Stage::set()).await;
    let (planner, mallory) = (fleet.agent("planner").await, fleet.agent("mallory").await);
    fleet.agent("reader").await;
    let root = fleet.root(&planner).await;
    let held = fleet.handed(&root, &mallory).await;
    let (before, counted) = (fleet.named().await, fleet.unauthenticated().await);
    let mut asked = 0;
    for (name, code) in [
        ("agent/planner", "agent_not_proven"),
        ("agent/reader", "agent_not_proven"),
        ("agent/ceo", "agent_not_proven"),
        ("sublet", "issuer_as_agent"),
    ] {
        let key = fresh_key();
        let false_hop = misnamed(held.token(), &mallory.key(), fleet.id(name), &key);
        let heard = asks(&fleet, &key, &false_hop).await;
        assert_eq!(heard, vec![code; heard.len()], "{name}");
        // A helper below it changes nothing.
        let deeper = fresh_key();
        let below = misnamed(&false_hop, &key, fleet.id("agent/reader"), &deeper);
        let heard_below = asks(&fleet, &deeper, &below).await;
        assert_eq!(heard_below, vec![code; heard_below.len()], "{name}");
        asked += heard.len() + heard_below.len();
    }
    assert_eq!(fleet.named().await, before, "nothing is recorded of it");
    assert_eq!(fleet.unauthenticated().await, counted + asked as u64, "and all of it is counted");
    // What mallory does in its own name, as holder, is recorded as its own; and so is an honest hop.
    let (who, target) = (held.as_caller(), Target::Hop(root.id()));
    let own = fleet.broker.revoke_target(&who, &target, "x", vec![]).await;
    assert_eq!(own.unwrap_err().code(), "revoke_forbidden");
    let last = fleet.named().await.pop().unwrap();
    assert_eq!(last, (fleet.id("agent/mallory").to_string(), "refused"));
    let to_reader = held.delegate_to_agent(&fleet.id("agent/reader"), &shorter()).await;
    assert!(to_reader.is_ok(), "{to_reader:?}");
}

/// For a minute: less than what is held.
fn shorter() -> Attenuation {
    Attenuation::of(&SCOPE, Duration::from_secs(60)).unwrap()
}

/// A hop to an agent that is not recorded, and that really goes to that agent's key, is that agent's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_holds_an_unrecorded_hop_by_its_own_key_is_itself() {
    let fleet = Records::of(Stage::set()).await;
    let (planner, reader) = (fleet.agent("planner").await, fleet.agent("reader").await);
    let root = fleet.root(&planner).await;
    let token = misnamed(root.token(), &planner.key(), reader.id(), &reader.key());
    let who = Credential::holder(reader.key(), Arc::new(token.clone()), None);
    let target = Target::Hop(root.id());
    let refused = fleet.broker.revoke_target(&who, &target, "x", Vec::new()).await.unwrap_err();
    assert_eq!(refused.code(), "revoke_forbidden");
    let entry = fleet.read().await.into_iter().rfind(|entry| entry.kind() == "refused").unwrap();
    let actor = entry.actor();
    assert_eq!(actor.name, reader.id().to_string());
    assert_eq!(actor.key, Some(reader.key().public_key().thumbprint()));
    assert_eq!(actor.recorded, Some(planner.id().to_string()), "and its hop is not recorded");
}

/// The name of a helper is its parent's word: the record has its key, and whom the ledger knows it by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_of_a_helper_says_that_it_is_one() {
    let fleet = Records::of(Stage::set()).await;
    let mallory = fleet.agent("mallory").await;
    let root = fleet.root(&mallory).await;
    let mut ceo = root.spawn_helper("ceo", &terms()).unwrap();
    let target = Target::Agent(mallory.id());
    let refuse = async |held: &Delegation| {
        let refusal = fleet.broker.revoke_target(&held.as_caller(), &target, "x", Vec::new()).await;
        assert_eq!(refusal.unwrap_err().code(), "revoke_forbidden");
        fleet.read().await.into_iter().rfind(|entry| entry.kind() == "refused").unwrap().actor()
    };
    let key = ceo.token().holder_key().thumbprint();
    let actor = refuse(&ceo).await;
    assert_eq!((actor.name.as_str(), actor.key), (&*format!("{}#ceo", mallory.id()), Some(key)));
    assert_eq!(actor.recorded, Some(mallory.id().to_string()));
    let told = fleet.stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(told.contains(&format!("#ceo (key {key}) (its hop is not recorded")), "{told}");
    ceo.record().await.unwrap();
    let actor = refuse(&ceo).await;
    assert_eq!((actor.key, actor.recorded), (Some(key), None));
}

/// What a call at a tool shows.
fn shown(
    key: &SecretKey,
    (token, receipt): (&VerifiedToken, Option<&[u8]>),
    args: &str,
) -> (Credentials, CallProof) {
    let ports = sublet_client::ports::Ports::system();
    let (now, nonce) = (ports.clock.now(), ports.entropy.nonce().unwrap());
    let arguments = Arguments::from_json(args.as_bytes()).unwrap();
    let digest = arguments.digest();
    let claims = CallClaims::of_digest(token.id(), TOOL, "fs.delete", digest, now, nonce);
    let proof = CallProof::sign(claims, key).unwrap();
    let credentials = Credentials {
        token: Some(token.encode()),
        receipt: receipt.map(<[u8]>::to_vec),
        proof: proof.encode(),
        inclusion: None,
    };
    (credentials, proof)
}

// SPEC 9.9, 9.9.3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_tool_says_nothing_of_a_false_name_and_what_another_says_is_no_evidence() {
    let fleet = Records::of(Stage::set()).await;
    let (planner, mallory) = (fleet.agent("planner").await, fleet.agent("mallory").await);
    let tool = fleet.agent("files").await;
    let root = fleet.root(&planner).await;
    let held = fleet.handed(&root, &mallory).await;
    let who = Arc::new(tool.clone());
    let follower = Follower::start(fleet.broker.clone(), Some(who.clone()), fleet.trust.clone());
    follower.ready(PATIENCE).await.unwrap();
    let reporter = Reporter::open(&fleet.stage.path("spool"), SPOOL_BYTES_DEFAULT).unwrap();
    let options = Options { evidence: Some(reporter.clone()), ..Options::default() };
    let checker = Checker::new(TOOL, fleet.trust.clone(), follower.view(), options);
    let args = r#"{"path":"/data/x"}"#;
    let key = fresh_key();
    let false_hop = misnamed(held.token(), &mallory.key(), planner.id(), &key);
    let call = checker.call("fs.delete", Arguments::from_json(args.as_bytes()).unwrap());
    let (credentials, proof) = shown(&key, (&false_hop, held.receipt()), args);
    assert_eq!(checker.check(&credentials, &call).unwrap_err().code(), "unrecorded_agent_hop");
    assert_eq!(reporter.waiting(), 0, "the tool reports nothing of it");
    // Nor where it refuses for another reason: the name is as false.
    let stale =
        Options { evidence: Some(reporter.clone()), staleness_ms_max: -1, ..Options::default() };
    let strict = Checker::new(TOOL, fleet.trust.clone(), follower.view(), stale);
    let refused = strict.check(&credentials, &call).unwrap_err();
    assert_eq!((refused.code(), reporter.waiting()), ("stale_view", 0));
    // In mallory's own name it does.
    let (own, _) = shown(&mallory.key(), (held.token(), held.receipt()), args);
    assert_eq!(checker.check(&own, &call).unwrap_err().code(), "not_allowed");
    assert_eq!(reporter.waiting(), 1);

    // A tool that is not honest, or older, reports it.
    let (before, counted) = (fleet.named().await, fleet.unauthenticated().await);
    let report = |counter| v1::UseReport {
        counter,
        audience: TOOL.into(),
        action: "fs.delete".into(),
        code: "unrecorded_agent_hop".into(),
        decided_at_ms: proof.claims.issued_at.0,
        revocation_epoch: 1,
        revocation_sequence: 0,
        age_ms: Some(1),
        staleness_ms_max: 10_000,
        arguments: args.into(),
        proof: proof.encode(),
        token: false_hop.encode(),
        receipt: Vec::new(),
    };
    let uses = vec![report(0), report(1)];
    let answer = fleet.broker.report_uses(&credential(&tool), v1::ReportUsesRequest { uses }).await;
    assert_eq!(answer.unwrap().next_counter, 2, "it is not sent again and again");
    assert_eq!(fleet.named().await, before, "nothing is recorded");
    assert_eq!(fleet.unauthenticated().await, counted + 2);
    let told = fleet.stage.sublet(&["audit", "replay", "--all"]).ok();
    assert!(!told.contains("fs.delete"), "{told}");
}

/// A helper that was spawned offline asks for the records of its delegation: it sees its own, and not what
/// others did with theirs.
// SPEC 9.14.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_replays_what_lies_at_or_below_its_own_hop() {
    let fleet = Records::of(Stage::set()).await;
    let (planner, reader) = (fleet.agent("planner").await, fleet.agent("reader").await);
    let tool = fleet.agent("files").await;
    let root = fleet.root(&planner).await;
    let held = fleet.handed(&root, &reader).await;
    let mut scout = held.spawn_helper("scout", &terms()).unwrap().with_broker(fleet.broker.clone());
    scout.record().await.unwrap();
    let offline = scout.spawn_helper("deep", &terms()).unwrap();
    let stranger = root.spawn_helper("stranger", &terms()).unwrap();
    let who = Arc::new(tool.clone());
    let follower = Follower::start(fleet.broker.clone(), Some(who.clone()), fleet.trust.clone());
    follower.ready(PATIENCE).await.unwrap();
    let reporter = Reporter::open(&fleet.stage.path("spool"), SPOOL_BYTES_DEFAULT).unwrap();
    let _sender = reporter.start(fleet.broker.clone(), who, follower.view());
    let options = Options { evidence: Some(reporter.clone()), ..Options::default() };
    let checker = Checker::new(TOOL, fleet.trust.clone(), follower.view(), options);
    for (by, what) in [
        (&root, "root-secret"),
        (&held, "reader-secret"),
        (&scout, "scout-secret"),
        (&offline, "deep-secret"),
        (&stranger, "stranger-secret"),
    ] {
        let args = format!("{{\"path\":\"/data/{what}\"}}");
        let shown = by.credentials_for(TOOL, "fs.read", &args).unwrap();
        let call = checker.call("fs.read", Arguments::from_json(args.as_bytes()).unwrap());
        assert!(checker.check(&shown, &call).is_ok(), "{what}");
    }
    assert!(reporter.flushed(PATIENCE).await);
    let sees = async |who: Credential| {
        let report = replay::replay(&fleet.broker, &who, &fleet.trust, &root.delegation()).await;
        let report = report.unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert!(report.hops.iter().all(|hop| hop.verified.is_ok()), "{:?}", report.hops);
        let arguments: Vec<u8> = report
            .entries
            .iter()
            .filter_map(|entry| match &entry.content {
                Some(sublet_proto::record::payload::Content::Use(used)) => Some(&used.arguments),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        let all = ["root", "reader", "scout", "deep", "stranger"];
        let arguments = String::from_utf8(arguments).unwrap();
        let seen = all.into_iter().filter(|who| arguments.contains(&format!("{who}-secret")));
        (seen.collect::<Vec<_>>(), report.hops.len())
    };
    assert_eq!(sees(offline.as_caller()).await, (vec!["deep"], 0));
    assert_eq!(sees(stranger.as_caller()).await, (vec!["stranger"], 0));
    assert_eq!(sees(scout.as_caller()).await, (vec!["scout", "deep"], 1));
    assert_eq!(sees(held.as_caller()).await, (vec!["reader", "scout", "deep"], 2));
    let all = vec!["root", "reader", "scout", "deep", "stranger"];
    assert_eq!(sees(root.as_caller()).await, (all.clone(), 3));
    assert_eq!(sees(credential(&planner)).await, (all.clone(), 3));
    assert_eq!(sees(fleet.admin.clone()).await, (all, 3));
    // An agent in the middle sees nothing by its name alone.
    let (who, delegation) = (credential(&reader), root.delegation());
    let replayed = replay::replay(&fleet.broker, &who, &fleet.trust, &delegation).await;
    assert_eq!(replayed.unwrap_err().code(), "not_found");
}
