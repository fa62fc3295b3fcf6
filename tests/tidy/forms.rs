//! Forms that stay open: one table of labels, and patterns that leave nothing out.

use sublet_core::base::bytes::{Label, RESERVED_LABELS};
use sublet_core::capability::RESERVED_WORDS;
use sublet_core::trust::bundle::{KeyUse, RESERVED_USES};

use crate::source::{self, File};
use crate::{lines_with, none};

fn spec(number: &str) -> String {
    let text = std::fs::read_to_string(source::root().join("docs/SPEC.md")).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with(&format!("- **{number}**")));
    line.unwrap_or_else(|| panic!("SPEC has no {number}")).to_owned()
}

/// What stands between backquotes, in order.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn sorted<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_unstable();
    words
}

#[test]
fn every_label_is_in_the_table_and_in_spec() {
    let (used, reserved) = (spec("2.10.1"), spec("2.10.2"));
    let table = Label::ALL.iter().map(|label| label.text());
    assert_eq!(sorted(table.clone()), sorted(quoted(&used)));
    assert_eq!(sorted(RESERVED_LABELS), sorted(quoted(&reserved)));
    // `Label` is what a message begins with; nobody puts one together beside it, and nothing says a label
    // as text, in use or reserved.
    let others: Vec<File> =
        source::ours().into_iter().filter(|file| file.path != "core/src/base/bytes.rs").collect();
    let texts: Vec<String> =
        table.chain(RESERVED_LABELS).map(|label| format!("\"{label}\"")).collect();
    let beside = |line: &str| {
        line.contains("\\0SUBLET") || texts.iter().any(|text| line.contains(text.as_str()))
    };
    none("a label beside the table in core/src/base/bytes.rs", lines_with(&others, beside));
}

#[test]
fn reserved_uses_and_words_are_those_of_spec() {
    let rule = spec("2.11.12");
    assert!(RESERVED_USES.iter().all(|use_| quoted(&rule).contains(use_)), "{rule}");
    assert!(RESERVED_USES.iter().all(|use_| KeyUse::from_name(use_).is_none()));
    let rule = spec("4.11");
    assert!(RESERVED_WORDS.iter().all(|word| quoted(&rule).contains(word)), "{rule}");
}

/// A member that `..` leaves out of a pattern is one that a later version adds and this place drops.
#[test]
fn a_capability_is_taken_apart_whole() {
    let rest = |line: &str| {
        ["Capability {", "Travel {"].iter().any(|of| {
            line.split(of)
                .skip(1)
                .any(|rest| rest.split('}').next().is_some_and(|inside| inside.contains("..")))
        })
    };
    let mut found = lines_with(&source::ours(), rest);
    // Over several lines, as rustfmt breaks them.
    for file in source::ours() {
        let text: Vec<&str> = file.code.iter().map(|(_, line)| line.trim()).collect();
        for (at, line) in text.iter().enumerate() {
            let opens = line.ends_with("Capability {") || line.ends_with("Travel {");
            let mut inside = text.iter().skip(at + 1).take_while(|line| !line.starts_with('}'));
            let is_pattern = line.starts_with("let ") || line.starts_with("Capability {");
            if opens && is_pattern && inside.any(|line| line.starts_with("..")) {
                found.push(format!("{}: {line}", file.path));
            }
        }
    }
    none("a capability that is taken apart without some of its members", found);
}
