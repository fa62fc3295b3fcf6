//! The road of one request through the broker, and what is held against the model on it: decide, apply, write,
//! answer.

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::decide::caller::{Account, Caller};
use sublet_core::decide::{Entropy, check_repeats};
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::evidence::record::{Actor, Body};
use sublet_core::refusal::{Deny, Refusal};
use sublet_core::state::rows::answers::{AnswerKey, GivenAnswer};
use sublet_core::state::{Change, Precondition, Row, RowKey};
use sublet_core::trust::bundle::KeyUse;

use crate::ask::{Ask, Decided, Granted, Request};
use crate::fault::Fault;
use crate::property::{Check, Property};
use crate::world::{Held, World};

/// A request that was decided.
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) caller: Caller,
    pub(crate) actor: Actor,
    pub(crate) decided: Decided,
    pub(crate) now: UnixMillis,
    /// Whether the caller was alive when it was decided.
    pub(crate) is_alive: bool,
}

/// What came of a commit.
pub(crate) enum Outcome {
    /// Granted, and something changed.
    Granted(Box<Granted>),
    /// Granted, and there was nothing to change.
    Read,
    /// Refused.
    Refused,
    /// What it rests on has changed: nothing was applied.
    Outdated,
}

impl World {
    /// Shows who asks, and decides; `None` where nobody is shown.
    pub(crate) fn prepare(&mut self, request: &Request, entropy: &Entropy) -> Option<Pending> {
        let now = self.broker_now();
        let caller = match self.caller(&request.who, request.ask.method(), None) {
            Ok(caller) => caller,
            Err(refusal) => {
                self.count_refusal(request, &refusal);
                return None;
            }
        };
        let actor = self.actor(&request.who);
        let is_alive = self.is_caller_alive(request, &caller, now);
        let decided = self.broker.decide(&caller, &request.ask, now, entropy);
        Some(Pending { request: request.clone(), caller, actor, decided, now, is_alive })
    }

    fn count_refusal(&mut self, request: &Request, refusal: &Refusal) {
        self.count(request, 2);
        *self.counts.codes.entry(refusal.code()).or_default() += 1;
    }

    /// Applies what was decided, and holds it against the model.
    pub(crate) fn commit(&mut self, pending: &Pending) -> Check<Outcome> {
        let Pending { request, caller, actor, decided, now, is_alive } = pending;
        self.check_refusal(decided)?;
        let mut effects = decided.effects.clone();
        if effects.is_empty() {
            if let Err(deny) = &decided.outcome {
                *self.counts.codes.entry(deny.code()).or_default() += 1;
            }
            self.count(request, if decided.outcome.is_ok() { 0 } else { 1 });
            return Ok(if decided.outcome.is_ok() { Outcome::Read } else { Outcome::Refused });
        }
        if let (Some(key), Ok(Granted::Issued(issued))) = (request.keyed, &decided.outcome) {
            let name = answer_name(caller, request, key);
            effects.preconditions.push(Precondition::absent(RowKey::Answer(name.clone())));
            effects.mutations.push(
                GivenAnswer {
                    name,
                    account: caller.account().unwrap_or(Account::Admin),
                    identity_of: None,
                    request: [0; 32],
                    answer: Some(serde_json::to_vec(issued).unwrap().into()),
                    expires_at: now.plus_ms(600_000),
                }
                .into(),
            );
        }
        let Ok(applied) = self.broker.apply(effects, *now) else {
            self.count(request, 3);
            return Ok(Outcome::Outdated);
        };
        let times = applied.records.iter().filter_map(|entry| entry.place).map(|place| place.time);
        Property::EveryHopStored.holds(times.clone().all(|time| time >= *now), || {
            format!("records of {:?} are decided at {now:?}", times.collect::<Vec<_>>())
        })?;
        match &decided.outcome {
            Ok(granted) => {
                Property::NeverOutlive.holds(*is_alive, || {
                    format!("a caller that is not alive is granted: {request}")
                })?;
                self.judge(request, caller, *now)?;
                self.check_records(&applied.records, actor)?;
                self.learn(request, granted, &applied.records, *now)?;
                self.check_uses(&applied.records)?;
                self.check_recorded(&request.ask)?;
                self.count(request, 0);
                Ok(Outcome::Granted(granted.clone().into()))
            }
            Err(deny) => {
                self.check_records(&applied.records, actor)?;
                check_changes(self, deny, &applied.changes)?;
                if let Deny::IdentityCloned { agent } = deny {
                    self.learn_suspension(agent, *now);
                }
                self.count(request, 1);
                *self.counts.codes.entry(deny.code()).or_default() += 1;
                Ok(Outcome::Refused)
            }
        }
    }

    /// A refusal has one record and changes nothing; that of a caller that is not alive leaves no trace.
    fn check_refusal(&self, decided: &Decided) -> Check {
        let Err(deny) = &decided.outcome else { return Ok(()) };
        let (records, mutations) = (&decided.effects.records, &decided.effects.mutations);
        let stops = matches!(deny, Deny::IdentityCloned { .. });
        let refused =
            |body: &Body| matches!(body, Body::Refused { code, .. } if *code == deny.code());
        let as_refused = match decided.is_dead {
            true => decided.effects.is_empty(),
            false => {
                records.first().is_some_and(|record| refused(&record.body))
                    && (stops || (records.len() == 1 && mutations.is_empty()))
            }
        };
        Property::Refusal.holds(as_refused, || {
            format!("the refusal {} changes {mutations:?} and records {records:?}", deny.code())
        })
    }

    /// P5: once a hop is granted, every hop of its chain is in the log.
    fn check_recorded(&self, ask: &Ask) -> Check {
        let token = match ask {
            Ask::Delegate(op) => &op.token,
            Ask::RecordHop(op) => &op.token,
            _ => return Ok(()),
        };
        let missing = token.hops().find(|(id, _)| !self.reference.recorded.contains_key(id));
        Property::EveryHopStored.holds(missing.is_none(), || {
            format!("hop {} was granted and has no record", missing.unwrap().0)
        })
    }

    /// Hands out what was granted and is written.
    pub(crate) fn deliver(&mut self, pending: &Pending, granted: &Granted) -> Check {
        match granted {
            Granted::Identity(bytes) => {
                let Some(token) = self.taken(bytes)? else { return Ok(()) };
                let key = self.keys.number(&token.holder_key().thumbprint()).unwrap();
                let name = token.root().agent.clone();
                let agent =
                    (0..crate::cast::AGENT_COUNT).find(|n| crate::cast::agent_id(*n) == name);
                let held = Held { token: token.into(), key, receipt: None };
                self.identities.entry(agent.unwrap()).or_default().push(held);
            }
            Granted::Issued(issued) => {
                let Some(token) = self.taken(&issued.token)? else { return Ok(()) };
                let key = self.keys.number(&issued.key).unwrap();
                self.check_stock(&issued.token, key)?;
                let receipt = self.receipt(&issued.hop)?;
                self.wallet.push(Held { token: token.into(), key, receipt });
            }
            Granted::Recording(recording) => {
                let receipt = self.receipt(&recording.hop)?;
                if let Some(number) = self.holder_of(&recording.hop) {
                    self.wallet[number].receipt = receipt;
                }
            }
            Granted::Invitation(given) => {
                let agent = match &pending.request.ask {
                    Ask::CreateAgent(op) => &op.agent,
                    Ask::CreateJoinToken(op) => &op.agent,
                    _ => return Ok(()),
                };
                let number =
                    (0..crate::cast::AGENT_COUNT).find(|n| crate::cast::agent_id(*n) == *agent);
                self.invitations.push((number.unwrap(), given.clone()));
            }
            Granted::Session(session) => self.sessions.push(session.id),
            Granted::Ended | Granted::Restored(_) | Granted::Other => {}
        }
        Ok(())
    }

    /// The receipt of a hop, as the broker gives it with an answer: of a chain that is alive alone.
    fn receipt(&self, hop: &HopId) -> Check<Option<Receipt>> {
        let state = self.broker.state();
        let basis = state.basis(Some(hop));
        let status = basis.hop;
        let status = status.ok_or_else(|| {
            Property::EveryHopStored.broken(format!("hop {hop} was granted and has no row"))
        })?;
        let chain = self.reference.chain(hop);
        let indices: Vec<Option<u64>> =
            chain.iter().map(|facts| self.index_of(&facts.id)).collect();
        let named: Vec<Option<u64>> = status.indices.iter().copied().map(Some).collect();
        Property::EveryHopStored.holds(named == indices, || {
            format!("the receipt of {hop} names {named:?}, the records are {indices:?}")
        })?;
        if !status.is_alive {
            return Ok(None);
        }
        let key = basis.trust.bundle().active(KeyUse::Receipt).unwrap();
        let now = self.broker_now();
        if now < key.not_before {
            // The clock was set back: nobody would accept a receipt of this moment.
            return Ok(None);
        }
        let claims = ReceiptClaims {
            issuer: state.domain().issuer(),
            origin: state.domain().ledger_origin(),
            hop: *hop,
            position: chain.last().unwrap().position,
            indices: status.indices,
            recorded_at: now,
            as_of: now,
            revocation_epoch: 1,
            revocation_sequence: basis.revocation_sequence,
            fresh_until: now.plus_ms(10_000),
        };
        Ok(Some(Receipt::sign(claims, key.id, self.broker.signers.of(key)).unwrap()))
    }

    /// Asks the same again: it is granted once more, and nothing is recorded.
    pub(crate) fn repeat(&mut self, request: &Request, granted: &Granted) -> Check {
        let entropy = self.entropy();
        if let (Some(key), Granted::Issued(issued)) = (request.keyed, granted) {
            return self.repeat_keyed(request, key, issued);
        }
        let Some(again) = self.prepare(request, &entropy) else { return Ok(()) };
        let mut again = again;
        if self.has(Fault::RecordsAgain) && again.decided.effects.is_empty() {
            let record = sublet_core::evidence::record::Record {
                delegation: None,
                actor: again.actor.clone(),
                body: Body::Exported { what: "again".into() },
            };
            again.decided.effects.records.push(record);
        }
        if !is_idempotent(&request.ask) || again.decided.is_dead {
            return Ok(());
        }
        let silent = again.decided.outcome.is_ok() && again.decided.effects.is_empty();
        Property::Repeat.holds(silent, || {
            format!(
                "{request}: again it is {:?} and does {:?}",
                again.decided.outcome, again.decided.effects
            )
        })
    }

    fn repeat_keyed(
        &mut self,
        request: &Request,
        key: [u8; 16],
        issued: &sublet_core::decide::Issued,
    ) -> Check {
        let now = self.broker_now();
        let Ok(caller) = self.caller(&request.who, request.ask.method(), None) else {
            return Ok(());
        };
        let view = self.broker.view();
        if check_repeats(view, &caller, request.ask.method(), now).is_err() {
            return Ok(());
        }
        let kept = view.state.answers().get(&answer_name(&caller, request, key));
        let answer = kept.and_then(|kept| kept.answer.as_ref());
        let same = answer.is_some_and(|answer| **answer == serde_json::to_vec(issued).unwrap());
        Property::Repeat
            .holds(same, || format!("{request}: the answer of before is not kept: {kept:?}"))
    }
}

/// What of a refusal may change: the count of a delegation's records, and an agent that is locked.
fn check_changes(world: &World, deny: &Deny, changes: &[Change]) -> Check {
    let stops = matches!(deny, Deny::IdentityCloned { .. });
    let state = world.broker.state();
    let other = changes.iter().find(|change| match change {
        Change::Put(row) => match &**row {
            Row::Delegation(row) => state.delegation(&row.id).is_none_or(|before| {
                let same = sublet_core::state::Delegation {
                    records: row.records,
                    last_leaf: row.last_leaf,
                    hops: before.hops.max(row.hops),
                    ..before.clone()
                };
                same != *row
            }),
            Row::Agent(_) | Row::Revocation(_) => !stops,
            _ => true,
        },
        Change::Forget(_) => true,
    });
    Property::Refusal
        .holds(other.is_none(), || format!("the refusal {} changes {other:?}", deny.code()))
}

fn answer_name(caller: &Caller, request: &Request, key: [u8; 16]) -> AnswerKey {
    AnswerKey { caller: caller.key().unwrap(), method: request.ask.method().to_owned(), key }
}

/// Whether to ask again changes nothing, without an idempotency key.
fn is_idempotent(ask: &Ask) -> bool {
    matches!(
        ask,
        Ask::Delegate(_)
            | Ask::RecordHop(_)
            | Ask::Revoke(_)
            | Ask::SuspendAgent(_)
            | Ask::ResumeAgent(_)
            | Ask::ApplyProfile(_)
            | Ask::RevokeJoinToken(_)
            | Ask::EndSessions(_)
            | Ask::Prune(_)
            | Ask::ReportUses(_)
            | Ask::ReportVerifierState(_)
    )
}
