//! What a running broker consists of; wiring and nothing else.

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

/// A running broker, shared by all that serve it.
pub struct Broker {
    /// What was configured.
    pub config: Config,
    /// The keys that it signs with.
    pub keys: KeyRing,
    /// Where everything lies.
    pub store: Store,
    /// How far the store has come, beside it.
    pub(crate) reached: Reached,
    /// The revocation feed.
    pub feed: Feed,
    /// What decisions need of the configuration.
    pub settings: Settings,
    /// The last head of the ledger that witnesses cosigned.
    pub witnessed: Witnessed,
    /// How agents come in.
    pub methods: Methods,
    /// Whose users they act for.
    pub logins: Logins,
    /// Chains that were verified, so that they need not be again.
    pub(crate) chains: Chains,
    /// Call proofs seen.
    pub seen: ReplayCache,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn RandomSource>,
    /// When it began.
    pub started_at: UnixMillis,
    /// Calls without a valid proof: counted, not recorded.
    pub unauthenticated: AtomicU64,
    /// Calls by callers that are not alive any more: counted, not recorded.
    pub dead: AtomicU64,
    /// Refusals that are too many to be recorded one by one.
    pub refusals: Refusals,
    /// Which identity each agent has shown.
    pub heard: Heard,
    /// Where spans go; nowhere when it is not said.
    pub traces: Option<Traces>,
    /// Told when a key of the broker went on in its life.
    pub keys_changed: Notify,
    /// The version of `trust.json`, held while it is written; 0 before it is known.
    published: Mutex<u64>,
    /// Turns true when the broker is told to stop; streams that never end by themselves end then.
    pub stopping: watch::Sender<bool>,
}

impl Broker {
    /// Puts a broker together.
    pub fn new(
        config: Config,
        keys: KeyRing,
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
        let feed = Feed::new(store.clone(), keys.signers.clone(), started_at)?;
        Ok(Arc::new(Broker {
            config,
            keys,
            store,
            reached,
            feed,
            settings,
            witnessed,
            methods,
            logins,
            chains: Chains::new(CHAIN_BYTES_MAX),
            seen: ReplayCache::new(PROOFS_MAX, started_at),
            clock,
            entropy,
            started_at,
            unauthenticated: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            refusals: Refusals::default(),
            heard: Heard::default(),
            traces,
            keys_changed: Notify::new(),
            published: Mutex::new(0),
            stopping: watch::channel(false).0,
        }))
    }

    /// The trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.config.trust_domain
    }

    /// The trust bundle of this moment.
    pub fn trust(&self) -> Result<Arc<SignedBundle>, Fault> {
        Ok(self.store.view()?.trust().clone())
    }

    /// The key that signs for a use at this moment.
    pub fn signing(&self, use_: KeyUse) -> Result<OwnKey, Fault> {
        self.keys.signers.active(self.trust()?.bundle(), use_)
    }

    /// Writes the trust bundle of this moment as `trust.json`, unless it is there.
    pub fn publish_trust(&self) -> Result<(), Fault> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let trust = self.trust()?;
        let version = trust.bundle().version();
        if *published == version {
            return Ok(());
        }
        let written = keys::publish(&self.config.data, trust.as_ref());
        written.map_err(|bad| Fault::Store(bad.to_string()))?;
        *published = version;
        Ok(())
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
        self.keys.admin.as_ref().map(|key| key.thumbprint())
    }
}
