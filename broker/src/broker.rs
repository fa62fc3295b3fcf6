//! What a running broker consists of; wiring and nothing else.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::decide::{Settings, View};
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::refusal::Fault;
use sublet_core::state::State;
use sublet_core::trust::bundle::{KeyUse, SignedBundle};
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::enroll::Methods;
use crate::enroll::login::Logins;
use crate::keys::{self, KeyRing, OwnKey};
use crate::ledger::witnessed::Witnessed;
use crate::observe::traces::{self, Step, Traces};
use crate::request::refusals::Refusals;
use crate::request::repeat::Heard;
use crate::revocation::feed::Feed;
use crate::store::Store;
use crate::store::reached::Reached;
use sublet_host::chains::Chains;
use sublet_host::ports::{Clock, RandomSource};

/// Proofs that are remembered: 36 s of 25,000 calls a second, some 100 MB when full.
const PROOFS_MAX: Bounds = Bounds { total: 900_000, per_holder: 300_000 };

/// Memory of chains that were verified: some 5,000 of three hops. Whoever fills it costs others the time to
/// verify a chain anew, and nothing else.
const CHAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Time and randomness, and when the broker began.
pub(crate) struct Ports {
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Randomness.
    pub(crate) entropy: Arc<dyn RandomSource>,
    /// When the broker began.
    pub(crate) started_at: UnixMillis,
}

/// What is stored and published: the state, the ledger, the revocation feed.
pub(crate) struct Log {
    /// The state and the ledger.
    pub(crate) store: Store,
    /// How far the store has come, kept beside it.
    pub(crate) reached: Reached,
    /// The revocation feed.
    pub(crate) feed: Feed,
    /// The last checkpoint of the ledger that enough witnesses cosigned.
    pub(crate) witnessed: Witnessed,
}

impl Log {
    /// The trust bundle of this moment.
    pub(crate) fn trust(&self) -> Result<Arc<SignedBundle>, Fault> {
        Ok(self.store.view()?.trust().clone())
    }
}

/// The broker's keys, and the trust bundle in `trust.json` that publishes them.
pub(crate) struct Keys {
    /// The private halves.
    pub(crate) ring: KeyRing,
    /// Told when a key of the broker went on in its life.
    pub(crate) changed: Notify,
    /// The version of `trust.json`, held while it is written; 0 before it is known.
    published: Mutex<u64>,
}

impl Keys {
    /// Writes this trust bundle as `trust.json` in the data directory, unless it is there.
    fn publish(&self, data: &Path, trust: &SignedBundle) -> Result<(), Fault> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let version = trust.bundle().version();
        if *published == version {
            return Ok(());
        }
        keys::publish(data, trust).map_err(|bad| Fault::Store(bad.to_string()))?;
        *published = version;
        Ok(())
    }
}

/// What is known of those who call, beside the state.
pub(crate) struct Callers {
    /// How agents are enrolled.
    pub(crate) methods: Methods,
    /// Whose users agents act for.
    pub(crate) logins: Logins,
    /// Chains that were verified, so that they need not be verified again.
    pub(crate) chains: Chains,
    /// Call proofs that were seen.
    pub(crate) proofs: ReplayCache,
    /// Which identity each agent has shown.
    pub(crate) heard: Heard,
}

/// Refusals that are counted and not recorded one by one.
#[derive(Default)]
pub(crate) struct Refused {
    /// Calls without a valid proof.
    pub(crate) unauthenticated: AtomicU64,
    /// Calls by callers that are not alive any more.
    pub(crate) dead: AtomicU64,
    /// Refusals that are too many to be recorded one by one.
    pub(crate) counted: Refusals,
}

/// A running broker, shared by all that serve it.
pub struct Broker {
    pub(crate) config: Config,
    /// What decisions need of the configuration.
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) keys: Keys,
    pub(crate) log: Arc<Log>,
    pub(crate) callers: Callers,
    pub(crate) refused: Refused,
    /// Where spans go; nowhere when it is not said.
    pub(crate) traces: Option<Traces>,
    /// Turns true when the broker is told to stop; streams that never end by themselves end then.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Broker {
    /// Puts a broker together.
    pub fn new(
        config: Config,
        ring: KeyRing,
        store: Store,
        (methods, logins): (Methods, Logins),
        traces: Option<Traces>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn RandomSource>,
    ) -> Result<Arc<Self>, Fault> {
        let started_at = clock.now();
        let settings = Settings {
            identity_ttl_seconds: config.identity_ttl_seconds,
            schedule: config.keys.schedule(),
            hops_live_max: config.hops_live_max,
        };
        let (witnessed, reached) = (Witnessed::open(&config.data), Reached::of(&config.data));
        let feed = Feed::new(store.clone(), ring.signers.clone(), started_at)?;
        Ok(Arc::new(Broker {
            config,
            settings,
            ports: Ports { clock, entropy, started_at },
            keys: Keys { ring, changed: Notify::new(), published: Mutex::new(0) },
            log: Arc::new(Log { store, reached, feed, witnessed }),
            callers: Callers {
                methods,
                logins,
                chains: Chains::new(CHAIN_BYTES_MAX),
                proofs: ReplayCache::new(PROOFS_MAX, started_at),
                heard: Heard::default(),
            },
            refused: Refused::default(),
            traces,
            stopping: watch::channel(false).0,
        }))
    }

    /// The trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    /// The trust bundle of this moment.
    pub fn trust(&self) -> Result<Arc<SignedBundle>, Fault> {
        self.log.trust()
    }

    /// The key that signs for a use at this moment.
    pub fn signing(&self, use_: KeyUse) -> Result<OwnKey, Fault> {
        self.keys.ring.signers.active(self.trust()?.bundle(), use_)
    }

    /// Writes the trust bundle of this moment as `trust.json`, unless it is there.
    pub(crate) fn publish_trust(&self) -> Result<(), Fault> {
        self.keys.publish(&self.config.data, self.trust()?.as_ref())
    }

    /// What a decision may rest on, over a state that is held.
    pub fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        View { state, settings: &self.settings }
    }

    /// Begins a step of the call that is served; it ends when the answer is dropped.
    pub(crate) fn step(&self, name: &'static str) -> Step {
        traces::step(self.traces.as_ref(), name)
    }

    /// The thumbprint of the admin key; `None` when there is no admin.
    pub fn admin(&self) -> Option<Thumbprint> {
        self.keys.ring.admin.as_ref().map(|key| key.thumbprint())
    }
}
