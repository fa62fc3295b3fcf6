//! A delegation token that this process holds: using it, attenuating it for others, recording it.
//!
//! Owns: [`Delegation`], the attenuation of a hop, proofs for tools. Does not own: what a block
//! contains and who may append it (`sublet_core::token::mint`), identities (`identity`).
//!
//! Invariants: a token is kept only together with its holder's key; before the broker is asked, a
//! new hop is checked to be narrower, by the code that the broker runs (SPEC 4.4); an offline hop
//! is the same block as an online one, and any holder in the chain can record it later (SPEC 6); a
//! helper's key is made here and given to nobody.

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
use crate::audit::published::checkpoint_keys;
use crate::broker::connect::Broker;
use crate::broker::credential::Caller;
use crate::broker::credential::Credential;
use crate::error::Error;
use crate::ports::Ports;
use crate::tool::inclusion::Included;
use crate::trust::Trust;

/// The attenuation of a new hop: its scope, its lifetime and its limits.
///
/// ```
/// use std::time::Duration;
/// use sublet_client::Attenuation;
/// use sublet_core::base::id::UnixMillis;
///
/// let scope = ["fs.read@tool://files path=under:/data/q3"];
/// let part = Attenuation::of(&scope, Duration::from_secs(300))?.hops_max(2);
/// // A hop must not outlive its parent, which ends 60 s from now here.
/// let now = UnixMillis::from_seconds(1_760_000_000);
/// let part = part.no_later_than(now.seconds() + 60);
/// assert_eq!(part.ttl_seconds(now), 60);
/// # Ok::<(), sublet_client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attenuation {
    /// The capabilities of the hop. The parent must cover all of them.
    pub scope: Scope,
    /// The lifetime of the hop, from its making. Blocks hold whole seconds; a fraction is dropped.
    pub ttl: Duration,
    /// The latest end of the hop, in seconds since 1970, if that is before the end of `ttl`; `None`
    /// sets no such bound.
    pub no_later_than: Option<i64>,
    /// The greatest number of hops of the whole chain, counted from its root; `None` keeps the
    /// parent's bound.
    pub hops_max: Option<u32>,
    /// The greatest number of hops of the whole chain that no receipt covers; `None` keeps the
    /// parent's bound.
    pub offline_hops_max: Option<u32>,
}

impl Attenuation {
    /// Returns an attenuation to `scope` for `ttl` that keeps the parent's bounds on hops.
    pub fn new(scope: Scope, ttl: Duration) -> Self {
        Attenuation { scope, ttl, no_later_than: None, hops_max: None, offline_hops_max: None }
    }

    /// Parses the scope from texts, such as `fs.read@tool://files path=under:/data`. A text that
    /// does not parse is an error.
    pub fn of<T: AsRef<str>>(scope: &[T], ttl: Duration) -> Result<Self, Error> {
        Ok(Attenuation::new(Scope::from_texts(scope)?, ttl))
    }

    /// Sets the latest end, in seconds since 1970. With `delegation.token().expires()` a hop is
    /// never refused for outliving its parent, whenever it is made.
    #[must_use]
    pub fn no_later_than(self, seconds: i64) -> Self {
        Attenuation { no_later_than: Some(seconds), ..self }
    }

    /// Sets the greatest number of hops of the whole chain, counted from its root.
    #[must_use]
    pub fn hops_max(self, hops: u32) -> Self {
        Attenuation { hops_max: Some(hops), ..self }
    }

    /// Sets the greatest number of hops of the whole chain that no receipt covers.
    #[must_use]
    pub fn offline_hops_max(self, hops: u32) -> Self {
        Attenuation { offline_hops_max: Some(hops), ..self }
    }

    /// Returns the lifetime of a hop that is made now, in seconds. When the latest end has passed
    /// it returns 1, so that making the hop is refused with the reason.
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

/// Returns whole seconds, as blocks hold them.
pub(crate) fn seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)
}

/// A delegation token together with its holder's key. `Debug` prints no key.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use sublet_client::{Attenuation, Delegation};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/doctests/world.rs")); }
/// # use {sublet_client::{Clock, Ports, SystemRandom, Trust}, sublet_core::token::Presentation};
/// # struct Fixed;
/// # impl Clock for Fixed {
/// #     fn now(&self) -> sublet_core::base::id::UnixMillis { world::NOW }
/// #     fn monotonic_ms(&self) -> u64 { 0 }
/// # }
/// # let ports = Ports { clock: Arc::new(Fixed), entropy: Arc::new(SystemRandom) };
/// # let trust = Trust::new(world::bundle());
/// # let text = Presentation { token: world::delegation().encode(), receipt: None }.to_text();
/// # let key = Arc::new(world::key(10));
///
/// let delegation = Delegation::open(&text, key, &trust)?; // `text` was handed over
/// # let delegation = delegation.with_ports(ports);
/// let part = ["fs.read@tool://files path=under:/data/q3"];
/// let part = Attenuation::of(&part, Duration::from_secs(300))?;
/// let scout = delegation.spawn_helper("scout", &part)?; // offline
/// assert_eq!(scout.holder().to_string(), "spiffe://acme.example/agent/planner#scout");
/// assert_eq!(scout.unrecorded(), 1);
///
/// let call = scout.credentials_for("tool://files", "fs.read", r#"{"path":"/data/q3/a.csv"}"#)?;
/// assert!(call.token.is_some() && !call.proof.is_empty());
/// # Ok::<(), sublet_client::Error>(())
/// ```
#[derive(Clone)]
pub struct Delegation {
    key: Arc<dyn Signer>,
    token: Arc<VerifiedToken>,
    receipt: Option<Vec<u8>>,
    /// The proof that its hops are in the ledger; `None` until [`Delegation::get_inclusion_proof`].
    inclusion: Option<Vec<u8>>,
    trust: Trust,
    broker: Option<Broker>,
    /// The agent that holds the token, if the token was opened with the agent's identity.
    identity: Option<Arc<dyn Identified>>,
    ports: Ports,
}

impl Delegation {
    /// Opens a token that was handed over, in text form (`sublet1.…`). `key` must be the holder's.
    /// A receipt in the text must be of this chain.
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

    /// Returns the same token with the identity of the agent that holds it.
    pub(crate) fn of_identity(self, identity: Arc<dyn Identified>) -> Self {
        Delegation { identity: Some(identity), ..self }
    }

    /// Returns the same token with a broker, which the methods that record or revoke need.
    #[must_use]
    pub fn with_broker(self, broker: Broker) -> Self {
        Delegation { ports: broker.ports().clone(), broker: Some(broker), ..self }
    }

    /// Returns the same token with another clock and random source.
    #[must_use]
    pub fn with_ports(self, ports: Ports) -> Self {
        Delegation { ports, ..self }
    }

    /// Returns the verified token.
    pub fn token(&self) -> &VerifiedToken {
        &self.token
    }

    /// Returns the receipt's bytes; `None` when there is no receipt.
    pub fn receipt(&self) -> Option<&[u8]> {
        self.receipt.as_deref()
    }

    /// Returns who holds the token: an agent, or a helper of an agent.
    pub fn holder(&self) -> Holder {
        self.token.holder()
    }

    /// Returns the id of the last hop.
    pub fn id(&self) -> HopId {
        self.token.id()
    }

    /// Returns the id of the delegation, which is the id of its root block.
    pub fn delegation(&self) -> DelegationId {
        self.token.delegation()
    }

    /// Returns how many hops no receipt covers.
    pub fn unrecorded(&self) -> u32 {
        let receipt = self.receipt().and_then(|receipt| Receipt::decode(receipt).ok());
        let covered = receipt.map_or(0, |receipt| receipt.claims.position);
        self.token.depth().saturating_sub(covered)
    }

    /// Returns the token and its receipt, without the key, as they are stored in a file or handed
    /// over.
    pub fn presentation(&self) -> Presentation {
        Presentation { token: self.token.encode(), receipt: self.receipt.clone() }
    }

    fn broker(&self) -> Result<&Broker, Error> {
        self.broker.as_ref().ok_or_else(|| {
            Error::local("no_broker", "this token was opened without a broker to ask")
        })
    }

    /// Returns the credential for calls to the broker. An agent that rotated its key after it
    /// received the token shows its identity instead (SPEC 5.4.3). The older key still signs the
    /// blocks that it appends.
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

/// Attenuation and delegation to others.
impl Delegation {
    /// Delegates to an enrolled agent: fetches the agent's key, makes the hop and has it recorded.
    /// Only that agent can use the returned token.
    pub async fn delegate_to_agent(
        &self,
        to: &AgentId,
        terms: &Attenuation,
    ) -> Result<Presentation, Error> {
        let key = self.key_of(to).await?;
        self.delegate_online(Recipient::Agent { id: to.clone(), key }, terms).await
    }

    /// Makes a hop and has it recorded before it is handed over.
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

    /// Makes a hop offline. The returned token carries the receipt of the hops before it. Tools
    /// refuse a hop to an enrolled agent until the hop is recorded.
    pub fn delegate_offline(
        &self,
        to: Recipient,
        terms: &Attenuation,
    ) -> Result<Presentation, Error> {
        let child = self.append(to, terms)?;
        Ok(Presentation { token: child.encode(), receipt: self.receipt.clone() })
    }

    /// Lists in words what the hop would take away, without making it. Returns the error that
    /// making the hop would return.
    pub fn preview(&self, to: Recipient, terms: &Attenuation) -> Result<Vec<String>, Error> {
        let now = self.ports.clock.now();
        let (child, _) = mint::draft(&self.token, &terms.hop(to, now), now)?;
        Ok(narrowing(self.token.last().block(), &child))
    }

    /// Cuts the terms to what this holder may delegate. Returns the cut terms, and in words what
    /// was cut.
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

    /// Fetches the current key of an enrolled agent from the broker.
    pub async fn key_of(&self, agent: &AgentId) -> Result<PublicKey, Error> {
        self.broker()?.key_of(&self.as_caller(), agent).await
    }

    /// Spawns a helper of this holder with a fresh key, offline. Record the helper, unless the root
    /// allows hops without a receipt.
    pub fn spawn_helper(&self, label: &str, terms: &Attenuation) -> Result<Delegation, Error> {
        let key = Arc::new(self.ports.new_key()?);
        let to = Recipient::Helper { label: label.to_owned(), key: key.public_key().clone() };
        let token = Arc::new(self.append(to, terms)?);
        Ok(Delegation { key, token, inclusion: None, ..self.clone() })
    }

    /// Attenuates the token for this holder's own next use, offline: a hop to itself, under the
    /// same key.
    pub fn narrow(&self, terms: &Attenuation) -> Result<Delegation, Error> {
        let token = Arc::new(self.append(Recipient::Oneself, terms)?);
        Ok(Delegation { token, inclusion: None, ..self.clone() })
    }

    /// Records the hops that are not recorded yet, and keeps the receipt. A further call refreshes
    /// the receipt and the revocation status in it.
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

    /// Fetches the proof that every hop is in the ledger, for tools that require it. The proof is
    /// then shown with every call. All hops must be recorded.
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

    /// Returns the encoded proof that the hops are in the ledger (`sublet.v1.Inclusion`); `None`
    /// before [`Delegation::get_inclusion_proof`].
    pub fn inclusion(&self) -> Option<&[u8]> {
        self.inclusion.as_deref()
    }

    /// Revokes a hop that this holder made or holds, with everything below it.
    pub async fn revoke(&self, hop: HopId, reason: &str) -> Result<(), Error> {
        let (who, chain) = (self.as_caller(), self.token.encode());
        let target = Target::Hop(hop);
        self.broker()?.revoke_target(&who, &target, reason, chain).await.map(|_| ())
    }

    /// Makes the stock form, for a verifier that knows only Biscuit: a sealed token for one exact
    /// audience and one exact action, for at most 60 s. It is a bearer token: whoever has it can
    /// use it.
    pub fn stock(&self, scope: &Scope, ttl: Duration) -> Result<Vec<u8>, Error> {
        let now = self.ports.clock.now();
        Ok(mint::stock(&self.token, scope, seconds(ttl), now, self.key.as_ref())?)
    }

    fn append(&self, to: Recipient, terms: &Attenuation) -> Result<VerifiedToken, Error> {
        let now = self.ports.clock.now();
        Ok(mint::append(&self.token, &terms.hop(to, now), now, self.key.as_ref())?)
    }
}

/// Calls to tools.
impl Delegation {
    /// Signs a call proof for one call with JSON arguments, at the current time.
    pub fn prove(&self, audience: &str, action: &str, args: &str) -> Result<CallProof, Error> {
        let arguments = Arguments::from_json(args.as_bytes())?;
        self.prove_digest(audience, action, arguments.digest())
    }

    /// Signs a call proof for one call, by the SHA-256 of its arguments.
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

    /// Returns everything that a tool needs for one call with JSON arguments: token, receipt and
    /// proof.
    pub fn credentials_for(
        &self,
        audience: &str,
        action: &str,
        args: &str,
    ) -> Result<Credentials, Error> {
        Ok(self.credentials_with(&self.prove(audience, action, args)?))
    }

    /// Returns a gRPC request with the credentials for this call. Its arguments are the bytes of
    /// the message. Use the request for one attempt: a proof is accepted once.
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

    /// Returns token, receipt and this proof.
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
        write!(f, "Delegation({} by {})", self.id(), self.holder())
    }
}

/// Returns the path of a helper that is spawned under this label below `parent`. A label that does
/// not parse is an error.
pub fn helper_path(parent: &Holder, label: &str) -> Result<HelperPath, Error> {
    Ok(HelperPath::child(parent.helper.as_ref(), label)?)
}

/// Returns the recipient of a hop to an enrolled agent with a known key.
pub fn to_agent(id: AgentId, key: PublicKey) -> Recipient {
    Recipient::Agent { id, key }
}

/// Verifies a receipt and returns which hops of the token it covers.
pub fn coverage(receipt: &[u8], token: &VerifiedToken, trust: &Trust) -> Result<Coverage, Error> {
    let receipt = Receipt::decode(receipt).map_err(Malformed::Receipt)?;
    Ok(Coverage::verify(receipt, token, &trust.current())?)
}

/// Verifies the broker's answer about a recorded hop: a receipt for the whole chain, and a
/// checkpoint of the ledger.
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

/// Verifies a checkpoint against the ledger keys of the trust bundle.
fn is_head(note: &[u8], trust: &Trust) -> Result<(), Error> {
    let head = Checkpoint::open(note, &checkpoint_keys(&trust.current()));
    head.map(drop).map_err(|bad| Error::answer(format!("the checkpoint of the ledger: {bad}")))
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
