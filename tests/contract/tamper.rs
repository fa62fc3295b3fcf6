//! Whoever can write to the disk, the operator too: for a ledger of 10,000 records each kind of
//! change, and what catches it. A start refuses; or a copy that is pulled afterwards does not verify;
//! or it verifies by itself and contradicts a head that somebody kept.

use std::path::Path;

use sublet_broker::store::checkpoint_keys;
use sublet_client::audit::entry::Entry;
use sublet_client::audit::published::{Published, SignedCheckpoint, in_directory};
use sublet_ledger::tile::Resource;
use sublet_proto::v1::ReplayEntry;

use super::*;

const RECORDS: u64 = 10_000;

/// What caught a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    /// The broker does not start.
    AtStart,
    /// A copy pulled from the broker does not verify, or cannot be pulled.
    InACopy,
    /// The copy verifies, and is not what a head that was kept says.
    KeptHead,
    /// A record is read with what lies beside it.
    WhenRead,
}

/// Records with something beside each, numbered from `from` on.
pub(super) async fn fill(store: &Store, numbers: std::ops::Range<u64>, what: &'static str) {
    let commits = numbers.map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let body = Body::Refused {
                method: "/m",
                code: "forbidden",
                detail: what.into(),
                asked: format!("{what} {number}"),
            };
            let record = Record { delegation: None, actor: "test".into(), body };
            store.commit(commit(vec![], vec![], vec![record])).await.unwrap();
        })
    });
    // Fewer at once than the queue takes.
    let mut waiting = std::collections::VecDeque::new();
    for one in commits {
        waiting.push_back(one);
        if waiting.len() > 500 {
            waiting.pop_front().unwrap().await.unwrap();
        }
    }
    for one in waiting {
        one.await.unwrap();
    }
}

fn head(store: &Store) -> SignedCheckpoint {
    let note = store.published().unwrap().note.clone();
    SignedCheckpoint::open(note, &checkpoint_keys(trust().bundle())).unwrap()
}

/// A copy of the ledger as it is served; an error when something of it is not there.
fn pulled(store: &Store) -> Result<tempfile::TempDir, String> {
    let copy = tempfile::tempdir().unwrap();
    let (published, reader) = (store.published().unwrap(), store.reader());
    let resources = std::iter::once(Resource::Checkpoint);
    for resource in resources.chain(Resource::of_size(published.tree.size())) {
        let content =
            published.content(resource, reader.as_ref()).map_err(|refusal| refusal.to_string())?;
        let path = copy.path().join(resource.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.ok_or("it is not there")?).unwrap();
    }
    Ok(copy)
}

/// What catches the change that was made to this disk, given a head that was kept before it.
fn caught(disk: &OnSled, kept: &SignedCheckpoint) -> Option<Caught> {
    let store = match disk.open() {
        Ok(store) => store,
        Err(fault) => {
            let detail = fault.to_string();
            let told = ["ledger", "head", "tile", "record", "leaves"];
            assert!(
                told.iter().any(|word| detail.contains(word)),
                "no reason of the ledger: {detail}"
            );
            return Some(Caught::AtStart);
        }
    };
    let keys = &checkpoint_keys(trust().bundle());
    let Ok(copy) = pulled(&store) else { return Some(Caught::InACopy) };
    let source = in_directory(copy.path());
    let copy = match Published::verify(&source, keys) {
        Ok(copy) => copy,
        Err(failure) => {
            let told = ["ledger_invalid", "ledger_incomplete"];
            assert!(told.contains(&failure.code().as_ref()), "{failure}");
            return Some(Caught::InACopy);
        }
    };
    match copy.against(&source, std::slice::from_ref(kept)) {
        Ok(None) => {}
        Ok(Some(fork)) => {
            fork.verify(keys).unwrap();
            return Some(Caught::KeptHead);
        }
        Err(failure) => {
            assert!(failure.code().starts_with("ledger_"), "{failure}");
            return Some(Caught::KeptHead);
        }
    }
    let entries = store.reader().range(0, usize::MAX).unwrap();
    let unread = entries.into_iter().any(|entry| {
        let payload = entry.payload.unwrap_or_default();
        Entry::read(&ReplayEntry { index: entry.index, leaf: entry.leaf, payload }).is_err()
    });
    unread.then_some(Caught::WhenRead)
}

fn copy_of(from: &Path) -> OnSled {
    let disk = OnSled::new();
    copy_all(&from.join("store"), &disk.path().join("store"));
    disk
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy_all(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The keys of one prefix, in order.
fn keys(raw: &Raw, prefix: u8) -> Vec<Vec<u8>> {
    raw.0.scan_prefix([prefix]).keys().map(|key| key.unwrap().to_vec()).collect()
}

/// Where a record's leaf begins in the segment that it lies in: the segment's key and the offset.
fn place(raw: &Raw, index: u64) -> (Vec<u8>, usize) {
    let of = |key: &[u8]| u64::from_be_bytes(key[1..].try_into().unwrap());
    let segment = keys(raw, b'l').into_iter().rfind(|key| of(key) <= index).unwrap();
    let bytes = raw.read(&segment);
    let mut at = 0;
    for _ in of(&segment)..index {
        at += 2 + usize::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()));
        at += 4 + u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    (segment, at + 2)
}

fn flip(raw: &Raw, key: &[u8], at: usize) {
    let mut bytes = raw.read(key);
    bytes[at] ^= 1;
    raw.write(key, &bytes);
}

/// Cuts a store back to `size` records so that it is whole in itself: segments, tiles, heads.
fn cut_back(raw: &Raw, size: u64, root: [u8; 32]) {
    let of = |key: &[u8]| u64::from_be_bytes(key[key.len() - 8..].try_into().unwrap());
    for key in keys(raw, b'l').into_iter().filter(|key| of(key) >= size) {
        raw.remove(&key);
    }
    for key in keys(raw, b'c').into_iter().filter(|key| of(key) > size) {
        raw.remove(&key);
    }
    let wide = |key: &[u8]| (of(key) + 1) << (8 * (u32::from(key[1]) + 1));
    for key in keys(raw, b't').into_iter().filter(|key| wide(key) > size) {
        raw.remove(&key);
    }
    raw.write(b"mhead", &[&size.to_be_bytes()[..], &root].concat());
}

// SPEC 9.6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_change_to_the_stored_ledger_is_caught() {
    let disk = OnSled::new();
    let store = disk.open().unwrap();
    fill(&store, 0..RECORDS / 2, "record").await;
    let halfway = head(&store);
    drop(store);
    drop(disk.open().unwrap());
    let backup = copy_of(disk.path());
    let store = disk.open().unwrap();
    fill(&store, RECORDS / 2..RECORDS, "record").await;
    let kept = head(&store);
    assert_eq!(kept.head.size, RECORDS);
    drop(store);
    // It is whole on the disk once the committer has let go of it.
    drop(disk.open().unwrap());
    let pages = std::fs::read_dir(disk.path().join("store/blobs")).unwrap().count();
    assert_eq!(pages, 0, "no page is in a file of its own, which sled does not sync");
    assert_eq!(caught(&copy_of(disk.path()), &kept), None, "untouched");

    type Change<'a> = Box<dyn Fn(&Raw) + 'a>;
    let segment = |at: usize| move |raw: &Raw| keys(raw, b'l')[at].clone();
    let changes: Vec<(&str, Change<'_>, Caught)> = vec![
        (
            "a bit of an old record",
            Box::new(|raw| {
                let (key, at) = place(raw, 100);
                flip(raw, &key, at + 20);
            }),
            Caught::InACopy,
        ),
        (
            "a bit of the last record",
            Box::new(|raw| {
                let (key, at) = place(raw, RECORDS - 1);
                flip(raw, &key, at + 20);
            }),
            Caught::AtStart,
        ),
        (
            "a bit of what lies beside a record",
            Box::new(|raw| {
                let (key, at) = place(raw, 101);
                flip(raw, &key, at - 4);
            }),
            Caught::WhenRead,
        ),
        ("an old segment dropped", Box::new(|raw| raw.remove(&segment(3)(raw))), Caught::InACopy),
        (
            "the last segment dropped",
            Box::new(|raw| {
                raw.remove(keys(raw, b'l').last().unwrap());
            }),
            Caught::AtStart,
        ),
        (
            "two segments swapped",
            Box::new(|raw| {
                let (one, two) = (segment(3)(raw), segment(5)(raw));
                let (first, second) = (raw.read(&one), raw.read(&two));
                raw.write(&one, &second);
                raw.write(&two, &first);
            }),
            Caught::InACopy,
        ),
        (
            "a record put behind the last",
            Box::new(|raw| {
                let bytes = raw.read(&segment(0)(raw));
                raw.write(&[&b"l"[..], &RECORDS.to_be_bytes()].concat(), &bytes);
            }),
            Caught::AtStart,
        ),
        ("a bit of a tile", Box::new(|raw| flip(raw, &keys(raw, b't')[3], 77)), Caught::AtStart),
        ("a tile dropped", Box::new(|raw| raw.remove(&keys(raw, b't')[3])), Caught::AtStart),
        ("a bit of the stored head", Box::new(|raw| flip(raw, b"mhead", 20)), Caught::AtStart),
        (
            "a smaller size in the stored head",
            Box::new(|raw| flip(raw, b"mhead", 7)),
            Caught::AtStart,
        ),
        (
            "a bit of the last signed head",
            Box::new(|raw| {
                flip(raw, keys(raw, b'c').last().unwrap(), 60);
            }),
            Caught::AtStart,
        ),
        (
            "every signed head dropped",
            Box::new(|raw| {
                keys(raw, b'c').iter().for_each(|key| raw.remove(key));
            }),
            Caught::AtStart,
        ),
        (
            "cut back to a smaller ledger, whole in itself",
            Box::new(|raw| {
                cut_back(raw, halfway.head.size, halfway.head.root);
            }),
            Caught::KeptHead,
        ),
    ];
    for (what, change, by) in &changes {
        let copy = copy_of(disk.path());
        change(&Raw::open(&copy.path().join("store")));
        assert_eq!(caught(&copy, &kept), Some(*by), "{what}");
        println!("{what}: caught {by:?}");
    }

    // A whole backup is put in place.
    assert_eq!(caught(&copy_of(backup.path()), &kept), Some(Caught::KeptHead), "rolled back");
    // It goes on, under the same key: two brokers, one past each.
    let other = copy_of(backup.path());
    let store = other.open().unwrap();
    fill(&store, RECORDS / 2..RECORDS + 500, "another history").await;
    drop(store);
    assert_eq!(caught(&other, &kept), Some(Caught::KeptHead), "diverged");
    // One record rewritten, everything above it made anew and signed with the right key.
    let rewritten = OnSled::new();
    let store = rewritten.open().unwrap();
    fill(&store, 0..100, "record").await;
    fill(&store, 100..101, "rewritten").await;
    fill(&store, 101..RECORDS, "record").await;
    drop(store);
    assert_eq!(caught(&rewritten, &kept), Some(Caught::KeptHead), "re-signed");
}
