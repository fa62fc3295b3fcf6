//! The parts of a running broker, and how they are put together.

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

/// Call proofs that are remembered: 36 s at 25,000 calls a second. A full cache takes about 100 MB.
const PROOFS_MAX: Bounds = Bounds { total: 900_000, per_holder: 300_000 };

/// Memory for verified chains, in bytes: about 5,000 chains of three hops. A caller that fills it only
/// makes the broker verify other callers' chains again.
const CHAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The clock, the random source, and the time at which the broker started.
pub(crate) struct Ports {
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The random source.
    pub(crate) entropy: Arc<dyn RandomSource>,
    /// The time at which the broker started.
    pub(crate) started_at: UnixMillis,
}

/// What the broker stores and publishes: the state, the ledger and the revocation feed.
pub(crate) struct Log {
    /// The state and the ledger.
    pub(crate) store: Store,
    /// The mark beside the store that says how far the store has come.
    pub(crate) reached: Reached,
    /// The revocation feed.
    pub(crate) feed: Feed,
    /// The last checkpoint that enough witnesses cosigned.
    pub(crate) witnessed: Witnessed,
}

impl Log {
    /// Returns the current trust bundle. A fault if the store has ended.
    pub(crate) fn trust(&self) -> Result<Arc<SignedBundle>, Fault> {
        Ok(self.store.view()?.trust().clone())
    }
}

/// The broker's keys, and the trust bundle in `trust.json` that publishes them.
pub(crate) struct Keys {
    /// The private keys.
    pub(crate) ring: KeyRing,
    /// Notified when the state of a broker key changed.
    pub(crate) changed: Notify,
    /// The version of the trust bundle in `trust.json`; 0 until it is first written. The lock is held
    /// while the file is written.
    published: Mutex<u64>,
}

impl Keys {
    /// Writes this trust bundle as `trust.json` in the data directory, unless this version is already there.
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

/// What the broker knows about callers and does not keep in the state.
pub(crate) struct Callers {
    /// The enrollment methods.
    pub(crate) methods: Methods,
    /// The identity providers whose users agents may act for.
    pub(crate) logins: Logins,
    /// Chains that were verified, so that they need not be verified again.
    pub(crate) chains: Chains,
    /// The call proofs that were accepted, to refuse their replay.
    pub(crate) proofs: ReplayCache,
    /// The identity that each agent has shown last.
    pub(crate) heard: Heard,
}

/// Counters of refusals that get no record of their own.
#[derive(Default)]
pub(crate) struct Refused {
    /// The number of calls without a valid proof since the start.
    pub(crate) unauthenticated: AtomicU64,
    /// The number of calls since the start whose caller is no longer valid: expired, revoked or suspended.
    pub(crate) dead: AtomicU64,
    /// Refusals of authenticated callers that were too many for a record each.
    pub(crate) counted: Refusals,
}

/// A running broker. All services share it.
pub struct Broker {
    pub(crate) config: Config,
    /// The part of the configuration that decisions need.
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) keys: Keys,
    pub(crate) log: Arc<Log>,
    pub(crate) callers: Callers,
    pub(crate) refused: Refused,
    /// Where spans are sent; `None` if tracing is not configured.
    pub(crate) traces: Option<Traces>,
    /// Becomes true when the broker is told to stop. Streams without an end of their own end then.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Broker {
    /// Makes a broker from its parts. A fault if the revocation feed cannot be signed.
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

    /// Returns the trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    /// Returns the current trust bundle. A fault if the store has ended.
    pub fn trust(&self) -> Result<Arc<SignedBundle>, Fault> {
        self.log.trust()
    }

    /// Returns the key that signs for this use now. A fault if there is none.
    pub fn signing(&self, use_: KeyUse) -> Result<OwnKey, Fault> {
        self.keys.ring.signers.active(self.trust()?.bundle(), use_)
    }

    /// Writes the current trust bundle as `trust.json`, unless this version is already there.
    pub(crate) fn publish_trust(&self) -> Result<(), Fault> {
        self.keys.publish(&self.config.data, self.trust()?.as_ref())
    }

    /// Returns what a decision may read, over this state.
    pub fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        View { state, settings: &self.settings }
    }

    /// Starts a span for one step of the current call. The span ends when the returned value is dropped.
    pub(crate) fn step(&self, name: &'static str) -> Step {
        traces::step(self.traces.as_ref(), name)
    }

    /// Returns the thumbprint of the admin key; `None` if there is no admin key.
    pub fn admin(&self) -> Option<Thumbprint> {
        self.keys.ring.admin.as_ref().map(|key| key.thumbprint())
    }
}
