//! What is read of a ledger that others show: heads, keys, paths, entry bundles, proofs. Whatever is
//! taken has one spelling, and nothing makes a proof hold but the hash that it is of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sublet_ledger::Hash;
use sublet_ledger::checkpoint::{Checkpoint, HeadKey};
use sublet_ledger::tile::{Resource, bundle, leaves};
use sublet_ledger::tree::{Checked, verify_consistency, verify_inclusion};

const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|data: &[u8]| {
    let key: HeadKey = KEY.parse().expect("the published key");
    // Nobody here has its private half.
    assert!(Checkpoint::open(data, &[key]).is_err());
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(head) = Checkpoint::from_text(text) {
            assert_eq!(head.text(), text);
        }
        if let Some(resource) = Resource::from_path(text) {
            assert_eq!(resource.path(), text);
        }
        if let Ok(key) = text.parse::<HeadKey>() {
            assert_eq!(key.to_string(), text);
        }
    }
    if let Some(leaves) = leaves(data) {
        assert_eq!(bundle(leaves), data);
    }
    proofs(data);
});

/// Sizes, an index, two roots and a proof out of the same bytes: a root that no hash leads to is
/// never shown.
fn proofs(data: &[u8]) {
    let Some((numbers, rest)) = data.split_first_chunk::<24>() else { return };
    let number = |at: usize| u64::from_le_bytes(numbers[at * 8..at * 8 + 8].try_into().expect("8"));
    let (hashes, _) = rest.as_chunks::<32>();
    let [one, two, proof @ ..] = hashes else { return };
    let proof: &[Hash] = proof;
    let (index, size) = (number(0), number(1));
    if verify_inclusion(one, index, size, proof, two) == Checked::Holds {
        // One leaf that is the whole tree, or SHA-256 is broken.
        assert!(size == 1 && one == two && proof.is_empty());
    }
    match verify_consistency((number(0), one), (number(1), two), proof) {
        Checked::Holds => assert!(number(0) == number(1) && one == two && proof.is_empty()),
        Checked::Contradicted => assert!(number(0) == number(1) && one != two),
        Checked::NotShown => {}
    }
}
