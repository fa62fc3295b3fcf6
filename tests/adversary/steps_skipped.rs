//! Each step of the authorizer, by a call of which this step alone is wrong: leave a step out and its call
//! is let in. A call that is refused spends nothing: put right, the same proof is still good.

use std::cell::Cell;

use sublet_core::authorize::{AgedView, Anew, Authorizer, Credentials, Outcome};
use sublet_core::base::id::UnixMillis;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::refusal::{Deny, Refusal};
use sublet_core::revocation::feed::{FeedWriter, Revocation, RevocationView, SignedHead};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyUse, TrustBundle};
use sublet_tests::{
    AUDIENCE, Fleet, NOW, agent, append, code, key, key_id, nonce, to_agent, to_helper,
};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// A call, and everything that a decision about it rests on.
struct World {
    bundle: TrustBundle,
    view: RevocationView,
    age_ms: Option<i64>,
    seen: ReplayCache,
    now: UnixMillis,
    shown: Credentials,
    call: Call,
    demands: Option<Deny>,
}

fn view(revoked: Option<Revocation>) -> RevocationView {
    let fleet = Fleet::new();
    let domain = fleet.bundle.trust_domain().clone();
    let (mut feed, mut view) = (FeedWriter::new(domain.clone(), 1), RevocationView::new(domain));
    if let Some(revoked) = revoked {
        feed.append(revoked, NOW, NOW.plus_ms(86_400_000));
    }
    for (_, delta) in feed.deltas_after(0, 0) {
        view.apply_delta(delta).unwrap();
    }
    let head = SignedHead::sign(feed.head(NOW), key_id(KeyUse::Feed), &Fleet::signer(KeyUse::Feed));
    view.apply_head(&head.unwrap().encode(), &fleet.bundle, NOW, 0).unwrap();
    view
}

fn call(audience: &str, action: &str, args: &str) -> Call {
    let arguments = Arguments::from_json(args.as_bytes()).unwrap();
    Call { audience: audience.to_owned(), action: action.to_owned(), arguments }
}

fn proof(token: &VerifiedToken, call: &Call, by: &str) -> Vec<u8> {
    let (id, digest) = (token.id(), call.arguments.digest());
    let nonce = nonce(&[b"steps"]);
    let claims = CallClaims::of_digest(id, &call.audience, &call.action, digest, NOW, nonce);
    CallProof::sign(claims, &key(by)).unwrap().encode()
}

impl World {
    /// A recorded hop to the reader, and a call inside it, of which nothing is wrong.
    fn good() -> Self {
        let fleet = Fleet::new();
        let token = append(&fleet.root("planner", READ), &to_agent("reader", READ), "planner");
        let token = token.unwrap();
        let world = World {
            bundle: fleet.bundle.clone(),
            view: view(None),
            age_ms: Some(0),
            seen: ReplayCache::new(Bounds::default(), NOW.plus_ms(-60_000)),
            now: NOW,
            shown: Credentials::default(),
            call: call(AUDIENCE, "fs.read", ARGS),
            demands: None,
        };
        let receipt = fleet.receipt_with(&token, |claims| claims.fresh_until = UnixMillis(0));
        world.under(&token, "reader", Some(receipt.encode()))
    }

    fn under(self, token: &VerifiedToken, by: &str, receipt: Option<Vec<u8>>) -> Self {
        let proof = proof(token, &self.call, by);
        let shown = Credentials { token: Some(token.encode()), receipt, proof, inclusion: None };
        World { shown, ..self }
    }

    fn outcome(&self) -> (Outcome, bool) {
        let authorizer = Authorizer {
            audience: AUDIENCE,
            bundle: &self.bundle,
            chains: &Anew,
            revocations: AgedView { view: &self.view, age_ms: self.age_ms },
            staleness_ms_max: 10_000,
            seen: &self.seen,
        };
        let demanded = Cell::new(false);
        let outcome = authorizer.authorize_with(&self.shown, &self.call, self.now, |_| {
            demanded.set(true);
            self.demands.clone().map_or(Ok(()), |deny| Err(deny.into()))
        });
        (outcome, demanded.get())
    }
}

type Break = fn(World) -> World;

fn token_of(world: &World) -> VerifiedToken {
    Fleet::new().verify(world.shown.token.as_ref().unwrap()).unwrap()
}

fn flipped(bytes: &[u8], from_end: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

/// One way to be wrong at each step, in the order of the steps.
fn breaks() -> Vec<(&'static str, Break)> {
    vec![
        ("bad_field", |w| World { call: call("tool://other", "fs.read", ARGS), ..w }),
        ("bundle_expired", |w| World { bundle: Fleet::ended("acme.example").bundle, ..w }),
        ("credentials_missing", |mut w| {
            w.shown.token = None;
            w
        }),
        ("credentials_missing", |mut w| {
            w.shown.proof.clear();
            w
        }),
        ("proof_malformed", |mut w| {
            w.shown.proof.truncate(40);
            w
        }),
        ("not_a_biscuit", |mut w| {
            w.shown.token = Some(vec![0; 9]);
            w
        }),
        ("bad_signature", |mut w| {
            w.shown.token = w.shown.token.map(|token| flipped(&token, 20));
            w
        }),
        ("receipt_malformed", |mut w| {
            w.shown.receipt = Some(Vec::new());
            w
        }),
        ("bad_receipt", |mut w| {
            w.shown.receipt = w.shown.receipt.map(|receipt| flipped(&receipt, 1));
            w
        }),
        ("proof_signature", |w| {
            let (token, receipt) = (token_of(&w), w.shown.receipt.clone());
            w.under(&token, "thief", receipt)
        }),
        ("wrong_action", |w| World { call: call(AUDIENCE, "fs.write", ARGS), ..w }),
        ("wrong_arguments", |w| World { call: call(AUDIENCE, "fs.read", "{}"), ..w }),
        ("proof_expired", |w| World { now: NOW.plus_ms(30_001), ..w }),
        ("call_not_exact", |w| {
            let (token, receipt) = (token_of(&w), w.shown.receipt.clone());
            World { call: call(AUDIENCE, "fs.", ARGS), ..w }.under(&token, "reader", receipt)
        }),
        ("wrong_token_kind", |w| w.under(&Fleet::new().identity("reader"), "reader", None)),
        ("stale_view", |w| World { age_ms: Some(10_001), ..w }),
        ("stale_view", |w| World { age_ms: None, ..w }),
        ("agent_suspended", |w| World {
            view: view(Some(Revocation::AgentSuspended(agent("reader")))),
            ..w
        }),
        ("expired", |w| {
            let fleet = Fleet::new();
            let grant = fleet.grant("reader", READ);
            let over = fleet
                .issue(sublet_core::biscuit::block::Block { not_after: NOW.seconds(), ..grant });
            w.under(&over, "reader", None)
        }),
        ("unrecorded_hops", |w| {
            let mut token = Fleet::new().root("reader", READ);
            for (label, by) in [("a", "reader"), ("b", "a"), ("c", "b")] {
                token = append(&token, &to_helper(label, READ), by).unwrap();
            }
            w.under(&token, "c", None)
        }),
        ("unrecorded_agent_hop", |mut w| {
            w.shown.receipt = None;
            w
        }),
        ("not_allowed", |w| {
            let (token, receipt) = (token_of(&w), w.shown.receipt.clone());
            let outside = call(AUDIENCE, "fs.read", r#"{"path":"/etc/a"}"#);
            World { call: outside, ..w }.under(&token, "reader", receipt)
        }),
        ("not_in_log", |w| World {
            demands: Some(Deny::NotInLog { hop: 1, detail: "none of it".to_owned() }),
            ..w
        }),
    ]
}

// SPEC 5.3, 8.5.
#[test]
fn a_call_that_fails_one_step_is_refused_at_that_step_and_spends_nothing() {
    assert_eq!(code(World::good().outcome().0.verdict), "granted");
    for (at, (refusal, wrong)) in breaks().into_iter().enumerate() {
        let world = wrong(World::good());
        let (outcome, demanded) = world.outcome();
        assert_eq!(code(outcome.verdict), refusal, "step {at}");
        assert_eq!(
            demanded,
            refusal == "not_in_log",
            "step {at}: more is asked of what is admitted"
        );
        assert_eq!(world.seen.held(), 0, "step {at}: a refused call spent its nonce");
        let right = World { seen: world.seen, ..World::good() };
        assert_eq!(code(right.outcome().0.verdict), "granted", "step {at}");
        assert_eq!(code(right.outcome().0.verdict), "proof_replayed", "step {at}");
    }
}

/// Evidence may be kept of whoever proved itself, whatever was decided, and of nobody else.
#[test]
fn only_a_proven_holder_in_a_proven_name_leaves_evidence() {
    let deny = ["stale_view", "agent_suspended", "expired", "unrecorded_hops", "not_allowed"];
    let proven = |refusal: &str| deny.contains(&refusal) || refusal == "not_in_log";
    assert!(World::good().outcome().0.proven.is_some());
    for (refusal, wrong) in breaks() {
        // A call that is not exact, and the token of another kind, are refused inside the decision.
        let inside = ["call_not_exact", "wrong_token_kind"].contains(&refusal);
        let outcome = wrong(World::good()).outcome().0;
        assert_eq!(outcome.proven.is_some(), proven(refusal) || inside, "{refusal}");
        let evidence = outcome.proven.is_some() && matches!(outcome.verdict, Err(Refusal::Deny(_)));
        assert_eq!(evidence, proven(refusal), "{refusal}: a deny to a proven holder");
    }
}

/// A peer is recognised by the same steps, and by an identity alone.
#[test]
fn a_peer_is_recognised_once_by_its_identity_and_by_nothing_else() {
    let world = World::good();
    let recognise = |shown: &Credentials, call: &Call| {
        let authorizer = Authorizer {
            audience: AUDIENCE,
            bundle: &world.bundle,
            chains: &Anew,
            revocations: AgedView { view: &world.view, age_ms: Some(0) },
            staleness_ms_max: 10_000,
            seen: &world.seen,
        };
        code(authorizer.recognise(shown, call, NOW))
    };
    let identity = World::good().under(&Fleet::new().identity("reader"), "reader", None);
    assert_eq!(recognise(&world.shown, &world.call), "wrong_token_kind");
    assert_eq!(recognise(&identity.shown, &call(AUDIENCE, "fs.write", ARGS)), "wrong_action");
    let stolen = World::good().under(&Fleet::new().identity("reader"), "thief", None);
    assert_eq!(recognise(&stolen.shown, &world.call), "proof_signature");
    assert_eq!(world.seen.held(), 0);
    assert_eq!(recognise(&identity.shown, &world.call), "granted");
    assert_eq!(recognise(&identity.shown, &world.call), "proof_replayed");
}

/// What is remembered of a chain under one bundle counts for nothing under another.
#[test]
fn a_tainted_root_is_refused_however_often_its_chain_was_let_in() {
    use sublet_core::trust::bundle::KeyState;
    use sublet_tests::{Request, Tool};
    let fleet = Fleet::new();
    let token = fleet.root("reader", READ);
    let mut tool = Tool::new(&fleet);
    let at = |ms| Request::at(NOW.plus_ms(ms), &token, &key("reader"), "fs.read", ARGS);
    assert_eq!(code(tool.answer_at(NOW.plus_ms(1), &at(1))), "granted");
    assert_eq!(code(tool.answer_at(NOW.plus_ms(2), &at(2))), "granted");
    let tainted = Fleet::changed(|keys| keys[0].state = KeyState::Tainted).bundle;
    let (domain, keys) = (tainted.trust_domain().clone(), tainted.keys().to_vec());
    tool.bundle = TrustBundle::new(domain, 2, tainted.issued(), tainted.expires(), keys).unwrap();
    assert_eq!(code(tool.answer_at(NOW.plus_ms(3), &at(3))), "key_tainted");
}
