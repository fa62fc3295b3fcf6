//! Blocks cut off the end, to be back at a wider authority.

use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, to_helper};

const ALL: &[&str] = &["fs.@tool://files path=under:/data"];
const SOME: &[&str] = &["fs.read@tool://files path=under:/data/q3"];
const WRITE: (&str, &str) = ("fs.write", r#"{"path":"/data/a"}"#);

#[test]
fn the_prefix_is_the_former_holders_and_opens_to_nobody_else() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let parent = fleet.root("planner", ALL);
    let child = append(&parent, &to_helper("scout", SOME), "planner").unwrap();

    let own = Request::new(&child, &key("scout"), WRITE.0, WRITE.1);
    assert_eq!(code(tool.answer(&own)), "not_allowed");

    let mut envelope = raw::open(&child.encode());
    envelope.blocks.pop();
    assert_eq!(raw::bytes(&envelope), parent.encode());
    let prefix = Request { token: raw::bytes(&envelope), ..own };
    assert_eq!(code(tool.answer(&prefix)), "wrong_token");

    let renewed = Request::new(&parent, &key("scout"), WRITE.0, WRITE.1);
    assert_eq!(code(tool.answer(&renewed)), "proof_signature");
}

#[test]
fn a_block_cut_out_of_the_middle_breaks_the_chain() {
    let fleet = Fleet::new();
    let parent = fleet.root("planner", ALL);
    let child = append(&parent, &to_helper("scout", SOME), "planner").unwrap();
    let grandchild = append(&child, &to_helper("deep", SOME), "scout").unwrap();
    let mut envelope = raw::open(&grandchild.encode());
    envelope.blocks.remove(0);
    let refused = code(fleet.verify(&raw::bytes(&envelope)));
    assert!(["bad_signature", "block_datalog"].contains(&refused), "{refused}");
}
