//! On whose behalf: by the user's own token, an operator's session, or the agent's word where a profile
//! takes that; and what ends when the user's authority does.

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{
    ApplyProfile, Consent, Delegate, EndSessions, Ending, GrantSession, Issue, RestorePrincipal,
    Revoke, Target, sweep_sessions,
};
use sublet_core::evidence::record::Body;
use sublet_core::refusal::Refusal;
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::rows::session::{DELEGATIONS_MAX, LoggedOut, Login, SessionId, UserToken};
use sublet_core::state::{Delegation, Row};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, House, NOW, agent, append, code, key, scope, to_helper};

use crate::{READ, profile, staffed};

fn login(sid: &str) -> Login {
    Login {
        issuer: "https://login.example".into(),
        subject: "0042".into(),
        sid: Some(sid.to_owned()).filter(|sid| !sid.is_empty()),
    }
}

/// By the user's own token, issued then.
fn own(sid: &str, issued_at: UnixMillis) -> Ending {
    Ending::Login(LoggedOut { login: login(sid), issued_at, own: true })
}

/// By its provider's word, given then.
fn told(sid: &str, issued_at: UnixMillis) -> Ending {
    Ending::Login(LoggedOut { login: login(sid), issued_at, own: false })
}

/// Alice's token, issued now and good for five minutes.
fn alice(sid: &str) -> UserToken {
    UserToken {
        login: login(sid),
        principal: "user:alice@acme.example".parse().unwrap(),
        issued_at: NOW,
        expires_at: NOW.plus_ms(300_000),
        id: sublet_core::base::bytes::sha256(sid.as_bytes()),
        claims: r#"{"sub":"0042"}"#.into(),
    }
}

fn issue(by: Consent) -> Issue {
    Issue {
        on_behalf_of: "user:alice@acme.example".parse().unwrap(),
        scope: scope(READ),
        ttl_seconds: 300,
        hops: 2,
        offline_hops: 1,
        by,
    }
}

fn by_user(user: UserToken) -> Issue {
    issue(Consent::UserToken(Box::new(user)))
}

fn issued(fleet: &Fleet, house: &mut House, planner: &Caller, ask: &Issue) -> VerifiedToken {
    fleet.verify(&house.ask(planner, ask).unwrap().token).unwrap()
}

fn end(house: &mut House, who: &Caller, which: Ending) -> Result<(u64, u64), Refusal> {
    house.ask(who, &EndSessions { which, reason: "left".into() })
}

fn is_revoked(house: &House, token: &VerifiedToken) -> bool {
    house.state.revoked(&Revocation::Hop(token.delegation())).is_some()
}

#[test]
fn where_consent_is_required_the_agents_own_word_is_not_enough() {
    let (_, mut house, planner) = staffed();
    assert_eq!(code(house.ask(&planner, &issue(Consent::Profile))), "granted");
    let mut strict = profile("default");
    strict.consent_required = true;
    house.ask(&House::admin(), &ApplyProfile { profile: strict }).unwrap();
    assert_eq!(code(house.ask(&planner, &issue(Consent::Profile))), "consent_needed");
    assert_eq!(code(house.ask(&planner, &by_user(alice("")))), "granted");
}

// SPEC 3.10.1, 3.10.2.
#[test]
fn the_principal_is_the_one_that_the_token_proves_and_nothing_outlives_it() {
    let (fleet, mut house, planner) = staffed();
    let mut job = by_user(alice(""));
    job.on_behalf_of = "job:nightly@acme.example".parse().unwrap();
    assert_eq!(code(house.ask(&planner, &job)), "principal_not_proven");
    let mut long = by_user(alice(""));
    long.ttl_seconds = 301;
    assert_eq!(code(house.ask(&planner, &long)), "outlives_consent");
    let over = UserToken { expires_at: NOW, ..alice("") };
    assert_eq!(code(house.ask(&planner, &by_user(over))), "outlives_consent");
    // A profile still bounds what a user's token opens.
    let mut wide = by_user(alice(""));
    wide.scope = scope(&["db.read@tool://db *=any"]);
    assert_eq!(code(house.ask(&planner, &wide)), "scope_exceeds_profile");
    let token = issued(&fleet, &mut house, &planner, &by_user(alice("")));
    let row = house.state.delegation(&token.delegation()).unwrap();
    assert_eq!(row.session, Some(login("").id()));
}

// SPEC 3.10.9.
/// The first issue by a user's token has two records, its consent and the hop: a receipt names the second.
#[test]
fn hop_0_stands_in_its_own_record_and_not_in_that_of_the_consent() {
    let (fleet, mut house, planner) = staffed();
    let first = house.state.ledger().size - house.records.len() as u64;
    for user in [alice("phone"), alice("phone")] {
        let token = issued(&fleet, &mut house, &planner, &by_user(user));
        let index = house.state.hop(&token.id()).unwrap().index;
        let record = &house.records[usize::try_from(index - first).unwrap()];
        assert!(
            matches!(&record.body, Body::Issued(hop) if hop.hop == token.id()),
            "record {index} is of something else: {:?}",
            record.body
        );
    }
}

#[test]
fn the_person_is_recorded_beside_the_principal_and_an_operator_is_none() {
    let (_, mut house, planner) = staffed();
    let person = Some(login("").person());
    house.ask(&planner, &by_user(alice("phone"))).unwrap();
    let grant = GrantSession {
        agent: agent("planner"),
        principal: "user:bob@acme.example".parse().unwrap(),
        ttl_seconds: 60,
        reason: "on call".into(),
    };
    let by_operator = house.ask(&House::admin(), &grant).unwrap().id;
    end(&mut house, &Caller::user(login("phone")), own("phone", NOW)).unwrap();
    end(&mut house, &House::admin(), Ending::Session(by_operator)).unwrap();
    // Of a login that nobody had shown before, its end is all that there is.
    end(&mut house, &Caller::user(login("desk")), own("desk", NOW)).unwrap();
    let people: Vec<_> = house
        .records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Consented { principal, person, .. } => {
                Some(("consented", Some(principal.to_string()), person.clone()))
            }
            Body::SessionEnded { principal, person, .. } => {
                Some(("ended", principal.as_ref().map(ToString::to_string), person.clone()))
            }
            _ => None,
        })
        .collect();
    let (alice, bob) = (
        || Some("user:alice@acme.example".to_owned()),
        || Some("user:bob@acme.example".to_owned()),
    );
    assert_eq!(
        people,
        [
            ("consented", alice(), person.clone()),
            ("consented", bob(), None),
            ("ended", alice(), person.clone()),
            ("ended", bob(), None),
            ("ended", None, person),
        ]
    );
    // Who acted is in the leaf, so it names no person.
    let actors = house.records.iter().map(|record| record.actor.name.as_str());
    let users: Vec<&str> = actors.filter(|name| name.starts_with("login:")).collect();
    assert!(!users.is_empty() && users.iter().all(|name| *name == "login:https://login.example"));
}

// SPEC 3.10.4.
#[test]
fn what_a_login_opened_ends_with_it_and_nothing_else_does() {
    let (fleet, mut house, planner) = staffed();
    let phone = issued(&fleet, &mut house, &planner, &by_user(alice("phone")));
    let desk = issued(&fleet, &mut house, &planner, &by_user(alice("desk")));
    let by_itself = issued(&fleet, &mut house, &planner, &issue(Consent::Profile));
    let user = Caller::user(login("phone"));
    assert_eq!(end(&mut house, &user, own("phone", NOW)).unwrap(), (1, 1));
    assert!(
        is_revoked(&house, &phone) && !is_revoked(&house, &desk) && !is_revoked(&house, &by_itself)
    );
    // The token is still good for minutes, and opens nothing any more.
    assert_eq!(code(house.ask(&planner, &by_user(alice("phone")))), "session_ended");
    assert_eq!(code(house.ask(&planner, &by_user(alice("desk")))), "granted");
    // Who logs in anew, acts anew.
    let anew = UserToken { issued_at: NOW.plus_ms(1_000), id: [9; 32], ..alice("phone") };
    let again = issued(&fleet, &mut house, &planner, &by_user(anew));
    assert!(is_revoked(&house, &phone) && !is_revoked(&house, &again));
    // Which does not bring the token back that was logged out of.
    assert_eq!(code(house.ask(&planner, &by_user(alice("phone")))), "session_ended");
    // Again changes nothing.
    let desks = own("desk", NOW);
    assert_eq!(end(&mut house, &House::admin(), desks.clone()).unwrap().0, 1);
    assert_eq!(end(&mut house, &House::admin(), desks).unwrap(), (0, 0));
}

#[test]
fn a_logout_that_does_not_say_where_ends_all_logins_of_that_user() {
    let (fleet, mut house, planner) = staffed();
    let phone = issued(&fleet, &mut house, &planner, &by_user(alice("phone")));
    let desk = issued(&fleet, &mut house, &planner, &by_user(alice("desk")));
    let user = Caller::user(login(""));
    assert_eq!(end(&mut house, &user, own("", NOW)).unwrap(), (2, 2));
    assert!(is_revoked(&house, &phone) && is_revoked(&house, &desk));
    let nobody = |row: &&sublet_core::state::rows::session::Session| row.principal.is_none();
    assert_eq!(house.state.sessions().filter(nobody).count(), 1, "whose it was is not known");
    // One of which nothing was issued yet, from before it: nobody had seen it.
    assert_eq!(code(house.ask(&planner, &by_user(alice("tablet")))), "session_ended");
    // Nor does it open anything once the user has logged in again.
    let anew = UserToken { issued_at: NOW.plus_ms(1_000), id: [9; 32], ..alice("") };
    assert_eq!(code(house.ask(&planner, &by_user(anew))), "granted");
    assert_eq!(code(house.ask(&planner, &by_user(alice("tablet")))), "session_ended");
}

/// Of a login that ended, whoever has a token or its provider's word keeps it: shown again, neither ends
/// what began since. Nor does a word that comes late.
// SPEC 3.10.7.
#[test]
fn an_old_word_ends_no_newer_login() {
    let words = [own as fn(&str, UnixMillis) -> Ending, told];
    for (sid, word) in ["phone", ""].into_iter().flat_map(|sid| words.map(|word| (sid, word))) {
        let (fleet, mut house, planner) = staffed();
        let user = Caller::user(login(sid));
        let old = issued(&fleet, &mut house, &planner, &by_user(alice(sid)));
        assert_eq!(end(&mut house, &user, word(sid, NOW)).unwrap(), (1, 1));
        let anew = UserToken { issued_at: NOW.plus_ms(2_000), id: [9; 32], ..alice(sid) };
        let new = issued(&fleet, &mut house, &planner, &by_user(anew.clone()));
        for again in words {
            assert_eq!(end(&mut house, &user, again(sid, NOW)).unwrap(), (0, 0), "{sid:?}");
            assert_eq!(
                end(&mut house, &user, again("", NOW.plus_ms(-1))).unwrap(),
                (0, 0),
                "{sid:?}"
            );
        }
        assert!(is_revoked(&house, &old) && !is_revoked(&house, &new));
        assert_eq!(code(house.ask(&planner, &by_user(anew.clone()))), "granted");
        assert_eq!(code(house.ask(&planner, &by_user(alice(sid)))), "session_ended");
        // One that was given since ends it.
        assert_eq!(end(&mut house, &user, word(sid, anew.issued_at)).unwrap(), (1, 2));
        assert!(is_revoked(&house, &new));
        assert_eq!(code(house.ask(&planner, &by_user(anew))), "session_ended");
    }
}

/// The word is late: its login was never shown here, and the user has logged in again.
// SPEC 3.10.7.
#[test]
fn a_word_that_comes_late_ends_the_tokens_from_before_it_and_no_other() {
    for (late, of_tablet) in [("phone", "granted"), ("", "session_ended")] {
        let (fleet, mut house, planner) = staffed();
        let user = Caller::user(login("phone"));
        let anew = UserToken { issued_at: NOW.plus_ms(2_000), id: [9; 32], ..alice("phone") };
        let new = issued(&fleet, &mut house, &planner, &by_user(anew.clone()));
        assert_eq!(end(&mut house, &user, told(late, NOW)).unwrap(), (0, 0));
        assert!(!is_revoked(&house, &new));
        assert_eq!(code(house.ask(&planner, &by_user(anew))), "granted");
        assert_eq!(
            code(house.ask(&planner, &by_user(alice("phone")))),
            "session_ended",
            "{late:?}"
        );
        assert_eq!(code(house.ask(&planner, &by_user(alice("tablet")))), of_tablet, "{late:?}");
    }
}

/// Of one login its provider makes many tokens. An older one of the same login ends it, with what the
/// newer ones opened, as long as it has not ended.
#[test]
fn any_token_of_a_login_ends_it() {
    let (fleet, mut house, planner) = staffed();
    let user = Caller::user(login("phone"));
    let token = issued(&fleet, &mut house, &planner, &by_user(alice("phone")));
    let first = NOW.plus_ms(-100_000);
    assert_eq!(end(&mut house, &user, told("phone", first)).unwrap(), (0, 0));
    let other = end(&mut house, &user, own("desk", first)).unwrap();
    assert_eq!((other, is_revoked(&house, &token)), ((0, 0), false));
    let (fleet, mut house, planner) = staffed();
    let token = issued(&fleet, &mut house, &planner, &by_user(alice("phone")));
    assert_eq!(end(&mut house, &user, own("phone", first)).unwrap(), (1, 1));
    assert!(is_revoked(&house, &token));
    assert_eq!(code(house.ask(&planner, &by_user(alice("phone")))), "session_ended");
}

#[test]
fn nobody_logs_another_out() {
    let (fleet, mut house, planner) = staffed();
    let token = issued(&fleet, &mut house, &planner, &by_user(alice("")));
    let thief = Login { subject: "0666".into(), ..login("") };
    let other = Login { issuer: "https://evil.example".into(), ..login("") };
    for (who, which) in [
        (Caller::user(thief), own("", NOW)),
        (Caller::user(other), own("", NOW)),
        (Caller::user(login("")), Ending::Session(login("").id())),
        (Caller::user(login("")), Ending::Principal("user:alice@acme.example".parse().unwrap())),
        (planner.clone(), own("", NOW)),
        (planner, Ending::Session(login("").id())),
    ] {
        assert_eq!(code(end(&mut house, &who, which)), "forbidden");
    }
    assert!(!is_revoked(&house, &token));
    let unknown = end(&mut house, &House::admin(), Ending::Session(SessionId([7; 32])));
    assert_eq!(code(unknown), "not_found");
}

#[test]
fn an_operators_session_is_for_one_agent_and_one_principal_until_it_ends() {
    let (fleet, mut house, planner) = staffed();
    house.enroll("other", sublet_core::base::sign::Signer::public_key(&key("other")).clone());
    let other = House::agent(&fleet, "other");
    let grant = |ttl_seconds| GrantSession {
        agent: agent("planner"),
        principal: "user:alice@acme.example".parse().unwrap(),
        ttl_seconds,
        reason: "month end".into(),
    };
    assert_eq!(code(house.ask(&planner, &grant(600))), "forbidden");
    assert_eq!(code(house.ask(&House::admin(), &grant(0))), "value_out_of_range");
    let id = house.ask(&House::admin(), &grant(600)).unwrap().id;
    let ask = issue(Consent::Session(id));
    let token = issued(&fleet, &mut house, &planner, &ask);
    assert_eq!(code(house.ask(&other, &ask)), "not_found", "it is nobody else's");
    assert_eq!(
        code(house.ask(&planner, &issue(Consent::Session(SessionId([1; 32]))))),
        "not_found"
    );
    let mut job = ask.clone();
    job.on_behalf_of = "job:nightly@acme.example".parse().unwrap();
    assert_eq!(code(house.ask(&planner, &job)), "principal_not_proven");
    let short = house.ask(&House::admin(), &grant(299)).unwrap().id;
    let long = issue(Consent::Session(short));
    assert_eq!(code(house.ask(&planner, &long)), "outlives_consent");
    assert_eq!(end(&mut house, &House::admin(), Ending::Session(id)).unwrap(), (1, 1));
    assert!(is_revoked(&house, &token));
    assert_eq!(code(house.ask(&planner, &ask)), "session_ended");
}

#[test]
fn no_child_is_minted_below_a_session_that_ended() {
    let (fleet, mut house, planner) = staffed();
    let long = UserToken { expires_at: NOW.plus_ms(900_000), ..alice("") };
    let long = Issue { ttl_seconds: 600, ..by_user(long) };
    let root = issued(&fleet, &mut house, &planner, &long);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    // Between the end of the session and the end of what was issued in it, by a broker that is killed
    // there: the row says that it has ended, and no revocation is there yet.
    let mut row = house.state.session(&login("").id()).unwrap().clone();
    row.ended_at = Some(NOW);
    row.live = false;
    house.state.put(Row::Session(row));
    let delegate = Delegate { token: child.into() };
    assert_eq!(code(house.ask(&planner, &delegate)), "session_ended");
    assert!(!is_revoked(&house, &root));
    // The next start goes on with it.
    let grant = house.view(|view| sweep_sessions(view, &"the broker".into(), NOW));
    assert_eq!(grant.granted, (0, 1));
    assert_eq!(end(&mut house, &House::admin(), Ending::Session(login("").id())).unwrap(), (0, 1));
    assert!(is_revoked(&house, &root));
}

#[test]
fn a_session_has_room_for_so_many_live_delegations() {
    let (fleet, mut house, planner) = staffed();
    let root = issued(&fleet, &mut house, &planner, &by_user(alice("")));
    let row = house.state.delegation(&root.delegation()).unwrap().clone();
    let mut put = |number: usize, expires_at: UnixMillis| {
        let id =
            sublet_core::base::id::HopId(sublet_core::base::bytes::sha256(&number.to_be_bytes()));
        house.state.put(Row::Delegation(Delegation { id, expires_at, ..row.clone() }));
    };
    (0..10).for_each(|number| put(number, NOW));
    (10..DELEGATIONS_MAX + 8).for_each(|number| put(number, NOW.plus_ms(1)));
    assert_eq!(code(house.ask(&planner, &by_user(alice("")))), "granted");
    assert_eq!(code(house.ask(&planner, &by_user(alice("")))), "session_full");
    let ended = end(&mut house, &House::admin(), Ending::Session(login("").id())).unwrap();
    assert_eq!(ended, (1, DELEGATIONS_MAX as u64));
}

/// The words by which agents acted for a principal are from before its return too: seen or not, they open
/// nothing after it.
// SPEC 7.3.2.
#[test]
fn a_principal_comes_back_without_the_sessions_from_before() {
    let (_, mut house, planner) = staffed();
    let principal: sublet_core::base::id::Principal = "user:alice@acme.example".parse().unwrap();
    let grant = GrantSession {
        agent: agent("planner"),
        principal: principal.clone(),
        ttl_seconds: 600,
        reason: "month end".into(),
    };
    let briefly = |by: Consent| Issue { ttl_seconds: 60, ..issue(by) };
    let by_user = |user: UserToken| briefly(Consent::UserToken(Box::new(user)));
    let operators = briefly(Consent::Session(house.ask(&House::admin(), &grant).unwrap().id));
    for ask in [&operators, &by_user(alice("phone"))] {
        assert_eq!(code(house.ask(&planner, ask)), "granted");
    }
    house.now = NOW.plus_ms(500);
    let target = Target::Principal(principal.clone());
    let revoke = Revoke { target, reason: "stolen".into(), chain: None };
    house.ask(&House::admin(), &revoke).unwrap();
    assert_eq!(code(house.ask(&House::admin(), &grant)), "principal_revoked");
    house.now = NOW.plus_ms(600);
    house.ask(&House::admin(), &RestorePrincipal { principal, reason: "found".into() }).unwrap();
    house.now = NOW.plus_ms(1_000);
    let unseen = by_user(alice("desk"));
    for ask in [&operators, &by_user(alice("phone")), &unseen] {
        assert_eq!(code(house.ask(&planner, ask)), "session_ended");
    }
    let anew = UserToken { issued_at: house.now, id: [9; 32], ..alice("phone") };
    assert_eq!(code(house.ask(&planner, &by_user(anew))), "granted");
    assert_eq!(code(house.ask(&planner, &briefly(Consent::Profile))), "granted");
    assert_eq!(code(house.ask(&House::admin(), &grant)), "granted");
}

#[test]
fn what_a_token_says_is_recorded_once_and_each_token_once() {
    let (_, mut house, planner) = staffed();
    let consented = |house: &House| {
        let of = |record: &&sublet_core::evidence::record::Record| {
            matches!(record.body, sublet_core::evidence::record::Body::Consented { .. })
        };
        house.records.iter().filter(of).count()
    };
    let mut issue = |user: UserToken| {
        house.ask(&planner, &by_user(user)).unwrap();
        consented(&house)
    };
    assert_eq!(issue(alice("1")), 1);
    assert_eq!(issue(alice("1")), 1, "the same token");
    let refreshed = UserToken { id: [9; 32], ..alice("1") };
    assert_eq!(issue(refreshed.clone()), 2, "another token of the same login");
    assert_eq!(issue(refreshed), 2);
}

#[test]
fn an_operators_session_is_over_at_its_end() {
    let (_, mut house, planner) = staffed();
    let grant = GrantSession {
        agent: agent("planner"),
        principal: "user:alice@acme.example".parse().unwrap(),
        ttl_seconds: 60,
        reason: "month end".into(),
    };
    let id = house.ask(&House::admin(), &grant).unwrap();
    let briefly = Issue { ttl_seconds: 1, ..issue(Consent::Session(id.id)) };
    house.now = NOW.plus_ms(59_000);
    assert_eq!(code(house.ask(&planner, &briefly)), "granted");
    house.now = NOW.plus_ms(60_000);
    assert_eq!(code(house.ask(&planner, &briefly)), "session_ended");
}
