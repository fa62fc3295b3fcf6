//! The rules of docs/SPEC: numbered once, cited by numbers that exist, and each that demands something
//! cited by a test or listed in uncited.txt. The list may only become shorter.

use std::collections::{BTreeMap, BTreeSet};

use crate::none;
use crate::source::root;
use crate::texts::{self, Text, is_test_file, prose, test_lines};

/// The rules in the order of the text: number and words.
fn rules(spec: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut is_open = false;
    for line in spec.lines() {
        let rule = line.trim_start().strip_prefix("- **").and_then(|rest| rest.split_once("**"));
        match rule.filter(|(number, _)| is_number(number)) {
            Some((number, words)) => {
                found.push((number.to_owned(), words.to_owned()));
                is_open = true;
            }
            // What stands below a heading is of no rule before it.
            None if line.starts_with('#') => is_open = false,
            None => {
                if let Some((_, words)) = found.last_mut().filter(|_| is_open) {
                    words.push_str(line);
                }
            }
        }
    }
    found
}

/// `3.7`, `3.7.2`: a rule; a section alone is none.
fn is_number(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    (2..=3).contains(&parts.len()) && parts.iter().all(digits)
}

/// Whether a rule demands something, in the words of RFC 2119.
fn demands(words: &str) -> bool {
    words.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word == "MUST")
}

/// The rules that a line cites: `SPEC 3.7.2`, `SPEC 5.7.2, 5.7.3 and 9.8`, `SPEC 2.13 to 2.15`.
fn cited(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("SPEC") {
        let rest = &line[at + 4..];
        let rest = rest.strip_prefix("](SPEC.md)").unwrap_or(rest);
        let Some(rest) = rest.strip_prefix(' ').or_else(|| rest.strip_prefix("'s ")) else {
            continue;
        };
        let rest = rest
            .strip_prefix("section ")
            .or_else(|| rest.strip_prefix("sections "))
            .unwrap_or(rest);
        for word in rest.split_whitespace() {
            let number =
                word.trim_end_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('(');
            if is_number(number) {
                found.push(number.to_owned());
            } else if !["and", "or", "to"].contains(&word) && number.parse::<u8>().is_err() {
                break;
            }
            if word.ends_with(['.', ';', ':', ')']) {
                break;
            }
        }
    }
    found
}

/// Where each rule is cited, also in the second column of THREATS and within SPEC itself.
fn citations(file: &Text) -> Vec<(String, String)> {
    let at = |line: usize| format!("{}:{line}", file.path);
    let mut found: Vec<(String, String)> = prose(file)
        .flat_map(|(line, text)| cited(text).into_iter().map(move |number| (number, at(line))))
        .collect();
    if file.path == "docs/THREATS.md" {
        for (line, text) in file.text.lines().enumerate().filter(|(_, text)| text.starts_with('|'))
        {
            let column = text.split(" | ").nth(1).unwrap_or_default();
            let numbers = column.split(", ").filter(|number| is_number(number));
            found.extend(numbers.map(|number| (number.to_owned(), at(line + 1))));
        }
    }
    if file.path == "docs/SPEC.md" {
        for (line, text) in file.text.lines().enumerate() {
            let inside = text.split('(').skip(1).filter_map(|rest| rest.split_once(')'));
            let numbers = inside.flat_map(|(inside, _)| inside.split([',', ' ', ';']));
            let rules = numbers.filter(|number| is_number(number) && !number.ends_with(".0"));
            found.extend(rules.map(|number| (number.to_owned(), at(line + 1))));
        }
    }
    found
}

/// The rules that tests cite, in the comments of test code.
fn cited_by_tests(all: &[Text]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in all.iter().filter(|file| file.path.ends_with(".rs")) {
        if file.path == "tests/tidy/musts.rs" {
            continue;
        }
        let tests = (!is_test_file(&file.path)).then(|| test_lines(&file.text));
        for (line, text) in prose(file) {
            let is_test = tests.as_ref().is_none_or(|lines| lines.contains(&line));
            let numbers = if is_test { cited(text) } else { Vec::new() };
            found.extend(
                numbers.into_iter().map(|number| (number, format!("{}:{line}", file.path))),
            );
        }
    }
    found
}

fn spec() -> Vec<(String, String)> {
    let rules = rules(&std::fs::read_to_string(root().join("docs/SPEC.md")).unwrap());
    assert!(rules.len() > 150, "{} rules", rules.len());
    rules
}

#[test]
fn every_rule_has_a_number_of_its_own_and_every_cited_rule_exists() {
    let mut numbers = BTreeSet::new();
    let twice = spec().into_iter().filter(|(number, _)| !numbers.insert(number.clone()));
    none("a number of two rules", twice.map(|(number, _)| number).collect::<Vec<_>>());
    let texts = texts::all().into_iter().filter(|file| !file.path.starts_with("tests/tidy/"));
    let cited: Vec<(String, String)> = texts.flat_map(|file| citations(&file)).collect();
    assert!(cited.len() > 400, "{} citations", cited.len());
    let gone = cited.into_iter().filter(|(number, _)| !numbers.contains(number));
    none("a rule that SPEC has not", gone.map(|(number, at)| format!("{at}: {number}")));
}

#[test]
fn every_rule_that_demands_something_is_cited_by_a_test_or_listed() {
    let demanded: BTreeSet<String> =
        spec().into_iter().filter(|(_, words)| demands(words)).map(|(number, _)| number).collect();
    let cited = cited_by_tests(&texts::all());
    let list = std::fs::read_to_string(root().join("tests/tidy/uncited.txt")).unwrap();
    let listed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let is_cited = |number: &&String| cited.contains_key(*number);
    println!(
        "{} rules that demand something: {} cited by a test, {} listed",
        demanded.len(),
        demanded.iter().filter(is_cited).count(),
        listed.len()
    );
    let missing = demanded.iter().filter(|number| !is_cited(number) && !listed.contains(*number));
    let missing = missing.map(|number| format!("no test cites {number}"));
    let again = listed.iter().filter_map(|number| match cited.get(number) {
        Some(at) => Some(format!("{at} cites {number}: it need not be listed")),
        None => (!demanded.contains(number)).then(|| format!("{number} demands nothing")),
    });
    none("rules and tests", missing.chain(again));
}

#[test]
fn a_rule_that_is_not_there_or_is_there_twice_is_found() {
    let text = "- **1.1** A *x* MUST y.\n  - **1.1.1** It is z,\n\nand more. A MUST.\n- **1.2** A MUSTY one.\n## 2\n- **P1** MUST.\n- **1.1** No.";
    let rules = rules(text);
    let numbers: Vec<&str> = rules.iter().map(|(number, _)| number.as_str()).collect();
    assert_eq!(numbers, ["1.1", "1.1.1", "1.2", "1.1"]);
    let demanding: Vec<bool> = rules.iter().map(|(_, words)| demands(words)).collect();
    assert_eq!(demanding, [true, true, false, false]);
    for (line, numbers) in [
        ("SPEC 3.7.2.", &["3.7.2"][..]),
        ("as SPEC 5.7.2, 5.7.3 and 9.8 say, 7.1", &["5.7.2", "5.7.3", "9.8"]),
        ("(SPEC 2.13 to 2.15): 4.1", &["2.13", "2.15"]),
        ("[SPEC](SPEC.md) 5.7; 1.2", &["5.7"]),
        ("SPEC sections 3 to 7, RFC 2.1", &[]),
        ("SPEC section 8", &[]),
    ] {
        assert_eq!(cited(line), numbers, "{line}");
    }
    let file = Text {
        path: "core/src/x.rs".into(),
        text: "// SPEC 1.1\n#[cfg(test)]\nmod tests {\n    // SPEC 1.2\n}\n".into(),
    };
    assert_eq!(cited_by_tests(&[file]).into_keys().collect::<Vec<_>>(), ["1.2"]);
}
