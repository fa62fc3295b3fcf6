//! Encoding: every form has an inverse, and no token has a second spelling.

use proptest::prelude::*;
use sublet_core::base::id::Nonce;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::biscuit::datalog::Symbols;
use sublet_core::capability::{Any, Capability, Constraint, Scope};
use sublet_tests::universe::{Dice, capability, chain, scope};
use sublet_tests::{Fleet, agent, code, curve_key, key, raw};

use crate::{config, dice};

fn block(dice: &mut Dice, first: bool) -> Block {
    let seconds = |dice: &mut Dice| *dice.pick(&[0, 1, 1_800_000_000, i64::MAX]);
    let origin = Origin {
        issuer: "spiffe://acme.example/sublet".parse().unwrap(),
        nonce: Nonce([u8::try_from(dice.below(256)).unwrap(); 16]),
        issued_at: seconds(dice),
        not_before: seconds(dice),
    };
    let role = match (first, dice.below(3)) {
        (false, _) => Role::Hop,
        (true, 0) => Role::Identity { origin },
        (true, _) => Role::Grant {
            origin,
            on_behalf_of: dice.pick(&["user:a@acme.example", "job:x.y+z@b"]).parse().unwrap(),
        },
    };
    let scope = (!matches!(role, Role::Identity { .. })).then(|| scope(dice));
    Block {
        role,
        agent: agent(dice.pick::<&str>(&["planner", "time", "a.b_c-D"])),
        helper: dice.one_in(2).then(|| dice.pick(&["scout", "a/b/c-9"]).parse().unwrap()),
        not_after: seconds(dice),
        hops_max: *dice.pick(&[0, 1, 64]),
        offline_hops_max: *dice.pick(&[0, 1, 64]),
        scope,
    }
}

/// A name that a program may give to an argument, however unkind to text.
fn odd_name(dice: &mut Dice) -> String {
    let parts = ["a", "*", "=", " ", "\"", "\\", "[", "}", ":", ",", "\n", "é", "~1", "any"];
    (0..dice.below(4)).map(|_| *dice.pick(&parts)).collect()
}

proptest! {
    #![proptest_config(config())]

    // SPEC 3.1.
    #[test]
    fn lift_is_the_inverse_of_lower(mut dice in dice()) {
        let blocks: Vec<Block> = (0..3).map(|position| block(&mut dice, position == 0)).collect();
        let mut writer = Symbols::default();
        let payloads: Vec<Vec<u8>> = blocks.iter().map(|b| b.lower(&mut writer)).collect();
        let mut reader = Symbols::default();
        for (position, (block, payload)) in blocks.iter().zip(&payloads).enumerate() {
            if payload.len() > sublet_core::base::limits::BLOCK_BYTES_MAX {
                break;
            }
            let lifted = Block::lift(payload, position == 0, &mut reader);
            prop_assert_eq!(lifted.as_ref(), Ok(block));
        }
    }

    // SPEC 3.1.
    #[test]
    fn lower_is_the_inverse_of_lift(mut dice in dice(), at: prop::sample::Index, with: u8) {
        let mut payload = block(&mut dice, true).lower(&mut Symbols::default());
        *at.get_mut(&mut payload) = with;
        if let Ok(lifted) = Block::lift(&payload, true, &mut Symbols::default()) {
            prop_assert_eq!(lifted.lower(&mut Symbols::default()), payload);
        }
    }

    #[test]
    fn a_capability_reads_back_from_its_text_and_its_json(mut dice in dice()) {
        let drawn = capability(&mut dice);
        let (audience, action) = (drawn.audience().clone(), drawn.action().clone());
        let more = match dice.below(3) {
            0 => vec![(odd_name(&mut dice), Constraint::Any(Any))],
            1 => vec![(odd_name(&mut dice), sublet_tests::universe::constraint(&mut dice))],
            _ => Vec::new(),
        };
        let mut args: std::collections::BTreeMap<_, _> =
            drawn.args().map(|(name, constraint)| (name.to_owned(), constraint.clone())).collect();
        args.extend(more);
        let Ok(capability) = Capability::new(audience, action, args, drawn.is_open()) else {
            return Ok(()); // Too long a name.
        };
        let text = capability.to_string();
        prop_assert_eq!(text.parse::<Capability>(), Ok(capability.clone()), "{}", text);
        let json = capability.to_json();
        let read = Capability::from_json(&json);
        prop_assert_eq!(read, Ok(capability), "{}", String::from_utf8_lossy(&json));
    }

    #[test]
    fn a_scope_reads_back_from_a_store(mut dice in dice()) {
        let scope = scope(&mut dice);
        let stored = serde_json::to_vec(&scope).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Scope>(&stored).unwrap(), scope);
    }

    #[test]
    fn a_token_reads_back_and_its_ids_are_over_content_alone(mut dice in dice(), nonce in 1u64..) {
        let fleet = Fleet::new();
        let token = chain(&fleet, &mut dice).token;
        let read = fleet.verify(&token.encode()).unwrap();
        prop_assert_eq!(&read, &token);

        // The same content signed twice: other bytes, the same id.
        let root = fleet.root("planner", &["fs.read@tool://files"]);
        let to_curve = Block { role: Role::Hop, ..root.root().clone() };
        let next = curve_key("curve");
        let held = raw::forge(&root, &to_curve, next.public_key(), &key("planner"));
        let held = fleet.verify(&held).unwrap();
        let last = Block { scope: Some(scope(&mut dice)), ..to_curve };
        let made = |signer: &dyn sublet_core::base::sign::Signer| {
            let bytes = raw::forge(&held, &last, key("x").public_key(), signer);
            fleet.verify(&bytes).unwrap()
        };
        let (one, two) = (made(&next), made(&raw::OtherNonce::of("curve", nonce)));
        prop_assert_ne!(one.encode(), two.encode());
        prop_assert_eq!(one.id(), two.id());
    }

    // SPEC 2.4, 3.1.
    #[test]
    fn a_token_with_one_byte_changed_cut_or_added_is_refused(
        mut dice in dice(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 8),
    ) {
        let fleet = Fleet::new();
        let bytes = chain(&fleet, &mut dice).token.encode();
        prop_assert_eq!(code(fleet.verify(&bytes)), "granted");
        for (at, byte) in places {
            let at = at.index(bytes.len());
            let mut changed = bytes.clone();
            changed[at] ^= byte.max(1);
            prop_assert_ne!(code(fleet.verify(&changed)), "granted", "byte {} of {:?}", at, bytes);
            let mut longer = bytes.clone();
            longer.insert(at, byte);
            prop_assert_ne!(code(fleet.verify(&longer)), "granted", "added at {}", at);
            let mut shorter = bytes.clone();
            shorter.remove(at);
            prop_assert_ne!(code(fleet.verify(&shorter)), "granted", "cut at {}", at);
        }
    }
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let fleet = Fleet::new();
    let mut dice = Dice::new(vec![3; 600]);
    let bytes = chain(&fleet, &mut dice).token.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert_ne!(code(fleet.verify(&changed)), "granted", "byte {at}");
    }
}
