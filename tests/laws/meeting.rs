//! What two scopes have in common, and what a chain comes to: never more than each allows, and no
//! less where it is said to be complete.

use proptest::prelude::*;
use sublet_core::capability::effective::effective;
use sublet_core::capability::{ChainPosition, Scope, Step};
use sublet_tests::Fleet;
use sublet_tests::universe::{Dice, call_near, chain, narrowed, scope};

use crate::{config, dice};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_clamped_is_covered_by_both_and_admits_what_both_do(mut dice in dice()) {
        let held = scope(&mut dice);
        let asked = if dice.one_in(2) { scope(&mut dice) } else { narrowed(&held, &mut dice) };
        let step = Step { hop: u32::try_from(dice.below(3)).unwrap(), to_another: dice.one_in(2) };
        let clamped = held.clamp(&asked, step);
        prop_assert_eq!(clamped.cut.is_empty(), held.covers_after(&asked, step).is_ok());
        let Some(scope) = clamped.scope else { return Ok(()) };
        prop_assert_eq!(held.covers_after(&scope, step), Ok(()));
        prop_assert_eq!(asked.covers(&scope), Ok(()));
        prop_assert_eq!(held.clamp(&scope, step).scope, Some(scope));
    }

    // SPEC 4.10.
    #[test]
    fn a_chain_comes_to_what_every_block_admits(mut dice in dice()) {
        let token = chain(&Fleet::new(), &mut dice).token;
        let found = effective(token.signed_blocks().iter().map(|signed| signed.block()));
        let may = Scope::new(found.may).ok();
        for _ in 0..8 {
            let at = dice.below(token.signed_blocks().len());
            let call = call_near(token.signed_blocks()[at].block().scope.as_ref().unwrap(), &mut dice);
            let by_blocks = token.signed_blocks().iter().all(|signed| {
                let block = signed.block();
                block.scope.as_ref().unwrap().admits(&call, token.chain_position(block))
            });
            let here = ChainPosition { hops: token.depth(), is_delegate: false };
            let by_effect = may.as_ref().is_some_and(|may| may.admits(&call, here));
            prop_assert!(by_blocks || !by_effect, "{:?} under {:?}", call, may);
            prop_assert!(by_effect || !by_blocks || found.incomplete, "{:?} under {:?}", call, may);
        }
    }

    /// Also of blocks that no honest maker would put together.
    #[test]
    fn any_blocks_come_to_what_each_admits(mut dice in dice()) {
        let fleet = Fleet::new();
        let block = |dice: &mut Dice| {
            let name = *dice.pick(&["planner", "reader"]);
            let scope = Some(scope(dice));
            sublet_core::biscuit::block::Block { scope, ..fleet.grant(name, &["a@t:x"]) }
        };
        let blocks: Vec<_> = (0..1 + dice.below(3)).map(|_| block(&mut dice)).collect();
        let found = effective(&blocks);
        let may = Scope::new(found.may).ok();
        let hops = u32::try_from(blocks.len() - 1).unwrap();
        for _ in 0..8 {
            let call = call_near(blocks[dice.below(blocks.len())].scope.as_ref().unwrap(), &mut dice);
            let by_blocks = blocks.iter().all(|block| {
                let is_delegate = block.agent != blocks.last().unwrap().agent;
                block.scope.as_ref().unwrap().admits(&call, ChainPosition { hops, is_delegate })
            });
            let here = ChainPosition { hops, is_delegate: false };
            let by_effect = may.as_ref().is_some_and(|may| may.admits(&call, here));
            prop_assert!(by_blocks || !by_effect, "{:?} under {:?}", call, may);
            prop_assert!(by_effect || !by_blocks || found.incomplete, "{:?} under {:?}", call, may);
        }
    }
}
