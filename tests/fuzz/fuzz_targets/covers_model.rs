//! `covers` is sound: where a parent covers a child, whatever call the child admits, the parent
//! admits. Scopes are written in the grammar of SCOPE text, a child near its parent; calls are
//! drawn near the child.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::capability::{Capability, Scope, ChainPosition, Step};
use sublet_core::base::json::Json;
use sublet_tests::universe::{Dice, call_near, narrowed, scope as any_scope};

fuzz_target!(|data: &[u8]| {
    let _ = check(&mut Unstructured::new(data));
    let numbers = data.chunks(2).map(|pair| pair.iter().fold(0, |n, b| n << 8 | u16::from(*b)));
    every_kind(&mut Dice::new(numbers.collect()));
});

/// The same over the universe of the laws, which has every kind of constraint and how a capability
/// travels; dice that are used up show 0.
fn every_kind(dice: &mut Dice) {
    let held = any_scope(dice);
    let asked = if dice.one_in(4) { any_scope(dice) } else { narrowed(&held, dice) };
    let hop = u32::try_from(dice.below(4)).unwrap();
    let step = Step { hop, to_another: dice.one_in(2) };
    if held.covers_after(&asked, step).is_err() {
        return;
    }
    for _ in 0..4 {
        let call = call_near(&asked, dice);
        // In one hand both blocks are one agent's; after a hop to another, whoever holds the child
        // is another to the parent, unless it is handed back, which the parent's block refuses.
        let hops = hop + u32::try_from(dice.below(3)).unwrap();
        let child = ChainPosition { hops, is_delegate: dice.one_in(2) };
        let parent = ChainPosition { is_delegate: child.is_delegate || step.to_another, ..child };
        let sound = held.admits(&call, parent) || !asked.admits(&call, child);
        assert!(sound, "{held:?} over {asked:?}: {call:?} {parent:?} {child:?}");
    }
}

fn check(u: &mut Unstructured) -> Result<()> {
    let parent = many(u, Draft::draw)?;
    let child = many(u, |u| near(u.choose(&parent)?.clone(), u))?;
    let (Some(held), Some(asked)) = (scope(&parent), scope(&child)) else { return Ok(()) };
    if held.covers(&asked).is_err() {
        return Ok(());
    }
    let here = ChainPosition::default();
    for _ in 0..u.int_in_range(1..=4)? {
        let call = u.choose(&child)?.call(u)?;
        let sound = held.admits(&call, here) || !asked.admits(&call, here);
        assert!(sound, "{parent:?} over {child:?}: {call:?}");
    }
    Ok(())
}

fn many<T>(u: &mut Unstructured, draw: impl Fn(&mut Unstructured) -> Result<T>) -> Result<Vec<T>> {
    (0..u.int_in_range(1..=2)?).map(|_| draw(u)).collect()
}

/// The scope of these texts; `None` if one of them is refused.
fn scope(drafts: &[Draft]) -> Option<Scope> {
    let read = |draft: &Draft| draft.text().parse::<Capability>().ok();
    Scope::new(drafts.iter().map(read).collect::<Option<_>>()?).ok()
}

/// A capability as it will be written.
#[derive(Clone, Debug)]
struct Draft {
    action: String,
    audience: String,
    args: BTreeMap<String, Constraint>,
    open: bool,
}

#[derive(Clone, Debug)]
enum Constraint {
    Any,
    Absent,
    Exactly(Json),
    OneOf(Vec<Json>),
    Prefix(String),
    Under(String),
    Range(Option<i64>, Option<i64>),
}

const ACTIONS: [&str; 6] = ["fs.read", "fs.", "fs.dir.", "fs.dir.list", "f", "db.query"];
const AUDIENCES: [&str; 6] =
    ["tool://files", "tool://files/", "tool://files/a", "tool://", "mcp://db", "t:"];
/// As pointers: nested and flat ones that look alike, one that must be quoted, an empty one.
const NAMES: [&str; 8] = ["a", "path", "n", "n/x", "n~1x", "*", "a=b \"", ""];
const TEXTS: [&str; 15] = [
    "x", "q3", "/data", "/data/q3", "/database", "/data/../x", "/data/..;/x", "/data/x.", "/ſ", "/", "",
    "5", "true", "é", "a,b",
];
const NUMBERS: [i64; 9] = [0, 1, 2, 10, -1, 1_500_000, 5_000_001, (1 << 53) - 1, i64::MAX];

/// One of the list more often than not, else any text.
fn text(u: &mut Unstructured, list: &[&str]) -> Result<String> {
    match u.ratio(1, 8)? {
        true => Ok(u.arbitrary::<&str>()?.to_owned()),
        false => Ok((*u.choose(list)?).to_owned()),
    }
}

fn number(u: &mut Unstructured) -> Result<i64> {
    match u.int_in_range(0..=3)? {
        0 => u.int_in_range(-20..=20),
        1 => u.arbitrary(),
        _ => Ok(*u.choose(&NUMBERS)?),
    }
}

/// A single value; also what a binary message can hold and JSON cannot.
fn scalar(u: &mut Unstructured) -> Result<Json> {
    Ok(match u.int_in_range(0..=6)? {
        0 => Json::Null,
        1 => Json::Bool(u.arbitrary()?),
        2 | 3 => Json::Int(number(u)?),
        4 => Json::Dec(number(u)?),
        _ => Json::Str(text(u, &TEXTS)?),
    })
}

fn value(u: &mut Unstructured) -> Result<Json> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Json::List(Vec::new()),
        1 => Json::List(vec![scalar(u)?]),
        2 => Json::Object(Vec::new()),
        _ => scalar(u)?,
    })
}

fn written(value: &Json) -> String {
    String::from_utf8(value.canonical()).unwrap()
}

fn quoted(text: &str) -> String {
    written(&Json::Str(text.to_owned()))
}

impl Constraint {
    fn draw(u: &mut Unstructured) -> Result<Self> {
        Ok(match u.int_in_range(0..=6)? {
            0 => Constraint::Any,
            1 => Constraint::Absent,
            2 => Constraint::Exactly(scalar(u)?),
            3 => Constraint::OneOf(one_of(u)?),
            4 => Constraint::Prefix(text(u, &TEXTS)?),
            5 => Constraint::Under(text(u, &TEXTS)?),
            _ => Constraint::range(u)?,
        })
    }

    fn range(u: &mut Unstructured) -> Result<Self> {
        let bound = |u: &mut Unstructured| u.ratio(3, 4)?.then(|| number(u)).transpose();
        Ok(Constraint::Range(bound(u)?, bound(u)?))
    }

    fn text(&self) -> String {
        let bound = |bound: &Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        match self {
            Constraint::Any => "any".into(),
            Constraint::Absent => "absent".into(),
            Constraint::Exactly(value) => format!("exactly:{}", written(value)),
            Constraint::OneOf(values) => format!("one_of:{}", written(&Json::List(values.clone()))),
            Constraint::Prefix(text) => format!("prefix:{}", quoted(text)),
            Constraint::Under(text) => format!("under:{}", quoted(text)),
            Constraint::Range(min, max) => format!("range:{}..{}", bound(min), bound(max)),
        }
    }

    /// A constraint that is likely to be covered by this one.
    fn less(&self, u: &mut Unstructured) -> Result<Self> {
        Ok(match self {
            _ if u.ratio(1, 4)? => Constraint::draw(u)?,
            Constraint::OneOf(values) => Constraint::Exactly(u.choose(values)?.clone()),
            Constraint::Prefix(_) | Constraint::Under(_) | Constraint::Range(..)
                if u.arbitrary()? =>
            {
                Constraint::Exactly(self.value(u)?.unwrap_or(Json::Null))
            }
            Constraint::Prefix(start) => Constraint::Prefix(longer(start, "", u)?),
            Constraint::Under(base) => Constraint::Under(longer(base, "/", u)?),
            Constraint::Range(min, max) => {
                Constraint::Range(min.or(Some(number(u)?)), max.or(Some(number(u)?)))
            }
            same => same.clone(),
        })
    }

    /// A value, or absence, that is likely to be admitted.
    fn value(&self, u: &mut Unstructured) -> Result<Option<Json>> {
        Ok(match self {
            _ if u.ratio(1, 8)? => Some(value(u)?),
            Constraint::Any => u.arbitrary::<bool>()?.then(|| value(u)).transpose()?,
            Constraint::Absent => None,
            Constraint::Exactly(value) => Some(value.clone()),
            Constraint::OneOf(values) => Some(u.choose(values)?.clone()),
            Constraint::Prefix(start) => Some(Json::Str(longer(start, "", u)?)),
            Constraint::Under(base) => Some(Json::Str(longer(base, "/", u)?)),
            Constraint::Range(min, max) => {
                let near = min.or(*max).unwrap_or_default();
                Some(Json::Int(near.saturating_add(u.int_in_range(-2..=2)?)))
            }
        })
    }
}

/// Values of one type.
fn one_of(u: &mut Unstructured) -> Result<Vec<Json>> {
    let strings = u.arbitrary()?;
    let one = |u: &mut Unstructured| match strings {
        true => text(u, &TEXTS).map(Json::Str),
        false => number(u).map(Json::Int),
    };
    (0..u.int_in_range(1..=3)?).map(|_| one(u)).collect()
}

fn longer(text: &str, separator: &str, u: &mut Unstructured) -> Result<String> {
    let tail = self::text(u, &["", "x", "q3", ".."])?;
    Ok(if tail.is_empty() { text.to_owned() } else { format!("{text}{separator}{tail}") })
}

impl Draft {
    fn draw(u: &mut Unstructured) -> Result<Self> {
        let arg = |u: &mut Unstructured| Ok((text(u, &NAMES)?, Constraint::draw(u)?));
        Ok(Draft {
            action: text(u, &ACTIONS)?,
            audience: text(u, &AUDIENCES)?,
            args: (0..u.int_in_range(0..=3)?).map(|_| arg(u)).collect::<Result<_>>()?,
            open: u.arbitrary()?,
        })
    }

    fn text(&self) -> String {
        let arg = |(name, constraint): (&String, &Constraint)| {
            format!(" {}={}", quoted(name), constraint.text())
        };
        let args: String = self.args.iter().map(arg).collect();
        let others = if self.open { " *=any" } else { "" };
        format!("{}@{}{args}{others}", self.action, self.audience)
    }

    fn call(&self, u: &mut Unstructured) -> Result<Call> {
        let mut leaves = BTreeMap::new();
        for (name, constraint) in &self.args {
            leaves.extend(constraint.value(u)?.map(|value| (name.clone(), value)));
        }
        if u.ratio(if self.open { 3 } else { 1 }, 4)? {
            leaves.insert(text(u, &NAMES)?, value(u)?);
        }
        Ok(Call {
            audience: longer(&self.audience, "", u)?,
            action: longer(&self.action, "", u)?,
            arguments: arguments(leaves),
        })
    }
}

/// The same or another, part by part.
fn near(mut draft: Draft, u: &mut Unstructured) -> Result<Draft> {
    draft.action = longer(&draft.action, "", u)?;
    draft.audience = longer(&draft.audience, "", u)?;
    for constraint in draft.args.values_mut() {
        *constraint = constraint.less(u)?;
    }
    if u.ratio(1, 3)? {
        draft.args.insert(text(u, &NAMES)?, Constraint::draw(u)?);
    }
    if u.ratio(1, 4)? {
        draft.args.pop_first();
    }
    draft.open = draft.open && u.arbitrary()?;
    Ok(draft)
}

/// The arguments with these leaves, nested one level where a pointer says so.
fn arguments(leaves: BTreeMap<String, Json>) -> Arguments {
    let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
    let mut members = BTreeMap::new();
    for (pointer, value) in leaves {
        let (outer, value) = match pointer.split_once('/') {
            None => (unescape(&pointer), value),
            Some((outer, inner)) => (unescape(outer), Json::Object(vec![(unescape(inner), value)])),
        };
        members.insert(outer, value);
    }
    let fields = Json::object(members.into_iter().collect()).unwrap();
    Arguments::from_message(&fields.canonical(), &fields).unwrap()
}
