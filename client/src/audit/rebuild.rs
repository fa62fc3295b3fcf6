//! Chains put together again from recorded blocks: the one place that does it. SPEC section 9.
//!
//! Owns: which blocks make a chain, and under which root key it verifies. Does not own: where the blocks come
//! from (`chain`, `history`).
//!
//! Invariant: what is returned was verified from its root on, and ends in the hop that was asked for.

use sublet_core::base::id::{BadId, HopId};
use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::base::limits::HOPS_MAX;
use sublet_core::evidence::call::BadArguments;
use sublet_core::evidence::proof::BadProof;
use sublet_core::evidence::receipt::{BadReceipt, Receipt};
use sublet_core::refusal::Refusal;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::token::{BadToken, BlockPayload, UnverifiedToken};
use sublet_core::trust::bundle::{KeyId, KeyUse, TrustBundle};
use sublet_proto::record::HopPayload;

use crate::error::Error;

/// Why something that was recorded cannot be shown to hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unproven {
    /// The payload of the record was erased.
    #[error("its evidence was erased")]
    EvidenceErased,
    /// The tool kept only the hash of the arguments.
    #[error("its arguments were too long to keep")]
    ArgumentsNotKept,
    /// The name of a principal that was revoked by then was erased.
    #[error("the name of a revoked principal was erased")]
    PrincipalErased,
    /// The block of a hop is in no record.
    #[error("the block of hop {0} is missing")]
    BlockMissing(HopId),
    /// The block of the hop was erased, or is not in what was read.
    #[error("its block was erased or left out")]
    BlockErased,
    /// A hop's parent is one of its descendants.
    #[error("the recorded hops go round in a circle")]
    Circle,
    /// A recorded block has no key that is one.
    #[error("a block names no key")]
    NoKey,
    /// An id in a record is none.
    #[error("{0}")]
    Id(String),
    /// The trust bundle has no key that could have signed the root.
    #[error("the trust bundle lists no key for delegations")]
    NoDelegationKey,
    /// The blocks make another hop than the one that is recorded.
    #[error("its blocks make hop {made}, recorded is {recorded}")]
    OtherHop {
        /// What the blocks make.
        made: HopId,
        /// What is recorded.
        recorded: HopId,
    },
    /// The chain has fewer hops than its records.
    #[error("the chain has no such hop")]
    NoSuchHop,
    /// A field of the record is not what the block says.
    #[error("the record states another {0} than the block")]
    Differs(&'static str),
    /// A hop was recorded before its parent.
    #[error("hop {0} was recorded before its parent")]
    BeforeItsParent(HopId),
    /// A hop was recorded twice.
    #[error("hop {0} was recorded twice")]
    RecordedTwice(HopId),
    /// The blocks are no token.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The chain does not verify.
    #[error(transparent)]
    Chain(Refusal),
    /// The call proof is not understood.
    #[error(transparent)]
    Proof(#[from] BadProof),
    /// The holder did not sign the call.
    #[error("the holder's signature: {0}")]
    Possession(Refusal),
    /// The receipt is not understood.
    #[error(transparent)]
    BadReceipt(#[from] BadReceipt),
    /// The receipt does not hold.
    #[error("its receipt: {0}")]
    Receipt(Refusal),
    /// The arguments are not understood.
    #[error(transparent)]
    Arguments(#[from] BadArguments),
}

impl From<BadId> for Unproven {
    fn from(bad: BadId) -> Self {
        Unproven::Id(bad.to_string())
    }
}

impl Unproven {
    /// Of an id that could not be read.
    pub(crate) fn id(error: impl Into<Error>) -> Self {
        Unproven::Id(error.into().to_string())
    }
}

/// The block of a recorded hop.
pub(crate) fn block_payload(payload: &HopPayload) -> Result<BlockPayload, Unproven> {
    let algorithm = Algorithm::from_name(&payload.next_key_algorithm).ok_or(Unproven::NoKey)?;
    let next_key = PublicKey::from_bytes(algorithm, &payload.next_key);
    let next_key = next_key.map_err(|_| Unproven::NoKey)?;
    let (payload, signature) = (payload.block.clone(), payload.signature.clone());
    Ok(BlockPayload { payload, next_key, signature })
}

/// What is recorded of each hop from the root to `last`. `recorded` has a hop's parent and what is recorded of
/// it; the hop whose parent is `None` comes first.
pub(crate) fn walk<'a, T>(
    last: Option<HopId>,
    recorded: impl Fn(&HopId) -> Option<(Option<HopId>, &'a T)>,
) -> Result<Vec<&'a T>, Unproven> {
    let (mut chain, mut next) = (Vec::new(), last);
    while let Some(hop) = next {
        let (parent, found) = recorded(&hop).ok_or(Unproven::BlockMissing(hop))?;
        // A token has no more; a chain that is longer is a circle.
        if chain.len() > HOPS_MAX as usize {
            return Err(Unproven::Circle);
        }
        chain.push(found);
        next = parent;
    }
    chain.reverse();
    Ok(chain)
}

/// The verified token that ends in `hop`. Which root key signed it is not recorded, as that is under no
/// signature: every delegation key of the bundle is tried. The signatures that a receipt covers are verified
/// together; where that fails, each by itself and strictly, which says what is wrong.
pub(crate) fn rebuild(
    blocks: &[BlockPayload],
    hop: &HopId,
    receipt: Option<&[u8]>,
    bundle: &TrustBundle,
) -> Result<VerifiedToken, Unproven> {
    let mut why = Unproven::NoDelegationKey;
    for key in bundle.keys().iter().filter(|key| key.use_ == KeyUse::Delegation) {
        match verified(key.id, blocks, receipt, bundle) {
            Ok(token) if token.id() == *hop => return Ok(token),
            Ok(token) => why = Unproven::OtherHop { made: token.id(), recorded: *hop },
            Err(bad) => why = bad,
        }
    }
    Err(why)
}

fn verified(
    root: KeyId,
    blocks: &[BlockPayload],
    receipt: Option<&[u8]>,
    bundle: &TrustBundle,
) -> Result<VerifiedToken, Unproven> {
    let token = UnverifiedToken::assemble(root, blocks)?;
    if let Some(Ok(receipt)) = receipt.map(Receipt::decode)
        && let Ok((token, _)) = VerifiedToken::verify_recorded(token.clone(), receipt, bundle)
    {
        return Ok(token);
    }
    VerifiedToken::verify(token, bundle).map_err(|bad| Unproven::Chain(bad.into()))
}
