//! A store that a later version wrote: what this one does not understand of it stops it at its start.

use sublet_tests::later::{bundle_with, delta, listed};

use super::*;

/// Going on, it would drop a key that others are to believe, or number and restate deltas that it cannot
/// read. SPEC 2.11.14, 7.4.4.
#[tokio::test]
async fn a_broker_does_not_start_on_what_it_does_not_understand() {
    let lease = bundle_with(&Fleet::new(), 2, &[listed("lease", 20, "lease")]);
    let kinds = [8, 127, 128, 255].map(|kind| delta(1, kind, b"later"));
    let rows =
        kinds.into_iter().map(|delta| ([b"r".as_slice(), &1u64.to_be_bytes()].concat(), delta));
    let rows = rows.map(|row| (row, "not")).chain([((b"b".to_vec(), lease.clone()), "understand")]);
    for ((name, value), detail) in rows {
        let disk = OnSled::new();
        drop(disk.open().unwrap());
        Raw::open(&disk.path().join("store")).write(&name, &value);
        let heard = disk.open().err().unwrap().to_string();
        assert!(heard.contains(detail), "{heard}");
    }
    // Nor with a trust.json that is handed to it first.
    let given = SignedBundle::read(lease).unwrap();
    let heard = Store::open(Memory::default(), given, notary()).err().unwrap().to_string();
    assert!(heard.contains("key 20") && heard.contains("does not understand"), "{heard}");
}
