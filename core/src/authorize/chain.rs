//! From bytes to a verified chain and what its receipt covers, with a memory of what was verified
//! before. SPEC 2.8.2, 2.8.3.
//!
//! Owns: what of a chain has to be verified now. Does not own: what may change from one call to the
//! next — time, revocation, possession, policy — which is asked on every call, so that no entry of a
//! memory outlives a revocation; where a memory keeps its entries.
//!
//! Invariants: an entry is found by the SHA-256 of all bytes that were verified, and holds under one
//! bundle version only; a chain that is over leaves; nothing is kept of what was refused.

use std::sync::Arc;

use crate::base::bytes::sha256;
use crate::base::id::UnixMillis;
use crate::evidence::receipt::Receipt;
use crate::refusal::{Malformed, Refusal};
use crate::token::verify::{Coverage, VerifiedToken};
use crate::token::{UnverifiedToken, prefix_digests};
use crate::trust::bundle::TrustBundle;

/// SHA-256 of the bytes that something was verified from.
pub type Digest = [u8; 32];

/// A verified chain, and what the receipt beside it covers, if there was one.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The chain.
    pub token: Arc<VerifiedToken>,
    /// What its receipt covers.
    pub coverage: Option<Arc<Coverage>>,
}

/// Where verified chains and receipts are kept, within a bound of memory that is the keeper's own. An
/// entry is given back only under the bundle version with which it was put in.
pub trait ChainMemory {
    /// Whether anything is kept at all.
    const KEEPS: bool = true;

    /// The chain of this name, verified under this bundle version.
    fn chain(&self, name: &Digest, bundle: u64) -> Option<Arc<VerifiedToken>>;

    /// Keeps a chain of so many bytes, unless it is there.
    fn keep_chain(&self, name: Digest, bundle: u64, chain: &Arc<VerifiedToken>, bytes: usize);

    /// Gives up the chain of this name.
    fn drop_chain(&self, name: &Digest);

    /// The receipt of this name, verified under this bundle version.
    fn coverage(&self, name: &Digest, bundle: u64) -> Option<Arc<Coverage>>;

    /// Keeps a receipt of so many bytes.
    fn keep_coverage(&self, name: Digest, bundle: u64, coverage: &Arc<Coverage>, bytes: usize);
}

/// The memory that keeps nothing: every chain is verified anew.
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

/// Reads and verifies a token by itself: every signature, strictly, one by one.
pub fn verify_token(token: &[u8], bundle: &TrustBundle) -> Result<VerifiedToken, Refusal> {
    let token = UnverifiedToken::decode(token).map_err(Malformed::from)?;
    Ok(VerifiedToken::verify(token, bundle)?)
}

/// The chain and what the receipt covers of it, verified now or before.
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
    // What is no open token has no digests, and is refused with the reason.
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

/// One chain that is looked up, verified, and kept.
struct Keeper<'a, M> {
    memory: &'a M,
    token: &'a [u8],
    bundle: &'a TrustBundle,
    now: UnixMillis,
}

impl<M: ChainMemory> Keeper<'_, M> {
    /// The chain by the longest beginning that is known, with what is new verified behind it; `None` when
    /// no beginning is known.
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

    /// Keeps a chain that is not over; one that is leaves.
    fn keep(&self, digests: &[Digest], token: &Arc<VerifiedToken>) {
        let Some(whole) = digests.last() else { return };
        if self.now.seconds() >= token.expires() {
            self.memory.drop_chain(whole);
        } else {
            self.memory.keep_chain(*whole, self.bundle.version(), token, self.token.len());
        }
    }
}
