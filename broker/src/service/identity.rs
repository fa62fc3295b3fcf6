//! The gRPC service `sublet.v1.Identity`.

use std::sync::Arc;

use sublet_core::decide::caller::Authenticated;
use sublet_core::decide::{GetAgentKey, Operation, Renew, RevokeFormerKeys, RotateKey};
use sublet_core::evidence::proof::rotate_message;
use sublet_core::refusal::{Malformed, Refusal, Unauthenticated};
use sublet_proto::convert::{public_key, public_key_message};
use sublet_proto::v1;
use sublet_proto::v1::identity_server::Identity;
use tonic::{Request, Response};

use crate::broker::Broker;
use crate::request::authenticate;
use crate::request::pipeline::{self, Asked};
use crate::request::respond::{self, Answer};

/// The service.
pub(crate) struct IdentityService(pub(crate) Arc<Broker>);

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn enroll(&self, request: Request<v1::EnrollRequest>) -> Answer<v1::EnrollResponse> {
        let broker = &self.0;
        let recorded = enroll(broker, request).await;
        respond::answer(recorded, |identity, found| {
            Ok(v1::EnrollResponse {
                identity_token: identity.into_vec(),
                trust_bundle: found.basis.trust.text().to_vec(),
            })
        })
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let recorded = super::write(&self.0, request, |_| Ok(Renew)).await;
        respond::answer(recorded, |identity, found| {
            let trust_bundle = found.basis.trust.text().to_vec();
            Ok(v1::RenewResponse { identity_token: identity.into_vec(), trust_bundle })
        })
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateKeyRequest>,
    ) -> Answer<v1::RotateKeyResponse> {
        let recorded = rotate(&self.0, request).await;
        respond::answer(recorded, |identity, found| {
            let trust_bundle = found.basis.trust.text().to_vec();
            Ok(v1::RotateKeyResponse { identity_token: identity.into_vec(), trust_bundle })
        })
    }

    async fn revoke_former_keys(
        &self,
        request: Request<v1::RevokeFormerKeysRequest>,
    ) -> Answer<v1::RevokeFormerKeysResponse> {
        let recorded = super::write(&self.0, request, |message| {
            Ok(RevokeFormerKeys { reason: super::reason(message.reason)? })
        });
        respond::answer(recorded.await, |ended, _| {
            let keys = ended.keys.iter().map(|key| key.0.to_vec()).collect();
            Ok(v1::RevokeFormerKeysResponse { keys, hops: ended.hops, left: ended.left })
        })
    }

    async fn get_agent_key(
        &self,
        request: Request<v1::GetAgentKeyRequest>,
    ) -> Answer<v1::GetAgentKeyResponse> {
        let recorded = super::read(&self.0, request, |message| {
            Ok(GetAgentKey { agent: message.agent_id.parse().map_err(Malformed::from)? })
        });
        respond::answer(recorded.await, |agent, _| {
            Ok(v1::GetAgentKeyResponse {
                agent_id: agent.id.to_string(),
                public_key: agent.key.as_ref().map(public_key_message),
                state: agent.state.name().to_owned(),
            })
        })
    }

    async fn get_trust_bundle(
        &self,
        _: Request<v1::GetTrustBundleRequest>,
    ) -> Answer<v1::GetTrustBundleResponse> {
        let trust = self.0.trust().map_err(|fault| respond::status(&fault.into()))?;
        Ok(Response::new(v1::GetTrustBundleResponse { trust_bundle: trust.text().to_vec() }))
    }
}

type RecordedIdentity = Result<pipeline::Recorded<<Renew as Operation>::Granted>, Refusal>;

async fn enroll(broker: &Arc<Broker>, request: Request<v1::EnrollRequest>) -> RecordedIdentity {
    let via = authenticate::via(&request);
    let (came, message) = (super::came(&request), request.into_inner());
    let repeatable = Some(super::repeatable(&message)?);
    let key = public_key("public_key", message.public_key.as_ref())?;
    let authenticated = authenticate::enrollment(broker, &via, &message, key).await?;
    pipeline::run(broker, Asked { authenticated, repeatable, came }).await
}

async fn rotate(broker: &Arc<Broker>, request: Request<v1::RotateKeyRequest>) -> RecordedIdentity {
    let caller = authenticate::caller(broker, &request, RotateKey::METHOD)?;
    let (came, message) = (super::came(&request), request.into_inner());
    let repeatable = Some(super::repeatable(&message)?);
    let new_key = public_key("public_key", message.public_key.as_ref())?;
    let Some(identity) = caller.own_identity() else {
        return Err(
            Unauthenticated::Kind("a key is rotated with the agent's identity token").into()
        );
    };
    let proven =
        rotate_message(&identity.root().agent, &identity.holder_key().thumbprint(), &new_key);
    if !new_key.verify(&proven, &message.signature) {
        return Err(Unauthenticated::NewKey.into());
    }
    let authenticated = Authenticated { caller, operation: RotateKey { new_key } };
    pipeline::run(broker, Asked { authenticated, repeatable, came }).await
}
