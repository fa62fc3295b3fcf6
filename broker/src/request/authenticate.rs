//! The second step: who calls. SPEC 5.4; docs/FORMATS, "Who may call what".
//!
//! Owns: making a `Caller` from the credentials and the digest of the message, in two steps. `introduce`
//! verifies the headers, and `admission` calls it before it reads the message. `caller` does the rest
//! after the message. Does not own: what the caller may do.
//!
//! Invariants: the proof is bound to this broker, this method and these message bytes. The nonce is
//! spent last, so nobody can spend another caller's nonces or fill the replay cache with junk. A
//! connection belongs to a caller only after that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sublet_core::authorize::{self, Bound, Credentials, confirm, prove, prove_key, spend};
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, HopId, UnixMillis};
use sublet_core::base::key::{PublicKey, Thumbprint};
use sublet_core::decide::caller::{Authenticated, Caller, Kind};
use sublet_core::decide::{
    BadUse, Enroll, ProvenUse, ReportedUse, check_holder_key, check_names, keeps_an_identity,
};
use sublet_core::evidence::proof::{CallProof, enroll_message};
use sublet_core::evidence::record::UseVerdict;
use sublet_core::refusal::{Malformed, Overload, Refusal, Unauthenticated};
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::state::rows::session::{LoggedOut, UserToken};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::{Possession, TaintedIdentity, VerifiedToken};
use sublet_core::trust::bundle::KeyRefusal;
use sublet_ledger::checkpoint::Checkpoint;
use sublet_proto::digest::MessageDigest;
use sublet_proto::v1;
use tonic::Request;

use crate::broker::Broker;
use crate::enroll::method::Presented;
use crate::enroll::x509;
use crate::store::checkpoint_keys;
use crate::transport::certificate::Certificate;
use crate::transport::listen::Via;

/// The most used enrollment tokens that are kept, at 100 bytes each. Each is kept until it expires.
const SPENT_MAX: usize = 500_000;

/// The longest checkpoint that goes into a record, in bytes: an origin, a root hash and a few signatures.
const HEAD_BYTES_MAX: usize = 2 * 1024;

/// The caller according to the headers of a request: token, signature, time, audience and method are
/// valid. The message and the nonce are not checked yet, so nothing may be granted on it.
#[derive(Clone, Debug)]
pub struct Introduced {
    caller: Caller,
    key: Thumbprint,
    possession: Possession,
}

impl Introduced {
    /// Returns who the caller is, if the message turns out to be the signed one.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// Verifies the headers of a call of this method, before the message is read. The proof covers the
/// message's hash.
pub fn introduce(
    broker: &Broker,
    credentials: Result<Credentials, Refusal>,
    via: &Via,
    method: &str,
) -> Result<Introduced, Refusal> {
    let _step = broker.step("authenticate");
    let shown = || show(broker, credentials?, via, method);
    counted(broker, shown())
}

/// Returns the caller of this request, for the method with this path. Compares the message with what was
/// signed and spends the nonce.
pub fn caller<M>(broker: &Broker, request: &Request<M>, method: &str) -> Result<Caller, Refusal> {
    let shown = || {
        let introduced = request.extensions().get::<Arc<Introduced>>();
        let digest = request.extensions().get::<MessageDigest>();
        let digest = digest.ok_or(Unauthenticated::Missing("the digest of the message"))?;
        complete(broker, introduced.map(Arc::as_ref), digest.0, &via(request), method)
    };
    let shown = shown();
    if let Err(Refusal::Unauthenticated(_)) = &shown {
        via(request).failed();
    }
    counted(broker, shown)
}

/// Like [`caller`], for plain HTTP, where the body is what was signed.
pub fn http_caller(
    broker: &Broker,
    introduced: Option<&Introduced>,
    body: &[u8],
    via: &Via,
    action: &str,
) -> Result<Caller, Refusal> {
    counted(broker, complete(broker, introduced, sha256(body), via, action))
}

/// Checks that the new key signed an enrollment request, and that the credential is valid for its
/// method. The decision checks which agent it is for, and that it was not used before.
pub async fn enrollment(
    broker: &Broker,
    via: &Via,
    request: &v1::EnrollRequest,
    key: PublicKey,
) -> Result<Authenticated<Enroll>, Refusal> {
    let agent = match request.agent_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(Malformed::from)?),
    };
    let method = broker.callers.methods.get(&request.method)?;
    let _step = broker.step("authenticate");
    let shown = async {
        let (name, credential) = (method.name(), request.credential.as_slice());
        let message = enroll_message(name, credential, &request.agent_id, &key);
        let caller = Caller::new_key(key.clone(), &message, &request.signature)?;
        let shown = Presented {
            credential,
            agent: &request.agent_id,
            key: &key,
            certificate: certificate(broker, via)?,
        };
        let credential = method.show(&shown, broker.ports.clock.now()).await?;
        let state = broker.log.store.view()?;
        if !method.is_known(&credential, &state) {
            return Err(Unauthenticated::Missing("a join token that this broker made").into());
        }
        if state.spent_kept() >= SPENT_MAX {
            return Err(Overload::Table("tokens that were enrolled with").into());
        }
        Ok(Authenticated { caller, operation: Enroll { credential, agent } })
    };
    counted(broker, shown.await)
}

/// Returns the user that this signed token is of, if the token is valid.
pub async fn user(broker: &Broker, via: &Via, token: &[u8]) -> Result<UserToken, Refusal> {
    counted(broker, certificate(broker, via).map(drop))?;
    counted(broker, broker.callers.logins.show(token, broker.ports.clock.now()).await)
}

/// Returns the user that this logout token of an identity provider is of, if the token is valid.
pub async fn logged_out(broker: &Broker, via: &Via, token: &[u8]) -> Result<LoggedOut, Refusal> {
    counted(broker, certificate(broker, via).map(drop))?;
    counted(broker, broker.callers.logins.logged_out(token, broker.ports.clock.now()).await)
}

/// Returns the client certificate of a connection; `None` if it showed none. An error if the certificate
/// is not valid; then nothing else of the connection is accepted.
pub fn certificate<'a>(broker: &Broker, via: &'a Via) -> Result<Option<&'a Certificate>, Refusal> {
    Ok(via.certificate(broker.ports.clock.now())?)
}

/// Verifies a chain inside a request. Every signature must be valid.
pub fn chain(broker: &Broker, bytes: &[u8]) -> Result<Arc<VerifiedToken>, Refusal> {
    counted(broker, verified(broker, bytes))
}

/// Verifies the signature of a checkpoint that a tool was shown. Returns its size and its bytes; `None`
/// if the note is empty. Whether the ledger extends it is checked by a reader of all records.
pub fn head(broker: &Broker, note: Vec<u8>) -> Result<Option<(u64, Vec<u8>)>, Refusal> {
    if note.is_empty() {
        return Ok(None);
    }
    let bad = |detail: String| Malformed::Field { field: "checkpoint", detail };
    if note.len() > HEAD_BYTES_MAX {
        let detail = format!("{} bytes, at most {HEAD_BYTES_MAX} are taken", note.len());
        return Err(bad(detail).into());
    }
    let keys = checkpoint_keys(broker.trust()?.bundle());
    let head = Checkpoint::open(&note, &keys).map_err(|detail| bad(detail.to_string()))?;
    Ok(Some((head.size, note)))
}

/// Verifies a use that a tool reports: the holder's signature and every signature of the chain. The
/// error is the counter and the reason. If nothing shows that the named agent holds the chain, the use
/// is counted as a call without a valid proof, and the decision records nothing of it.
pub fn used(broker: &Broker, report: v1::UseReport) -> Result<ProvenUse, (u64, BadUse)> {
    let counter = report.counter;
    let proven = proven(broker, report).map_err(|why| (counter, why))?;
    let named = broker.log.store.view().is_ok_and(|state| proven.names_hold(&state));
    if !named {
        broker.refused.unauthenticated.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(counter, "a tool reports a use in an agent's name that nothing shows");
    }
    Ok(proven)
}

fn proven(broker: &Broker, report: v1::UseReport) -> Result<ProvenUse, BadUse> {
    let token = verified(broker, &report.token).map_err(|refusal| match refusal {
        Refusal::Malformed(Malformed::Token(bad)) => BadUse::Token(bad),
        refusal => BadUse::Chain(Box::new(refusal)),
    })?;
    let proof = CallProof::decode(&report.proof)?;
    let reported = ReportedUse {
        counter: report.counter,
        audience: report.audience,
        action: report.action,
        verdict: UseVerdict::of_code(report.code),
        decided_at: UnixMillis(report.decided_at_ms),
        revocations: FeedPosition::new(report.revocation_epoch, report.revocation_sequence),
        age_ms: report.age_ms,
        staleness_ms_max: report.staleness_ms_max,
        arguments: Some(report.arguments).filter(|text| !text.is_empty()),
        proof,
        receipt: Some(report.receipt).filter(|receipt| !receipt.is_empty()),
    };
    ProvenUse::verify(reported, Arc::unwrap_or_clone(token))
}

/// Verifies the chain in these bytes. What was verified before under the same trust bundle is not
/// verified again.
pub(crate) fn verified(broker: &Broker, token: &[u8]) -> Result<Arc<VerifiedToken>, Refusal> {
    let trust = broker.trust()?;
    let verified = authorize::chain(
        &broker.callers.chains,
        token,
        None,
        trust.bundle(),
        broker.ports.clock.now(),
    );
    Ok(verified?.token)
}

/// Checks everything of a proof that the headers show. New conditions on a caller belong here.
fn show(
    broker: &Broker,
    credentials: Credentials,
    via: &Via,
    method: &str,
) -> Result<Introduced, Refusal> {
    let proof = credentials.call_proof()?;
    let now = broker.ports.clock.now();
    // The message has not come yet. `complete` compares it with what was signed.
    let audience = broker.domain().broker_audience();
    let arguments_hash = proof.claims.arguments_hash;
    let call = Bound { audience: &audience, action: method, arguments_hash };
    let certificate = certificate(broker, via)?;
    let Some(token) = &credentials.token else {
        if broker.config.admin_socket.is_some() && !via.local {
            return Err(Unauthenticated::AdminSocket.into());
        }
        let key = broker.keys.ring.admin.clone().ok_or(Unauthenticated::NotAdmin)?;
        let hop = HopId(sha256(key.bytes()));
        if proof.claims.hop != hop {
            return Err(Unauthenticated::NotAdmin.into());
        }
        let possession = prove_key(&key, hop, &proof, &call, now)?;
        let caller = Caller::admin(&key, &possession);
        return Ok(Introduced { caller, key: key.thumbprint(), possession });
    };
    let shown = Shown::verify(broker, token, method)?;
    let token = shown.token();
    let possession = prove(token, &proof, &call, now)?;
    check_certificate(broker, certificate, &token.holder().agent, now)?;
    if !token.is_identity() {
        let state = broker.log.store.view()?;
        check_names(token, &state)?;
        check_holder_key(token, &state, now)?;
    }
    let key = token.holder_key().thumbprint();
    Ok(Introduced { caller: shown.caller(&possession)?, key, possession })
}

/// Checks the rest of a proof: the method, the message, the time, and last the nonce.
fn complete(
    broker: &Broker,
    introduced: Option<&Introduced>,
    digest: [u8; 32],
    via: &Via,
    method: &str,
) -> Result<Caller, Refusal> {
    let introduced = introduced.ok_or(Unauthenticated::Missing("the call proof"))?;
    let Introduced { caller, key, possession } = introduced;
    let (audience, now) = (broker.domain().broker_audience(), broker.ports.clock.now());
    let call = Bound { audience: &audience, action: method, arguments_hash: digest };
    // Receiving the message may have taken long, so the time is checked again.
    confirm(possession, &call, now)?;
    if let Kind::Agent(identity) = caller.kind() {
        broker.callers.heard.saw(
            identity,
            possession.claims().issued_at,
            &*broker.log.store.view()?,
        );
    }
    spend(&broker.callers.proofs, *key, possession, now)?;
    via.proven(caller);
    Ok(caller.clone())
}

/// A token that a caller shows.
enum Shown {
    Holds(Arc<VerifiedToken>),
    Tainted(Box<TaintedIdentity>),
}

impl Shown {
    /// Verifies every signature and the root key. If the root key is tainted, an agent may still ask for
    /// a new identity with its current key.
    fn verify(broker: &Broker, bytes: &[u8], method: &str) -> Result<Self, Refusal> {
        match verified(broker, bytes) {
            Ok(token) => Ok(Shown::Holds(token)),
            Err(Refusal::Unauthenticated(Unauthenticated::Root(KeyRefusal::Tainted(key))))
                if keeps_an_identity(method) =>
            {
                let token = UnverifiedToken::decode(bytes).map_err(Malformed::from)?;
                let identity = TaintedIdentity::verify(token, broker.trust()?.bundle())?;
                // An attacker with the tainted root key can make identities of any agent for his own
                // keys, so only the agent's recorded key counts.
                let state = broker.log.store.view()?;
                let agent = state.agent(&identity.token().root().agent);
                let known = agent.and_then(|agent| agent.key.as_ref());
                match known == Some(identity.token().holder_key()) {
                    true => Ok(Shown::Tainted(Box::new(identity))),
                    false => Err(Unauthenticated::Root(KeyRefusal::Tainted(key)).into()),
                }
            }
            Err(refusal) => Err(refusal),
        }
    }

    fn token(&self) -> &VerifiedToken {
        match self {
            Shown::Holds(token) => token,
            Shown::Tainted(identity) => identity.token(),
        }
    }

    fn caller(self, possession: &Possession) -> Result<Caller, Unauthenticated> {
        match self {
            Shown::Holds(token) => Caller::holder(token, possession),
            Shown::Tainted(identity) => Caller::tainted(*identity, possession),
        }
    }
}

/// Returns how a request came in.
pub fn via<M>(request: &Request<M>) -> Via {
    request.extensions().get::<Via>().cloned().unwrap_or_default()
}

/// Refuses a connection whose certificate is not of the calling agent. The certificate must name the
/// agent, or an enrollment rule of a profile must map it to the agent.
fn check_certificate(
    broker: &Broker,
    certificate: Option<&Certificate>,
    agent: &AgentId,
    now: UnixMillis,
) -> Result<(), Refusal> {
    let Some(certificate) = certificate.filter(|shown| shown.id != *agent) else {
        return Ok(());
    };
    let (state, shown) = (broker.log.store.view()?, x509::attested(certificate, now));
    let mut rules = state.profiles().flat_map(|profile| &profile.enroll);
    let is_agent = rules.any(|rule| {
        rule.means(&shown) && rule.agent(&shown, broker.domain()).is_ok_and(|id| id == *agent)
    });
    if is_agent {
        return Ok(());
    }
    let (certificate, agent) = (certificate.id.clone(), agent.clone());
    Err(Unauthenticated::CertificateOfAnother { certificate, agent }.into())
}

fn counted<T>(broker: &Broker, shown: Result<T, Refusal>) -> Result<T, Refusal> {
    if let Err(Refusal::Unauthenticated(refusal)) = &shown {
        broker.refused.unauthenticated.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(code = refusal.code(), "unauthenticated");
    }
    shown
}
