//! Two readings of every constraint over a small finite universe, compared case by case: which
//! values it allows, and that what `covers` grants is a subset. `SUBLET_MODEL=full` takes every
//! combination of three where an ordinary run takes some.

use std::collections::HashMap;

use serde_json::{Value, json};
use sublet_core::base::json::Json;
use sublet_core::capability::{Capability, Constraint};

use crate::naive;

/// One value of each type and more, texts that look alike, and absence.
fn values() -> Vec<Option<Value>> {
    let given: Vec<Value> = serde_json::from_str(
        r#"[
        null,
        true,
        false,
        0,
        1,
        5,
        10,
        -1,
        1.5,
        0.5,
        -0.5,
        "",
        "x",
        "q3",
        "q3-x",
        "q",
        "5",
        "1.5",
        "true",
        "/",
        "/data",
        "/data/q3",
        "/data/q3/x",
        "/database",
        "/data/../etc",
        "/data/",
        "//data",
        "/data/%2e",
        "/données",
        "/data/..;/etc",
        "/data/secret.",
        "/data/ſecret",
        "/data/\u1112\u1161\u11ab",
        "a b",
        "https://api.acme.example/v1",
        "https://api.acme.example",
        "https://api.acme.example:443/v1/users?q=1",
        "https://acme.example",
        "https://api.acme.example@evil.example/v1",
        "https://api.acme.example.evil/v1",
        "http://api.acme.example/v1",
        "https://api.acme.example/v1x",
        "https://api.acme.example/v1/..;/x",
        "10.1.2.3",
        "10.1.0.0",
        "11.0.0.0",
        "010.1.2.3",
        "::ffff:10.1.2.3",
        "2001:db8::1",
        "::1",
        [],
        ["x"],
        ["x", "q3"],
        ["q"],
        [1],
        [1, 5],
        [1, "x"],
        [null],
        {}
    ]"#,
    )
    .unwrap();
    given.into_iter().map(Some).chain([None]).collect()
}

/// At least two of each kind, related and not.
fn simple() -> Vec<Value> {
    serde_json::from_str(r#"[
        {"any": true}, {"absent": true}, {"exactly": null}, {"exactly": true}, {"exactly": 5},
        {"exactly": 1.5}, {"exactly": "5"}, {"exactly": "q3"}, {"exactly": "/data"},
        {"exactly": "10.1.2.3"}, {"one_of": ["q3", "x"]}, {"one_of": ["/data", "q3", "x"]},
        {"one_of": [1, 5]}, {"one_of": [0.5, 1.5]}, {"not_one_of": ["x"]}, {"not_one_of": ["q3", "x"]},
        {"not_one_of": [1]}, {"not_one_of": [1.5]}, {"prefix": ""}, {"prefix": "q"}, {"prefix": "q3"},
        {"prefix": "/data"}, {"prefix": "/data/"}, {"prefix": "https://api.acme.example"},
        {"prefix": "10.1"}, {"glob": "*"}, {"glob": "**"}, {"glob": "q*"}, {"glob": "q?"},
        {"glob": "/data/*"}, {"glob": "/data/**"}, {"glob": "?"}, {"regex": "q[0-9]"},
        {"regex": "q3|x"}, {"regex": "[^/]*"}, {"under": "/"}, {"under": "/data"}, {"under": "/data/q3"},
        {"url": "https://api.acme.example/v1"}, {"url": "https://api.acme.example"},
        {"url": "https://*.acme.example"}, {"url": "https://*.example"}, {"cidr": "10.0.0.0/8"},
        {"cidr": "10.1.0.0/16"}, {"cidr": "0.0.0.0/0"}, {"cidr": "2001:db8::/32"}, {"cidr": "::/0"},
        {"range": {"min": 0, "max": 5}}, {"range": {"min": 1}}, {"range": {"max": 1}},
        {"range": {"min": 1, "max": 1}}, {"decimal": {"min": 0.5, "max": 5}}, {"decimal": {"min": 1}},
        {"decimal": {"max": 1.5}}, {"decimal": {"min": -1, "max": 10}}, {"max_length": 0},
        {"max_length": 1}, {"max_length": 5}, {"contains_all": ["x"]}, {"contains_all": ["q3", "x"]},
        {"contains_all": [1]}, {"subset_of": ["x"]}, {"subset_of": ["q3", "x"]}, {"subset_of": [1, 5]}
    ]"#).unwrap()
}

/// A constraint in both readings, and the set of values that it allows, a bit for each.
struct Both {
    written: Value,
    typed: Constraint,
    set: u64,
}

struct Universe {
    values: Vec<Option<Value>>,
    typed: Vec<Option<Json>>,
}

impl Universe {
    fn new() -> Self {
        let values = values();
        assert!(values.len() <= 64, "a bit for each value");
        let typed = |value: &Value| Json::parse(value.to_string().as_bytes()).unwrap();
        Universe { typed: values.iter().map(|value| value.as_ref().map(typed)).collect(), values }
    }

    /// Both readings, which must agree on every value; `None` where it cannot be written so.
    fn both(&self, written: Value) -> Option<Both> {
        let capability = json!({"action": "a.b", "audience": "t:x", "args": {"a": written}, "other_args": "any"});
        let capability = Capability::from_json(capability.to_string().as_bytes()).ok()?;
        let typed = capability
            .args()
            .next()
            .map(|(_, constraint)| constraint.clone())
            .unwrap_or(Constraint::Any(sublet_core::capability::Any));
        let mut set = 0;
        for (at, (value, json)) in self.values.iter().zip(&self.typed).enumerate() {
            let naive = naive::admits(&written, value.as_ref());
            assert_eq!(typed.admits(json.as_ref()), naive, "{written} of {value:?}");
            set |= u64::from(naive) << at;
        }
        Some(Both { written, typed, set })
    }

    fn of(&self, written: impl IntoIterator<Item = Value>) -> Vec<Both> {
        written.into_iter().filter_map(|written| self.both(written)).collect()
    }
}

/// Every `stride`th of the combinations of a list with itself.
fn pairs(of: &[Value], kind: &str, stride: usize) -> Vec<Value> {
    let all = of.iter().enumerate().flat_map(|(at, a)| of[at + 1..].iter().map(move |b| (a, b)));
    all.step_by(stride).map(|(a, b)| json!({kind: [a, b]})).collect()
}

fn nots(of: &[Value]) -> Vec<Value> {
    of.iter().map(|one| json!({"not": one})).collect()
}

/// The same set again and again says nothing new of `covers`; some of each are kept.
fn few_of_each_set(all: Vec<Both>, max: usize) -> Vec<Both> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let fresh = |both: &Both| {
        let count = seen.entry(both.set).or_default();
        *count += 1;
        *count <= max
    };
    let mut fresh = fresh;
    all.into_iter().filter(|both| fresh(both)).collect()
}

/// Of all pairs: what `covers` grants is a subset. Returns how many were granted, and how many
/// subsets there are.
fn check(all: &[Both]) -> (usize, usize) {
    let (mut granted, mut subsets) = (0, 0);
    for parent in all {
        for child in all {
            let subset = child.set & !parent.set == 0;
            let covers = parent.typed.covers(&child.typed);
            assert!(subset || !covers, "{} over {}", parent.written, child.written);
            granted += usize::from(covers);
            subsets += usize::from(subset);
        }
    }
    (granted, subsets)
}

// SPEC 4.3.
#[test]
fn every_kind_alone_allows_what_its_documentation_says() {
    let universe = Universe::new();
    let all = universe.of(simple());
    assert_eq!(all.len(), simple().len(), "each can be written");
    for kind in sublet_core::capability::KINDS {
        let combined = ["all_of", "any_of", "not"].contains(kind);
        assert!(combined || all.iter().any(|both| both.typed.kind() == *kind), "{kind} is missing");
    }
    let (granted, subsets) = check(&all);
    assert!(granted * 10 > subsets * 4, "{granted} of {subsets}: covers says no to nearly all");
}

/// not, any_of and all_of of all, of each other, and of those again.
// SPEC 4.3.
#[test]
fn combinations_allow_what_their_parts_do_and_cover_only_subsets() {
    let full = std::env::var_os("SUBLET_MODEL").is_some();
    let stride = |some: usize| if full { 1 } else { some };
    let universe = Universe::new();
    let one = simple();
    let two: Vec<Value> =
        [nots(&one), pairs(&one, "any_of", 1), pairs(&one, "all_of", stride(3))].concat();
    let two: Vec<Value> = universe.of(two).into_iter().map(|both| both.written).collect();
    let some: Vec<Value> = two.iter().step_by(stride(11)).cloned().collect();
    let mixed = |kind: &str| -> Vec<Value> {
        let each =
            some.iter().flat_map(|a| one.iter().step_by(5).map(move |b| json!({kind: [a, b]})));
        each.collect()
    };
    let three = [
        nots(&two),
        mixed("any_of"),
        mixed("all_of"),
        nots(&mixed("all_of")),
        nots(&mixed("any_of")),
    ];
    let all = universe.of([one, two, three.concat()].concat());
    let cases = all.len() * universe.values.len();
    let kept = few_of_each_set(all, if full { 60 } else { 24 });
    let (granted, subsets) = check(&kept);
    println!(
        "{cases} verdicts; {} pairs, {granted} granted of {subsets} subsets",
        kept.len() * kept.len()
    );
    assert!(
        kept.len() > 600 && granted > kept.len(),
        "{} constraints, {granted} granted",
        kept.len()
    );
}
