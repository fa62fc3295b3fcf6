//! The Merkle tree of RFC 6962, section 2.1: root hashes, inclusion proofs and consistency proofs.
//!
//! Owns: [`Frontier`], which grows a tree in memory that is logarithmic in its size; proofs made
//! from stored [`Nodes`]; their verification (RFC 9162, sections 2.1.3.2 and 2.1.4.2). Does not
//! own: where nodes are stored, who signs a root.
//!
//! Invariants: a leaf's hash begins with 0x00 and a node's with 0x01, so neither can be taken for
//! the other; a proof must have exactly as many hashes as its tree needs; a check that could not be
//! made is no success.

use sha2::{Digest as _, Sha256};

use crate::Hash;

const NODE_PREFIX: [u8; 1] = [0x01];

/// Returns `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // One update is faster, and half of all hashes are nodes.
    let mut bytes = [0; 65];
    bytes[..1].copy_from_slice(&NODE_PREFIX);
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// Returns the root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A complete subtree and its root: the `index`th of those with `2^level` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The level: 0 for a leaf.
    pub level: u32,
    /// The index from the left, among the subtrees of its level.
    pub index: u64,
    /// The root of the subtree.
    pub hash: Hash,
}

/// The part of a growing tree that its next append and its root need: the roots of its complete
/// subtrees, one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// From the largest, on the left, to the smallest.
    roots: Vec<Hash>,
}

impl Frontier {
    /// Returns the empty tree.
    pub fn empty() -> Self {
        Frontier::default()
    }

    /// Restores a tree from its stored nodes; `None` when one is missing.
    pub fn resume(size: u64, nodes: &dyn Nodes) -> Option<Self> {
        let roots = complete(0, size).map(|(level, index)| nodes.node(level, index));
        Some(Frontier { size, roots: roots.collect::<Option<_>>()? })
    }

    /// Returns how many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash. Calls `completed` for each subtree that becomes complete, the
    /// leaf first.
    pub fn append(&mut self, leaf_hash: Hash, mut completed: impl FnMut(Node)) {
        let mut node = Node { level: 0, index: self.size, hash: leaf_hash };
        completed(node);
        // Each one bit at the end of the size is a subtree that now has its right half.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            let (level, index) = (node.level + 1, node.index >> 1);
            node = Node { level, index, hash: node_hash(&left, &node.hash) };
            completed(node);
        }
        self.roots.push(node.hash);
        // 2^64 leaves at a million a second are 584,000 years.
        self.size = self.size.saturating_add(1);
    }

    /// Returns the root hash of all leaves.
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.roots.iter().rev();
        let Some(last) = from_the_right.next() else { return empty_root() };
        from_the_right.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// A source of the roots of complete subtrees.
pub trait Nodes {
    /// Returns the root of the `index`th complete subtree with `2^level` leaves; `None` when it is
    /// missing.
    fn node(&self, level: u32, index: u64) -> Option<Hash>;
}

/// Returns the complete subtrees of the leaves from `begin` to before `end`, left to right. `begin`
/// must be where such a range of RFC 6962 begins.
fn complete(begin: u64, end: u64) -> impl Iterator<Item = (u32, u64)> {
    let (mut at, mut left) = (begin, end.saturating_sub(begin));
    std::iter::from_fn(move || {
        let level = left.checked_ilog2()?;
        let found = (level, at >> level);
        at += 1 << level;
        left -= 1 << level;
        Some(found)
    })
}

/// Returns the root of the leaves from `begin` to before `end`, of which there must be at least
/// one; `None` when a node is missing.
fn range_root(nodes: &dyn Nodes, begin: u64, end: u64) -> Option<Hash> {
    let roots: Option<Vec<Hash>> =
        complete(begin, end).map(|(level, index)| nodes.node(level, index)).collect();
    roots?.into_iter().rev().reduce(|right, left| node_hash(&left, &right))
}

/// Returns the root of the first `size` leaves; `None` when a node is missing.
pub fn root_at(nodes: &dyn Nodes, size: u64) -> Option<Hash> {
    if size == 0 { Some(empty_root()) } else { range_root(nodes, 0, size) }
}

/// Returns where a tree of this many leaves, at least two, is split: the largest power of two
/// below.
fn split(leaves: u64) -> u64 {
    1 << leaves.saturating_sub(1).checked_ilog2().unwrap_or(0)
}

/// Returns the inclusion proof of leaf `index` in the tree of the first `size` leaves (RFC 6962,
/// section 2.1.1), from the leaf up; `None` when there is no such leaf, or a node is missing.
pub fn inclusion_proof(nodes: &dyn Nodes, index: u64, size: u64) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut begin, mut end, mut from_the_top) = (0, size, Vec::new());
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            from_the_top.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            from_the_top.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    from_the_top.reverse();
    Some(from_the_top)
}

/// Returns the consistency proof that the tree of `new` leaves extends that of `old` (RFC 6962,
/// section 2.1.2); `None` when it does not, or a node is missing. It is empty for `old` 0 and for
/// equal sizes.
pub fn consistency_proof(nodes: &dyn Nodes, old: u64, new: u64) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut begin, mut end, mut from_the_top) = (0, new, Vec::new());
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            from_the_top.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            from_the_top.push(range_root(nodes, begin, middle)?);
            begin = middle;
        }
    }
    // The root of the old tree is not sent, because the verifier has it.
    if begin > 0 {
        from_the_top.push(range_root(nodes, begin, end)?);
    }
    from_the_top.reverse();
    Some(from_the_top)
}

/// The result of a check. It has three values, because a check that was not made is not "true".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Checked {
    /// It is proven.
    Holds,
    /// It is proven to be false: no further proof can reconcile these two roots.
    Contradicted,
    /// Nothing is proven: the proof is of another tree, damaged or missing, or there was nothing to
    /// compare.
    NotShown,
}

/// Checks that the leaf with this hash is the `index`th of the tree with this size and root.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Checked {
    if index >= size {
        return Checked::NotShown;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf_hash);
    for sibling in proof {
        if last == 0 {
            return Checked::NotShown; // One hash too many.
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // Where the right edge has no sibling, the path goes up without one.
            let skipped = node.trailing_zeros();
            (node, last) =
                (node.checked_shr(skipped).unwrap_or(0), last.checked_shr(skipped).unwrap_or(0));
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Checked::Holds } else { Checked::NotShown }
}

/// Checks that the tree with `new` leaves extends that with `old`. Two different roots of one size
/// contradict each other. For different sizes a proof shows that they agree; a proof that fails
/// shows nothing.
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> Checked {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old == new {
        return match (proof, old_root == new_root) {
            (_, false) => Checked::Contradicted,
            ([], true) => Checked::Holds,
            (_, true) => Checked::NotShown,
        };
    }
    if old == 0 || old > new {
        return Checked::NotShown;
    }
    // A complete old tree is itself the first hash of the path.
    let with_old;
    let path = if old.is_power_of_two() {
        with_old = [std::slice::from_ref(old_root), proof].concat();
        with_old.as_slice()
    } else {
        proof
    };
    let Some((first, rest)) = path.split_first() else { return Checked::NotShown };
    let skipped = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> skipped, (new - 1) >> skipped);
    let (mut of_old, mut of_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Checked::NotShown;
        }
        if node & 1 == 1 || node == last {
            of_old = node_hash(sibling, &of_old);
            of_new = node_hash(sibling, &of_new);
            let skipped = node.trailing_zeros();
            (node, last) =
                (node.checked_shr(skipped).unwrap_or(0), last.checked_shr(skipped).unwrap_or(0));
        } else {
            of_new = node_hash(&of_new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    let agree = last == 0 && of_old == *old_root && of_new == *new_root;
    if agree { Checked::Holds } else { Checked::NotShown }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
