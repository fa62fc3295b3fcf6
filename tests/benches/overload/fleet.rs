//! Agents, and requests of theirs that are signed before they are sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::bytes::sha256;
use sublet_core::base::key::PublicKey;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::Signer as _;
use sublet_core::token::mint::Recipient;
use sublet_proto::credentials;
use sublet_proto::v1;
use tonic::codegen::http::{HeaderMap, Request};
use tonic::metadata::MetadataMap;

use crate::stage::Stage;

/// Agents that flood.
pub(crate) const AGENTS: usize = 20;

const METHOD: &str = "/sublet.v1.Delegation/Delegate";

/// A request as it goes out.
pub(crate) struct Prepared {
    pub(crate) head: Request<()>,
    pub(crate) body: Bytes,
}

/// The agents of one broker, the last of which is the honest one, and its admin.
pub(crate) struct Fleet {
    agents: Vec<Agent>,
    pub(crate) broker: Broker,
    pub(crate) admin: Credential,
}

struct Agent {
    identity: Identity,
    held: Delegation,
    credential: Credential,
    key: PublicKey,
    made: usize,
}

impl Fleet {
    pub(crate) async fn enrolled(stage: &Stage) -> Self {
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
        let key = sublet_client::files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
        let admin = Credential::admin(Arc::new(key), trust.domain());
        let mut agents = Vec::new();
        for number in 0..=AGENTS {
            agents.push(Agent::enrolled(stage, &broker, &admin, &trust, number).await);
        }
        Fleet { agents, broker, admin }
    }

    /// So many requests of each flooding agent, signed now.
    pub(crate) async fn prepare(&mut self, each: usize) -> Vec<Vec<Prepared>> {
        self.agents[..AGENTS].iter_mut().map(|agent| agent.prepare(each)).collect()
    }

    /// So many of the honest one.
    pub(crate) async fn honest(&mut self, number: usize) -> Vec<Prepared> {
        self.agents[AGENTS].prepare(number)
    }
}

impl Agent {
    async fn enrolled(
        stage: &Stage,
        broker: &Broker,
        admin: &Credential,
        trust: &Trust,
        number: usize,
    ) -> Self {
        let request = v1::CreateAgentRequest {
            agent_id: format!("spiffe://{}/load/{number}", trust.domain()),
            profile: "default".into(),
            join_ttl_seconds: 60,
            idempotency_key: Vec::new(),
        };
        let join = broker.create_agent(admin, request).await.unwrap().join_token;
        let home = stage.path(&format!("load-{number}"));
        let identity = Identity::enroll_trusting(broker, &join, home, trust).await.unwrap();
        let principal = format!("user:load@{}", trust.domain());
        let scope = ["fs.read@tool://files path=under:/data limit=range:1..1000"];
        let grant = Grant::of(&principal, &scope, Duration::from_secs(900)).unwrap().hops(4);
        let held = identity.ask(&grant).await.unwrap();
        let credential = Credential::identity(identity.key(), identity.token());
        let key = Ports::system().new_key().unwrap().public_key().clone();
        Agent { identity, held, credential, key, made: 0 }
    }

    fn prepare(&mut self, number: usize) -> Vec<Prepared> {
        let terms = Attenuation::of(
            &["fs.read@tool://files path=under:/data/q3 limit=range:1..10"],
            Duration::from_secs(600),
        )
        .unwrap();
        let messages: Vec<v1::DelegateRequest> = (0..number)
            .map(|_| {
                self.made += 1;
                // Alike in all, within one second, they would be one hop.
                let label = format!("worker-{}", self.made);
                let to = Recipient::Helper { label, key: self.key.clone() };
                v1::DelegateRequest { token: self.held.delegate_offline(to, &terms).unwrap().token }
            })
            .collect();
        // Proofs last, as they are good for half a minute.
        messages.into_iter().map(|message| self.proven(&message)).collect()
    }

    fn proven(&self, message: &v1::DelegateRequest) -> Prepared {
        let message = message.encode_to_vec();
        let digest = sha256(&message);
        let credentials =
            self.credential.credentials(METHOD, digest, self.identity.ports()).unwrap();
        let mut metadata = MetadataMap::new();
        credentials::into_metadata(&credentials, &mut metadata);
        let mut headers: HeaderMap = metadata.into_headers();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        headers.insert("te", "trailers".parse().unwrap());
        let mut head = Request::builder()
            .method("POST")
            .uri(format!("http://broker{METHOD}"))
            .body(())
            .unwrap();
        *head.headers_mut() = headers;
        let mut body = BytesMut::with_capacity(message.len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap());
        body.put_slice(&message);
        Prepared { head, body: body.freeze() }
    }
}
