//! Calls at a tool: it permits what the model permits, and nothing else.

use std::sync::Arc;

use sublet_core::authorize::Credentials;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::AUDIENCE;

use crate::cast;
use crate::fault::Fault;
use crate::property::{Check, Property};
use crate::world::{Held, LAG_MS_MAX, World};

impl World {
    /// P1, P2, P3, P5 and P6 at a tool: it permits what the model permits, and nothing else.
    pub(crate) fn call(
        &mut self,
        held: usize,
        probe: usize,
        receipt: bool,
        thief: Option<usize>,
    ) -> Check {
        let at = self.broker_now();
        let followed = self.tool.follow(&self.broker, at, self.now);
        let bad_feed = |bad| Property::NeverOutlive.broken(format!("the feed: {bad}"));
        let knows_all = followed.map_err(bad_feed)?;
        let Held { token, key, receipt: kept } = self.wallet[held].clone();
        let call = cast::call(probe);
        let nonce = self.nonce();
        let digest = call.arguments.digest();
        let claims =
            CallClaims::of_digest(token.id(), AUDIENCE, &call.action, digest, self.now, nonce);
        let signer = self.keys.of(thief.unwrap_or(key)).clone();
        let shown = Credentials {
            token: Some(token.encode()),
            receipt: kept.as_ref().filter(|_| receipt).map(|receipt| receipt.encode()),
            proof: CallProof::sign(claims, signer.as_ref()).unwrap().encode(),
            inclusion: None,
        };
        let verdict = self.tool.decide(&shown, &call, self.now);
        let code = verdict.as_ref().map_or_else(|refusal| refusal.code(), |()| "permitted");
        *self.counts.codes.entry(code).or_default() += 1;
        let permitted = verdict.is_ok() || self.permits_anyway(&token, probe, code);
        if thief.is_some_and(|thief| thief != key) {
            return Property::NoImpersonation
                .holds(!permitted, || "a thief is permitted".to_owned());
        }
        let covered = kept.filter(|_| receipt).map_or(0, |receipt| receipt.claims.position);
        self.check_call(&token, (probe, covered, knows_all), permitted, code)?;
        if self.dice.one_in(10)
            && !self.reference.ended.roots.contains_key(&token.root_key().thumbprint())
        {
            self.check_engine(&token, key, probe, covered)?;
        }
        if permitted && verdict.is_ok() {
            let again = self.tool.decide(&shown, &call, self.now);
            Property::NoImpersonation
                .holds(again.is_err(), || "one proof opens two calls".to_owned())?;
        }
        Ok(())
    }

    /// Whether a tool that is broken on purpose permits what it should refuse.
    fn permits_anyway(&self, token: &VerifiedToken, probe: usize, code: &str) -> bool {
        let last = &self.reference.hops[&token.id()];
        match self.broker.fault {
            Some(Fault::LastHopAlone) => code == "not_allowed" && last.mask & (1 << probe) != 0,
            Some(Fault::AnyDepth) => {
                code.starts_with("unrecorded") && self.reference.admits(&token.id(), probe)
            }
            _ => false,
        }
    }

    fn check_call(
        &self,
        token: &Arc<VerifiedToken>,
        (probe, covered, knows_all): (usize, u32, bool),
        permitted: bool,
        code: &str,
    ) -> Check {
        let (reference, id) = (&self.reference, token.id());
        let in_time = self.now.seconds() < reference.expires(&id);
        let admitted = reference.admits(&id, probe);
        let deep = reference.is_within_depth(&id, covered);
        if permitted {
            Property::NeverExceed
                .holds(admitted, || format!("probe {probe} of {id} is permitted"))?;
            Property::NeverOutlive.holds(in_time, || format!("{id} is over and permitted"))?;
            Property::EveryHopStored
                .holds(deep, || format!("{id} has more hops offline than it may"))?;
            let since = reference.ended_since(&id);
            if !knows_all {
                // What a tool does not hear of, it may permit for as long as its view is young enough.
                let bound = 10_000 + LAG_MS_MAX;
                return Property::Offline
                    .holds(since.is_none_or(|at| self.now.since(at) <= bound), || {
                        format!("{id} ended at {since:?} and is permitted at {:?}", self.now)
                    });
            }
            return Property::NeverOutlive
                .holds(since.is_none(), || format!("{id} ended at {since:?} and is permitted"));
        }
        let should = in_time && admitted && deep && reference.is_alive(&id, self.now);
        Property::Agreement.holds(!should || !knows_all, || {
            format!("probe {probe} of {id} is refused with {code}, the model permits it")
        })
    }
}
