//! Requests of the admin: profiles, agents, what of the log is kept, the broker's own keys.

use sublet_core::decide::{
    ApplyProfile, CreateAgent, CreateLegalHold, Erase, Prune, RemoveLegalHold, RestorePrincipal,
    RevokeAgentKey, RevokeJoinToken, RotateBrokerKey, SuspendAgent,
};
use sublet_core::state::Profile;
use sublet_core::trust::bundle::{KeyState, KeyUse};
use sublet_core::trust::rotation::KeyStep;

use crate::ask::{Ask, Request, Who};
use crate::cast::{AGENT_COUNT, Cap, PRINCIPALS, PROFILES, agent_id, scope_of};
use crate::joining::rule;
use crate::requests::REASON;
use crate::world::World;

impl World {
    pub(crate) fn creation(&self, agent: usize, profile: &str) -> CreateAgent {
        let join_ttl_seconds = 3_600;
        CreateAgent { agent: agent_id(agent), profile: profile.to_owned(), join_ttl_seconds }
    }

    /// A profile: all of the grid, the half of it, or with consent alone.
    pub(crate) fn profile(&mut self, name: &str, kind: usize) -> ApplyProfile {
        let caps: &[Cap] = match kind {
            1 => &[Cap { action: "fs.read", folder: "/data" }],
            _ => &[
                Cap { action: "fs.", folder: "/data" },
                Cap { action: "fs.read", folder: "/logs" },
            ],
        };
        let names = if kind == 1 { &PRINCIPALS[..2] } else { &PRINCIPALS[..] };
        ApplyProfile {
            profile: Profile {
                name: name.to_owned(),
                principals: names
                    .iter()
                    .map(|name| (*name).to_owned().try_into().unwrap())
                    .collect(),
                ttl_seconds_max: self.dice.pick(&[1_800, 7_200]),
                hops_max: self.dice.pick(&[5, 8]),
                offline_hops_max: self.dice.pick(&[1, 3]),
                fan_out_max: self.dice.pick(&[2, 4]),
                allow: scope_of(caps),
                enroll: vec![rule(kind)],
                consent_required: kind == 2,
                version: 0,
            },
        }
    }

    pub(crate) fn suspension(&mut self, agent: usize) -> Request {
        self.admin(Ask::SuspendAgent(SuspendAgent {
            agent: agent_id(agent),
            reason: REASON.into(),
        }))
    }

    pub(crate) fn of_retention(&mut self) -> Request {
        let size = self.broker.log().len();
        let index = u64::try_from(self.dice.below(size)).unwrap();
        let name = format!("hold-{}", self.dice.below(4));
        // Half of them are about the first or the last record of a hold, or the one beside it.
        let hold = self.reference.holds.values().next().copied().filter(|_| self.dice.one_in(2));
        let index = hold.map_or(index, |(from, to)| {
            let edge = if self.dice.one_in(2) { from } else { to.min(index + 1) };
            (edge + self.dice.pick(&[0, 1])).saturating_sub(1).min(u64::try_from(size).unwrap() - 1)
        });
        let reason = || REASON.to_owned();
        let ask = match self.dice.below(5) {
            0 => Ask::Prune(Prune { below: index }),
            1 | 2 => Ask::Erase(Erase { index, reason: reason() }),
            3 => {
                let to = self.dice.one_in(2).then_some(index + 3);
                Ask::CreateLegalHold(CreateLegalHold { name, from: index, to, reason: reason() })
            }
            _ => Ask::RemoveLegalHold(RemoveLegalHold { name, reason: reason() }),
        };
        let who = if self.dice.one_in(6) { self.anybody() } else { Who::Admin };
        self.by(who, ask)
    }

    pub(crate) fn of_broker_keys(&mut self) -> Request {
        let use_ =
            self.dice.pick(&[KeyUse::Delegation, KeyUse::Identity, KeyUse::Feed, KeyUse::Bundle]);
        let trust = self.broker.state().trust().clone();
        let prepared = trust.bundle().of(use_, KeyState::Prepared).next().map(|key| key.id);
        let active = trust.bundle().active(use_).map(|key| key.id);
        let root = matches!(use_, KeyUse::Delegation | KeyUse::Identity);
        let step = match (self.dice.below(12), prepared, active) {
            (0, _, Some(key)) if root => KeyStep::Taint { key },
            (1..6, Some(key), _) => KeyStep::Activate { key, at_once: self.dice.one_in(2) },
            (6, Some(key), _) => KeyStep::Retire { key },
            (7, _, _) => KeyStep::Reissue,
            _ => KeyStep::Prepare { use_, lead_ms: self.dice.pick(&[0, 60_000]) },
        };
        let made = trust.bundle().makes(&step).map(|_| self.make_broker_key());
        self.admin(Ask::RotateBrokerKey(RotateBrokerKey { step, reason: REASON.into(), made }))
    }

    pub(crate) fn of_admin(&mut self) -> Request {
        let gone = self.reference.ended.principals.keys().min_by_key(|name| name.as_str()).cloned();
        if let Some(principal) = gone.filter(|_| self.dice.one_in(2)) {
            let restore = RestorePrincipal { principal, reason: REASON.to_owned() };
            return self.admin(Ask::RestorePrincipal(restore));
        }
        let agent = self.dice.below(AGENT_COUNT);
        let id = agent_id(agent);
        let reason = REASON.to_owned();
        let kind = self.dice.below(3);
        match self.dice.below(20) {
            0..3 => {
                let profile = self.profile(PROFILES[kind], kind);
                self.admin(Ask::ApplyProfile(profile))
            }
            3..5 => self.suspension(agent),
            5 => self.admin(Ask::RevokeAgentKey(RevokeAgentKey { agent: id, reason })),
            6..9 => self.invitation(),
            9 => match self.dice.recent(self.invitations.len(), 6) {
                Some(number) => {
                    let id = self.invitations[number].1.id.clone();
                    self.admin(Ask::RevokeJoinToken(RevokeJoinToken { id }))
                }
                None => self.invitation(),
            },
            10..13 => match self.dice.recent(self.invitations.len(), 6) {
                Some(number) => self.enrolling(number),
                None => self.invitation(),
            },
            13 => {
                let who = self.anybody();
                self.by(who, Ask::SuspendAgent(SuspendAgent { agent: id, reason }))
            }
            _ => {
                let waiting =
                    (0..AGENT_COUNT).find(|agent| !self.reference.is_active(&agent_id(*agent)));
                self.rejoin(waiting.unwrap_or(agent))
            }
        }
    }
}
