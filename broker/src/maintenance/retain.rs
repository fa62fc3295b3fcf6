//! Prunes what has ended: expired rows, and records that are older than the retention time.
//!
//! Owns: when, and up to which record. Does not own: what may be pruned (`core::retention`, legal
//! holds), the pruning itself (the committer).

use std::sync::Arc;
use std::time::Duration;

use sublet_core::base::id::UnixMillis;
use sublet_core::refusal::Fault;
use sublet_ledger::tile::WIDTH;

use crate::broker::Broker;
use crate::request::pipeline;
use crate::store::{NotCommitted, PRUNE_MAX, Store};
use sublet_proto::leaf;

/// How often the broker prunes.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// How long rows are kept after they ended, in milliseconds, because clocks differ.
const PRUNE_AFTER_MS: i64 = 60_000;

/// The most entry bundles that one round examines: a million records, more than are added between two rounds.
const BUNDLES_MAX: u64 = 4096;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Prunes what has ended, in bounded portions, faster than it can be added.
pub(crate) async fn run(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(PRUNE_EVERY);
    loop {
        ticks.tick().await;
        if let Err(detail) = prune_old_records(&broker).await {
            tracing::error!(%detail, "records older than what is kept were not pruned");
        }
        while is_full(portion(&broker).await) {}
        if let Err(fault) = broker.callers.proofs.forget_expired(broker.ports.clock.now()) {
            tracing::error!(%fault, "the set of seen proofs");
        }
    }
}

/// Starts to delete what was just pruned. The first portion is deleted before this returns, the rest
/// afterwards.
pub(crate) async fn begin(broker: &Arc<Broker>) {
    if is_full(portion(broker).await) {
        let broker = broker.clone();
        tokio::spawn(async move { while is_full(portion(&broker).await) {} });
    }
}

/// Returns whether there may be more to prune. Each portion reads every row, on the committer thread.
fn is_full(portion: Result<usize, NotCommitted>) -> bool {
    portion.is_ok_and(|forgotten| forgotten >= PRUNE_MAX)
}

async fn portion(broker: &Broker) -> Result<usize, NotCommitted> {
    let before = UnixMillis(broker.ports.clock.now().0.saturating_sub(PRUNE_AFTER_MS));
    broker.log.store.prune(before).await
}

async fn prune_old_records(broker: &Arc<Broker>) -> Result<(), String> {
    let Some(days) = broker.config.ledger.retention_days else { return Ok(()) };
    let before = broker.ports.clock.now().0.saturating_sub(i64::from(days).saturating_mul(DAY_MS));
    let reading = broker.clone();
    let below =
        tokio::task::spawn_blocking(move || first_kept(&reading.log.store, UnixMillis(before)));
    let below = below.await.map_err(|error| error.to_string())?;
    match below.map_err(|fault| fault.to_string())? {
        Some(below) => {
            let pruned = pipeline::prune(broker, below).await;
            pruned.map_err(|why| format!("{why:?}"))
        }
        None => Ok(()),
    }
}

/// Returns the index after the last entry bundle whose records are all older; `None` if it is not above
/// the floor.
fn first_kept(store: &Store, before: UnixMillis) -> Result<Option<u64>, Fault> {
    let floor = store.view()?.retention().floor();
    let (reader, size) = (store.reader(), store.published()?.tree.size());
    let (width, start) = (u64::from(WIDTH), floor - floor % u64::from(WIDTH));
    let mut below = start;
    for _ in 0..BUNDLES_MAX {
        let end = below.saturating_add(width);
        let last = if end > size { None } else { reader.range(end - 1, 1)?.pop() };
        let old = last.is_some_and(|last| {
            last.index >= end || leaf::time(&last.leaf).is_some_and(|time| time < before)
        });
        if !old {
            break;
        }
        below = end;
    }
    Ok(Some(below).filter(|below| *below > floor))
}

#[cfg(test)]
mod tests {
    use sublet_core::evidence::record::{Body, Record};
    use sublet_core::state::{Effects, Mutation};

    use super::*;
    use crate::config::KeysConfig;
    use crate::keys::KeyRing;
    use crate::store::{CheckpointSigner, Commit, Memory};
    use sublet_host::ports::{RandomSource, SystemRandom};

    #[tokio::test]
    async fn what_is_older_than_is_kept_goes_in_whole_bundles() {
        let (domain, data) = ("acme.example".parse().unwrap(), tempfile::tempdir().unwrap());
        let ring = KeyRing::open(
            data.path(),
            &domain,
            UnixMillis(0),
            &(Arc::new(SystemRandom) as Arc<dyn RandomSource>),
            &KeysConfig::default(),
        );
        let ring = ring.unwrap();
        let notary = CheckpointSigner::new(ring.signers);
        let store = Store::open(Memory::default(), ring.trust, notary).unwrap();
        let record = || Record {
            delegation: None,
            actor: "test".into(),
            body: Body::Exported { what: "all".into() },
        };
        let commit = |count, mutations, now| Commit {
            effects: Effects {
                preconditions: vec![],
                mutations,
                records: (0..count).map(|_| record()).collect(),
            },
            receipt: None,
            salt: [7; 16],
            trace: None,
            now: UnixMillis(now),
        };
        for (count, now) in [(300, 1_000), (300, 2_000), (100, 3_000)] {
            store.commit(commit(count, vec![], now)).await.unwrap();
        }
        for (before, below) in
            [(0, None), (1_000, None), (1_001, Some(256)), (2_001, Some(512)), (9_000, Some(512))]
        {
            assert_eq!(first_kept(&store, UnixMillis(before)).unwrap(), below, "before {before}");
        }
        store.commit(commit(1, vec![Mutation::RaiseFloor(256)], 3_000)).await.unwrap();
        assert_eq!(store.prune(UnixMillis(0)).await, Ok(256));
        assert_eq!(first_kept(&store, UnixMillis(1_001)).unwrap(), None, "no news");
        assert_eq!(first_kept(&store, UnixMillis(2_001)).unwrap(), Some(512));
    }
}
