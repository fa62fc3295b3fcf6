//! Words of a capability that a later version gives a meaning: refused in every form, by their name.
//! SPEC 4.11.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::datalog::{Check, Predicate, Query, Term};
use sublet_core::capability::{Capability, RESERVED_WORDS, Scope};
use sublet_tests::{Fleet, append, code, key, raw, to_self};

fn text(text: &str) -> String {
    text.parse::<Capability>().unwrap_err().to_string()
}

fn json(text: &str) -> String {
    Capability::from_json(text.as_bytes()).unwrap_err().to_string()
}

// SPEC 4.11.
#[test]
fn a_reserved_word_is_refused_by_its_name() {
    assert_eq!(RESERVED_WORDS, ["approve", "budget"]);
    for word in RESERVED_WORDS {
        let detail = format!("`{word}:` is reserved and not understood by this version");
        let texts = [
            format!("fs.read@tool://files {word}:2"),
            format!("fs.read@tool://files {word}:"),
            format!("fs.read@tool://files {word}"),
            format!("fs.read@tool://files {word}:a=b"),
            format!("fs.read@tool://files path=under:/data hops:1 {word}:{{\"from\":\"a b\"}}"),
            format!("pay.send@mcp://bank amount={word}:range:1..5"),
            format!("pay.send@mcp://bank amount={word}"),
            format!(
                r#"pay.send@mcp://bank amount=any_of:[{{"{word}":1}},{{"range":{{"max":5}}}}]"#
            ),
        ];
        for one in texts {
            assert!(text(&one).contains(&detail), "{one}: {}", text(&one));
        }
        let head = r#""action":"fs.read","audience":"tool://files""#;
        let members = [
            format!(r#"{{{head},"args":{{}},"{word}":2}}"#),
            format!(r#"{{{head},"args":{{}},"{word}":null}}"#),
            format!(r#"{{{head},"args":{{}},"{word}":{{"of":["a"]}}}}"#),
            format!(r#"{{{head},"args":{{"amount":{{"{word}":1}}}}}}"#),
            format!(r#"{{{head},"args":{{"amount":{{"not":{{"{word}":1}}}}}}}}"#),
        ];
        for one in members {
            assert!(json(&one).contains(&detail), "{one}: {}", json(&one));
        }
    }
}

/// A later version may state such a word as a fact, in the scope's query, or as a check of its own.
// SPEC 3.1, 4.11.
#[test]
fn a_block_that_states_a_later_word_is_refused() {
    let fleet = Fleet::new();
    let scope = &["pay.send@mcp://bank amount=any"];
    let root = fleet.root("planner", scope);
    let hop = append(&root, &to_self(scope), "planner").unwrap();
    let verdict = |datalog: &sublet_core::biscuit::datalog::Datalog<'_>| {
        let payload = datalog.encode(&mut raw::symbols(&root));
        let planner = key("planner");
        code(fleet.verify(&raw::with_payload(&root, payload, planner.public_key(), &planner)))
    };
    let block = hop.last().block();
    assert_eq!(verdict(&block.render()), "granted");
    for word in RESERVED_WORDS {
        let detail = || Predicate::new(word, [Term::text("alice"), Term::Integer(2)]);
        let mut fact = block.render();
        fact.facts.push(detail());
        assert!(verdict(&fact).starts_with("block_"), "{word} as a fact: {}", verdict(&fact));
        for at in [0, 1] {
            let mut first = block.render();
            let body = &mut first.checks.last_mut().unwrap().queries[0].body;
            body.insert(at.min(body.len()), detail());
            assert_eq!(verdict(&first), "block_scope", "{word} in the scope, at {at}");
        }
        let mut last = block.render();
        last.checks.last_mut().unwrap().queries[0].body.push(detail());
        assert_eq!(verdict(&last), "block_scope", "{word} behind all else");
        let mut check = block.render();
        let query = Query { body: vec![detail()], ..Query::default() };
        check.checks.push(Check { queries: vec![query] });
        assert!(verdict(&check).starts_with("block_"), "{word} as a check: {}", verdict(&check));
    }
}

/// An argument may have such a name; it is quoted where it would read as the word.
#[test]
fn an_argument_of_that_name_is_an_argument() {
    let long = r#"{"action":"a.b","args":{"approve":{"exactly":true},"approve:2":{"any":true},"budget:":{"exactly":1},"use:x":{"any":true}},"audience":"t:x"}"#;
    let capability = Capability::from_json(long.as_bytes()).unwrap();
    let short = capability.to_string();
    assert_eq!(
        short,
        r#"a.b@t:x approve=exactly:true "approve:2"=any "budget:"=exactly:1 "use:x"=any"#
    );
    assert_eq!(short.parse::<Capability>().unwrap(), capability);
    assert_eq!(capability.to_json(), long.as_bytes());
}

/// Every member that a capability has is in its text, its JSON and its block, cut by `--clamp`, shown by
/// `inspect`, and asked by `covers` and by a call: with each of them changed the two are not the same,
/// and the wider one is not covered.
// SPEC 4.11.1.
#[test]
fn no_member_of_a_capability_is_dropped() {
    let held = "fs.read@tool://files path=under:/data use:delegates hops:2";
    let wider = [
        "fs.read@tool:// path=under:/data use:delegates hops:2",
        "fs.@tool://files path=under:/data use:delegates hops:2",
        "fs.read@tool://files path=any use:delegates hops:2",
        "fs.read@tool://files *=any path=under:/data use:delegates hops:2",
        "fs.read@tool://files path=under:/data hops:2",
        "fs.read@tool://files path=under:/data use:delegates hops:3",
        "fs.read@tool://files path=under:/data use:delegates",
    ];
    let scope = |text: &str| Scope::from_texts(&[text]).unwrap();
    let one = |text: &str| scope(text).capabilities()[0].clone();
    for asked in wider {
        assert_ne!(one(asked).to_string(), one(held).to_string());
        assert_ne!(one(asked).to_json(), one(held).to_json());
        assert_ne!(block(asked), block(held), "{asked}");
        assert!(scope(held).covers(&scope(asked)).is_err(), "{asked}");
        let left = scope(held).clamp(&scope(asked), Default::default());
        assert_eq!(left.cut.len(), 1, "{asked} is cut, and said to be");
        assert_eq!(left.scope.unwrap(), scope(held), "{asked}");
    }
}

/// The payload of a block that states it.
fn block(text: &str) -> Vec<u8> {
    Fleet::new().root("planner", &[text]).encode()
}
