use sublet_core::mint::{self, Delegate, Hop};
use sublet_core::sign::Signer as _;
use sublet_tests::{Fleet, NOW, key};
#[test]
fn sizes() {
    let fleet = Fleet::new();
    let scope = &["fs.read@tool://files limit=range:1..1000 mode=one_of:raw,text path=under:/data"];
    let mut b = fleet.grant("planner", scope);
    b.hops_max = 16; b.unrecorded_max = 16;
    let mut t = fleet.issue(b);
    let mut signer = key("planner");
    for d in 0..=8u8 {
        println!("depth {d}: {} bytes, last payload {}", t.encode().len(), t.last().payload().len());
        let name = format!("worker-{d}");
        let next = key(&name);
        let hop = Hop { to: Delegate::Agent { id: format!("spiffe://acme.example/agent/{name}").parse().unwrap(), key: next.public_key().clone() }, scope: sublet_core::capability::Scope::from_texts(scope).unwrap(), ttl_seconds: 600, hops_max: None, unrecorded_max: None };
        t = mint::append(&t, &hop, NOW, &signer).unwrap();
        signer = next;
    }
}
