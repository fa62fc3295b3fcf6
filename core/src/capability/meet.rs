//! The intersection of two capabilities, as one capability. SPEC 4.10.
//!
//! Owns: `meet` of constraints and capabilities, [`Meets`], [`Scope::clamp`]. Does not own: whether
//! a call is permitted; no decision uses these results, they only inform people.
//!
//! Invariants: both inputs cover the result, by `covers`; what cannot be written as one capability
//! is left out, never widened.

use std::collections::BTreeMap;

use super::constraint::{AllOf, Constraint};
use super::hop_limits::{HopLimits, Step};
use super::kind::Member as _;
use super::kinds::{Absent, Exactly, OneOf};
use super::one::Capability;
use super::pattern::{Action, Audience};
use super::scalar::Scalar;
use super::scope::Scope;
use crate::base::json::Json;
use crate::base::limits;

/// A child's scope, cut to what its parent covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clamped {
    /// What is left; `None` when nothing is.
    pub scope: Option<Scope>,
    /// For each capability that was cut: what was asked for, and what is left of it, as SCOPE text.
    pub cut: Vec<(String, Vec<String>)>,
}

/// The intersection of two values.
pub(super) enum Meet<T> {
    /// The intersection.
    Of(T),
    /// The intersection is empty.
    Nothing,
    /// The intersection may not be empty, but cannot be written as one value.
    Unsaid,
}

impl<T> Meet<T> {
    fn said(value: Option<T>) -> Self {
        value.map_or(Meet::Unsaid, Meet::Of)
    }
}

impl Constraint {
    /// Returns a constraint that allows what both allow.
    fn meet(&self, other: &Constraint) -> Meet<Constraint> {
        if self.covers(other) {
            return Meet::Of(other.clone());
        }
        if other.covers(self) {
            return Meet::Of(self.clone());
        }
        if let Some(values) = other.values() {
            return of_values(values, self);
        }
        if let Some(values) = self.values() {
            return of_values(values, other);
        }
        if self.excludes(other) {
            return Meet::Nothing;
        }
        Meet::said(match (self, other) {
            (Constraint::Range(a), Constraint::Range(b)) => a.meet(b).map(Constraint::Range),
            (Constraint::Decimal(a), Constraint::Decimal(b)) => a.meet(b).map(Constraint::Decimal),
            _ => {
                let parts = [conjuncts(self), conjuncts(other)].concat();
                AllOf::new(parts).ok().map(Constraint::AllOf)
            }
        })
    }
}

fn conjuncts(constraint: &Constraint) -> &[Constraint] {
    match constraint {
        Constraint::AllOf(all) => all.parts(),
        one => std::slice::from_ref(one),
    }
}

/// Returns the values that the constraint admits.
fn of_values(values: Vec<Option<Json>>, by: &Constraint) -> Meet<Constraint> {
    let kept: Vec<_> = values.into_iter().filter(|value| by.admits(value.as_ref())).collect();
    Meet::said(match kept.as_slice() {
        [] => return Meet::Nothing,
        [None] => Some(Constraint::Absent(Absent)),
        [Some(value)] => Scalar::from_json(value).ok().map(|one| Constraint::Exactly(Exactly(one))),
        several => {
            let scalars = several.iter().flatten().map(Scalar::from_json);
            let scalars: Option<Vec<_>> = scalars.collect::<Result<_, _>>().ok();
            scalars.and_then(|scalars| OneOf::new(scalars).ok()).map(Constraint::OneOf)
        }
    })
}

/// Returns the narrower of two patterns; `None` when neither covers the other, as then they have
/// nothing in common.
fn narrower<'a, P>(a: &'a P, b: &'a P, covers: impl Fn(&P, &P) -> bool) -> Option<&'a P> {
    if covers(a, b) { Some(b) } else { covers(b, a).then_some(a) }
}

impl Capability {
    /// Returns a capability that allows what both this one and `asked`, held after this step,
    /// allow.
    fn meet(&self, asked: &Capability, step: Step) -> Meet<Capability> {
        // Each member of both is named, so a further one cannot be forgotten here.
        let Capability { audience, action, args, open, travel } = self;
        let Capability {
            audience: asked_audience,
            action: asked_action,
            args: asked_args,
            open: asked_open,
            travel: asked_travel,
        } = asked;
        let audience = narrower(audience, asked_audience, Audience::covers);
        let action = narrower(action, asked_action, Action::covers);
        let (Some(audience), Some(action), Some(travel)) =
            (audience, action, travel.meet(asked_travel, step))
        else {
            return Meet::Nothing;
        };
        let names = args.keys().chain(asked_args.keys());
        let mut args = BTreeMap::new();
        for name in names {
            match self.constraint(name).meet(&asked.constraint(name)) {
                Meet::Of(constraint) => drop(args.insert(name.clone(), constraint)),
                Meet::Nothing => return Meet::Nothing,
                Meet::Unsaid => return Meet::Unsaid,
            }
        }
        let open = *open && *asked_open;
        let met = Capability::new(audience.clone(), action.clone(), args, open)
            .and_then(|capability| capability.travelling(travel));
        // The result must pass the check for a child.
        let within = |held: &Capability, met: &Capability, step| {
            Scope::one(held).covers_after(&Scope::one(met), step).is_ok()
        };
        let met =
            met.ok().filter(|met| within(self, met, step) && within(asked, met, Step::default()));
        Meet::said(met)
    }
}

impl HopLimits {
    fn meet(&self, asked: &HopLimits, step: Step) -> Option<HopLimits> {
        let HopLimits { delegates_only, hops_max } = *self;
        if hops_max.is_some_and(|max| step.hop > max) {
            return None;
        }
        let handed_on = delegates_only && !step.to_another;
        Some(HopLimits {
            delegates_only: asked.delegates_only || handed_on,
            hops_max: hops_max.into_iter().chain(asked.hops_max).min(),
        })
    }
}

impl Scope {
    /// Returns the part of `asked` that this scope covers after this step, and what was cut.
    pub fn clamp(&self, asked: &Scope, step: Step) -> Clamped {
        let (mut kept, mut cut) = (Vec::new(), Vec::new());
        for capability in asked.capabilities() {
            let room = limits::CAPABILITIES_MAX.saturating_sub(kept.len());
            if room > 0 && self.covers_after(&Scope::one(capability), step).is_ok() {
                kept.push(capability.clone());
                continue;
            }
            let mut met =
                Meets::of(self.capabilities(), std::slice::from_ref(capability), step).capabilities;
            met.truncate(room); // What finds no room is cut, and said so.
            cut.push((capability.to_string(), met.iter().map(ToString::to_string).collect()));
            kept.extend(met);
        }
        Clamped { scope: Scope::new(kept).ok(), cut }
    }
}

/// The intersection of two lists of capabilities.
#[derive(Default)]
pub(crate) struct Meets {
    /// The intersections of each with each, without those that another one covers.
    pub(crate) capabilities: Vec<Capability>,
    /// Whether there may be more.
    pub(crate) incomplete: bool,
}

impl Meets {
    /// Returns the intersection of what is held and what is asked for, which will be held after
    /// this step.
    pub(crate) fn of(held: &[Capability], asked: &[Capability], step: Step) -> Self {
        let pairs = held.iter().flat_map(|held| asked.iter().map(move |asked| (held, asked)));
        let mut meets = Meets::default();
        for (held, asked) in pairs {
            match held.meet(asked, step) {
                Meet::Of(found) => meets.add(found),
                Meet::Nothing => {}
                Meet::Unsaid => meets.incomplete = true,
            }
        }
        meets
    }

    fn add(&mut self, found: Capability) {
        let covers =
            |by: &Capability, child: &Capability| Scope::one(by).covers(&Scope::one(child)).is_ok();
        if self.capabilities.iter().any(|known| covers(known, &found)) {
            return;
        }
        self.capabilities.retain(|known| !covers(&found, known));
        if self.capabilities.len() < limits::CAPABILITIES_MAX {
            self.capabilities.push(found);
        } else {
            self.incomplete = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clamped(held: &str, asked: &str) -> String {
        let (held, asked) =
            (Scope::from_texts(&[held]).unwrap(), Scope::from_texts(&[asked]).unwrap());
        let kept = held.clamp(&asked, Step::default()).scope;
        kept.map(|scope| scope.capabilities()[0].to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_too_wide_is_cut_to_what_is_held() {
        let cases = [
            (
                "fs.read@tool://f p=under:/data",
                "fs.@tool:// p=under:/",
                "fs.read@tool://f p=under:/data",
            ),
            ("a@t:x n=range:1..10", "a@t:x n=range:5..", "a@t:x n=range:5..10"),
            ("a@t:x n=decimal:..2.5", "a@t:x n=decimal:1..3", "a@t:x n=decimal:1..2.5"),
            ("a@t:x d=one_of:p,q,r", "a@t:x d=one_of:q,r,z", "a@t:x d=one_of:q,r"),
            ("a@t:x d=one_of:p,q", "a@t:x d=one_of:q,z", "a@t:x d=exactly:q"),
            ("a@t:x d=prefix:q3", "a@t:x d=one_of:q3a,z", "a@t:x d=exactly:q3a"),
            (
                "a@t:x d=glob:*.csv",
                "a@t:x d=prefix:q3",
                r#"a@t:x d=all_of:[{"glob":"*.csv"},{"prefix":"q3"}]"#,
            ),
            ("a@t:x d=any", "a@t:x d=any e=any", "a@t:x d=any"),
            ("a@t:x d=any", "a@t:x *=any", "a@t:x d=any"),
            ("a@t:x d=exactly:1", "a@t:x d=exactly:2", ""),
            ("a@t:x d=exactly:1", "a@t:x", ""),
            ("a@t:x n=range:1..2", "a@t:x n=range:3..4", ""),
            ("a@t:x", "b@t:x", ""),
            ("a@t:x hops:2 use:delegates", "a@t:x hops:3", "a@t:x use:delegates hops:2"),
        ];
        for (held, asked, left) in cases {
            assert_eq!(clamped(held, asked), left, "{held} over {asked}");
        }
    }

    #[test]
    fn what_was_cut_is_said() {
        let held = Scope::from_texts(&["fs.@tool://f p=under:/data"]).unwrap();
        let asked = Scope::from_texts(&[
            "fs.read@tool://f p=under:/data/q3",
            "fs.read@tool://f p=under:/",
            "db.q@tool://f",
        ]);
        let clamped = held.clamp(&asked.unwrap(), Step::default());
        assert_eq!(clamped.scope.unwrap().capabilities().len(), 2);
        let cut: Vec<_> =
            clamped.cut.iter().map(|(asked, left)| (asked.as_str(), left.len())).collect();
        assert_eq!(cut, [("fs.read@tool://f p=under:/", 1), ("db.q@tool://f", 0)]);
    }

    #[test]
    fn what_finds_no_room_is_said_to_be_cut() {
        let held: Vec<String> = (0..64).map(|n| format!("a.x{n}@t:x")).collect();
        let held = Scope::from_texts(&held).unwrap();
        let asked = Scope::from_texts(&["a.@t:x", "a.x1@t:x"]).unwrap();
        let clamped = held.clamp(&asked, Step::default());
        assert_eq!(clamped.scope.unwrap().capabilities().len(), 64);
        let cut: Vec<_> = clamped.cut.iter().map(|(_, left)| left.len()).collect();
        assert_eq!(cut, [64, 0]);
    }

    #[test]
    fn what_travels_no_further_is_cut() {
        let held = Scope::from_texts(&["a@t:x hops:1"]).unwrap();
        let step = |hop| Step { hop, to_another: true };
        assert!(held.clamp(&held, step(1)).cut.is_empty());
        assert_eq!(held.clamp(&held, step(2)).scope, None);
    }
}
