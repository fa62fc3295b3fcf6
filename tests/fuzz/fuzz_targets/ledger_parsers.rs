//! What is read of a ledger that others show: heads, keys, paths, entry bundles, proofs, policies,
//! requests to witnesses, proofs of a fork. Whatever is taken has one spelling, and nothing makes a proof hold but the hash that it is of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sublet_ledger::Hash;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::cosignature::WitnessKey;
use sublet_ledger::fork::Fork;
use sublet_ledger::policy::Policy;
use sublet_ledger::tile::{Resource, bundle, leaves};
use sublet_ledger::tree::{Checked, verify_consistency, verify_inclusion};
use sublet_ledger::witness::{AddCheckpoint, judge};

const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

fuzz_target!(|data: &[u8]| {
    let key: CheckpointKey = KEY.parse().expect("the published key");
    // Nobody here has its private half.
    let keys = [key];
    assert!(Checkpoint::open(data, &keys).is_err());
    if let Some(request) = AddCheckpoint::decode(data) {
        assert_eq!(request.encode(), data);
        assert!(judge(&request, &keys, None).is_err());
    }
    if let Ok(fork) = Fork::decode(data) {
        assert_eq!(fork.encode(), data);
        assert!(fork.verify(&keys).is_err());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(head) = Checkpoint::from_text(text) {
            assert_eq!(head.text(), text);
        }
        if let Some(resource) = Resource::from_path(text) {
            assert_eq!(resource.path(), text);
        }
        if let Ok(key) = text.parse::<CheckpointKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(key) = text.parse::<WitnessKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(policy) = Policy::parse(text) {
            let all = policy.witnesses().map(|(name, _)| name.to_owned()).collect();
            assert!(policy.enough(&all), "all witnesses are always enough");
            assert!(policy.open(data, &keys).is_err());
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
