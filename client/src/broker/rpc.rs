//! One typed method for each call of `sublet.v1`.
//!
//! Owns: idempotency keys and the methods' paths. Does not own: who asks (`credential`), how a call travels
//! (`connect`), what an answer means (`agent`, `audit`).
//!
//! Invariant: an idempotency key is drawn once for a request and kept over its attempts.

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, DelegationId};
use sublet_core::base::key::PublicKey;
use sublet_core::base::sign::Signer;
use sublet_core::decide::Target;
use sublet_core::revocation::feed::FeedPosition;
use sublet_proto::convert::{public_key_message, target_message};
use sublet_proto::v1;
use tonic::Streaming;

use crate::broker::connect::{Broker, Repeats};
use crate::broker::credential::Credential;
use crate::error::Error;

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
        /// Keeps records, whatever is pruned.
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

    #[test]
    fn derived_keys_are_stable_and_keep_their_parts_apart() {
        assert_eq!(derived_key(b"x", &[b"a", b"b"]), derived_key(b"x", &[b"a", b"b"]));
        assert_ne!(derived_key(b"x", &[b"a", b"b"]), derived_key(b"x", &[b"ab", b""]));
        assert_eq!(derived_key(b"x", &[b"a"]).len(), 16);
    }
}
