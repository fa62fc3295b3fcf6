//! A block that is a call proof when its victim seals it, and the reverse: one signature with two
//! meanings.

use sublet_core::base::sign::Signer as _;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_tests::{AUDIENCE, Fleet, NOW, Request, Tool, append, code, key, nonce, raw, to_self};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

// SPEC 2.10.
#[test]
fn a_block_that_holds_a_call_proofs_message_is_none() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let claims = CallClaims::new(root.id(), AUDIENCE, "fs.read", b"{}", NOW, nonce(&[b"n"]));
    for payload in [claims.message(), [claims.message(), vec![0; 64]].concat()] {
        let next = key("victim");
        let forged = raw::with_payload(&root, payload, next.public_key(), &key("planner"));
        assert_eq!(code(fleet.verify(&forged)), "block_datalog");
    }
}

// SPEC 2.10.
#[test]
fn a_call_proofs_signature_is_no_blocks() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let claims = CallClaims::new(root.id(), AUDIENCE, "fs.read", b"{}", NOW, nonce(&[b"n"]));
    let proof = CallProof::sign(claims, &key("planner")).unwrap();
    let child = append(&root, &to_self(READ), "planner").unwrap();
    let mut envelope = raw::open(&child.encode());
    envelope.blocks[0].signature = proof.signature;
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature");
}

// SPEC 2.10.
#[test]
fn neither_a_blocks_nor_a_seals_signature_is_a_call_proofs() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let token = append(&fleet.root("planner", READ), &to_self(READ), "planner").unwrap();
    let good = Request::new(&token, &key("planner"), "fs.read", ARGS);
    let claims = CallProof::decode(&good.proof).unwrap().claims;

    let sealed = raw::open(&raw::seal(raw::open(&token.encode()), &key("planner")));
    let Some(raw::schema::proof::Content::FinalSignature(seal)) = sealed.proof.content else {
        panic!("sealed")
    };
    for signature in [token.last().signature().to_vec(), seal] {
        let proof = CallProof { claims: claims.clone(), signature }.encode();
        assert_eq!(code(tool.answer(&Request { proof, ..good.clone() })), "proof_signature");
    }
    // Nor do a block's own bytes read as a proof.
    let last = token.last();
    let proof = [last.payload(), last.signature()].concat();
    assert_eq!(code(tool.answer(&Request { proof, ..good })), "proof_malformed");
}
