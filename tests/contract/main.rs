//! What every store must do. One suite, run over each backend. docs/ARCHITECTURE, "The store".
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod broken;
mod feed;
mod forward;
mod later;
mod tamper;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use sublet_broker::config::Durability;
use sublet_broker::keys::Signers;
use sublet_broker::store::{CheckpointSigner, Commit, Memory, NotCommitted, Sled, Store};
use sublet_core::base::id::{AgentId, HopId, UnixMillis};
use sublet_core::base::key::PublicKey;
use sublet_core::evidence::record::{Body, Record};
use sublet_core::refusal::{Fault, Refusal};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::rows::retention::Hold;
use sublet_core::state::{
    Agent, AgentState, Delegation, Effects, JoinToken, JoinTokenState, Mutation, Precondition,
    RecordedHop, RowKey,
};
use sublet_core::trust::bundle::{KeyUse, SignedBundle};
use sublet_ledger::tree::{Checked, verify_inclusion};
use sublet_tests::Fleet;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn agent_id(name: &str) -> AgentId {
    format!("spiffe://acme.example/agent/{name}").parse().unwrap()
}

fn agent(name: &str, version: u64) -> Agent {
    let state = AgentState::Invited;
    Agent {
        id: agent_id(name),
        profile: "p".into(),
        state,
        key: None,
        created_at: NOW,
        identity: None,
        former: None,
        version,
    }
}

fn delegation(id: u8) -> Delegation {
    Delegation {
        id: HopId([id; 32]),
        principal: "user:a@acme.example".parse().unwrap(),
        agent: agent_id("a"),
        issued_at: NOW,
        expires_at: NOW.plus_ms(60_000),
        session: None,
        fan_out_max: 1_000,
        hops: 0,
        records: 0,
        last_leaf: [0; 32],
    }
}

fn hop(id: HopId, delegation: u8) -> RecordedHop {
    RecordedHop {
        id,
        parent: None,
        delegation: HopId([delegation; 32]),
        position: 0,
        agent: agent_id("a"),
        helper: None,
        key: sublet_core::base::key::Thumbprint([0; 32]),
        expires_at: NOW.plus_ms(60_000),
        maker: None,
        index: 0,
    }
}

fn record(delegation: Option<u8>, what: &str) -> Record {
    let body = Body::Exported { what: what.into() };
    Record { delegation: delegation.map(|id| HopId([id; 32])), actor: "test".into(), body }
}

fn commit(
    preconditions: Vec<Precondition>,
    mutations: Vec<Mutation>,
    records: Vec<Record>,
) -> Commit {
    let effects = Effects { preconditions, mutations, records };
    Commit { effects, receipt: None, salt: [7; 16], trace: None, now: NOW }
}

/// Whoever signs the heads of these ledgers.
fn notary() -> CheckpointSigner {
    let signers = Signers::default();
    signers.add(std::sync::Arc::new(Fleet::signer(KeyUse::Ledger)));
    CheckpointSigner::new(signers)
}

/// The bundle that lists their key.
fn trust() -> SignedBundle {
    Fleet::new().signed_bundle()
}

/// A store that can be closed and opened again.
trait Disk {
    fn open(&self) -> Result<Store, Fault>;
}

struct InMemory(Memory);

impl Disk for InMemory {
    fn open(&self) -> Result<Store, Fault> {
        Store::open(self.0.clone(), trust(), notary())
    }
}

struct OnSled(tempfile::TempDir);

impl OnSled {
    fn new() -> Self {
        OnSled(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Disk for OnSled {
    fn open(&self) -> Result<Store, Fault> {
        let backend = once_free(|| Sled::open(&self.path().join("store"), Durability::PowerLoss))?;
        Store::open(backend, trust(), notary())
    }
}

/// The committer that still holds a database lets go a moment after its store is dropped.
fn once_free<T, E: std::fmt::Display>(open: impl Fn() -> Result<T, E>) -> Result<T, E> {
    for _ in 0..6_000 {
        match open() {
            Err(held) if held.to_string().contains("could not acquire lock") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
    panic!("the database is not free after a minute");
}

/// Runs one law over both backends.
macro_rules! law {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(&super::InMemory(Default::default())).await; })* }
        mod sled { $(#[tokio::test] async fn $name() { super::$name(&super::OnSled::new()).await; })* }
    };
}

law!(
    what_is_answered_is_there_after_a_restart,
    a_commit_whose_guard_changed_does_nothing,
    of_a_hundred_who_spend_one_token_one_wins,
    a_delegations_records_are_chained_and_read_in_order,
    revocations_are_numbered_without_a_gap,
    what_ended_is_forgotten_and_the_rest_stays,
    waiters_are_all_committed,
    what_is_pruned_goes_but_for_what_is_held,
    a_decision_rests_on_what_it_asked_and_on_no_other_revocation,
    the_feed_is_as_large_as_what_is_in_force,
    what_was_lifted_leaves_the_feed,
    answers_are_counted_for_their_callers_over_a_restart,
    the_floor_never_falls,
    no_record_is_of_an_earlier_time_than_the_one_before_it,
);

use feed::{
    a_decision_rests_on_what_it_asked_and_on_no_other_revocation,
    answers_are_counted_for_their_callers_over_a_restart, the_feed_is_as_large_as_what_is_in_force,
    what_was_lifted_leaves_the_feed,
};
use forward::{no_record_is_of_an_earlier_time_than_the_one_before_it, the_floor_never_falls};

// SPEC 6.2, 9.6.
async fn what_is_answered_is_there_after_a_restart(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let writes = vec![Mutation::from(agent("a", 0)), Mutation::from(delegation(1))];
    store.commit(commit(vec![], writes, vec![record(Some(1), "one")])).await.unwrap();
    let id = HopId([9; 32]);
    let writes = vec![Mutation::RecordHop { hop: hop(id, 1), record: 0 }];
    store.commit(commit(vec![], writes, vec![record(Some(1), "two")])).await.unwrap();
    let before = store.published().unwrap();
    drop(store);
    let store = disk.open().unwrap();
    let after = store.published().unwrap();
    assert_eq!((after.tree.size(), after.root, &after.note), (2, before.root, &before.note));
    let state = store.view().unwrap();
    assert_eq!(state.agent(&agent_id("a")), Some(&agent("a", 0)));
    assert_eq!(state.hop(&id).unwrap().index, 1, "a hop knows the index of its record");
    assert_eq!(state.delegation(&HopId([1; 32])).unwrap().records, 2);
}

async fn a_commit_whose_guard_changed_does_nothing(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    store.commit(commit(vec![], vec![Mutation::from(agent("a", 3))], vec![])).await.unwrap();
    let stale = Precondition::Version(RowKey::Agent(agent_id("a")), Some(2));
    let writes = vec![Mutation::from(agent("a", 9)), Mutation::from(agent("b", 0))];
    let refused = store.commit(commit(vec![stale], writes, vec![record(None, "never")])).await;
    let refused = refused.map(drop);
    assert_eq!(refused, Err(NotCommitted::Changed));
    let state = store.view().unwrap();
    assert_eq!(state.agent(&agent_id("a")).unwrap().version, 3);
    assert_eq!(state.agent(&agent_id("b")), None);
    assert_eq!(store.published().unwrap().tree.size(), 0);
}

// SPEC 3.7.
async fn of_a_hundred_who_spend_one_token_one_wins(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let token = |state, version| {
        let (id, agent, expires_at) = ("t".to_owned(), agent_id("a"), NOW.plus_ms(1_000));
        Mutation::from(JoinToken { id, agent, hash: [0; 32], expires_at, state, version })
    };
    store.commit(commit(vec![], vec![token(JoinTokenState::Open, 0)], vec![])).await.unwrap();
    let tries = (0..100).map(|n| {
        let (store, spend) = (store.clone(), token(JoinTokenState::Spent, 1));
        let guard = Precondition::Version(RowKey::JoinToken("t".into()), Some(0));
        tokio::spawn(async move {
            store.commit(commit(vec![guard], vec![spend], vec![record(None, &n.to_string())])).await
        })
    });
    let mut won = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.unwrap() {
            Ok(_) => won += 1,
            Err(why) => assert_eq!(why, NotCommitted::Changed),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(store.published().unwrap().tree.size(), 1);
}

// SPEC 9.3.
async fn a_delegations_records_are_chained_and_read_in_order(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    for id in [1, 2] {
        store
            .commit(commit(
                vec![],
                vec![Mutation::from(delegation(id))],
                vec![record(Some(id), "issued")],
            ))
            .await
            .unwrap();
    }
    for n in 0..300u16 {
        store
            .commit(commit(
                vec![],
                vec![],
                vec![record(Some(if n % 2 == 0 { 1 } else { 2 }), &format!("record {n}"))],
            ))
            .await
            .unwrap();
    }
    let reader = store.reader();
    let all = reader.of_delegation(&HopId([1; 32]), 0, 1_000).unwrap();
    assert_eq!(all.len(), 151);
    assert!(all.windows(2).all(|pair| pair[0].index < pair[1].index));
    let rest = reader.of_delegation(&HopId([1; 32]), all[100].index, 10).unwrap();
    assert_eq!(rest, all[100..110]);
}

async fn revocations_are_numbered_without_a_gap(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let mut heard = store.revocations();
    let revoke = |n: u8| Mutation::Revoke {
        revocation: Revocation::Hop(HopId([n; 32])),
        expires_at: NOW.plus_ms(60_000),
    };
    for n in 1..=20 {
        store.commit(commit(vec![], vec![revoke(n)], vec![])).await.unwrap();
    }
    assert_eq!(*heard.borrow_and_update(), 20);
    let head = store.feed().unwrap().head(NOW);
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(store.feed().unwrap().head(NOW), head);
    assert!(store.view().unwrap().revoked(&Revocation::Hop(HopId([20; 32]))).is_some());
}

async fn what_ended_is_forgotten_and_the_rest_stays(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let ended = RecordedHop { expires_at: NOW.plus_ms(-1), ..hop(HopId([1; 32]), 1) };
    let lives = hop(HopId([2; 32]), 1);
    let writes = [ended, lives].map(|hop| Mutation::RecordHop { hop, record: 0 }).to_vec();
    store.commit(commit(vec![], writes, vec![record(None, "hops")])).await.unwrap();
    assert_eq!(store.prune(NOW).await, Ok(1));
    assert_eq!(store.prune(NOW).await, Ok(0));
    assert!(store.view().unwrap().hop(&HopId([1; 32])).is_none());
    assert!(store.view().unwrap().hop(&HopId([2; 32])).is_some());
}

async fn waiters_are_all_committed(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let waiters = (0..1_000u32).map(|n| {
        let store = store.clone();
        let mut id = [7; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let writes = vec![Mutation::RecordHop { hop: hop(HopId(id), 1), record: 0 }];
        tokio::spawn(async move {
            store
                .commit(commit(
                    vec![Precondition::absent(RowKey::Hop(HopId(id)))],
                    writes,
                    vec![record(None, "hop")],
                ))
                .await
                .unwrap();
            let row = store.view().unwrap().hop(&HopId(id)).cloned();
            row.expect("what is answered is visible").index
        })
    });
    let mut indices = HashSet::new();
    for waiter in waiters.collect::<Vec<_>>() {
        assert!(indices.insert(waiter.await.unwrap()), "no two hops have one index");
    }
    assert_eq!(store.published().unwrap().tree.size(), 1_000);
}

/// Of 700 records two bundles of 256 are full; a hold on one record keeps its bundle.
// SPEC 9.10.
async fn what_is_pruned_goes_but_for_what_is_held(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let writes = vec![Mutation::from(delegation(1))];
    let said = || Record {
        delegation: Some(HopId([1; 32])),
        actor: "test".into(),
        body: Body::Refused { method: "m", code: "c", detail: "words".into(), asked: "a".into() },
    };
    store.commit(commit(vec![], writes, (0..700).map(|_| said()).collect())).await.unwrap();
    let all: Vec<_> = (0..700).collect();
    let there = |store: &Store| -> Vec<u64> {
        let range = store.reader().range(0, 1_000).unwrap();
        let of = store.reader().of_delegation(&HopId([1; 32]), 0, 1_000).unwrap();
        assert_eq!(range, of, "what is gone is named nowhere");
        range.into_iter().map(|entry| entry.index).collect()
    };
    assert_eq!(store.prune(NOW).await, Ok(0));
    assert_eq!(there(&store), all);
    let hold = Hold { name: "case".into(), from: 300, to: 301, placed_at: NOW };
    let writes = vec![Mutation::from(hold.clone()), Mutation::RaiseFloor(700)];
    store.commit(commit(vec![], writes, vec![])).await.unwrap();
    assert_eq!(store.prune(NOW).await, Ok(256));
    assert_eq!(there(&store), all[256..]);
    assert_eq!(store.prune(NOW).await, Ok(0));
    let proofs = |store: &Store| {
        let (published, reader) = (store.published().unwrap(), store.reader());
        let leaves = published.leaf_hashes(5..700, reader.as_ref()).unwrap();
        assert_eq!(leaves.len(), 251 * 32, "of one tile");
        let leaf: [u8; 32] = leaves[..32].try_into().unwrap();
        let proof = published.inclusion(5, reader.as_ref()).unwrap();
        let holds = verify_inclusion(&leaf, 5, 700, &proof, &published.root);
        assert_eq!(holds, Checked::Holds, "every proof stays");
    };
    proofs(&store);
    // Erasing and forgetting what lies side by side, in one batch or in two.
    let (erased, pruned) = tokio::join!(
        store.commit(commit(vec![], vec![Mutation::ErasePayload(512)], vec![])),
        store.prune(NOW)
    );
    assert_eq!((erased.map(drop), pruned), (Ok(()), Ok(0)));
    assert_eq!(store.reader().range(512, 1).unwrap()[0].payload, None);
    assert!(store.reader().range(513, 1).unwrap()[0].payload.is_some());
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(there(&store), all[256..]);
    assert_eq!(store.view().unwrap().retention().hold("case"), Some(&hold));
    let writes = vec![
        Mutation::RemoveLegalHold("case".into()),
        Mutation::from(hold),
        Mutation::ErasePayload(3),
    ];
    store.commit(commit(vec![], writes, vec![])).await.unwrap();
    assert_eq!(store.prune(NOW).await, Ok(0), "released and placed again");
    store
        .commit(commit(vec![], vec![Mutation::RemoveLegalHold("case".into())], vec![]))
        .await
        .unwrap();
    assert_eq!(store.prune(NOW).await, Ok(256));
    assert_eq!(there(&store), all[512..]);
    proofs(&store);
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(there(&store), all[512..]);
    assert_eq!(store.view().unwrap().retention().holds().count(), 0);
    assert_eq!(store.view().unwrap().retention().floor(), 700);
}

#[tokio::test]
async fn a_sled_store_that_was_altered_is_refused() {
    let disk = OnSled::new();
    let store = disk.open().unwrap();
    for n in 0..10 {
        store
            .commit(commit(vec![], vec![], vec![record(None, &format!("record {n}"))]))
            .await
            .unwrap();
    }
    drop(store);
    drop(disk.open().unwrap());
    let path = disk.path().join("store");
    let alter = |change: &dyn Fn(&Raw)| {
        let raw = Raw::open(&path);
        change(&raw);
    };
    let refused = |detail: &str| {
        let heard = disk.open().err().unwrap().to_string();
        assert!(heard.contains("not as it was left") && heard.contains(detail), "{heard}");
    };
    let fifth = [b"l".as_slice(), &5u64.to_be_bytes()].concat();
    let kept = Raw::open(&path).read(&fifth);
    let mut flipped = kept.clone();
    flipped[10] ^= 1;
    alter(&|raw| raw.write(&fifth, &flipped));
    refused("another root");
    alter(&|raw| raw.write(&fifth, &kept[..kept.len() - 1]));
    refused("record 5 is torn");
    alter(&|raw| raw.remove(&fifth));
    refused("9 leaves behind the last full tile, 10 expected");
    alter(&|raw| raw.write(&fifth, &kept));
    drop(disk.open().unwrap());
    let tenth = [b"l".as_slice(), &10u64.to_be_bytes()].concat();
    alter(&|raw| raw.write(&tenth, &kept));
    refused("11 leaves");
}

#[tokio::test]
async fn another_schema_and_another_domain_are_refused() {
    let disk = OnSled::new();
    drop(disk.open().unwrap());
    drop(disk.open().unwrap());
    let other = Fleet::of("other.example").signed_bundle();
    let open = |trust: SignedBundle| {
        let backend =
            once_free(|| Sled::open(&disk.path().join("store"), Durability::Process)).unwrap();
        Store::open(backend, trust, notary())
    };
    assert!(open(other).err().unwrap().to_string().contains("another data directory"));
    Raw::open(&disk.path().join("store")).write(b"mschema", b"sublet 99 acme.example");
    assert!(open(trust()).err().unwrap().to_string().contains("sublet 99"));
}

/// A row of a kind that nobody reads would be lost with each start, in silence.
#[tokio::test]
async fn a_row_of_an_unknown_kind_is_refused() {
    let disk = OnSled::new();
    drop(disk.open().unwrap());
    Raw::open(&disk.path().join("store")).write(b"\xf0row", b"something");
    let backend =
        once_free(|| Sled::open(&disk.path().join("store"), Durability::Process)).unwrap();
    let refused = Store::open(backend, trust(), notary()).err().unwrap().to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
}

/// Stores of before have smaller segments.
#[tokio::test]
async fn a_store_with_smaller_segments_goes_on_with_them() {
    let disk = OnSled::new();
    let store = disk.path().join("store");
    drop(::sled::Config::new().path(&store).flush_every_ms(None).open().unwrap());
    tamper::fill(&disk.open().unwrap(), 0..300, "record").await;
    tamper::fill(&disk.open().unwrap(), 300..301, "record").await;
    assert_eq!(disk.open().unwrap().published().unwrap().tree.size(), 301);
}

/// The database as someone with a shell sees it.
struct Raw(::sled::Db);

impl Raw {
    fn open(path: &Path) -> Self {
        let config = ::sled::Config::new().path(path).segment_size(16 * 1024 * 1024);
        Raw(once_free(|| config.clone().flush_every_ms(None).open()).unwrap())
    }

    fn read(&self, key: &[u8]) -> Vec<u8> {
        self.0.get(key).unwrap().unwrap().to_vec()
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value).unwrap();
        self.0.flush().unwrap();
    }

    fn remove(&self, key: &[u8]) {
        self.0.remove(key).unwrap();
        self.0.flush().unwrap();
    }
}
