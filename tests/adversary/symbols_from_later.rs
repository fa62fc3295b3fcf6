//! A later block's symbol table that gives meaning to an earlier block.

use sublet_core::base::sign::Signer as _;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data/public"];

fn sent(fleet: &Fleet, blocks: &[raw::schema::Block]) -> &'static str {
    let mut envelope = raw::open(&fleet.root("planner", READ).encode());
    let mut previous = envelope.authority.signature.clone();
    for block in blocks {
        let payload = raw::payload_bytes(block);
        // Each holder is the planner itself, so that every signature holds.
        let (next, signer) = (key("planner"), key("planner"));
        let signed = raw::signed_v1(payload, next.public_key(), Some(&previous), &signer);
        previous = signed.signature.clone();
        envelope.blocks.push(signed);
    }
    code(fleet.verify(&raw::bytes(&envelope)))
}

fn two_blocks(fleet: &Fleet) -> [raw::schema::Block; 2] {
    let scope = &["fs.read@tool://files path=under:/data/public/q3"];
    let first = append(&fleet.root("planner", READ), &to_helper("a", scope), "planner").unwrap();
    let deeper = &["fs.read@tool://files path=under:/data/public/q3/x"];
    let second = append(&first, &to_helper("b", deeper), "a").unwrap();
    [raw::payload(first.last().payload()), raw::payload(second.last().payload())]
}

#[test]
fn honest_tables_are_read() {
    let fleet = Fleet::new();
    assert_eq!(sent(&fleet, &two_blocks(&fleet)), "granted");
}

// SPEC 2.4.1.
#[test]
fn a_symbol_that_only_a_later_block_defines_is_none() {
    let fleet = Fleet::new();
    let [mut first, mut second] = two_blocks(&fleet);
    second.symbols = [first.symbols.split_off(0), second.symbols].concat();
    assert_eq!(sent(&fleet, &[first, second]), "block_datalog");
}

// SPEC 2.4.1.
#[test]
fn a_symbol_defined_again_unused_or_out_of_order_is_refused() {
    let fleet = Fleet::new();
    let [first, _] = two_blocks(&fleet);
    let changed = |change: fn(&mut Vec<String>)| {
        let mut block = first.clone();
        change(&mut block.symbols);
        sent(&fleet, &[block])
    };
    assert_eq!(changed(|symbols| symbols.push("fs.read".into())), "block_datalog");
    assert_eq!(changed(|symbols| symbols.push("read".into())), "block_datalog");
    assert_eq!(changed(|symbols| symbols.push("never used".into())), "block_not_canonical");
    assert_ne!(changed(|symbols| symbols.swap(0, 1)), "granted");
    assert_eq!(changed(|symbols| symbols.clear()), "block_datalog");
}
