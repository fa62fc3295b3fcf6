//! A signature made again or flipped, a key written otherwise: to dodge a revocation by name.

use sublet_core::base::key::Algorithm;
use sublet_core::base::sign::Signer as _;
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::mint::{self, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, NOW, Request, Tool, append, code, curve_key, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

/// planner → scout (secp256r1) → deep: the last block carries an ECDSA signature.
fn by_ecdsa(fleet: &Fleet) -> VerifiedToken {
    let mut hop = to_helper("scout", READ);
    hop.to =
        Recipient::Helper { label: "scout".into(), key: curve_key("scout").public_key().clone() };
    let child = append(&fleet.root("planner", READ), &hop, "planner").unwrap();
    let deep = to_helper("deep", READ);
    mint::append(&child, &deep, NOW, &curve_key("scout")).unwrap()
}

fn flipped(signature: &[u8]) -> Vec<u8> {
    let parsed = p256::ecdsa::Signature::from_der(signature).unwrap();
    let (r, s) = parsed.split_scalars();
    p256::ecdsa::Signature::from_scalars(r, -*s).unwrap().to_der().as_bytes().to_vec()
}

#[test]
fn an_ecdsa_chain_is_served() {
    let fleet = Fleet::new();
    let request = Request::new(&by_ecdsa(&fleet), &key("deep"), "fs.read", ARGS);
    assert_eq!(code(Tool::new(&fleet).answer(&request)), "granted");
}

// SPEC 2.8.
#[test]
fn an_ecdsa_signature_with_s_flipped_is_refused() {
    let fleet = Fleet::new();
    let mut envelope = raw::open(&by_ecdsa(&fleet).encode());
    envelope.blocks[1].signature = flipped(&envelope.blocks[1].signature);
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature");
}

// SPEC 2.8.
#[test]
fn an_ecdsa_signature_in_longer_der_is_refused() {
    let fleet = Fleet::new();
    let good = raw::open(&by_ecdsa(&fleet).encode());
    let der = good.blocks[1].signature.clone();
    let long_form = [&der[..1], &[0x81], &der[1..]].concat();
    let mut padded_r = [&der[..4], &[0], &der[4..]].concat();
    padded_r[1] += 1;
    padded_r[3] += 1;
    for signature in [long_form, padded_r, [der.as_slice(), &[0]].concat(), Vec::new()] {
        let mut envelope = good.clone();
        envelope.blocks[1].signature = signature;
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature");
    }
}

// SPEC 2.8.
#[test]
fn any_bit_of_an_ed25519_signature_flipped_is_refused() {
    let fleet = Fleet::new();
    let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap();
    for bit in 0..512 {
        let mut envelope = raw::open(&child.encode());
        envelope.blocks[0].signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature", "bit {bit}");
    }
}

// SPEC 2.6.
#[test]
fn a_block_signed_again_has_the_same_id_and_stays_revoked() {
    let fleet = Fleet::new();
    let first = by_ecdsa(&fleet);
    // ECDSA may be signed again with another r; our signer is deterministic, so the signer's
    // freedom is shown by the next best: the same content, signed by hand.
    let last = first.last();
    let parent = first.prefix(1).unwrap();
    let (payload, next) = (last.payload().to_vec(), last.next_key().clone());
    let again = raw::with_payload(&parent, payload, &next, &raw::OtherNonce::of("scout", 7));
    let again = fleet.verify(&again).unwrap();
    assert_ne!(again.encode(), first.encode());
    assert_eq!(again.id(), first.id());

    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::Hop(first.id()));
    let request = Request::new(&again, &key("deep"), "fs.read", ARGS);
    assert_eq!(code(tool.answer(&request)), "hop_revoked");
}

// SPEC 2.7.
#[test]
fn a_secp256r1_key_has_one_encoding() {
    let fleet = Fleet::new();
    let key = curve_key("scout");
    let point = p256::PublicKey::from_sec1_bytes(key.public_key().bytes()).unwrap();
    let long = p256::EncodedPoint::from(point).as_bytes().to_vec();
    let mut hybrid = long.clone();
    hybrid[0] = 6 + (long[64] & 1);
    for bytes in [long, hybrid] {
        let mut envelope = raw::open(&by_ecdsa(&fleet).encode());
        envelope.blocks[0].next_key.key = bytes;
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_next_key");
    }
}

// SPEC 2.7.
#[test]
fn an_ed25519_key_has_one_encoding() {
    // Points with a y below 19 have a second encoding, y + p.
    let p = |y: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + y, 0x7f);
        bytes
    };
    let mut found = 0;
    for y in 2..19 {
        let mut small = [0; 32];
        small[0] = y;
        if sublet_core::base::key::PublicKey::from_bytes(Algorithm::Ed25519, &small).is_err() {
            continue;
        }
        found += 1;
        let fleet = Fleet::new();
        let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner");
        let mut envelope = raw::open(&child.unwrap().encode());
        envelope.blocks[0].next_key.key = p(y).to_vec();
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_next_key", "y = {y}");
    }
    assert!(found > 0, "some small y is on the curve");
}

// SPEC 2.8.1.
#[test]
fn the_algorithm_is_the_keys_and_not_the_messages() {
    let fleet = Fleet::new();
    let good = by_ecdsa(&fleet);
    for (block, algorithm) in [(0, 0), (1, 1), (1, 2), (1, -1)] {
        let mut envelope = raw::open(&good.encode());
        envelope.blocks[block].next_key.algorithm = algorithm;
        let refused = code(fleet.verify(&raw::bytes(&envelope)));
        assert!(["bad_next_key", "not_a_biscuit"].contains(&refused), "{algorithm}: {refused}");
    }
}
