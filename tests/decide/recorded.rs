//! A chain with its receipt: what is recorded is verified together, what is not singly; and a
//! chain that was verified before and became longer.

use sublet_core::base::id::HopId;
use sublet_core::base::sign::Signer as _;
use sublet_core::capability::Scope;
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::mint::{self, Hop};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::token::{UnverifiedToken, prefix_digests};
use sublet_tests::{Fleet, House, NOW, append, code, curve_key, key, raw, to_agent, to_helper};

use crate::READ;

fn chain(fleet: &Fleet) -> VerifiedToken {
    let root = fleet.root("planner", READ);
    let agent = append(&root, &to_agent("reader", READ), "planner").unwrap();
    append(&agent, &to_helper("scout", READ), "reader").unwrap()
}

/// Verifies bytes beside a receipt for so many hops.
fn recorded(fleet: &Fleet, bytes: &[u8], of: &VerifiedToken) -> Result<VerifiedToken, Refusal> {
    let token = UnverifiedToken::decode(bytes).map_err(Malformed::Token)?;
    let (token, coverage) =
        VerifiedToken::verify_recorded(token, fleet.receipt(of), &fleet.bundle)?;
    assert_eq!(coverage.position(), of.depth());
    Ok(token)
}

#[test]
fn a_receipt_lets_no_signature_through_that_is_none() {
    let fleet = Fleet::new();
    let token = chain(&fleet);
    let bytes = token.encode();
    for covered in 0..3 {
        let of = token.prefix(covered).unwrap();
        assert_eq!(recorded(&fleet, &bytes, &of).unwrap(), token);
        for block in 0..3 {
            let mut envelope = raw::open(&bytes);
            let signed = match block {
                0 => &mut envelope.authority,
                later => &mut envelope.blocks[later - 1],
            };
            signed.signature[7] ^= 1;
            let refusal = recorded(&fleet, &raw::bytes(&envelope), &of).unwrap_err();
            assert_eq!(refusal.code(), "bad_signature");
            assert!(refusal.to_string().contains(&format!("block {block}")), "{refusal}");
        }
    }
    let elsewhere = fleet.root("reader", READ);
    assert_eq!(code(recorded(&fleet, &bytes, &elsewhere)), "receipt_of_another_chain");
}

#[test]
fn the_other_curve_is_verified_among_them() {
    let fleet = Fleet::new();
    let root = fleet.root("planner", READ);
    let to = mint::Recipient::Helper {
        label: "curve".into(),
        key: curve_key("curve").public_key().clone(),
    };
    let curve = append(&root, &Hop { to, ..to_helper("curve", READ) }, "planner").unwrap();
    let token = mint::append(&curve, &to_helper("deep", READ), NOW, &curve_key("curve")).unwrap();
    assert_eq!(recorded(&fleet, &token.encode(), &token).unwrap(), token);
    let mut envelope = raw::open(&token.encode());
    let last = envelope.blocks[1].signature.len() - 1;
    envelope.blocks[1].signature[last] ^= 1;
    assert_eq!(code(recorded(&fleet, &raw::bytes(&envelope), &token)), "bad_signature");
}

#[test]
fn of_a_longer_chain_what_is_new_is_verified_and_all_else_must_be_the_same() {
    let fleet = Fleet::new();
    let token = chain(&fleet);
    let known = token.prefix(1).unwrap();
    let longer = |bytes: &[u8]| known.verify_longer(bytes, &fleet.bundle);
    assert_eq!(longer(&token.encode()), Some(Ok(token.clone())));
    let other = chain(&Fleet::new());
    assert!(longer(&other.encode()).is_some(), "the same chain, made again");
    assert_eq!(longer(&fleet.root("writer", READ).encode()), None);
    let mut envelope = raw::open(&token.encode());
    envelope.blocks[1].signature[7] ^= 1;
    assert_eq!(longer(&raw::bytes(&envelope)).map(code), Some("bad_signature"));
    envelope.blocks[1].signature[7] ^= 1;
    envelope.blocks[0].signature[7] ^= 1;
    assert_eq!(longer(&raw::bytes(&envelope)), None, "it does not begin so");
    let stretched = [token.encode().as_slice(), &[0x78, 1]].concat();
    assert_eq!(longer(&stretched).map(code), Some("token_not_canonical"));
    let gone = Fleet::changed(|keys| {
        keys.retain(|key| key.use_ != sublet_core::trust::bundle::KeyUse::Delegation)
    });
    let under = known.verify_longer(&token.encode(), &gone.bundle);
    assert_eq!(under.map(code), Some("unknown_key"), "the bundle is asked again");
}

#[test]
fn every_beginning_of_a_token_has_a_name_that_its_bytes_give() {
    let fleet = Fleet::new();
    let token = chain(&fleet);
    let names = prefix_digests(&token.encode()).unwrap();
    for (at, name) in names.iter().enumerate() {
        let prefix = token.prefix(at).unwrap().encode();
        assert_eq!(prefix_digests(&prefix).unwrap().last(), Some(name));
    }
    assert_eq!(names.len(), 3);
    for none in [&[][..], b"\x22\x00", b"junk", &token.encode()[1..]] {
        assert_eq!(prefix_digests(none), None);
    }
}

// SPEC 7.1.
#[test]
fn a_recorded_hop_is_alive_until_anything_above_it_is_not() {
    let fleet = Fleet::new();
    let token = chain(&fleet);
    let planner_key = key("planner").public_key().thumbprint();
    let dead_by = [
        Revocation::Hop(token.id()),
        Revocation::Hop(token.delegation()),
        Revocation::AgentSuspended(sublet_tests::agent("planner")),
        Revocation::AgentKey(planner_key),
        Revocation::Principal("user:alice@acme.example".parse().unwrap()),
    ];
    for revocation in dead_by {
        let mut house = House::with(&fleet, &["planner", "reader"], &token.prefix(0).unwrap());
        let (planner, reader) = (House::agent(&fleet, "planner"), House::agent(&fleet, "reader"));
        house.delegate(&planner, &token.prefix(1).unwrap()).unwrap();
        house.delegate(&reader, &token).unwrap();
        assert_eq!(house.state.indices(&token.id()), Some(vec![0, 1, 2]));
        assert!(house.state.is_alive(&token.id()));
        house.revoked(revocation.clone());
        assert!(!house.state.is_alive(&token.id()), "{revocation:?}");
    }
    let house = House::new(&fleet);
    assert!(!house.state.is_alive(&HopId([1; 32])), "unknown is not alive");
    assert_eq!(house.state.indices(&HopId([1; 32])), None);
}

#[test]
fn a_clamped_hop_is_one_that_can_be_made() {
    let fleet = Fleet::new();
    let root =
        fleet.root("planner", &["fs.@tool://files path=under:/data", "db.q@mcp://db hops:0"]);
    let asked = Hop {
        ttl_seconds: 1 << 40,
        hops_max: Some(60),
        offline_hops_max: Some(60),
        ..to_helper("scout", &["fs.read@tool://files path=under:/", "db.q@mcp://db"])
    };
    assert_eq!(code(append(&root, &asked, "planner")), "hops_exceed_parent");
    let (hop, cut) = mint::clamp(&root, &asked, NOW).unwrap();
    assert_eq!(cut.len(), 4, "{cut:?}");
    assert_eq!(hop.scope, Scope::from_texts(&["fs.read@tool://files path=under:/data"]).unwrap());
    let made = append(&root, &hop, "planner").unwrap();
    assert_eq!(made.expires(), root.expires());
    assert_eq!((made.last().block().hops_max, made.last().block().offline_hops_max), (4, 2));
    let (same, cut) = mint::clamp(&root, &hop, NOW).unwrap();
    assert!(same == hop && cut.is_empty());
    let nothing = to_helper("scout", &["db.q@mcp://db"]);
    assert_eq!(code(mint::clamp(&root, &nothing, NOW)), "scope_exceeds_parent");
    let identity = fleet.identity("planner");
    assert_eq!(code(mint::clamp(&identity, &nothing, NOW)), "forbidden");
}
