//! The effective authority of a chain: what all of its blocks allow together. SPEC 4.10.
//!
//! Owns: [`effective`], for people who read a token. Does not own: the decision on a call, which
//! checks every block by itself (`authorize`).

use crate::biscuit::block::Block;
use crate::capability::{Capability, ChainPosition, HopLimits, Meets, Scope, Step};

/// The effective authority of the last holder of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// What the holder may do itself.
    pub may: Vec<Capability>,
    /// What the holder may only delegate to another agent.
    pub may_hand_out: Vec<Capability>,
    /// Whether there is further authority that cannot be listed, or not as single capabilities.
    /// What is listed is allowed in any case.
    pub incomplete: bool,
}

/// Returns the intersection of the blocks of a chain, block 0 first.
pub fn effective<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Effective {
    let blocks: Vec<&Block> = blocks.into_iter().collect();
    let hops = u32::try_from(blocks.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let last = blocks.last().map(|block| &block.agent);
    let mut found: Option<Meets> = None;
    for block in &blocks {
        let position = ChainPosition { hops, is_delegate: last != Some(&block.agent) };
        let stated = stated(block.scope.as_ref(), position);
        found = Some(match found {
            None => Meets { capabilities: stated, incomplete: false },
            Some(before) => {
                let mut both = Meets::of(&before.capabilities, &stated, Step::default());
                both.incomplete |= before.incomplete;
                both
            }
        });
    }
    let Meets { capabilities, incomplete } = found.unwrap_or_default();
    let (may_hand_out, may) = capabilities.into_iter().partition(|capability| {
        let HopLimits { delegates_only, hops_max: _ } = capability.travel();
        delegates_only
    });
    Effective { may, may_hand_out, incomplete }
}

/// Returns the capabilities of one block that apply at this position of the chain. A capability
/// whose hop limit is passed is left out. `use:delegates` is kept only where the holder is no
/// delegate.
fn stated(scope: Option<&Scope>, position: ChainPosition) -> Vec<Capability> {
    let capabilities = scope.map(Scope::capabilities).unwrap_or_default().iter();
    let stated = capabilities.filter_map(|capability| {
        // Each member is named, so a further one cannot be forgotten here.
        let HopLimits { delegates_only, hops_max } = capability.travel();
        if hops_max.is_some_and(|max| position.hops > max) {
            return None;
        }
        let delegates_only = delegates_only && !position.is_delegate;
        capability.clone().travelling(HopLimits { delegates_only, hops_max }).ok()
    });
    stated.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::biscuit::block::tests::grant;

    fn block(agent: &str, scope: &[&str]) -> Block {
        let agent = format!("spiffe://acme.example/agent/{agent}").parse().unwrap();
        Block { agent, ..grant(scope) }
    }

    fn texts(found: &[Capability]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_block_takes_away() {
        let blocks = [
            block("planner", &["fs.@tool://f p=under:/data", "db.@tool://f n=range:..10"]),
            block("reader", &["fs.read@tool://f p=under:/", "db.q@tool://f n=range:5.."]),
        ];
        let found = effective(&blocks);
        assert_eq!(
            texts(&found.may),
            ["fs.read@tool://f p=under:/data", "db.q@tool://f n=range:5..10"]
        );
        assert!(found.may_hand_out.is_empty() && !found.incomplete);
    }

    #[test]
    fn what_is_for_delegates_is_for_them() {
        let planner = block("planner", &["a@t:x use:delegates", "b@t:x hops:0"]);
        let found = effective([&planner]);
        assert_eq!(texts(&found.may), ["b@t:x hops:0"]);
        assert_eq!(texts(&found.may_hand_out), ["a@t:x use:delegates"]);
        let reader = block("reader", &["a@t:x", "b@t:x"]);
        assert_eq!(texts(&effective([&planner, &reader]).may), ["a@t:x"]);
        let helper = block("planner", &["a@t:x"]);
        let found = effective([&planner, &helper]);
        assert_eq!(texts(&found.may_hand_out), ["a@t:x use:delegates"]);
        assert!(found.may.is_empty());
    }

    #[test]
    fn what_is_not_listed_is_owned_up_to() {
        let first = block("planner", &[r#"a@t:x p=any_of:[{"prefix":"a"},{"prefix":"b"}]"#]);
        let second = block("planner", &[r#"a@t:x p=not:{"glob":"a*"}"#]);
        let found = effective([&first, &second]);
        assert_eq!(found.may.len() + usize::from(found.incomplete), 1);
    }

    #[test]
    fn what_was_left_out_once_stays_owned_up_to() {
        // Nine by nine are more than are listed.
        let nine = |text: &str| -> Vec<String> { (0..9).map(|n| format!("{text}{n}")).collect() };
        let texts = |list: &[String]| {
            block("planner", &list.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let first = texts(&nine("a@t:x q=any p=prefix:"));
        let second = texts(&nine("a@t:x p=any q=prefix:"));
        let last = block("planner", &["a@t:x *=any"]);
        let two = effective([&first, &second]);
        let three = effective([&first, &second, &last]);
        assert_eq!(two.may.len(), crate::base::limits::CAPABILITIES_MAX);
        assert_eq!((two.incomplete, three.incomplete), (true, true), "{two:?} {three:?}");
    }
}
