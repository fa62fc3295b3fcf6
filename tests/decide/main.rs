//! What the broker decides, with core alone: for whom, up to which limits, and what is left of it.
//! The same functions that the broker calls, over a state in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod agents;
mod answers;
mod asked;
mod callers;
mod chains;
mod clones;
mod codes;
mod consent;
mod fan_out;
mod former;
mod issue;
mod keys;
mod reads;
mod recorded;
mod repeats;
mod retention;
mod revocations;
mod roles;
mod rooms;
mod rows;
mod standing;
mod tainted;
mod tools;
mod workload;

use sublet_core::decide::caller::Caller;
use sublet_core::decide::{ApplyProfile, CreateAgent, Invitation, Issue};
use sublet_core::state::Profile;
use sublet_tests::{Fleet, House, agent, code, scope};

const READ: &[&str] = &["fs.@tool://files path=under:/data"];

/// A ceiling: alice and every job, ten minutes, four hops, one of them offline.
fn profile(name: &str) -> Profile {
    Profile {
        name: name.into(),
        principals: ["user:alice@acme.example", "job:*@acme.example"]
            .map(|text| text.to_owned().try_into().unwrap())
            .into(),
        ttl_seconds_max: 600,
        hops_max: 4,
        offline_hops_max: 1,
        fan_out_max: 3,
        allow: scope(READ),
        enroll: Vec::new(),
        consent_required: false,
        version: 0,
    }
}

/// As much for alice as the profile allows.
fn issue() -> Issue {
    Issue {
        on_behalf_of: "user:alice@acme.example".parse().unwrap(),
        scope: scope(READ),
        ttl_seconds: 600,
        hops: 4,
        offline_hops: 1,
        by: sublet_core::decide::Consent::Profile,
    }
}

/// A broker with the profile "default" and the planner enrolled, and the planner as a caller.
fn staffed() -> (Fleet, House, Caller) {
    staffed_in(Fleet::new())
}

/// The same, with these keys.
fn staffed_in(fleet: Fleet) -> (Fleet, House, Caller) {
    let mut house = House::new(&fleet);
    let applied = house.ask(&House::admin(), &ApplyProfile { profile: profile("default") });
    assert_eq!(code(applied), "granted");
    house.enroll(
        "planner",
        sublet_core::base::sign::Signer::public_key(&sublet_tests::key("planner")).clone(),
    );
    let planner = House::agent(&fleet, "planner");
    (fleet, house, planner)
}

fn created(house: &mut House, name: &str) -> Invitation {
    let ask = CreateAgent { agent: agent(name), profile: "default".into(), join_ttl_seconds: 600 };
    house.ask(&House::admin(), &ask).unwrap()
}
