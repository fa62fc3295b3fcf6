//! The cache of verified chains and receipts, for a tool and for the broker. SPEC 2.8.3.
//!
//! Owns: finding a verified chain by its bytes, within a memory limit. Does not own: what is looked
//! up, verified and stored (`sublet_core::authorize`).
//!
//! Invariants: an entry is returned only for the bundle version that it was verified under.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sublet_core::authorize::{ChainMemory, Digest};
use sublet_core::token::verify::{Coverage, VerifiedToken};

/// A value that was verified under one version of the bundle.
struct Verified<T> {
    bundle: u64,
    value: Arc<T>,
    bytes: u64,
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Verified { bundle: self.bundle, value: self.value.clone(), bytes: self.bytes }
    }
}

#[derive(Clone)]
struct Bytes;

impl<T> Weighter<Digest, Verified<T>> for Bytes {
    fn weight(&self, _: &Digest, entry: &Verified<T>) -> u64 {
        entry.bytes
    }
}

type Kept<T> = Cache<Digest, Verified<T>, Bytes>;

/// The chains and receipts that were seen last.
pub struct Chains {
    chains: Kept<VerifiedToken>,
    receipts: Kept<Coverage>,
}

impl std::fmt::Debug for Chains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chains({} chains, {} receipts)", self.chains.len(), self.receipts.len())
    }
}

/// The memory of a verified chain for each of its bytes: it is stored again as types, ids and keys.
/// Measured with realistic scopes it is three to four times the bytes.
const BYTES_PER_BYTE: u64 = 5;

impl Chains {
    /// Returns a cache of at most about this many bytes, an eighth of it for receipts; 0 keeps
    /// nothing.
    pub fn new(bytes_max: u64) -> Self {
        let cache = |bytes: u64| (usize::try_from(bytes / 4096).unwrap_or(usize::MAX), bytes);
        let ((chains, chain_bytes), (receipts, receipt_bytes)) =
            (cache(bytes_max / 8 * 7), cache(bytes_max / 8));
        Chains {
            chains: Cache::with_weighter(chains, chain_bytes, Bytes),
            receipts: Cache::with_weighter(receipts, receipt_bytes, Bytes),
        }
    }
}

impl ChainMemory for Chains {
    fn chain(&self, name: &Digest, bundle: u64) -> Option<Arc<VerifiedToken>> {
        known(&self.chains, name, bundle)
    }

    fn keep_chain(&self, name: Digest, bundle: u64, chain: &Arc<VerifiedToken>, bytes: usize) {
        if self.chains.peek(&name).is_none() {
            insert(&self.chains, name, bundle, chain, bytes);
        }
    }

    fn drop_chain(&self, name: &Digest) {
        self.chains.remove(name);
    }

    fn coverage(&self, name: &Digest, bundle: u64) -> Option<Arc<Coverage>> {
        known(&self.receipts, name, bundle)
    }

    fn keep_coverage(&self, name: Digest, bundle: u64, coverage: &Arc<Coverage>, bytes: usize) {
        insert(&self.receipts, name, bundle, coverage, bytes);
    }
}

fn known<T>(kept: &Kept<T>, name: &Digest, bundle: u64) -> Option<Arc<T>> {
    let entry = kept.get(name)?;
    if entry.bundle == bundle {
        return Some(entry.value);
    }
    kept.remove(name);
    None
}

fn insert<T>(kept: &Kept<T>, name: Digest, bundle: u64, value: &Arc<T>, bytes: usize) {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BYTES_PER_BYTE);
    kept.insert(name, Verified { bundle, value: value.clone(), bytes });
}
