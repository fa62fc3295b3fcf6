//! One run of the model: the broker, a tool, everybody who holds something, and the reference beside them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sublet_core::authorize::verify_token;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{HopId, Nonce, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::decide::{Entropy, Invitation};
use sublet_core::evidence::receipt::Receipt;
use sublet_core::refusal::{Refusal, Unauthenticated};
use sublet_core::state::rows::session::SessionId;
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyRefusal;
use sublet_tests::{NOW, key, nonce};

use crate::ask::Request;
use crate::broker::Broker;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::log::LogCheck;
use crate::property::{Check, Property};
use crate::reference::Reference;
use crate::tool::Tool;
use crate::uses::Counters;

/// How far the broker's clock may be behind that of tools and holders, in milliseconds: less than the skew
/// that all of them take.
pub(crate) const LAG_MS_MAX: i64 = 4_000;

/// Private keys, by number.
#[derive(Default)]
pub(crate) struct Keys {
    made: Vec<Arc<SecretKey>>,
    numbers: HashMap<Thumbprint, usize>,
}

impl Keys {
    /// Makes a key that nobody has.
    pub(crate) fn make(&mut self) -> usize {
        let number = self.made.len();
        let made = Arc::new(key(&format!("model {number}")));
        self.numbers.insert(made.public_key().thumbprint(), number);
        self.made.push(made);
        number
    }

    /// A key.
    pub(crate) fn of(&self, number: usize) -> &Arc<SecretKey> {
        &self.made[number]
    }

    /// The number of a key.
    pub(crate) fn number(&self, key: &Thumbprint) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }
}

/// A token that somebody holds.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: Arc<VerifiedToken>,
    /// The number of its holder's key.
    pub(crate) key: usize,
    pub(crate) receipt: Option<Receipt>,
}

/// What came of the events so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// By what was asked: granted, refused, not authenticated, outdated.
    pub(crate) asks: BTreeMap<&'static str, [u64; 4]>,
    /// By the code of a refusal.
    pub(crate) codes: BTreeMap<&'static str, u64>,
    /// Events of other kinds.
    pub(crate) others: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts an event that asks nothing of the broker.
    pub(crate) fn other(&mut self, name: &'static str) {
        *self.others.entry(name).or_default() += 1;
    }
}

/// The world of one seed.
pub(crate) struct World {
    pub(crate) dice: Dice,
    /// The time of tools and holders.
    pub(crate) now: UnixMillis,
    /// How far the broker's clock is behind.
    pub(crate) lag_ms: i64,
    pub(crate) broker: Broker,
    pub(crate) tool: Tool,
    pub(crate) reference: Reference,
    pub(crate) wallet: Vec<Held>,
    /// The identities of each agent, oldest first.
    pub(crate) identities: BTreeMap<usize, Vec<Held>>,
    /// Join tokens, with the number of their agent.
    pub(crate) invitations: Vec<(usize, Invitation)>,
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) keys: Keys,
    /// The blocks of recorded hops, as their records have them.
    pub(crate) blocks: HashMap<HopId, BlockPayload>,
    pub(crate) log: LogCheck,
    /// The next counter of each tool.
    pub(crate) counters: Counters,
    pub(crate) counts: Counts,
    /// What was issued in the event of now.
    pub(crate) fresh: HashSet<HopId>,
    drawn: u64,
}

impl World {
    /// The world of a seed, with something broken in it on purpose or not.
    pub(crate) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let broker = Broker::new(NOW, fault);
        let mut tool = Tool::new(&broker, NOW);
        if fault == Some(Fault::AnyAge) {
            tool.staleness_ms_max = i64::MAX;
        }
        World {
            dice: Dice::new(seed),
            now: NOW,
            lag_ms: 0,
            broker,
            tool,
            reference: Reference::default(),
            wallet: Vec::new(),
            identities: BTreeMap::new(),
            invitations: Vec::new(),
            sessions: Vec::new(),
            keys: Keys::default(),
            blocks: HashMap::new(),
            log: LogCheck::default(),
            counters: Counters::new(),
            counts: Counts::default(),
            fresh: HashSet::new(),
            drawn: 0,
        }
    }

    /// The time of the broker.
    pub(crate) fn broker_now(&self) -> UnixMillis {
        self.now.plus_ms(-self.lag_ms)
    }

    /// Whether something is broken on purpose.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.broker.fault == Some(fault)
    }

    /// Fresh randomness for one decision.
    pub(crate) fn entropy(&mut self) -> Entropy {
        self.drawn += 1;
        Entropy(sha256(&self.drawn.to_be_bytes()))
    }

    /// A nonce that was not drawn before.
    pub(crate) fn nonce(&mut self) -> Nonce {
        self.drawn += 1;
        nonce(&[b"proof", &self.drawn.to_be_bytes()])
    }

    /// Reads a token that the broker gave out: everybody must be able to.
    pub(crate) fn given(&self, bytes: &[u8]) -> Check<VerifiedToken> {
        let trust = self.broker.ahead().trust();
        let read = verify_token(bytes, trust.bundle());
        read.map_err(|bad| Property::RealBiscuit.broken(format!("a token that was given: {bad}")))
    }

    /// The same of an answer that is handed out; `None` where its root was tainted in the meantime.
    pub(crate) fn taken(&self, bytes: &[u8]) -> Check<Option<VerifiedToken>> {
        match verify_token(bytes, self.broker.state().trust().bundle()) {
            Err(Refusal::Unauthenticated(Unauthenticated::Root(KeyRefusal::Tainted(_)))) => {
                Ok(None)
            }
            _ => self.given(bytes).map(Some),
        }
    }

    /// The token of a hop, if somebody in the world holds it.
    pub(crate) fn holder_of(&self, hop: &HopId) -> Option<usize> {
        self.wallet.iter().position(|held| held.token.id() == *hop)
    }

    /// What a request is counted under.
    pub(crate) fn count(&mut self, request: &Request, column: usize) {
        self.counts.asks.entry(request.ask.name()).or_default()[column] += 1;
    }
}

impl Counts {
    /// Takes in those of another world.
    pub(crate) fn add(&mut self, other: &Counts) {
        for (name, columns) in &other.asks {
            let of = self.asks.entry(name).or_default();
            of.iter_mut().zip(columns).for_each(|(own, more)| *own += more);
        }
        for (name, count) in &other.codes {
            *self.codes.entry(name).or_default() += count;
        }
        for (name, count) in &other.others {
            *self.others.entry(name).or_default() += count;
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "asked: granted, refused, not authenticated, outdated")?;
        for (name, [granted, refused, unknown, outdated]) in &self.asks {
            writeln!(f, "  {name}: {granted}, {refused}, {unknown}, {outdated}")?;
        }
        writeln!(f, "codes: {:?}", self.codes)?;
        write!(f, "others: {:?}", self.others)
    }
}
