//! Keys, tokens that are good, and tokens that are not, each with its code.

use serde_json::{Value, json};
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Role};
use sublet_core::token::mint::Hop;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{Fleet, append, key, key_id, raw, to_agent, to_helper, to_self};

use crate::{agreed, bytes, verdict};

pub(crate) const READ: &[&str] = &["fs.@tool://files path=under:/data"];
const NARROW: &[&str] = &["fs.read@tool://files path=under:/data/q3"];

/// (name, token): block 0 alone, hops of each kind, capabilities that travel.
pub(crate) fn good(fleet: &Fleet) -> Vec<(&'static str, VerifiedToken)> {
    let root = fleet.root("planner", READ);
    let agent = append(&root, &to_agent("reader", NARROW), "planner").unwrap();
    let helper = append(&agent, &to_helper("scout", NARROW), "reader").unwrap();
    let deeper = append(&helper, &to_helper("deep", NARROW), "scout").unwrap();
    let oneself = append(&agent, &to_self(NARROW), "reader").unwrap();
    let short = Hop {
        ttl_seconds: 1,
        hops_max: Some(1),
        offline_hops_max: Some(0),
        ..to_agent("reader", NARROW)
    };
    let curve = Hop {
        to: sublet_core::token::mint::Recipient::Helper {
            label: "curve".into(),
            key: sublet_tests::curve_key("curve").public_key().clone(),
        },
        ..to_helper("curve", NARROW)
    };
    let every_kind: Vec<String> =
        super::scopes::TEXTS.iter().step_by(2).take(40).map(|t| (*t).to_owned()).collect();
    let every_kind: Vec<&str> = every_kind.iter().map(String::as_str).collect();
    let travels = &["a.b@t:x n=range:1..5 use:delegates hops:2", "c.d@t:x *=any hops:0"];
    vec![
        ("block 0 alone", root.clone()),
        ("to an agent", agent.clone()),
        ("to a helper of an agent", helper),
        ("to a helper of a helper", deeper),
        ("to oneself", oneself),
        ("short, terminal and recorded", append(&root, &short, "planner").unwrap()),
        ("to a secp256r1 key", append(&root, &curve, "planner").unwrap()),
        ("capabilities that travel", fleet.root("planner", travels)),
        ("many kinds of constraint", fleet.root("planner", &every_kind)),
        ("an identity", fleet.identity("planner")),
    ]
}

fn block(block: &Block) -> Value {
    let (role, origin) = match &block.role {
        Role::Grant { origin, on_behalf_of } => {
            (json!({"grant": on_behalf_of.to_string()}), Some(origin))
        }
        Role::Identity { origin } => (json!("identity"), Some(origin)),
        Role::Hop => (json!("hop"), None),
    };
    let scope = block.scope.iter().flat_map(|scope| scope.capabilities());
    json!({
        "role": role,
        "origin": origin.map(|origin| json!({
            "issuer": origin.issuer.to_string(),
            "nonce": bytes(origin.nonce.0),
            "issued_at": origin.issued_at,
            "not_before": origin.not_before,
        })),
        "agent": block.agent.to_string(),
        "helper": block.helper.as_ref().map(ToString::to_string),
        "not_after": block.not_after,
        "hops": block.hops_max,
        "unrecorded": block.offline_hops_max,
        "scope": scope.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

#[test]
fn tokens() {
    let fleet = Fleet::new();
    let one = |(name, token): (&str, VerifiedToken)| {
        let blocks: Vec<Value> = token
            .hops()
            .map(|(id, signed)| {
                json!({
                    "id": id.to_string(),
                    "payload": bytes(signed.payload()),
                    "next_key": signed.next_key().to_string(),
                    "next_key_thumbprint": signed.next_key().thumbprint().to_string(),
                    "signature": bytes(signed.signature()),
                    "says": block(signed.block()),
                })
            })
            .collect();
        json!({"name": name, "token": bytes(token.encode()), "blocks": blocks})
    };
    agreed("tokens.json", &good(&fleet).into_iter().map(one).collect());
}

/// The same token in ways that no verifier may take.
fn broken(fleet: &Fleet) -> Vec<(&'static str, Vec<u8>)> {
    let root = fleet.root("planner", READ);
    let hop = append(&root, &to_agent("reader", NARROW), "planner").unwrap();
    let hop = append(&hop, &to_helper("scout", NARROW), "reader").unwrap();
    let bytes = hop.encode();
    let changed = |change: &dyn Fn(&mut raw::schema::Biscuit)| {
        let mut envelope = raw::open(&bytes);
        change(&mut envelope);
        raw::bytes(&envelope)
    };
    let other = Block { not_after: hop.last().block().not_after - 1, ..hop.last().block().clone() };
    let parent = hop.prefix(1).unwrap();
    let scout = key("scout");
    let mut datalog = hop.last().block().render();
    datalog.facts.clear();
    let nameless = datalog.encode(&mut raw::symbols(&parent));
    vec![
        ("nothing", Vec::new()),
        ("cut short", bytes[..bytes.len() - 1].to_vec()),
        ("a byte more", [bytes.as_slice(), &[0]].concat()),
        ("an unknown field", [bytes.as_slice(), &[0x78, 1]].concat()),
        ("no root key id", changed(&|envelope| envelope.root_key_id = None)),
        ("a root key that is not trusted", changed(&|envelope| envelope.root_key_id = Some(77))),
        ("a block removed in the middle", changed(&|envelope| drop(envelope.blocks.remove(0)))),
        ("two blocks swapped", changed(&|envelope| envelope.blocks.swap(0, 1))),
        ("a bit of a signature", changed(&|envelope| envelope.blocks[1].signature[9] ^= 1)),
        (
            "a bit of a payload",
            changed(&|envelope| {
                let at = envelope.blocks[1].block.len() - 3;
                envelope.blocks[1].block[at] ^= 1;
            }),
        ),
        (
            "another next key",
            changed(&|envelope| {
                envelope.blocks[1].next_key = raw::public_key(key("thief").public_key());
            }),
        ),
        ("signature version 0", changed(&|envelope| envelope.blocks[1].version = None)),
        (
            "a private key as proof",
            changed(&|envelope| {
                envelope.proof.content = Some(raw::schema::proof::Content::NextSecret(vec![7; 32]));
            }),
        ),
        ("sealed", raw::seal(raw::open(&bytes), &scout)),
        (
            "signed by another key than the one before",
            raw::forge(&parent, &other, scout.public_key(), &key("thief")),
        ),
        (
            "a block without a holder",
            raw::with_payload(&parent, nameless, scout.public_key(), &key("reader")),
        ),
    ]
}

#[test]
fn broken_tokens() {
    let fleet = Fleet::new();
    let one = |(name, token): (&str, Vec<u8>)| {
        let outcome = fleet.verify(&token);
        assert!(outcome.is_err(), "{name}");
        json!({"name": name, "token": bytes(&token), "code": verdict(&outcome)})
    };
    agreed("broken_tokens.json", &broken(&fleet).into_iter().map(one).collect());
}

/// The trust bundle of all vectors, and the private keys that its holders have.
#[test]
fn keys() {
    let fleet = Fleet::new();
    let signer = Fleet::signer(KeyUse::Bundle);
    let bundle = fleet.bundle.sign(key_id(KeyUse::Bundle), &signer).unwrap();
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    let holder = |name: &str| {
        let public = key(name).public_key().to_string();
        json!({"name": name, "seed": bytes(sublet_core::base::bytes::sha256(name.as_bytes())), "public": public})
    };
    let holders = ["planner", "reader", "writer", "scout", "deep", "thief"].map(holder);
    agreed(
        "keys.json",
        &json!({"now_ms": sublet_tests::NOW.0, "trust_bundle": bundle, "ed25519": holders}),
    );
}
