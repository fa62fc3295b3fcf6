//! Time and randomness, as a process reads them. Signing is `sublet_core::base::sign::Signer`.
//!
//! Owns: the two traits and their system implementations, the only places outside of tests that
//! read a clock or the random source. Does not own: what either is used for.
//!
//! Invariants: the monotonic clock never goes back, so setting the wall clock makes nothing old
//! fresh (SPEC section 7); a random source that fails is an error, never zeros.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sublet_core::base::id::{Nonce, UnixMillis};
use sublet_core::decide::Entropy;
use sublet_core::refusal::Fault;
use zeroize::Zeroizing;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Returns milliseconds since 1970, by the wall clock.
    fn now(&self) -> UnixMillis;

    /// Returns milliseconds since an arbitrary moment, by a clock that is never set back.
    fn monotonic_ms(&self) -> u64;
}

/// A source of randomness.
pub trait RandomSource: Send + Sync + 'static {
    /// Fills the bytes from a cryptographic random source.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault>;

    /// Returns 16 fresh random bytes.
    fn nonce(&self) -> Result<Nonce, Fault> {
        let mut bytes = [0; 16];
        self.fill(&mut bytes)?;
        Ok(Nonce(bytes))
    }

    /// Returns 32 fresh random bytes for one decision.
    fn draw(&self) -> Result<Entropy, Fault> {
        let mut bytes = [0; 32];
        self.fill(&mut bytes)?;
        Ok(Entropy(bytes))
    }

    /// Returns 32 fresh random bytes for a private key. They are wiped when they are dropped.
    fn seed(&self) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let mut seed = Zeroizing::new([0; 32]);
        self.fill(seed.as_mut_slice())?;
        Ok(seed)
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
        // A clock before 1970 reads as 1970, when nothing is valid.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns the current time of a monotonic clock, for measuring durations. No decision uses it.
#[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the port of randomness")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Fault> {
        getrandom::fill(bytes).map_err(|error| Fault::Internal(format!("no random bytes: {error}")))
    }
}
