//! An agent, as the README shows it: `cargo run -p sublet-client --example readme -- JOIN_TOKEN READER_ID`
//! beside a broker that `sublet serve --dev` started. The README has the marked lines, word for word.

use std::time::Duration;

use sublet_client::{Attenuation, Broker, Grant, Identity};
use sublet_core::base::id::AgentId;
use sublet_proto::demo::ReadRequest;

/// So many minutes.
fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let join_token = arguments.next().ok_or("the join token")?;
    let reader_id: AgentId = arguments.next().ok_or("the id of the reader")?.parse()?;
    let path = "/data/q3/a.csv".to_owned();

    #[rustfmt::skip]
    let request = {
        let broker = Broker::connect("http://127.0.0.1:7373").await?;
        let planner = Identity::enroll(&broker, &join_token, "planner").await?;        // makes its own key
        let _renewal = planner.keep_renewed();
        let grant = Grant::of("user:alice@dev.sublet.example", &["fs.read@tool://files path=under:/data"], minutes(15))?;
        let held = planner.ask(&grant.hops(3).offline_hops(1)).await?;                 // alice's authority
        let part = Attenuation::of(&["fs.read@tool://files path=under:/data/q3"], minutes(5))?;
        let for_reader = held.delegate_to_agent(&reader_id, &part).await?;             // online, recorded
        let scout = held.spawn_helper("scout", &part)?;                                // offline, own key
        let request = scout.request("tool://files", "fs.read", ReadRequest { path })?; // token, receipt, proof
        println!("{}", for_reader.to_text());
        request
    };
    println!("{:?}", request.metadata());
    Ok(())
}
