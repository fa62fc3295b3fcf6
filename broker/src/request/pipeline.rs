//! Decide, then record. The only place that commits. docs/ARCHITECTURE, "The road".
//!
//! Owns: one read before the decision, one atomic write after it, deciding again when what was
//! read has changed, and answers to requests that are repeated. Does not own: the decision.
//!
//! Invariants: a [`Recorded`] exists only after its verdict is durable, or when it left nothing to
//! record; block 0 and a trust bundle are signed before the commit and leave the process after it;
//! what follows a commit follows it whether or not the caller still waits.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::caller::{Authenticated, Caller};
use sublet_core::decide::{
    self, Context, Entropy, Operation, RotateBrokerKey, Unsigned, Verdict, decide,
};
use sublet_core::evidence::record::{Actor, Body, Record};
use sublet_core::refusal::{Deny, Fault, Overload, Refusal};
use sublet_core::state::{Basis, Effects, Mutation, Precondition, RowKey};
use sublet_core::token::mint;
use sublet_core::trust::bundle::SignedBundle;
use sublet_core::trust::rotation::NextBundle;

use crate::admission::{Account, Network};
use crate::broker::Broker;
use crate::observe::traces;
use crate::request::refusals::Charged;
use crate::request::repeat::{self, Repeatable, Request};
use crate::store::{Commit, Committed, NotCommitted, Published, inception};

/// How often a decision is made again because what it read has changed: more than commits that
/// can change the same row within one batch are rare, and each round sees the last one's writes.
const ROUNDS_MAX: usize = 32;

/// How long a caller waits for the store before it hears a fault.
const COMMIT_DEADLINE: Duration = Duration::from_secs(8);

/// A verdict that is on disk and in the ledger, or that left nothing to record.
#[must_use]
pub struct Recorded<G> {
    outcome: Result<G, Deny>,
    /// What the answer says beside what was granted.
    found: Found,
    kept: bool,
}

/// What an answer says beside what was granted: the state that the commit made, or the one that the decision
/// read where nothing was committed, and never a later one.
#[derive(Clone, Debug)]
pub struct Found {
    /// When it was decided: what the state says is no older than that.
    pub at: UnixMillis,
    /// The state.
    pub basis: Basis,
    /// The ledger, as far as its head is signed.
    pub ledger: Arc<Published>,
}

impl<G> Recorded<G> {
    /// Whether it was granted.
    pub fn is_granted(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Whether the same request may be sent again: its answer is kept, or to ask again changes nothing.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Granted, or why not.
    pub fn into_outcome(self) -> Result<G, Deny> {
        self.outcome
    }

    /// Granted with what its answer says beside, or why not.
    pub fn into_parts(self) -> Result<(G, Found), Deny> {
        let Recorded { outcome, found, .. } = self;
        outcome.map(|granted| (granted, found))
    }
}

/// A request to be decided, and what came with it.
pub struct Asked<O> {
    /// Who asks for what.
    pub authenticated: Authenticated<O>,
    /// What it is known by when it is sent again.
    pub repeatable: Option<Repeatable>,
    /// How it came.
    pub came: Came,
}

/// What is known of a request beside who asks for what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    /// The trace that it belongs to.
    pub trace: Option<[u8; 16]>,
    /// Where it came from; `None` on the admin's socket and behind a proxy.
    pub(crate) from: Option<Network>,
}

/// Decides and records.
pub async fn run<O: Operation>(
    broker: &Arc<Broker>,
    asked: Asked<O>,
) -> Result<Recorded<O::Granted>, Refusal> {
    let Asked { authenticated: Authenticated { caller, operation }, repeatable, came } = asked;
    let request = Request::of::<O>(&caller, repeatable);
    for _ in 0..ROUNDS_MAX {
        let now = broker.ports.clock.now();
        let entropy = broker.ports.entropy.draw()?;
        let cx = Deciding { caller: &caller, now, entropy: &entropy, request: request.as_ref() };
        let decided = match decide_now(broker, &cx, &operation)? {
            Decided::Before(recorded) => return Ok(recorded),
            Decided::Now(decided) => decided,
        };
        let NowDecided { mut verdict, basis, kept, outdated } = decided;
        if verdict.is_dead {
            broker.refused.dead.fetch_add(1, Ordering::Relaxed);
        }
        count_refusals(broker, &mut verdict, &caller, came.from, now);
        if verdict.is_read() {
            let found = Found { at: now, basis, ledger: broker.log.store.published()? };
            return Ok(Recorded { outcome: verdict.outcome, found, kept });
        }
        let verdict = signed::<O>(broker, verdict)?;
        let answer = match request.as_ref().filter(|_| kept) {
            Some(request) => request.answer::<O>(&verdict, now)?,
            None => None,
        };
        let Verdict { outcome, mut effects, .. } = verdict;
        if let Some(answer) = answer {
            if !outdated {
                let key = RowKey::Answer(answer.name.clone());
                effects.preconditions.push(Precondition::absent(key));
            }
            effects.mutations.push(answer.into());
        }
        let receipt = outcome.as_ref().ok().and_then(O::receipt);
        let (salt, trace) = (entropy.nonce("payload").0, came.trace);
        match record(broker, Commit { effects, receipt, salt, trace, now }).await {
            Ok(Committed { basis, ledger }) => {
                return Ok(Recorded { outcome, found: Found { at: now, basis, ledger }, kept });
            }
            Err(NotCommitted::Changed) => continue,
            Err(NotCommitted::Refusal(refusal)) => return Err(refusal),
        }
    }
    Err(Overload::Contention.into())
}

/// What one round of deciding has in hand.
struct Deciding<'a> {
    caller: &'a Caller,
    now: UnixMillis,
    entropy: &'a Entropy,
    request: Option<&'a Request>,
}

/// What became of one round of deciding.
enum Decided<G> {
    /// The answer of before.
    Before(Recorded<G>),
    /// A verdict.
    Now(NowDecided<G>),
}

struct NowDecided<G> {
    verdict: Verdict<G>,
    /// The state that it was decided on.
    basis: Basis,
    /// Whether the answer is kept.
    kept: bool,
    /// Whether an answer of this name is kept that is none any more.
    outdated: bool,
}

/// The one read of a decision: answers of before and the decision itself see the same state.
fn decide_now<O: Operation>(
    broker: &Broker,
    deciding: &Deciding<'_>,
    operation: &O,
) -> Result<Decided<O::Granted>, Refusal> {
    let Deciding { caller, now, entropy, request } = *deciding;
    let _step = broker.step("decide");
    let state = broker.log.store.view()?;
    let view = broker.view(&state);
    let (mut outdated, mut kept) = (false, true);
    if let Some(request) = request {
        match request.look::<O>(view, caller, &broker.callers.heard, now)? {
            repeat::Found::Answer(outcome) => {
                let receipt = outcome.as_ref().ok().and_then(O::receipt);
                let basis = state.basis(receipt.as_ref());
                let found = Found { at: now, basis, ledger: broker.log.store.published()? };
                return Ok(Decided::Before(Recorded { outcome, found, kept }));
            }
            repeat::Found::Outdated => outdated = true,
            repeat::Found::Nothing => {}
        }
        kept = request.has_room::<O>(view);
    }
    let verdict = decide(&Context { view, caller, now, entropy }, operation);
    let receipt = verdict.outcome.as_ref().ok().and_then(O::receipt);
    let basis = state.basis(receipt.as_ref().filter(|_| verdict.is_read()));
    Ok(Decided::Now(NowDecided { verdict, basis, kept, outdated }))
}

/// Takes the refusals out of a verdict that are counted, because their caller has many, and get no record
/// of their own. One that stops an agent is always recorded.
fn count_refusals<G>(
    broker: &Broker,
    verdict: &mut Verdict<G>,
    caller: &Caller,
    from: Option<Network>,
    now: UnixMillis,
) {
    let stops = verdict.outcome.is_err() && !verdict.effects.mutations.is_empty();
    verdict.effects.records.retain(|record| match &record.body {
        Body::Refused { method, code, asked, .. } if !stops => {
            broker.refused.counted.is_recorded(charged(caller, from), (*method, *code), asked, now)
        }
        _ => true,
    });
}

/// Whom a call is charged to.
pub(crate) fn charged(caller: &Caller, from: Option<Network>) -> Charged {
    Account::of(caller).or(from.map(Account::Network))
}

/// Records the refusals that were only counted until now. What cannot be recorded is logged.
pub(crate) async fn record_counted(broker: &Arc<Broker>) {
    let record = |(charged, counted): (Charged, _)| {
        let actor = match charged {
            Some(Account::Caller(account)) => account.to_string(),
            // Whose address it is may be a person's, and is not kept.
            Some(Account::Ledger | Account::Network(_)) | None => {
                "callers that nobody knows".to_owned()
            }
        };
        Record { delegation: None, actor: actor.into(), body: Body::RefusalsCounted(counted) }
    };
    let records: Vec<Record> =
        broker.refused.counted.take(broker.ports.clock.now()).into_iter().map(record).collect();
    for records in records.chunks(SUMMARIES_MAX) {
        let own = Effects { records: records.to_vec(), ..Effects::default() };
        if let Err(why) = commit_own(broker, own).await {
            let count = records.len();
            tracing::error!(count, ?why, "summaries of refusals are not recorded");
        }
    }
}

/// Summaries in one commit.
const SUMMARIES_MAX: usize = 256;

/// Has the broker's keys sign what is granted: block 0, or the next trust bundle.
fn signed<O: Operation>(
    broker: &Broker,
    verdict: Verdict<O::Granted>,
) -> Result<Verdict<O::Granted>, Refusal> {
    let _step = verdict.unsigned.is_some().then(|| broker.step("sign"));
    match verdict.unsigned.clone() {
        Some(Unsigned::Block(unsigned)) if verdict.outcome.is_ok() => {
            let signer = broker.keys.ring.signers.of(&unsigned.root)?;
            let (block, holder) = (unsigned.block, &unsigned.holder_key);
            let token = mint::root(block, holder, unsigned.root.id, signer.as_ref())?;
            Ok(verdict.sign::<O>(&token))
        }
        Some(Unsigned::Trust(next)) if verdict.outcome.is_ok() => {
            Ok(verdict.with_trust(sign_trust(broker, &next)?))
        }
        _ => Ok(verdict),
    }
}

/// Signs the next bundle.
fn sign_trust(broker: &Broker, next: &NextBundle) -> Result<SignedBundle, Fault> {
    let fault = |error: &dyn std::fmt::Display| Fault::Internal(format!("broker keys: {error}"));
    let signer = broker.keys.ring.signers.of(&next.signer)?;
    let text = next.bundle.sign(next.signer.id, signer.as_ref()).map_err(|bad| fault(&bad))?;
    SignedBundle::read(text.into_bytes()).map_err(|bad| fault(&bad))
}

/// Begins the ledger of a new broker with the keys that it signs with.
pub async fn begin(broker: &Arc<Broker>) -> Result<(), Fault> {
    if broker.log.store.published()?.tree.size() == 0 {
        let trust = &broker.keys.ring.trust;
        let keys = trust.bundle().keys().iter().map(|key| Body::BrokerKey {
            use_: key.use_,
            id: key.id,
            key: key.public.thumbprint(),
            state: key.state,
            reason: String::new(),
        });
        let actor = own_name(broker);
        let record = |body| Record { delegation: None, actor: actor.clone(), body };
        let own = Effects {
            mutations: vec![trust.clone().into()],
            records: keys.map(record).collect(),
            ..Effects::default()
        };
        commit_own(broker, own).await.map_err(|why| at_start("the first records", why))?;
    }
    broker.log.reached.keep(&broker.log.store).await?;
    inception::mark(&broker.config.data, &broker.domain().ledger_origin())
}

/// Ends what was issued in sessions that had ended when this broker was killed.
pub async fn sweep_sessions(broker: &Arc<Broker>) -> Result<(), Fault> {
    let grant = {
        let state = broker.log.store.view()?;
        let actor = own_name(broker);
        decide::sweep_sessions(broker.view(&state), &actor, broker.ports.clock.now())
    };
    if grant.effects.mutations.is_empty() {
        return Ok(());
    }
    let committed = commit_own(broker, grant.effects).await;
    committed.map_err(|why| at_start("what was left of ended sessions", why))
}

fn at_start(what: &str, why: NotCommitted) -> Fault {
    match why {
        NotCommitted::Refusal(Refusal::Fault(fault)) => fault,
        why => Fault::Internal(format!("{what}: {why:?}")),
    }
}

/// Prunes the records below an index, by the broker itself: what its configuration says. Where an admin
/// has just pruned as many or more, nothing is left to do.
pub async fn prune(broker: &Arc<Broker>, below: u64) -> Result<(), NotCommitted> {
    let actor = own_name(broker);
    let record = Record { delegation: None, actor, body: Body::Pruned { below } };
    let own = Effects {
        preconditions: vec![Precondition::FloorBelow(below)],
        mutations: vec![Mutation::RaiseFloor(below)],
        records: vec![record],
    };
    match commit_own(broker, own).await {
        Err(NotCommitted::Changed) => Ok(()),
        pruned => pruned,
    }
}

/// Takes a step in the life of the broker's keys, by the broker itself: one that is due.
pub async fn apply_key_step(
    broker: &Arc<Broker>,
    change: RotateBrokerKey,
) -> Result<(), NotCommitted> {
    let refusal = |fault: Fault| NotCommitted::Refusal(fault.into());
    let now = broker.ports.clock.now();
    let grant = {
        let state = broker.log.store.view().map_err(refusal)?;
        let actor = own_name(broker);
        decide::apply_key_step(broker.view(&state), &actor, &change, now)
            .map_err(|deny| NotCommitted::Refusal(deny.into()))?
    };
    let Some(Unsigned::Trust(next)) = grant.unsigned else { return Ok(()) };
    let mut own = grant.effects;
    own.mutations.push(sign_trust(broker, &next).map_err(refusal)?.into());
    commit_own(broker, own).await
}

/// The broker, as records name it.
fn own_name(broker: &Broker) -> Actor {
    broker.domain().issuer().to_string().into()
}

/// Commits what the broker does of itself, with nobody asking.
async fn commit_own(broker: &Arc<Broker>, effects: Effects) -> Result<(), NotCommitted> {
    let entropy =
        broker.ports.entropy.draw().map_err(|fault| NotCommitted::Refusal(fault.into()))?;
    let (salt, now) = (entropy.nonce("payload").0, broker.ports.clock.now());
    record(broker, Commit { effects, receipt: None, salt, trace: None, now }).await.map(drop)
}

/// Runs to its end, whoever has stopped waiting for it.
pub(crate) async fn run_detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    let ended = tokio::spawn(traces::within_the_call(work)).await;
    ended.unwrap_or_else(|error| Err(Fault::Internal(format!("a call broke off: {error}")).into()))
}

async fn record(broker: &Arc<Broker>, commit: Commit) -> Result<Committed, NotCommitted> {
    let _step = broker.step("record");
    let recorded = tokio::spawn(commit_and_tell(broker.clone(), commit));
    match tokio::time::timeout(COMMIT_DEADLINE, recorded).await {
        Ok(Ok(recorded)) => recorded,
        Ok(Err(error)) => Err(NotCommitted::Refusal(
            Fault::Internal(format!("recording broke off: {error}")).into(),
        )),
        // It may be recorded yet, and is told then.
        Err(_) => Err(NotCommitted::Refusal(Fault::Deadline.into())),
    }
}

async fn commit_and_tell(broker: Arc<Broker>, commit: Commit) -> Result<Committed, NotCommitted> {
    let mutations = &commit.effects.mutations;
    let revokes = mutations.iter().any(|change| matches!(change, Mutation::Revoke { .. }));
    let trust = mutations.iter().any(Mutation::is_trust);
    let committed = broker.log.store.commit(commit).await?;
    if trust {
        broker.keys.changed.notify_one();
        if let Err(fault) = broker.publish_trust() {
            // It is in force, and whoever asks gets it; the file follows with the next heartbeat.
            tracing::error!(%fault, "trust.json was not written");
        }
    }
    if revokes || trust {
        // It is in force for minting already; this is for the tools.
        broker
            .log
            .feed
            .publish(broker.ports.clock.now())
            .map_err(|fault| NotCommitted::Refusal(fault.into()))?;
    }
    if revokes && let Err(fault) = broker.log.reached.keep(&broker.log.store).await {
        // It is in force all the same, and the mark follows.
        tracing::error!(%fault, "nothing beside the store says that it was revoked");
    }
    Ok(committed)
}
