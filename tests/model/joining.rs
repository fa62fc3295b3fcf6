//! Requests by which agents come in, and come back: join tokens, and the word of others about workloads.

use sublet_core::base::json::Json;
use sublet_core::decide::{CreateJoinToken, Credential, Enroll, ResumeAgent, RevokeJoinToken};
use sublet_core::evidence::workload::{Attested, EnrollRule};

use crate::ask::{Ask, Request, Who};
use crate::cast::{AGENT_COUNT, PROFILES, agent_id};
use crate::world::World;

/// Whose word about workloads counts.
const ISSUER: &str = "https://ci.example";

/// The rule of a profile: workloads of its team are agents with it, by their names.
pub(crate) fn rule(kind: usize) -> EnrollRule {
    let claims = [("team".to_owned(), PROFILES[kind].to_owned())].into();
    EnrollRule { issuer: ISSUER.into(), claims, agent: "agent/{name}".into(), rekey: kind == 0 }
}

impl World {
    /// Someone comes in with a join token, with a new key or one that was used before.
    pub(crate) fn enrolling(&mut self, invitation: usize) -> Request {
        let Some((_, given)) = self.invitations.get(invitation) else { return self.invitation() };
        let credential = Credential::from_join_token(&given.join_token).unwrap();
        let key =
            if self.dice.one_in(8) { self.dice.below(self.keys.len()) } else { self.keys.make() };
        let key = key.min(self.keys.len().saturating_sub(1));
        let key = if self.keys.len() == 0 { self.keys.make() } else { key };
        self.by(Who::NewKey(key), Ask::Enroll(Enroll { credential, agent: None }))
    }

    /// The same credential with another key, or its end.
    pub(crate) fn rival_of_enrollment(&mut self, op: &Enroll) -> Request {
        match &op.credential {
            Credential::JoinToken { id, .. } if self.dice.one_in(2) => {
                self.admin(Ask::RevokeJoinToken(RevokeJoinToken { id: id.clone() }))
            }
            _ => {
                let key = self.keys.make();
                self.by(Who::NewKey(key), Ask::Enroll(op.clone()))
            }
        }
    }

    /// A workload comes in by another's word: a token that is good once.
    fn attesting(&mut self, agent: usize) -> Request {
        let team = if self.dice.one_in(10) { self.dice.below(3) } else { agent % 3 };
        let ttl_ms = self.dice.pick(&[0, 60_000, 600_000]);
        let name = agent_id(agent).path().trim_start_matches("agent/").to_owned();
        let claims = format!(r#"{{"name":"{name}","team":"{}"}}"#, PROFILES[team]);
        let used = self.dice.one_in(5);
        let last = self.reference.spent.iter().max_by_key(|(_, until)| **until).filter(|_| used);
        let last = last.map(|(id, until)| (*id, *until));
        let new = (self.entropy().0, self.broker_now().plus_ms(ttl_ms));
        let (id, expires_at) = last.unwrap_or(new);
        let shown = Attested {
            method: "jwt",
            issuer: ISSUER.into(),
            claims: Json::parse(claims.as_bytes()).unwrap(),
            id,
            once: true,
            expires_at,
        };
        let key = self.keys.make();
        let credential = Credential::Attested(Box::new(shown));
        self.by(Who::NewKey(key), Ask::Enroll(Enroll { credential, agent: None }))
    }

    pub(crate) fn invitation(&mut self) -> Request {
        let agent = agent_id(self.dice.below(AGENT_COUNT));
        let ttl_seconds = self.dice.pick(&[10, 600, 90_000]);
        self.admin(Ask::CreateJoinToken(CreateJoinToken { agent, ttl_seconds }))
    }

    /// What brings an agent back: it is resumed, invited or comes in.
    pub(crate) fn rejoin(&mut self, agent: usize) -> Request {
        let id = agent_id(agent);
        if self.reference.agents.get(&id).is_some_and(|facts| facts.suspended) {
            return self.admin(Ask::ResumeAgent(ResumeAgent { agent: id }));
        }
        if self.dice.one_in(4) {
            return self.attesting(agent);
        }
        let open = self.invitations.iter().rposition(|(of, given)| {
            *of == agent
                && self
                    .reference
                    .invitations
                    .get(&given.id)
                    .is_some_and(|row| row.open && row.expires_at > self.broker_now())
        });
        match open {
            Some(number) => self.enrolling(number),
            None if self.reference.agents.contains_key(&id) => {
                self.admin(Ask::CreateJoinToken(CreateJoinToken { agent: id, ttl_seconds: 600 }))
            }
            None => self.admin(Ask::CreateAgent(self.creation(agent, PROFILES[agent % 3]))),
        }
    }
}
