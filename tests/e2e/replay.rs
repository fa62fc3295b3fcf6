//! A scripted fleet, and a replay that must tell of it what the script knows: each of the thirteen
//! questions. SUBLET_FLEET=full makes it 50 agents, 1,000 delegations to depth 5, 20,000 uses, 30
//! revocations and 200 attacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::audit::history::History;
use sublet_client::audit::questions::{Query, Source, UseAnswer};
use sublet_client::audit::records;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::{self, Follower, SharedView};
use sublet_client::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT};
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key_file::KeyLock;
use sublet_core::decide::Target;
use sublet_core::evidence::call::Arguments;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_ledger::tree::Checked;
use sublet_proto::v1;

use crate::stage::Stage;

const TOOL: &str = "tool://files";
const PATIENCE: Duration = Duration::from_secs(120);
const SCOPE: [&str; 2] =
    ["fs.read@tool://files path=under:/data", "fs.list@tool://files path=under:/data"];

/// How large the fleet is.
struct Size {
    agents: usize,
    delegations: usize,
    depth: usize,
    uses: usize,
    revocations: usize,
    attacks: usize,
}

fn size() -> Size {
    if std::env::var("SUBLET_FLEET").is_ok_and(|size| size == "full") {
        Size {
            agents: 50,
            delegations: 1_000,
            depth: 5,
            uses: 20_000,
            revocations: 30,
            attacks: 200,
        }
    } else {
        Size { agents: 4, delegations: 8, depth: 3, uses: 120, revocations: 3, attacks: 12 }
    }
}

/// What the script knows of one use.
struct Known {
    path: String,
    by: String,
    principal: String,
    hops: Vec<HopId>,
    code: &'static str,
    /// A revocation was in force that the tool had not heard of.
    stale: bool,
}

struct Script {
    stage: Stage,
    broker: Broker,
    admin: Credential,
    trust: Trust,
    agents: Vec<Identity>,
    /// The whole chain of each delegation, the root first.
    chains: Vec<(String, Vec<Delegation>)>,
    /// By the path that each use names, which no other does.
    uses: BTreeMap<String, Known>,
    attacks: usize,
}

async fn enrolled(stage: &Stage, broker: &Broker, trust: &Trust, name: &str) -> Identity {
    let admin = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    let admin = Credential::admin(Arc::new(admin), trust.domain());
    let request = v1::CreateAgentRequest {
        agent_id: format!("spiffe://dev.sublet.example/agent/{name}"),
        profile: "default".into(),
        join_ttl_seconds: 600,
        idempotency_key: Vec::new(),
    };
    let join = broker.create_agent(&admin, request).await.unwrap().join_token;
    Identity::enroll_trusting(broker, &join, stage.path(name), trust).await.unwrap()
}

fn terms(seconds: usize) -> Attenuation {
    Attenuation::of(&SCOPE, Duration::from_secs(seconds as u64)).unwrap()
}

impl Script {
    async fn begin(size: &Size) -> Self {
        let stage = Stage::set();
        let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
        let admin = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
        let admin = Credential::admin(Arc::new(admin), trust.domain());
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        let mut agents = Vec::new();
        for number in 0..size.agents {
            agents.push(enrolled(&stage, &broker, &trust, &format!("agent-{number}")).await);
        }
        let (chains, uses) = (Vec::new(), BTreeMap::new());
        Script { stage, broker, admin, trust, agents, chains, uses, attacks: 0 }
    }

    /// Delegations, each handed down from one agent to the next, helpers at the end.
    async fn delegate(&mut self, size: &Size) {
        for number in 0..size.delegations {
            let principal = format!("user:u{}@dev.sublet.example", number % 7);
            let owner = &self.agents[number % self.agents.len()];
            let grant = Grant::of(&principal, &SCOPE, Duration::from_secs(3_600)).unwrap();
            let mut chain = vec![owner.ask(&grant.hops(8).offline_hops(2)).await.unwrap()];
            for depth in 1..=size.depth {
                let parent = chain.last().unwrap();
                let seconds = 3_400 - 100 * depth;
                let child = if depth % 2 == 1 {
                    let to = &self.agents[(number + depth) % self.agents.len()];
                    let text = parent.delegate_to_agent(&to.id(), &terms(seconds)).await.unwrap();
                    to.open(&text.to_text()).unwrap()
                } else {
                    let mut helper = parent.spawn_helper("helper", &terms(seconds)).unwrap();
                    // Some are never recorded: their blocks come with the evidence.
                    if number % 3 != 0 || depth < size.depth {
                        helper.record().await.unwrap();
                    }
                    helper
                };
                chain.push(child);
            }
            self.chains.push((principal, chain));
        }
    }

    fn call(
        &mut self,
        checker: &Checker,
        at: (usize, usize),
        path: &str,
        action: &str,
        stale: bool,
    ) {
        let (principal, chain) = &self.chains[at.0];
        let held = &chain[at.1];
        let args = format!("{{\"path\":\"{path}\"}}");
        let shown = held.credentials_for(TOOL, action, &args).unwrap();
        let call = checker.call(action, Arguments::from_json(args.as_bytes()).unwrap());
        let code = checker.check(&shown, &call).err().map_or("", |refusal| refusal.code());
        let known = Known {
            path: path.to_owned(),
            by: held.holder().to_string(),
            principal: principal.clone(),
            hops: held.token().hops().map(|(id, _)| id).collect(),
            code,
            stale,
        };
        assert!(self.uses.insert(path.to_owned(), known).is_none(), "each path once");
    }

    fn last(&self, delegation: usize) -> usize {
        self.chains[delegation].1.len() - 1
    }
}

/// A view of the feed as it is now, which hears nothing more.
async fn frozen(script: &Script) -> SharedView {
    follow::snapshot(&script.broker, Some(&script.admin), &script.trust).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_tells_what_happened() {
    let size = size();
    let mut script = Script::begin(&size).await;
    script.delegate(&size).await;
    let tool = enrolled(&script.stage, &script.broker, &script.trust, "files").await;
    let slow_tool = enrolled(&script.stage, &script.broker, &script.trust, "slow").await;
    let who: Arc<dyn Caller> = Arc::new(tool.clone());
    let follower = Follower::start(script.broker.clone(), Some(who.clone()), script.trust.clone());
    follower.ready(PATIENCE).await.unwrap();
    let reporter = Reporter::open(&script.stage.path("spool"), SPOOL_BYTES_DEFAULT).unwrap();
    let sender = reporter.start(script.broker.clone(), who, follower.view());
    let options = |reporter: &Arc<Reporter>| Options {
        evidence: Some(reporter.clone()),
        staleness_ms_max: 3_600_000,
        ..Options::default()
    };
    let checker = Checker::new(TOOL, script.trust.clone(), follower.view(), options(&reporter));
    // A second tool that will hear of no revocation.
    let deaf = frozen(&script).await;
    let slow = Reporter::open(&script.stage.path("slow-spool"), SPOOL_BYTES_DEFAULT).unwrap();
    let slow_checker = Checker::new(TOOL, script.trust.clone(), deaf.clone(), options(&slow));

    // Uses, and attacks: a path outside, an action that nobody holds.
    for number in 0..size.uses {
        let delegation = number % size.delegations;
        let at = (delegation, (number / size.delegations) % (script.last(delegation) + 1));
        script.call(&checker, at, &format!("/data/{number}"), "fs.read", false);
    }
    for number in 0..size.attacks {
        let at = (number % size.delegations, number % 2);
        let (path, action) = match number % 2 {
            0 => (format!("/etc/{number}"), "fs.read"),
            _ => (format!("/data/attack-{number}"), "fs.write"),
        };
        script.call(&checker, at, &path, action, false);
        // And towards the broker: to hand on more than is held.
        let held = &script.chains[number % size.delegations].1[0];
        let wide = Attenuation::of(&["fs.read@tool://files path=under:/"], Duration::from_secs(60));
        held.spawn_helper("thief", &wide.unwrap()).unwrap_err();
    }
    script.attacks = script.uses.values().filter(|known| !known.code.is_empty()).count();
    assert_eq!(script.attacks, size.attacks);
    assert!(reporter.flushed(PATIENCE).await);
    let kept = script.broker.checkpoint(&script.admin, v1::GetCheckpointRequest {}).await.unwrap();
    let before_revocations = Ports::system().clock.now();
    // Records have milliseconds.
    while Ports::system().clock.now() <= before_revocations {
        tokio::task::yield_now().await;
    }

    // Revocations: of a hop in the middle; then uses below it, at a tool that knows and one that
    // does not.
    let mut revoked = Vec::new();
    for number in 0..size.revocations {
        let delegation = number % size.delegations;
        let hop = script.chains[delegation].1[1].id();
        let target = Target::Hop(hop);
        let reason = format!("incident {number}");
        let revoked_now =
            script.broker.revoke_target(&script.admin, &target, &reason, Vec::new()).await.unwrap();
        assert!(revoked_now.recorded);
        let sequence = revoked_now.sequence;
        revoked.push((hop, reason));
        while follower.view().position().sequence < sequence {
            tokio::task::yield_now().await;
        }
        let last = script.last(delegation);
        script.call(
            &checker,
            (delegation, last),
            &format!("/data/late-{number}"),
            "fs.read",
            false,
        );
        script.call(
            &slow_checker,
            (delegation, last),
            &format!("/data/deaf-{number}"),
            "fs.read",
            true,
        );
        // The root lives on.
        script.call(&checker, (delegation, 0), &format!("/data/root-{number}"), "fs.read", false);
    }
    let who: Arc<dyn Caller> = Arc::new(slow_tool.clone());
    let slow_sender = slow.start(script.broker.clone(), who, deaf);
    assert!(reporter.flushed(PATIENCE).await && slow.flushed(PATIENCE).await);
    drop((sender, slow_sender));

    let trust = script.trust.clone();
    let records = records::read(&script.broker, &script.admin, &trust).await.unwrap();
    let head = Checkpoint::open(
        &kept.checkpoint,
        &sublet_client::audit::published::checkpoint_keys(&trust.current()),
    );
    let head = head.unwrap();
    // 10. The head that was kept before the revocations is of the beginning.
    assert_eq!(records.begin_with(&head), Checked::Holds);
    let rewritten = Checkpoint { root: [7; 32], ..head.clone() };
    assert_eq!(records.begin_with(&rewritten), Checked::Contradicted);
    let history = History::of(records, &trust, None);
    let answers = history.uses_of(&Query::default());
    check_uses(&script, &answers);
    check_filters(&script, &history);
    check_revocations(&script, &history, &revoked);
    check_radius(&script, &history);
    check_what_if(&script, &history, before_revocations);
    check_rest(&script, &history, size.attacks + size.revocations);

    // 11. As of before the revocations: nothing was revoked, and the late uses had not happened.
    let records = records::read(&script.broker, &script.admin, &trust).await.unwrap();
    let then = History::of(records, &trust, Some(before_revocations));
    assert!(then.revoked().is_empty());
    assert_eq!(then.uses_of(&Query::default()).len(), size.uses + size.attacks);
}

fn path_of(answer: &UseAnswer) -> String {
    let arguments: serde_json::Value =
        serde_json::from_str(answer.arguments.as_deref().unwrap()).unwrap();
    arguments["path"].as_str().unwrap().to_owned()
}

/// 1 to 4: each use once, by whom, for whom, through which hops; decided again, the same.
fn check_uses(script: &Script, answers: &[UseAnswer]) {
    assert_eq!(answers.len(), script.uses.len());
    let mut seen = BTreeSet::new();
    for answer in answers {
        let known = &script.uses[&path_of(answer)];
        assert!(seen.insert(known.path.clone()));
        assert_eq!(answer.by.as_deref(), Some(known.by.as_str()));
        assert_eq!(answer.on_behalf_of.as_deref(), Some(known.principal.as_str()));
        let hops: Vec<String> = known.hops.iter().map(ToString::to_string).collect();
        assert_eq!(answer.hops.iter().map(|hop| hop.hop.clone()).collect::<Vec<_>>(), hops);
        let verdict = if known.code.is_empty() { "allowed" } else { known.code };
        assert_eq!(answer.verdict, verdict, "{}", known.path);
        assert_eq!(answer.decided_again, "reproduced", "{}: {}", known.path, answer.detail);
        assert_eq!(!answer.stale.is_empty(), known.stale, "{}", known.path);
        assert!(answer.decided_at_ms <= answer.recorded_at_ms);
        // Every hop but an unrecorded last one names the record that it rests on.
        let unrecorded = answer.hops.iter().filter(|hop| hop.record.is_none()).count();
        assert!(unrecorded <= 1, "{}", known.path);
    }
}

fn check_filters(script: &Script, history: &History) {
    let count = |query: Query| history.uses_of(&query).len();
    let expected = |test: &dyn Fn(&Known) -> bool| script.uses.values().filter(|k| test(k)).count();
    let principal = "user:u1@dev.sublet.example";
    let query = Query { principal: Some(principal.parse().unwrap()), ..Query::default() };
    assert_eq!(count(query), expected(&|known| known.principal == principal));
    let query = Query { resource: Some("/etc".into()), ..Query::default() };
    assert_eq!(count(query), expected(&|known| known.path.starts_with("/etc/")));
    let query = Query { resource: Some("/dat".into()), ..Query::default() };
    assert_eq!(count(query), 0, "a part of a name is no directory");
    let query = Query { resource: Some(TOOL.into()), ..Query::default() };
    assert_eq!(count(query), script.uses.len());
    let query = Query { action: Some("fs.write".into()), ..Query::default() };
    assert_eq!(count(query), expected(&|known| known.path.contains("attack-")));
    let chain = &script.chains[1].1;
    let query = Query { delegation: Some(chain[0].delegation()), ..Query::default() };
    assert_eq!(count(query), expected(&|known| known.hops[0] == chain[0].id()));
    let agent = "spiffe://dev.sublet.example/agent/agent-1";
    let in_chain = |known: &Known| {
        let chain = script.chains.iter().find(|(_, chain)| chain[0].id() == known.hops[0]).unwrap();
        let held = &chain.1[known.hops.len() - 1];
        held.token().signed_blocks().iter().any(|signed| signed.block().agent.as_str() == agent)
    };
    let query = Query { agent: Some(agent.parse().unwrap()), ..Query::default() };
    assert_eq!(count(query), expected(&in_chain));
}

/// 5 and 6: what was revoked, why, who knew, and who decided without knowing.
fn check_revocations(script: &Script, history: &History, revoked: &[(HopId, String)]) {
    let answers = history.revoked();
    assert_eq!(answers.len(), revoked.len());
    for (number, (answer, (hop, reason))) in answers.iter().zip(revoked).enumerate() {
        assert_eq!((answer.what.clone(), &answer.reason), (format!("hop {hop}"), reason));
        assert!(answer.by.starts_with("admin:"));
        let tools: Vec<&str> = answer.known.iter().map(|known| known.tool.as_str()).collect();
        assert_eq!(tools, ["spiffe://dev.sublet.example/agent/files"]);
        assert_eq!(answer.not_shown, ["spiffe://dev.sublet.example/agent/slow"]);
        let stale: BTreeSet<String> = history
            .uses_of(&Query::default())
            .iter()
            .filter(|used| answer.stale_uses.contains(&used.record))
            .map(path_of)
            .collect();
        assert!(stale.contains(&format!("/data/deaf-{number}")), "{stale:?}");
        assert!(stale.iter().all(|path| path.starts_with("/data/deaf-")));
    }
    assert!(script.uses.values().any(|known| known.code == "hop_revoked"));
}

/// 7: what hangs on a hop, and what was done with it.
fn check_radius(script: &Script, history: &History) {
    let (principal, chain) = &script.chains[2];
    let hop = chain[1].id();
    let radius = history.blast_radius(&Source::Hop(hop));
    let uses: BTreeSet<u64> = radius.uses.iter().copied().collect();
    let expected: BTreeSet<u64> = history
        .uses_of(&Query::default())
        .iter()
        .filter(|used| used.hops.iter().any(|used| used.hop == hop.to_string()))
        .map(|used| used.record)
        .collect();
    assert_eq!(uses, expected);
    let recorded: BTreeSet<String> = history.delegations[&chain[0].delegation()]
        .hops
        .iter()
        .skip(1)
        .map(|hop| hop.hop.to_string())
        .collect();
    assert_eq!(radius.hops.iter().cloned().collect::<BTreeSet<_>>(), recorded);
    assert_eq!(radius.may, {
        let mut may = SCOPE.map(str::to_owned).to_vec();
        may.sort();
        may
    });
    assert!(radius.may_is_all);
    let of_principal = history.blast_radius(&Source::Principal(principal.parse().unwrap()));
    assert!(of_principal.hops.len() > radius.hops.len());
    let agent = "spiffe://dev.sublet.example/agent/agent-0".parse().unwrap();
    assert!(history.blast_radius(&Source::Agent(agent)).hops.len() > 1);
    let nobody = history.blast_radius(&Source::Principal("user:nobody@x.example".parse().unwrap()));
    assert!(nobody.hops.is_empty() && nobody.uses.is_empty());
}

/// 12: had the hop been revoked before anything happened, every use below it flips, and no other.
fn check_what_if(script: &Script, history: &History, now: UnixMillis) {
    let hop = script.chains[1].1[1].id();
    let flipped = history.what_if_revoked(hop, UnixMillis(0));
    let answers = history.uses_of(&Query::default());
    let allowed_below = answers.iter().filter(|used| {
        used.verdict == "allowed" && used.hops.iter().any(|used| used.hop == hop.to_string())
    });
    let expected: Vec<(u64, String)> =
        allowed_below.map(|used| (used.record, "hop_revoked".to_owned())).collect();
    assert!(!expected.is_empty());
    assert_eq!(flipped.refused, expected);
    assert!(flipped.not_shown.is_empty());
    assert!(!flipped.hops.is_empty(), "the hops below would not have been recorded");
    let later = history.what_if_revoked(hop, now);
    assert!(later.refused.len() < flipped.refused.len() && later.hops.is_empty());
}

/// 8, 9, 13.
fn check_rest(script: &Script, history: &History, refused: usize) {
    let without = history.without_authority();
    assert!(without.unfounded_uses.is_empty());
    assert_eq!(without.refused_uses.len(), refused);
    let complete = history.completeness();
    assert!(complete.delegations.is_empty(), "{:?}", complete.delegations);
    assert!(complete.verifiers.is_empty() && complete.not_shown.is_empty());
    assert!(complete.erased.is_empty());
    let unused = history.unused();
    assert!(unused.iter().all(|unused| unused.capability.starts_with("fs.list")
        || !script.uses.values().any(|known| known.code.is_empty()
            && known.hops.iter().any(|hop| hop.to_string() == unused.hop))));
    let hops: usize = history.delegations.values().map(|report| report.hops.len()).sum();
    let listed = unused.iter().filter(|unused| unused.capability.starts_with("fs.list")).count();
    assert_eq!(listed, hops, "nobody listed anything");
}

#[test]
fn the_command_answers_and_refuses_what_it_does_not_understand() {
    let stage = Stage::set();
    crate::walk::enroll(&stage, "planner");
    let issued = crate::walk::issue(&stage);
    let delegation = issued["delegation"].as_str().unwrap();
    std::fs::write(stage.path("kept"), stage.sublet(&["audit", "checkpoint"]).ok()).unwrap();
    let what_if = format!("{delegation}@2026-11-24T10:02:00Z");
    let args = [
        "audit",
        "replay",
        "--all",
        "--unused",
        "--what-if-revoked",
        &what_if,
        "--blast-radius",
        delegation,
        "--checkpoint",
        "kept",
        "--output",
        "json",
    ];
    let answer = stage.sublet(&args).json();
    assert_eq!(answer["uses"].as_array().unwrap().len(), 0);
    assert_eq!(answer["heads"][0]["consistent"], "holds");
    assert_eq!(answer["unused"][0]["capability"], "fs.read@tool://files path=under:/data");
    assert_eq!(answer["blast_radius"]["hops"][0], delegation);
    assert_eq!(answer["what_if"]["refused"].as_array().unwrap().len(), 0);
    assert_eq!(answer["completeness"]["records"], answer["ledger"]["records"]);
    let detail = stage.sublet(&["audit", "replay", "--all", "--unused"]).ok();
    assert!(detail.contains("fs.read@tool://files path=under:/data"), "{detail}");
    for (args, words) in [
        (vec!["--as-of", "yesterday"], "is not a time"),
        (vec!["--what-if-revoked", delegation], "expected HOP@TIME"),
        (vec!["--what-if-revoked", "x@0"], "invalid value"),
        (vec!["--all", "--as", "planner"], "cannot be used with"),
    ] {
        stage.sublet(&[&["audit", "replay"], args.as_slice()].concat()).fails(64, words);
    }
    stage.sublet(&["audit", "replay", "--delegation", "x"]).fails(3, "[bad_name]");
    stage.sublet(&["audit", "replay", "--all", "--checkpoint", "none"]).fails(1, "none");
}

/// Names are completed with the trust domain of the ledger, as everywhere on the command line; an answer of
/// nothing says whether nothing was done or nobody is called so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_asked_for_are_completed_and_what_no_record_names_is_said() {
    let mut script = Script::begin(&Size { agents: 1, delegations: 1, depth: 0, ..size() }).await;
    let size = Size { agents: 1, delegations: 1, depth: 0, ..size() };
    script.delegate(&size).await;
    let tool = enrolled(&script.stage, &script.broker, &script.trust, "files").await;
    let view = frozen(&script).await;
    let reporter = Reporter::open(&script.stage.path("spool"), SPOOL_BYTES_DEFAULT).unwrap();
    let sender = reporter.start(script.broker.clone(), Arc::new(tool), view.clone());
    let evidence = Some(reporter.clone());
    let options = Options { evidence, staleness_ms_max: 3_600_000, ..Options::default() };
    let checker = Checker::new(TOOL, script.trust.clone(), view, options);
    script.call(&checker, (0, 0), "/data/a", "fs.read", false);
    script.call(&checker, (0, 0), "/data/b", "fs.read", false);
    assert!(reporter.flushed(PATIENCE).await);
    drop(sender);

    let stage = &script.stage;
    stage.sublet(&["audit", "export", "--out", "evidence"]).ok();
    let replay = |args: &[&str]| {
        let broker = stage.sublet(&[&["audit", "replay"], args].concat());
        let bundle = ["audit", "replay", "--bundle", "evidence"];
        let bundle = stage.sublet(&[&bundle, args].concat());
        assert_eq!(broker.code, bundle.code, "{broker:?} {bundle:?}");
        broker
    };
    let (alice, agent) =
        ("user:u0@dev.sublet.example", "spiffe://dev.sublet.example/agent/agent-0");
    for (flag, typed, full) in [
        ("--principal", "user:u0", alice),
        ("--principal", alice, alice),
        ("--agent", "agent/agent-0", agent),
        ("--agent", agent, agent),
    ] {
        let detail = replay(&[flag, typed]).ok();
        let kind = flag.trim_start_matches('-');
        assert!(detail.contains(&format!("2 of 2 uses match: {kind} {full}\n")), "{detail}");
        assert!(!detail.contains("no record names"), "{detail}");
        let answer = replay(&[flag, typed, "--output", "json"]).json();
        assert_eq!(answer["uses"].as_array().unwrap().len(), 2);
        assert_eq!(answer["asked"][kind], full);
        let detail = replay(&["--blast-radius", typed]).ok();
        assert!(detail.contains(&format!("blast radius of {full}: 1 hops")), "{detail}");
        assert!(!detail.contains("no record names"), "{detail}");
    }
    for (flag, typed, full) in [
        ("--principal", "user:bob", "user:bob@dev.sublet.example"),
        ("--agent", "agent/nobody", "spiffe://dev.sublet.example/agent/nobody"),
        ("--delegation", &"A".repeat(43), &"A".repeat(43)),
    ] {
        let detail = replay(&[flag, typed]).ok();
        assert!(detail.contains("0 of 2 uses match: "), "{detail}");
        assert!(detail.contains(&format!("no record names {full}\n")), "{detail}");
        let answer = replay(&[flag, typed, "--output", "json"]).json();
        assert_eq!(
            (&answer["uses_in_all"], &answer["no_record_names"][0]),
            (&2.into(), &full.into())
        );
        let detail = replay(&["--blast-radius", typed]).ok();
        assert!(detail.contains(&format!("no record names {full}\n")), "{detail}");
    }
    // Who is named and did nothing: the tool, an action that nobody took.
    for args in [["--agent", "agent/files"], ["--action", "fs.write"]] {
        let detail = replay(&args).ok();
        assert!(detail.contains("0 of 2 uses match: "), "{detail}");
        assert!(!detail.contains("no record names"), "{detail}");
    }
    for (flag, typed) in [
        ("--principal", "Alice"),
        ("--principal", "user:Alice"),
        ("--agent", "agent//planner"),
        ("--agent", "user:alice"),
        ("--blast-radius", "user:Alice"),
        ("--blast-radius", "agent planner"),
    ] {
        replay(&[flag, typed]).fails(3, "[bad_name]");
    }
    let id = "A".repeat(43);
    for args in [
        vec![id.as_str(), "--all"],
        vec![&id, "--principal", "user:u0"],
        vec![&id, "--unused"],
        vec!["--all", "--agent", "agent/agent-0"],
        vec!["--all", "--table", "--output", "json"],
    ] {
        let run = stage.sublet(&[&["audit", "replay"], args.as_slice()].concat());
        assert_eq!(run.code, 64, "{run:?}");
    }
    stage.sublet(&["audit", "replay", "--as", "agent-0"]).fails(64, "DELEGATION");
}
