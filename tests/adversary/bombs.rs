//! Input made to cost much: nesting, size, count. Refused before work is spent on it.

use sublet_core::block::Block;
use sublet_core::capability::{Capability, Scope};
use sublet_core::datalog::{Check, Datalog, Predicate, Query, Term};
use sublet_core::limits;
use sublet_core::mint::{Delegate, Hop};
use sublet_core::sign::Signer as _;
use sublet_core::verify::VerifiedToken;
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, scope, to_self};

const ANY: &[&str] = &["fs.read@tool://files *=any"];

fn call(arguments: &str) -> &'static str {
    let fleet = Fleet::new();
    let request = Request::new(&fleet.root("planner", ANY), &key("planner"), "fs.read", arguments);
    code(Tool::new(&fleet).answer(&request))
}

#[test]
fn deep_arguments_are_refused() {
    let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(call(&deep(limits::JSON_DEPTH_MAX)), "granted");
    assert_eq!(call(&deep(limits::JSON_DEPTH_MAX + 1)), "json_too_deep");
    assert_eq!(call(&r#"{"a":"#.repeat(100_000)), "json_too_deep");
    assert_eq!(call(&format!("{{\"a\":{}", "[".repeat(500_000))), "json_too_deep");
}

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
    let mut token = fleet.issue(Block { hops_max: u32::MAX, ..fleet.grant("planner", ANY) });
    for _ in 0..hops {
        token = append(&token, &to_self(ANY), "planner").unwrap();
    }
    token
}

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
        let to = Delegate::Helper { label: label.to_owned(), key };
        let hop = Hop { to, scope: scope(ANY), ..to_self(ANY) };
        assert_eq!(code(append(&root, &hop, "planner")), "bad_name", "{label:?}");
    }
}
