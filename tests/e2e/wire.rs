//! The wire as a stranger meets it: reflection, health, and calls without a proof.

use std::sync::Arc;

use sublet_client::broker::credential::Credential;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::key_file::KeyLock;
use sublet_proto::credentials;
use sublet_proto::v1;
use sublet_proto::v1::delegation_client::DelegationClient;
use sublet_proto::v1::identity_client::IdentityClient;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::stage::Stage;

async fn channel(stage: &Stage) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(stage.endpoint.clone())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// The admin of a stage.
pub(crate) fn admin(stage: &Stage) -> Credential {
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let key = sublet_client::files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
    Credential::admin(Arc::new(key), trust.domain())
}

fn code(status: &tonic::Status) -> String {
    sublet_client::error::Error::from_status(status).code().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflection_client_lists_the_services() {
    let stage = Stage::set();
    let mut client = ServerReflectionClient::new(channel(&stage).await);
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for service in ["Identity", "Delegation", "Revocation", "Audit", "Admin"] {
        assert!(names.contains(&format!("sublet.v1.{service}")), "{names:?}");
    }
    assert!(names.contains(&"grpc.health.v1.Health".to_owned()));
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel(&stage).await);
    let request = tonic_health::pb::HealthCheckRequest { service: "sublet.v1.Delegation".into() };
    assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_proof_is_unauthenticated_with_its_code() {
    let stage = Stage::set();
    let mut client = DelegationClient::connect(stage.endpoint.clone()).await.unwrap();
    let status = client.issue(v1::IssueRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let failure = sublet_client::error::Error::from_status(&status);
    assert_eq!(failure.code(), "credentials_missing");
    // It left no record: noise is counted.
    let status = stage.sublet(&["status", "--output", "json"]).json();
    assert_eq!(status["unauthenticated_calls"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_a_message_is_refused_unread_and_the_bundle_is_open_to_all() {
    let stage = Stage::set();
    let mut client = DelegationClient::connect(stage.endpoint.clone()).await.unwrap();
    let huge = v1::DelegateRequest { token: vec![0; 2 * 1024 * 1024] };
    // A stranger's is not read, whatever its size.
    let status = client.delegate(huge.clone()).await.unwrap_err();
    assert_eq!(code(&status), "credentials_missing");
    let counted = stage.sublet(&["status", "--output", "json"]).json();
    assert_eq!(counted["unauthenticated_calls"], 1);
    // That of somebody who is known is not either, beyond its first bytes.
    let digest = sublet_core::base::bytes::sha256(&prost::Message::encode_to_vec(&huge));
    let method = "/sublet.v1.Delegation/Delegate";
    let shown = admin(&stage).credentials(method, digest, &Ports::system()).unwrap();
    let mut request = tonic::Request::new(huge);
    credentials::into_metadata(&shown, request.metadata_mut());
    let status = client.delegate(request).await.unwrap_err();
    assert_eq!(
        (status.code(), code(&status)),
        (Code::ResourceExhausted, "message_too_large".into())
    );
    let mut client = IdentityClient::connect(stage.endpoint.clone()).await.unwrap();
    let bundle = client.get_trust_bundle(v1::GetTrustBundleRequest {}).await.unwrap().into_inner();
    assert_eq!(bundle.trust_bundle, std::fs::read(&stage.trust).unwrap());
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    assert_eq!(trust.domain().as_str(), "dev.sublet.example");
}

/// Of a part that the broker does not know nobody believes that it was heard: also where no proof is needed.
// SPEC 5.12.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_not_known_is_refused_by_its_name() {
    let stage = Stage::set();
    let mut client = IdentityClient::connect(stage.endpoint.clone()).await.unwrap();
    let mut ask = async |name: &'static str| {
        let mut request = tonic::Request::new(v1::GetTrustBundleRequest {});
        request.metadata_mut().insert(name, "AAAA".parse().unwrap());
        client.get_trust_bundle(request).await.map(drop)
    };
    for name in ["sublet-token", "sublet-receipt", "sublet-budget", "sublet-answer"] {
        let status = ask(name).await.unwrap_err();
        assert_eq!((status.code(), code(&status)), (Code::InvalidArgument, "bad_part".into()));
        assert!(status.message().starts_with(&format!("{name}: ")), "{}", status.message());
    }
    for name in ["sublet-position", "x-sublet-token"] {
        assert!(ask(name).await.is_ok(), "{name}");
    }
}

// SPEC 5.4.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_for_one_message_opens_no_other_and_none_twice() {
    let stage = Stage::set();
    let admin = admin(&stage);
    let method = "/sublet.v1.Admin/GetProfile";
    let message = v1::GetProfileRequest { name: "default".into() };
    let digest = sublet_core::base::bytes::sha256(&prost::Message::encode_to_vec(&message));
    let shown = admin.credentials(method, digest, &Ports::system()).unwrap();
    let mut client = v1::admin_client::AdminClient::connect(stage.endpoint.clone()).await.unwrap();
    let mut send = async |message: v1::GetProfileRequest| {
        let mut request = tonic::Request::new(message);
        credentials::into_metadata(&shown, request.metadata_mut());
        client
            .get_profile(request)
            .await
            .map_err(|status| sublet_client::error::Error::from_status(&status).code())
    };
    let other = v1::GetProfileRequest { name: "other".into() };
    assert_eq!(send(other).await.err(), Some("wrong_arguments".to_owned()));
    assert!(send(message.clone()).await.is_ok());
    assert_eq!(send(message).await.err(), Some("proof_replayed".to_owned()));
}
