//! Time and entropy, as the client takes them in. Signing is `sublet_core::sign::Signer`.
//!
//! Owns: the two traits and their system implementations, the only places in the client where a
//! clock or the random source is read. Does not own: what either is used for.
//!
//! Invariants: the monotonic clock never goes back, so that nothing old is made fresh by setting
//! the wall clock (SPEC section 7); entropy that fails is an error, never zeros.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sublet_core::id::{Nonce, UnixMillis};
use sublet_core::no::Fault;
use sublet_core::sign::SecretKey;
use zeroize::Zeroizing;

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the epoch, by the wall clock.
    fn now(&self) -> UnixMillis;
    /// Milliseconds since some moment, by a clock that is never set back.
    fn monotonic_ms(&self) -> u64;
}

/// Where randomness comes from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the bytes from a cryptographic random source.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Sixteen fresh random bytes.
    fn nonce(&self) -> Result<Nonce, Fault> {
        let mut bytes = [0; 16];
        self.fill(&mut bytes)?;
        Ok(Nonce(bytes))
    }
}

/// The host's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> UnixMillis {
        // A clock before 1970 reads as 1970, where nothing is valid.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the Entropy port")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault> {
        getrandom::fill(bytes).map_err(|error| Fault::Internal(format!("no entropy: {error}")))
    }
}

/// Both ports together, to be handed around.
#[derive(Clone)]
pub struct Ports {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
}

impl Ports {
    /// The host's clocks and the operating system's random source.
    pub fn system() -> Self {
        Ports { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy) }
    }

    /// A new Ed25519 key.
    pub fn new_key(&self) -> Result<SecretKey, Fault> {
        let mut seed = Zeroizing::new([0; 32]);
        self.entropy.fill(seed.as_mut_slice())?;
        Ok(SecretKey::ed25519_of(&seed))
    }

    /// A number below `bound`, for jitter and for nothing secret; 0 when there is no entropy.
    pub(crate) fn jitter(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        match self.entropy.fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0),
            Err(_) => 0,
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Ports::system()
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use super::*;

    /// A clock that stands until it is moved.
    #[derive(Debug)]
    pub(crate) struct FakeClock {
        wall: AtomicI64,
        monotonic: AtomicU64,
    }

    impl FakeClock {
        pub(crate) fn at(ms: i64) -> Arc<Self> {
            Arc::new(FakeClock { wall: AtomicI64::new(ms), monotonic: AtomicU64::new(7_000) })
        }

        /// Both clocks go on.
        pub(crate) fn pass(&self, ms: u64) {
            self.wall.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
            self.monotonic.fetch_add(ms, Ordering::SeqCst);
        }

        /// The wall clock alone is set.
        pub(crate) fn set_wall(&self, ms: i64) {
            self.wall.store(ms, Ordering::SeqCst);
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.wall.load(Ordering::SeqCst))
        }

        fn monotonic_ms(&self) -> u64 {
            self.monotonic.load(Ordering::SeqCst)
        }
    }

    pub(crate) fn ports(clock: &Arc<FakeClock>) -> Ports {
        Ports { clock: clock.clone(), entropy: Arc::new(SystemEntropy) }
    }

    #[test]
    fn keys_and_nonces_are_fresh() {
        let ports = Ports::system();
        let (one, other) = (ports.new_key().unwrap(), ports.new_key().unwrap());
        use sublet_core::sign::Signer as _;
        assert_ne!(one.public_key(), other.public_key());
        assert_ne!(ports.entropy.nonce().unwrap(), ports.entropy.nonce().unwrap());
        assert!(ports.jitter(10) < 10);
        assert_eq!(ports.jitter(0), 0);
    }
}
