//! An enrolled agent's identity: enrolling, storing and changing it, and asking the broker with it.
//!
//! Owns: enrollment, renewal, rotation, and their order on disk and on the wire. Does not own: the
//! files (`directory`), changes by other processes (`kept`), when to renew (`renewal`), delegations
//! (`delegation`).
//!
//! Invariants: the private key is made here and never leaves this machine; it is on disk before the
//! broker learns its public key; every answer of the broker is verified before it is stored; a
//! process that is killed in the middle can ask again and gets the same answer (SPEC sections 3 and
//! 5).

mod kept;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::AgentId;
use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::{SecretKey, Signer};
use sublet_core::evidence::proof::CallProof;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::TrustBundle;
use sublet_proto::convert::scope_message;
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::v1;
use sublet_proto::v1::issue_request::By;

use crate::agent::current::{Current, Identified};
use crate::agent::delegation::{Delegation, holds, seconds};
use crate::agent::directory::{Directory, Stamp};
use crate::agent::enrollment::{Proof, enroll_request};
use crate::agent::grant::{Consent, Grant};
use crate::agent::workload;
use crate::broker::connect::Broker;
use crate::broker::credential::{Caller, Credential};
use crate::broker::rpc::rotate_request;
use crate::broker::tls::Tls;
use crate::error::Error;
use crate::ports::Ports;
use crate::trust::Trust;

/// An agent's identity. Clones are cheap and share one identity.
///
/// ```no_run
/// use std::time::Duration;
/// use sublet_client::{Broker, Error, Grant, Identity};
///
/// # async fn example() -> Result<(), Error> {
/// let broker = Broker::connect("https://broker.acme.example:7460").await?;
/// let planner = Identity::enroll(&broker, "sublet-join1.…", "agents/planner").await?;
/// let _renewal = planner.keep_renewed(); // until it is dropped
/// let scope = ["fs.read@tool://files path=under:/data"];
/// let grant = Grant::of("user:alice@acme.example", &scope, Duration::from_secs(900))?;
/// let delegation = planner.ask(&grant).await?;
/// println!("{} holds {}", delegation.holder(), delegation.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    directory: Directory,
    endpoint: String,
    tls: Tls,
    trust: Trust,
    ports: Ports,
    broker: OnceLock<Broker>,
    current: RwLock<Current>,
    /// Identifies the content of the directory that `current` was read from.
    seen: Mutex<Option<Stamp>>,
    /// Serializes renewals and rotations.
    changing: tokio::sync::Mutex<()>,
}

/// The result of [`Identity::revoke_former_keys`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedKeys {
    /// The thumbprints of the keys that were revoked.
    pub keys: Vec<Thumbprint>,
    /// How many recorded hops those keys held. Everything below these hops ended too.
    pub hops: u64,
    /// How many former keys are still valid, because an agent may revoke only so many. The admin
    /// can revoke them.
    pub left: u64,
}

/// Enrolling and loading.
impl Identity {
    /// Enrolls with a join token: makes a key in `directory`, proves possession of it, and stores
    /// the identity. The broker's trust bundle is accepted without verification. If an operator
    /// handed out a trust bundle, use [`Identity::enroll_trusting`].
    pub async fn enroll(
        broker: &Broker,
        join_token: &str,
        directory: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        Identity::enroll_as(broker, join_token, directory.as_ref(), None, None).await
    }

    /// Enrolls with a join token at a broker whose trust bundle must be accepted by `trust`.
    pub async fn enroll_trusting(
        broker: &Broker,
        join_token: &str,
        directory: impl AsRef<Path>,
        trust: &Trust,
    ) -> Result<Self, Error> {
        Identity::enroll_as(broker, join_token, directory.as_ref(), Some(trust), None).await
    }

    /// Enrolls with a join token. `trust` is the trust bundle to go by, if there is one; `agent` is
    /// the SPIFFE id that the caller expects, if it has one.
    pub async fn enroll_as(
        broker: &Broker,
        join_token: &str,
        directory: &Path,
        trust: Option<&Trust>,
        agent: Option<&AgentId>,
    ) -> Result<Self, Error> {
        let credential = Proof::join_token(join_token);
        Identity::enroll_by(broker, &credential, Directory::new(directory), trust, agent).await
    }

    /// Enrolls with any credential, such as a signed token of a CI system, of Kubernetes, of an
    /// identity provider or of a SPIFFE workload. The code of the error is `already_enrolled` when
    /// the directory holds an identity.
    pub async fn enroll_by(
        broker: &Broker,
        credential: &Proof,
        directory: Directory,
        trust: Option<&Trust>,
        agent: Option<&AgentId>,
    ) -> Result<Self, Error> {
        directory.create()?;
        let _one_process = directory.lock(broker.ports()).await?;
        if directory.is_enrolled() {
            let detail = format!("{} holds an identity already", directory.path().display());
            return Err(Error::local("already_enrolled", detail));
        }
        let (key, made) = directory.first_key(broker.ports())?;
        let request = enroll_request(credential, broker, agent, &key).await?;
        let answer = match broker.enroll(request).await {
            // The first attempt was refused, so nobody knows this key.
            Err(failure) if failure.is_final() && made && failure.attempts() == 1 => {
                directory.drop_first_key()?;
                return Err(failure);
            }
            // The key can enroll nobody; the next attempt makes another one. After any other
            // refusal an earlier attempt may have been granted, so the key stays for asking again.
            Err(failure) if failure.code() == "key_in_use" => {
                directory.set_first_key_aside(&key)?;
                return Err(failure);
            }
            answer => answer?,
        };
        let now = broker.ports().clock.now();
        let bundle = accepted(&answer.trust_bundle, trust, now)?;
        let trust = Trust::new(bundle);
        let token = own(&trust, &answer.identity_token, &key, agent)?;
        directory.keep_about(&token.root().agent, broker, &answer.trust_bundle)?;
        directory.keep_token(&token)?;
        tracing::info!(agent = %token.root().agent, "enrolled");
        let way = (broker.endpoint(), broker.tls());
        let identity = Identity::of(directory, way, trust, broker.ports(), key, token);
        let _ = identity.0.broker.set(broker.clone());
        Ok(identity)
    }

    /// Loads an identity from its directory, offline. Errors: a missing or broken file, or an
    /// identity token that does not verify.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Identity::load_with(directory, Ports::system())
    }

    /// Loads an identity with another clock and random source.
    pub fn load_with(directory: impl AsRef<Path>, ports: Ports) -> Result<Self, Error> {
        let (directory, about) = Directory::open(directory.as_ref())?;
        // Read the token first: a process that renews it stores the key that a token needs before
        // the token.
        let (seen, token) = (directory.stamp(), directory.token()?);
        let trust = Trust::open(&directory.trust_path(&about), ports.clock.now())?;
        let token = trust.verify_own(&token)?;
        let key = directory.key_of(token.holder_key())?;
        if !token.is_identity() || token.root().agent != about.id {
            let detail = format!("identity.token is not the identity of {}", about.id);
            return Err(Error::file(directory.path(), detail));
        }
        let way = (about.broker.as_str(), &about.tls);
        let identity = Identity::of(directory, way, trust, &ports, key, token);
        *identity.seen() = seen;
        Ok(identity)
    }

    fn of(
        directory: Directory,
        (endpoint, tls): (&str, &Tls),
        trust: Trust,
        ports: &Ports,
        key: SecretKey,
        token: VerifiedToken,
    ) -> Self {
        let current = RwLock::new(Current { key: Arc::new(key), token: Arc::new(token) });
        Identity(Arc::new(Inner {
            directory,
            endpoint: endpoint.to_owned(),
            tls: tls.clone(),
            trust,
            ports: ports.clone(),
            broker: OnceLock::new(),
            current,
            seen: Mutex::new(None),
            changing: tokio::sync::Mutex::new(()),
        }))
    }
}

/// Renewing and rotating.
impl Identity {
    /// Fetches a new identity token for the current key.
    pub async fn renew(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let _one_process = self.0.directory.lock(&self.0.ports).await?;
        self.fetch_svid().await;
        self.refresh_certificates();
        self.take_over().await?;
        if self.0.directory.is_rotating(self.current().key.public_key())? {
            // A rotation was interrupted, so the broker may know only the new key by now. A renewal
            // under the old key would look like one by a copy of this directory.
            return self.rotate().await;
        }
        self.renew_once().await?;
        // An answer that the broker repeats may be older than the taint of its root.
        if self.is_tainted() { self.renew_once().await } else { Ok(()) }
    }

    /// Loads the client certificate from its file again. If that fails, the earlier certificate is
    /// used.
    pub(crate) fn refresh_certificates(&self) {
        let refreshed = self.broker().and_then(Broker::refresh_certificates);
        if let Err(failure) = refreshed {
            tracing::warn!(agent = %self.id(), "the certificate of before is shown: {failure}");
        }
    }

    /// Returns a future that stores each new X.509-SVID of the Workload API; `None` when this
    /// identity does not use the Workload API.
    pub(crate) fn follow_svids(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let socket = self.0.tls.workload_api.clone()?;
        let (directory, ports) = (self.0.directory.path().to_owned(), self.0.ports.clone());
        Some(async move { workload::follow_x509(&socket, &directory, &ports).await })
    }

    /// The client certificate may have expired. The Workload API has the next one.
    async fn fetch_svid(&self) {
        let Some(socket) = &self.0.tls.workload_api else { return };
        let fetched = workload::x509_svid(socket, self.0.directory.path(), &self.0.tls).await;
        if let Err(failure) = fetched {
            tracing::warn!(agent = %self.id(), "the X.509-SVID of before is shown: {failure}");
        }
    }

    async fn renew_once(&self) -> Result<(), Error> {
        let current = self.current();
        let idempotency_key = self.0.directory.renewal_key(&current.token, &self.0.ports)?;
        let request = v1::RenewRequest { idempotency_key };
        let answer = self.broker()?.renew(&current.credential(), request).await?;
        self.keep_trust(&answer.trust_bundle)?;
        let token = own(self.trust(), &answer.identity_token, &current.key, Some(&self.id()))?;
        self.0.directory.keep_token(&token)?;
        self.replace(Current { token: Arc::new(token), ..current });
        tracing::info!(agent = %self.id(), expires = self.expires(), "identity renewed");
        Ok(())
    }

    /// Revokes every key that this agent had before its current one, with all hops that these keys
    /// hold and everything below. Call it after [`Identity::rotate_key`] when a key may have
    /// leaked. Delegations that this process holds under these keys end too.
    pub async fn revoke_former_keys(&self, reason: &str) -> Result<EndedKeys, Error> {
        let mut ended = EndedKeys::default();
        loop {
            let current = self.current();
            let request = v1::RevokeFormerKeysRequest {
                reason: reason.to_owned(),
                idempotency_key: Vec::new(),
            };
            let answer = self.broker()?.revoke_former_keys(&current.credential(), request).await?;
            let keys = answer.keys.iter().map(|key| key.as_slice().try_into().map(Thumbprint));
            let keys = keys.collect::<Result<Vec<_>, _>>();
            let keys = keys.map_err(|_| Error::answer("a thumbprint is not 32 bytes"))?;
            let is_last = keys.is_empty() || answer.left == 0;
            ended.keys.extend(keys);
            ended.hops = ended.hops.saturating_add(answer.hops);
            ended.left = answer.left;
            if is_last {
                return Ok(ended);
            }
        }
    }

    /// Rotates the key. The old key stays beside the new one for the delegations that are held
    /// under it: tools accept those until they end, and the broker is shown the new identity
    /// instead.
    pub async fn rotate_key(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let _one_process = self.0.directory.lock(&self.0.ports).await?;
        self.take_over().await?;
        // An earlier rotation may have ended but for its renaming; then this renames and does not
        // ask again.
        self.0.directory.is_rotating(self.current().key.public_key())?;
        self.rotate().await
    }

    async fn rotate(&self) -> Result<(), Error> {
        let (current, id) = (self.current(), self.id());
        let next = self.0.directory.next_key(&self.0.ports)?;
        let request = rotate_request(&id, current.key.public_key(), &next)?;
        let answer = match self.broker()?.rotate_key(&current.credential(), request).await {
            // The key belongs to another agent, so the next attempt needs another key. After any
            // other refusal the broker may already have made the key current, so it stays for
            // asking again.
            Err(failure) if failure.code() == "key_in_use" => {
                self.0.directory.set_next_key_aside(&next)?;
                return Err(failure);
            }
            answer => answer?,
        };
        self.keep_trust(&answer.trust_bundle)?;
        let token = own(self.trust(), &answer.identity_token, &next, Some(&id))?;
        self.0.directory.take_next_key(&current.key, &token, &self.0.ports)?;
        self.replace(Current { key: Arc::new(next), token: Arc::new(token) });
        tracing::info!(agent = %id, key = %self.current().key.public_key().thumbprint(), "key rotated");
        Ok(())
    }
}

/// Proving the identity to services other than the broker, and to the broker over HTTP.
impl Identity {
    /// Returns headers that prove this identity to its broker for one POST of this body to this
    /// path, such as `/token` (RFC 8693). They are valid once, for 30 s.
    pub fn headers_for(
        &self,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, Error> {
        let shown = self.current().credential().credentials(path, sha256(body), &self.0.ports)?;
        Ok(credentials::to_headers(&shown))
    }

    /// Signs a proof of this identity for another agent or service, for one call with JSON
    /// arguments. It is valid once, at that audience, for 30 s. It gives no authority.
    pub fn prove(&self, audience: &str, action: &str, args: &str) -> Result<CallProof, Error> {
        self.current().prove(audience, action, args, &self.0.ports)
    }

    /// Returns the identity token with a proof for one call, as a
    /// [`PeerChecker`](crate::PeerChecker) expects it.
    pub fn credentials_for(
        &self,
        audience: &str,
        action: &str,
        args: &str,
    ) -> Result<Credentials, Error> {
        let current = self.current();
        let proof = current.prove(audience, action, args, &self.0.ports)?.encode();
        let token = Some(current.token.encode());
        Ok(Credentials { token, proof, ..Credentials::default() })
    }
}

/// Its parts.
impl Identity {
    /// Returns the agent's SPIFFE id.
    pub fn id(&self) -> AgentId {
        self.kept().token.root().agent.clone()
    }

    /// Returns when the identity token expires, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.current().token.expires()
    }

    /// Returns whether the identity token's root key is tainted. Then the broker renews the token
    /// and nobody else accepts it.
    pub(crate) fn is_tainted(&self) -> bool {
        self.trust().is_tainted(self.current().token.root_key())
    }

    /// Returns the current identity token.
    pub fn token(&self) -> Arc<VerifiedToken> {
        self.current().token
    }

    /// Returns the current private key.
    pub fn key(&self) -> Arc<SecretKey> {
        self.current().key
    }

    /// Returns the trust bundle of this identity.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Returns the directory of this identity.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// Returns the clock and random source in use.
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// Returns the broker, which is connected with the first call. The first use must be inside a
    /// Tokio runtime.
    pub fn broker(&self) -> Result<&Broker, Error> {
        if let Some(broker) = self.0.broker.get() {
            return Ok(broker);
        }
        let broker =
            Broker::lazy_by(&self.0.endpoint, &self.0.tls)?.with_ports(self.0.ports.clone());
        Ok(self.0.broker.get_or_init(|| broker))
    }
}

/// Asking the broker for authority, and opening tokens.
impl Identity {
    /// Asks the broker for authority on behalf of a principal, within this agent's profile. Returns
    /// the delegation with its receipt, both verified.
    pub async fn ask(&self, grant: &Grant) -> Result<Delegation, Error> {
        let request = v1::IssueRequest {
            on_behalf_of: grant.on_behalf_of.to_string(),
            scope_json: scope_message(&grant.scope),
            ttl_seconds: seconds(grant.ttl),
            hops: grant.hops,
            offline_hops: grant.offline_hops,
            idempotency_key: Vec::new(),
            by: match &grant.by {
                Consent::Profile => None,
                Consent::UserToken(token) => Some(By::UserToken(token.trim().as_bytes().to_vec())),
                Consent::Session(id) => Some(By::Session(id.0.to_vec())),
            },
        };
        let issue = async |request| {
            let current = self.current();
            self.broker()?.issue(&current.credential(), request).await
        };
        let answer = match issue(request.clone()).await {
            // Our identity token's root was tainted, and this call may be the first to learn it.
            Err(failure) if failure.code() == "key_tainted" => {
                self.renew().await?;
                issue(request).await?
            }
            answer => answer?,
        };
        let granted = |trust: &Trust| {
            let token = trust.verify(&answer.token).map_err(Error::answer)?;
            holds(&answer.receipt, &token, &answer.checkpoint, trust).map(|()| token)
        };
        let token = self.trust().check(self.refresh_trust(), granted).await?;
        if token.principal() != Some(&grant.on_behalf_of) || token.depth() != 0 {
            return Err(Error::answer("it is not the delegation that was asked for"));
        }
        tracing::debug!(delegation = %token.delegation(), "issued");
        // The key may have been rotated since the request.
        self.held(token, Some(answer.receipt))
    }

    /// Opens a token that was handed over to this agent, under its current key or a former one.
    pub fn open(&self, text: &str) -> Result<Delegation, Error> {
        let (token, receipt) = self.trust().verify_text(text)?;
        self.held(token, receipt)
    }

    fn held(&self, token: VerifiedToken, receipt: Option<Vec<u8>>) -> Result<Delegation, Error> {
        let current = self.current();
        let key = match current.key.public_key() == token.holder_key() {
            true => current.key,
            false => match self.0.directory.key_of(token.holder_key()) {
                Ok(key) => Arc::new(key),
                // The token is not for this agent. The check in `Delegation::of` gives the better
                // message.
                Err(failure) if failure.code() == "no_such_key" => current.key,
                Err(failure) => return Err(failure),
            },
        };
        // Outside a Tokio runtime the token can still be used and attenuated offline.
        let broker = match tokio::runtime::Handle::try_current() {
            Ok(_) => Some(self.broker()?.clone()),
            Err(_) => None,
        };
        let held = Delegation::of(token, receipt, key, self.trust(), broker, self.0.ports.clone())?;
        Ok(held.of_identity(Arc::new(self.clone())))
    }
}

impl Identified for Identity {
    fn current(&self) -> Current {
        self.current()
    }
}

impl Caller for Identity {
    fn credential(&self) -> Result<Credential, Error> {
        Ok(self.current().credential())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id())
    }
}

/// Accepts the trust bundle of an enrollment answer: as an update of the given one, or without one
/// as the first bundle.
fn accepted(
    text: &[u8],
    trust: Option<&Trust>,
    now: sublet_core::base::id::UnixMillis,
) -> Result<TrustBundle, Error> {
    let bundle = match trust {
        Some(trust) => trust.current().accept_update(text, now),
        None => {
            tracing::warn!("no trust bundle was given: the broker's own is believed as it is");
            TrustBundle::open(text, now)
        }
    };
    bundle.map_err(Error::answer)
}

/// Verifies the identity token of an answer, which must be for this key and, if given, this agent.
fn own(
    trust: &Trust,
    token: &[u8],
    key: &SecretKey,
    agent: Option<&AgentId>,
) -> Result<VerifiedToken, Error> {
    // The root may have been tainted after it signed the token; then the token is renewed at once.
    let token = trust.verify_own(token).map_err(Error::answer)?;
    if !token.is_identity() || token.holder_key() != key.public_key() {
        return Err(Error::answer("it is no identity token for this key"));
    }
    if agent.is_some_and(|agent| *agent != token.root().agent) {
        return Err(Error::answer(format!("it is the identity of {}", token.root().agent)));
    }
    Ok(token)
}
