//! The clock and the random source, as the client passes them on.
//!
//! Owns: [`Ports`], and what is made from randomness: keys, jitter. Does not own: the clocks and
//! the random source themselves (`sublet_host::ports`).

use std::fmt;
use std::sync::Arc;

use sublet_core::base::sign::SecretKey;
use sublet_core::refusal::Fault;
pub use sublet_host::ports::{Clock, RandomSource, SystemClock, SystemRandom};

/// The clock and the random source. Clones are cheap.
#[derive(Clone)]
pub struct Ports {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub entropy: Arc<dyn RandomSource>,
}

impl Ports {
    /// Returns the host's clocks and the operating system's random source.
    pub fn system() -> Self {
        Ports { clock: Arc::new(SystemClock), entropy: Arc::new(SystemRandom) }
    }

    /// Makes a new Ed25519 key. Fails when the random source fails.
    pub fn new_key(&self) -> Result<SecretKey, Fault> {
        Ok(SecretKey::ed25519_of(&self.entropy.seed()?))
    }

    /// Returns a random number below `bound`, for jitter and never for secrets; 0 when the random
    /// source fails.
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

    use sublet_core::base::id::UnixMillis;

    use super::*;

    /// A clock that changes only when it is set.
    #[derive(Debug)]
    pub(crate) struct FakeClock {
        wall: AtomicI64,
        monotonic: AtomicU64,
    }

    impl FakeClock {
        pub(crate) fn at(ms: i64) -> Arc<Self> {
            Arc::new(FakeClock { wall: AtomicI64::new(ms), monotonic: AtomicU64::new(7_000) })
        }

        /// Advances both clocks.
        pub(crate) fn pass(&self, ms: u64) {
            self.wall.fetch_add(i64::try_from(ms).unwrap(), Ordering::SeqCst);
            self.monotonic.fetch_add(ms, Ordering::SeqCst);
        }

        /// Sets only the wall clock.
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
        Ports { clock: clock.clone(), entropy: Arc::new(SystemRandom) }
    }

    #[test]
    fn keys_and_nonces_are_fresh() {
        let ports = Ports::system();
        let (one, other) = (ports.new_key().unwrap(), ports.new_key().unwrap());
        use sublet_core::base::sign::Signer as _;
        assert_ne!(one.public_key(), other.public_key());
        assert_ne!(ports.entropy.nonce().unwrap(), ports.entropy.nonce().unwrap());
        assert!(ports.jitter(10) < 10);
        assert_eq!(ports.jitter(0), 0);
    }
}
