//! What was asked, in the words that the record of a refusal has.

use sublet_core::base::id::{HopId, Principal};
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::BadUse;
use sublet_core::decide::{
    ApplyProfile, CreateAgent, CreateJoinToken, CreateLegalHold, Credential, Delegate, EndSessions,
    Ending, Enroll, Erase, GetAgent, GetAgentKey, GetInclusionProof, GetProfile, GetStatus,
    GrantSession, Inspect, Invitation, ListAgents, ListDelegations, ListJoinTokens, ListProfiles,
    ListSessions, Operation, PageOf, Prune, ReadCheckpoint, ReadLedger, ReadRetention, RecordHop,
    RemoveLegalHold, Renew, Replay, ReportUses, ReportVerifierState, RestorePrincipal, ResumeAgent,
    Revoke, RevokeAgentKey, RevokeFormerKeys, RevokeJoinToken, RotateBrokerKey, RotateKey,
    SuspendAgent, Target, WatchFeed,
};
use sublet_core::state::rows::session::{LoggedOut, Login};
use sublet_core::trust::rotation::KeyStep;
use sublet_tests::{Fleet, NOW, agent, append, key, to_helper};

use crate::{READ, issue, profile};

const PLANNER: &str = "spiffe://acme.example/agent/planner";

fn detail(ask: &impl Operation, words: &str) {
    assert_eq!(ask.describe(), words);
}

fn alice() -> Principal {
    "user:alice@acme.example".parse().unwrap()
}

#[test]
fn every_read_says_what_it_asks_for() {
    let id = HopId([1; 32]);
    detail(&GetAgentKey { agent: agent("planner") }, &format!("agent {PLANNER}"));
    detail(&ListDelegations(PageOf { after: None, size: 0 }), "a list of delegations");
    detail(&Replay { delegation: id }, &format!("the records of delegation {id}"));
    detail(&ReadLedger { from: 7, payloads: false }, "records from 7 on");
    detail(&ReadLedger { from: 7, payloads: true }, "records and payloads from 7 on");
    detail(&ReadCheckpoint, "the signed head of the ledger");
    detail(&WatchFeed, "the revocation feed");
    detail(&ListAgents(PageOf { after: None, size: 0 }), "a list of agents");
    detail(&ListProfiles(PageOf { after: None, size: 0 }), "a list of profiles");
    detail(&ListJoinTokens(PageOf { after: None, size: 0 }), "a list of join tokens");
    detail(&ListSessions(PageOf { after: None, size: 0 }), "a list of sessions");
    detail(&GetAgent { agent: agent("planner") }, &format!("agent {PLANNER}"));
    detail(&GetProfile { name: "default".into() }, "profile \"default\"");
    detail(&GetStatus, "the status of the broker");
    detail(&ReadRetention, "what of the ledger is kept");
    let token = Fleet::new().root("planner", READ);
    let id = token.delegation();
    detail(&Inspect { token: token.clone().into() }, &format!("delegation {id}"));
    let words = format!("proof that the hops of delegation {id} are recorded");
    detail(&GetInclusionProof { token: token.into() }, &words);
}

#[test]
fn everything_that_agents_do_says_what_it_asks_for() {
    detail(&Renew, "a new identity");
    let new_key = key("planner 2").public_key().clone();
    let thumbprint = new_key.thumbprint();
    detail(&RotateKey { new_key }, &format!("the key {thumbprint}"));
    detail(&RevokeFormerKeys { reason: "lost".into() }, "revoke the keys of before: lost");
    let credential = Credential::JoinToken { id: "j1".into(), hash: [0; 32] };
    let named = Enroll { credential: credential.clone(), agent: Some(agent("planner")) };
    detail(&named, &format!("join token j1 for {PLANNER}"));
    let enroll = Enroll { credential, agent: None };
    detail(&enroll, "join token j1 for the agent it was made for");
    let uses = vec![Err((1, BadUse::Signature)), Err((2, BadUse::Signature))];
    detail(&ReportUses { uses }, "2 uses to be recorded");
    let sync = ReportVerifierState { revocations: (3, 9).into(), head: None };
    detail(&sync, "revocations applied up to 9 of epoch 3");
    let words = "on behalf of user:alice@acme.example for 600 s, 4 hops, 1 offline: \
                 fs.@tool://files path=under:/data";
    detail(&issue(), words);
    let root = Fleet::new().root("planner", READ);
    let hop = append(&root, &to_helper("scout", READ), "planner").unwrap();
    let words = format!(
        "hop 1 of {} to {PLANNER}#scout, as the caller names it, with the key {}: {}",
        root.delegation(),
        key("scout").public_key().thumbprint(),
        READ[0]
    );
    detail(&Delegate { token: hop.clone().into() }, &words);
    detail(&RecordHop { token: hop.into() }, &words);
}

#[test]
fn every_revocation_says_what_it_asks_for() {
    let (id, thumbprint) = (HopId([1; 32]), key("planner").public_key().thumbprint());
    for (target, words) in [
        (Target::Hop(id), format!("hop {id}")),
        (Target::Delegation(id), format!("delegation {id}")),
        (Target::Agent(agent("planner")), format!("agent {PLANNER}")),
        (Target::Key(thumbprint), format!("key {thumbprint}")),
        (Target::Principal(alice()), "principal user:alice@acme.example".to_owned()),
    ] {
        let revoke = Revoke { target, reason: "done".into(), chain: None };
        detail(&revoke, &format!("revoke {words}: done"));
    }
    let restore = RestorePrincipal { principal: alice(), reason: "back".into() };
    detail(&restore, "restore user:alice@acme.example: back");
    let login = Login { issuer: "https://i".into(), subject: "7".into(), sid: None };
    let id = login.id();
    let word = LoggedOut { login, issued_at: NOW, own: true };
    for (which, words) in [
        (Ending::Session(id), format!("session {id}")),
        (Ending::Principal(alice()), "sessions of user:alice@acme.example".to_owned()),
        (Ending::Login(word), "login:https://i#7".to_owned()),
    ] {
        detail(&EndSessions { which, reason: "left".into() }, &format!("end {words}: left"));
    }
}

#[test]
fn everything_that_admins_do_says_what_it_asks_for() {
    let (planner, reason) = (|| agent("planner"), || "why".to_owned());
    let create = CreateAgent { agent: planner(), profile: "default".into(), join_ttl_seconds: 600 };
    detail(&create, &format!("agent {PLANNER} with profile \"default\""));
    let join = CreateJoinToken { agent: planner(), ttl_seconds: 60 };
    detail(&join, &format!("a join token for {PLANNER}"));
    detail(&RevokeJoinToken { id: "j1".into() }, "revoke join token j1");
    detail(&ApplyProfile { profile: profile("default") }, "profile \"default\"");
    detail(&SuspendAgent { agent: planner(), reason: reason() }, &format!("suspend {PLANNER}"));
    detail(&ResumeAgent { agent: planner() }, &format!("resume {PLANNER}"));
    let revoke = RevokeAgentKey { agent: planner(), reason: reason() };
    detail(&revoke, &format!("revoke the key of {PLANNER}"));
    let grant =
        GrantSession { agent: planner(), principal: alice(), ttl_seconds: 60, reason: reason() };
    detail(&grant, &format!("{PLANNER} for user:alice@acme.example for 60 s: why"));
    let step = RotateBrokerKey { step: KeyStep::Reissue, reason: reason(), made: None };
    detail(&step, "issue the trust bundle anew: why");
    detail(&Erase { index: 7, reason: reason() }, "erase what lies beside record 7");
    detail(&Prune { below: 7 }, "forget the records below 7");
    let hold = CreateLegalHold { name: "case".into(), from: 7, to: None, reason: reason() };
    detail(&hold, "hold \"case\" on the records from 7");
    detail(&RemoveLegalHold { name: "case".into(), reason: reason() }, "release the hold \"case\"");
}

#[test]
fn an_invitation_is_shown_without_its_secret() {
    let invitation = Invitation { join_token: "secret".into(), id: "j1".into(), expires_at: NOW };
    assert_eq!(format!("{invitation:?}"), "Invitation(j1)");
}
