//! Decides and then records. This is the only place that commits. docs/ARCHITECTURE, "The road".
//!
//! Owns: the one read before the decision, the one atomic write after it, deciding again when what was
//! read has changed, and answers to repeated requests. Does not own: the decision.
//!
//! Invariants: a [`Recorded`] exists only when its verdict is durable or has nothing to record. Block 0
//! and a trust bundle are signed before the commit and leave the process after it. The steps after a
//! commit are taken also when the caller no longer waits.

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

/// How often one request is decided at most. A decision is made again when what it read has changed. Few
/// commits of one batch change the same row, and each round sees the writes of the last one.
const ROUNDS_MAX: usize = 32;

/// How long a caller waits for the store. After that it gets a fault.
const COMMIT_DEADLINE: Duration = Duration::from_secs(8);

/// A verdict that is on disk and in the ledger, or that has nothing to record.
#[must_use]
pub struct Recorded<G> {
    outcome: Result<G, Deny>,
    /// The state that the answer is made from.
    found: Found,
    kept: bool,
}

/// The state that an answer is made from: the state after the commit, or, if nothing was committed, the
/// state that the decision read. It is never a later one.
#[derive(Clone, Debug)]
pub struct Found {
    /// The time of the decision. The state is at least as new.
    pub at: UnixMillis,
    /// The parts of the state that an answer may need.
    pub basis: Basis,
    /// The ledger up to its last signed checkpoint.
    pub ledger: Arc<Published>,
}

impl<G> Recorded<G> {
    /// Returns whether the request was granted.
    pub fn is_granted(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Returns whether the caller may send the same request again: its answer is kept, or repeating it
    /// changes nothing.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Returns the grant, or the refusal.
    pub fn into_outcome(self) -> Result<G, Deny> {
        self.outcome
    }

    /// Returns the grant and the state that the answer is made from, or the refusal.
    pub fn into_parts(self) -> Result<(G, Found), Deny> {
        let Recorded { outcome, found, .. } = self;
        outcome.map(|granted| (granted, found))
    }
}

/// A request to decide, and how it came.
pub struct Asked<O> {
    /// The caller and the operation.
    pub authenticated: Authenticated<O>,
    /// What identifies the request when it is sent again; `None` if its answer is not kept.
    pub repeatable: Option<Repeatable>,
    /// The trace and the address of the request.
    pub came: Came,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Came {
    /// The trace-id of the request; `None` if it has none.
    pub trace: Option<[u8; 16]>,
    /// The network that the call came from; `None` on the admin's socket and behind a proxy.
    pub(crate) from: Option<Network>,
}

/// Decides a request and records the verdict. Decides again while what was read has changed. An overload
/// if it changed in each of `ROUNDS_MAX` rounds.
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

/// The input of one round of deciding.
struct Deciding<'a> {
    caller: &'a Caller,
    now: UnixMillis,
    entropy: &'a Entropy,
    request: Option<&'a Request>,
}

/// The result of one round of deciding.
enum Decided<G> {
    /// The request was sent before: its kept answer.
    Before(Recorded<G>),
    /// A verdict that is not recorded yet.
    Now(NowDecided<G>),
}

struct NowDecided<G> {
    verdict: Verdict<G>,
    /// The state that the decision read.
    basis: Basis,
    /// Whether the answer will be kept.
    kept: bool,
    /// Whether a kept answer has this name and is no longer valid.
    outdated: bool,
}

/// Reads the state once. The search for a kept answer and the decision use the same state.
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

/// Removes from a verdict the refusals that are only counted, because their caller has too many. A
/// refusal that stops an agent is always recorded.
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

/// Returns the account that a call is charged to; `None` if there is neither a known caller nor an address.
pub(crate) fn charged(caller: &Caller, from: Option<Network>) -> Charged {
    Account::of(caller).or(from.map(Account::Network))
}

/// Records the refusals that were only counted until now, as summaries. Logs an error if that fails.
pub(crate) async fn record_counted(broker: &Arc<Broker>) {
    let record = |(charged, counted): (Charged, _)| {
        let actor = match charged {
            Some(Account::Caller(account)) => account.to_string(),
            // An address can belong to a person, so it is not recorded.
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

/// The most summaries in one commit.
const SUMMARIES_MAX: usize = 256;

/// Signs with the broker's keys what was granted: block 0, or the next trust bundle.
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

/// Signs the next trust bundle. A fault if the broker has no private key for it.
fn sign_trust(broker: &Broker, next: &NextBundle) -> Result<SignedBundle, Fault> {
    let fault = |error: &dyn std::fmt::Display| Fault::Internal(format!("broker keys: {error}"));
    let signer = broker.keys.ring.signers.of(&next.signer)?;
    let text = next.bundle.sign(next.signer.id, signer.as_ref()).map_err(|bad| fault(&bad))?;
    SignedBundle::read(text.into_bytes()).map_err(|bad| fault(&bad))
}

/// Writes the first records of a new ledger: the broker's keys. Does nothing if the ledger has records.
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

/// Revokes what was issued in sessions that had ended before the broker was last stopped or killed.
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

/// Prunes the records below this index, as the broker's configuration says. If the floor is already as
/// high, does nothing.
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

/// Makes a step of the key rotation that is due, without an admin.
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

/// Returns the broker's name in records.
fn own_name(broker: &Broker) -> Actor {
    broker.domain().issuer().to_string().into()
}

/// Commits changes that the broker makes itself, without a caller.
async fn commit_own(broker: &Arc<Broker>, effects: Effects) -> Result<(), NotCommitted> {
    let entropy =
        broker.ports.entropy.draw().map_err(|fault| NotCommitted::Refusal(fault.into()))?;
    let (salt, now) = (entropy.nonce("payload").0, broker.ports.clock.now());
    record(broker, Commit { effects, receipt: None, salt, trace: None, now }).await.map(drop)
}

/// Runs the work to its end, also when the caller no longer waits. A fault if the work panics.
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
        // The commit may still succeed; the task then publishes it.
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
            // The bundle is in force, and GetTrustBundle returns it. The next heartbeat writes the file.
            tracing::error!(%fault, "trust.json was not written");
        }
    }
    if revokes || trust {
        // The broker already enforces it when it issues and records. This publishes it to the tools.
        broker
            .log
            .feed
            .publish(broker.ports.clock.now())
            .map_err(|fault| NotCommitted::Refusal(fault.into()))?;
    }
    if revokes && let Err(fault) = broker.log.reached.keep(&broker.log.store).await {
        // The revocation is in force all the same, and the mark is written again within a second.
        tracing::error!(%fault, "nothing beside the store says that it was revoked");
    }
    Ok(committed)
}
