//! Evidence of use: what a tool decided comes into the ledger, once, whatever dies in between.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller as _;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::{Follower, SharedView};
use sublet_client::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT};
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::key_file::KeyLock;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::CallProof;
use sublet_proto::record::payload::Content;
use sublet_proto::record::record::Body;
use sublet_proto::record::{Payload, Record, Use, UseEvidence};
use sublet_proto::v1;
use sublet_proto::v1::records_part::Part;

use crate::stage::Stage;

const TOOL: &str = "tool://files";
const PATIENCE: Duration = Duration::from_secs(20);

struct Fleet {
    stage: Stage,
    admin: Credential,
    trust: Trust,
    tool: Identity,
    root: Delegation,
}

async fn enrolled(stage: &Stage, broker: &Broker, trust: &Trust, name: &str) -> Identity {
    let join = stage.sublet(&["agent", "create", &format!("agent/{name}")]).ok();
    Identity::enroll_trusting(broker, &join, stage.path(name), trust).await.unwrap()
}

async fn fleet() -> Fleet {
    let stage = Stage::set();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let admin = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(admin), trust.domain());
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let planner = enrolled(&stage, &broker, &trust, "planner").await;
    let tool = enrolled(&stage, &broker, &trust, "files").await;
    let scope = ["fs.read@tool://files path=under:/data"];
    let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300));
    let root = planner.ask(&grant.unwrap().hops(4).offline_hops(2)).await.unwrap();
    Fleet { stage, admin, trust, tool, root }
}

impl Fleet {
    /// A checker whose evidence lies in the directory `spool`, on this view.
    fn checker(&self, view: SharedView, reporter: &Arc<Reporter>) -> Checker {
        let evidence = Some(reporter.clone());
        let options = Options { evidence, staleness_ms_max: 60_000, ..Options::default() };
        Checker::new(TOOL, self.trust.clone(), view, options)
    }

    fn reporter(&self) -> Arc<Reporter> {
        Reporter::open(&self.stage.path("spool"), SPOOL_BYTES_DEFAULT).unwrap()
    }

    /// Every use in the ledger, with its evidence, and how far the tool said to know of revocations.
    async fn recorded(&self) -> (Vec<(Use, UseEvidence)>, Vec<u64>) {
        let broker = Broker::connect(&self.stage.endpoint).await.unwrap();
        let mut stream = broker.tail_stream(&self.admin, 0, true).await.unwrap();
        let (mut uses, mut synced) = (Vec::new(), Vec::new());
        while let Some(part) = stream.message().await.unwrap() {
            let Some(Part::Entries(part)) = part.part else { continue };
            for (leaf, payload) in part.leaves.iter().zip(&part.payloads) {
                match Record::decode(&leaf[1..]).unwrap().body {
                    Some(Body::Used(used)) => {
                        let content = Payload::decode(payload.as_slice()).unwrap().content;
                        let Some(Content::Use(evidence)) = content else { panic!("evidence") };
                        uses.push((used, evidence));
                    }
                    Some(Body::VerifierSynced(sync)) => synced.push(sync.sequence),
                    _ => {}
                }
            }
        }
        (uses, synced)
    }
}

/// One call, as the tool decides it.
fn call(checker: &Checker, held: &Delegation, path: &str) -> Option<&'static str> {
    let args = format!("{{\"path\":\"{path}\"}}");
    let shown = held.credentials_for(TOOL, "fs.read", &args).unwrap();
    let call = checker.call("fs.read", Arguments::from_json(args.as_bytes()).unwrap());
    checker.check(&shown, &call).err().map(|refusal| refusal.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_comes_into_the_ledger_once_though_broker_and_tool_die() {
    let mut fleet = fleet().await;
    let broker = Broker::connect(&fleet.stage.endpoint).await.unwrap();
    let who = Arc::new(fleet.tool.clone());
    let follower = Follower::start(broker.clone(), Some(who.clone()), fleet.trust.clone());
    follower.ready(PATIENCE).await.unwrap();
    let reporter = fleet.reporter();
    let sender = reporter.start(broker.clone(), who.clone(), follower.view());
    let checker = fleet.checker(follower.view(), &reporter);
    let terms =
        Attenuation::of(&["fs.read@tool://files path=under:/data"], Duration::from_secs(60));
    // A hop that nobody recorded: the report brings its block.
    let scout = fleet.root.spawn_helper("scout", &terms.unwrap()).unwrap();
    for number in 0..100 {
        assert_eq!(call(&checker, &fleet.root, &format!("/data/{number}")), None);
    }
    assert_eq!(call(&checker, &fleet.root, "/etc/passwd"), Some("not_allowed"));
    assert_eq!(call(&checker, &scout, "/data/scout"), None);
    assert!(reporter.flushed(PATIENCE).await);

    // The broker is away: the tool goes on, and keeps what it decided.
    fleet.stage.kill();
    for number in 100..150 {
        assert_eq!(call(&checker, &fleet.root, &format!("/data/{number}")), None);
    }
    assert_eq!(reporter.waiting(), 50);
    // The tool dies too: what goes on is what its directory holds at this moment.
    drop((sender, checker, follower));
    let left = fleet.stage.path("left");
    std::fs::create_dir(&left).unwrap();
    for file in std::fs::read_dir(fleet.stage.path("spool")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.join(file.file_name())).unwrap();
    }
    drop(reporter);
    fleet.stage.kill_and_restart();
    let broker = Broker::connect(&fleet.stage.endpoint).await.unwrap();
    let follower = Follower::start(broker.clone(), Some(who.clone()), fleet.trust.clone());
    follower.ready(PATIENCE).await.unwrap();
    let reporter = Reporter::open(&left, SPOOL_BYTES_DEFAULT).unwrap();
    let _sender = reporter.start(broker, who, follower.view());
    let checker = fleet.checker(follower.view(), &reporter);
    assert_eq!(call(&checker, &fleet.root, "/data/last"), None);
    assert!(reporter.flushed(PATIENCE).await);

    let (uses, synced) = fleet.recorded().await;
    assert_eq!(synced, [0], "told once");
    let counters: Vec<u64> = uses.iter().map(|(used, _)| used.counter).collect();
    assert_eq!(counters, (0..153).collect::<Vec<_>>(), "each once, without a gap");
    let denied: Vec<_> = uses.iter().filter(|(used, _)| !used.code.is_empty()).collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].1.arguments, br#"{"path":"/etc/passwd"}"#);
    for (used, evidence) in &uses {
        let proof = CallProof::decode(&evidence.proof).unwrap();
        assert_eq!(proof.claims.hop.0.as_slice(), used.hop);
        let arguments =
            Arguments::from_evidence(&evidence.arguments, proof.claims.arguments_hash).unwrap();
        assert_eq!(arguments.digest(), proof.claims.arguments_hash);
        let by_scout = used.hop == scout.id().0;
        assert_eq!(evidence.blocks.len(), usize::from(by_scout), "only what no record has");
        let signer = if by_scout { scout.token() } else { fleet.root.token() };
        assert!(signer.holder_key().verify(&proof.claims.message(), &proof.signature));
    }
}

// SPEC 9.9.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_cannot_put_words_into_an_agents_mouth() {
    let fleet = fleet().await;
    let broker = Broker::connect(&fleet.stage.endpoint).await.unwrap();
    let tool = fleet.tool.credential().unwrap();
    let shown = fleet.root.credentials_for(TOOL, "fs.read", r#"{"path":"/data/a"}"#).unwrap();
    let good = v1::UseReport {
        audience: TOOL.into(),
        action: "fs.read".into(),
        arguments: br#"{"path":"/data/a"}"#.to_vec(),
        proof: shown.proof.clone(),
        token: shown.token.unwrap(),
        receipt: shown.receipt.unwrap(),
        ..v1::UseReport::default()
    };
    type Forgery = fn(&mut v1::UseReport);
    let forgeries: [Forgery; 7] = [
        |report| report.action = "fs.write".into(),
        |report| report.audience = "tool://mail".into(),
        |report| *report.proof.last_mut().unwrap() ^= 1,
        |report| report.proof.clear(),
        |report| report.token.clear(),
        |report| *report.token.last_mut().unwrap() ^= 1,
        |report| report.audience = "x".repeat(5_000),
    ];
    let mut uses: Vec<v1::UseReport> = Vec::new();
    for forge in forgeries {
        let mut report = good.clone();
        forge(&mut report);
        uses.push(report);
    }
    uses.push(good.clone());
    for (counter, report) in (0u64..).zip(&mut uses) {
        report.counter = counter;
    }
    let send = |uses: Vec<v1::UseReport>| {
        let (broker, tool) = (broker.clone(), tool.clone());
        async move { broker.report_uses(&tool, v1::ReportUsesRequest { uses }).await }
    };
    assert_eq!(send(uses.clone()).await.unwrap().next_counter, 8);
    // Sent again, nothing is recorded again.
    assert_eq!(send(uses).await.unwrap().next_counter, 8);
    // A gap is taken, and stays to be seen.
    assert_eq!(
        send(vec![v1::UseReport { counter: 20, ..good.clone() }]).await.unwrap().next_counter,
        21
    );
    assert_eq!(send(Vec::new()).await.unwrap_err().code(), "bad_field");
    assert_eq!(send(vec![good.clone(); 65]).await.unwrap_err().code(), "bad_field");
    let (recorded, _) = fleet.recorded().await;
    let counters: Vec<u64> = recorded.iter().map(|(used, _)| used.counter).collect();
    assert_eq!(counters, [7, 20], "only what the agent signed");
    // Who is no agent reports nothing.
    let by_helper = fleet.root.as_caller();
    let refused = broker.report_uses(&by_helper, v1::ReportUsesRequest { uses: vec![good] }).await;
    assert_eq!(refused.unwrap_err().code(), "forbidden");
}

// SPEC 9.9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_cannot_keep_evidence_allows_nothing() {
    let fleet = fleet().await;
    let broker = Broker::connect(&fleet.stage.endpoint).await.unwrap();
    let (view, _) =
        sublet_client::tool::follow::snapshot(&broker, Some(&fleet.admin), &fleet.trust)
            .await
            .unwrap();
    let reporter = Reporter::open(&fleet.stage.path("spool"), 6_000).unwrap();
    let checker = fleet.checker(view, &reporter);
    let verdicts: Vec<_> = (0..20).map(|_| call(&checker, &fleet.root, "/data/a")).collect();
    let allowed = verdicts.iter().take_while(|verdict| verdict.is_none()).count();
    assert!((1..19).contains(&allowed), "{verdicts:?}");
    assert!(verdicts[allowed..].iter().all(|verdict| *verdict == Some("table_full")));
    assert_eq!(reporter.waiting(), allowed as u64, "as many as were allowed are kept");
}
