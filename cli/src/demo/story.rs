//! The story of the demo, from enrollment to replay. Each step says what was expected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sublet_client::audit::bundle::{self, Bundle};
use sublet_client::audit::history::{Again, History};
use sublet_client::audit::published::checkpoint_keys;
use sublet_client::audit::records;
use sublet_client::audit::replay;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::error::Error;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::id::{AgentId, UnixMillis};
use sublet_core::base::key_file::KeyLock;
use sublet_core::decide::Target;
use sublet_core::token::Presentation;
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::v1;

use super::actor::{Answer, Ask};
use super::fleet::{BrokerProcess, Process};
use super::teller::Teller;
use crate::audit::report;
use crate::cli_error::CliError;

/// The maximum age of the tool's revocation view, in milliseconds.
const STALENESS_MS: i64 = 2_000;

/// The time within which the tool must refuse after a revocation.
const BITES_WITHIN: Duration = Duration::from_secs(1);

/// The time within which a tool without a broker must refuse.
const STALE_WITHIN: Duration = Duration::from_secs(5);

/// How often to look for the tool's last report, every 100 ms: the back-off of the tool is at most 6.4 s.
const REPORTED_ROUNDS: usize = 200;

const DOMAIN: &str = sublet_broker::config::DEV_TRUST_DOMAIN;
const SUMMARY: &str = "/reports/2026/q3/summary.txt";

/// The processes of the demo.
struct Stage {
    broker: BrokerProcess,
    admin: Credential,
    trust: Trust,
    tool: String,
    _tool_process: Process,
    planner: Process,
    researcher: Process,
    analyst: Process,
    editor: Process,
    scout: Process,
    mallory: Process,
    /// Factor for all time limits, for a machine that does other work too.
    patience: u32,
}

/// The tokens of the demo, in text form.
#[derive(Default)]
struct Tokens {
    root: String,
    researcher: String,
    analyst: String,
    scout: String,
    editor: String,
    /// The time of the last call, by this machine's clock.
    last_call: UnixMillis,
}

/// Runs all steps. Outcomes go to the teller; an error means that the demo itself could not run.
pub(super) async fn tell(teller: &mut Teller, home: &Path, patience: u32) -> Result<(), CliError> {
    teller
        .chapter("Setup: a broker on sled, a file tool and six agents, each a process of its own.");
    let mut stage = set(home, patience).await?;
    teller.aside(&format!(
        "broker {}, tool {} ({})",
        stage.broker.endpoint,
        stage.tool,
        super::tool::AUDIENCE
    ));
    let mut tokens = Tokens::default();
    enrollment(teller, &mut stage).await?;
    delegation(teller, &mut stage, &mut tokens).await?;
    use_and_abuse(teller, &mut stage, &tokens).await?;
    attacks(teller, &mut stage, &tokens).await?;
    revocation(teller, &mut stage, &tokens).await?;
    outage(teller, &mut stage, &mut tokens, home).await?;
    replay(teller, &stage, &tokens).await?;
    evidence(teller, &stage, home).await
}

async fn set(home: &Path, patience: u32) -> Result<Stage, CliError> {
    let root = home.join("files");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        let parent = path.parent().map(std::fs::create_dir_all).transpose();
        parent
            .and_then(|_| std::fs::write(&path, text))
            .map_err(|error| CliError::local(format!("{}: {error}", path.display())))
    };
    write("reports/2026/q3/summary.txt", "revenue up 4 percent\n")?;
    write("reports/2026/q2/summary.txt", "revenue flat\n")?;
    write("secret.txt", "nobody may read this\n")?;
    let broker = BrokerProcess::start(&home.join("broker"), "127.0.0.1:0").await?;
    let trust = Trust::open(Path::new(&broker.trust), Ports::system().clock.now())?;
    let key = files::read_key(Path::new(&broker.admin_key), &KeyLock::open())?;
    let admin = Credential::admin(Arc::new(key), trust.domain());
    let (url, trust_file) = (broker.endpoint.clone(), broker.trust.clone());
    let (served, staleness) = (root.display().to_string(), staleness_ms(patience).to_string());
    let client = Broker::connect(&broker.endpoint).await?;
    let join = invite(&client, &admin, "files").await?;
    let join_file = home.join("files.join");
    files::replace(&join_file, join.as_bytes())?;
    let (directory, join_file) =
        (home.join("agents/files").display().to_string(), join_file.display().to_string());
    let mut tool_process = Process::start(
        "the tool",
        &[
            "demo-actor",
            "tool",
            "--broker-url",
            &url,
            "--trust-file",
            &trust_file,
            "--files",
            &served,
            "--staleness-ms",
            &staleness,
            "--directory",
            &directory,
            "--join-token",
            &join_file,
        ],
    )?;
    let tool = tool_process.line().await?;
    let agent = |name: &str| {
        let directory = home.join("agents").join(name).display().to_string();
        Process::start(
            name,
            &[
                "demo-actor",
                "agent",
                "--directory",
                &directory,
                "--broker-url",
                &url,
                "--trust-file",
                &trust_file,
            ],
        )
    };
    Ok(Stage {
        planner: agent("planner")?,
        researcher: agent("researcher")?,
        analyst: agent("analyst")?,
        editor: agent("editor")?,
        scout: agent("scout")?,
        mallory: agent("mallory")?,
        broker,
        admin,
        trust,
        tool,
        _tool_process: tool_process,
        patience,
    })
}

fn staleness_ms(patience: u32) -> i64 {
    STALENESS_MS.saturating_mul(patience.into())
}

fn id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/agent/{name}")
}

/// Creates an agent and returns its join token.
async fn invite(broker: &Broker, admin: &Credential, name: &str) -> Result<String, CliError> {
    let request = v1::CreateAgentRequest {
        agent_id: id(name),
        profile: "default".into(),
        join_ttl_seconds: 600,
        idempotency_key: Vec::new(),
    };
    Ok(broker.create_agent(admin, request).await?.join_token)
}

async fn enrollment(teller: &mut Teller, stage: &mut Stage) -> Result<(), CliError> {
    teller.chapter("Enrollment: the admin creates four agents. Each makes its own key and enrolls with a one-time join token.");
    let broker = Broker::connect(&stage.broker.endpoint).await?;
    let mut first = None;
    let names = [
        ("enroll planner", "planner"),
        ("enroll researcher", "researcher"),
        ("enroll analyst", "analyst"),
        ("enroll editor", "editor"),
    ];
    for (step, name) in names {
        let join_token = invite(&broker, &stage.admin, name).await?;
        first.get_or_insert_with(|| join_token.clone());
        let process = match name {
            "planner" => &mut stage.planner,
            "researcher" => &mut stage.researcher,
            "analyst" => &mut stage.analyst,
            _ => &mut stage.editor,
        };
        teller.step(step, "done", &process.ask(&Ask::Enroll { join_token }).await?);
    }
    let join_token = first.unwrap_or_default();
    teller.step(
        "join token used twice",
        "denied",
        &stage.mallory.ask(&Ask::Enroll { join_token }).await?,
    );
    stage.mallory.ask(&Ask::MakeKey).await.map(drop)
}

async fn delegation(
    teller: &mut Teller,
    stage: &mut Stage,
    tokens: &mut Tokens,
) -> Result<(), CliError> {
    teller.chapter("Delegation: the planner acts on behalf of alice, and each hop is narrower than the one before.");
    let issue = Ask::Issue {
        on_behalf_of: format!("user:alice@{DOMAIN}"),
        allow:
            "fs.read@tool://files path=under:/reports | fs.list@tool://files path=under:/reports"
                .into(),
        ttl_seconds: 600,
        hops: 4,
        offline_hops: 1,
    };
    let answer = stage.planner.ask(&issue).await?;
    teller.step("issue to planner on behalf of alice", "done", &answer);
    tokens.root = answer.data;
    // Each hop ends well before its parent, so that a second that passes between them does not matter.
    let hop = |token: &str, to: &str, under: &str, ttl_seconds: u64| Ask::Delegate {
        token: token.to_owned(),
        to: id(to),
        allow: format!("fs.read@tool://files path=under:{under}"),
        ttl_seconds,
    };
    let answer = stage.planner.ask(&hop(&tokens.root, "researcher", "/reports/2026", 300)).await?;
    teller.step("hop 1 online, planner to researcher", "done", &answer);
    tokens.researcher = answer.data;
    let answer =
        stage.researcher.ask(&hop(&tokens.researcher, "analyst", "/reports/2026/q3", 240)).await?;
    teller.step("hop 2 online, researcher to analyst", "done", &answer);
    tokens.analyst = answer.data;
    let key = stage.scout.ask(&Ask::MakeKey).await?.data;
    let spawn = Ask::Spawn {
        token: tokens.analyst.clone(),
        label: "scout".into(),
        key,
        allow: format!("fs.read@tool://files path=exactly:{SUMMARY}"),
        ttl_seconds: 120,
    };
    let answer = stage.analyst.ask(&spawn).await?;
    teller.step("hop 3 offline, analyst to its helper scout", "done", &answer);
    tokens.scout = answer.data;
    let answer = stage.planner.ask(&hop(&tokens.root, "editor", "/reports/2026/q2", 300)).await?;
    teller.step("a sibling hop, planner to editor", "done", &answer);
    tokens.editor = answer.data;
    Ok(())
}

fn read(token: &str, stage: &Stage, path: &str) -> Ask {
    Ask::Read { token: token.to_owned(), tool: stage.tool.clone(), path: path.to_owned() }
}

async fn use_and_abuse(
    teller: &mut Teller,
    stage: &mut Stage,
    tokens: &Tokens,
) -> Result<(), CliError> {
    teller.chapter(
        "Use: the tool decides offline, from the token, the call proof and its revocation view.",
    );
    let ask = read(&tokens.scout, stage, SUMMARY);
    teller.step("scout reads what it may", "allowed", &stage.scout.ask(&ask).await?);
    let ask = Ask::ReadAgain { tool: stage.tool.clone() };
    teller.step("the same proof replayed", "denied", &stage.scout.ask(&ask).await?);
    let ask =
        Ask::Write { token: tokens.scout.clone(), tool: stage.tool.clone(), path: SUMMARY.into() };
    teller.step("scout writes", "denied", &stage.scout.ask(&ask).await?);
    let ask = read(&tokens.analyst, stage, "/reports/2026/q3/../../../secret.txt");
    teller.step("analyst escapes its path", "denied", &stage.analyst.ask(&ask).await?);
    let wider = Ask::Delegate {
        token: tokens.researcher.clone(),
        to: id("analyst"),
        allow: "fs.read@tool://files path=under:/".into(),
        ttl_seconds: 60,
    };
    teller.step(
        "researcher delegates more than it holds",
        "denied",
        &stage.researcher.ask(&wider).await?,
    );
    let longer = Ask::Delegate {
        token: tokens.researcher.clone(),
        to: id("analyst"),
        allow: "fs.read@tool://files path=under:/reports/2026".into(),
        ttl_seconds: 3600,
    };
    teller.step(
        "researcher delegates for longer than it holds",
        "denied",
        &stage.researcher.ask(&longer).await?,
    );
    Ok(())
}

async fn attacks(teller: &mut Teller, stage: &mut Stage, tokens: &Tokens) -> Result<(), CliError> {
    teller.chapter("Theft and forgery: mallory has copies of every token, but only its own key.");
    let ask = Ask::ReadStolen {
        token: tokens.analyst.clone(),
        tool: stage.tool.clone(),
        path: SUMMARY.into(),
    };
    teller.step("a stolen token without its key", "denied", &stage.mallory.ask(&ask).await?);
    let ask = Ask::Impersonate {
        token: tokens.editor.clone(),
        name: id("researcher"),
        allow: "fs.read@tool://files path=under:/reports/2026/q2".into(),
    };
    teller.step("a hop in another agent's name", "denied", &stage.editor.ask(&ask).await?);
    let ask = Ask::ReadSpliced {
        token: tokens.editor.clone(),
        onto: tokens.analyst.clone(),
        tool: stage.tool.clone(),
        path: SUMMARY.into(),
    };
    teller.step("a block spliced from another token", "denied", &stage.editor.ask(&ask).await?);
    Ok(())
}

async fn revocation(
    teller: &mut Teller,
    stage: &mut Stage,
    tokens: &Tokens,
) -> Result<(), CliError> {
    teller.chapter(
        "Revocation: the planner revokes the researcher's hop, and everything below it ends too.",
    );
    let middle = verified(&tokens.researcher, &stage.trust)?.id().to_string();
    let ask = Ask::Revoke { token: tokens.root.clone(), hop: middle };
    teller.step("planner revokes the middle hop", "done", &stage.planner.ask(&ask).await?);
    let ask = read(&tokens.scout, stage, SUMMARY);
    let answer = until_denied(&mut stage.scout, &ask, BITES_WITHIN * stage.patience).await?;
    teller.step("scout, two hops below, within a second", "denied", &answer);
    let ask = read(&tokens.editor, stage, "/reports/2026/q2/summary.txt");
    teller.step("editor, a sibling, still reads", "allowed", &stage.editor.ask(&ask).await?);
    let broker = Broker::connect(&stage.broker.endpoint).await?;
    let target = Target::Agent(
        id("editor").parse::<AgentId>().map_err(sublet_core::refusal::Malformed::from)?,
    );
    let suspended = broker.revoke_target(&stage.admin, &target, "laptop lost", Vec::new()).await;
    teller.step(
        "the admin suspends editor",
        "done",
        &answer_of(suspended.map(|_| "its tokens are refused until it is resumed")),
    );
    let ask = read(&tokens.editor, stage, "/reports/2026/q2/summary.txt");
    let answer = until_denied(&mut stage.editor, &ask, BITES_WITHIN * stage.patience).await?;
    teller.step("editor, suspended, within a second", "denied", &answer);
    Ok(())
}

async fn outage(
    teller: &mut Teller,
    stage: &mut Stage,
    tokens: &mut Tokens,
    home: &Path,
) -> Result<(), CliError> {
    teller.chapter(&format!(
        "Outage: the broker is killed with SIGKILL. The tool decides until its revocation view is {} seconds old.",
        staleness_ms(stage.patience) / 1000
    ));
    let address = stage.broker.address();
    stage.broker.kill().await?;
    let ask = read(&tokens.root, stage, "/reports/2026/q2/summary.txt");
    teller.step("planner reads without the broker", "allowed", &stage.planner.ask(&ask).await?);
    let answer = until_denied(&mut stage.planner, &ask, STALE_WITHIN * stage.patience).await?;
    teller.step("planner reads, the revocation view is stale", "denied", &answer);
    stage.broker = BrokerProcess::start(&home.join("broker"), &address).await?;
    let (recorded, detail) = every_hop_is_there(stage, tokens).await?;
    let answer =
        if recorded { Answer::done(detail, "") } else { Answer { detail, ..Answer::default() } };
    teller.step("the broker restarted with every hop", "done", &answer);
    tokens.last_call = Ports::system().clock.now();
    let answer = until(&mut stage.planner, &ask, "allowed", Duration::from_secs(15)).await?;
    teller.step("planner reads, the feed is back", "allowed", &answer);
    Ok(())
}

/// Whether the broker has each hop that it acknowledged. It never saw the offline hop.
async fn every_hop_is_there(stage: &Stage, tokens: &Tokens) -> Result<(bool, String), CliError> {
    let broker = Broker::connect(&stage.broker.endpoint).await?;
    let mut seen = 0;
    for token in [&tokens.root, &tokens.researcher, &tokens.analyst, &tokens.editor] {
        let bytes =
            Presentation::from_text(token).map_err(sublet_core::refusal::Malformed::from)?.token;
        let answer = broker.inspect(&stage.admin, v1::InspectRequest { token: bytes }).await?;
        if answer.hops.iter().any(|hop| !hop.recorded) {
            return Ok((false, "a hop that the broker acknowledged is missing".to_owned()));
        }
        seen += answer.hops.len();
    }
    Ok((true, format!("4 chains, {seen} blocks, all in the ledger")))
}

async fn replay(teller: &mut Teller, stage: &Stage, tokens: &Tokens) -> Result<(), CliError> {
    teller.chapter("Replay: what happened, read from the ledger and verified again.");
    let report = everything_reported(stage, tokens).await?;
    for line in crate::audit::delegation::lines(&report) {
        teller.aside(&line);
    }
    let whole = report.holds()
        && report.hops.len() == 4
        && !report.revocations.is_empty()
        && !report.refusals.is_empty();
    let detail = format!(
        "{} hops, {} refusals, {} revocations",
        report.hops.len(),
        report.refusals.len(),
        report.revocations.len()
    );
    let answer =
        if whole { Answer::done(detail, "") } else { Answer { detail, ..Answer::default() } };
    teller.step("the chain replayed", "done", &answer);
    Ok(())
}

/// Returns the replay of the delegation after the tool has reported the last call. The tool reports in order,
/// as soon as the broker is back.
async fn everything_reported(stage: &Stage, tokens: &Tokens) -> Result<replay::Report, CliError> {
    let broker = Broker::connect(&stage.broker.endpoint).await?;
    let delegation = verified(&tokens.root, &stage.trust)?.delegation();
    for _ in 0..REPORTED_ROUNDS {
        let report = replay::replay(&broker, &stage.admin, &stage.trust, &delegation).await?;
        let mut uses = report.entries.iter().filter_map(|entry| entry.used());
        if uses.any(|used| used.decided_at_ms >= tokens.last_call.0) {
            return Ok(report);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(CliError::local("the tool did not report its last call in time"))
}

/// Exports the ledger, and verifies the bundle with nothing but the trust bundle.
async fn evidence(teller: &mut Teller, stage: &Stage, home: &Path) -> Result<(), CliError> {
    teller.chapter(
        "Evidence: the whole ledger in one bundle, verified offline, and a copy that was tampered with.",
    );
    let broker = Broker::connect(&stage.broker.endpoint).await?;
    let trust_text = files::read(Path::new(&stage.broker.trust))?;
    files::replace(&home.join("trust.json"), &trust_text)?;
    let trust = Trust::open(&home.join("trust.json"), Ports::system().clock.now())?;
    let ledger = records::read_raw(&broker, &stage.admin).await?;
    let past = History::of(ledger.understand(&trust)?, &trust, None);
    let path = home.join("evidence.sublet");
    let keys = checkpoint_keys(&trust.current());
    bundle::write(&path, &ledger, &trust_text, report::views(&past)?, &keys)?;
    let reproduced = past.uses.iter().filter(|used| used.again == Again::Reproduced).count();
    let detail = format!(
        "{} records, {} uses, {reproduced} decisions reproduced",
        past.head.size,
        past.uses.len()
    );
    let check = |path: &Path| Bundle::open(path, &keys)?.check_records();
    let verified = check(&path);
    let whole = verified.is_ok() && reproduced == past.uses.len() && !past.uses.is_empty();
    let answer =
        if whole { Answer::done(detail, "") } else { Answer { detail, ..Answer::default() } };
    teller.step("the evidence verified offline", "done", &answer);
    let unread = |error| CliError::local(format!("{}: {error}", path.display()));
    let mut bytes = std::fs::read(&path).map_err(unread)?;
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1);
    let tampered = home.join("tampered.sublet");
    files::replace(&tampered, &bytes)?;
    let answer = match check(&tampered) {
        Ok(_) => Answer::done("it was accepted", ""),
        Err(failure) => Answer {
            actual: "denied".to_owned(),
            code: failure.code(),
            detail: failure.message().to_owned(),
            ..Answer::default()
        },
    };
    teller.step("a tampered copy of it", "denied", &answer);
    Ok(())
}

/// Repeats the request until it is denied or the time is over.
async fn until_denied(
    process: &mut Process,
    ask: &Ask,
    within: Duration,
) -> Result<Answer, CliError> {
    until(process, ask, "denied", within).await
}

async fn until(
    process: &mut Process,
    ask: &Ask,
    actual: &str,
    within: Duration,
) -> Result<Answer, CliError> {
    let clock = Ports::system().clock;
    let started = clock.monotonic_ms();
    loop {
        let mut answer = process.ask(ask).await?;
        let elapsed = clock.monotonic_ms().saturating_sub(started);
        if answer.actual == actual {
            answer.detail = format!("{} (after {elapsed} ms)", answer.detail);
            return Ok(answer);
        }
        if u128::from(elapsed) > within.as_millis() {
            answer.detail = format!("still {} after {elapsed} ms", answer.actual);
            return Ok(answer);
        }
        // The revocation arrives with the feed; the pause leaves the machine to it.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn verified(text: &str, trust: &Trust) -> Result<VerifiedToken, CliError> {
    Ok(trust.verify_text(text)?.0)
}

fn answer_of(result: Result<&str, Error>) -> Answer {
    match result {
        Ok(detail) => Answer::done(detail, ""),
        Err(failure) => Answer::failed(&failure),
    }
}
