//! The mutants that cannot stand in the one build, by cargo-mutants itself: first against the unit tests of
//! their crate, then, those of core that these miss, against the suites.
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Words;
use crate::place::{Place, SUITES};

/// Seconds for the tests of one mutant.
const UNIT_SECONDS: &str = "120";
const SUITE_SECONDS: &str = "600";

/// The words that cargo-mutants has for what became of a mutant; each is the name of a file of its.
pub const WORDS: [&str; 4] = ["caught", "missed", "unviable", "timeout"];

/// What becomes of these mutants: pairs of a name and one of `WORDS`.
pub fn judge(place: &Place, names: &[&str]) -> Result<Vec<(String, String)>, Words> {
    let units = [
        "-p",
        "sublet-core",
        "-p",
        "sublet-ledger",
        "--cargo-arg=--lib",
        "--timeout",
        UNIT_SECONDS,
    ];
    let found = pass(place, names, &units)?;
    let missed = |(name, word): &&(String, String)| word == "missed" && name.starts_with("core/");
    let again: Vec<&str> = found.iter().filter(missed).map(|(name, _)| name.as_str()).collect();
    if again.is_empty() {
        return Ok(found);
    }
    let suites = SUITES.map(|suite| format!("--cargo-arg=--test={suite}"));
    let mut arguments =
        vec!["-p", "sublet-core", "--test-package", "sublet-tests", "--timeout", SUITE_SECONDS];
    arguments.extend(suites.iter().map(String::as_str));
    let second = pass(place, &again, &arguments)?;
    let only_once = found.iter().filter(|(name, _)| !again.contains(&name.as_str())).cloned();
    Ok(only_once.chain(second.clone()).collect())
}

fn pass(place: &Place, names: &[&str], arguments: &[&str]) -> Result<Vec<(String, String)>, Words> {
    let out = place.scratch("alone");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out)?;
    let mut command = Command::new("cargo");
    command.args(["mutants", "--in-place", "--baseline=skip", "--no-shuffle", "--colors=never"]);
    command.args(["--test-tool=nextest", "--output"]).arg(&out).args(arguments);
    for name in names {
        command.args(["--re", &exactly(name)]);
    }
    command.current_dir(place.plain()).env("CARGO_TARGET_DIR", place.build()).stdout(Stdio::null());
    let code = command.status()?.code();
    // It ends with 2 where mutants were missed, with 3 where some timed out.
    if !matches!(code, Some(0 | 2 | 3)) {
        return Err(format!("cargo-mutants ended with {code:?}: see {}", out.display()).into());
    }
    let found: Vec<(String, String)> = WORDS.iter().flat_map(|word| read(&out, word)).collect();
    match names.iter().find(|name| !found.iter().any(|(found, _)| found == *name)) {
        Some(name) => Err(format!("cargo-mutants says nothing of {name}").into()),
        None => Ok(found),
    }
}

fn read(out: &Path, word: &str) -> Vec<(String, String)> {
    let path = out.join("mutants.out").join(format!("{word}.txt"));
    let lines = fs::read_to_string(path).unwrap_or_default();
    lines.lines().map(|line| (line.to_owned(), word.to_owned())).collect()
}

/// An expression that fits the name and nothing else.
fn exactly(name: &str) -> String {
    let mut expression = String::from("^");
    for character in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression + "$"
}
