//! Hops that holders make offline, by the shipped `mint` or, forged, past its checks.

use sublet_core::authorize::verify_token;
use sublet_core::base::id::HelperPath;
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::SecretKey;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Role};
use sublet_core::capability::Scope;
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::raw;

use crate::cast::agent_id;
use crate::property::Check;
use crate::world::{Held, World};

/// To whom a hop goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// An agent, with the key of this number.
    Agent(usize, usize),
    /// A new helper.
    Helper,
    /// The holder itself.
    Oneself,
}

/// A hop that a holder makes offline.
#[derive(Clone, Debug)]
pub(crate) struct HopPlan {
    /// The number of the token in the wallet.
    pub(crate) held: usize,
    pub(crate) to: To,
    pub(crate) scope: Scope,
    pub(crate) ttl_seconds: i64,
    pub(crate) hops_max: Option<u32>,
    pub(crate) offline_max: Option<u32>,
    /// Whether it is signed without asking whether it is narrower.
    pub(crate) forged: bool,
}

impl HopPlan {
    /// A hop to a helper that changes nothing else.
    pub(crate) fn to_helper(held: usize, scope: Scope) -> Self {
        let (hops_max, offline_max) = (None, None);
        HopPlan {
            held,
            to: To::Helper,
            scope,
            ttl_seconds: 60,
            hops_max,
            offline_max,
            forged: false,
        }
    }
}

impl World {
    pub(crate) fn hop(&mut self, plan: &HopPlan) -> Check {
        let held = self.wallet[plan.held].clone();
        let key = match plan.to {
            To::Agent(_, key) => key,
            To::Helper => self.keys.make(),
            To::Oneself => held.key,
        };
        let signer = self.keys.of(held.key).clone();
        let public = self.keys.of(key).public_key().clone();
        let to = match plan.to {
            To::Agent(agent, _) => Recipient::Agent { id: agent_id(agent), key: public.clone() },
            To::Helper => {
                Recipient::Helper { label: format!("h{}", self.wallet.len()), key: public.clone() }
            }
            To::Oneself => Recipient::Oneself,
        };
        let hop = Hop {
            to,
            scope: plan.scope.clone(),
            ttl_seconds: plan.ttl_seconds,
            hops_max: plan.hops_max,
            offline_hops_max: plan.offline_max,
        };
        let made = match plan.forged {
            true => self.forge(&held, &hop, &public, signer.as_ref()),
            false => mint::append(&held.token, &hop, self.now, signer.as_ref()).ok(),
        };
        let Some(token) = made else {
            self.counts.other("hop not made");
            return Ok(());
        };
        self.counts.other(if plan.forged { "hop forged" } else { "hop made" });
        self.reference.meet(&token);
        self.wallet.push(Held { token: token.into(), key, receipt: None });
        Ok(())
    }

    /// Signs a hop without asking whether it is narrower.
    fn forge(
        &self,
        held: &Held,
        hop: &Hop,
        key: &PublicKey,
        signer: &SecretKey,
    ) -> Option<VerifiedToken> {
        let last = held.token.last().block();
        let (agent, helper) = match &hop.to {
            Recipient::Agent { id, .. } => (id.clone(), None),
            Recipient::Helper { label, .. } => {
                (last.agent.clone(), HelperPath::child(last.helper.as_ref(), label).ok())
            }
            Recipient::Oneself => (last.agent.clone(), last.helper.clone()),
        };
        let block = Block {
            role: Role::Hop,
            agent,
            helper,
            not_after: self.now.seconds() + hop.ttl_seconds,
            hops_max: hop.hops_max.unwrap_or(last.hops_max),
            offline_hops_max: hop.offline_hops_max.unwrap_or(last.offline_hops_max),
            scope: Some(hop.scope.clone()),
        };
        let bytes = raw::forge(&held.token, &block, key, signer);
        verify_token(&bytes, self.broker.state().trust().bundle()).ok()
    }
}
