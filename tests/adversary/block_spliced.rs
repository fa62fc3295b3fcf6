//! A block moved to another token of the same holder, where it means more.

use sublet_core::base::sign::Signer as _;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, append, code, key, raw, to_helper};

/// Two delegations to one agent whose symbol tables have the same shape: the symbol that is
/// `/data/public` in one is `/data/secret` in the other.
fn narrow_and_wide(fleet: &Fleet) -> (VerifiedToken, VerifiedToken) {
    let narrow = fleet.root("planner", &["fs.read@tool://files path=under:/data/public"]);
    let wide = fleet.root("planner", &["fs.read@tool://files path=under:/data/secret"]);
    (narrow, wide)
}

fn child(fleet: &Fleet) -> VerifiedToken {
    let (narrow, _) = narrow_and_wide(fleet);
    let hop = to_helper("scout", &["fs.read@tool://files path=under:/data/public"]);
    append(&narrow, &hop, "planner").unwrap()
}

// SPEC 2.3.
#[test]
fn version_1_signs_the_signature_before_it() {
    let fleet = Fleet::new();
    let block = raw::open(&child(&fleet).encode()).blocks.remove(0);
    let spliced = raw::with_block(&narrow_and_wide(&fleet).1, block);
    assert_eq!(code(fleet.verify(&spliced)), "bad_signature");
}

// SPEC 2.3.
#[test]
fn version_0_does_not_and_is_refused_where_stock_takes_it() {
    let fleet = Fleet::new();
    let (narrow, wide) = narrow_and_wide(&fleet);
    let payload = child(&fleet).last().payload().to_vec();
    let block = raw::signed_v0(payload, key("scout").public_key(), &key("planner"));

    let spliced = raw::with_block(&wide, block.clone());
    assert_eq!(code(fleet.verify(&spliced)), "signature_version");
    assert_eq!(code(fleet.verify(&raw::with_block(&narrow, block))), "signature_version");

    // Why the rule stands: a stock library takes the block on either token.
    let sealed = raw::seal(raw::open(&spliced), &key("scout"));
    let root = Fleet::signer(sublet_core::trust::bundle::KeyUse::Delegation);
    let root = root.public_key().bytes();
    let root = biscuit_auth::PublicKey::from_bytes(root, biscuit_auth::Algorithm::Ed25519);
    assert!(biscuit_auth::Biscuit::from(&sealed, root.unwrap()).is_ok());
}

// SPEC 2.3.
#[test]
fn version_0_is_refused_for_block_0_too() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", &["fs.read@tool://files path=under:/data"]);
    let mut envelope = raw::open(&root.encode());
    let payload = envelope.authority.block.clone();
    let signer = Fleet::signer(sublet_core::trust::bundle::KeyUse::Delegation);
    envelope.authority = raw::signed_v0(payload, key("planner").public_key(), &signer);
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "signature_version");
}

#[test]
fn a_version_that_lies_is_refused() {
    let fleet = Fleet::new();
    for version in [None, Some(0), Some(2), Some(u32::MAX)] {
        let mut envelope = raw::open(&child(&fleet).encode());
        envelope.blocks[0].version = version;
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "signature_version");
    }
}

// SPEC 2.4.3.
#[test]
fn a_third_party_block_is_refused() {
    let fleet = Fleet::new();
    let mut envelope = raw::open(&child(&fleet).encode());
    envelope.blocks[0].external_signature = Some(raw::schema::ExternalSignature {
        signature: vec![0; 64],
        public_key: raw::public_key(key("planner").public_key()),
    });
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "third_party_block");
}
