//! What a decision rests on, and how many hops one agent may have made.

use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::{Delegate, Operation, Renew, ReportVerifierState, Revoke, Target};
use sublet_core::revocation::feed::{FeedPosition, Revocation};
use sublet_core::state::{Change, Precondition, Row, RowKey};
use sublet_tests::{House, NOW, agent, append, code, key, to_agent, to_helper};

use crate::{READ, issue, staffed};

/// What a grant rests on.
fn preconditions<O: Operation>(
    house: &House,
    caller: &sublet_core::decide::caller::Caller,
    operation: &O,
) -> Vec<Precondition> {
    let verdict = house.decided(caller, operation);
    assert!(verdict.outcome.is_ok(), "{:?}", verdict.outcome.err());
    verdict.effects.preconditions
}

/// Which of these, revoked between the decision and its commit, undo the decision.
fn undone_by(house: &House, rests_on: &[Precondition], revocations: &[Revocation]) -> Vec<bool> {
    let revoked = |revocation: &Revocation| {
        let mut state = house.state.clone();
        let delta = sublet_core::revocation::feed::Delta {
            sequence: state.revocation_sequence() + 1,
            at: NOW,
            expires: UnixMillis(i64::MAX),
            revocation: revocation.clone(),
        };
        state.put(Row::Revocation(delta));
        !state.meets(rests_on)
    };
    revocations.iter().map(revoked).collect()
}

/// Every subject of the chain and of the caller, and none besides: a revocation elsewhere undoes nothing.
// SPEC 7.2.3.
#[test]
fn a_grant_is_undone_by_the_revocation_of_what_it_rests_on_and_of_nothing_else() {
    let (fleet, mut house, planner) = staffed();
    house.enroll("reader", key("reader").public_key().clone());
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    let token = append(&root, &to_agent("reader", READ), "planner").unwrap();
    let identity = fleet.identity("planner");
    let thumbprint = |name: &str| key(name).public_key().thumbprint();
    let of_chain = [
        Revocation::Hop(root.id()),
        Revocation::Hop(token.id()),
        Revocation::AgentSuspended(agent("planner")),
        Revocation::AgentSuspended(agent("reader")),
        Revocation::AgentKey(thumbprint("planner")),
        Revocation::AgentKey(thumbprint("reader")),
        Revocation::Principal("user:alice@acme.example".parse().unwrap()),
        Revocation::PrincipalRestored("user:alice@acme.example".parse().unwrap()),
        Revocation::RootKey(root.root_key().thumbprint()),
    ];
    let of_caller = [
        Revocation::Hop(identity.id()),
        Revocation::AgentSuspended(agent("planner")),
        Revocation::AgentKey(thumbprint("planner")),
        Revocation::RootKey(identity.root_key().thumbprint()),
    ];
    let of_others = [
        Revocation::Hop(HopId([9; 32])),
        Revocation::AgentSuspended(agent("writer")),
        Revocation::AgentKey(thumbprint("writer")),
        Revocation::Principal("user:bob@acme.example".parse().unwrap()),
        Revocation::PrincipalRestored("user:bob@acme.example".parse().unwrap()),
    ];
    let delegated = preconditions(&house, &planner, &Delegate { token: token.clone().into() });
    assert_eq!(undone_by(&house, &delegated, &of_chain), [true; 9]);
    assert_eq!(undone_by(&house, &delegated, &of_caller), [true; 4]);
    assert_eq!(undone_by(&house, &delegated, &of_others), [false; 5]);
    let issued = preconditions(&house, &planner, &issue());
    assert_eq!(undone_by(&house, &issued, &of_caller), [true; 4]);
    assert_eq!(undone_by(&house, &issued, &of_chain[6..8]), [true; 2], "the principal");
    assert_eq!(undone_by(&house, &issued, &of_others), [false; 5]);
    let sync = ReportVerifierState { revocations: FeedPosition::new(1, 1), head: None };
    let synced = preconditions(&house, &planner, &sync);
    for guards in [preconditions(&house, &planner, &Renew), synced] {
        assert_eq!(undone_by(&house, &guards, &of_caller), [true; 4]);
        assert_eq!(undone_by(&house, &guards, &of_others), [false; 5]);
    }
    // An admin's rests on the thing alone that it revokes: of two at once the second finds it done.
    let ask = Revoke { target: Target::Hop(root.id()), reason: "x".into(), chain: None };
    let revoked = preconditions(&house, &House::admin(), &ask);
    assert_eq!(undone_by(&house, &revoked, &of_chain[..3]), [true, false, false]);
}

/// Those of its helpers count, those that others make on what it holds do not, and what is over makes room.
#[test]
fn an_agent_makes_so_many_hops_that_live() {
    let (fleet, mut house, planner) = staffed();
    for name in ["reader", "writer"] {
        house.enroll(name, key(name).public_key().clone());
    }
    house.allow_hops(4);
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    let to_reader = append(&root, &to_agent("reader", READ), "planner").unwrap();
    let scout = append(&root, &to_helper("scout", READ), "planner").unwrap();
    house.delegate(&planner, &to_reader).unwrap();
    house.delegate(&planner, &scout).unwrap();
    let deeper = append(&scout, &to_helper("deep", READ), "scout").unwrap();
    house.record(&House::caller(&scout, &key("scout")), &deeper).unwrap();
    assert_eq!(house.state.hops_of(&agent("planner")), 4);
    let one_more = append(&root, &to_agent("writer", READ), "planner").unwrap();
    for refused in [
        code(house.delegate(&planner, &one_more)),
        code(house.record(&House::agent(&fleet, "writer"), &one_more)),
        code(house.ask(&planner, &issue())),
    ] {
        assert_eq!(refused, "hops_full");
    }
    // What is recorded already is granted again, and the reader has a room of its own.
    assert_eq!(code(house.delegate(&planner, &to_reader)), "granted");
    let below = append(&to_reader, &to_helper("below", READ), "reader").unwrap();
    assert_eq!(code(house.delegate(&House::agent(&fleet, "reader"), &below)), "granted");
    assert_eq!(house.state.hops_of(&agent("reader")), 1);
    let ledger = house.state.ledger();
    house.state.follow([Change::Forget(RowKey::Hop(deeper.id()))], ledger);
    assert_eq!(house.state.hops_of(&agent("planner")), 3);
    assert_eq!(code(house.delegate(&planner, &one_more)), "granted");
}

/// What ends the session between the decision and its commit undoes the decision.
#[test]
fn an_issue_rests_on_the_sessions_that_it_is_by() {
    use sublet_core::decide::{Consent, GrantSession, Issue};
    use sublet_core::state::rows::session::{Login, UserToken};
    let (_, mut house, planner) = staffed();
    let login = |sid: &str| Login {
        issuer: "https://i".into(),
        subject: "7".into(),
        sid: Some(sid.to_owned()).filter(|sid| !sid.is_empty()),
    };
    let by_user = |sid: &str| {
        let user = UserToken {
            login: login(sid),
            principal: "user:alice@acme.example".parse().unwrap(),
            issued_at: NOW,
            expires_at: NOW.plus_ms(900_000),
            id: [1; 32],
            claims: "{}".into(),
        };
        Issue { by: Consent::UserToken(Box::new(user)), ..issue() }
    };
    let sessions = |guards: Vec<Precondition>| -> Vec<_> {
        let session = |guard: &Precondition| match guard {
            Precondition::Version(RowKey::Session(id), _) => Some(*id),
            _ => None,
        };
        guards.iter().filter_map(session).collect()
    };
    let one = sessions(preconditions(&house, &planner, &by_user("1")));
    assert_eq!(one, [login("1").id(), login("").id()], "the login, and all of its subject");
    assert_eq!(sessions(preconditions(&house, &planner, &by_user(""))), [login("").id()]);
    let grant = GrantSession {
        agent: agent("planner"),
        principal: "user:alice@acme.example".parse().unwrap(),
        ttl_seconds: 600,
        reason: "month end".into(),
    };
    let id = house.ask(&House::admin(), &grant).unwrap();
    let operators = Issue { by: Consent::Session(id.id), ..issue() };
    assert_eq!(sessions(preconditions(&house, &planner, &operators)), [id.id]);
}

/// The authority behind the caller's own token counts, whatever it asks for.
#[test]
fn what_a_holder_asks_for_rests_on_the_principal_behind_its_token() {
    let (fleet, mut house, planner) = staffed();
    let root = fleet.verify(&house.ask(&planner, &issue()).unwrap().token).unwrap();
    let holder = House::caller(&root, &key("planner"));
    let revoke = Revoke { target: Target::Hop(root.id()), reason: "x".into(), chain: None };
    let alive = |guard: &Precondition| matches!(guard, Precondition::PrincipalAlive(..));
    assert!(preconditions(&house, &holder, &revoke).iter().any(alive));
    assert!(!preconditions(&house, &planner, &revoke).iter().any(alive), "an identity has none");
}
