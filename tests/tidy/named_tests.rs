//! Each test that docs/THREATS and docs/RELIABILITY name exists, in the file that they name.

use std::collections::BTreeSet;

use crate::none;
use crate::source::{self, root};
use crate::texts::Functions;

/// A test as a document names it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    line: usize,
    /// The file, or a folder, as it is written.
    file: String,
    /// `None` where the file as a whole is named.
    test: Option<String>,
}

/// The tests that the tables of a document name, in code spans: `file.rs::test`, `file.rs`, `contract::test`.
/// A test with `…` before it and no file is of the file named before it in the same row.
fn named(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    for (at, row) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        let mut last = String::new();
        for span in row.split('`').skip(1).step_by(2) {
            let (file, test) = match span.split_once("::") {
                Some((file, test)) => (file.to_owned(), Some(test.to_owned())),
                None if span.starts_with('…') => (last.clone(), Some(span.to_owned())),
                None => (span.to_owned(), None),
            };
            if !file.ends_with(".rs") && file != "contract" {
                continue;
            }
            last.clone_from(&file);
            found.push(Named { line: at + 1, file, test });
        }
    }
    found
}

/// Whether `name` is what was written, in which `…` stands for some more letters.
fn fits(written: &str, name: &str) -> bool {
    match (written.strip_prefix('…'), written.strip_suffix('…')) {
        (Some(rest), Some(_)) => name.contains(rest.trim_end_matches('…')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == written,
    }
}

/// A source file: its path, and the tests in it.
type Tests = (String, BTreeSet<String>);

/// What is wrong with the tests that a document names; a file without a folder is in `home` or, where that
/// is no folder of all of them, anywhere.
fn wrong(document: &str, text: &str, home: Option<&str>, all: &[Tests]) -> Vec<String> {
    let mut found = Vec::new();
    for Named { line, file, test } in named(text) {
        let is_it = |path: &str| match (file.as_str(), home) {
            ("contract", _) => path.starts_with("tests/contract/"),
            (file, Some(home)) if !file.contains('/') => path == format!("{home}/{file}"),
            (file, _) if file.contains("/src/") || file.starts_with("tests/") => path == file,
            (file, _) => path.ends_with(&format!("/{file}")),
        };
        let files: Vec<&Tests> = all.iter().filter(|(path, _)| is_it(path)).collect();
        let has =
            |test: &str| files.iter().any(|(_, tests)| tests.iter().any(|name| fits(test, name)));
        match test {
            _ if files.is_empty() => found.push(format!("{document}:{line}: no file {file}")),
            Some(test) if !has(&test) => {
                found.push(format!("{document}:{line}: no test {test} in {file}"));
            }
            _ => {}
        }
    }
    found
}

fn all() -> Vec<Tests> {
    let files = source::everything().into_iter();
    let read = files.map(|file| (file.path, Functions::read(&file.text)));
    let read: Vec<(String, Functions)> = read.collect();
    let folder = |path: &str| path.rsplit_once('/').unwrap().0.to_owned();
    let tests_of = |(path, found): &(String, Functions)| {
        let beside = read.iter().filter(|(other, _)| folder(other) == folder(path));
        let run: BTreeSet<String> = beside
            .flat_map(|(_, other)| other.in_macros.intersection(&found.all).cloned())
            .collect();
        (
            path.clone(),
            [&found.tests, &found.in_macros, &run].into_iter().flatten().cloned().collect(),
        )
    };
    read.iter().map(tests_of).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let all = all();
    let mut found = Vec::new();
    for (document, home) in
        [("docs/THREATS.md", Some("tests/adversary")), ("docs/RELIABILITY.md", None)]
    {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let count = named(&text).len();
        assert!(count > 50, "{document} names {count} tests");
        println!("{document} names {count} tests and files of tests");
        found.extend(wrong(document, &text, home, &all));
    }
    none("a test that does not exist", found);
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let tests = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let all = [
        ("tests/adversary/a.rs".to_owned(), tests(&["one_is_refused"])),
        ("broker/src/x/turns.rs".to_owned(), tests(&["two"])),
    ];
    let wrong = |row: &str| wrong("D", &format!("| {row} |"), Some("tests/adversary"), &all).len();
    for right in
        ["`a.rs::one_is_refused`", "`a.rs::one_…`", "`a.rs`, `…is_refused`", "`x/turns.rs::two`"]
    {
        assert_eq!(wrong(right), 0, "{right}");
    }
    for bad in [
        "`a.rs::two`",
        "`b.rs`",
        "`a.rs::two_…`",
        "`turns.rs::two`",
        "`a.rs`, `…two`",
        "`core/src/a.rs`",
    ] {
        assert_eq!(wrong(bad), 1, "{bad}");
    }
}
