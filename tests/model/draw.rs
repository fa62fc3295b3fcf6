//! What happens next: events drawn from the dice, and from what is there at this moment.

use crate::ask::{Ask, Request, Who};
use crate::cast::{
    ACTIONS, AGENT_COUNT, Cap, FOLDERS, LOGINS, PROBE_COUNT, PROFILES, agent_id, scope_of,
};
use crate::event::Event;
use crate::hops::{HopPlan, To};
use crate::reference::Reference;
use crate::world::{LAG_MS_MAX, World};
use sublet_core::base::id::HopId;
use sublet_core::base::sign::Signer as _;
use sublet_core::capability::Scope;

/// The events with which a world begins: profiles, then agents, then their keys.
pub(crate) const PRELUDE: u64 = 3 + 2 * CREATED as u64;

/// Agents that the admin creates; the last one comes in by another's word.
const CREATED: usize = AGENT_COUNT - 1;

impl World {
    /// The event of this number.
    pub(crate) fn draw(&mut self, number: u64) -> Event {
        if number < PRELUDE {
            return self.prelude(usize::try_from(number).unwrap());
        }
        if self.tool.cut_off {
            match self.dice.below(25) {
                0 => return Event::CutOff(false),
                1 => return Event::Clock(self.dice.pick(&[2_000, 8_000, 15_000])),
                2..6 => return self.draw_call(),
                6 => return Event::Ask(self.revocation(), false),
                _ => {}
            }
        }
        match self.dice.below(1000) {
            0..190 => self.draw_hop(),
            190..330 => self.draw_call(),
            330..770 => {
                let request = self.draw_request();
                let again = self.dice.one_in(6);
                Event::Ask(request, again)
            }
            770..840 => self.draw_beside(),
            840..865 => Event::CrashBeforeWrite(self.draw_request()),
            865..890 => Event::CrashBeforeApply(self.draw_request()),
            890..900 => Event::Crash,
            900..925 => {
                let (request, keys) = (self.draw_request(), self.keys.len());
                let thief = self.dice.below(keys);
                let own = self.shown(&request.who).map(|held| held.key);
                let fake =
                    matches!(request.who, Who::User(_) | Who::NewKey(_)) || own == Some(thief);
                if fake { Event::Ask(request, false) } else { Event::Steal(request, thief) }
            }
            925..965 => Event::Clock(self.draw_time()),
            965..975 => Event::Lag(self.dice.pick(&[0, 0, 500, 1_500, LAG_MS_MAX])),
            975..985 => Event::Forget(self.dice.pick(&[60_000, 300_000, 1_200_000])),
            985..990 => Event::Sweep,
            _ => Event::CutOff(true),
        }
    }

    fn prelude(&mut self, number: usize) -> Event {
        let request = match number {
            0..3 => {
                let profile = self.profile(PROFILES[number], number);
                self.admin(Ask::ApplyProfile(profile))
            }
            _ if number < 3 + CREATED => {
                let agent = number - 3;
                self.admin(Ask::CreateAgent(self.creation(agent, PROFILES[agent % 3])))
            }
            _ => self.enrolling(self.invitations.len().min(number - 3 - CREATED)),
        };
        Event::Ask(request, false)
    }

    /// Most steps are short; some are as long as a delegation, a few longer than all of them.
    fn draw_time(&mut self) -> i64 {
        match self.dice.below(100) {
            0..70 => 1 + i64::try_from(self.dice.below(5_000)).unwrap(),
            70..92 => 1_000 * i64::try_from(self.dice.below(60)).unwrap(),
            92..99 => 60_000 * i64::try_from(self.dice.below(10)).unwrap(),
            _ => 3_600_000 * i64::try_from(1 + self.dice.below(8)).unwrap(),
        }
    }

    /// A scope of one to three capabilities.
    pub(crate) fn draw_scope(&mut self) -> Scope {
        let count = 1 + self.dice.below(3);
        let mut caps: Vec<Cap> = Vec::new();
        for _ in 0..count {
            let cap = Cap { action: self.dice.pick(&ACTIONS), folder: self.dice.pick(&FOLDERS) };
            if !caps.contains(&cap) {
                caps.push(cap);
            }
        }
        scope_of(&caps)
    }

    /// A scope that is often within another: some of its capabilities, some of them narrower.
    fn draw_narrower(&mut self, held: &Scope) -> Scope {
        if self.dice.one_in(5) {
            return self.draw_scope();
        }
        let texts: Vec<String> = held.capabilities().iter().map(ToString::to_string).collect();
        let text = texts[self.dice.below(texts.len())].clone();
        let (action, rest) = text.split_once('@').unwrap();
        let (_, folder) = rest.split_once("path=under:").unwrap();
        let below: Vec<&str> =
            FOLDERS.into_iter().filter(|other| other.starts_with(folder)).collect();
        let actions: Vec<&str> =
            ACTIONS.into_iter().filter(|other| other.starts_with(action)).collect();
        scope_of(&[Cap { action: self.dice.pick(&actions), folder: self.dice.pick(&below) }])
    }

    fn draw_hop(&mut self) -> Event {
        let Some(held) = self.held(24) else { return self.draw_issue_event() };
        let last = self.wallet[held].token.last().block().clone();
        let forged = self.dice.one_in(12);
        let scope = match forged {
            true => self.draw_scope(),
            false => self.draw_narrower(last.scope.as_ref().unwrap()),
        };
        let left = last.not_after - self.now.seconds();
        let ttl_seconds = match self.dice.below(20) {
            0 => left + 60,
            1 => 3,
            2..8 => left.max(1),
            _ => (left - i64::try_from(self.dice.below(300)).unwrap()).max(2),
        };
        let wider = self.dice.one_in(15);
        let bound = |dice: &mut crate::dice::Dice, held: u32| match dice.below(8) {
            0 => Some(held.saturating_sub(1)),
            _ if wider => Some(held + 1),
            _ => None,
        };
        let (hops_max, offline_max) =
            (bound(&mut self.dice, last.hops_max), bound(&mut self.dice, last.offline_hops_max));
        let to = self.draw_recipient();
        Event::Hop(HopPlan { held, to, scope, ttl_seconds, hops_max, offline_max, forged })
    }

    /// Most hops go to agents with their current keys and to helpers; some to a stranger's key in an agent's name.
    fn draw_recipient(&mut self) -> To {
        match self.dice.below(20) {
            0..9 => To::Helper,
            9..12 => To::Oneself,
            12 => {
                let key = self.keys.make();
                To::Agent(self.dice.below(AGENT_COUNT), key)
            }
            13 => To::Agent(self.dice.below(AGENT_COUNT), self.dice.below(self.keys.len())),
            _ => {
                let agent = self.dice.below(AGENT_COUNT);
                let facts = self.reference.agents.get(&agent_id(agent));
                let key = facts.and_then(|facts| facts.key).and_then(|key| self.keys.number(&key));
                key.map_or(To::Helper, |key| To::Agent(agent, key))
            }
        }
    }

    fn draw_call(&mut self) -> Event {
        let (kind, now) = (self.dice.below(6), self.now.seconds());
        let held = match kind {
            // What a tool that is cut off has not heard of.
            0..3 if self.tool.cut_off => self.last_where(|reference, id| {
                reference.ended_since(id).is_some() && now < reference.expires(id)
            }),
            0 => self.last_where(|reference, id| {
                let chain = reference.chain(id);
                let wider = chain.windows(2).any(|pair| pair[1].mask & !pair[0].mask != 0);
                wider && reference.is_within_depth(id, 0) && reference.is_alive(id, self.now)
            }),
            _ => None,
        };
        let Some(held) = held.or_else(|| self.held(40)) else { return self.draw_issue_event() };
        let id = self.wallet[held].token.id();
        let mut probe = self.dice.below(PROBE_COUNT);
        // Half of the calls are ones that the last hop admits, and best the hops before it do not.
        if self.dice.one_in(2) {
            let mask = self.reference.hops[&id].mask;
            let of_last = |bit: &usize| mask & (1 << bit) != 0;
            let beyond = |bit: &usize| of_last(bit) && !self.reference.admits(&id, *bit);
            let found = (0..PROBE_COUNT).rfind(beyond).or_else(|| (0..PROBE_COUNT).rfind(of_last));
            probe = found.unwrap_or(probe);
        }
        let thief = self.dice.one_in(12).then(|| self.dice.below(self.keys.len()));
        Event::Call { held, probe, receipt: !self.dice.one_in(4), thief }
    }

    /// Two requests on one state: the very same, or one and what it would rather not have beside it; or two hops
    /// of one holder.
    fn draw_beside(&mut self) -> Event {
        if self.dice.one_in(4)
            && let Some(held) = self.parent()
        {
            return Event::Siblings(held);
        }
        let one = self.draw_request();
        if self.dice.one_in(3) {
            let one_entropy = self.dice.one_in(2);
            return Event::Beside(Box::new((one.clone(), one)), one_entropy);
        }
        let rival = self.draw_rival(&one);
        let both = if self.dice.one_in(3) { (one, rival) } else { (rival, one) };
        Event::Beside(Box::new(both), false)
    }

    /// A recorded token that may be handed on: the one that has the most hops behind it, or any.
    fn parent(&mut self) -> Option<usize> {
        let (reference, state) = (&self.reference, self.broker.state());
        let may = |held: &crate::world::Held| {
            let id = held.token.id();
            let (depth, most) = (held.token.depth(), held.token.last().block().hops_max);
            reference.recorded.contains_key(&id)
                && depth < most
                && reference.is_alive(&id, self.now)
        };
        let recent = self.wallet.iter().enumerate().rev().filter(|(_, held)| may(held)).take(12);
        let open: Vec<(u32, usize)> = recent
            .map(|(number, held)| {
                let allowed = reference.fan_out[&held.token.delegation()];
                let left = allowed.saturating_sub(state.followers(&held.token.id()));
                (left, number)
            })
            .filter(|(left, _)| *left > 0)
            .collect();
        match self.dice.one_in(3) {
            true if !open.is_empty() => Some(self.dice.pick(&open).1),
            _ => open.into_iter().min().map(|(_, number)| number),
        }
    }

    /// Something that the other request would rather not have beside it.
    fn draw_rival(&mut self, one: &Request) -> Request {
        let token = match &one.ask {
            Ask::Delegate(op) => Some(op.token.clone()),
            Ask::RecordHop(op) => Some(op.token.clone()),
            _ => None,
        };
        let kind = self.dice.below(6);
        match (&one.ask, token, &one.who) {
            (Ask::Enroll(op), _, _) => self.rival_of_enrollment(op),
            (_, Some(token), _) if kind == 0 => self.sibling(&token),
            (_, Some(token), _) => self.rival_of_chain(&token, kind),
            (_, _, Who::Agent(agent, _)) if kind < 3 => self.suspension(*agent),
            (_, _, Who::Holder(held)) if kind < 3 => self.revocation_of(*held),
            _ => self.draw_request(),
        }
    }

    fn draw_issue_event(&mut self) -> Event {
        let agent = self.dice.below(AGENT_COUNT);
        let request = self.issue(agent);
        Event::Ask(request, false)
    }

    /// A request of any kind.
    pub(crate) fn draw_request(&mut self) -> Request {
        match self.dice.below(100) {
            0..18 => {
                let agent = self.dice.below(AGENT_COUNT);
                self.issue(agent)
            }
            18..50 => self.delegation(),
            50..60 => self.recording(),
            60..65 => self.revocation(),
            65..76 => self.of_agent(),
            76..82 => self.of_sessions(),
            82..87 => self.of_uses(),
            87..91 => self.of_retention(),
            91..92 => self.of_broker_keys(),
            _ => self.of_admin(),
        }
    }

    /// An agent with its last identity; once in a while with an older one.
    pub(crate) fn agent(&mut self, agent: usize) -> Option<Who> {
        let count = self.identities.get(&agent).map_or(0, Vec::len);
        let back = if self.dice.one_in(15) { self.dice.below(count) } else { 0 };
        (count > 0).then_some(Who::Agent(agent, back))
    }

    /// Anybody.
    pub(crate) fn anybody(&mut self) -> Who {
        let agent = self.dice.below(AGENT_COUNT);
        match self.dice.below(10) {
            0 => Who::Admin,
            1 => Who::User(self.dice.below(LOGINS)),
            2..6 => self.agent(agent).unwrap_or(Who::Admin),
            _ => self.held(30).map_or(Who::Admin, Who::Holder),
        }
    }

    /// One of the last tokens, most often one that is alive.
    pub(crate) fn held(&mut self, most: usize) -> Option<usize> {
        if self.dice.one_in(8) {
            return self.dice.recent(self.wallet.len(), most);
        }
        let now = self.now;
        let alive = self.wallet.iter().enumerate().rev();
        let alive = alive.filter(|(_, held)| self.reference.is_alive(&held.token.id(), now));
        let alive: Vec<usize> = alive.map(|(number, _)| number).take(most).collect();
        (!alive.is_empty()).then(|| self.dice.pick(&alive))
    }

    /// The last token of which this holds, among the last hundred.
    fn last_where(&self, holds: impl Fn(&Reference, &HopId) -> bool) -> Option<usize> {
        let recent = self.wallet.iter().enumerate().rev().take(100);
        let mut meant = recent.filter(|(_, held)| holds(&self.reference, &held.token.id()));
        meant.next().map(|(number, _)| number)
    }

    /// The public half of a new key.
    pub(crate) fn public_key(&mut self) -> sublet_core::base::key::PublicKey {
        let number = self.keys.make();
        self.keys.of(number).public_key().clone()
    }
}
