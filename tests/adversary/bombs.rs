//! Input made to cost much: nesting, size, count. Refused before work is spent on it.

use sublet_core::base::limits;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::biscuit::datalog::{Check, Datalog, Op, Predicate, Query, Term};
use sublet_core::capability::{Capability, ChainPosition, Scope};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::token::mint::{Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, scope, to_self};

const ANY: &[&str] = &["fs.read@tool://files *=any"];

fn call(arguments: &str) -> &'static str {
    let fleet = Fleet::new();
    let request = Request::new(&fleet.root("planner", ANY), &key("planner"), "fs.read", arguments);
    code(Tool::new(&fleet).answer(&request))
}

// SPEC 3.9.
#[test]
fn deep_arguments_are_refused() {
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(call(&deep(limits::JSON_DEPTH_MAX)), "granted");
    assert_eq!(call(&deep(limits::JSON_DEPTH_MAX + 1)), "json_too_deep");
    assert_eq!(call(&r#"{"a":"#.repeat(100_000)), "json_too_deep");
    assert_eq!(call(&format!("{{\"a\":{}", "[".repeat(500_000))), "json_too_deep");
}

// SPEC 3.9.
#[test]
fn many_or_large_arguments_are_refused() {
    let many = |count: usize| {
        let members: Vec<String> = (0..count).map(|at| format!("\"{at}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(call(&many(limits::ARGUMENTS_MAX)), "granted");
    assert_eq!(call(&many(limits::ARGUMENTS_MAX + 1)), "too_many_arguments");
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::CALL_BYTES_MAX));
    assert_eq!(call(&large), "json_too_large");
}

fn long(fleet: &Fleet, hops: u32) -> VerifiedToken {
    let mut token =
        fleet.issue(Block { hops_max: limits::HOPS_MAX, ..fleet.grant("planner", ANY) });
    for _ in 0..hops {
        token = append(&token, &to_self(ANY), "planner").unwrap();
    }
    token
}

// SPEC 3.9.
#[test]
fn a_chain_of_64_hops_is_read_and_one_of_65_is_not() {
    let fleet = Fleet::new();
    let most = long(&fleet, limits::HOPS_MAX);
    assert_eq!(code(fleet.verify(&most.encode())), "granted");
    let template = append(&long(&fleet, 1), &to_self(ANY), "planner").unwrap();
    let block = template.last().block();
    let more = raw::forge(&most, block, key("planner").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&more)), "too_many_hops");
}

#[test]
fn no_hop_is_appended_that_no_verifier_would_read() {
    let fleet = Fleet::new();
    let most = long(&fleet, limits::HOPS_MAX);
    let more = append(&most, &to_self(ANY), "planner");
    assert_eq!(code(more), "too_many_hops");
}

// SPEC 3.9.
#[test]
fn a_large_token_or_block_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    let large = vec![0; limits::TOKEN_BYTES_MAX + 1];
    assert_eq!(code(fleet.verify(&large)), "token_too_large");
    let payload = vec![0; limits::BLOCK_BYTES_MAX + 1];
    let sent = raw::with_payload(&root, payload, key("x").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&sent)), "block_too_large");
    let name = "n".repeat(1000);
    let wide = [format!("fs.read@tool://files {name}1=any {name}2=any {name}3=any {name}4=any")];
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    assert_eq!(code(append(&root, &to_self(&wide), "planner")), "block_too_large");
}

// SPEC 3.9.
#[test]
fn a_scope_has_64_capabilities_and_a_capability_32_constraints() {
    let one = || "a@t:x".parse::<Capability>().unwrap();
    let many = |count: usize| Scope::new((0..count).map(|_| one()).collect()).is_ok();
    assert!(many(64) && !many(65) && !many(0));
    let constrained = |count: usize| {
        let args: Vec<String> = (0..count).map(|at| format!("a{at}=any")).collect();
        format!("a@t:x {}", args.join(" ")).parse::<Capability>().is_ok()
    };
    assert!(constrained(32) && !constrained(33));
    let values = |count: usize| {
        let values: Vec<String> = (0..count).map(|at| at.to_string()).collect();
        format!("a@t:x n=one_of:{}", values.join(",")).parse::<Capability>().is_ok()
    };
    assert!(values(128) && !values(129));
}

/// As a block too: bounds hold for what is read, not only for what is typed.
#[test]
fn a_block_with_more_capabilities_than_allowed_is_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    let hop = append(&root, &to_self(ANY), "planner").unwrap();
    let mut datalog = hop.last().block().render();
    let scope = datalog.checks.last_mut().unwrap();
    scope.queries = vec![scope.queries[0].clone(); 65];
    assert_eq!(sent(&fleet, &root, &datalog), "block_scope");
}

fn sent(fleet: &Fleet, root: &VerifiedToken, datalog: &Datalog) -> &'static str {
    let payload = datalog.encode(&mut raw::symbols(root));
    let next = key("planner");
    code(fleet.verify(&raw::with_payload(root, payload, next.public_key(), &key("planner"))))
}

/// One check of seven predicates over the block's own facts keeps a Datalog engine busy for 20
/// seconds. It is read and refused; nothing evaluates it.
#[test]
fn a_datalog_bomb_is_refused_without_being_evaluated() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    let hop = append(&root, &to_self(ANY), "planner").unwrap();
    let mut datalog = hop.last().block().render();
    for value in 0..100 {
        datalog.facts.push(Predicate::new("f", [Term::Integer(value)]));
    }
    let body = (0..7).map(|at| Predicate::new("f", [Term::variable(format!("x{at}"))]));
    let query = Query { body: body.collect(), expressions: Vec::new() };
    datalog.checks.push(Check { queries: vec![query] });
    assert_eq!(sent(&fleet, &root, &datalog), "block_incomplete");
}

/// `!!…!$v0.starts_with("x")`: reading must not nest as deep as the bytes allow.
#[test]
fn an_expression_that_nests_deep_is_refused() {
    let fleet = Fleet::new();
    let scope = &["fs.read@tool://files path=prefix:x"];
    let root = fleet.root("planner", scope);
    let hop = append(&root, &to_self(scope), "planner").unwrap();
    for negations in [1, 2, 9, 100, 440] {
        let mut datalog = hop.last().block().render();
        let test = &mut datalog.checks[1].queries[0].expressions[0];
        test.extend(std::iter::repeat_n(Op::Negate, negations));
        let verdict = sent(&fleet, &root, &datalog);
        // One negation is `not`, which is a scope that a holder may write: by force, here.
        assert_eq!(verdict, if negations == 1 { "granted" } else { "block_scope" }, "{negations}");
    }
}

/// A pattern is compiled when a block is read, which anyone can have done: how many, how long and
/// how large is counted first.
// SPEC 3.9.
#[test]
fn patterns_are_counted_before_they_are_compiled() {
    let fleet = Fleet::new();
    let scope = |count: usize| -> Vec<String> {
        (0..count).map(|at| format!("fs.a{at}@tool://files path=regex:[a-z]*")).collect()
    };
    assert!(Scope::from_texts(&scope(8)).is_ok() && Scope::from_texts(&scope(9)).is_err());
    let root = fleet.root("planner", &["fs.@tool://files path=regex:[a-z]*"]);
    let hop = append(&root, &to_self(&["fs.a@tool://files path=regex:[a-z]*"]), "planner").unwrap();
    let mut datalog = hop.last().block().render();
    let query = datalog.checks[1].queries[0].clone();
    datalog.checks[1].queries = vec![query; 9];
    assert_eq!(sent(&fleet, &root, &datalog), "block_scope");
    for large in ["[a-z]{250}".repeat(20), "(((a{99}){99}){99})".into(), "x".repeat(257)] {
        let text = format!("fs.read@tool://files path=regex:{}", serde_json::json!(large));
        assert!(text.parse::<Capability>().is_err(), "{large}");
    }
}

#[test]
fn a_token_of_too_many_patterns_is_refused() {
    let fleet = Fleet::new();
    let text: Vec<String> = (0..8).map(|at| format!("fs.a{at}@tool://files path=glob:*")).collect();
    let scope: Vec<&str> = text.iter().map(String::as_str).collect();
    let mut grant = fleet.grant("planner", &scope);
    grant.hops_max = 64;
    let mut token = fleet.issue(grant);
    for _ in 1..8 {
        token = append(&token, &to_self(&scope), "planner").unwrap();
    }
    assert_eq!(code(append(&token, &to_self(&scope), "planner")), "bad_scope");
    let block = token.last().block().clone();
    let forged = raw::forge(&token, &block, key("planner").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&forged)), "block_scope");
}

/// What is matched is short, and what is too long is refused under a negation too.
// SPEC 3.9.
#[test]
fn a_long_string_is_matched_against_no_pattern() {
    let admits = |constraint: &str, length: usize| {
        let capability: Capability =
            format!("fs.read@tool://files path={constraint}").parse().unwrap();
        let json = format!(r#"{{"path":"{}"}}"#, "a".repeat(length));
        let arguments = Arguments::from_json(json.as_bytes()).unwrap();
        let (audience, action) = ("tool://files".to_owned(), "fs.read".to_owned());
        capability.admits(&Call { audience, action, arguments }, ChainPosition::default())
    };
    for constraint in ["glob:a*", "regex:a*", r#"not:{"glob":"b*"}"#, r#"not:{"regex":"b*"}"#] {
        assert!(admits(constraint, 4096) && !admits(constraint, 4097), "{constraint}");
    }
}

#[test]
fn nested_terms_are_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    let good = append(&root, &to_self(ANY), "planner").unwrap().last().payload().to_vec();
    for depth in [1, 10, 90, 1000] {
        let mut term = raw::schema::Term { content: Some(raw::schema::term::Content::Integer(1)) };
        for _ in 0..depth {
            let set = raw::schema::TermSet { set: vec![term] };
            term = raw::schema::Term { content: Some(raw::schema::term::Content::Set(set)) };
        }
        let mut block = raw::payload(&good);
        block.facts[0].predicate.terms = vec![term];
        let payload = raw::payload_bytes(&block);
        let next = key("planner");
        let forged = raw::with_payload(&root, payload, next.public_key(), &key("planner"));
        let refused = code(fleet.verify(&forged));
        let known = ["block_datalog", "block_incomplete", "block_too_large"];
        assert!(known.contains(&refused), "{depth}: {refused}");
    }
}

// SPEC 2.4.2.
#[test]
fn rules_scopes_contexts_and_foreign_checks_are_refused() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    let good = append(&root, &to_self(ANY), "planner").unwrap().last().payload().to_vec();
    type Change = fn(&mut raw::schema::Block);
    let changes: [(&str, Change); 7] = [
        ("a rule", |b| b.rules.push(b.checks[0].queries[0].clone())),
        ("a context", |b| b.context = Some("x".into())),
        ("a scope", |b| b.scope.push(raw::schema::Scope { content: None })),
        ("check all", |b| b.checks[0].kind = Some(1)),
        ("reject if", |b| b.checks[0].kind = Some(2)),
        ("another version", |b| b.version = Some(3)),
        ("a head", |b| b.checks[0].queries[0].head.name = 0),
    ];
    for (what, change) in changes {
        let mut block = raw::payload(&good);
        change(&mut block);
        let payload = raw::payload_bytes(&block);
        let next = key("planner");
        let forged = raw::with_payload(&root, payload, next.public_key(), &key("planner"));
        assert_eq!(code(fleet.verify(&forged)), "block_datalog", "{what}");
    }
}

#[test]
fn a_helper_label_is_one_label() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", ANY);
    for label in ["", "a/b", "A", &"x".repeat(64), "..", "é"] {
        let key = key("x").public_key().clone();
        let to = Recipient::Helper { label: label.to_owned(), key };
        let hop = Hop { to, scope: scope(ANY), ..to_self(ANY) };
        assert_eq!(code(append(&root, &hop, "planner")), "bad_name", "{label:?}");
    }
}
