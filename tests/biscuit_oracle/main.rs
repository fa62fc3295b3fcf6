//! The oracle: a stock Biscuit library reads every token that we make, and its Datalog engine
//! gives the same verdict as our typed decision. Two implementations of one statement.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod oracle;
mod stricter;

use proptest::prelude::*;
use sublet_core::authorize::{Bound, CallView, decide_call, prove};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::Block;
use sublet_core::capability::ChainPosition;
use sublet_core::evidence::call::Call;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::refusal::Refusal;
use sublet_core::token::mint;
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::universe::{Chain, Dice, call_near, chain, pinned, scope};
use sublet_tests::{Fleet, NOW, Tool, key, law_cases, nonce, raw};

/// Seals in stock form, if the chain may travel one hop more, and reads what was sealed.
fn stock(fleet: &Fleet, chain: &Chain, dice: &mut Dice) -> Option<(Vec<u8>, VerifiedToken)> {
    let held = chain.token.last().block().scope.clone().unwrap();
    let (scope, ttl) = (pinned(&held, dice), *dice.pick(&[30, 60, 1]));
    let sealed = mint::stock(&chain.token, &scope, ttl, NOW, &chain.holder).ok()?;
    let mut envelope = raw::open(&sealed);
    envelope.proof.content = None;
    let opened = fleet.verify(&raw::bytes(&envelope)).unwrap();
    Some((sealed, opened))
}

/// Our verdict, made of what each block says: what SPEC section 3 says in one line each.
fn by_blocks(token: &VerifiedToken, call: &Call, now: UnixMillis, unrecorded: u32) -> bool {
    token.signed_blocks().iter().all(|signed| {
        let block = signed.block();
        block.is_good_at(now.seconds())
            && token.depth() <= block.hops_max
            && unrecorded <= block.offline_hops_max
            && block.scope.as_ref().unwrap().admits(call, token.chain_position(block))
    })
}

/// Our verdict as a tool gives it: possession, receipt, decision.
fn by_decision(
    fleet: &Fleet,
    token: &VerifiedToken,
    holder: &SecretKey,
    call: &Call,
    now: UnixMillis,
    unrecorded: u32,
) -> Result<(), Refusal> {
    let (audience, action) = (call.audience.as_str(), call.action.as_str());
    let digest = call.arguments.digest();
    let claims =
        CallClaims::of_digest(token.id(), audience, action, digest, now, nonce(&[b"call"]));
    let proof = CallProof::sign(claims, holder).unwrap();
    let possession = prove(token, &proof, &Bound::of(call), now).unwrap();
    let covered = token.prefix(usize::try_from(token.depth() - unrecorded).unwrap()).unwrap();
    let coverage = Coverage::verify(fleet.receipt(&covered), token, &fleet.bundle).unwrap();
    let tool = Tool::new(fleet);
    let view = CallView {
        revocations: &tool.view,
        age_ms: Some(0),
        staleness_ms_max: 10_000,
        coverage: Some(&coverage),
    };
    decide_call(token, &possession, call, view, now).map(|_| ())
}

/// How many hops at the end go to helpers: only those may be without a receipt.
fn helpers_last(token: &VerifiedToken) -> usize {
    let agents: Vec<_> = token.signed_blocks().iter().map(|signed| &signed.block().agent).collect();
    agents.windows(2).rev().take_while(|pair| pair[0] == pair[1]).count()
}

const TIMES_MS: [i64; 9] = [0, 999, 2_999, 3_000, 29_999, 30_000, -10_000, -10_001, 60_000];

fn dice() -> impl Strategy<Value = Dice> {
    prop::collection::vec(any::<u16>(), 0..600).prop_map(Dice::new)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(law_cases()) })]

    // SPEC 4.5, 4.6.
    #[test]
    fn a_stock_token_is_read_and_decided_alike(mut dice in dice()) {
        let fleet = Fleet::new();
        let chain = chain(&fleet, &mut dice);
        let Some((sealed, token)) = stock(&fleet, &chain, &mut dice) else { return Ok(()) };
        prop_assert!(oracle::read(&sealed, &key("another root")).is_err());
        let biscuit = oracle::read(&sealed, &Fleet::signer(KeyUse::Delegation)).unwrap();
        for _ in 0..6 {
            let aim = &token.signed_blocks()[dice.below(token.signed_blocks().len())];
            let call = call_near(aim.block().scope.as_ref().unwrap(), &mut dice);
            let now = NOW.plus_ms(*dice.pick(&TIMES_MS));
            let unrecorded = u32::try_from(dice.below(1 + helpers_last(&token))).unwrap();
            let theirs = oracle::allows(&biscuit, &call, now, &token.facts(unrecorded));
            let ours = by_blocks(&token, &call, now, unrecorded);
            prop_assert_eq!(theirs, ours, "{:?} under {:?}", call, scopes(&token));
            let decided = by_decision(&fleet, &token, &chain.holder, &call, now, unrecorded);
            prop_assert_eq!(decided.is_ok(), ours, "{:?}", decided);
        }
    }

    /// Block 0 alone, sealed by its holder: every shape of scope, prefixes too.
    #[test]
    fn a_single_scope_is_decided_alike(mut dice in dice()) {
        let fleet = Fleet::new();
        let drawn = scope(&mut dice);
        let grant = Block { scope: Some(drawn.clone()), ..fleet.grant("planner", &["a@t:x"]) };
        let token = fleet.issue(grant);
        let sealed = raw::seal(raw::open(&token.encode()), &key("planner"));
        let biscuit = oracle::read(&sealed, &Fleet::signer(KeyUse::Delegation)).unwrap();
        for _ in 0..8 {
            let call = call_near(&drawn, &mut dice);
            let theirs = oracle::allows(&biscuit, &call, NOW, &token.facts(0));
            let ours = drawn.admits(&call, ChainPosition::default());
            prop_assert_eq!(theirs, ours, "{:?} under {:?}", call, scopes(&token));
        }
    }
}

fn scopes(token: &VerifiedToken) -> Vec<String> {
    let blocks = token.signed_blocks().iter().filter_map(|signed| signed.block().scope.as_ref());
    blocks.flat_map(|scope| scope.capabilities()).map(ToString::to_string).collect()
}

/// The comparison is worth something only if both answers occur often.
#[test]
fn both_verdicts_occur_often() {
    let fleet = Fleet::new();
    let (mut allowed, mut refused) = (0, 0);
    for seed in 0..800u32 {
        let bytes =
            |at: u32| sublet_core::base::bytes::sha256(&[seed, at].map(u32::to_be_bytes).concat());
        let numbers = (0..20).flat_map(|at| bytes(at).map(u16::from)).collect();
        let mut dice = Dice::new(numbers);
        let chain = chain(&fleet, &mut dice);
        let Some((_, token)) = stock(&fleet, &chain, &mut dice) else { continue };
        let last = token.last().block().scope.clone().unwrap();
        match by_blocks(&token, &call_near(&last, &mut dice), NOW, 0) {
            true => allowed += 1,
            false => refused += 1,
        }
    }
    assert!(allowed > 30 && refused > 30, "{allowed} allowed, {refused} refused");
}

fn decided(scopes: &[&str], arguments: &str) -> (bool, bool) {
    let fleet = Fleet::new();
    let token = fleet.root("planner", scopes);
    assert_eq!(fleet.verify(&token.encode()).as_ref(), Ok(&token), "read as it was made");
    let sealed = raw::seal(raw::open(&token.encode()), &key("planner"));
    let biscuit = oracle::read(&sealed, &Fleet::signer(KeyUse::Delegation)).unwrap();
    let arguments =
        sublet_core::evidence::call::Arguments::from_json(arguments.as_bytes()).unwrap();
    let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
    (oracle::allows(&biscuit, &call, NOW, &token.facts(0)), by_blocks(&token, &call, NOW, 0))
}

// SPEC 4.5.
#[test]
fn the_edges_of_the_rendering_are_decided_alike() {
    let cases = [
        ("fs.read@tool://files", "{}", true),
        ("fs.read@tool://files", r#"{"a":1}"#, false),
        ("fs.read@tool://files *=any", "{}", true),
        ("fs.read@tool://files *=any", r#"{"a":[1]}"#, true),
        ("fs.read@tool://files a=absent *=any", "{}", true),
        ("fs.read@tool://files a=absent *=any", r#"{"a":{}}"#, false),
        ("fs.read@tool://files a=absent b=absent *=any", r#"{"c":1}"#, true),
        ("fs.read@tool://files a=any", r#"{"a":{}}"#, true),
        ("fs.read@tool://files a=any", r#"{"a":{"b":1}}"#, false),
        ("fs.read@tool://files a=exactly:null", r#"{"a":null}"#, true),
        ("fs.read@tool://files a=exactly:null", "{}", false),
        (r#"fs.read@tool://files a=prefix:"""#, r#"{"a":""}"#, true),
        ("fs.read@tool://files a=under:/", r#"{"a":"/"}"#, true),
        ("fs.read@tool://files a=under:/data", r#"{"a":"/data/../x"}"#, false),
        ("fs.read@tool://files a=under:/data", r#"{"a":"/data/..;/x"}"#, false),
        ("fs.read@tool://files a=under:/data", r#"{"a":"/data/x."}"#, false),
        (r#"fs.read@tool://files a=not:{"under":"/s"}"#, r#"{"a":"/ſ"}"#, false),
        (r#"fs.read@tool://files a=not:{"under":"/s"}"#, r#"{"a":"/s."}"#, false),
        (r#"fs.read@tool://files a=not:{"under":"/s"}"#, r#"{"a":"/t"}"#, true),
        (
            "fs.read@tool://files a=url:https://a.example/v1",
            r#"{"a":"https://a.example/v1/x"}"#,
            true,
        ),
        (
            "fs.read@tool://files a=url:https://a.example/v1",
            r#"{"a":"https://a.example/v1/..;/x"}"#,
            false,
        ),
        ("fs.read@tool://files a=range:-1..", r#"{"a":-1}"#, true),
        ("fs.read@tool://files a=range:..-1", r#"{"a":0}"#, false),
        ("fs.read@tool://files a=exactly:1.5", r#"{"a":1.5}"#, true),
        ("fs.read@tool://files a=one_of:1.5,2.5", r#"{"a":2.5}"#, true),
        ("fs.@tool:// a=one_of:read,time", r#"{"a":"time"}"#, true),
    ];
    for (scope, arguments, expected) in cases {
        assert_eq!(decided(&[scope], arguments), (expected, expected), "{scope} {arguments}");
    }
}

/// A later block that allows more hops than a token may have: the engine is told of 64 at most and
/// refuses every call under it, and so do we. At the bound both allow.
#[test]
fn more_hops_than_a_token_may_have_are_allowed_by_neither() {
    let fleet = Fleet::new();
    let read = &["fs.read@tool://files"];
    let root = fleet.root("planner", read);
    let hop =
        sublet_tests::append(&root, &sublet_tests::to_helper("scout", read), "planner").unwrap();
    let (scout, planner) = (key("scout"), key("planner"));
    let arguments = sublet_core::evidence::call::Arguments::from_json(b"{}").unwrap();
    let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
    for (hops_max, offline_hops_max, allowed) in [
        (64, 64, true),
        (65, 64, false),
        (64, 65, false),
        (u32::MAX, 1, false),
        (4, u32::MAX, false),
    ] {
        let block = Block { hops_max, offline_hops_max, ..hop.last().block().clone() };
        let forged = raw::forge(&root, &block, scout.public_key(), &planner);
        let sealed = raw::seal(raw::open(&forged), &scout);
        let biscuit = oracle::read(&sealed, &Fleet::signer(KeyUse::Delegation)).unwrap();
        let theirs = oracle::allows(&biscuit, &call, NOW, &hop.facts(1));
        let ours = fleet.verify(&forged).map(|token| by_blocks(&token, &call, NOW, 1));
        assert_eq!(
            (theirs, ours.unwrap_or(false)),
            (allowed, allowed),
            "{hops_max} {offline_hops_max}"
        );
    }
}

/// One value among others: inside `any_of`, `all_of` and `not` it is a test of its view and no fact.
#[test]
fn one_value_inside_other_constraints_is_decided_alike() {
    let any = r#"a=any_of:[{"exactly":"r"},{"prefix":"w"}]"#;
    let number = r#"a=any_of:[{"exactly":5},{"range":{"min":100}}]"#;
    let both = r#"a=any_of:[{"all_of":[{"exactly":"rw"},{"prefix":"r"}]},{"prefix":"x"}]"#;
    let neither = r#"a=not:{"any_of":[{"exactly":"r"},{"prefix":"w"}]}"#;
    let not_both = r#"a=not:{"all_of":[{"exactly":"rw"},{"prefix":"r"}]}"#;
    let all = r#"a=all_of:[{"exactly":"rw"},{"not":{"prefix":"x"}}]"#;
    let cases = [
        (any, r#"{"a":"r"}"#, true),
        (any, r#"{"a":"wx"}"#, true),
        (any, r#"{"a":"rx"}"#, false),
        (any, r#"{"a":1}"#, false),
        (number, r#"{"a":5}"#, true),
        (number, r#"{"a":100}"#, true),
        (number, r#"{"a":6}"#, false),
        (number, r#"{"a":"5"}"#, false),
        (both, r#"{"a":"rw"}"#, true),
        (both, r#"{"a":"rx"}"#, false),
        (both, r#"{"a":"xrw"}"#, true),
        (neither, r#"{"a":"r"}"#, false),
        (neither, r#"{"a":"w"}"#, false),
        (neither, r#"{"a":"x"}"#, true),
        (not_both, r#"{"a":"rw"}"#, false),
        (not_both, r#"{"a":"rx"}"#, true),
        (all, r#"{"a":"rw"}"#, true),
        (all, r#"{"a":"r"}"#, false),
        (r#"a=not:{"exactly":"r"}"#, r#"{"a":"r"}"#, false),
        (r#"a=not:{"exactly":"r"}"#, r#"{"a":"w"}"#, true),
        (r#"a=not:{"exactly":"r"}"#, r#"{"a":true}"#, false),
        (r#"a=not:{"exactly":"r"}"#, "{}", false),
        (r#"a=not:{"exactly":5}"#, r#"{"a":5}"#, false),
        (r#"a=not:{"exactly":5}"#, r#"{"a":6}"#, true),
        (r#"a=not:{"exactly":true}"#, r#"{"a":true}"#, false),
        (r#"a=not:{"exactly":true}"#, r#"{"a":false}"#, true),
        (r#"a=not:{"exactly":1.5}"#, r#"{"a":1.5}"#, false),
        (r#"a=not:{"exactly":1.5}"#, r#"{"a":2.5}"#, true),
    ];
    for (argument, arguments, expected) in cases {
        let scope = format!("fs.read@tool://files {argument}");
        assert_eq!(decided(&[&scope], arguments), (expected, expected), "{scope} {arguments}");
    }
}

/// With as many facts and capabilities as bounds allow, within the engine's limits.
#[test]
fn the_largest_scope_and_call_are_decided_alike() {
    let names: Vec<String> = (0..32).map(|at| format!("a{at}=range:0..")).collect();
    let rich = format!("fs.read@tool://files {}", names.join(" "));
    let plain = (0..8).map(|at| format!("fs.x{at}@tool://files"));
    let scopes: Vec<String> = plain.chain([rich]).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let members: Vec<String> = (0..32).map(|at| format!("\"a{at}\":{at}")).collect();
    let call = format!("{{{}}}", members.join(","));
    assert_eq!(decided(&scopes, &call), (true, true));
    let call = format!("{{{},\"b\":1}}", members.join(","));
    assert_eq!(decided(&scopes, &call), (false, false));
}
