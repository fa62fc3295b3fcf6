//! A negation over a fact that is not there must not open. The one negation of ours is `absent`.

use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::datalog::{Check, Predicate};
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, to_self};

// SPEC 4.5.4.
#[test]
fn absent_is_met_by_absence_alone() {
    let fleet = Fleet::new();
    let token = fleet.root("planner", &["fs.read@tool://files force=absent *=any"]);
    let tool = Tool::new(&fleet);
    let call =
        |args: &str| code(tool.answer(&Request::new(&token, &key("planner"), "fs.read", args)));
    assert_eq!(call("{}"), "granted");
    assert_eq!(call(r#"{"path":"/x"}"#), "granted");
    for present in ["null", "false", "0", "\"\"", "[]", "{}", "[1]", "1.5"] {
        assert_eq!(call(&format!(r#"{{"force":{present}}}"#)), "not_allowed", "{present}");
    }
}

/// The rendering requires `arg_names` before it negates over it; a block that leaves it out is
/// none of ours.
// SPEC 4.5.4.
#[test]
fn a_negation_without_its_positive_fact_is_refused() {
    let fleet = Fleet::new();
    let scope = &["fs.read@tool://files force=absent *=any"];
    let root = fleet.root("planner", scope);
    let hop = append(&root, &to_self(scope), "planner").unwrap();
    let mut datalog = hop.last().block().render();
    let Check { queries } = datalog.checks.last_mut().unwrap();
    let names = |predicate: &Predicate<'_>| predicate.name == "arg_names";
    assert!(queries[0].body.iter().any(names));
    queries[0].body.retain(|predicate| !names(predicate));
    let payload = datalog.encode(&mut raw::symbols(&root));
    let forged = raw::with_payload(&root, payload, key("planner").public_key(), &key("planner"));
    assert_eq!(code(fleet.verify(&forged)), "block_scope");
}
