//! A small universe of scopes and calls, drawn so that calls are often admitted.
//!
//! Everything follows from [`Dice`], a list of numbers that proptest draws and shrinks.

use std::collections::BTreeMap;

use sublet_core::base::json::{INTEGER_MAX, Json};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::Block;
use sublet_core::capability::{
    Absent, AllOf, Any, AnyOf, Capability, Cidr, Constraint, ContainsAll, Decimal, Exactly, Glob,
    HopLimits, MaxLength, Not, NotOneOf, OneOf, Pattern, Prefix, Range, Regex, Scalar, Scope,
    SubsetOf, Under, Url,
};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;

use crate::fleet::{Fleet, NOW, agent, curve_key, key};

/// Numbers to draw from; when they are used up, every draw is 0.
#[derive(Clone, Debug)]
pub struct Dice(std::vec::IntoIter<u16>);

impl Dice {
    /// Dice that will show these numbers.
    pub fn new(numbers: Vec<u16>) -> Self {
        Dice(numbers.into_iter())
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % count.max(1)
    }

    /// True about once in `count`; false when the numbers are used up.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) + 1 == count
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Names of arguments, as pointers: nested and flat ones that look alike, one that is a default
/// symbol of Biscuit, one that is a predicate, an empty one.
const NAMES: [&str; 10] = ["a", "b", "c", "path", "n", "n/x", "n~1x", "arg_str", "v0", ""];

const TEXTS: [&str; 38] = [
    "x",
    "q",
    "q3",
    "q3-x",
    "/data",
    "/data/q3",
    "/data/q3/x",
    "/database",
    "/data/../etc",
    "/",
    "",
    "5",
    "1.5",
    "true",
    "read",
    "time",
    "names",
    "v0",
    "/données",
    "/data/..;/etc",
    "/data/secret.",
    "/data/ſecret",
    "/data/\u{1112}\u{1161}\u{11ab}",
    "https://api.acme.example/v1/..;/x",
    "a b",
    "\"",
    "tool://files",
    "https://api.acme.example/v1",
    "https://api.acme.example:443/v1/users/?q=%2f",
    "https://acme.example",
    "https://api.acme.example@evil.example/v1",
    "http://127.0.0.1:8080/x",
    "10.1.2.3",
    "10.1.0.0",
    "::ffff:10.1.2.3",
    "2001:db8::1",
    "q3-2026.csv",
    "a\nb",
];

const URLS: [&str; 6] = [
    "https://api.acme.example/v1",
    "https://api.acme.example",
    "https://*.acme.example",
    "https://*.example",
    "https://*.acme.example/v1",
    "http://127.0.0.1:8080",
];
const NETWORKS: [&str; 6] =
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "2001:db8::/32", "::/0"];
const GLOBS: [&str; 9] = ["*", "**", "q*", "q3-*.csv", "q?", "/data/*", "/data/**", "a?b", "q3-2*"];
const REGEXES: [&str; 5] = ["q[0-9]", "q3|x", "[^/]*", "(?:a|b).*", "1\\.5"];

const INTEGERS: [i64; 11] = [0, 1, 2, 5, 10, 11, -1, -10, 1_500_000, INTEGER_MAX, -INTEGER_MAX];

const DECIMALS: [i64; 5] = [1_500_000, 500_000, -500_000, 1, 5_000_001];

const AUDIENCES: [&str; 4] = ["tool://files", "tool://files/a", "tool://mail", "mcp://db"];
const AUDIENCE_PATTERNS: [&str; 6] =
    ["tool://files", "tool://files/", "tool://files/a", "tool://", "mcp://db", "tool://mail"];
const ACTIONS: [&str; 4] = ["fs.read", "fs.write", "fs.dir.list", "db.query"];
const ACTION_PATTERNS: [&str; 6] = ["fs.read", "fs.", "fs.dir.", "fs.write", "db.query", "db."];

/// A single value.
pub fn scalar(dice: &mut Dice) -> Scalar {
    match dice.below(8) {
        0..=2 => Scalar::Str((*dice.pick(&TEXTS)).to_owned()),
        3 | 4 => Scalar::Int(*dice.pick(&INTEGERS)),
        5 => Scalar::Dec(*dice.pick(&DECIMALS)),
        6 => Scalar::Bool(dice.one_in(2)),
        _ => Scalar::Null,
    }
}

fn values(dice: &mut Dice) -> Vec<Scalar> {
    let count = 1 + dice.below(4);
    match dice.below(4) {
        0 | 1 => (0..count).map(|_| Scalar::Str((*dice.pick(&TEXTS)).to_owned())).collect(),
        2 => (0..count).map(|_| Scalar::Int(*dice.pick(&INTEGERS))).collect(),
        _ => (0..count).map(|_| Scalar::Dec(*dice.pick(&DECIMALS))).collect(),
    }
}

fn bounds(dice: &mut Dice, of: &[i64]) -> (Option<i64>, Option<i64>) {
    let (one, two) = (*dice.pick(of), *dice.pick(of));
    let (min, max) = (one.min(two), one.max(two));
    match dice.below(4) {
        0 => (Some(min), None),
        1 => (None, Some(max)),
        _ => (Some(min), Some(max)),
    }
}

/// A constraint of any kind, by itself or of others.
pub fn constraint(dice: &mut Dice) -> Constraint {
    match dice.below(12) {
        0 => Constraint::Any(Any),
        1 => Constraint::Absent(Absent),
        2 => Constraint::Exactly(Exactly(scalar(dice))),
        3..=7 => simple(dice),
        _ => {
            let made = combined(dice, 2);
            // Not every combination can be said, nor said in this form: then a simple one.
            let fits = |c: &Constraint| {
                let args = [("a".to_owned(), c.clone())];
                let (audience, action) = ("t:x".parse().unwrap(), "a.b".parse().unwrap());
                Capability::new(audience, action, args, false).is_ok()
            };
            made.filter(fits).unwrap_or_else(|| simple(dice))
        }
    }
}

/// A constraint on a value, without others in it.
pub fn simple(dice: &mut Dice) -> Constraint {
    let text = |dice: &mut Dice, from: &[&str]| (*dice.pick(from)).to_owned();
    match dice.below(14) {
        0 | 1 => Constraint::OneOf(OneOf::new(values(dice)).unwrap()),
        2 => Constraint::NotOneOf(NotOneOf::new(values(dice)).unwrap()),
        3 => Constraint::Prefix(Prefix(text(dice, &TEXTS))),
        4 | 5 => {
            let bases = ["/data", "/", "/data/q3", "/données"];
            Constraint::Under(Under::new(bases[dice.below(bases.len())]).unwrap())
        }
        6 | 7 => {
            let (min, max) = bounds(dice, &INTEGERS);
            Constraint::Range(Range::new(min, max).unwrap())
        }
        8 => {
            let (min, max) = bounds(dice, &DECIMALS);
            Constraint::Decimal(Decimal::new(min, max).unwrap())
        }
        9 => Constraint::MaxLength(MaxLength(*dice.pick(&[0, 1, 3, 12]))),
        10 => match dice.one_in(2) {
            true => Constraint::Glob(Glob::new(&text(dice, &GLOBS)).unwrap()),
            false => Constraint::Regex(Regex::new(&text(dice, &REGEXES)).unwrap()),
        },
        11 => Constraint::Url(Url::new(&text(dice, &URLS)).unwrap()),
        12 => Constraint::Cidr(Cidr::new(&text(dice, &NETWORKS)).unwrap()),
        _ => {
            let values = values(dice);
            let list = match dice.one_in(2) {
                true => ContainsAll::new(values).map(Constraint::ContainsAll),
                false => SubsetOf::new(values).map(Constraint::SubsetOf),
            };
            list.unwrap_or(Constraint::MaxLength(MaxLength(1)))
        }
    }
}

/// all_of, any_of or not, nested up to this deep; `None` where the parts do not go together.
fn combined(dice: &mut Dice, depth: usize) -> Option<Constraint> {
    let part = |dice: &mut Dice| match depth > 0 && dice.one_in(3) {
        true => combined(dice, depth - 1),
        false => Some(simple(dice)),
    };
    let parts = |dice: &mut Dice| -> Option<Vec<Constraint>> {
        (0..2 + dice.below(2)).map(|_| part(dice)).collect()
    };
    match dice.below(3) {
        0 => AllOf::new(parts(dice)?).ok().map(Constraint::AllOf),
        1 => {
            // Parts of one view, found among some.
            let pool: Vec<Constraint> = (0..8).filter_map(|_| part(dice)).collect();
            let tried = pool.iter().map(|first| {
                let like =
                    pool.iter().filter(|c| AnyOf::new(vec![(*c).clone(), first.clone()]).is_ok());
                like.cloned().collect::<Vec<_>>()
            });
            let most = tried.max_by_key(Vec::len)?;
            AnyOf::new(most.into_iter().take(3).collect()).ok().map(Constraint::AnyOf)
        }
        _ => Not::new(part(dice)?).ok().map(Constraint::Not),
    }
}

/// A capability.
pub fn capability(dice: &mut Dice) -> Capability {
    let audience = dice.pick(&AUDIENCE_PATTERNS).parse().unwrap();
    let action = dice.pick(&ACTION_PATTERNS).parse().unwrap();
    let args: BTreeMap<String, Constraint> =
        (0..dice.below(4)).map(|_| ((*dice.pick(&NAMES)).to_owned(), constraint(dice))).collect();
    let capability = Capability::new(audience, action, args, dice.one_in(3)).unwrap();
    capability.travelling(travel(HopLimits::default(), dice)).unwrap()
}

/// The same travel or less.
fn travel(held: HopLimits, dice: &mut Dice) -> HopLimits {
    let hops = dice.one_in(6).then(|| u32::try_from(dice.below(4)).unwrap());
    HopLimits {
        delegates_only: held.delegates_only || dice.one_in(8),
        hops_max: held.hops_max.into_iter().chain(hops).min(),
    }
}

/// A scope of one to three capabilities.
pub fn scope(dice: &mut Dice) -> Scope {
    // One with too many patterns is drawn again; dice that are used up draw none.
    loop {
        let drawn = (0..1 + dice.below(3)).map(|_| capability(dice)).collect();
        if let Ok(scope) = Scope::new(drawn) {
            return scope;
        }
    }
}

/// A scope that this one covers: some capabilities, each argument the same or less.
pub fn narrowed(held: &Scope, dice: &mut Dice) -> Scope {
    let mut narrower = Vec::new();
    for capability in held.capabilities() {
        if narrower.is_empty() || !dice.one_in(3) {
            narrower.push(narrowed_one(capability, None, dice));
        }
    }
    // With too many patterns: as it was.
    Scope::new(narrower).unwrap_or_else(|_| held.clone())
}

/// The same for one audience and one action exactly, as a stock token needs.
pub fn pinned(held: &Scope, dice: &mut Dice) -> Scope {
    let first = dice.pick(held.capabilities());
    let pin = (exact(first.audience().pattern()), exact(first.action().pattern()));
    let admits = |c: &&Capability| c.audience().admits(&pin.0) && c.action().admits(&pin.1);
    let narrower = held.capabilities().iter().filter(admits);
    let mut kept: Vec<Capability> = Vec::new();
    for capability in narrower.map(|c| narrowed_one(c, Some(&pin), dice)) {
        kept.push(capability);
        if Scope::new(kept.clone()).is_err() {
            kept.pop(); // Too many patterns.
        }
    }
    // The first alone can have too many: then nothing but its audience and action, closed.
    let bare = || Capability::new(pin.0.parse().unwrap(), pin.1.parse().unwrap(), [], false);
    Scope::new(kept).unwrap_or_else(|_| Scope::new(vec![bare().unwrap()]).unwrap())
}

fn exact(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(text) => text.clone(),
        Pattern::Prefix(text) => format!("{text}read"),
    }
}

fn narrowed_one(held: &Capability, pin: Option<&(String, String)>, dice: &mut Dice) -> Capability {
    let mut args: BTreeMap<String, Constraint> =
        held.args().map(|(name, constraint)| (name.to_owned(), constraint.clone())).collect();
    for constraint_held in args.values_mut() {
        let candidate = constraint(dice);
        if constraint_held.covers(&candidate) {
            *constraint_held = candidate;
        }
    }
    if held.is_open() && dice.one_in(2) {
        args.entry((*dice.pick(&NAMES)).to_owned()).or_insert_with(|| constraint(dice));
    }
    let (audience, action) = match pin {
        Some((audience, action)) => (audience.parse().unwrap(), action.parse().unwrap()),
        None => (held.audience().clone(), held.action().clone()),
    };
    let open = held.is_open() && dice.one_in(2);
    if held.is_open() && !open {
        // Closed, a name that is not written is absent: what was open is said as it was.
        for name in NAMES {
            if dice.one_in(2) {
                args.entry(name.to_owned()).or_insert(Constraint::Any(Any));
            }
        }
    }
    let narrower = Capability::new(audience, action, args, open).unwrap();
    narrower.travelling(travel(held.travel(), dice)).unwrap()
}

/// A value of any type.
pub fn value(dice: &mut Dice) -> Json {
    match dice.below(12) {
        0..=7 => json(&scalar(dice)),
        // What a binary message can hold, and JSON cannot.
        10 => Json::Int(i64::MAX),
        11 => Json::Dec(5_000_000),
        8 => Json::List(match dice.below(3) {
            0 => Vec::new(),
            1 => vec![json(&scalar(dice))],
            _ => values(dice).iter().map(json).collect(),
        }),
        _ => Json::Object(Vec::new()),
    }
}

fn json(scalar: &Scalar) -> Json {
    match scalar {
        Scalar::Null => Json::Null,
        Scalar::Bool(value) => Json::Bool(*value),
        Scalar::Int(value) => Json::Int(*value),
        Scalar::Dec(value) => Json::Dec(*value),
        Scalar::Str(value) => Json::Str(value.clone()),
    }
}

/// A call that lies near a scope: aimed at one of its capabilities, and missing it now and then.
pub fn call_near(scope: &Scope, dice: &mut Dice) -> Call {
    let aim = dice.pick(scope.capabilities());
    let mut audience = exact(aim.audience().pattern());
    let mut action = exact(aim.action().pattern());
    if dice.one_in(8) {
        audience = (*dice.pick(&AUDIENCES)).to_owned();
    }
    if dice.one_in(8) {
        action = (*dice.pick(&ACTIONS)).to_owned();
    }
    let mut leaves: BTreeMap<String, Json> = BTreeMap::new();
    for (name, constraint) in aim.args() {
        // A value that the constraint admits, where a few tries find one.
        let tried: Vec<Json> = (0..12).map(|_| value(dice)).collect();
        let hit = tried.iter().find(|value| constraint.admits(Some(value)));
        let absent_is_fine = constraint.admits(None);
        let drawn = match dice.below(8) {
            7 => tried.first(),
            6 => None,
            5 if absent_is_fine => None,
            _ => hit,
        };
        leaves.extend(drawn.map(|value| (name.to_owned(), value.clone())));
    }
    if (aim.is_open() && dice.one_in(2)) || dice.one_in(8) {
        leaves.insert((*dice.pick(&NAMES)).to_owned(), value(dice));
    }
    let fields = object(&leaves);
    let arguments = Arguments::from_message(&fields.canonical(), &fields).unwrap();
    Call { audience, action, arguments }
}

/// The object with these leaves, nested as their pointers say; a leaf where an object must be is
/// left out.
fn object(leaves: &BTreeMap<String, Json>) -> Json {
    let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
    let mut members: BTreeMap<String, Json> = BTreeMap::new();
    for (pointer, value) in leaves {
        match pointer.split_once('/') {
            None => drop(members.insert(unescape(pointer), value.clone())),
            Some((outer, inner)) => {
                let inner = Json::Object(vec![(unescape(inner), value.clone())]);
                members.insert(unescape(outer), inner);
            }
        }
    }
    Json::object(members.into_iter().collect()).unwrap()
}

/// A chain of agents and helpers below the planner, and the key of its last holder.
pub struct Chain {
    /// The token.
    pub token: VerifiedToken,
    /// The key of its last holder.
    pub holder: SecretKey,
}

/// A chain of up to three hops, each made by `mint::append` with less than the hop before.
pub fn chain(fleet: &Fleet, dice: &mut Dice) -> Chain {
    let hops_max = *dice.pick(&[4, 2, 1, 3]);
    let offline_hops_max = *dice.pick(&[2, 0, 1, 4]);
    let scope = Some(scope(dice));
    let grant = Block { scope, hops_max, offline_hops_max, ..fleet.grant("planner", &["a@t:x"]) };
    let mut chain = Chain { token: fleet.issue(grant), holder: key("planner") };
    for depth in 0..dice.below(4) {
        let label = format!("helper-{depth}");
        let next = if dice.one_in(3) { curve_key(&label) } else { key(&label) };
        let last = chain.token.last().block().clone();
        let key = next.public_key().clone();
        let to = match dice.one_in(3) {
            true => Recipient::Agent { id: agent(&label), key },
            false => Recipient::Helper { label, key },
        };
        let hop = Hop {
            to,
            scope: match (dice.one_in(4), last.scope.clone().unwrap()) {
                (true, same) => same,
                (false, held) => narrowed(&held, dice),
            },
            ttl_seconds: *dice.pick(&[600, 30, 60, 3]),
            hops_max: dice.one_in(4).then_some(last.hops_max),
            offline_hops_max: dice.one_in(4).then_some(last.offline_hops_max.saturating_sub(1)),
        };
        let made = mint::append(&chain.token, &hop, NOW, &chain.holder);
        let Ok(token) = made else { break }; // No hops left, or longer than its parent.
        chain = Chain { token, holder: next };
    }
    chain
}
