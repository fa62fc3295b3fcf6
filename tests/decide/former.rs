//! The key of before a rotation: how long it proves a call to the broker, and how what it holds is ended.

use sublet_core::base::key::Thumbprint;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    FORMER_KEYS_IN_FORCE_MAX, FORMER_KEYS_MAX, FormerKeys, RevokeFormerKeys, RotateKey,
};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{Agent, FormerKey, KeyOwner, Row};
use sublet_core::token::mint;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{
    Fleet, House, NOW, agent, append, code, key, key_id, to_agent, to_helper, to_self,
};

use crate::{READ, issue, staffed};

fn thumbprint(name: &str) -> Thumbprint {
    key(name).public_key().thumbprint()
}

/// The planner by another key, with an identity under it.
fn by(fleet: &Fleet, name: &str) -> Caller {
    let block = fleet.identity("planner").root().clone();
    let (holder, root) = (key(name), Fleet::signer(KeyUse::Identity));
    let identity = mint::root(block, holder.public_key(), key_id(KeyUse::Identity), &root).unwrap();
    House::caller(&identity, &holder)
}

/// The planner has changed its key so long ago.
fn rotated(house: &mut House, ago_ms: i64) {
    let new = key("planner 2").public_key().clone();
    let owner = KeyOwner { key: new.thumbprint(), agent: agent("planner"), revoked: false };
    house.state.put(Row::KeyOwner(owner));
    let former = FormerKey { key: thumbprint("planner"), until: NOW.plus_ms(-ago_ms) };
    let row = house.state.agent(&agent("planner")).unwrap().clone();
    let version = row.version + 1;
    let row = Agent { key: Some(new), former: Some(former), version, ..row };
    house.state.put(Row::Agent(row));
}

fn root(fleet: &Fleet, house: &mut House, planner: &Caller) -> VerifiedToken {
    house.enroll("reader", key("reader").public_key().clone());
    fleet.verify(&house.ask(planner, &issue()).unwrap().token).unwrap()
}

// SPEC 5.4.3.
#[test]
fn the_key_of_before_proves_a_call_for_a_minute_also_under_a_delegation() {
    let (fleet, mut house, planner) = staffed();
    let root = root(&fleet, &mut house, &planner);
    let holder = |token: &VerifiedToken| House::caller(token, &key("planner"));
    let own = append(&root, &to_self(READ), "planner").unwrap();
    let helper = append(&root, &to_helper("scout", READ), "planner").unwrap();
    assert_eq!(code(house.record(&holder(&root), &own)), "granted");
    rotated(&mut house, 59_999);
    assert_eq!(code(house.record(&holder(&root), &own)), "granted");
    rotated(&mut house, 60_000);
    let child = append(&root, &to_agent("reader", READ), "planner").unwrap();
    for caller in [holder(&root), holder(&own)] {
        assert_eq!(code(house.record(&caller, &child)), "former_key");
        assert_eq!(code(house.delegate(&caller, &child)), "former_key");
    }
    let detail = house.record(&holder(&root), &child).unwrap_err().to_string();
    assert!(detail.contains("agent/planner") && detail.contains("identity token"), "{detail}");
    // A helper has a key of its own, and goes on.
    let scout = House::caller(&helper, &key("scout"));
    assert_eq!(code(house.record(&scout, &helper)), "granted");
    // The agent itself is known by its name; the block is signed by the key that its parent names.
    assert_eq!(code(house.delegate(&by(&fleet, "planner 2"), &child)), "granted");
    assert_eq!(code(house.delegate(&by(&fleet, "planner"), &child)), "not_the_agents_key");
}

/// A key that was not rotated away, but lost: the agent came in anew with another one.
// SPEC 5.4.3.
#[test]
fn a_key_that_was_replaced_proves_nothing() {
    let (fleet, mut house, planner) = staffed();
    let root = root(&fleet, &mut house, &planner);
    rotated(&mut house, 0);
    let row = house.state.agent(&agent("planner")).unwrap().clone();
    house.state.put(Row::Agent(Agent { former: None, ..row }));
    let holder = House::caller(&root, &key("planner"));
    assert_eq!(code(house.record(&holder, &root)), "former_key");
    // What is revoked is told as what it is.
    house.revoked(Revocation::AgentKey(thumbprint("planner")));
    assert_eq!(code(house.record(&holder, &root)), "key_revoked");
}

fn revoke() -> RevokeFormerKeys {
    RevokeFormerKeys { reason: "it leaked".into() }
}

fn rotate(house: &mut House, caller: &Caller, name: &str) {
    let ask = RotateKey { new_key: key(name).public_key().clone() };
    house.ask(caller, &ask).unwrap();
}

#[test]
fn what_a_key_that_leaked_holds_is_ended_by_its_agent() {
    let (fleet, mut house, planner) = staffed();
    let root = root(&fleet, &mut house, &planner);
    let below = append(&root, &to_agent("reader", READ), "planner").unwrap();
    house.delegate(&planner, &below).unwrap();
    let other = append(&below, &to_agent("planner", READ), "reader").unwrap();
    house.record(&House::agent(&fleet, "reader"), &other).unwrap();
    assert_eq!(house.ask(&planner, &revoke()), Ok(FormerKeys::default()), "it has had one key");
    let records = house.records.len();
    rotate(&mut house, &planner, "planner 2");
    // Whoever has the copy, in the minute that it is good.
    assert_eq!(code(house.ask(&planner, &revoke())), "not_the_agents_key");
    let owner = by(&fleet, "planner 2");
    let ended = house.ask(&owner, &revoke()).unwrap();
    let keys = vec![thumbprint("planner")];
    assert_eq!(ended, FormerKeys { keys: keys.clone(), hops: 2, left: 0 });
    assert_eq!(house.records.len(), records + 3, "the rotation, the refusal, and the key");
    assert!(house.state.key_owner(&keys[0]).unwrap().revoked);
    // Every chain through it is dead, for whoever holds it.
    for (caller, chain) in [
        (House::caller(&root, &key("planner")), &root),
        (House::caller(&below, &key("reader")), &below),
        (House::agent(&fleet, "reader"), &below),
        (owner.clone(), &other),
    ] {
        assert_eq!(code(house.record(&caller, chain)), "key_revoked");
    }
    assert_eq!(
        house.ask(&owner, &revoke()),
        Ok(FormerKeys::default()),
        "again, it changes nothing"
    );
    let reader = House::agent(&fleet, "reader");
    assert_eq!(house.ask(&reader, &revoke()), Ok(FormerKeys::default()), "another's are another's");
    assert_eq!(code(house.ask(&House::admin(), &revoke())), "forbidden");
    // The agent goes on with its key.
    let again = fleet.verify(&house.ask(&owner, &issue()).unwrap().token).unwrap();
    assert_eq!(again.holder_key(), key("planner 2").public_key());
}

/// So that nobody fills the feed of all by changing its key over and over.
#[test]
fn an_agent_revokes_so_many_keys_of_its_own_and_those_first_that_hold_something() {
    let (fleet, mut house, planner) = staffed();
    let root = root(&fleet, &mut house, &planner);
    assert_eq!(house.record(&planner, &root).unwrap().recorded, 0);
    let known = |house: &mut House, from: usize, to: usize| {
        for number in from..to {
            let key = thumbprint(&format!("old {number}"));
            let owner = KeyOwner { key, agent: agent("planner"), revoked: false };
            house.state.put(Row::KeyOwner(owner));
        }
    };
    known(&mut house, 0, 100);
    rotated(&mut house, 1_000);
    let owner = by(&fleet, "planner 2");
    let first = house.ask(&owner, &revoke()).unwrap();
    assert_eq!((first.keys.len(), first.hops, first.left), (FORMER_KEYS_MAX, 1, 101 - 64));
    assert_eq!(first.keys[0], thumbprint("planner"), "the one that holds something");
    known(&mut house, 100, FORMER_KEYS_IN_FORCE_MAX + 100);
    let mut revoked = first.keys.len();
    let left = loop {
        let more = house.ask(&owner, &revoke()).unwrap();
        revoked += more.keys.len();
        if more.keys.is_empty() {
            break more.left;
        }
    };
    assert_eq!((revoked, left), (FORMER_KEYS_IN_FORCE_MAX, 101));
}
