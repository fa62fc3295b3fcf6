//! How far a capability may be delegated, and which holders may use it. SPEC 4.6.
//!
//! In SCOPE text: `hops:2` (counted from the root, as in a block; the number of the hop that states
//! it forbids further hops) and `use:delegates` (the holder may delegate the capability and may not
//! use it).

use super::bad_scope::BadScope;
use super::facts::{HOPS, delegate_of, is_delegate_of};
use crate::base::limits;
use crate::biscuit::datalog::{Predicate, Term};

/// The part that is exceeded when a capability may not be delegated further at all.
pub(super) const HOP_NUMBER: &str = "hop number";

/// How far a capability may be delegated, and which holders may use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopLimits {
    /// Whether the agent of the block that states it, and its helpers, may not use it.
    pub delegates_only: bool,
    /// The last hop that may hold it, counted from the root; `None` adds no limit to the block's.
    pub hops_max: Option<u32>,
}

/// The position of the holder that uses a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainPosition {
    /// How many hops follow block 0.
    pub hops: u32,
    /// Whether the holder is another enrolled agent than that of the block that states the
    /// capability, or a helper of another. Such a hop must be recorded, or the whole chain is
    /// refused.
    pub is_delegate: bool,
}

/// The hop that gives a child its scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The number of the hop, 1 for the first after block 0.
    pub hop: u32,
    /// Whether the hop goes to another enrolled agent.
    pub to_another: bool,
}

impl HopLimits {
    pub(super) fn check(&self) -> Result<(), BadScope> {
        let HopLimits { delegates_only: _, hops_max } = *self;
        match hops_max {
            Some(hops) if hops > limits::HOPS_MAX => {
                Err(BadScope(format!("hops:{hops}, at most {} are allowed", limits::HOPS_MAX)))
            }
            _ => Ok(()),
        }
    }

    /// Returns why the capability may not be used at this position; `None` when it may.
    pub(super) fn refusal(&self, position: ChainPosition) -> Option<String> {
        let HopLimits { delegates_only, hops_max } = *self;
        if let Some(max) = hops_max.filter(|max| position.hops > *max) {
            let hops = position.hops;
            return Some(format!(
                "the capability may be delegated for {max} hops, this chain has {hops}"
            ));
        }
        (delegates_only && !position.is_delegate).then(|| {
            "the capability is for delegates only: its holder may delegate it and not use it"
                .to_owned()
        })
    }

    /// Returns in what `asked` exceeds these limits: (part, asked, held); `None` when it does not.
    pub(super) fn excess(
        &self,
        asked: &HopLimits,
        step: Step,
    ) -> Option<(&'static str, String, String)> {
        let HopLimits { delegates_only, hops_max } = *self;
        let shown = |hops: Option<u32>| hops.map_or("any".to_owned(), |hops| hops.to_string());
        if let Some(held) = hops_max {
            if step.hop > held {
                return Some((HOP_NUMBER, step.hop.to_string(), format!("hops:{held}")));
            }
            if asked.hops_max.is_none_or(|asked| asked > held) {
                return Some(("hops", shown(asked.hops_max), shown(hops_max)));
            }
        }
        (delegates_only && !asked.delegates_only && !step.to_another)
            .then(|| ("use", "holder".to_owned(), "delegates".to_owned()))
    }

    /// Returns the predicates of these limits in a block of this agent (directory, name).
    pub(super) fn render<'a>(
        &self,
        agent: (&'a str, &'a str),
    ) -> impl Iterator<Item = Predicate<'a>> {
        let HopLimits { delegates_only, hops_max } = *self;
        let hops = hops_max.map(|max| Predicate::new(HOPS, [Term::Integer(max.into())]));
        let used = delegates_only.then(|| delegate_of(agent));
        hops.into_iter().chain(used)
    }

    /// Reads the limits at the front of a body, and removes them.
    pub(super) fn lift(body: &mut &[Predicate<'_>]) -> Option<Self> {
        let mut travel = HopLimits::default();
        while let Some((first, rest)) = body.split_first() {
            match (first.name.as_ref(), first.terms.as_slice()) {
                (HOPS, [Term::Integer(max)]) => travel.hops_max = Some(u32::try_from(*max).ok()?),
                _ if is_delegate_of(first) => travel.delegates_only = true,
                _ => break,
            }
            *body = rest;
        }
        travel.check().ok()?;
        Some(travel)
    }
}

/// Returns whether a name in SCOPE text begins like one of these words.
pub(super) fn begins(name: &str) -> bool {
    matches!(name.split_once(':'), Some(("use" | "hops", _)))
}

/// Reads one word of SCOPE text. Returns whether it was one of these.
pub(super) fn read_word(word: &str, travel: &mut HopLimits) -> Result<bool, BadScope> {
    let once = |again: bool| {
        if again { Err(BadScope(format!("{word:?} is said twice"))) } else { Ok(true) }
    };
    match word.split_once(':') {
        Some(("use", value)) => {
            let again = std::mem::replace(&mut travel.delegates_only, read_use(value)?);
            once(again)
        }
        Some(("hops", value)) => once(travel.hops_max.replace(read_hops(value)?).is_some()),
        _ => Ok(false),
    }
}

/// Reads the value of `use`. Its only value is `delegates`; without the word there is no
/// restriction.
pub(super) fn read_use(value: &str) -> Result<bool, BadScope> {
    match value {
        "delegates" => Ok(true),
        _ => Err(BadScope(format!("use:{value} is not known, only use:delegates"))),
    }
}

pub(super) fn read_hops(value: &str) -> Result<u32, BadScope> {
    let plain =
        value.bytes().all(|b| b.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    let hops = value.parse().ok().filter(|_| plain);
    hops.ok_or_else(|| BadScope(format!("hops:{value} is no number of hops, as in hops:2")))
}

impl std::fmt::Display for HopLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HopLimits { delegates_only, hops_max } = *self;
        if delegates_only {
            write!(f, " use:delegates")?;
        }
        hops_max.map_or(Ok(()), |hops| write!(f, " hops:{hops}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travel(delegates_only: bool, hops_max: Option<u32>) -> HopLimits {
        HopLimits { delegates_only, hops_max }
    }

    #[test]
    fn only_another_agent_uses_what_is_for_delegates() {
        let held = travel(true, None);
        assert!(held.refusal(ChainPosition { hops: 3, is_delegate: false }).is_some());
        assert_eq!(held.refusal(ChainPosition { hops: 3, is_delegate: true }), None);
        let step = |to_another| Step { hop: 1, to_another };
        assert_eq!(held.excess(&travel(false, None), step(true)), None);
        let (part, ..) = held.excess(&travel(false, None), step(false)).unwrap();
        assert_eq!(part, "use");
        assert_eq!(held.excess(&held, step(false)), None);
    }

    #[test]
    fn hops_are_counted_from_the_root_and_end_at_the_last() {
        let held = travel(false, Some(1));
        let at = |hops| ChainPosition { hops, is_delegate: false };
        assert_eq!((held.refusal(at(1)), held.refusal(at(2)).is_some()), (None, true));
        let step = |hop| Step { hop, to_another: true };
        assert_eq!(held.excess(&held, step(1)), None);
        assert_eq!(held.excess(&travel(false, None), step(1)).unwrap().0, "hops");
        assert_eq!(held.excess(&travel(false, Some(2)), step(1)).unwrap().0, "hops");
        assert_eq!(held.excess(&held, step(2)).unwrap().0, HOP_NUMBER);
    }
}
