//! One typed method for each call of `sublet.v1`.
//!
//! Owns: idempotency keys and the methods' paths. Does not own: who calls (`credential`), how a
//! call is sent (`connect`), what an answer means (`agent`, `audit`).
//!
//! Invariant: an idempotency key is drawn once for a request and stays the same over its attempts.

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

/// Draws the idempotency key of a request that has none yet.
macro_rules! keyed {
    ($self:ident, $request:ident) => {
        if $request.idempotency_key.is_empty() {
            $request.idempotency_key = $self.ports().entropy.nonce()?.0.to_vec();
        }
    };
}

/// A method that reads: shows the credential, sends the request, returns the answer.
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

/// A method that writes. An empty idempotency key is drawn here; a caller that may be killed and
/// ask again sets its own. The word before `=>` says when the request may be sent again.
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
    /// Enrolls a new key. The only credential is the one in the request.
    pub async fn enroll(
        &self,
        mut request: v1::EnrollRequest,
    ) -> Result<v1::EnrollResponse, Error> {
        keyed!(self, request);
        self.unary("/sublet.v1.Identity/Enroll", None, &request, Repeats::Always).await
    }

    /// Returns the signed text of `trust.json`, not verified: see [`Trust`](crate::Trust).
    pub async fn trust_bundle(&self) -> Result<Vec<u8>, Error> {
        let request = v1::GetTrustBundleRequest {};
        let path = "/sublet.v1.Identity/GetTrustBundle";
        let answer: v1::GetTrustBundleResponse =
            self.unary(path, None, &request, Repeats::Always).await?;
        Ok(answer.trust_bundle)
    }

    /// Returns an agent's current key. The code of the error is `agent_without_key` when the agent
    /// has not enrolled.
    pub async fn key_of(&self, who: &Credential, agent: &AgentId) -> Result<PublicKey, Error> {
        let request = v1::GetAgentKeyRequest { agent_id: agent.to_string() };
        let answer = self.get_agent_key(who, request).await?;
        if answer.agent_id != agent.as_str() {
            return Err(Error::answer("it is of another agent"));
        }
        if answer.public_key.is_none() {
            let detail =
                format!("{agent} is {} and has no key: it must enroll first", answer.state);
            return Err(Error::local("agent_without_key", detail));
        }
        let key = sublet_proto::convert::public_key("public_key", answer.public_key.as_ref());
        key.map_err(Error::answer)
    }

    reads! {
        /// Returns an agent's current key and state.
        get_agent_key: "Identity/GetAgentKey", GetAgentKeyRequest -> GetAgentKeyResponse;
    }
    writes! { Always =>
        /// Issues a new identity token for the caller's current key.
        renew: "Identity/Renew", RenewRequest -> RenewResponse;
        /// Replaces the calling agent's key by a new one.
        rotate_key: "Identity/RotateKey", RotateKeyRequest -> RotateKeyResponse;
        /// Revokes the former keys of the calling agent.
        revoke_former_keys: "Identity/RevokeFormerKeys",
            RevokeFormerKeysRequest -> RevokeFormerKeysResponse;
    }
}

/// Delegation. `delegate` and `record_hop` are idempotent on hop ids.
impl Broker {
    reads! {
        /// Records the hop that the caller made.
        delegate: "Delegation/Delegate", DelegateRequest -> DelegateResponse;
        /// Records the hops of a chain that are not recorded yet, and returns a fresh receipt.
        record_hop: "Delegation/RecordHop", RecordHopRequest -> RecordHopResponse;
        /// Returns the proof that every hop of a chain is in the ledger.
        get_inclusion_proof: "Delegation/GetInclusionProof", GetInclusionProofRequest -> Inclusion;
        /// Returns what the broker knows of a chain.
        inspect: "Delegation/Inspect", InspectRequest -> InspectResponse;
        /// Returns a page of the delegations that the caller may see.
        list_delegations: "Delegation/ListDelegations",
            ListDelegationsRequest -> ListDelegationsResponse;
    }
    writes! { WhereKept =>
        /// Issues a delegation on behalf of a principal.
        issue: "Delegation/Issue", IssueRequest -> IssueResponse;
    }
}

/// Revocation and audit.
impl Broker {
    writes! { Always =>
        /// Revokes one hop, delegation, agent, key or principal. [`Broker::revoke_target`] builds
        /// the request.
        revoke: "Revocation/Revoke", RevokeRequest -> RevokeResponse;
        /// Ends sessions of authority, by the admin.
        end_sessions: "Revocation/EndSessions", EndSessionsRequest -> EndSessionsResponse;
    }

    writes! { WhereKept =>
        /// Allows new delegations for a revoked principal again. What was issued before stays
        /// revoked.
        restore_principal: "Revocation/RestorePrincipal",
            RestorePrincipalRequest -> RestorePrincipalResponse;
    }

    /// Ends a user's login session and everything that was issued in it. The only credential is the
    /// user's own token.
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

    /// Revokes one target with everything below it. `chain` is a token that contains the hop, for a
    /// hop that the broker has not recorded; otherwise it is empty. The answer has the new position
    /// of the revocation feed, and says whether the broker has a record of the target.
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

    /// Opens the revocation feed after a position; see [`Follower`](crate::Follower).
    pub async fn watch(
        &self,
        who: Option<&Credential>,
        after: FeedPosition,
    ) -> Result<Streaming<v1::WatchEvent>, Error> {
        let request = v1::WatchRequest { epoch: after.epoch, sequence: after.sequence };
        self.stream("/sublet.v1.Revocation/Watch", who, &request).await
    }

    /// Streams every record of one delegation; see [`replay`](crate::audit::replay).
    pub async fn replay_stream(
        &self,
        who: &Credential,
        delegation: &DelegationId,
    ) -> Result<Streaming<v1::ReplayEntry>, Error> {
        let request = v1::ReplayRequest { delegation: delegation.0.to_vec() };
        self.stream("/sublet.v1.Audit/Replay", Some(who), &request).await
    }

    /// Streams the ledger's records from index `from` on, with their payloads if `payloads` is set;
    /// see [`Mirror`](crate::audit::mirror::Mirror).
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

/// The ledger, its retention, and reports of tools.
impl Broker {
    reads! {
        /// Reports a tool's decisions, with the evidence for each.
        report_uses: "Audit/ReportUses", ReportUsesRequest -> ReportUsesResponse;
        /// Reports up to which position a tool has applied revocations.
        report_verifier_state: "Audit/ReportVerifierState", ReportVerifierStateRequest -> ReportVerifierStateResponse;
        /// Returns the signed checkpoint of the ledger.
        checkpoint: "Audit/GetCheckpoint", GetCheckpointRequest -> GetCheckpointResponse;
        /// Returns which records the ledger keeps, and the legal holds.
        retention: "Audit/GetRetention", GetRetentionRequest -> GetRetentionResponse;
    }
    writes! { WhereKept =>
        /// Erases the payload of a record. Its leaf and every proof stay.
        erase: "Audit/Erase", EraseRequest -> EraseResponse;
        /// Prunes the records below an index. Their hashes and every proof stay.
        prune: "Audit/Prune", PruneRequest -> PruneResponse;
        /// Places a legal hold on a range of records, which may then be neither pruned nor erased.
        create_legal_hold: "Audit/CreateLegalHold", CreateLegalHoldRequest -> CreateLegalHoldResponse;
        /// Removes a legal hold.
        remove_legal_hold: "Audit/RemoveLegalHold", RemoveLegalHoldRequest -> RemoveLegalHoldResponse;
    }
}

/// Administration. Every call needs the admin's credential.
impl Broker {
    reads! {
        /// Returns a page of agents.
        list_agents: "Admin/ListAgents", ListAgentsRequest -> ListAgentsResponse;
        /// Returns one agent.
        get_agent: "Admin/GetAgent", GetAgentRequest -> AgentRow;
        /// Returns a page of sessions of authority.
        list_sessions: "Admin/ListSessions", ListSessionsRequest -> ListSessionsResponse;
        /// Returns a page of profiles.
        list_profiles: "Admin/ListProfiles", ListProfilesRequest -> ListProfilesResponse;
        /// Returns one profile.
        get_profile: "Admin/GetProfile", GetProfileRequest -> Profile;
        /// Returns a page of join tokens, without their secrets.
        list_join_tokens: "Admin/ListJoinTokens",
            ListJoinTokensRequest -> ListJoinTokensResponse;
        /// Returns the state of the broker.
        status: "Admin/GetStatus", GetStatusRequest -> GetStatusResponse;
    }
    writes! { Always =>
        /// Suspends an agent and its helpers.
        suspend_agent: "Admin/SuspendAgent", SuspendAgentRequest -> AgentRow;
        /// Resumes a suspended agent.
        resume_agent: "Admin/ResumeAgent", ResumeAgentRequest -> AgentRow;
    }
    writes! { WhereKept =>
        /// Creates an agent, and a join token for it.
        create_agent: "Admin/CreateAgent", CreateAgentRequest -> JoinTokenResponse;
        /// Revokes an agent's key, for ever.
        revoke_agent_key: "Admin/RevokeAgentKey", RevokeAgentKeyRequest -> AgentRow;
        /// Creates or changes a profile.
        apply_profile: "Admin/ApplyProfile", ApplyProfileRequest -> Profile;
        /// Creates another join token for an agent.
        create_join_token: "Admin/CreateJoinToken", CreateJoinTokenRequest -> JoinTokenResponse;
        /// Revokes a join token that was not used.
        revoke_join_token: "Admin/RevokeJoinToken",
            RevokeJoinTokenRequest -> RevokeJoinTokenResponse;
        /// Prepares, activates, retires or taints a key of the broker.
        rotate_broker_key: "Admin/RotateBrokerKey", RotateBrokerKeyRequest -> RotateBrokerKeyResponse;
        /// Grants a session of authority: an agent may act for a principal.
        grant_session: "Admin/GrantSession", GrantSessionRequest -> SessionRow;
    }
}

/// Builds a rotation request. The new key's signature proves possession of it.
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

/// Derives an idempotency key from the content of a request, so that a process that was killed
/// repeats the same request: 16 bytes of a hash. A part must be unique to this request, such as a
/// new key.
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
