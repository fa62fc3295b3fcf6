//! The events of the model, and what happens at each.

use std::fmt;

use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::{Delegate, RotateBrokerKey, Unsigned, apply_key_step, sweep_sessions};
use sublet_core::evidence::record::Body;
use sublet_core::trust::rotation::due;

use crate::ask::{Ask, Granted, Request, Who};
use crate::commit::Outcome;
use crate::hops::HopPlan;
use crate::property::{Check, Property};
use crate::world::World;

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Somebody asks for something; once in a while the same again.
    Ask(Request, bool),
    /// Two requests are decided on one state, and applied one after the other; with the same randomness or not.
    Beside(Box<(Request, Request)>, bool),
    /// The holder of a token makes two hops to helpers, and has them recorded beside each other.
    Siblings(usize),
    /// The broker dies after a decision was applied, before it is written.
    CrashBeforeWrite(Request),
    /// The broker dies between a decision and its commit; what was decided comes to the next one.
    CrashBeforeApply(Request),
    /// The broker dies with nothing at hand.
    Crash,
    /// Someone with another key shows a token, or calls the admin's methods, as its holder.
    Steal(Request, usize),
    /// A holder makes a hop offline.
    Hop(HopPlan),
    /// A holder calls a tool; with its receipt or without, or someone with another key does.
    Call { held: usize, probe: usize, receipt: bool, thief: Option<usize> },
    /// Time goes on, in milliseconds.
    Clock(i64),
    /// The broker's clock is so many milliseconds behind.
    Lag(i64),
    /// The broker forgets what was over so many milliseconds ago.
    Forget(i64),
    /// The broker goes on with what was left of ended sessions.
    Sweep,
    /// The tool hears nothing of the broker, or hears it again.
    CutOff(bool),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ask(request, false) => write!(f, "{request}"),
            Event::Ask(request, true) => write!(f, "{request}; then the same again"),
            Event::Beside(both, _) => write!(f, "on one state: {}; and {}", both.0, both.1),
            Event::Siblings(held) => {
                write!(f, "on one state: two hops of the holder of token {held}")
            }
            Event::CrashBeforeWrite(request) => {
                write!(f, "{request}; the broker dies before it is written")
            }
            Event::CrashBeforeApply(request) => {
                write!(f, "{request}; the broker dies before it is applied")
            }
            Event::Crash => f.write_str("the broker dies and starts again"),
            Event::Steal(request, key) => write!(f, "key {key} acts as another: {request}"),
            Event::Hop(plan) => {
                write!(f, "the holder of token {} makes a hop: {plan:?}", plan.held)
            }
            Event::Call { held, probe, receipt, thief } => write!(
                f,
                "token {held} calls probe {probe}, receipt {receipt}, signed by another {thief:?}"
            ),
            Event::Clock(ms) => write!(f, "{ms} ms go by"),
            Event::Lag(ms) => write!(f, "the broker's clock is {ms} ms behind"),
            Event::Forget(ms) => write!(f, "the broker forgets what was over {ms} ms ago"),
            Event::Sweep => f.write_str("the broker goes on with what ended sessions left"),
            Event::CutOff(off) => write!(f, "the tool is cut off: {off}"),
        }
    }
}

impl World {
    /// Lets an event happen, and holds the properties against what came of it.
    pub(crate) fn happen(&mut self, event: &Event) -> Check {
        self.fresh.clear();
        match event {
            Event::Ask(request, again) => {
                let granted = self.ask(request)?;
                if let (Some(granted), true) = (granted, again) {
                    self.settle()?;
                    self.repeat(request, &granted)?;
                }
            }
            Event::Siblings(held) => self.siblings(*held)?,
            Event::Beside(both, same) => self.beside(&both.0, &both.1, *same)?,
            Event::CrashBeforeWrite(request) => {
                let (before, blocks) = (self.reference.clone(), self.blocks.clone());
                let entropy = self.entropy();
                if let Some(pending) = self.prepare(request, &entropy) {
                    let _ = self.commit(&pending)?;
                }
                (self.reference, self.blocks) = (before, blocks);
                self.crash()?;
            }
            Event::CrashBeforeApply(request) => {
                let entropy = self.entropy();
                let pending = self.prepare(request, &entropy);
                self.crash()?;
                if let Some(pending) = pending {
                    let outcome = self.commit(&pending)?;
                    self.broker.write();
                    if let Outcome::Granted(granted) = outcome {
                        self.check_log()?;
                        self.deliver(&pending, &granted)?;
                    }
                }
            }
            Event::Crash => self.crash()?,
            Event::Steal(request, key) => self.steal(request, *key)?,
            Event::Hop(plan) => self.hop(plan)?,
            Event::Call { held, probe, receipt, thief } => {
                self.call(*held, *probe, *receipt, *thief)?
            }
            Event::Clock(ms) => {
                self.now = self.now.plus_ms(*ms);
                self.due_keys()?;
            }
            Event::Lag(ms) => self.lag_ms = *ms,
            Event::Forget(ms) => self.broker.forget(self.broker_now().plus_ms(-ms)),
            Event::Sweep => self.sweep()?,
            Event::CutOff(off) => self.tool.cut_off = *off,
        }
        self.settle()
    }

    /// Writes what was applied, and holds the log, the bounds and the new rows against the model.
    fn settle(&mut self) -> Check {
        let from = self.broker.log().len();
        self.broker.write();
        self.check_log()?;
        let new: Vec<_> = self.broker.log()[from..]
            .iter()
            .filter_map(|entry| match &entry.record.body {
                Body::Issued(hop) | Body::HopRecorded(hop) => Some(hop.hop),
                _ => None,
            })
            .collect();
        new.iter().try_for_each(|hop| self.check_row(hop))?;
        self.judge_bounds()
    }

    /// Asks, and hands out the answer once it is written.
    fn ask(&mut self, request: &Request) -> Check<Option<Granted>> {
        let entropy = self.entropy();
        let Some(pending) = self.prepare(request, &entropy) else { return Ok(None) };
        let outcome = self.commit(&pending)?;
        self.broker.write();
        let Outcome::Granted(granted) = outcome else { return Ok(None) };
        self.check_log()?;
        self.deliver(&pending, &granted)?;
        Ok(Some(*granted))
    }

    fn siblings(&mut self, held: usize) -> Check {
        let scope = self.wallet[held].token.last().block().scope.clone().unwrap();
        let plan = HopPlan::to_helper(held, scope);
        let from = self.wallet.len();
        self.hop(&plan)?;
        self.hop(&plan)?;
        let made = self.wallet[from..]
            .iter()
            .map(|held| Ask::Delegate(Delegate { token: held.token.clone() }));
        let made: Vec<Request> =
            made.map(|ask| Request { who: Who::Holder(held), ask, keyed: None }).collect();
        match made.as_slice() {
            [one, other] => self.beside(one, other, false),
            _ => Ok(()),
        }
    }

    fn beside(&mut self, one: &Request, other: &Request, same: bool) -> Check {
        let first = self.entropy();
        let second = if same { first } else { self.entropy() };
        let pending = [self.prepare(one, &first), self.prepare(other, &second)];
        let mut granted = Vec::new();
        for pending in pending.iter().flatten() {
            if let Outcome::Granted(given) = self.commit(pending)? {
                granted.push((pending, given));
            }
        }
        self.broker.write();
        self.check_log()?;
        for (pending, given) in &granted {
            self.deliver(pending, given)?;
        }
        // What was issued beside the end of its session is in time for it; whoever ends it asks again.
        for (pending, given) in &granted {
            if let (Ask::EndSessions(_), Granted::Ended) = (&pending.request.ask, &**given) {
                self.fresh.clear();
                self.ask(&pending.request)?;
            }
        }
        Ok(())
    }

    /// P3: whoever has a token and not its key is nobody.
    fn steal(&mut self, request: &Request, key: usize) -> Check {
        let method = request.ask.method();
        let Ok(caller) = self.caller(&request.who, method, Some(key)) else {
            self.counts.other("stolen");
            return Ok(());
        };
        Err(Property::NoImpersonation.broken(format!("key {key} is taken for {caller}: {request}")))
    }

    /// Steps of the broker's keys that are due, as the broker takes them itself.
    fn due_keys(&mut self) -> Check {
        for _ in 0..16 {
            let now = self.broker_now();
            let view = self.broker.view();
            let Some(step) = due(view.trust(), &view.settings.schedule, now) else { return Ok(()) };
            let made = view.trust().makes(&step).map(|_| ());
            let made = made.map(|()| self.make_broker_key());
            let change = RotateBrokerKey { step, reason: String::new(), made };
            let own = self.broker.own_name();
            let grant = apply_key_step(self.broker.view(), &own, &change, now);
            let Ok(grant) = grant else { return Ok(()) };
            let mut effects = grant.effects;
            if let Some(Unsigned::Trust(next)) = grant.unsigned {
                effects.mutations.push(self.broker.signers.trust(&next).into());
            }
            let applied = self.broker.apply(effects, now);
            let applied =
                applied.map_err(|_| Property::Agreement.broken("nothing else was applied"))?;
            self.check_records(&applied.records, &own)?;
            self.broker.write();
            self.counts.other("key step due");
        }
        Ok(())
    }

    /// A new key of the broker: its public half.
    pub(crate) fn make_broker_key(&mut self) -> PublicKey {
        let number = self.keys.make();
        let made = self.keys.of(number).clone();
        self.broker.signers.keep(made.clone());
        made.public_key().clone()
    }

    fn sweep(&mut self) -> Check {
        let (own, now) = (self.broker.own_name(), self.broker_now());
        let effects = sweep_sessions(self.broker.view(), &own, now).effects;
        if effects.is_empty() {
            return Ok(());
        }
        let applied = self.broker.apply(effects, now);
        let applied =
            applied.map_err(|_| Property::Agreement.broken("nothing else was applied"))?;
        self.check_records(&applied.records, &own)?;
        self.learn_hops_of(&applied.records, now);
        Ok(())
    }
}
