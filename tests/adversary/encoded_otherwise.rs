//! The same content in other bytes: unknown fields, another order, longer varints.

use sublet_core::base::sign::Signer as _;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

fn child(fleet: &Fleet) -> VerifiedToken {
    append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap()
}

// SPEC 2.4.
#[test]
fn the_envelope_has_one_encoding() {
    let fleet = Fleet::new();
    let bytes = child(&fleet).encode();
    let fields = raw::fields(&bytes);
    assert_eq!(code(fleet.verify(&fields.concat())), "granted");
    let [id, authority, block, proof] = fields.as_slice() else { panic!("four fields") };
    let others: [(&str, Vec<&[u8]>); 7] = [
        ("an unknown field", vec![id, authority, block, proof, &[0x78, 1]]),
        ("an unknown field first", vec![&[0x78, 1], id, authority, block, proof]),
        ("the proof first", vec![proof, id, authority, block]),
        ("blocks before block 0", vec![id, block, authority, proof]),
        ("the root key id last", vec![authority, block, proof, id]),
        ("the root key id twice", vec![id, id, authority, block, proof]),
        ("the proof twice", vec![id, authority, block, proof, proof]),
    ];
    for (what, parts) in others {
        assert_eq!(code(fleet.verify(&parts.concat())), "token_not_canonical", "{what}");
    }
    for at in 0..fields.len() {
        let mut longer = fields.clone();
        longer[at] = raw::stretched(&longer[at]);
        let refused = code(fleet.verify(&longer.concat()));
        assert_eq!(refused, "token_not_canonical", "a longer varint in field {at}");
    }
}

// SPEC 2.4.
#[test]
fn a_signed_block_has_one_encoding() {
    let fleet = Fleet::new();
    let bytes = child(&fleet).encode();
    let fields = raw::fields(&bytes);
    let [id, authority, block, proof] = fields.as_slice() else { panic!("four fields") };
    // A field's tag, its length (two bytes, as a block is 128 to 16383 bytes), its content.
    let (tag, inner) = (block[0], &block[3..]);
    let rebuilt = |parts: Vec<Vec<u8>>| {
        let content = parts.concat();
        let length = [content.len() as u8 | 0x80, (content.len() >> 7) as u8];
        let block = [&[tag], length.as_slice(), &content].concat();
        code(fleet.verify(&[id, authority, &block, proof].map(Vec::as_slice).concat()))
    };
    let parts = raw::fields(inner);
    assert_eq!(rebuilt(parts.clone()), "granted");
    let mut swapped = parts.clone();
    swapped.swap(1, 2);
    assert_eq!(rebuilt(swapped), "token_not_canonical");
    assert_eq!(rebuilt([parts.clone(), vec![vec![0x78, 1]]].concat()), "token_not_canonical");
    for at in 0..parts.len() {
        let mut longer = parts.clone();
        longer[at] = raw::stretched(&longer[at]);
        assert_eq!(rebuilt(longer), "token_not_canonical", "field {at}");
    }
}

/// Signed by the holder itself, so that only the encoding is wrong.
// SPEC 2.4, 3.1.
#[test]
fn a_payload_has_one_encoding() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let good = child(&fleet).last().payload().to_vec();
    let sent = |payload: Vec<u8>| {
        let next = key("scout");
        code(fleet.verify(&raw::with_payload(&root, payload, next.public_key(), &key("planner"))))
    };
    assert_eq!(sent(good.clone()), "granted");
    let fields = raw::fields(&good);
    assert_eq!(sent([good.as_slice(), &[0x78, 1]].concat()), "block_not_canonical");
    let reversed: Vec<Vec<u8>> = fields.iter().rev().cloned().collect();
    let refused = sent(reversed.concat());
    assert_ne!(refused, "granted");
    for at in 0..fields.len() {
        let mut longer = fields.clone();
        longer[at] = raw::stretched(&longer[at]);
        assert_eq!(sent(longer.concat()), "block_not_canonical", "field {at}");
        let mut twice = fields.clone();
        twice.insert(at, fields[at].clone());
        assert_ne!(sent(twice.concat()), "granted", "field {at} twice");
    }
}

// SPEC 2.2.
#[test]
fn a_sealed_token_and_one_with_a_secret_are_refused_by_name() {
    let fleet = Fleet::new();
    let mut envelope = raw::open(&child(&fleet).encode());
    let sealed = raw::seal(envelope.clone(), &key("scout"));
    assert_eq!(code(fleet.verify(&sealed)), "token_sealed");
    envelope.proof.content = Some(raw::schema::proof::Content::NextSecret(vec![7; 32]));
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "leaked_key");
    envelope.proof.content = None;
    envelope.root_key_id = None;
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "no_root_key");
    assert_eq!(code(fleet.verify(b"")), "not_a_biscuit");
    assert_eq!(code(fleet.verify(b"\xff\xff\xff")), "not_a_biscuit");
}

#[test]
fn the_text_form_has_one_spelling() {
    use sublet_core::token::Presentation;
    let presentation = Presentation { token: child(&Fleet::new()).encode(), receipt: None };
    let text = presentation.to_text();
    assert_eq!(Presentation::from_text(&text), Ok(presentation));
    let padded = format!("{text}=");
    let plus = text.replace('_', "/").replace('-', "+") + "+";
    for other in [padded, plus, format!(" {text}"), text.replace("sublet1", "sublet2")] {
        let bad = Presentation::from_text(&other).unwrap_err();
        assert_eq!(bad.code(), "not_a_token");
    }
}
