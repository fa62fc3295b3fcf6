//! `kill -9` at random moments under load: every acknowledged hop is there after the restart, none
//! is torn. SUBLET_KILLS sets how often (3 here; 200 for the long run).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sublet_client::agent::delegation::{Attenuation, Delegation};
use sublet_client::broker::connect::Broker;
use sublet_client::broker::credential::Credential;
use sublet_client::files;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_client::{Grant, Identity};
use sublet_core::base::key_file::KeyLock;
use sublet_core::base::sign::Signer as _;
use sublet_core::token::mint::Recipient;
use sublet_proto::v1;
use tokio::sync::Notify;

use crate::stage::Stage;

const CALLERS: usize = 8;

/// Delegates until told to stop; returns the tokens that were acknowledged, and tells of the first.
async fn load(held: Delegation, stop: Arc<AtomicBool>, first: Arc<Notify>) -> Vec<Vec<u8>> {
    let terms =
        Attenuation::of(&["fs.read@tool://files path=under:/data/q3"], Duration::from_secs(60))
            .unwrap();
    let key = Ports::system().new_key().unwrap().public_key().clone();
    let mut acknowledged = Vec::new();
    for worker in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Alike in all, within one second, they would be one hop.
        let to = Recipient::Helper { label: format!("worker-{worker}"), key: key.clone() };
        match held.delegate_online(to, &terms).await {
            Ok(presentation) => {
                acknowledged.push(presentation.token);
                first.notify_one();
            }
            Err(failure) => assert!(!failure.is_final(), "{failure}"),
        }
    }
    acknowledged
}

// SPEC 6.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_hop_survives_kill_nine() {
    let kills: u32 = std::env::var("SUBLET_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut stage = Stage::set();
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let admin = Credential::admin(
        Arc::new(files::read_key(&stage.admin_key, &KeyLock::open()).unwrap()),
        trust.domain(),
    );
    let join = stage.sublet(&["agent", "create", "agent/planner"]).ok();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let identity =
        Identity::enroll_trusting(&broker, &join, stage.path("planner"), &trust).await.unwrap();
    let mut total = 0;
    for round in 0..kills {
        let broker = Broker::connect(&stage.endpoint)
            .await
            .unwrap()
            .with_deadline(Duration::from_millis(500));
        let scope = ["fs.read@tool://files path=under:/data"];
        let grant = Grant::of("user:alice@dev.sublet.example", &scope, Duration::from_secs(300))
            .unwrap()
            .hops(3);
        let held = identity.ask(&grant).await.unwrap().with_broker(broker);
        let (stop, first) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| tokio::spawn(load(held.clone(), stop.clone(), first.clone())))
            .collect();
        first.notified().await;
        // The moment of the kill is the fault that is injected here.
        let [a, b, ..] = Ports::system().entropy.nonce().unwrap().0;
        tokio::time::sleep(Duration::from_micros(
            20_000 + u64::from(u16::from_be_bytes([a, b])) * 2,
        ))
        .await;
        stage.kill();
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for caller in callers {
            acknowledged.extend(caller.await.unwrap());
        }
        // The broker refuses to start on a ledger that is torn.
        stage.kill_and_restart();
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        for token in &acknowledged {
            let answer =
                broker.inspect(&admin, v1::InspectRequest { token: token.clone() }).await.unwrap();
            assert!(
                answer.hops.iter().all(|hop| hop.recorded),
                "round {round}: an acknowledged hop is missing"
            );
        }
        let report =
            sublet_client::audit::replay::replay(&broker, &admin, &trust, &held.delegation())
                .await
                .unwrap();
        assert!(report.holds(), "round {round}: {:?}", report.problems);
        assert!(report.hops.len() > acknowledged.len(), "the root and every acknowledged hop");
        assert!(!acknowledged.is_empty());
        total += acknowledged.len();
    }
    println!("{kills} kills, {total} acknowledged hops, each there");
}
