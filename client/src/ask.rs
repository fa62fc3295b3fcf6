//! Who asks, and one typed method for each call of `sublet.v1`.
//!
//! Owns: the three credentials and what each shows, idempotency keys, the methods' paths. Does not
//! own: how a call travels (`connect`), what an answer means (`identity`, `holder`, `audit`).
//!
//! Invariants: a proof is made for one attempt of one call, with a fresh nonce, and binds the
//! broker, the method and the message bytes (SPEC section 5); an idempotency key is drawn once for
//! a request and kept over its attempts; no private key leaves its signer.

use std::fmt;
use std::sync::Arc;

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, DelegationId, HopId, TrustDomain};
use sublet_core::base::key::{PublicKey, Thumbprint};
use sublet_core::base::sign::Signer;
use sublet_core::decide::Target;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::convert::{public_key_message, target_message};
use sublet_proto::credentials::Credentials;
use sublet_proto::v1;
use tonic::Streaming;

use crate::connect::{Broker, Repeats};
use crate::error::Error;
use crate::ports::Ports;

/// A caller: what it shows, and the signer that proves it.
#[derive(Clone)]
pub struct Credential {
    shown: Shown,
    signer: Arc<dyn Signer>,
}

#[derive(Clone)]
enum Shown {
    Token { token: Arc<VerifiedToken>, receipt: Option<Vec<u8>> },
    Admin { domain: TrustDomain },
}

impl Credential {
    /// An enrolled agent by its identity token. `key` must be the token's.
    pub fn identity(key: Arc<dyn Signer>, token: Arc<VerifiedToken>) -> Self {
        Credential { shown: Shown::Token { token, receipt: None }, signer: key }
    }

    /// The holder of a delegation token, a helper too. `key` must be the holder's.
    pub fn holder(
        key: Arc<dyn Signer>,
        token: Arc<VerifiedToken>,
        receipt: Option<Vec<u8>>,
    ) -> Self {
        Credential { shown: Shown::Token { token, receipt }, signer: key }
    }

    /// The admin of the broker of this trust domain.
    pub fn admin(key: Arc<dyn Signer>, domain: TrustDomain) -> Self {
        Credential { shown: Shown::Admin { domain }, signer: key }
    }

    /// The trust domain of the broker that this is meant for.
    pub fn trust_domain(&self) -> TrustDomain {
        match &self.shown {
            Shown::Token { token, .. } => token.root().agent.trust_domain(),
            Shown::Admin { domain } => domain.clone(),
        }
    }

    /// Shows and proves one call to the broker: this method, the message with this SHA-256, now.
    pub fn credentials(
        &self,
        method: &str,
        message_digest: [u8; 32],
        ports: &Ports,
    ) -> Result<Credentials, Error> {
        let (hop, token, receipt) = match &self.shown {
            Shown::Token { token, receipt } => (token.id(), Some(token.encode()), receipt.clone()),
            Shown::Admin { .. } => (HopId(sha256(self.signer.public_key().bytes())), None, None),
        };
        let audience = self.trust_domain().broker_audience();
        let (now, nonce) = (ports.clock.now(), ports.entropy.nonce()?);
        let claims = CallClaims::of_digest(hop, &audience, method, message_digest, now, nonce);
        let proof = CallProof::sign(claims, self.signer.as_ref())?;
        Ok(Credentials { token, receipt, proof: proof.encode(), inclusion: None })
    }
}

impl Credential {
    /// The token of a holder that is not the delegation's first: of the records of its delegation it is
    /// shown what lies at or below its own hop.
    pub(crate) fn below(&self) -> Option<&VerifiedToken> {
        match &self.shown {
            Shown::Token { token, .. } if token.depth() > 0 => Some(token),
            Shown::Token { .. } | Shown::Admin { .. } => None,
        }
    }

    /// The key that proves its calls.
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        self.signer.public_key().thumbprint()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Shown::Token { token, .. } => write!(f, "Credential({})", token.holder()),
            Shown::Admin { domain } => write!(f, "Credential(admin of {domain})"),
        }
    }
}

/// Something that has a credential now; it may have another later, as identities are renewed.
pub trait Caller: Send + Sync + 'static {
    /// The credential of this moment.
    fn credential(&self) -> Result<Credential, Error>;
}

impl Caller for Credential {
    fn credential(&self) -> Result<Credential, Error> {
        Ok(self.clone())
    }
}

/// Sets the idempotency key of a request that has one and was given none.
macro_rules! keyed {
    ($self:ident, $request:ident) => {
        if $request.idempotency_key.is_empty() {
            $request.idempotency_key = $self.ports().entropy.nonce()?.0.to_vec();
        }
    };
}

/// A method that reads: shows who asks, sends, takes the answer.
macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident: $path:literal, $request:ident -> $answer:ident;)*) => {$(
        $(#[$doc])*
        pub async fn $name(
            &self,
            who: &Credential,
            request: v1::$request,
        ) -> Result<v1::$answer, Error> {
            self.unary(concat!("/sublet.v1.", $path), Some(who), &request, Repeats::Always).await
        }
    )*};
}

/// The same for a method that writes. An empty idempotency key is drawn here; a caller that may
/// be killed and ask again brings its own. After `=>` stands when it may be sent again.
macro_rules! writes {
    ($repeats:ident => $($(#[$doc:meta])* $name:ident: $path:literal, $request:ident -> $answer:ident;)*) => {$(
        $(#[$doc])*
        pub async fn $name(
            &self,
            who: &Credential,
            mut request: v1::$request,
        ) -> Result<v1::$answer, Error> {
            keyed!(self, request);
            let path = concat!("/sublet.v1.", $path);
            self.unary(path, Some(who), &request, Repeats::$repeats).await
        }
    )*};
}

/// Identity.
impl Broker {
    /// Enrols a new key. Shows no credential beside the one in the request.
    pub async fn enroll(
        &self,
        mut request: v1::EnrollRequest,
    ) -> Result<v1::EnrollResponse, Error> {
        keyed!(self, request);
        self.unary("/sublet.v1.Identity/Enroll", None, &request, Repeats::Always).await
    }

    /// The signed text of `trust.json`, not yet believed: see `trust::Trust`.
    pub async fn trust_bundle(&self) -> Result<Vec<u8>, Error> {
        let request = v1::GetTrustBundleRequest {};
        let path = "/sublet.v1.Identity/GetTrustBundle";
        let answer: v1::GetTrustBundleResponse =
            self.unary(path, None, &request, Repeats::Always).await?;
        Ok(answer.trust_bundle)
    }

    /// An agent's current key; refused when it has none.
    pub async fn key_of(&self, who: &Credential, agent: &AgentId) -> Result<PublicKey, Error> {
        let request = v1::GetAgentKeyRequest { agent_id: agent.to_string() };
        let answer = self.get_agent_key(who, request).await?;
        if answer.agent_id != agent.as_str() {
            return Err(Error::answer("it is of another agent"));
        }
        if answer.public_key.is_none() {
            let detail = format!("{agent} is {} and has no key: it must enrol first", answer.state);
            return Err(Error::local("agent_without_key", detail));
        }
        let key = sublet_proto::convert::public_key("public_key", answer.public_key.as_ref());
        key.map_err(Error::answer)
    }

    reads! {
        /// An agent's current key and state.
        get_agent_key: "Identity/GetAgentKey", GetAgentKeyRequest -> GetAgentKeyResponse;
    }
    writes! { Always =>
        /// A new identity for the caller's current key.
        renew: "Identity/Renew", RenewRequest -> RenewResponse;
        /// A new key for the calling agent.
        rotate_key: "Identity/RotateKey", RotateKeyRequest -> RotateKeyResponse;
        /// Revokes the keys that the calling agent had before its current one.
        revoke_former_keys: "Identity/RevokeFormerKeys",
            RevokeFormerKeysRequest -> RevokeFormerKeysResponse;
    }
}

/// Delegation. `delegate` and `record_hop` are idempotent on hop ids.
impl Broker {
    reads! {
        /// Records the hop that the caller has just made.
        delegate: "Delegation/Delegate", DelegateRequest -> DelegateResponse;
        /// Records what of a chain is not recorded yet, or refreshes its receipt.
        record_hop: "Delegation/RecordHop", RecordHopRequest -> RecordHopResponse;
        /// That every hop of a chain is in the ledger.
        get_inclusion_proof: "Delegation/GetInclusionProof", GetInclusionProofRequest -> Inclusion;
        /// How the broker sees a chain.
        inspect: "Delegation/Inspect", InspectRequest -> InspectResponse;
        /// A page of the delegations that the caller may see.
        list_delegations: "Delegation/ListDelegations",
            ListDelegationsRequest -> ListDelegationsResponse;
    }
    writes! { WhereKept =>
        /// Authority on someone's behalf.
        issue: "Delegation/Issue", IssueRequest -> IssueResponse;
    }
}

/// Revocation and audit.
impl Broker {
    writes! { Always =>
        /// Revokes one thing; [`Broker::revoke_target`] makes the request.
        revoke: "Revocation/Revoke", RevokeRequest -> RevokeResponse;
        /// Ends sessions of authority, by the admin.
        end_sessions: "Revocation/EndSessions", EndSessionsRequest -> EndSessionsResponse;
    }

    writes! { WhereKept =>
        /// Lets authority be issued for a principal again; what was issued before stays revoked.
        restore_principal: "Revocation/RestorePrincipal",
            RestorePrincipalRequest -> RestorePrincipalResponse;
    }

    /// Ends a user's login and all that was issued by it, with the user's own token and nothing else.
    pub async fn log_out(
        &self,
        user_token: &str,
        reason: &str,
    ) -> Result<v1::EndSessionsResponse, Error> {
        let token = user_token.trim().as_bytes().to_vec();
        let request = v1::EndSessionsRequest {
            which: Some(v1::end_sessions_request::Which::UserToken(token)),
            reason: reason.to_owned(),
            idempotency_key: Vec::new(),
        };
        self.unary("/sublet.v1.Revocation/EndSessions", None, &request, Repeats::Always).await
    }

    /// Revokes one thing with all below. `chain` is the token that holds the hop, for a broker
    /// that has not recorded it; else empty. Answers with the feed's position after it, and
    /// whether the broker has a record of what was named.
    pub async fn revoke_target(
        &self,
        who: &Credential,
        target: &Target,
        reason: &str,
        chain: Vec<u8>,
    ) -> Result<v1::RevokeResponse, Error> {
        let request = v1::RevokeRequest {
            target: Some(target_message(target)),
            reason: reason.to_owned(),
            token: chain,
            idempotency_key: Vec::new(),
        };
        self.revoke(who, request).await
    }

    /// The revocation feed after a position; see `follow`.
    pub async fn watch(
        &self,
        who: Option<&Credential>,
        after: FeedPosition,
    ) -> Result<Streaming<v1::WatchEvent>, Error> {
        let request = v1::WatchRequest { epoch: after.epoch, sequence: after.sequence };
        self.stream("/sublet.v1.Revocation/Watch", who, &request).await
    }

    /// Every record of one delegation, as a stream; see `audit`.
    pub async fn replay_stream(
        &self,
        who: &Credential,
        delegation: &DelegationId,
    ) -> Result<Streaming<v1::ReplayEntry>, Error> {
        let request = v1::ReplayRequest { delegation: delegation.0.to_vec() };
        self.stream("/sublet.v1.Audit/Replay", Some(who), &request).await
    }

    /// The ledger behind the first `from` records, as a stream; see `mirror`.
    pub async fn tail_stream(
        &self,
        who: &Credential,
        from: u64,
        payloads: bool,
    ) -> Result<Streaming<v1::RecordsPart>, Error> {
        let request = v1::StreamRecordsRequest { from, payloads };
        self.stream("/sublet.v1.Audit/StreamRecords", Some(who), &request).await
    }
}

/// The ledger's head.
impl Broker {
    reads! {
        /// A tool's decisions, with the evidence for each.
        report_uses: "Audit/ReportUses", ReportUsesRequest -> ReportUsesResponse;
        /// Which revocations a tool has applied.
        report_verifier_state: "Audit/ReportVerifierState", ReportVerifierStateRequest -> ReportVerifierStateResponse;
        /// The signed head of the ledger.
        checkpoint: "Audit/GetCheckpoint", GetCheckpointRequest -> GetCheckpointResponse;
        /// What of the ledger is kept and what is held.
        retention: "Audit/GetRetention", GetRetentionRequest -> GetRetentionResponse;
    }
    writes! { WhereKept =>
        /// Erases what lies beside a record.
        erase: "Audit/Erase", EraseRequest -> EraseResponse;
        /// Gives up the records below an index.
        prune: "Audit/Prune", PruneRequest -> PruneResponse;
        /// Keeps records, whatever is given up.
        create_legal_hold: "Audit/CreateLegalHold", CreateLegalHoldRequest -> CreateLegalHoldResponse;
        /// Lets a hold go.
        remove_legal_hold: "Audit/RemoveLegalHold", RemoveLegalHoldRequest -> RemoveLegalHoldResponse;
    }
}

/// What operators do; every call by the admin.
impl Broker {
    reads! {
        /// A page of agents.
        list_agents: "Admin/ListAgents", ListAgentsRequest -> ListAgentsResponse;
        /// One agent.
        get_agent: "Admin/GetAgent", GetAgentRequest -> AgentRow;
        /// All sessions of authority.
        list_sessions: "Admin/ListSessions", ListSessionsRequest -> ListSessionsResponse;
        /// All profiles.
        list_profiles: "Admin/ListProfiles", ListProfilesRequest -> ListProfilesResponse;
        /// One profile.
        get_profile: "Admin/GetProfile", GetProfileRequest -> Profile;
        /// All join tokens, without their secrets.
        list_join_tokens: "Admin/ListJoinTokens",
            ListJoinTokensRequest -> ListJoinTokensResponse;
        /// How the broker is.
        status: "Admin/GetStatus", GetStatusRequest -> GetStatusResponse;
    }
    writes! { Always =>
        /// Stops an agent and its helpers.
        suspend_agent: "Admin/SuspendAgent", SuspendAgentRequest -> AgentRow;
        /// Lets an agent go on.
        resume_agent: "Admin/ResumeAgent", ResumeAgentRequest -> AgentRow;
    }
    writes! { WhereKept =>
        /// A new agent, and a join token for it.
        create_agent: "Admin/CreateAgent", CreateAgentRequest -> JoinTokenResponse;
        /// Revokes an agent's key, for ever.
        revoke_agent_key: "Admin/RevokeAgentKey", RevokeAgentKeyRequest -> AgentRow;
        /// A profile, new or changed.
        apply_profile: "Admin/ApplyProfile", ApplyProfileRequest -> Profile;
        /// One more join token.
        create_join_token: "Admin/CreateJoinToken", CreateJoinTokenRequest -> JoinTokenResponse;
        /// Revokes a join token that was not used.
        revoke_join_token: "Admin/RevokeJoinToken",
            RevokeJoinTokenRequest -> RevokeJoinTokenResponse;
        /// One step in the life of a key of the broker.
        rotate_broker_key: "Admin/RotateBrokerKey", RotateBrokerKeyRequest -> RotateBrokerKeyResponse;
        /// Lets an agent act for a principal, by the operator's word.
        grant_session: "Admin/GrantSession", GrantSessionRequest -> SessionRow;
    }
}

/// What a rotation asks: the new key, shown to be held by its signature.
pub(crate) fn rotate_request(
    agent: &AgentId,
    old: &PublicKey,
    new: &dyn Signer,
) -> Result<v1::RotateKeyRequest, Error> {
    let message =
        sublet_core::evidence::proof::rotate_message(agent, &old.thumbprint(), new.public_key());
    Ok(v1::RotateKeyRequest {
        public_key: Some(public_key_message(new.public_key())),
        signature: new.sign(&message)?,
        idempotency_key: derived_key(b"rotate", &[old.bytes(), new.public_key().bytes()]),
    })
}

/// An idempotency key that follows from what is asked, for requests that a process which was
/// killed asks again: 16 bytes of a hash over a key made for this one request.
pub(crate) fn derived_key(label: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let hashes = parts.iter().flat_map(|part| sha256(part));
    let bytes: Vec<u8> = label.iter().copied().chain(hashes).collect();
    sha256(&bytes).get(..16).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sublet_core::authorize::{Bound, prove_key};
    use sublet_core::base::sign::SecretKey;

    #[test]
    fn the_admin_shows_a_proof_alone_and_a_new_one_each_time() {
        let key = Arc::new(SecretKey::ed25519_from_seed([4; 32]));
        let public = key.public_key().clone();
        let admin = Credential::admin(key, "acme.example".parse().unwrap());
        let ports = Ports::system();
        let method = "/sublet.v1.Admin/GetStatus";
        let shown = admin.credentials(method, [7; 32], &ports).unwrap();
        assert!(shown.token.is_none() && shown.receipt.is_none());
        let call =
            Bound { audience: "sublet://acme.example", action: method, arguments_hash: [7; 32] };
        let proof = shown.call_proof().unwrap();
        let hop = HopId(sha256(public.bytes()));
        assert!(prove_key(&public, hop, &proof, &call, ports.clock.now()).is_ok());
        assert_ne!(admin.credentials(method, [7; 32], &ports).unwrap().proof, shown.proof);
        assert_eq!(format!("{admin:?}"), "Credential(admin of acme.example)");
    }

    #[test]
    fn derived_keys_are_stable_and_keep_their_parts_apart() {
        assert_eq!(derived_key(b"x", &[b"a", b"b"]), derived_key(b"x", &[b"a", b"b"]));
        assert_ne!(derived_key(b"x", &[b"a", b"b"]), derived_key(b"x", &[b"ab", b""]));
        assert_eq!(derived_key(b"x", &[b"a"]).len(), 16);
    }
}
