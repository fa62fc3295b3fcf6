//! One join token, a hundred clients at once: one gets in.

use std::sync::Arc;

use sublet_client::agent::identity::Identity;
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_clients_one_enrols() {
    let stage = Stage::set();
    let join = Arc::new(stage.sublet(&["agent", "create", "agent/planner"]).ok());
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
    let broker = Broker::connect(&stage.endpoint).await.unwrap();
    let clients = (0..100).map(|n| {
        let (join, trust, broker) = (join.clone(), trust.clone(), broker.clone());
        let directory = stage.path(&format!("client-{n}"));
        tokio::spawn(
            async move { Identity::enroll_trusting(&broker, &join, directory, &trust).await },
        )
    });
    let mut enrolled = 0;
    for client in clients.collect::<Vec<_>>() {
        match client.await.unwrap() {
            Ok(_) => enrolled += 1,
            Err(failure) => assert_eq!(failure.code(), "join_token_used", "{failure}"),
        }
    }
    assert_eq!(enrolled, 1);
}
