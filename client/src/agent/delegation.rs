//! A delegation token that this process holds: use it, hand it on, record it.
//!
//! Owns: [`Delegation`], the terms of a hop, proofs towards tools. Does not own: what a block says and
//! who may append it (`sublet_core::token::mint`), identities (`identity`).
//!
//! Invariants: a token is held only with its holder's key; what is handed on was checked to be
//! narrower before anyone is asked, by the code that the broker runs (SPEC 4.4); an offline hop is
//! the same block as an online one, and can be recorded later by anyone in the chain (SPEC 6); a
//! helper's key is made here and handed to nobody.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, DelegationId, HelperPath, HopId, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::Signer;
use sublet_core::capability::Scope;
use sublet_core::decide::Target;
use sublet_core::evidence::call::Arguments;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::receipt::Receipt;
use sublet_core::refusal::{Deny, Malformed};
use sublet_core::token::Presentation;
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::{Coverage, Holder, VerifiedToken};
use sublet_ledger::checkpoint::Checkpoint;
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::v1;

use crate::agent::current::Identified;
use crate::audit::chain::narrowing;
use crate::audit::published::head_keys;
use crate::broker::connect::Broker;
use crate::broker::credential::Caller;
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::ports::Ports;
use crate::tool::inclusion::Included;
use crate::trust::Trust;

/// What a hop shall be good for, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attenuation {
    /// All of what it is good for.
    pub scope: Scope,
    /// How long from now, in whole seconds.
    pub ttl: Duration,
    /// When it is over at the latest, in seconds, where that is before.
    pub no_later_than: Option<i64>,
    /// How many hops the whole chain may have, counted from its root; `None` keeps the parent's.
    pub hops_max: Option<u32>,
    /// How many of them may be without a receipt; `None` keeps the parent's.
    pub offline_hops_max: Option<u32>,
}

impl Attenuation {
    /// These capabilities for so long, and as deep as the parent allows.
    pub fn new(scope: Scope, ttl: Duration) -> Self {
        Attenuation { scope, ttl, no_later_than: None, hops_max: None, offline_hops_max: None }
    }

    /// The same from SCOPE texts: `fs.read@tool://files path=under:/data`.
    pub fn of<T: AsRef<str>>(scope: &[T], ttl: Duration) -> Result<Self, Error> {
        Ok(Attenuation::new(Scope::from_texts(scope)?, ttl))
    }

    /// Over by then, in seconds, at the latest. With `held.token().expires()` a hop is never refused for
    /// outliving what is held, whenever it is made.
    #[must_use]
    pub fn no_later_than(self, seconds: i64) -> Self {
        Attenuation { no_later_than: Some(seconds), ..self }
    }

    /// The chain may have so many hops, counted from its root.
    #[must_use]
    pub fn hops_max(self, hops: u32) -> Self {
        Attenuation { hops_max: Some(hops), ..self }
    }

    /// So many of them may be without a receipt.
    #[must_use]
    pub fn offline_hops_max(self, hops: u32) -> Self {
        Attenuation { offline_hops_max: Some(hops), ..self }
    }

    /// How long that is by now, in seconds. Where nothing is left a second is asked for, which is
    /// refused with the reason.
    pub fn ttl_seconds(&self, now: UnixMillis) -> i64 {
        let left = self.no_later_than.map(|end| end.saturating_sub(now.seconds()).max(1));
        seconds(self.ttl).min(left.unwrap_or(i64::MAX))
    }

    fn hop(&self, to: Recipient, now: UnixMillis) -> Hop {
        Hop {
            to,
            scope: self.scope.clone(),
            ttl_seconds: self.ttl_seconds(now),
            hops_max: self.hops_max,
            offline_hops_max: self.offline_hops_max,
        }
    }
}

/// Whole seconds, as blocks have them.
pub(crate) fn seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)
}

/// A delegation token with its holder's key.
#[derive(Clone)]
pub struct Delegation {
    key: Arc<dyn Signer>,
    token: Arc<VerifiedToken>,
    receipt: Option<Vec<u8>>,
    /// That its hops are in the ledger, as the broker has shown it; `None` until it is asked.
    inclusion: Option<Vec<u8>>,
    trust: Trust,
    broker: Option<Broker>,
    /// The agent that holds it, where it was opened with its identity.
    identity: Option<Arc<dyn Identified>>,
    ports: Ports,
}

impl Delegation {
    /// Opens what was handed over: `sublet1.…` in one line. The key must be the holder's, the
    /// receipt, if there is one, of this chain.
    pub fn open(text: &str, key: Arc<dyn Signer>, trust: &Trust) -> Result<Self, Error> {
        let (token, receipt) = trust.verify_text(text)?;
        Delegation::of(token, receipt, key, trust, None, Ports::system())
    }

    pub(crate) fn of(
        token: VerifiedToken,
        receipt: Option<Vec<u8>>,
        key: Arc<dyn Signer>,
        trust: &Trust,
        broker: Option<Broker>,
        ports: Ports,
    ) -> Result<Self, Error> {
        if token.is_identity() {
            let detail = "an identity token is no delegation: ask for one with it";
            return Err(Error::local("wrong_token_kind", detail));
        }
        if key.public_key() != token.holder_key() {
            let caller = format!("the holder of key {}", key.public_key().thumbprint());
            return Err(Deny::NotTheHolder { holder: token.holder().to_string(), caller }.into());
        }
        if let Some(receipt) = &receipt {
            coverage(receipt, &token, trust)?;
        }
        let (token, inclusion, identity) = (Arc::new(token), None, None);
        Ok(Delegation {
            key,
            token,
            receipt,
            inclusion,
            trust: trust.clone(),
            broker,
            identity,
            ports,
        })
    }

    /// The same token, with the identity of the agent that holds it.
    pub(crate) fn of_identity(self, identity: Arc<dyn Identified>) -> Self {
        Delegation { identity: Some(identity), ..self }
    }

    /// The same token with a broker to ask.
    #[must_use]
    pub fn with_broker(self, broker: Broker) -> Self {
        Delegation { ports: broker.ports().clone(), broker: Some(broker), ..self }
    }

    /// The same token with other clocks and randomness.
    #[must_use]
    pub fn with_ports(self, ports: Ports) -> Self {
        Delegation { ports, ..self }
    }

    /// The token.
    pub fn token(&self) -> &VerifiedToken {
        &self.token
    }

    /// The receipt's bytes, if there is one.
    pub fn receipt(&self) -> Option<&[u8]> {
        self.receipt.as_deref()
    }

    /// Who holds it: an agent, or a helper of one.
    pub fn holder(&self) -> Holder {
        self.token.holder()
    }

    /// The id of its last hop.
    pub fn id(&self) -> HopId {
        self.token.id()
    }

    /// The id of its delegation.
    pub fn delegation(&self) -> DelegationId {
        self.token.delegation()
    }

    /// Hops that no receipt covers.
    pub fn unrecorded(&self) -> u32 {
        let receipt = self.receipt().and_then(|receipt| Receipt::decode(receipt).ok());
        let covered = receipt.map_or(0, |receipt| receipt.claims.position);
        self.token.depth().saturating_sub(covered)
    }

    /// What is kept in a file: the token and its receipt, without the key.
    pub fn presentation(&self) -> Presentation {
        Presentation { token: self.token.encode(), receipt: self.receipt.clone() }
    }

    fn broker(&self) -> Result<&Broker, Error> {
        self.broker.as_ref().ok_or_else(|| {
            Error::local("no_broker", "this token was opened without a broker to ask")
        })
    }

    /// The caller that this holder is towards the broker. An agent that has changed its key since it was handed
    /// this token is known there by its identity (SPEC 5.4.3); the block that it appends is signed by the key of
    /// before all the same.
    pub fn as_caller(&self) -> Credential {
        let is_agent = self.token.last().block().helper.is_none();
        let identity = self.identity.as_ref().filter(|_| is_agent).map(|agent| agent.current());
        let changed = identity.filter(|now| now.key.public_key() != self.token.holder_key());
        if let Some(now) = changed {
            return now.credential();
        }
        Credential::holder(self.key.clone(), self.token.clone(), self.receipt.clone())
    }
}

/// Handing on.
impl Delegation {
    /// Hands a part to an enrolled agent: asks for its key, makes the hop, has it recorded. What
    /// comes back is for that agent, and useless to anyone else.
    pub async fn delegate_to_agent(
        &self,
        to: &AgentId,
        terms: &Attenuation,
    ) -> Result<Presentation, Error> {
        let key = self.key_of(to).await?;
        self.delegate_online(Recipient::Agent { id: to.clone(), key }, terms).await
    }

    /// Makes the hop and has it recorded before it is handed over.
    pub async fn delegate_online(
        &self,
        to: Recipient,
        terms: &Attenuation,
    ) -> Result<Presentation, Error> {
        let child = self.append(to, terms)?;
        let request = v1::DelegateRequest { token: child.encode() };
        let answer = self.broker()?.delegate(&self.as_caller(), request).await?;
        let broker = self.broker()?;
        let holds = |trust: &Trust| holds(&answer.receipt, &child, &answer.checkpoint, trust);
        self.trust.check(self.trust.refresh(broker), holds).await?;
        tracing::debug!(hop = %child.id(), holder = %child.holder(), "delegated");
        Ok(Presentation { token: child.encode(), receipt: Some(answer.receipt) })
    }

    /// Makes the hop without asking anyone. It carries the receipt of the hops before it; a hop
    /// to an enrolled agent opens no tool until it is recorded.
    pub fn delegate_offline(
        &self,
        to: Recipient,
        terms: &Attenuation,
    ) -> Result<Presentation, Error> {
        let child = self.append(to, terms)?;
        Ok(Presentation { token: child.encode(), receipt: self.receipt.clone() })
    }

    /// Returns what a hop would narrow, one change a line; the hop is not made. Refused as the hop would
    /// be.
    pub fn preview(&self, to: Recipient, terms: &Attenuation) -> Result<Vec<String>, Error> {
        let now = self.ports.clock.now();
        let (child, _) = mint::draft(&self.token, &terms.hop(to, now), now)?;
        Ok(narrowing(self.token.last().block(), &child))
    }

    /// These terms, cut to what this holder may hand on, and what was cut, in words.
    pub fn clamp(
        &self,
        to: Recipient,
        terms: &Attenuation,
    ) -> Result<(Attenuation, Vec<String>), Error> {
        let now = self.ports.clock.now();
        let (hop, cut) = mint::clamp(&self.token, &terms.hop(to, now), now)?;
        let (hops_max, offline_hops_max) = (hop.hops_max, hop.offline_hops_max);
        let end = self.token.expires().min(terms.no_later_than.unwrap_or(i64::MAX));
        let (ttl, no_later_than) = (terms.ttl, Some(end));
        Ok((Attenuation { scope: hop.scope, ttl, no_later_than, hops_max, offline_hops_max }, cut))
    }

    /// The current key of an enrolled agent, to hand something to it.
    pub async fn key_of(&self, agent: &AgentId) -> Result<PublicKey, Error> {
        self.broker()?.key_of(&self.as_caller(), agent).await
    }

    /// Spawns a helper of this holder with a key made now, offline. Record it, unless the root
    /// allows hops without a receipt.
    pub fn spawn_helper(&self, label: &str, terms: &Attenuation) -> Result<Delegation, Error> {
        let key = Arc::new(self.ports.new_key()?);
        let to = Recipient::Helper { label: label.to_owned(), key: key.public_key().clone() };
        let token = Arc::new(self.append(to, terms)?);
        Ok(Delegation { key, token, inclusion: None, ..self.clone() })
    }

    /// Narrows what this holder is about to use, offline: a hop to itself, under the same key.
    pub fn narrow(&self, terms: &Attenuation) -> Result<Delegation, Error> {
        let token = Arc::new(self.append(Recipient::Oneself, terms)?);
        Ok(Delegation { token, inclusion: None, ..self.clone() })
    }

    /// Has what is not recorded yet recorded, and takes the receipt. Again, it refreshes the
    /// receipt and what it staples.
    pub async fn record(&mut self) -> Result<(), Error> {
        let request = v1::RecordHopRequest { token: self.token.encode() };
        let answer = self.broker()?.record_hop(&self.as_caller(), request).await?;
        let broker = self.broker()?;
        let holds = |trust: &Trust| holds(&answer.receipt, &self.token, &answer.checkpoint, trust);
        self.trust.check(self.trust.refresh(broker), holds).await?;
        tracing::debug!(hop = %self.id(), recorded = answer.hops_recorded, "recorded");
        self.receipt = Some(answer.receipt);
        Ok(())
    }

    /// Asks for the proof that every hop is in the ledger, for tools that demand it; it is shown
    /// with every call from then on. The hops must be recorded.
    pub async fn get_inclusion_proof(&mut self) -> Result<(), Error> {
        let request = v1::GetInclusionProofRequest { token: self.token.encode() };
        let inclusion = self.broker()?.get_inclusion_proof(&self.as_caller(), request).await?;
        let inclusion = inclusion.encode_to_vec();
        let shown = |trust: &Trust| {
            let shown = Included::new().check(&self.token, Some(&inclusion), &trust.current());
            shown.map_err(Error::answer)
        };
        self.trust.check(self.trust.refresh(self.broker()?), shown).await?;
        self.inclusion = Some(inclusion);
        Ok(())
    }

    /// That its hops are in the ledger (`sublet.v1.Inclusion`); `None` until it was asked for.
    pub fn inclusion(&self) -> Option<&[u8]> {
        self.inclusion.as_deref()
    }

    /// Revokes a hop that this holder made or holds, with all below it.
    pub async fn revoke(&self, hop: HopId, reason: &str) -> Result<(), Error> {
        let (who, chain) = (self.as_caller(), self.token.encode());
        let target = Target::Hop(hop);
        self.broker()?.revoke_target(&who, &target, reason, chain).await.map(|_| ())
    }

    /// The stock form, for a verifier that knows no Sublet: a sealed Biscuit for one exact
    /// audience and action, for at most a minute. Whoever has it can use it.
    pub fn stock(&self, scope: &Scope, ttl: Duration) -> Result<Vec<u8>, Error> {
        let now = self.ports.clock.now();
        Ok(mint::stock(&self.token, scope, seconds(ttl), now, self.key.as_ref())?)
    }

    fn append(&self, to: Recipient, terms: &Attenuation) -> Result<VerifiedToken, Error> {
        let now = self.ports.clock.now();
        Ok(mint::append(&self.token, &terms.hop(to, now), now, self.key.as_ref())?)
    }
}

/// Using it.
impl Delegation {
    /// Proves one call with JSON arguments, now.
    pub fn prove(&self, audience: &str, action: &str, args: &str) -> Result<CallProof, Error> {
        let arguments = Arguments::from_json(args.as_bytes())?;
        self.prove_digest(audience, action, arguments.digest())
    }

    /// Proves one call whose arguments have this SHA-256.
    pub fn prove_digest(
        &self,
        audience: &str,
        action: &str,
        arguments: [u8; 32],
    ) -> Result<CallProof, Error> {
        let (nonce, now) = (self.ports.entropy.nonce()?, self.ports.clock.now());
        let claims =
            CallClaims::of_digest(self.token.id(), audience, action, arguments, now, nonce);
        Ok(CallProof::sign(claims, self.key.as_ref())?)
    }

    /// All that a tool wants to see for one call with JSON arguments.
    pub fn credentials_for(
        &self,
        audience: &str,
        action: &str,
        args: &str,
    ) -> Result<Credentials, Error> {
        Ok(self.credentials_with(&self.prove(audience, action, args)?))
    }

    /// A request to a gRPC tool that shows and proves this call: its arguments are the bytes of
    /// the message. For one attempt; a proof opens one call.
    pub fn request<M: Message>(
        &self,
        audience: &str,
        action: &str,
        message: M,
    ) -> Result<tonic::Request<M>, Error> {
        let proof = self.prove_digest(audience, action, sha256(&message.encode_to_vec()))?;
        let mut request = tonic::Request::new(message);
        credentials::into_metadata(&self.credentials_with(&proof), request.metadata_mut());
        Ok(request)
    }

    /// Token, receipt and this proof.
    pub fn credentials_with(&self, proof: &CallProof) -> Credentials {
        let Presentation { token, receipt } = self.presentation();
        let inclusion = self.inclusion.clone();
        Credentials { token: Some(token), receipt, proof: proof.encode(), inclusion }
    }
}

impl Caller for Delegation {
    fn credential(&self) -> Result<Credential, Error> {
        Ok(self.as_caller())
    }
}

impl fmt::Debug for Delegation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} by {})", self.id(), self.holder())
    }
}

/// The path that a helper spawned under this label will have below `parent`.
pub fn helper_path(parent: &Holder, label: &str) -> Result<HelperPath, Error> {
    Ok(HelperPath::child(parent.helper.as_ref(), label)?)
}

/// To an enrolled agent whose key is known, offline.
pub fn to_agent(id: AgentId, key: PublicKey) -> Recipient {
    Recipient::Agent { id, key }
}

/// What a receipt covers of a token.
pub fn coverage(receipt: &[u8], token: &VerifiedToken, trust: &Trust) -> Result<Coverage, Error> {
    let receipt = Receipt::decode(receipt).map_err(Malformed::Receipt)?;
    Ok(Coverage::verify(receipt, token, &trust.current())?)
}

/// What comes with a hop that was recorded: a receipt for all of its chain, and a signed head of the
/// ledger. A broker's receipt is believed as little as anyone's.
pub(crate) fn holds(
    receipt: &[u8],
    token: &VerifiedToken,
    checkpoint: &[u8],
    trust: &Trust,
) -> Result<(), Error> {
    covers_all(receipt, token, trust)?;
    is_head(checkpoint, trust)
}

fn covers_all(receipt: &[u8], token: &VerifiedToken, trust: &Trust) -> Result<(), Error> {
    let coverage = coverage(receipt, token, trust).map_err(Error::answer)?;
    if coverage.position() == token.depth() {
        Ok(())
    } else {
        Err(Error::answer("its receipt does not cover the whole chain"))
    }
}

/// A head that the ledger's key has signed, as every answer about a recorded hop brings one.
fn is_head(note: &[u8], trust: &Trust) -> Result<(), Error> {
    let head = Checkpoint::open(note, &head_keys(&trust.current()));
    head.map(drop).map_err(|bad| Error::answer(format!("the ledger's head: {bad}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::World;

    const SCOPE: [&str; 1] = ["fs.read@tool://files path=under:/data"];

    #[test]
    fn a_token_that_was_opened_without_a_broker_asks_nobody() {
        assert_eq!(World::new().issued(1).broker().unwrap_err().code(), "no_broker");
    }

    #[test]
    fn what_is_held_is_handed_on_to_its_end_whenever_the_second_turns() {
        let world = World::new();
        let held = world.issued(1);
        let (end, long) = (held.token().expires(), Duration::from_secs(3600));
        let asked = Attenuation::of(&SCOPE, long).unwrap();
        let to = || Recipient::Helper {
            label: "x".into(),
            key: world.ports.new_key().unwrap().public_key().clone(),
        };
        let (clamped, cut) = held.clamp(to(), &asked).unwrap();
        assert_eq!(cut.len(), 1);
        for terms in [clamped, asked.clone().no_later_than(end)] {
            assert_eq!(
                terms.ttl_seconds(world.ports.clock.now()),
                end - world.ports.clock.now().seconds()
            );
            world.clock.pass(1_000);
            assert_eq!(held.spawn_helper("scout", &terms).unwrap().token().expires(), end);
        }
        assert_eq!(held.spawn_helper("scout", &asked).unwrap_err().code(), "outlives_parent");
        // What ends before is not made longer, and what is over says so.
        let short = Attenuation::of(&SCOPE, Duration::from_secs(5)).unwrap().no_later_than(end);
        assert_eq!(short.ttl_seconds(world.ports.clock.now()), 5);
        world.clock.pass(3_600_000);
        assert_eq!(held.spawn_helper("scout", &short).unwrap_err().code(), "outlives_parent");
    }
}
