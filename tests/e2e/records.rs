//! A fleet of identities over one broker, and its ledger as it is: shared by tests that look at whom a
//! record names.

use std::sync::Arc;
use std::time::Duration;

use sublet_client::Grant;
use sublet_client::Identity;
use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::audit::entry::Entry;
use sublet_client::audit::records;
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Caller as _;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::id::AgentId;
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::token::Presentation;
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_proto::record::record::Body;

use crate::stage::Stage;

pub(crate) const SCOPE: [&str; 1] = ["fs.read@tool://files path=under:/data"];

/// A broker, its admin, and agents of it.
pub(crate) struct Records {
    pub(crate) stage: Stage,
    pub(crate) broker: Broker,
    pub(crate) trust: Trust,
    pub(crate) admin: Credential,
}

impl Records {
    pub(crate) async fn of(stage: Stage) -> Self {
        let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
        let admin = files::read_key(&stage.admin_key, &KeyLock::open()).unwrap();
        let admin = Credential::admin(Arc::new(admin), trust.domain());
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        Records { stage, broker, trust, admin }
    }

    /// An agent of the default profile that has come in.
    pub(crate) async fn agent(&self, name: &str) -> Identity {
        let join = self.stage.sublet(&["agent", "create", &format!("agent/{name}")]).ok();
        let directory = self.stage.path(name);
        Identity::enroll_trusting(&self.broker, &join, directory, &self.trust).await.unwrap()
    }

    /// Alice's authority, five hops of it, two of them offline.
    pub(crate) async fn root(&self, agent: &Identity) -> Delegation {
        let principal = format!("user:alice@{}", self.trust.domain());
        let grant = Grant::of(&principal, &SCOPE, Duration::from_secs(600)).unwrap();
        agent.ask(&grant.hops(5).offline_hops(2)).await.unwrap()
    }

    /// A hop to another agent, recorded.
    pub(crate) async fn handed(&self, from: &Delegation, to: &Identity) -> Delegation {
        let shown = from.delegate_to_agent(&to.id(), &terms()).await.unwrap();
        self.open(to, &shown)
    }

    pub(crate) fn open(&self, to: &Identity, shown: &Presentation) -> Delegation {
        to.open(&shown.to_text()).unwrap().with_broker(self.broker.clone())
    }

    pub(crate) fn id(&self, name: &str) -> AgentId {
        format!("spiffe://{}/{name}", self.trust.domain()).parse().unwrap()
    }

    /// Every record of the ledger, by the admin.
    pub(crate) async fn read(&self) -> Vec<Entry> {
        records::read(&self.broker, &self.admin, &self.trust).await.unwrap().entries
    }

    /// Whom records name, and what they are: all but the exports that this reading makes.
    pub(crate) async fn named(&self) -> Vec<(String, &'static str)> {
        let entries = self.read().await.into_iter();
        let entries = entries.map(|entry| (entry.record.actor.clone(), entry.kind()));
        entries.filter(|(_, kind)| *kind != "exported").collect()
    }

    /// The codes of what was refused to this actor.
    pub(crate) async fn refused(&self, actor: &str) -> Vec<String> {
        let entries = self.read().await.into_iter().filter(|e| e.record.actor.contains(actor));
        let code = |entry: Entry| match entry.record.body {
            Some(Body::Refused(refused)) => Some(refused.code),
            _ => None,
        };
        entries.filter_map(code).collect()
    }

    /// How many calls came without a valid proof.
    pub(crate) async fn unauthenticated(&self) -> u64 {
        let status = self.broker.status(&self.admin, Default::default()).await.unwrap();
        status.unauthenticated_calls
    }
}

/// All of the scope, for five minutes.
pub(crate) fn terms() -> Attenuation {
    Attenuation::of(&SCOPE, Duration::from_secs(300)).unwrap()
}

/// The caller that an identity is now.
pub(crate) fn credential(identity: &Identity) -> Credential {
    identity.credential().unwrap()
}

/// A key that is drawn here.
pub(crate) fn fresh_key() -> Arc<SecretKey> {
    let ports = Ports::system();
    let (half, other) = (ports.entropy.nonce().unwrap().0, ports.entropy.nonce().unwrap().0);
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&half);
    seed[16..].copy_from_slice(&other);
    Arc::new(SecretKey::ed25519_from_seed(seed))
}

/// What an attacker makes of a token that it holds: one more hop, in any agent's name, with a key of its
/// own; offline, and by the very code that honest holders make theirs with.
pub(crate) fn misnamed(
    held: &VerifiedToken,
    holder: &SecretKey,
    name: AgentId,
    key: &SecretKey,
) -> VerifiedToken {
    let hop = Hop {
        to: Recipient::Agent { id: name, key: key.public_key().clone() },
        scope: terms().scope,
        ttl_seconds: 100,
        hops_max: None,
        offline_hops_max: None,
    };
    mint::append(held, &hop, Ports::system().clock.now(), holder).unwrap()
}

/// Time since it was started.
pub(crate) struct Stopwatch {
    ports: Ports,
    began: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let ports = Ports::system();
        let began = ports.clock.monotonic_ms();
        Stopwatch { ports, began }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.ports.clock.monotonic_ms() - self.began)
    }
}
