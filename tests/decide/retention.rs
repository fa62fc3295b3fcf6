//! What of the ledger is kept: by the admin alone, and never against a hold.

use sublet_core::decide::{
    CreateLegalHold, Erase, Prune, ReadRetention, RemoveLegalHold, Retained,
};
use sublet_core::state::Row;
use sublet_tests::{Fleet, House, code};

use crate::staffed;

fn place(name: &str, from: u64, to: Option<u64>) -> CreateLegalHold {
    CreateLegalHold { name: name.into(), from, to, reason: "a case".into() }
}

fn release(name: &str) -> RemoveLegalHold {
    RemoveLegalHold { name: name.into(), reason: "closed".into() }
}

fn erase(index: u64) -> Erase {
    Erase { index, reason: "asked to".into() }
}

// SPEC 9.10.
#[test]
fn what_is_held_is_not_erased() {
    let (fleet, admin) = (Fleet::new(), House::admin());
    let mut house = House::new(&fleet);
    house.ask(&admin, &erase(7)).unwrap();
    house.ask(&admin, &place("case", 5, Some(9))).unwrap();
    for (index, detail) in [(4, "granted"), (5, "under_hold"), (8, "under_hold"), (9, "granted")] {
        assert_eq!(code(house.ask(&admin, &erase(index))), detail, "{index}");
    }
    let refusal = house.ask(&admin, &erase(5)).unwrap_err().to_string();
    assert!(refusal.contains("record 5") && refusal.contains("case"), "{refusal}");
    house.ask(&admin, &release("case")).unwrap();
    house.ask(&admin, &erase(5)).unwrap();
}

#[test]
fn a_hold_has_a_name_and_an_end_behind_its_beginning() {
    let (fleet, admin) = (Fleet::new(), House::admin());
    let mut house = House::new(&fleet);
    for (ask, detail) in [
        (place("", 0, None), "value_out_of_range"),
        (place("Case 1", 0, None), "value_out_of_range"),
        (place(&"x".repeat(64), 0, None), "value_out_of_range"),
        (place("empty", 5, Some(5)), "value_out_of_range"),
    ] {
        assert_eq!(code(house.ask(&admin, &ask)), detail, "{ask:?}");
    }
    house.ask(&admin, &place("case", 3, None)).unwrap();
    assert_eq!(code(house.ask(&admin, &place("case", 4, None))), "already_exists");
    assert_eq!(code(house.ask(&admin, &release("other"))), "not_found");
    assert_eq!(code(house.ask(&admin, &erase(u64::MAX - 1))), "under_hold");
    let Retained { floor, holds } = house.ask(&admin, &ReadRetention).unwrap();
    assert_eq!((floor, holds.len(), holds[0].from, holds[0].to), (0, 1, 3, u64::MAX));
}

#[test]
fn the_floor_only_rises() {
    let (fleet, admin) = (Fleet::new(), House::admin());
    let mut house = House::new(&fleet);
    for (below, floor) in [(10, 10), (5, 10), (10, 10), (11, 11)] {
        assert_eq!(house.ask(&admin, &Prune { below }).unwrap(), floor);
    }
}

/// What another has pruned meanwhile is not taken back, nor recorded as if it were.
#[test]
fn a_floor_that_rose_meanwhile_is_decided_on_anew() {
    let mut house = House::new(&Fleet::new());
    let verdict = house.decided(&House::admin(), &Prune { below: 300 });
    for (floor, holds) in [(0, true), (299, true), (300, false), (512, false)] {
        house.state.put(Row::Floor(floor));
        assert_eq!(house.state.meets(&verdict.effects.preconditions), holds, "{floor}");
    }
    house.state.put(Row::Floor(256));
    assert_eq!(house.state.retention().floor(), 512);
}

#[test]
fn an_agent_keeps_and_forgets_nothing() {
    let (_, mut house, planner) = staffed();
    assert_eq!(code(house.ask(&planner, &Prune { below: 9 })), "forbidden");
    assert_eq!(code(house.ask(&planner, &place("case", 0, None))), "forbidden");
    assert_eq!(code(house.ask(&planner, &release("case"))), "forbidden");
    assert_eq!(code(house.ask(&planner, &erase(1))), "forbidden");
    assert_eq!(code(house.ask(&planner, &ReadRetention)), "forbidden");
}
