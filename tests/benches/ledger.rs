//! The ledger: leaves through the committer with 256 waiters on sled with `fdatasync`, and a log of
//! a million leaves hashed and checked, alone and as an evidence bundle, beside SHA-256 over the same
//! bytes in the same run. Read the ratios, not the times. SUBLET_LEAVES sets how many go through the committer (200,000).
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench reads the clock and stops at what it did not expect"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sublet_broker::config::Durability;
use sublet_broker::keys::Signers;
use sublet_broker::store::{CheckpointSigner, Commit, Sled, Store};
use sublet_client::audit::bundle::{self, Bundle};
use sublet_client::audit::records::{RawLedger, RawRecord};
use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::evidence::record::{Body, HopRecord, Record};
use sublet_core::state::{Effects, Mutation};
use sublet_core::token::BlockPayload;
use sublet_core::token::verify::Holder;
use sublet_core::trust::bundle::KeyUse;
use sublet_ledger::checkpoint::{Checkpoint, CheckpointKey};
use sublet_ledger::leaf_hash;
use sublet_ledger::tile::Tree;
use sublet_proto::record;
use sublet_tests::Fleet;

const WAITERS: u64 = 256;

/// Leaves of the log that is checked, and bytes in each.
const LEAVES: u64 = 1_000_000;
const LEAF_BYTES: usize = 512;

fn main() {
    // As in `nonces`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if let Some((path, leaves)) = bundle_to_write() {
        return write_bundle(&path, leaves);
    }
    let (committed, forgotten) = committer();
    let (hashed, checked) = log();
    println!("committer: {committed:.0} durable leaves a second with {WAITERS} waiters");
    println!(
        "forgetting: {forgotten:.0} leaves a second, {:.1} of what comes in",
        forgotten / committed
    );
    println!(
        "a log of {LEAVES} leaves of {LEAF_BYTES} bytes: {:.0} leaves a second a core, {:.2} of SHA-256 over the same bytes",
        LEAVES as f64 / checked.as_secs_f64(),
        checked.as_secs_f64() / hashed.as_secs_f64(),
    );
    for leaves in [LEAVES / 10, LEAVES] {
        bundle_of(leaves, hashed);
    }
}

fn record(number: u64) -> Record {
    let key = SecretKey::ed25519_from_seed([3; 32]);
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let holder =
        Holder { agent: "spiffe://acme.example/agent/reader".parse().unwrap(), helper: None };
    let block = BlockPayload {
        payload: vec![5; 250],
        next_key: key.public_key().clone(),
        signature: vec![6; 64],
    };
    let hop = HopRecord {
        hop: HopId(id),
        parent: Some(HopId([8; 32])),
        position: 1,
        holder,
        key: Thumbprint([9; 32]),
        expires: 2_000_000_000,
        session: None,
        block: Some(block),
    };
    let actor = "spiffe://acme.example/agent/planner".into();
    Record { delegation: None, actor, body: Body::HopRecorded(hop) }
}

/// Durable leaves a second, every one waited for; and how many a second are forgotten again.
fn committer() -> (f64, f64) {
    let count: u64 =
        std::env::var("SUBLET_LEAVES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let signers = Signers::default();
        signers.add(Arc::new(Fleet::signer(KeyUse::Ledger)));
        let (trust, notary) = (Fleet::new().signed_bundle(), CheckpointSigner::new(signers));
        let backend = Sled::open(&directory.path().join("store"), Durability::PowerLoss).unwrap();
        let store = Store::open(backend, trust, notary).unwrap();
        let template = record(0);
        let began = Instant::now();
        let waiters = (0..WAITERS).map(|_| {
            let (store, template) = (store.clone(), template.clone());
            tokio::spawn(async move {
                for _ in 0..count / WAITERS {
                    let commit = Commit {
                        effects: Effects { records: vec![template.clone()], ..Effects::default() },
                        receipt: None,
                        salt: [1; 16],
                        trace: None,
                        now: UnixMillis(1_000),
                    };
                    store.commit(commit).await.unwrap();
                }
            })
        });
        for waiter in waiters.collect::<Vec<_>>() {
            waiter.await.unwrap();
        }
        let leaves = store.published().unwrap().tree.size();
        let committed = leaves as f64 / began.elapsed().as_secs_f64();
        let floor = Commit {
            effects: Effects {
                mutations: vec![Mutation::RaiseFloor(leaves)],
                ..Effects::default()
            },
            receipt: None,
            salt: [1; 16],
            trace: None,
            now: UnixMillis(1_000),
        };
        store.commit(floor).await.unwrap();
        let (began, mut forgotten) = (Instant::now(), 0);
        loop {
            match store.prune(UnixMillis(0)).await.unwrap() {
                0 => break,
                portion => forgotten += portion,
            }
        }
        assert_eq!(forgotten as u64, leaves - leaves % 256);
        (committed, forgotten as f64 / began.elapsed().as_secs_f64())
    })
}

/// SHA-256 alone over all leaves, and the same with the tree over them.
fn log() -> (Duration, Duration) {
    let mut leaf = vec![0u8; LEAF_BYTES];
    let mut change = |number: u64| {
        leaf[..8].copy_from_slice(&number.to_be_bytes());
        leaf.clone()
    };
    let began = Instant::now();
    let mut last = [0u8; 32];
    for number in 0..LEAVES {
        last = Sha256::digest(change(number)).into();
    }
    let hashed = began.elapsed();
    let began = Instant::now();
    let (mut tree, mut full) = (Tree::default(), Vec::new());
    for number in 0..LEAVES {
        tree.append(leaf_hash(&change(number)).unwrap(), &mut full);
        full.clear();
    }
    assert_ne!(tree.root(), last);
    (hashed, began.elapsed())
}

/// Whoever signs the heads of these bundles.
fn checkpoint_key() -> (SecretKey, CheckpointKey) {
    let key = SecretKey::ed25519_from_seed([4; 32]);
    let head = CheckpointKey::new("acme.example/sublet", key.public_key().bytes()).unwrap();
    (key, head)
}

/// What this process was started for, if it was to write a bundle: memory that was needed for it
/// does not count for reading it.
fn bundle_to_write() -> Option<(PathBuf, u64)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--write").skip(1);
    Some((arguments.next()?.into(), arguments.next()?.parse().ok()?))
}

fn write_bundle(path: &Path, leaves: u64) {
    let (key, checkpoint_key) = checkpoint_key();
    let record = |number: u64| {
        let body = record::Exported { what: "x".repeat(LEAF_BYTES - 20) };
        let record = record::Record {
            time_ms: i64::try_from(number).unwrap(),
            body: Some(record::record::Body::Exported(body)),
            ..Default::default()
        };
        let mut leaf = record.encode_to_vec();
        leaf.insert(0, 1);
        RawRecord::Kept { leaf, payload: Vec::new() }
    };
    let records: Vec<_> = (0..leaves).map(record).collect();
    let mut tree = Tree::default();
    for record in &records {
        tree.append(leaf_hash(record.leaf().unwrap()).unwrap(), &mut Vec::new());
    }
    let head = Checkpoint {
        origin: checkpoint_key.name().to_owned(),
        size: tree.size(),
        root: tree.root(),
    };
    let signature = key.sign(head.text().as_bytes()).unwrap();
    let note = head.signed(&checkpoint_key, &signature).unwrap();
    let ledger = RawLedger { note, witnessed: Vec::new(), records };
    bundle::write(path, &ledger, b"{}", Vec::new(), &[checkpoint_key]).unwrap();
}

/// Checks a bundle: hashes and tree, then every record read; and what memory that took.
fn bundle_of(leaves: u64, hashed: Duration) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evidence.sublet");
    let written = Command::new(std::env::current_exe().unwrap())
        .args(["--bench", "--write"])
        .arg(&path)
        .arg(leaves.to_string())
        .status();
    assert!(written.unwrap().success());
    let (_, key) = checkpoint_key();
    let before = peak_kib();
    let began = Instant::now();
    let bundle = Bundle::open(&path, &[key]).unwrap();
    let opened = began.elapsed();
    let began = Instant::now();
    assert_eq!(bundle.check_records().unwrap(), leaves);
    let read = began.elapsed();
    let of_hashed = hashed.as_secs_f64() * leaves as f64 / LEAVES as f64;
    println!(
        "a bundle of {leaves} leaves: {:.0} leaves a second a core hashed and checked, {:.2} of SHA-256 over the same bytes; {:.0} records a second read; {} KiB more memory than before",
        leaves as f64 / opened.as_secs_f64(),
        opened.as_secs_f64() / of_hashed,
        leaves as f64 / read.as_secs_f64(),
        peak_kib().saturating_sub(before),
    );
}

/// The most memory that this process had at once since it was last asked, in KiB; 0 where the
/// system does not say.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak.unwrap_or(0)
}
