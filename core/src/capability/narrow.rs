//! Whether a parent's scope covers a child's, and if not, why. SPEC 4.4.
//!
//! One capability of the parent must cover each capability of the child. A child that only several
//! together would cover is refused. This is sound, and simple to explain.

use std::collections::BTreeSet;

use super::hop_limits::{HOP_NUMBER, Step};
use super::one::Capability;
use super::scope::Scope;

/// In what a child exceeds its parent: what was asked for, and what is held.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Excess {
    /// The child's capability, as SCOPE text.
    pub capability: String,
    /// The part that exceeds: `audience`, `action`, `argument "path"`, `other arguments`, `use`,
    /// `hops`, or `hop number` when the capability may not be delegated further.
    pub part: String,
    /// What the child asks for.
    pub asked: String,
    /// What the nearest capability of the parent holds: the most that would be accepted.
    pub held: String,
}

impl Excess {
    /// Returns what to ask for instead.
    pub fn advice(&self) -> String {
        if self.part == HOP_NUMBER {
            "it may not be delegated further".to_owned()
        } else {
            format!("ask for {} or less", self.held)
        }
    }
}

impl Scope {
    /// Checks that this scope covers `child`, held by the same holder. The error is the first
    /// excess over the nearest capability of this scope.
    ///
    /// ```
    /// use sublet_core::capability::Scope;
    ///
    /// let parent = Scope::from_texts(&["fs.@tool://files path=under:/data"])?;
    /// let child = Scope::from_texts(&["fs.read@tool://files path=under:/data/q3"])?;
    /// assert!(parent.covers(&child).is_ok());
    ///
    /// let excess = child.covers(&parent).unwrap_err();
    /// assert_eq!((excess.part.as_str(), excess.held.as_str()), ("action", "fs.read"));
    /// assert_eq!(excess.advice(), "ask for fs.read or less");
    /// # Ok::<(), sublet_core::capability::BadScope>(())
    /// ```
    pub fn covers(&self, child: &Scope) -> Result<(), Excess> {
        self.covers_after(child, Step::default())
    }

    /// Checks that this scope covers `child`, held after this hop.
    pub fn covers_after(&self, child: &Scope, step: Step) -> Result<(), Excess> {
        child.capabilities().iter().try_for_each(|asked| self.covers_one(asked, step))
    }

    fn covers_one(&self, asked: &Capability, step: Step) -> Result<(), Excess> {
        let excesses = self.capabilities().iter().map(|held| excesses(held, asked, step));
        let nearest = excesses.min_by_key(|found| (found.first().map_or(0, |e| e.0), found.len()));
        match nearest.and_then(|found| found.into_iter().next()) {
            Some((_, exceeds)) => Err(exceeds),
            None => Ok(()),
        }
    }
}

/// Returns everything in which `asked` exceeds `held`, the gravest first: (gravity, excess). It is
/// empty when `asked` is covered.
fn excesses(held: &Capability, asked: &Capability, step: Step) -> Vec<(u8, Excess)> {
    // Each member of both is named, so a further one cannot be forgotten here.
    let Capability { audience, action, args, open, travel } = held;
    let Capability {
        audience: asked_audience,
        action: asked_action,
        args: asked_args,
        open: asked_open,
        travel: asked_travel,
    } = asked;
    let mut found = Vec::new();
    let mut add = |gravity: u8, part: &str, wants: &str, has: &str| {
        let capability = asked.to_string();
        found.push((
            gravity,
            Excess { capability, part: part.into(), asked: wants.into(), held: has.into() },
        ));
    };
    if !audience.covers(asked_audience) {
        add(3, "audience", asked_audience.as_str(), audience.as_str());
    }
    if !action.covers(asked_action) {
        add(2, "action", asked_action.as_str(), action.as_str());
    }
    let names: BTreeSet<&String> = args.keys().chain(asked_args.keys()).collect();
    for name in names {
        let (has, wants) = (held.constraint(name), asked.constraint(name));
        if !has.covers(&wants) {
            add(1, &format!("argument {name:?}"), &wants.to_string(), &has.to_string());
        }
    }
    if *asked_open && !open {
        add(1, "other arguments", "any", "absent");
    }
    if let Some((part, wants, has)) = travel.excess(asked_travel, step) {
        add(1, part, &wants, &has);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::from_texts(&[text]).unwrap()
    }

    #[test]
    fn each_kind_narrows() {
        let parent = scope(
            "fs.@tool://f/ p=under:/data n=range:1..10 s=prefix:q d=one_of:a,b,c any=any x=exactly:1",
        );
        let child =
            "fs.read@tool://f/a p=under:/data/q3 n=range:2..5 s=prefix:q3 d=one_of:a,b x=exactly:1";
        assert_eq!(parent.covers(&scope(child)), Ok(()));
        let wider = [
            ("fs.read@tool://g p=under:/data", "audience", "tool://f/"),
            ("db.read@tool://f/a p=under:/data", "action", "fs."),
        ];
        for (text, part, held) in wider {
            let excess = parent.covers(&scope(text)).unwrap_err();
            assert_eq!((excess.part.as_str(), excess.held.as_str()), (part, held));
        }
        let replaced = [
            ("p=under:/data/q3", "p=under:/etc", "under:/data"),
            ("p=under:/data/q3", "p=under:/database", "under:/data"),
            ("p=under:/data/q3", "p=prefix:/data/", "under:/data"),
            ("n=range:2..5", "n=range:2..11", "range:1..10"),
            ("n=range:2..5", "n=range:2..", "range:1..10"),
            ("n=range:2..5", "n=exactly:\"5\"", "range:1..10"),
            ("s=prefix:q3", "s=any", "prefix:q"),
            ("s=prefix:q3 ", "", "prefix:q"),
            ("d=one_of:a,b", "d=one_of:a,z", "one_of:a,b,c"),
            ("x=exactly:1", "x=exactly:2", "exactly:1"),
            ("x=exactly:1", "x=exactly:1 y=exactly:1", "absent"),
        ];
        for (from, to, held) in replaced {
            let excess = parent.covers(&scope(&child.replace(from, to))).unwrap_err();
            assert_eq!(excess.held, held, "{to}");
        }
    }

    #[test]
    fn prefix_covers_the_paths_below_it() {
        assert_eq!(scope("a@t:x p=prefix:/da").covers(&scope("a@t:x p=under:/data")), Ok(()));
        assert!(scope("a@t:x p=prefix:/data/").covers(&scope("a@t:x p=under:/data")).is_err());
    }
}
