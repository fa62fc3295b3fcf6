//! Decoding and verifying a chain and its receipt, with a cache of chains that were verified
//! before. SPEC 2.8.2, 2.8.3.
//!
//! Owns: which parts of a chain must be verified now. Does not own: what may change from call to
//! call (time, revocation, possession, policy), which is checked on every call, so that no cache
//! entry outlives a revocation; where a cache keeps its entries.
//!
//! Invariants: an entry is found by the SHA-256 of all bytes that were verified, and is valid for
//! one version of the bundle only; an expired chain is removed; nothing that was refused is kept.

use std::sync::Arc;

use crate::base::bytes::sha256;
use crate::base::id::UnixMillis;
use crate::evidence::receipt::Receipt;
use crate::refusal::{Malformed, Refusal};
use crate::token::verify::{Coverage, VerifiedToken};
use crate::token::{UnverifiedToken, prefix_digests};
use crate::trust::bundle::TrustBundle;

/// The SHA-256 of the bytes that something was verified from.
pub type Digest = [u8; 32];

/// A verified chain, and what its receipt covers.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The verified chain.
    pub token: Arc<VerifiedToken>,
    /// What the receipt covers; `None` when none was shown.
    pub coverage: Option<Arc<Coverage>>,
}

/// A cache of verified chains and receipts, with a memory limit of its own. It returns an entry
/// only for the bundle version under which it was stored.
pub trait ChainMemory {
    /// Whether the cache keeps anything.
    const KEEPS: bool = true;

    /// Returns the chain with this digest, if it was verified under this bundle version.
    fn chain(&self, name: &Digest, bundle: u64) -> Option<Arc<VerifiedToken>>;

    /// Stores a chain of this many bytes, unless it is there.
    fn keep_chain(&self, name: Digest, bundle: u64, chain: &Arc<VerifiedToken>, bytes: usize);

    /// Removes the chain with this digest.
    fn drop_chain(&self, name: &Digest);

    /// Returns the receipt with this digest, if it was verified under this bundle version.
    fn coverage(&self, name: &Digest, bundle: u64) -> Option<Arc<Coverage>>;

    /// Stores a receipt of this many bytes.
    fn keep_coverage(&self, name: Digest, bundle: u64, coverage: &Arc<Coverage>, bytes: usize);
}

/// A cache that keeps nothing: every chain is verified anew.
#[derive(Clone, Copy, Debug)]
pub struct Anew;

impl ChainMemory for Anew {
    const KEEPS: bool = false;

    fn chain(&self, _: &Digest, _: u64) -> Option<Arc<VerifiedToken>> {
        None
    }

    fn keep_chain(&self, _: Digest, _: u64, _: &Arc<VerifiedToken>, _: usize) {}

    fn drop_chain(&self, _: &Digest) {}

    fn coverage(&self, _: &Digest, _: u64) -> Option<Arc<Coverage>> {
        None
    }

    fn keep_coverage(&self, _: Digest, _: u64, _: &Arc<Coverage>, _: usize) {}
}

/// Decodes and verifies a token without a receipt: every signature strictly, one by one.
pub fn verify_token(token: &[u8], bundle: &TrustBundle) -> Result<VerifiedToken, Refusal> {
    let token = UnverifiedToken::decode(token).map_err(Malformed::from)?;
    Ok(VerifiedToken::verify(token, bundle)?)
}

/// Returns the verified chain and what its receipt covers, from the cache or verified now.
pub fn chain<M: ChainMemory>(
    memory: &M,
    token: &[u8],
    receipt: Option<&[u8]>,
    bundle: &TrustBundle,
    now: UnixMillis,
) -> Result<Chain, Refusal> {
    let keeper = Keeper { memory, token, bundle, now };
    let digests = if M::KEEPS { prefix_digests(token) } else { None };
    let receipt = receipt.map(read_receipt).transpose()?;
    // Bytes that are no open token have no digests. Verifying them gives the error.
    let digests = digests.unwrap_or_default();
    match keeper.longest(&digests)? {
        Some(token) => {
            let coverage = match receipt {
                Some(receipt) => Some(keeper.cover(receipt, &token)?),
                None => None,
            };
            keeper.keep(&digests, &token);
            Ok(Chain { token, coverage })
        }
        None => keeper.verify_anew(&digests, receipt),
    }
}

type NamedReceipt = (Digest, Receipt, usize);

fn read_receipt(bytes: &[u8]) -> Result<NamedReceipt, Refusal> {
    let receipt = Receipt::decode(bytes).map_err(Malformed::Receipt)?;
    Ok((sha256(bytes), receipt, bytes.len()))
}

/// The lookup, verification and storing of one chain.
struct Keeper<'a, M> {
    memory: &'a M,
    token: &'a [u8],
    bundle: &'a TrustBundle,
    now: UnixMillis,
}

impl<M: ChainMemory> Keeper<'_, M> {
    /// Returns the chain by its longest known prefix, with the further blocks verified; `None` when
    /// no prefix is known.
    fn longest(&self, digests: &[Digest]) -> Result<Option<Arc<VerifiedToken>>, Refusal> {
        for (behind, digest) in digests.iter().rev().enumerate() {
            let known = self.memory.chain(digest, self.bundle.version());
            let Some(known) = known else { continue };
            if behind == 0 {
                return Ok(Some(known));
            }
            if let Some(longer) = known.verify_longer(self.token, self.bundle) {
                return Ok(Some(Arc::new(longer?)));
            }
        }
        Ok(None)
    }

    fn verify_anew(
        &self,
        digests: &[Digest],
        receipt: Option<NamedReceipt>,
    ) -> Result<Chain, Refusal> {
        let read = UnverifiedToken::decode(self.token).map_err(Malformed::from)?;
        let (token, coverage) = match receipt {
            None => (Arc::new(VerifiedToken::verify(read, self.bundle)?), None),
            Some((name, receipt, bytes)) => {
                let (token, coverage) = VerifiedToken::verify_recorded(read, receipt, self.bundle)?;
                let coverage = Arc::new(coverage);
                self.memory.keep_coverage(name, self.bundle.version(), &coverage, bytes);
                (Arc::new(token), Some(coverage))
            }
        };
        self.keep(digests, &token);
        Ok(Chain { token, coverage })
    }

    fn cover(
        &self,
        (name, receipt, bytes): NamedReceipt,
        token: &VerifiedToken,
    ) -> Result<Arc<Coverage>, Refusal> {
        if let Some(known) = self.memory.coverage(&name, self.bundle.version()) {
            known.check_chain(token, self.bundle)?;
            return Ok(known);
        }
        let coverage = Arc::new(Coverage::verify(receipt, token, self.bundle)?);
        self.memory.keep_coverage(name, self.bundle.version(), &coverage, bytes);
        Ok(coverage)
    }

    /// Stores the chain, or removes it if it has expired.
    fn keep(&self, digests: &[Digest], token: &Arc<VerifiedToken>) {
        let Some(whole) = digests.last() else { return };
        if self.now.seconds() >= token.expires() {
            self.memory.drop_chain(whole);
        } else {
            self.memory.keep_chain(*whole, self.bundle.version(), token, self.token.len());
        }
    }
}
