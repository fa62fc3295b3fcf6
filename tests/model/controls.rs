//! A check that cannot fail is worth nothing: each fault is noticed by the property that it breaks.

use crate::fault::Fault;
use crate::property::Property;
use crate::run;

/// Worlds that a fault may take to be noticed.
const WORLDS: u64 = 8;

/// Events of each.
const EVENTS: u64 = 1_000;

fn noticed(fault: Fault, by: &[Property]) {
    for seed in 1..=WORLDS {
        if let Err(failure) = run::world(seed, EVENTS, Some(fault), false) {
            assert!(by.contains(&failure.property()), "{fault:?} is noticed as another: {failure}");
            return;
        }
    }
    panic!("{fault:?} is not noticed within {WORLDS} worlds of {EVENTS} events");
}

macro_rules! controls {
    ($($name:ident: $fault:ident by $($property:ident)|+;)*) => {
        $(#[test]
        fn $name() {
            noticed(Fault::$fault, &[$(Property::$property),+]);
        })*
    };
}

controls!(
    a_wider_hop_is_noticed: WiderHop by NeverExceed;
    a_tool_that_asks_the_last_hop_alone_is_noticed: LastHopAlone by NeverExceed;
    a_tool_that_takes_any_depth_is_noticed: AnyDepth by EveryHopStored;
    a_row_that_is_not_changed_is_noticed: NoRow by Agreement;
    a_longer_hop_is_noticed: LongerHop by NeverOutlive;
    a_revocation_that_is_not_applied_is_noticed: NoRevocation by NeverOutlive;
    a_hop_of_a_revoked_chain_is_noticed: DeadHop by NeverOutlive;
    another_actor_is_noticed: AnotherActor by NoImpersonation;
    a_key_that_is_not_asked_is_noticed: AnyKey by NoImpersonation;
    another_block_is_noticed: AnotherBlock by EveryHopProven;
    a_hop_without_a_record_is_noticed: NoRecord by EveryHopStored;
    a_log_that_begins_early_is_noticed: EarlyLog by EveryHopStored | Restart;
    a_time_that_is_forgotten_is_noticed: TimeForgotten by EveryHopStored | Restart;
    a_view_of_any_age_is_noticed: AnyAge by Offline;
    a_token_that_is_no_biscuit_is_noticed: NoBiscuit by RealBiscuit;
    a_revocation_that_a_restart_loses_is_noticed: RevocationLost by Restart;
    a_hop_that_a_restart_loses_is_noticed: HopLost by Restart;
    contention_without_preconditions_is_noticed: NoPreconditions by NeverExceed | NeverOutlive | NoImpersonation | EveryHopStored | Isolation | Agreement;
    a_hop_that_is_counted_for_another_is_noticed: AnotherMaker by Isolation;
    a_second_record_is_noticed: RecordsAgain by Repeat;
    a_refusal_that_changes_something_is_noticed: RefusalWrites by Refusal;
);
