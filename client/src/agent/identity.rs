//! An enrolled agent's identity: how it is got, kept and changed, and what can be asked with it.
//!
//! Owns: enrollment, renewal, rotation and their order on disk and on the wire. Does not own: the
//! files (`directory`), what other processes do with them meanwhile (`kept`), when it is time to renew
//! (`renewal`), delegations (`holder`).
//!
//! Invariants: the private key is made here and never leaves this machine; it is on disk before
//! the broker hears of it; what the broker answers is verified before it is kept; a process that
//! is killed in the middle can ask again and gets the same answer (SPEC sections 3 and 5).

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

/// An agent's identity. Cheap to clone; clones are one identity.
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
    /// Which content of the directory `current` is from.
    seen: Mutex<Option<Stamp>>,
    /// Renewals and rotations happen one after the other.
    changing: tokio::sync::Mutex<()>,
}

/// What [`Identity::revoke_former_keys`] has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedKeys {
    /// The keys that it has revoked.
    pub keys: Vec<Thumbprint>,
    /// Recorded hops that they held; all below them has ended too.
    pub hops: u64,
    /// Former keys that are still not revoked, because as many as one agent may revoke are: the admin can.
    pub left: u64,
}

/// Getting one.
impl Identity {
    /// Enrols with a one-time join token: makes a key in `directory`, shows it, keeps the
    /// identity. The trust bundle that the broker answers with is believed as it is; where an
    /// operator handed one out, use [`Identity::enroll_trusting`].
    pub async fn enroll(
        broker: &Broker,
        join_token: &str,
        directory: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        Identity::enroll_as(broker, join_token, directory.as_ref(), None, None).await
    }

    /// The same, with a broker that this bundle vouches for and no other.
    pub async fn enroll_trusting(
        broker: &Broker,
        join_token: &str,
        directory: impl AsRef<Path>,
        trust: &Trust,
    ) -> Result<Self, Error> {
        Identity::enroll_as(broker, join_token, directory.as_ref(), Some(trust), None).await
    }

    /// The same, with all that can be said: whom to trust, and who the caller says it is.
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

    /// Enrols by any method: with a signed token that a CI system, Kubernetes, an identity provider or
    /// a SPIFFE workload has anyway.
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
            // Nobody has heard of it.
            Err(failure) if failure.is_final() && made && failure.attempts() == 1 => {
                directory.drop_first_key()?;
                return Err(failure);
            }
            // It opens nothing any more, and another does next time. Of any other refusal an attempt
            // before may have been granted, so the key stays to be asked with again.
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

    /// Loads an identity; asks nobody.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Identity::load_with(directory, Ports::system())
    }

    /// The same, with other clocks and randomness.
    pub fn load_with(directory: impl AsRef<Path>, ports: Ports) -> Result<Self, Error> {
        let (directory, about) = Directory::open(directory.as_ref())?;
        // The token first: whoever renews it meanwhile keeps the keys that it needs before it.
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

/// Keeping it.
impl Identity {
    /// A new identity token for the key that it has.
    pub async fn renew(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let _one_process = self.0.directory.lock(&self.0.ports).await?;
        self.fetch_svid().await;
        self.refresh_certificates();
        self.take_over().await?;
        if self.0.directory.is_rotating(self.current().key.public_key())? {
            // A rotation was cut off: the broker may know the new key alone by now, and an identity
            // under the old one would look like a copy's.
            return self.rotate().await;
        }
        self.renew_once().await?;
        // An answer that is given again may be from before its root was tainted.
        if self.is_tainted() { self.renew_once().await } else { Ok(()) }
    }

    /// Shows the broker the certificate that is in its file now; the one of before, where none can be read.
    pub(crate) fn refresh_certificates(&self) {
        let refreshed = self.broker().and_then(Broker::refresh_certificates);
        if let Err(failure) = refreshed {
            tracing::warn!(agent = %self.id(), "the certificate of before is shown: {failure}");
        }
    }

    /// Keeps each X.509-SVID that the Workload API tells of, where this identity's came from there.
    pub(crate) fn follow_svids(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let socket = self.0.tls.workload_api.clone()?;
        let (directory, ports) = (self.0.directory.path().to_owned(), self.0.ports.clone());
        Some(async move { workload::follow_x509(&socket, &directory, &ports).await })
    }

    /// What is shown with this connection may be over by now; whoever gave it has another.
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

    /// Revokes every key that this agent had before its current one, and so all that was handed to them and all
    /// below: what is done after [`Identity::rotate_key`] when a key may have leaked. What this process holds
    /// under them ends too.
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

    /// A new key. The old one stays beside it, for the tokens that are held under it: tools take those until
    /// they end, and the broker is shown the identity in their place.
    pub async fn rotate_key(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let _one_process = self.0.directory.lock(&self.0.ports).await?;
        self.take_over().await?;
        // One that was cut off behind the broker's answer is tidied up, and not asked for again.
        self.0.directory.is_rotating(self.current().key.public_key())?;
        self.rotate().await
    }

    async fn rotate(&self) -> Result<(), Error> {
        let (current, id) = (self.current(), self.id());
        let next = self.0.directory.next_key(&self.0.ports)?;
        let request = rotate_request(&id, current.key.public_key(), &next)?;
        let answer = match self.broker()?.rotate_key(&current.credential(), request).await {
            // The key was somebody's: another is needed next time. Of any other refusal the key
            // may be the current one at the broker already, so it stays to be asked for again.
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

/// Showing it to others than the broker, and to the broker by other ways than gRPC.
impl Identity {
    /// Headers that prove this identity to its broker for one POST of these bytes to this path, such as
    /// `/token` (RFC 8693): good once, for 30 seconds.
    pub fn headers_for(
        &self,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, Error> {
        let shown = self.current().credential().credentials(path, sha256(body), &self.0.ports)?;
        Ok(credentials::to_headers(&shown))
    }

    /// Proves who this is to another agent or any service, for one call with JSON arguments: good once,
    /// there, for 30 seconds. It gives no authority.
    pub fn prove(&self, audience: &str, action: &str, args: &str) -> Result<CallProof, Error> {
        self.current().prove(audience, action, args, &self.0.ports)
    }

    /// All that the other one wants to see.
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

/// What is known of it.
impl Identity {
    /// The agent's id.
    pub fn id(&self) -> AgentId {
        self.kept().token.root().agent.clone()
    }

    /// When the identity token stops being good, in seconds.
    pub fn expires(&self) -> i64 {
        self.current().token.expires()
    }

    /// Whether its root was tainted, so that the broker renews it and nobody else takes it.
    pub(crate) fn is_tainted(&self) -> bool {
        self.trust().is_tainted(self.current().token.root_key())
    }

    /// The identity token.
    pub fn token(&self) -> Arc<VerifiedToken> {
        self.current().token
    }

    /// The current key, to sign with.
    pub fn key(&self) -> Arc<SecretKey> {
        self.current().key
    }

    /// The trust bundle that it goes by.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Where it lies.
    pub fn directory(&self) -> &Directory {
        &self.0.directory
    }

    /// The clocks and randomness in use.
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// The broker, connected with the first call. Must first be asked for inside a Tokio runtime.
    pub fn broker(&self) -> Result<&Broker, Error> {
        if let Some(broker) = self.0.broker.get() {
            return Ok(broker);
        }
        let broker =
            Broker::lazy_by(&self.0.endpoint, &self.0.tls)?.with_ports(self.0.ports.clone());
        Ok(self.0.broker.get_or_init(|| broker))
    }
}

/// What can be asked with it.
impl Identity {
    /// Asks for authority on someone's behalf, within this agent's profile.
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
            // The root of our identity, which this may be the first to hear of.
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
        // The key may have changed since it was asked for.
        self.held(token, Some(answer.receipt))
    }

    /// Opens a token that was handed over to this agent, under its current key or one from before
    /// a rotation.
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
                // Not ours: `Delegation` says so better.
                Err(failure) if failure.code() == "no_such_key" => current.key,
                Err(failure) => return Err(failure),
            },
        };
        // Outside a runtime a token can still be used and handed on, offline.
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

/// The bundle of an enrollment: vouched for by the one held, or else the beginning of trust.
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

/// The identity token in an answer, which must be this agent's, for this key.
fn own(
    trust: &Trust,
    token: &[u8],
    key: &SecretKey,
    agent: Option<&AgentId>,
) -> Result<VerifiedToken, Error> {
    // Its root may have been tainted since it was signed; then it is renewed at once.
    let token = trust.verify_own(token).map_err(Error::answer)?;
    if !token.is_identity() || token.holder_key() != key.public_key() {
        return Err(Error::answer("it is no identity token for this key"));
    }
    if agent.is_some_and(|agent| *agent != token.root().agent) {
        return Err(Error::answer(format!("it is the identity of {}", token.root().agent)));
    }
    Ok(token)
}
