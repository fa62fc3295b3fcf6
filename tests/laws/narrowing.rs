//! Narrowing: an order, sound against calls, and kept by every chain.

use proptest::prelude::*;
use sublet_core::base::sign::Signer as _;
use sublet_core::biscuit::block::Block;
use sublet_core::capability::{ChainPosition, Scope};
use sublet_core::evidence::call::Call;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::universe::{Dice, call_near, chain, constraint, narrowed, scope, simple, value};
use sublet_tests::{Fleet, key, raw};

use crate::{config, dice};

/// Three scopes, each related to the one before more often than not.
fn three(dice: &mut Dice) -> [Scope; 3] {
    let a = scope(dice);
    let next = |held: &Scope, dice: &mut Dice| match dice.below(4) {
        0 => scope(dice),
        _ => narrowed(held, dice),
    };
    let b = next(&a, dice);
    let c = next(&b, dice);
    [a, b, c]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_scope_and_constraint_covers_itself(mut dice in dice()) {
        let (scope, constraint) = (scope(&mut dice), constraint(&mut dice));
        prop_assert_eq!(scope.covers(&scope), Ok(()));
        prop_assert!(constraint.covers(&constraint), "{}", constraint);
    }

    #[test]
    fn what_was_narrowed_is_covered(mut dice in dice()) {
        let held = scope(&mut dice);
        prop_assert_eq!(held.covers(&narrowed(&held, &mut dice)), Ok(()));
    }

    /// Of single constraints. Of all_of, any_of and not `covers` says no when unsure, and can be
    /// unsure of the whole way where it was sure of each step.
    #[test]
    fn covering_is_transitive(mut dice in dice()) {
        let pool: Vec<_> = (0..24).map(|_| simple(&mut dice)).collect();
        for (a, b) in pairs(&pool) {
            for c in pool.iter().filter(|c| a.covers(b) && b.covers(c)) {
                prop_assert!(a.covers(c), "{} covers {} covers {}", a, b, c);
            }
        }
    }

    #[test]
    fn a_covered_constraint_admits_nothing_that_its_parent_does_not(mut dice in dice()) {
        let pool: Vec<_> = (0..12).map(|_| constraint(&mut dice)).collect();
        let values: Vec<_> = (0..24).map(|_| Some(value(&mut dice))).chain([None]).collect();
        for (parent, child) in pairs(&pool).filter(|(parent, child)| parent.covers(child)) {
            for value in values.iter().map(Option::as_ref).filter(|v| child.admits(*v)) {
                prop_assert!(parent.admits(value), "{} over {}: {:?}", parent, child, value);
            }
        }
    }

    // SPEC 4.4.
    #[test]
    fn a_covered_scope_admits_no_call_that_its_parent_does_not(mut dice in dice()) {
        let [a, b, c] = three(&mut dice);
        for (parent, child) in [(&a, &b), (&b, &c), (&a, &c), (&b, &a), (&c, &a)] {
            if parent.covers(child).is_err() {
                continue;
            }
            for _ in 0..6 {
                let call = call_near(child, &mut dice);
                let here = standing(&mut dice);
                let sound = parent.admits(&call, here) || !child.admits(&call, here);
                prop_assert!(sound, "{:?} over {:?}: {:?}", parent, child, call);
            }
        }
    }

    #[test]
    fn a_scope_admits_exactly_the_calls_that_it_gives_no_reason_to_refuse(mut dice in dice()) {
        let scope = scope(&mut dice);
        let call = call_near(&scope, &mut dice);
        let here = standing(&mut dice);
        prop_assert_eq!(scope.admits(&call, here), scope.refusal(&call, here).is_none());
    }

    /// By the honest maker: each block's own scope and window lie inside its parent's.
    #[test]
    fn no_append_admits_more_than_its_parent(mut dice in dice()) {
        let chain = chain(&Fleet::new(), &mut dice).token;
        for pair in chain.signed_blocks().windows(2) {
            let (parent, child) = (pair[0].block(), pair[1].block());
            prop_assert!(child.not_after <= parent.not_after);
            prop_assert!(child.hops_max <= parent.hops_max);
            prop_assert!(child.offline_hops_max <= parent.offline_hops_max);
            let (held, asked) = (parent.scope.as_ref().unwrap(), child.scope.as_ref().unwrap());
            let call = call_near(asked, &mut dice);
            let inside = |scope: &Scope, block: &Block| scope.admits(&call, chain.chain_position(block));
            prop_assert!(inside(held, parent) || !inside(asked, child), "{:?}", call);
        }
    }

    /// By any holder with any block: what the whole chain admits, every prefix of it admits.
    // SPEC 4.8.
    #[test]
    fn no_sequence_of_blocks_admits_more_than_its_prefix(mut dice in dice()) {
        let fleet = Fleet::new();
        let mut token = fleet.root("planner", &["fs.@tool:// *=any"]);
        for _ in 0..1 + dice.below(3) {
            token = forced(&fleet, &token, &mut dice);
        }
        let aim = &token.signed_blocks()[dice.below(token.signed_blocks().len())];
        let call = call_near(aim.block().scope.as_ref().unwrap(), &mut dice);
        let edge = *dice.pick(&[token.window().not_before, aim.block().not_after]);
        let second = edge + i64::try_from(dice.below(3)).unwrap() - 1;
        if admits(&token, &call, second) {
            for at in 0..token.signed_blocks().len() {
                let prefix = token.prefix(at).unwrap();
                prop_assert!(admits(&prefix, &call, second));
                prop_assert!(prefix.expires() >= token.expires());
            }
        }
    }
}

fn standing(dice: &mut Dice) -> ChainPosition {
    ChainPosition { hops: u32::try_from(dice.below(4)).unwrap(), is_delegate: dice.one_in(2) }
}

fn pairs<T>(pool: &[T]) -> impl Iterator<Item = (&T, &T)> {
    pool.iter().flat_map(move |a| pool.iter().map(move |b| (a, b)))
}

/// One more block, with whatever scope, window and depth it likes.
fn forced(fleet: &Fleet, token: &VerifiedToken, dice: &mut Dice) -> VerifiedToken {
    let held = token.last().block();
    let later = i64::try_from(dice.below(40)).unwrap() - 20;
    let block = Block {
        role: sublet_core::biscuit::block::Role::Hop,
        scope: Some(scope(dice)),
        not_after: held.not_after + later,
        hops_max: u32::try_from(dice.below(5)).unwrap(),
        ..held.clone()
    };
    let forged = raw::forge(token, &block, key("planner").public_key(), &key("planner"));
    fleet.verify(&forged).unwrap()
}

fn admits(token: &VerifiedToken, call: &Call, second: i64) -> bool {
    token.signed_blocks().iter().all(|signed| {
        let block = signed.block();
        block.is_good_at(second)
            && token.depth() <= block.hops_max
            && block.scope.as_ref().unwrap().admits(call, token.chain_position(block))
    })
}
