//! Uses that tools report: once by their counter, with the holder's own signature.

use std::collections::HashMap;

use sublet_core::decide::BadUse;
use sublet_core::decide::{ProvenUse, ReportUses, ReportedUse};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::Body;
use sublet_core::evidence::record::UseVerdict;
use sublet_core::revocation::feed::FeedPosition;
use sublet_tests::AUDIENCE;

use crate::ask::{Ask, Request};
use crate::broker::Entry;
use crate::cast::AGENT_COUNT;
use crate::property::{Check, Property};
use crate::world::World;

/// The counters of tools: by the agent that a tool is.
pub(crate) type Counters = HashMap<usize, u64>;

impl World {
    pub(crate) fn of_uses(&mut self) -> Request {
        let agent = self.dice.below(AGENT_COUNT);
        let Some(who) = self.agent(agent) else { return self.rejoin(agent) };
        if self.wallet.is_empty() || self.dice.one_in(3) {
            let ask = self.of_state();
            return Request { who, ask, keyed: None };
        }
        let count = 1 + self.dice.below(2);
        let uses = (0..count).map(|_| self.draw_use(agent)).collect();
        Request { who, ask: Ask::ReportUses(ReportUses { uses }), keyed: None }
    }

    fn draw_use(&mut self, agent: usize) -> Result<ProvenUse, (u64, BadUse)> {
        let next = self.counters.entry(agent).or_default();
        let again = self.dice.one_in(5);
        let counter = if again { next.saturating_sub(1) } else { *next };
        *next = counter + 1;
        let number = self.dice.recent(self.wallet.len(), 20).unwrap();
        let held = self.wallet[number].clone();
        let thief = self.dice.one_in(8).then(|| self.dice.below(self.keys.len()));
        let nonce = self.nonce();
        let claims = CallClaims::new(held.token.id(), AUDIENCE, "fs.read", b"{}", self.now, nonce);
        let signer = self.keys.of(thief.unwrap_or(held.key)).clone();
        let reported = ReportedUse {
            counter,
            audience: AUDIENCE.into(),
            action: "fs.read".into(),
            verdict: UseVerdict::Allowed,
            decided_at: self.now,
            revocations: FeedPosition::new(1, 0),
            age_ms: Some(0),
            staleness_ms_max: 10_000,
            arguments: Some(b"{}".to_vec()),
            proof: CallProof::sign(claims, signer.as_ref()).unwrap(),
            receipt: None,
        };
        let token = std::sync::Arc::unwrap_or_clone(held.token);
        ProvenUse::verify(reported, token).map_err(|detail| (counter, detail))
    }

    /// A use is recorded once, and with the signature of the holder of a hop that is known.
    pub(crate) fn check_uses(&mut self, entries: &[Entry]) -> Check {
        for Entry { record, .. } in entries {
            let Body::Used(used) = &record.body else { continue };
            let agent = record.actor.name.parse().unwrap();
            let first = self.reference.uses.insert((agent, used.counter));
            Property::Repeat.holds(first, || format!("use {} is recorded twice", used.counter))?;
            let facts = self.reference.hops.get(&used.hop);
            let key = used.evidence.holder_key.thumbprint();
            let proof = CallProof::decode(&used.evidence.proof).unwrap();
            let signed = used.evidence.holder_key.verify(&proof.claims.message(), &proof.signature);
            let own = facts.is_some_and(|facts| facts.key == key)
                && signed
                && proof.claims.hop == used.hop;
            Property::NoImpersonation.holds(own, || format!("a use by another: {used:?}"))?;
        }
        Ok(())
    }
}
