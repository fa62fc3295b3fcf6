//! Chains and receipts that this verifier has seen: what was verified once is not verified again.
//! SPEC 2.8.3.
//!
//! Owns: bytes to verified chain, within a bound of memory. Does not own: what may change from one
//! call to the next — time, revocation, possession, policy — which is asked on every call, so that
//! no entry outlives a revocation.
//!
//! Invariants: an entry is found by the SHA-256 of all bytes that were verified, and holds under
//! one bundle version only; a chain that is over leaves; nothing is kept of what was refused.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sublet_core::bundle::TrustBundle;
use sublet_core::bytes::sha256;
use sublet_core::id::UnixMillis;
use sublet_core::no::{Malformed, No};
use sublet_core::receipt::Receipt;
use sublet_core::token::{UnverifiedToken, prefix_digests};
use sublet_core::verify::{Coverage, VerifiedToken};

type Digest = [u8; 32];

/// Something verified under one version of the bundle.
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

/// The chains and receipts seen last.
pub(crate) struct Chains {
    chains: Cache<Digest, Verified<VerifiedToken>, Bytes>,
    receipts: Cache<Digest, Verified<Coverage>, Bytes>,
}

impl std::fmt::Debug for Chains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chains({} chains, {} receipts)", self.chains.len(), self.receipts.len())
    }
}

/// What a chain takes beside its bytes: the same again as a type, ids and keys. Measured with
/// realistic scopes: three to four times the bytes.
const BYTES_PER_BYTE: u64 = 5;

impl Chains {
    /// Of at most about this much memory, an eighth of it for receipts; 0 keeps nothing.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let cache = |bytes: u64| (usize::try_from(bytes / 4096).unwrap_or(usize::MAX), bytes);
        let ((chains, chain_bytes), (receipts, receipt_bytes)) =
            (cache(bytes_max / 8 * 7), cache(bytes_max / 8));
        Chains {
            chains: Cache::with_weighter(chains, chain_bytes, Bytes),
            receipts: Cache::with_weighter(receipts, receipt_bytes, Bytes),
        }
    }

    /// The chain and what the receipt covers of it, verified now or before.
    pub(crate) fn verify(
        &self,
        token: &[u8],
        receipt: &[u8],
        bundle: &TrustBundle,
        now: UnixMillis,
    ) -> Result<(Arc<VerifiedToken>, Option<Arc<Coverage>>), No> {
        let Some(digests) = prefix_digests(token) else {
            // No open token: refused below, with the reason.
            let token = UnverifiedToken::decode(token).map_err(Malformed::from)?;
            return Ok((Arc::new(VerifiedToken::verify(token, bundle)?), None));
        };
        let receipt = read_receipt(receipt)?;
        match self.longest(&digests, token, bundle)? {
            Some((chain, whole)) => {
                let coverage = match receipt {
                    Some(receipt) => Some(self.cover(receipt, &chain, bundle)?),
                    None => None,
                };
                self.keep(whole, &chain, token.len(), bundle, now);
                Ok((chain, coverage))
            }
            None => self.verify_anew(&digests, token, receipt, bundle, now),
        }
    }

    /// The longest known beginning, and what is new verified behind it; and the name of the whole.
    fn longest(
        &self,
        digests: &[Digest],
        token: &[u8],
        bundle: &TrustBundle,
    ) -> Result<Option<(Arc<VerifiedToken>, Digest)>, No> {
        for (behind, digest) in digests.iter().rev().enumerate() {
            let Some(known) = self.known(&self.chains, digest, bundle) else { continue };
            let whole = digests.last().copied().unwrap_or(*digest);
            if behind == 0 {
                return Ok(Some((known, whole)));
            }
            if let Some(longer) = known.verify_longer(token, bundle) {
                return Ok(Some((Arc::new(longer?), whole)));
            }
        }
        Ok(None)
    }

    fn verify_anew(
        &self,
        digests: &[Digest],
        token: &[u8],
        receipt: Option<(Digest, Receipt, usize)>,
        bundle: &TrustBundle,
        now: UnixMillis,
    ) -> Result<(Arc<VerifiedToken>, Option<Arc<Coverage>>), No> {
        let read = UnverifiedToken::decode(token).map_err(Malformed::from)?;
        let (chain, coverage) = match receipt {
            None => (Arc::new(VerifiedToken::verify(read, bundle)?), None),
            Some((digest, receipt, bytes)) => {
                let (chain, coverage) = VerifiedToken::verify_recorded(read, receipt, bundle)?;
                let (chain, coverage) = (Arc::new(chain), Arc::new(coverage));
                self.insert(&self.receipts, digest, &coverage, bytes, bundle);
                (chain, Some(coverage))
            }
        };
        if let Some(whole) = digests.last() {
            self.keep(*whole, &chain, token.len(), bundle, now);
        }
        Ok((chain, coverage))
    }

    fn cover(
        &self,
        (digest, receipt, bytes): (Digest, Receipt, usize),
        chain: &VerifiedToken,
        bundle: &TrustBundle,
    ) -> Result<Arc<Coverage>, No> {
        if let Some(known) = self.known(&self.receipts, &digest, bundle) {
            known.check_chain(chain, bundle)?;
            return Ok(known);
        }
        let coverage = Arc::new(Coverage::verify(receipt, chain, bundle)?);
        self.insert(&self.receipts, digest, &coverage, bytes, bundle);
        Ok(coverage)
    }

    fn known<T>(
        &self,
        cache: &Cache<Digest, Verified<T>, Bytes>,
        digest: &Digest,
        bundle: &TrustBundle,
    ) -> Option<Arc<T>> {
        let entry = cache.get(digest)?;
        if entry.bundle == bundle.version() {
            return Some(entry.value);
        }
        cache.remove(digest);
        None
    }

    /// Keeps a chain that is not over; one that is leaves.
    fn keep(
        &self,
        whole: Digest,
        chain: &Arc<VerifiedToken>,
        bytes: usize,
        bundle: &TrustBundle,
        now: UnixMillis,
    ) {
        if now.seconds() >= chain.expires() {
            self.chains.remove(&whole);
        } else if self.chains.peek(&whole).is_none() {
            self.insert(&self.chains, whole, chain, bytes, bundle);
        }
    }

    fn insert<T>(
        &self,
        cache: &Cache<Digest, Verified<T>, Bytes>,
        name: Digest,
        value: &Arc<T>,
        bytes: usize,
        bundle: &TrustBundle,
    ) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BYTES_PER_BYTE);
        let entry = Verified { bundle: bundle.version(), value: value.clone(), bytes };
        cache.insert(name, entry);
    }
}

fn read_receipt(bytes: &[u8]) -> Result<Option<(Digest, Receipt, usize)>, No> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let receipt = Receipt::decode(bytes).map_err(Malformed::Receipt)?;
    Ok(Some((sha256(bytes), receipt, bytes.len())))
}
