//! Time and entropy, as the broker takes them in. Signing is `sublet_core::sign::Signer`.
//!
//! Owns: the two traits and their system implementations, the only places in the broker where the
//! clock and the random source are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sublet_core::decide::Entropy;
use sublet_core::id::UnixMillis;
use sublet_core::no::Fault;
use zeroize::Zeroizing;

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now(&self) -> UnixMillis;
}

/// A clock that only goes forward, for how long something takes. Nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "this is the port")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Where randomness comes from.
pub trait EntropySource: Send + Sync + 'static {
    /// 32 fresh random bytes.
    fn draw(&self) -> Result<Entropy, Fault>;

    /// The same for a private key: wiped when it is dropped.
    fn seed(&self) -> Result<Zeroizing<[u8; 32]>, Fault> {
        Ok(Zeroizing::new(self.draw()?.0))
    }
}

/// The host's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock port")]
    fn now(&self) -> UnixMillis {
        // A clock before 1970 reads as 1970, where nothing is valid.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The operating system's random source.
pub struct SystemEntropy;

impl EntropySource for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the Entropy port")]
    fn draw(&self) -> Result<Entropy, Fault> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Fault::Internal(format!("no entropy: {error}")))?;
        Ok(Entropy(bytes))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the Entropy port")]
    fn seed(&self) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| Fault::Internal(format!("no entropy: {error}")))?;
        Ok(seed)
    }
}
