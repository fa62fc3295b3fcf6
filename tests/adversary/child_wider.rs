//! A child that asks for more than its parent holds, in each kind of constraint and in
//! combination. Two locks: it is not made, and if it is made by force, it opens nothing more.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::capability::ChainPosition;
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, scope, to_helper};

/// (held, asked, a call that only the child's own block would allow).
const WIDER: &[(&str, &str, &str, &str)] = &[
    ("a=exactly:x", "a=any", "fs.read", r#"{"a":"y"}"#),
    ("a=exactly:x", "a=exactly:y", "fs.read", r#"{"a":"y"}"#),
    ("a=exactly:1", r#"a=exactly:"1""#, "fs.read", r#"{"a":"1"}"#),
    ("a=exactly:1", "a=exactly:1.5", "fs.read", r#"{"a":1.5}"#),
    ("a=exactly:null", "a=absent *=any", "fs.read", "{}"),
    ("a=exactly:x", "", "fs.read", "{}"),
    ("a=one_of:x,y", "a=one_of:x,z", "fs.read", r#"{"a":"z"}"#),
    ("a=one_of:x,y", "a=prefix:x", "fs.read", r#"{"a":"xx"}"#),
    ("a=one_of:1,2", r#"a=one_of:"1","2""#, "fs.read", r#"{"a":"1"}"#),
    ("a=exactly:x use:delegates", "a=exactly:x", "fs.read", r#"{"a":"x"}"#),
    ("a=exactly:x hops:0", "a=exactly:x", "fs.read", r#"{"a":"x"}"#),
    ("a=prefix:q3", "a=prefix:q", "fs.read", r#"{"a":"q4"}"#),
    ("a=prefix:q3", r#"a=prefix:"""#, "fs.read", r#"{"a":"z"}"#),
    ("a=prefix:/data/", "a=under:/data", "fs.read", r#"{"a":"/data"}"#),
    ("a=under:/data/q3", "a=under:/data", "fs.read", r#"{"a":"/data/q4"}"#),
    ("a=under:/data", "a=under:/database", "fs.read", r#"{"a":"/database/x"}"#),
    ("a=under:/data", "a=prefix:/data", "fs.read", r#"{"a":"/data/../etc"}"#),
    ("a=under:/data", "a=any", "fs.read", r#"{"a":["/data/x"]}"#),
    ("a=range:1..10", "a=range:1..11", "fs.read", r#"{"a":11}"#),
    ("a=range:1..10", "a=range:0..10", "fs.read", r#"{"a":0}"#),
    ("a=range:1..10", "a=range:1..", "fs.read", r#"{"a":4000}"#),
    ("a=range:..10", "a=range:..11", "fs.read", r#"{"a":11}"#),
    ("a=range:1..10", "a=exactly:5.5", "fs.read", r#"{"a":5.5}"#),
    ("a=range:1..10", r#"a=exactly:"5""#, "fs.read", r#"{"a":"5"}"#),
    ("a=absent *=any", "a=any *=any", "fs.read", r#"{"a":1}"#),
    ("a=absent *=any", "a=exactly:1", "fs.read", r#"{"a":1}"#),
    ("a=any", "a=any b=any", "fs.read", r#"{"b":1}"#),
    ("a=any", "a=any *=any", "fs.read", r#"{"zzz":1}"#),
    ("", "*=any", "fs.read", r#"{"zzz":1}"#),
    ("a=not_one_of:x,y", "a=not_one_of:x", "fs.read", r#"{"a":"y"}"#),
    ("a=not_one_of:x", "a=not_one_of:1", "fs.read", r#"{"a":2}"#),
    ("a=not_one_of:x", "a=prefix:x", "fs.read", r#"{"a":"x"}"#),
    ("a=glob:q3-*.csv", "a=glob:q*.csv", "fs.read", r#"{"a":"q4.csv"}"#),
    ("a=glob:a/*", "a=glob:a/**", "fs.read", r#"{"a":"a/b/c"}"#),
    ("a=glob:a*", "a=regex:a.*", "fs.read", r#"{"a":"a/b"}"#),
    ("a=regex:[a-c]", "a=regex:[a-d]", "fs.read", r#"{"a":"d"}"#),
    ("a=regex:a|b", "a=prefix:a", "fs.read", r#"{"a":"ab"}"#),
    ("a=decimal:0.5..10", "a=decimal:0.25..10", "fs.read", r#"{"a":0.25}"#),
    ("a=decimal:0..10", "a=range:0..11", "fs.read", r#"{"a":11}"#),
    ("a=range:0..10", "a=decimal:0..10", "fs.read", r#"{"a":0.5}"#),
    ("a=max_length:3", "a=max_length:4", "fs.read", r#"{"a":"abcd"}"#),
    ("a=max_length:3", "a=prefix:a", "fs.read", r#"{"a":"abcd"}"#),
    ("a=cidr:10.1.0.0/16", "a=cidr:10.0.0.0/8", "fs.read", r#"{"a":"10.2.0.1"}"#),
    ("a=cidr:10.0.0.0/8", "a=prefix:10.", "fs.read", r#"{"a":"10.1.2.3.evil.example"}"#),
    (
        "a=url:https://api.acme.example/v1",
        "a=url:https://api.acme.example",
        "fs.read",
        r#"{"a":"https://api.acme.example/v2"}"#,
    ),
    (
        "a=url:https://api.acme.example",
        "a=url:https://*.acme.example",
        "fs.read",
        r#"{"a":"https://evil.acme.example/"}"#,
    ),
    (
        "a=url:https://*.acme.example",
        "a=url:https://*.example",
        "fs.read",
        r#"{"a":"https://evil.example/"}"#,
    ),
    (
        "a=url:https://*.acme.example",
        "a=prefix:https://api.acme.example",
        "fs.read",
        r#"{"a":"https://api.acme.example@evil.example/"}"#,
    ),
    (
        "a=url:https://api.acme.example",
        "a=url:http://api.acme.example",
        "fs.read",
        r#"{"a":"http://api.acme.example/"}"#,
    ),
    ("a=contains_all:x,y", "a=contains_all:x", "fs.read", r#"{"a":["x"]}"#),
    ("a=subset_of:x,y", "a=subset_of:x,y,z", "fs.read", r#"{"a":["z"]}"#),
    ("a=subset_of:x", "a=contains_all:x", "fs.read", r#"{"a":["x","y"]}"#),
    (r#"a=all_of:[{"prefix":"a"},{"max_length":2}]"#, "a=prefix:a", "fs.read", r#"{"a":"abc"}"#),
    (
        r#"a=any_of:[{"under":"/a"},{"under":"/b"}]"#,
        r#"a=any_of:[{"under":"/a"},{"under":"/c"}]"#,
        "fs.read",
        r#"{"a":"/c/x"}"#,
    ),
    (r#"a=any_of:[{"under":"/a"},{"under":"/b"}]"#, "a=under:/", "fs.read", r#"{"a":"/c"}"#),
    (
        r#"a=not:{"under":"/secret"}"#,
        r#"a=not:{"under":"/secret/deep"}"#,
        "fs.read",
        r#"{"a":"/secret/x"}"#,
    ),
    (
        r#"a=not:{"under":"/secret"}"#,
        "a=prefix:/secret/..",
        "fs.read",
        r#"{"a":"/secret/../secret"}"#,
    ),
    (r#"a=not:{"under":"/secret"}"#, "a=under:/", "fs.read", r#"{"a":"/secret"}"#),
    (r#"a=not:{"cidr":"10.0.0.0/8"}"#, "a=prefix:::ffff", "fs.read", r#"{"a":"::ffff:10.0.0.1"}"#),
    (
        r#"a=not:{"url":"https://internal.example"}"#,
        "a=prefix:https://internal",
        "fs.read",
        r#"{"a":"https://internal.example@evil.example/"}"#,
    ),
    (
        r#"a=all_of:[{"under":"/d"},{"not":{"under":"/d/x"}}]"#,
        "a=under:/d",
        "fs.read",
        r#"{"a":"/d/x/y"}"#,
    ),
    (
        r#"a=not:{"any_of":[{"prefix":"a"},{"prefix":"b"}]}"#,
        r#"a=not:{"prefix":"a"}"#,
        "fs.read",
        r#"{"a":"b"}"#,
    ),
    // One argument narrower, another wider.
    ("a=range:1..10 b=under:/data", "a=range:2..3 b=under:/", "fs.read", r#"{"a":2,"b":"/etc"}"#),
    ("a=one_of:x,y b=absent *=any", "a=exactly:x *=any", "fs.read", r#"{"a":"x","b":1}"#),
    ("a=exactly:x b=any", "a=any b=exactly:1", "fs.read", r#"{"a":"y","b":1}"#),
];

fn cap(head: &str, args: &str) -> String {
    format!("{head} {args}")
}

/// The child by force: correctly rendered, signed by the parent's holder.
fn forced(fleet: &Fleet, held: &[&str], asked: &[&str]) -> Vec<u8> {
    let root = fleet.root("planner", held);
    let other = fleet.root("planner", &["a@t:x"]);
    let template = append(&other, &to_helper("scout", &["a@t:x"]), "planner").unwrap();
    let block = Block { scope: Some(scope(asked)), ..template.last().block().clone() };
    raw::forge(&root, &block, key("scout").public_key(), &key("planner"))
}

fn check(held: &[&str], asked: &[&str], action: &str, arguments: &str) {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let root = fleet.root("planner", held);
    let made = append(&root, &to_helper("scout", asked), "planner");
    assert_eq!(code(made), "scope_exceeds_parent", "{held:?} over {asked:?}");

    let child = fleet.verify(&forced(&fleet, held, asked)).unwrap();
    let own_scope = child.last().block().scope.clone().unwrap();
    let call = sublet_core::evidence::call::Call {
        audience: sublet_tests::AUDIENCE.into(),
        action: action.into(),
        arguments: sublet_core::evidence::call::Arguments::from_json(arguments.as_bytes()).unwrap(),
    };
    assert!(
        own_scope.admits(&call, ChainPosition::default()),
        "{asked:?} on its own allows {arguments}"
    );
    let request = Request::new(&child, &key("scout"), action, arguments);
    assert_eq!(code(tool.answer(&request)), "not_allowed", "{held:?} over {asked:?}");
}

// SPEC 3.5, 4.4.
#[test]
fn in_each_kind_of_constraint_and_in_combination() {
    for (held, asked, action, arguments) in WIDER {
        let (held, asked) = (cap("fs.read@tool://files", held), cap("fs.read@tool://files", asked));
        check(&[&held], &[&asked], action, arguments);
    }
}

// SPEC 3.5, 4.4.
#[test]
fn in_audience_and_action() {
    let args = r#"{"a":1}"#;
    let held = "fs.read@tool://files a=any";
    check(&[held], &["fs.@tool://files a=any"], "fs.write", args);
    check(&[held], &["fs.write@tool://files a=any"], "fs.write", args);
    check(&["fs.read@tool://mail a=any"], &[held], "fs.read", args);
    check(&["fs.read@tool://files/ a=any"], &[held], "fs.read", args);
    check(&["fs.read@tool://mail a=any"], &["fs.read@tool:// a=any"], "fs.read", args);
}

#[test]
fn by_joining_what_two_capabilities_hold_apart() {
    let held = ["fs.read@tool://files path=under:/data", "fs.write@tool://files path=under:/tmp"];
    let asked = ["fs.write@tool://files path=under:/data"];
    check(&held, &asked, "fs.write", r#"{"path":"/data/a"}"#);
    let asked = ["fs.read@tool://files path=under:/data", "fs.@tool://files path=under:/tmp"];
    check(&held, &asked, "fs.delete", r#"{"path":"/tmp/a"}"#);
}

// SPEC 3.5.1, 4.8.
#[test]
fn a_grandchild_cannot_take_back_what_its_parent_gave_up() {
    let fleet = Fleet::new();
    let wide = &["fs.@tool://files path=under:/data"];
    let narrow = &["fs.read@tool://files path=under:/data/q3"];
    let child = append(&fleet.root("planner", wide), &to_helper("a", narrow), "planner").unwrap();
    assert_eq!(code(append(&child, &to_helper("b", wide), "a")), "scope_exceeds_parent");
    let template = append(&child, &to_helper("b", narrow), "a").unwrap();
    let block = Block { scope: Some(scope(wide)), ..template.last().block().clone() };
    let forged = raw::forge(&child, &block, key("b").public_key(), &key("a"));
    let forged = fleet.verify(&forged).unwrap();
    let tool = Tool::new(&fleet);
    let read = Request::new(&forged, &key("b"), "fs.read", r#"{"path":"/data/q3/x"}"#);
    assert_eq!(code(tool.answer(&read)), "granted");
    let write = Request::new(&forged, &key("b"), "fs.write", r#"{"path":"/data/q3/x"}"#);
    assert_eq!(code(tool.answer(&write)), "not_allowed");
}

#[test]
fn the_broker_records_no_wider_hop() {
    let fleet = Fleet::new();
    let held = &["fs.read@tool://files path=under:/data"];
    let root = fleet.root("planner", held);
    let mut house = sublet_tests::House::with(&fleet, &["planner"], &root);
    let forged = forced(&fleet, held, &["fs.read@tool://files path=under:/"]);
    let forged = fleet.verify(&forged).unwrap();
    let caller = sublet_tests::House::agent(&fleet, "planner");
    assert_eq!(code(house.delegate(&caller, &forged)), "scope_exceeds_parent");
    assert_eq!(code(house.record(&caller, &forged)), "scope_exceeds_parent");
}

// SPEC 4.4.1.
#[test]
fn the_refusal_names_the_widest_that_would_pass() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", &["fs.read@tool://files path=under:/data"]);
    let hop = to_helper("scout", &["fs.read@tool://files path=under:/"]);
    let detail = append(&root, &hop, "planner").unwrap_err().to_string();
    for part in ["\"path\"", "under:/ ", "hop 0", "under:/data or less"] {
        assert!(detail.contains(part), "{detail:?} names {part:?}");
    }
}
