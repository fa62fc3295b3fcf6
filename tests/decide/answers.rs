//! What goes with a grant: its receipt, what is kept of it for a repeated request, whether it is a read.

use sublet_core::decide::{
    CreateJoinToken, Delegate, GetStatus, Issue, Operation, RecordHop, Renew, Revoke, Target,
};
use sublet_core::state::HopStatus;
use sublet_tests::{House, agent, append, to_helper};

use crate::{READ, issue, staffed};

// SPEC 6.1.
#[test]
fn the_receipt_is_of_the_hop_that_was_recorded() {
    let (fleet, mut house, planner) = staffed();
    let issued = house.ask(&planner, &issue()).unwrap();
    assert_eq!(Issue::receipt(&issued), Some(issued.hop));
    let root = fleet.verify(&issued.token).unwrap();
    let hop = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let recording = house.delegate(&planner, &hop).unwrap();
    assert_eq!(Delegate::receipt(&recording), Some(hop.id()));
    assert_eq!(RecordHop::receipt(&recording), Some(hop.id()));
    assert_eq!(Renew::receipt(&Default::default()), None, "an identity is no hop");
    let status = |house: &House| house.state.basis(Some(&hop.id())).hop;
    let indices = house.state.indices(&hop.id()).unwrap();
    assert_eq!(indices.len(), 2);
    let expected = |is_alive| Some(HopStatus { hop: hop.id(), indices: indices.clone(), is_alive });
    assert_eq!(status(&house), expected(true));
    let revoke = Revoke { target: Target::Hop(root.id()), reason: String::new(), chain: None };
    house.ask(&planner, &revoke).unwrap();
    assert_eq!(status(&house), expected(false), "the hop above it is revoked");
    assert_eq!(house.state.basis(None).hop, None);
    let unknown = sublet_core::base::id::HopId([9; 32]);
    assert_eq!(house.state.basis(Some(&unknown)).hop, None);
}

// SPEC 5.9.
#[test]
fn a_secret_is_kept_for_no_repeated_request_and_all_else_is() {
    let (_, mut house, planner) = staffed();
    let issued = house.ask(&planner, &issue()).unwrap();
    assert_eq!(Issue::remembered(&issued).map(|kept| kept.hop), Some(issued.hop));
    assert!(house.view(|view| Issue::still_holds(&issued, view)));
    assert_eq!(Issue::identity(&issued), None, "a delegation is no identity");
    let invite = CreateJoinToken { agent: agent("planner"), ttl_seconds: 60 };
    let invitation = house.ask(&House::admin(), &invite).unwrap();
    assert!(CreateJoinToken::remembered(&invitation).is_none());
}

#[test]
fn a_read_leaves_no_trace_and_a_refusal_does() {
    let (_, house, planner) = staffed();
    assert!(house.decided(&House::admin(), &GetStatus).is_read());
    assert!(!house.decided(&planner, &GetStatus).is_read(), "it is recorded that it was refused");
    assert!(!house.decided(&planner, &issue()).is_read());
}
