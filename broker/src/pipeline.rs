//! Decide, then record. The only place that commits. architecture.md, "The road".
//!
//! Owns: one read before the decision, one atomic write after it, deciding again when what was
//! read has changed, and answers to requests that are repeated. Does not own: the decision.
//!
//! Invariants: a [`Recorded`] exists only after its verdict is durable, or when it left nothing to
//! record; block 0 and a trust bundle are signed before the commit and leave the process after it;
//! what follows a commit follows it whether or not the caller still waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sublet_core::bundle::SignedBundle;
use sublet_core::caller::Authenticated;
use sublet_core::decide::{self, Ask, ChangeKey, Unsigned, Verdict, View, decide};
use sublet_core::id::UnixMillis;
use sublet_core::mint;
use sublet_core::no::{Deny, Fault, No, Overload};
use sublet_core::record::{Body, Record};
use sublet_core::rotation::NextBundle;
use sublet_core::state::{AnswerKey, GivenAnswer, Guard, Write};

use crate::broker::Broker;
use crate::store::{Commit, NotCommitted, inception};
use crate::traces;

/// How often a decision is made again because what it read has changed: more than commits that
/// can change the same row within one batch are rare, and each round sees the last one's writes.
const ROUNDS_MAX: usize = 32;

/// How long a caller waits for the store before it hears a fault.
const COMMIT_DEADLINE: Duration = Duration::from_secs(8);

/// How long an answer is kept for a repeated request: a day.
const ANSWER_MS: i64 = 24 * 3600 * 1000;

/// Answers kept at once, some 1 KiB each. Beyond it requests with an idempotency key are not
/// looked at, rather than an answer forgotten too early.
const ANSWERS_MAX: usize = 500_000;

/// A verdict that is on disk and in the ledger, or that left nothing to record.
#[must_use]
pub struct Recorded<G> {
    outcome: Result<G, Deny>,
}

impl<G> Recorded<G> {
    /// Whether it was granted.
    pub fn is_granted(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Granted, or why not.
    pub fn into_outcome(self) -> Result<G, Deny> {
        self.outcome
    }
}

/// What makes a request repeatable: the caller's key for it, and what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable {
    /// The idempotency key.
    pub key: [u8; 16],
    /// SHA-256 over the request without it.
    pub request: [u8; 32],
}

/// Decides and records.
pub async fn run<A: Ask>(
    broker: &Arc<Broker>,
    authenticated: Authenticated<A>,
    repeatable: Option<Repeatable>,
    trace: Option<[u8; 16]>,
) -> Result<Recorded<A::Granted>, No> {
    let Authenticated { caller, ask } = authenticated;
    let name = repeatable.map(|repeatable| AnswerKey {
        caller: caller.to_string(),
        method: A::METHOD.to_owned(),
        key: repeatable.key,
    });
    for _ in 0..ROUNDS_MAX {
        let now = broker.clock.now();
        let entropy = broker.entropy.draw()?;
        let mut outdated = false;
        let verdict = {
            let _step = broker.step("decide");
            let state = broker.store.view()?;
            if let (Some(name), Some(repeatable)) = (&name, &repeatable) {
                if let Some(given) = state.answer(name).filter(|given| given.expires_at > now) {
                    match repeated::<A>(given, repeatable, broker.view(&state))? {
                        Some(recorded) => return Ok(recorded),
                        None => outdated = true,
                    }
                }
                if state.answers_kept() >= ANSWERS_MAX {
                    return Err(Overload::Table("answers").into());
                }
            }
            decide(broker.view(&state), &caller, &ask, now, &entropy)
        };
        if verdict.is_read() {
            return Ok(Recorded { outcome: verdict.outcome });
        }
        let verdict = signed::<A>(broker, verdict)?;
        let answer = answer::<A>(&verdict, name.as_ref().zip(repeatable.as_ref()), now)?;
        let mut commit = Commit {
            guards: verdict.guards.clone(),
            writes: verdict.writes.clone(),
            records: verdict.records.clone(),
            salt: entropy.nonce("payload").0,
            trace,
            now,
        };
        if let Some(answer) = answer {
            if !outdated {
                commit.guards.push(Guard::NoAnswer(answer.name.clone()));
            }
            commit.writes.push(Write::Answer(answer));
        }
        match record(broker, commit).await {
            Ok(()) => return Ok(Recorded { outcome: verdict.outcome }),
            Err(NotCommitted::Changed) => continue,
            Err(NotCommitted::No(no)) => return Err(no),
        }
    }
    Err(Overload::Contention.into())
}

/// Has the broker's keys sign what is granted: block 0, or the next trust bundle.
fn signed<A: Ask>(
    broker: &Broker,
    verdict: Verdict<A::Granted>,
) -> Result<Verdict<A::Granted>, No> {
    let _step = verdict.unsigned.is_some().then(|| broker.step("sign"));
    match verdict.unsigned.clone() {
        Some(Unsigned::Block(unsigned)) if verdict.outcome.is_ok() => {
            let signer = broker.keys.signers.of(&unsigned.root)?;
            let (block, holder) = (unsigned.block, &unsigned.holder_key);
            let token = mint::root(block, holder, unsigned.root.id, signer.as_ref())?;
            Ok(verdict.sign::<A>(&token))
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
    let signer = broker.keys.signers.of(&next.signer)?;
    let text = next.bundle.sign(next.signer.id, signer.as_ref()).map_err(|bad| fault(&bad))?;
    SignedBundle::read(text.into_bytes()).map_err(|bad| fault(&bad))
}

/// What is kept of the answer. Refusals are decided again: they change nothing.
fn answer<A: Ask>(
    verdict: &Verdict<A::Granted>,
    repeatable: Option<(&AnswerKey, &Repeatable)>,
    now: UnixMillis,
) -> Result<Option<GivenAnswer>, Fault> {
    let (Ok(granted), Some((name, repeatable))) = (&verdict.outcome, repeatable) else {
        return Ok(None);
    };
    let kept = A::remembered(granted).map(crate::store::cbor).transpose()?;
    Ok(Some(GivenAnswer {
        name: name.clone(),
        request: repeatable.request,
        answer: kept.map(serde_bytes::ByteBuf::from),
        expires_at: now.plus_ms(ANSWER_MS),
    }))
}

/// The answer that was given then; `None` where it is none any more.
fn repeated<A: Ask>(
    given: &GivenAnswer,
    repeatable: &Repeatable,
    view: View<'_>,
) -> Result<Option<Recorded<A::Granted>>, No> {
    let outcome = match &given.answer {
        _ if given.request != repeatable.request => Err(Deny::IdempotencyConflict),
        None => Err(Deny::SecretShownOnce),
        Some(bytes) => {
            let granted: A::Granted = crate::store::from_cbor(bytes)?;
            if !A::still_holds(&granted, view) {
                return Ok(None);
            }
            Ok(granted)
        }
    };
    Ok(Some(Recorded { outcome }))
}

/// Begins the ledger of a new broker with the keys that it signs with.
pub async fn begin(broker: &Arc<Broker>) -> Result<(), Fault> {
    if broker.store.published()?.tree.size() == 0 {
        let trust = &broker.keys.trust;
        let keys = trust.bundle().keys().iter().map(|key| Body::BrokerKey {
            use_: key.use_,
            id: key.id,
            key: key.public.thumbprint(),
            state: key.state,
            reason: String::new(),
        });
        let actor = broker.domain().issuer().to_string();
        let record = |body| Record { delegation: None, actor: actor.clone(), body };
        let records = keys.map(record).collect();
        let own = Own { writes: vec![Write::Trust(trust.clone())], records, ..Own::default() };
        own.commit(broker).await.map_err(|why| at_start("the first records", why))?;
    }
    inception::mark(&broker.config.data, &broker.domain().ledger_origin())
}

/// Ends what was issued in sessions that had ended when this broker was killed.
pub async fn sweep_sessions(broker: &Arc<Broker>) -> Result<(), Fault> {
    let grant = {
        let state = broker.store.view()?;
        let actor = broker.domain().issuer().to_string();
        decide::sweep_sessions(broker.view(&state), &actor, broker.clock.now())
    };
    if grant.writes.is_empty() {
        return Ok(());
    }
    let own = Own { guards: grant.guards, writes: grant.writes, records: grant.records };
    own.commit(broker).await.map_err(|why| at_start("what was left of ended sessions", why))
}

fn at_start(what: &str, why: NotCommitted) -> Fault {
    match why {
        NotCommitted::No(No::Fault(fault)) => fault,
        why => Fault::Internal(format!("{what}: {why:?}")),
    }
}

/// Gives up the records below an index, by the broker itself: what its configuration says.
pub async fn give_up(broker: &Arc<Broker>, below: u64) -> Result<(), NotCommitted> {
    let actor = broker.domain().issuer().to_string();
    let record = Record { delegation: None, actor, body: Body::Pruned { below } };
    let (writes, records) = (vec![Write::Floor(below)], vec![record]);
    Own { writes, records, ..Own::default() }.commit(broker).await
}

/// Takes a step in the life of the broker's keys, by the broker itself: one that is due.
pub async fn turn_keys(broker: &Arc<Broker>, change: ChangeKey) -> Result<(), NotCommitted> {
    let no = |fault: Fault| NotCommitted::No(fault.into());
    let now = broker.clock.now();
    let grant = {
        let state = broker.store.view().map_err(no)?;
        let actor = broker.domain().issuer().to_string();
        decide::turn_keys(broker.view(&state), &actor, &change, now)
            .map_err(|deny| NotCommitted::No(deny.into()))?
    };
    let Some(Unsigned::Trust(next)) = grant.unsigned else { return Ok(()) };
    let trust = Write::Trust(sign_trust(broker, &next).map_err(no)?);
    let writes = grant.writes.into_iter().chain([trust]).collect();
    Own { guards: grant.guards, writes, records: grant.records }.commit(broker).await
}

/// What the broker does of itself, with nobody asking.
#[derive(Default)]
struct Own {
    guards: Vec<Guard>,
    writes: Vec<Write>,
    records: Vec<Record>,
}

impl Own {
    async fn commit(self, broker: &Arc<Broker>) -> Result<(), NotCommitted> {
        let entropy = broker.entropy.draw().map_err(|fault| NotCommitted::No(fault.into()))?;
        let Own { guards, writes, records } = self;
        let (salt, now) = (entropy.nonce("payload").0, broker.clock.now());
        record(broker, Commit { guards, writes, records, salt, trace: None, now }).await
    }
}

/// Runs to its end, whoever has stopped waiting for it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, No>> + Send + 'static,
) -> Result<T, No> {
    let ended = tokio::spawn(traces::within_the_call(work)).await;
    ended.unwrap_or_else(|error| Err(Fault::Internal(format!("a call broke off: {error}")).into()))
}

async fn record(broker: &Arc<Broker>, commit: Commit) -> Result<(), NotCommitted> {
    let _step = broker.step("record");
    let recorded = tokio::spawn(commit_and_tell(broker.clone(), commit));
    match tokio::time::timeout(COMMIT_DEADLINE, recorded).await {
        Ok(Ok(recorded)) => recorded,
        Ok(Err(error)) => {
            Err(NotCommitted::No(Fault::Internal(format!("recording broke off: {error}")).into()))
        }
        // It may be recorded yet, and is told then.
        Err(_) => Err(NotCommitted::No(Fault::Deadline.into())),
    }
}

async fn commit_and_tell(broker: Arc<Broker>, commit: Commit) -> Result<(), NotCommitted> {
    let revokes = commit.writes.iter().any(|write| matches!(write, Write::Revocation { .. }));
    let trust = commit.writes.iter().any(|write| matches!(write, Write::Trust(_)));
    broker.store.commit(commit).await?;
    if trust {
        broker.keys_changed.notify_one();
        if let Err(fault) = broker.publish_trust() {
            // It is in force, and whoever asks gets it; the file follows with the next heartbeat.
            tracing::error!(%fault, "trust.json was not written");
        }
    }
    if revokes || trust {
        // It is in force for minting already; this is for the tools.
        broker.feed.publish(broker.clock.now()).map_err(|fault| NotCommitted::No(fault.into()))?;
    }
    Ok(())
}
