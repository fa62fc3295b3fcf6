//! Where our profile refuses what a stock library takes: each such place, on purpose, by name. SPEC
//! 2.15 lists them. Everywhere else the two give one verdict, also on tokens that were tampered
//! with; and we never take what the oracle refuses.

use proptest::prelude::*;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::capability::Scope;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::raw::{self, schema};
use sublet_tests::universe::{Dice, chain};
use sublet_tests::{Fleet, append, code, key, law_cases, to_helper};

use crate::{dice, oracle};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

/// The codes with which a token may be refused that the oracle takes.
const STRICTER: &[&str] = &[
    "token_not_canonical",
    "no_root_key",
    "signature_version",
    "third_party_block",
    "block_datalog",
    "block_incomplete",
    "block_not_canonical",
    "block_name",
    "block_scope",
    "block_too_large",
    "block_limit",
    "too_many_hops",
    "foreign_domain",
    "bad_helper_path",
    "unknown_key",
];

/// Block 0 by the broker, held by the planner; a hop to its helper, who seals.
fn pair(fleet: &Fleet) -> (VerifiedToken, VerifiedToken) {
    let root = fleet.root("planner", READ);
    let hop = append(&root, &to_helper("scout", READ), "planner").unwrap();
    (root, hop)
}

/// The open form of what was sealed, byte for byte up to the proof.
fn opened(sealed: &[u8]) -> Vec<u8> {
    let mut fields = raw::fields(sealed);
    let proof = fields.iter_mut().find(|field| field[0] == 0x22).unwrap();
    *proof = vec![0x22, 0x00];
    fields.concat()
}

/// The helper's hop with a payload that was changed, signed and sealed as it should be.
fn with_payload(fleet: &Fleet, change: impl FnOnce(&mut schema::Block)) -> Vec<u8> {
    let (root, hop) = pair(fleet);
    let mut payload = raw::payload(hop.last().payload());
    change(&mut payload);
    let scout = key("scout");
    let bytes = raw::payload_bytes(&payload);
    let token = raw::with_payload(&root, bytes, scout.public_key(), &key("planner"));
    raw::seal(raw::open(&token), &scout)
}

fn with_block(fleet: &Fleet, change: impl FnOnce(Block) -> Block) -> Vec<u8> {
    let (root, hop) = pair(fleet);
    let block = change(hop.last().block().clone());
    let scout = key("scout");
    raw::seal(raw::open(&raw::forge(&root, &block, scout.public_key(), &key("planner"))), &scout)
}

fn with_envelope(fleet: &Fleet, change: impl FnOnce(&mut schema::Biscuit)) -> Vec<u8> {
    let mut envelope = raw::open(&pair(fleet).1.encode());
    change(&mut envelope);
    raw::seal(envelope, &key("scout"))
}

/// (place, sealed token, our code), each taken by the oracle.
fn places(fleet: &Fleet) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (root, hop) = pair(fleet);
    let scout = key("scout");
    let sealed = raw::seal(raw::open(&hop.encode()), &scout);
    let fields = raw::fields(&sealed);
    let reordered = [&fields[1..], &fields[..1]].concat().concat();
    let longer = [vec![raw::stretched(&fields[0])], fields[1..].to_vec()].concat().concat();
    // Ed25519 is 0, and 0 is what is read where nothing is: the field becomes one of number 3.
    let without_algorithm = {
        let key = [0x12, 0x24, 0x08, 0x00, 0x12, 0x20];
        let at = sealed.windows(6).rposition(|bytes| bytes == key).unwrap();
        let mut bytes = sealed.clone();
        bytes[at + 2] = 0x18;
        bytes
    };
    let in_version_0 = {
        let mut envelope = raw::open(&root.encode());
        envelope.authority = raw::signed_v0(
            root.last().payload().to_vec(),
            key("planner").public_key(),
            &Fleet::signer(KeyUse::Delegation),
        );
        raw::seal(envelope, &key("planner"))
    };
    let large: Vec<String> = (0..4)
        .map(|at| format!("fs.read@tool://files x=exactly:{}", format!("a{at}").repeat(400)))
        .collect();
    let large = Scope::from_texts(&large).unwrap();
    vec![
        (
            "a field that Biscuit does not know",
            [sealed.as_slice(), &[0x78, 1]].concat(),
            "token_not_canonical",
        ),
        ("fields in another order", reordered, "token_not_canonical"),
        ("a key whose algorithm is left out", without_algorithm, "token_not_canonical"),
        ("a number in more bytes than it needs", longer, "token_not_canonical"),
        (
            "no root key id",
            with_envelope(fleet, |envelope| envelope.root_key_id = None),
            "no_root_key",
        ),
        ("a block signed in version 0", in_version_0, "signature_version"),
        (
            "a symbol that is not used",
            with_payload(fleet, |block| block.symbols.push("unused".into())),
            "block_not_canonical",
        ),
        (
            "a context",
            with_payload(fleet, |block| block.context = Some("note".into())),
            "block_datalog",
        ),
        (
            "a fact of another kind",
            with_payload(fleet, |block| {
                let fact = block.facts[0].clone();
                block.facts.push(fact);
            }),
            "block_incomplete",
        ),
        ("a check less", with_payload(fleet, |block| block.checks.truncate(1)), "block_incomplete"),
        (
            "a check of another kind",
            with_payload(fleet, |block| {
                block.checks[1].kind = Some(schema::check::Kind::All as i32);
            }),
            "block_datalog",
        ),
        (
            "a rule",
            with_payload(fleet, |block| block.rules = block.checks[0].queries.clone()),
            "block_datalog",
        ),
        (
            "a scope of trust",
            with_payload(fleet, |block| {
                let authority =
                    schema::scope::Content::ScopeType(schema::scope::ScopeType::Authority as i32);
                block.scope = vec![schema::Scope { content: Some(authority) }];
            }),
            "block_datalog",
        ),
        (
            "an agent of another trust domain",
            with_block(fleet, |block| Block {
                agent: "spiffe://evil.example/agent/planner".parse().unwrap(),
                ..block
            }),
            "foreign_domain",
        ),
        (
            "a helper that its parent did not spawn",
            with_block(fleet, |block| Block {
                helper: Some("other/scout".parse().unwrap()),
                ..block
            }),
            "bad_helper_path",
        ),
        (
            "hops or unrecorded over 64",
            with_block(fleet, |block| Block { hops_max: 65, ..block }),
            "block_limit",
        ),
        (
            "hops or unrecorded over 64",
            with_block(fleet, |block| Block { offline_hops_max: 65, ..block }),
            "block_limit",
        ),
        (
            "a block of over 3 KiB",
            with_block(fleet, |block| Block { scope: Some(large), ..block }),
            "block_too_large",
        ),
    ]
}

#[test]
fn each_place_is_listed_and_deliberate() {
    let fleet = Fleet::new();
    let listed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SPEC.md"));
    let listed = listed.unwrap();
    let root = Fleet::signer(KeyUse::Delegation);
    for (place, sealed, expected) in places(&fleet) {
        assert!(oracle::read(&sealed, &root).is_ok(), "the oracle refuses {place} too");
        assert_eq!(code(fleet.verify(&opened(&sealed))), expected, "{place}");
        assert!(listed.contains(place), "docs/SPEC.md does not list {place:?}");
    }
}

/// A third-party block, which biscuit-auth makes itself.
#[test]
fn a_third_party_block_is_refused() {
    let fleet = Fleet::new();
    let (_, hop) = pair(&fleet);
    let mut envelope = raw::open(&hop.encode());
    let public_key = raw::public_key(key("third").public_key());
    let signature = key("third").sign(b"anything").unwrap();
    envelope.blocks[0].external_signature =
        Some(schema::ExternalSignature { signature, public_key });
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "third_party_block");
}

/// Whether the seal of `sealed` stands over the last block of this token.
fn has_seal(token: &VerifiedToken, sealed: &[u8]) -> bool {
    let proof = raw::open(sealed).proof.content;
    let Some(schema::proof::Content::FinalSignature(seal)) = proof else { return false };
    let last = token.last();
    let algorithm = i32::from(last.next_key().algorithm().number()).to_le_bytes();
    let message = [last.payload(), &algorithm, last.next_key().bytes(), last.signature()].concat();
    last.next_key().verify(&message, &seal)
}

/// One change of the kind that an attacker or a bad copy makes, somewhere before the proof.
fn tampered(sealed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let fields = raw::fields(sealed);
    let (proof, before) = fields.split_last().unwrap();
    let mut bytes = before.concat();
    let at = (dice.below(1 << 16) << 8 | dice.below(256)) % bytes.len();
    match dice.below(6) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, u8::try_from(dice.below(256)).unwrap()),
        4 => {
            let mut fields = before.to_vec();
            let (a, b) = (dice.below(fields.len()), dice.below(fields.len()));
            fields.swap(a, b);
            bytes = fields.concat();
        }
        _ => {
            let mut fields = before.to_vec();
            let at = dice.below(fields.len());
            match dice.below(3) {
                0 => fields.insert(at, fields[at].clone()),
                1 => drop(fields.remove(at)),
                _ => fields[at] = raw::stretched(&fields[at]),
            }
            bytes = fields.concat();
        }
    }
    [bytes.as_slice(), proof].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(law_cases()) })]

    /// What we take, the oracle takes; what it takes and we do not is one of the listed places.
    #[test]
    fn a_tampered_token_gets_one_verdict(mut dice in dice()) {
        let fleet = Fleet::new();
        let chain = chain(&fleet, &mut dice);
        let sealed = raw::seal(raw::open(&chain.token.encode()), &chain.holder);
        let root = Fleet::signer(KeyUse::Delegation);
        prop_assert!(oracle::read(&sealed, &root).is_ok());
        for _ in 0..8 {
            let tampered = tampered(&sealed, &mut dice);
            let before = &tampered[..tampered.len() - raw::fields(&sealed).last().unwrap().len()];
            let ours = fleet.verify(&[before, &[0x22, 0x00]].concat());
            let ours = ours.map(|token| has_seal(&token, &sealed));
            match (oracle::read(&tampered, &root), ours) {
                (Ok(_), Ok(true)) | (Err(_), Ok(false) | Err(_)) => {}
                (Ok(_), Err(refusal)) => prop_assert!(STRICTER.contains(&refusal.code()), "{}", refusal),
                (theirs, ours) => prop_assert!(false, "{:?}, ours {:?}", theirs.err(), ours),
            }
        }
    }
}
