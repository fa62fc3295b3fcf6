//! What a tool tells the broker: how far it has come with revocations, and which head it was shown.

use sublet_core::decide::BadUse;
use sublet_core::decide::{
    ARGUMENTS_BYTES_MAX, ProvenUse, ReportUses, ReportVerifierState, ReportedUse,
};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::Body;
use sublet_core::evidence::record::UseVerdict;
use sublet_core::revocation::feed::FeedPosition;
use sublet_core::state::Verifier;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{AUDIENCE, Fleet, House, NOW, agent, append, key, nonce, to_helper};

use crate::{READ, issue, staffed};

fn at((epoch, sequence): (u64, u64)) -> FeedPosition {
    FeedPosition::new(epoch, sequence)
}

fn row(house: &House) -> Verifier {
    house.state.verifier(&agent("planner")).unwrap().clone()
}

#[test]
fn what_is_no_news_is_not_recorded_and_what_is_counts_on() {
    let (_, mut house, planner) = staffed();
    let mut sync = |revocations, head: Option<u64>| {
        let head = head.map(|size| (size, vec![1]));
        let before = house.records.len();
        house.ask(&planner, &ReportVerifierState { revocations: at(revocations), head }).unwrap();
        let row = row(&house);
        (
            house.records.len() - before,
            (row.revocations.epoch, row.revocations.sequence),
            row.head,
            row.version,
        )
    };
    assert_eq!(sync((1, 5), None), (1, (1, 5), 0, 0));
    assert_eq!(sync((1, 5), None), (0, (1, 5), 0, 0), "told twice");
    assert_eq!(sync((1, 4), None), (0, (1, 5), 0, 0), "less than before");
    assert_eq!(sync((1, 4), Some(3)), (1, (1, 5), 3, 1), "a head is news");
    assert_eq!(sync((1, 4), Some(3)), (0, (1, 5), 3, 1), "the same head is not");
    assert_eq!(sync((1, 4), Some(2)), (0, (1, 5), 3, 1), "nor is a smaller one");
    assert_eq!(sync((2, 0), Some(1)), (1, (2, 0), 3, 2));
    let heads = house.records.iter().filter_map(|record| match &record.body {
        Body::VerifierSynced { checkpoint, .. } => Some(checkpoint.as_ref().map_or(0, Vec::len)),
        _ => None,
    });
    assert_eq!(heads.collect::<Vec<_>>(), [0, 1, 0], "only a head that is news is kept");
}

#[test]
fn only_an_agent_tells() {
    let (fleet, mut house, _) = staffed();
    let sync = ReportVerifierState { revocations: at((1, 1)), head: None };
    assert!(house.ask(&House::admin(), &sync).is_err());
    let stranger = House::caller(&fleet.identity("writer"), &key("writer"));
    assert!(house.ask(&stranger, &sync).is_err());
}

/// A use of this token by the holder of its key, as a tool reports it.
fn used(token: &VerifiedToken, by: &str, counter: u64) -> ReportedUse {
    let nonce = nonce(&[&counter.to_be_bytes()]);
    let claims = CallClaims::new(token.id(), AUDIENCE, "fs.read", b"{}", NOW, nonce);
    ReportedUse {
        counter,
        audience: AUDIENCE.into(),
        action: "fs.read".into(),
        verdict: UseVerdict::Allowed,
        decided_at: NOW,
        revocations: at((1, 0)),
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        arguments: Some(b"{}".to_vec()),
        proof: CallProof::sign(claims, &key(by)).unwrap(),
        receipt: None,
    }
}

fn proven(token: &VerifiedToken, by: &str, counter: u64) -> Result<ProvenUse, (u64, BadUse)> {
    Ok(ProvenUse::verify(used(token, by, counter), token.clone()).unwrap())
}

fn issued(fleet: &Fleet, house: &mut House) -> VerifiedToken {
    let planner = House::agent(fleet, "planner");
    fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap()
}

// SPEC 9.9.1.
#[test]
fn a_use_is_recorded_once_and_what_was_not_proven_is_said_once() {
    let (fleet, mut house, planner) = staffed();
    let token = issued(&fleet, &mut house);
    let mut report = |uses: Vec<Result<ProvenUse, (u64, BadUse)>>| {
        let before = house.records.len();
        let next = house.ask(&planner, &ReportUses { uses }).unwrap();
        let bodies: Vec<&'static str> = house.records[before..]
            .iter()
            .map(|record| match &record.body {
                Body::Used(_) => "used",
                Body::Refused { code, .. } => code,
                _ => "other",
            })
            .collect();
        (next, bodies)
    };
    let one = |counter| proven(&token, "planner", counter);
    assert_eq!(report(vec![one(0), one(1)]), (2, vec!["used", "used"]));
    assert_eq!(report(vec![one(0), one(1)]), (2, vec![]), "told twice");
    assert_eq!(report(vec![one(1), one(2)]), (3, vec!["used"]));
    assert_eq!(report(vec![one(7)]), (8, vec!["used"]), "what lies between was lost");
    assert_eq!(report(vec![Err((8, BadUse::Signature))]), (9, vec!["use_not_proven"]));
    assert_eq!(report(vec![]), (9, vec![]));
}

#[test]
fn a_use_shows_the_blocks_that_the_ledger_lacks() {
    let (fleet, mut house, planner) = staffed();
    let token = issued(&fleet, &mut house);
    let offline = append(&token, &to_helper("scout", READ), "planner").unwrap();
    let uses = vec![proven(&token, "planner", 0), proven(&offline, "scout", 1)];
    house.ask(&planner, &ReportUses { uses }).unwrap();
    let shown = house.records.iter().filter_map(|record| match &record.body {
        Body::Used(used) => Some((used.evidence.behind, used.evidence.blocks.len())),
        _ => None,
    });
    assert_eq!(shown.collect::<Vec<_>>(), [(Some(token.id()), 0), (Some(token.id()), 1)]);
}

#[test]
fn a_reported_use_has_its_bounds() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", READ);
    let verify = |change: &dyn Fn(&mut ReportedUse)| {
        let mut reported = used(&token, "planner", 0);
        change(&mut reported);
        ProvenUse::verify(reported, token.clone()).map(|_| ())
    };
    let bytes = |count: usize| Some(vec![b'x'; count]);
    let denied = |count: usize| UseVerdict::Denied("c".repeat(count));
    assert_eq!(verify(&|_| {}), Ok(()));
    assert_eq!(verify(&|used| used.arguments = bytes(ARGUMENTS_BYTES_MAX)), Ok(()));
    assert!(verify(&|used| used.arguments = bytes(ARGUMENTS_BYTES_MAX + 1)).is_err());
    assert_eq!(verify(&|used| used.verdict = denied(64)), Ok(()));
    let long = verify(&|used| used.verdict = denied(65)).unwrap_err();
    assert_eq!(long, BadUse::NameTooLong);
}
