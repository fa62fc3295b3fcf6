//! What only goes forward, also over a restart: the floor of the ledger, and the time of its records.

use prost::Message as _;
use sublet_proto::record;

use super::*;

/// Of two who prune records at once the one who prunes more counts.
// SPEC 9.10.
pub(super) async fn the_floor_never_falls(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    tamper::fill(&store, 0..700, "record").await;
    let floor = |store: &Store| store.view().unwrap().retention().floor();
    for (below, then) in [(512, 512), (256, 512), (0, 512)] {
        store.commit(commit(vec![], vec![Mutation::RaiseFloor(below)], vec![])).await.unwrap();
        assert_eq!(floor(&store), then, "{below}");
    }
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(floor(&store), 512, "after a restart");
    let guarded = |below| {
        let store = store.clone();
        async move {
            let guards = vec![Precondition::FloorBelow(below)];
            store.commit(commit(guards, vec![Mutation::RaiseFloor(below)], vec![])).await.map(drop)
        }
    };
    assert_eq!(guarded(300).await, Err(NotCommitted::Changed));
    assert_eq!(guarded(512).await, Err(NotCommitted::Changed));
    assert_eq!(guarded(513).await, Ok(()));
    assert_eq!(floor(&store), 513);
}

fn times(store: &Store) -> Vec<i64> {
    let size = store.published().unwrap().tree.size();
    let entries = store.reader().range(0, usize::try_from(size).unwrap()).unwrap();
    let time = |leaf: &[u8]| record::Record::decode(&leaf[1..]).unwrap().time_ms;
    entries.iter().map(|entry| time(&entry.leaf)).collect()
}

/// A clock that is set back, and decisions that are recorded in another order than they were made.
// SPEC 9.1.1.
pub(super) async fn no_record_is_of_an_earlier_time_than_the_one_before_it(disk: &dyn Disk) {
    let at = |now, records: usize| Commit {
        now: UnixMillis(now),
        ..commit(vec![], vec![], vec![record(None, "one"); records])
    };
    let store = disk.open().unwrap();
    for (now, records) in [(5_000, 1), (3_000, 2), (6_000, 1)] {
        store.commit(at(now, records)).await.unwrap();
    }
    assert_eq!(times(&store), [5_000, 5_000, 5_000, 6_000]);
    drop(store);
    let store = disk.open().unwrap();
    store.commit(at(4_000, 1)).await.unwrap();
    assert_eq!(times(&store)[4..], [6_000], "after a restart");
    // As many as fill a tile, so that none lies behind the last full one.
    store.commit(at(9_000, 251)).await.unwrap();
    drop(store);
    let store = disk.open().unwrap();
    store.commit(at(1_000, 1)).await.unwrap();
    store.commit(at(9_001, 1)).await.unwrap();
    assert_eq!(times(&store)[255..], [9_000, 9_000, 9_001]);
}
