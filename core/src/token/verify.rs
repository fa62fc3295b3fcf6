//! Verification: signatures, links, names, and the possession of the holder's key. SPEC sections 2,
//! 3, 5, 6.
//!
//! Owns: [`VerifiedToken`], [`Possession`], [`Coverage`], which exist only after their checks
//! succeeded. Does not own: whether a call is permitted (`authorize`), which needs these three.
//!
//! Invariants: signatures are verified strictly, one at a time; the key of block i is the next key
//! of block i-1; a prefix of a chain gives nobody more authority, because the proof must be by the
//! last holder of the presented chain.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::id::{AgentId, DelegationId, HelperPath, HopId, Principal, UnixMillis};
use crate::base::key::{PublicKey, Signed, Thumbprint};
use crate::biscuit::block::{Block, Role, Window};
use crate::capability::ChainPosition;
use crate::evidence::call::ChainFacts;
use crate::evidence::proof::{CallClaims, CallProof, Expected};
use crate::evidence::receipt::Receipt;
use crate::refusal::{Malformed, Refusal, Unauthenticated};
use crate::token::{SignedBlock, UnverifiedToken, hop_id, root_id, signed_bytes};
use crate::trust::bundle::{KeyState, KeyUse, TrustBundle};

/// A token whose signatures, links and names are verified under a trust bundle.
///
/// ```
/// use sublet_core::token::UnverifiedToken;
/// use sublet_core::token::verify::VerifiedToken;
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # let (bundle, bytes) = (world::bundle(), world::delegation().encode());
///
/// let token = VerifiedToken::verify(UnverifiedToken::decode(&bytes)?, &bundle)?;
/// assert_eq!(token.holder().to_string(), "spiffe://acme.example/agent/planner");
/// assert_eq!(token.principal().unwrap().to_string(), "user:alice@acme.example");
/// assert_eq!(token.depth(), 0); // no hop after the root
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    token: UnverifiedToken,
    root_key: PublicKey,
    ids: Vec<HopId>,
    keys: Vec<Thumbprint>,
}

/// An identity token whose root key is tainted. Its signature proves nothing, because somebody else
/// may have the root key. The token can only be renewed, by the party that has the key under which
/// the broker knows the agent. SPEC 2.16.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaintedIdentity(VerifiedToken);

impl TaintedIdentity {
    /// Verifies everything of an identity token but the taint of its root key. A token whose root
    /// key is not tainted is refused.
    pub fn verify(token: UnverifiedToken, bundle: &TrustBundle) -> Result<Self, Unauthenticated> {
        let tainted = bundle.key(token.root_key).filter(|key| key.state == KeyState::Tainted);
        let is_identity = tainted.is_some_and(|key| key.use_ == KeyUse::Identity);
        let bundle = bundle.forgetting_taints(&[KeyUse::Identity]);
        let token = VerifiedToken::verify(token, &bundle)?;
        if is_identity && token.is_identity() {
            return Ok(TaintedIdentity(token));
        }
        Err(Unauthenticated::Kind("its root is not tainted, or is no identity's"))
    }

    /// Returns the token.
    pub fn token(&self) -> &VerifiedToken {
        &self.0
    }

    /// Returns the token, for the agent that it names.
    pub fn into_token(self) -> VerifiedToken {
        self.0
    }
}

/// The holder of a token: an enrolled agent, or a helper of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The agent.
    pub agent: AgentId,
    /// The helper's path; `None` when the agent itself is the holder.
    pub helper: Option<HelperPath>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.helper {
            None => write!(f, "{}", self.agent),
            Some(helper) => write!(f, "{}#{helper}", self.agent),
        }
    }
}

impl VerifiedToken {
    /// Verifies a token: the root key by use and time, every block signature strictly, all names
    /// against the trust domain, and that each helper is spawned by its parent.
    pub fn verify(token: UnverifiedToken, bundle: &TrustBundle) -> Result<Self, Unauthenticated> {
        let unsigned = VerifiedToken::check_unsigned(token, bundle)?;
        unsigned.check_signatures(0)?;
        Ok(unsigned)
    }

    /// Verifies a token together with its receipt. The receipt is verified first, strictly. Then
    /// the signatures of the hops that it covers are verified as a batch: the broker verified them
    /// strictly before it recorded them.
    pub fn verify_recorded(
        token: UnverifiedToken,
        receipt: Receipt,
        bundle: &TrustBundle,
    ) -> Result<(Self, Coverage), Unauthenticated> {
        let unsigned = VerifiedToken::check_unsigned(token, bundle)?;
        let coverage = Coverage::verify(receipt, &unsigned, bundle)?;
        let covered = usize::try_from(coverage.position()).unwrap_or(usize::MAX).saturating_add(1);
        unsigned.check_signatures(covered)?;
        Ok((unsigned, coverage))
    }

    /// Verifies a token that extends this one; only the additional blocks are read and verified.
    /// `None` when it does not begin with the blocks of this one.
    pub fn verify_longer(
        &self,
        bytes: &[u8],
        bundle: &TrustBundle,
    ) -> Option<Result<Self, Refusal>> {
        let token = UnverifiedToken::decode_longer(bytes, &self.token)?;
        Some(
            token
                .map_err(|bad| Malformed::from(bad).into())
                .and_then(|token| Ok(self.with_unverified(token, bundle)?)),
        )
    }

    fn with_unverified(
        &self,
        token: UnverifiedToken,
        bundle: &TrustBundle,
    ) -> Result<Self, Unauthenticated> {
        let known = self.token.blocks.len();
        // These checks are repeated for the whole chain: they are cheap, and the bundle may be
        // another one.
        let root_key = check_all_but_signatures(&token, bundle)?;
        if root_key != self.root_key {
            return Err(Unauthenticated::Signature { block: 0 });
        }
        let longer = self.longer(token);
        (known..longer.token.blocks.len()).try_for_each(|block| longer.check_signature(block))?;
        Ok(longer)
    }

    /// Checks everything but the signatures. The result is not verified and must not leave this
    /// file.
    fn check_unsigned(
        token: UnverifiedToken,
        bundle: &TrustBundle,
    ) -> Result<Self, Unauthenticated> {
        let root_key = check_all_but_signatures(&token, bundle)?;
        Ok(VerifiedToken::of_valid(token, root_key))
    }

    /// Verifies block signatures: the first `covered` as a batch, the others strictly, one by one.
    fn check_signatures(&self, covered: usize) -> Result<(), Unauthenticated> {
        let covered = covered.min(self.token.blocks.len());
        let together: Vec<_> = (0..covered).filter_map(|block| self.signed(block)).collect();
        // If the batch fails, verifying one by one finds the bad signature.
        let from = if covered > 1 && PublicKey::verify_batch(&together) { covered } else { 0 };
        (from..self.token.blocks.len()).try_for_each(|block| self.check_signature(block))
    }

    fn check_signature(&self, block: usize) -> Result<(), Unauthenticated> {
        match self.signed(block) {
            Some(signed) if signed.key.verify(&signed.message, signed.signature) => Ok(()),
            _ => Err(Unauthenticated::Signature { block }),
        }
    }

    /// Returns what block `at` signs, and with which key.
    fn signed(&self, at: usize) -> Option<Signed<'_>> {
        let block = self.token.blocks.get(at)?;
        let previous = at.checked_sub(1).and_then(|before| self.token.blocks.get(before));
        let message = signed_bytes(
            &block.payload,
            &block.next_key,
            previous.map(|previous| previous.signature.as_slice()),
        );
        let key = previous.map_or(&self.root_key, |previous| &previous.next_key);
        Some(Signed { key, message, signature: &block.signature })
    }

    fn of_valid(token: UnverifiedToken, root_key: PublicKey) -> Self {
        VerifiedToken::named(token, root_key, Vec::new(), Vec::new())
    }

    /// Computes the ids and thumbprints of the blocks that have none yet.
    fn named(
        token: UnverifiedToken,
        root_key: PublicKey,
        mut ids: Vec<HopId>,
        mut keys: Vec<Thumbprint>,
    ) -> Self {
        for block in token.blocks.iter().skip(ids.len()) {
            let before = match (ids.last(), block.block.role.origin()) {
                (Some(id), _) => *id,
                (None, Some(origin)) => root_id(&origin.issuer, &root_key),
                (None, None) => HopId([0; 32]),
            };
            ids.push(hop_id(&before, &block.payload, &block.next_key));
            keys.push(block.next_key.thumbprint());
        }
        VerifiedToken { token, root_key, ids, keys }
    }

    /// Returns a token that extends this one and keeps its ids and thumbprints.
    fn longer(&self, token: UnverifiedToken) -> Self {
        let (ids, keys) = (self.ids.clone(), self.keys.clone());
        VerifiedToken::named(token, self.root_key.clone(), ids, keys)
    }

    /// Returns the token with one more block, which this process has just signed with the holder's
    /// key.
    pub(crate) fn with_own_block(&self, block: SignedBlock) -> Self {
        let mut token = self.token.clone();
        token.blocks.push(Arc::new(block));
        self.longer(token)
    }

    /// Returns a token of one block, which this process has just signed with the root key.
    pub(crate) fn of_own_root(token: UnverifiedToken, root_key: PublicKey) -> Self {
        VerifiedToken::of_valid(token, root_key)
    }

    /// Returns the chain up to and including hop `position`; `None` when there is no such hop.
    pub fn prefix(&self, position: usize) -> Option<Self> {
        let blocks = self.token.blocks.get(..=position)?.to_vec();
        let ids = self.ids.get(..=position)?.to_vec();
        let token = UnverifiedToken { root_key: self.token.root_key, blocks };
        let keys = self.keys.get(..=position)?.to_vec();
        Some(VerifiedToken { token, root_key: self.root_key.clone(), ids, keys })
    }

    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.token.encode()
    }

    /// Returns the signed blocks, block 0 first.
    pub fn signed_blocks(&self) -> &[Arc<SignedBlock>] {
        &self.token.blocks
    }

    /// Returns the id and the block of each hop, the root first.
    pub fn hops(&self) -> impl Iterator<Item = (HopId, &SignedBlock)> {
        self.ids.iter().copied().zip(self.token.blocks.iter().map(Arc::as_ref))
    }

    /// Returns the thumbprint of the holder's key of each hop, the root first.
    pub fn thumbprints(&self) -> &[Thumbprint] {
        &self.keys
    }

    pub(crate) fn unverified(&self) -> &UnverifiedToken {
        &self.token
    }

    /// Returns the id of hop `position`, 0 for the root; `None` when there is no such hop.
    pub fn id_at(&self, position: usize) -> Option<HopId> {
        self.ids.get(position).copied()
    }

    /// Returns the id of the last hop.
    pub fn id(&self) -> HopId {
        self.ids.last().copied().unwrap_or(HopId([0; 32]))
    }

    /// Returns the id of the delegation, which is the id of block 0.
    pub fn delegation(&self) -> DelegationId {
        self.ids.first().copied().unwrap_or(HopId([0; 32]))
    }

    /// Returns the number of hops after the root.
    pub fn depth(&self) -> u32 {
        u32::try_from(self.token.blocks.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Returns the last block.
    pub fn last(&self) -> &SignedBlock {
        #[expect(clippy::expect_used, reason = "a token that was read or made has block 0")]
        self.token.blocks.last().expect("block 0")
    }

    /// Returns the content of block 0.
    pub fn root(&self) -> &Block {
        #[expect(clippy::expect_used, reason = "a token that was read or made has block 0")]
        &self.token.blocks.first().expect("block 0").block
    }

    /// Returns when block 0 was issued, in whole seconds.
    pub fn issued_at(&self) -> UnixMillis {
        let origin = self.root().role.origin();
        UnixMillis::from_seconds(origin.map_or(i64::MIN, |origin| origin.issued_at))
    }

    /// Returns the root key that signed block 0.
    pub fn root_key(&self) -> &PublicKey {
        &self.root_key
    }

    /// Returns the position of this token's holder relative to a block of the token.
    pub fn chain_position(&self, block: &Block) -> ChainPosition {
        ChainPosition { hops: self.depth(), is_delegate: block.agent != self.last().block.agent }
    }

    /// Returns the facts about the chain for a Biscuit authorizer, given how many hops no receipt
    /// covers.
    pub fn facts(&self, unrecorded: u32) -> ChainFacts<'_> {
        let agents = self.token.blocks.iter().map(|signed| &signed.block.agent);
        let others: BTreeSet<_> = agents.filter(|a| **a != self.last().block.agent).collect();
        ChainFacts { hops: self.depth(), unrecorded, delegate_of: others }
    }

    /// Returns the holder.
    pub fn holder(&self) -> Holder {
        let block = &self.last().block;
        Holder { agent: block.agent.clone(), helper: block.helper.clone() }
    }

    /// Returns the holder's key, which must sign each call proof.
    pub fn holder_key(&self) -> &PublicKey {
        &self.last().next_key
    }

    /// Returns the principal; `None` for an identity token.
    pub fn principal(&self) -> Option<&Principal> {
        match &self.root().role {
            Role::Grant { on_behalf_of, .. } => Some(on_behalf_of),
            _ => None,
        }
    }

    /// Returns whether this is an identity token.
    pub fn is_identity(&self) -> bool {
        matches!(self.root().role, Role::Identity { .. })
    }

    /// Returns when the chain expires, in seconds since 1970: the earliest end of its blocks.
    pub fn expires(&self) -> i64 {
        self.token.blocks.iter().map(|signed| signed.block.not_after).min().unwrap_or(0)
    }

    /// Returns when the chain is valid: from the start of block 0 to the earliest end.
    pub fn window(&self) -> Window {
        let not_before = self.root().role.origin().map_or(i64::MAX, |origin| origin.not_before);
        Window { not_before, not_after: self.expires() }
    }
}

/// Checks root key, names and helpers. Returns the root key, which must have signed block 0.
fn check_all_but_signatures(
    token: &UnverifiedToken,
    bundle: &TrustBundle,
) -> Result<PublicKey, Unauthenticated> {
    let root_key = root_key(token, bundle)?;
    check_names(token, bundle)?;
    check_helpers(token)?;
    Ok(root_key)
}

fn root_key(token: &UnverifiedToken, bundle: &TrustBundle) -> Result<PublicKey, Unauthenticated> {
    let first = token.blocks.first().ok_or(Unauthenticated::Missing("block 0"))?;
    let use_ = match first.block.role {
        Role::Grant { .. } => KeyUse::Delegation,
        Role::Identity { .. } if token.blocks.len() == 1 => KeyUse::Identity,
        Role::Identity { .. } => {
            return Err(Unauthenticated::Kind("an identity token cannot be delegated"));
        }
        Role::Hop => return Err(Unauthenticated::Kind("block 0 is not a root")),
    };
    let issued_at = first.block.role.origin().map_or(i64::MIN, |origin| origin.issued_at);
    let times = (issued_at, first.block.not_after);
    let (at, until) = (UnixMillis::from_seconds(times.0), UnixMillis::from_seconds(times.1));
    bundle.root_key(use_, token.root_key, (at, until)).cloned().map_err(Unauthenticated::Root)
}

fn check_names(token: &UnverifiedToken, bundle: &TrustBundle) -> Result<(), Unauthenticated> {
    let domain = bundle.trust_domain();
    let broker = domain.issuer();
    for (block, signed) in token.blocks.iter().enumerate() {
        let foreign = |named: &str| Unauthenticated::ForeignDomain {
            block,
            named: named.to_owned(),
            domain: domain.clone(),
        };
        match &signed.block.role {
            Role::Grant { origin, .. } | Role::Identity { origin } if origin.issuer != broker => {
                return Err(Unauthenticated::Issuer {
                    named: origin.issuer.clone(),
                    domain: domain.clone(),
                });
            }
            Role::Grant { on_behalf_of, .. } if on_behalf_of.realm() != domain.as_str() => {
                return Err(foreign(on_behalf_of.as_str()));
            }
            _ => {}
        }
        if !signed.block.agent.is_in(domain) {
            return Err(foreign(signed.block.agent.as_str()));
        }
        if signed.block.agent == broker {
            return Err(Unauthenticated::IssuerAsAgent { block });
        }
    }
    Ok(())
}

/// Checks that a helper's path is its parent's path and one label, and that an agent itself holds
/// block 0. A holder may also make a hop to itself, with unchanged name and key.
fn check_helpers(token: &UnverifiedToken) -> Result<(), Unauthenticated> {
    let mut parent: Option<&SignedBlock> = None;
    for (block, signed) in token.blocks.iter().enumerate() {
        if let Some(helper) = &signed.block.helper {
            let spawned = parent.is_some_and(|parent| {
                parent.block.agent == signed.block.agent && parent.block.helper == helper.parent()
            });
            if !spawned && !parent.is_some_and(|parent| is_same_holder(parent, signed)) {
                return Err(Unauthenticated::HelperPath { block, named: helper.to_string() });
            }
        }
        parent = Some(signed);
    }
    Ok(())
}

/// Returns whether a hop goes from a holder to itself, with unchanged name and key.
pub(crate) fn is_same_holder(parent: &SignedBlock, child: &SignedBlock) -> bool {
    parent.block.agent == child.block.agent
        && parent.block.helper == child.block.helper
        && parent.next_key == child.next_key
}

/// The proof that the caller has the key of the token's last holder and signed this call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possession {
    claims: CallClaims,
}

impl Possession {
    /// Verifies a call proof against the call. Whether the proof is new is checked last, by the
    /// replay cache.
    pub(crate) fn verify(
        token: &VerifiedToken,
        proof: &CallProof,
        expected: &Expected,
        now: UnixMillis,
    ) -> Result<Self, Unauthenticated> {
        if expected.hop != token.id() {
            return Err(Unauthenticated::Kind("the proof is checked against another token"));
        }
        Possession::verify_key(token.holder_key(), proof, expected, now)
    }

    /// Verifies a call proof of a caller without a token and with a known key: the admin.
    pub(crate) fn verify_key(
        key: &PublicKey,
        proof: &CallProof,
        expected: &Expected,
        now: UnixMillis,
    ) -> Result<Self, Unauthenticated> {
        proof.verify(key, expected, now).map_err(Unauthenticated::Proof)?;
        Ok(Possession { claims: proof.claims.clone() })
    }

    /// Returns the signed claims.
    pub fn claims(&self) -> &CallClaims {
        &self.claims
    }
}

/// A verified receipt of a token: hops 0 to `position` are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    receipt: Receipt,
}

impl Coverage {
    /// Verifies a receipt: its key, its signature, that it is of this chain and of a ledger of this
    /// trust domain.
    pub fn verify(
        receipt: Receipt,
        token: &VerifiedToken,
        bundle: &TrustBundle,
    ) -> Result<Self, Unauthenticated> {
        let claims = &receipt.claims;
        let key = bundle.signing_key(KeyUse::Receipt, receipt.key, claims.recorded_at);
        let key = key.map_err(Unauthenticated::ReceiptKey)?;
        receipt.verify_signature(key).map_err(Unauthenticated::Receipt)?;
        let coverage = Coverage { receipt };
        coverage.check_chain(token, bundle)?;
        Ok(coverage)
    }

    /// Checks that the receipt is of this chain and of a ledger of the bundle's domain. This
    /// suffices for a receipt whose signature was verified before, under this bundle.
    pub fn check_chain(
        &self,
        token: &VerifiedToken,
        bundle: &TrustBundle,
    ) -> Result<(), Unauthenticated> {
        let claims = &self.receipt.claims;
        let position = usize::try_from(claims.position).unwrap_or(usize::MAX);
        let domain = bundle.trust_domain();
        if claims.issuer != domain.issuer() || token.id_at(position) != Some(claims.hop) {
            return Err(Unauthenticated::ReceiptOfAnotherChain);
        }
        if !domain.owns_ledger(&claims.origin) {
            let origin = claims.origin.chars().take(80).collect();
            return Err(Unauthenticated::ReceiptOfAnotherLedger { origin, domain: domain.clone() });
        }
        Ok(())
    }

    /// Returns the position of the last hop that the receipt covers.
    pub fn position(&self) -> u32 {
        self.receipt.claims.position
    }

    /// Returns the receipt.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
