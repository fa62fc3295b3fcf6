//! docs/ARCHITECTURE as a test: who depends on whom, and which words stand where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod circles;
mod codes;
mod forms;
mod musts;
mod named_tests;
mod names;
mod old_words;
mod papers;
mod readme;
mod rpcs;
mod source;
mod texts;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use source::{File, files, has_word};

/// Which of our crates each crate may depend on.
const EDGES: [(&str, &[&str]); 9] = [
    ("sublet-core", &[]),
    ("sublet-ledger", &[]),
    ("sublet-proto", &["sublet-core"]),
    ("sublet-host", &["sublet-core"]),
    ("sublet-pkcs11", &["sublet-core"]),
    (
        "sublet-broker",
        &["sublet-proto", "sublet-core", "sublet-ledger", "sublet-host", "sublet-pkcs11"],
    ),
    ("sublet-client", &["sublet-proto", "sublet-core", "sublet-ledger", "sublet-host"]),
    (
        "sublet",
        &[
            "sublet-broker",
            "sublet-client",
            "sublet-core",
            "sublet-ledger",
            "sublet-pkcs11",
            "sublet-proto",
        ],
    ),
    (
        "sublet-tests",
        &[
            "sublet",
            "sublet-broker",
            "sublet-client",
            "sublet-core",
            "sublet-ledger",
            "sublet-proto",
        ],
    ),
];

/// What the pure crates may not depend on: whatever has input or output.
const IMPURE: [&str; 8] = ["tokio", "tonic", "sled", "getrandom", "rand", "hyper", "tower", "mio"];

/// What core may not say outside its tests.
const IMPURE_WORDS: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant",
    "thread_rng",
    "async fn",
    "tokio",
    ".await",
];

const LINES_MAX: usize = 600;

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(source::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn dependencies(package: &Value) -> Vec<&str> {
    let all = package["dependencies"].as_array().unwrap();
    all.iter().map(|dependency| dependency["name"].as_str().unwrap()).collect()
}

/// Fails with every finding at once.
fn none(rule: &str, findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// `file:line: text` for every line of code outside tests that the predicate finds.
fn lines_with(files: &[File], find: impl Fn(&str) -> bool) -> Vec<String> {
    let in_file = |file: &File| {
        let found = file.code.iter().filter(|(_, line)| find(line));
        found.map(|(at, line)| format!("{}:{at}: {}", file.path, line.trim())).collect::<Vec<_>>()
    };
    files.iter().flat_map(in_file).collect()
}

#[test]
fn crates_depend_on_each_other_in_one_direction() {
    let packages = packages();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let allowed = EDGES.iter().find(|(crate_, _)| *crate_ == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} has no place in EDGES"));
        let ours = dependencies(package).into_iter().filter(|d| d.starts_with("sublet"));
        let beyond = ours.filter(|d| !allowed.contains(d));
        none("an edge that docs/ARCHITECTURE has not", beyond.map(|d| format!("{name} → {d}")));
    }
    assert_eq!(packages.len(), EDGES.len());
}

#[test]
fn core_and_ledger_depend_on_nothing_with_input_or_output() {
    let impure =
        |name: &str| IMPURE.iter().any(|i| name == *i || name.starts_with(&format!("{i}-")));
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if ["sublet-core", "sublet-ledger"].contains(&name) {
            let found = dependencies(&package).into_iter().filter(|d| impure(d));
            none("a dependency with I/O", found.map(|d| format!("{name} → {d}")));
        }
    }
}

#[test]
fn sublet_is_the_only_binary() {
    let mut binaries = Vec::new();
    for package in packages() {
        for target in package["targets"].as_array().unwrap() {
            if target["kind"].as_array().unwrap().iter().any(|kind| kind == "bin") {
                binaries.push(target["name"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(binaries, ["sublet"]);
}

#[test]
fn core_and_ledger_name_no_clock_file_socket_or_random_source() {
    let pure = [files("core/src"), files("ledger/src")].concat();
    let found = lines_with(&pure, |line| IMPURE_WORDS.iter().any(|word| has_word(line, word)));
    none("a word that the pure crates may not say", found);
}

#[test]
fn only_the_sled_store_names_sled() {
    let others: Vec<File> =
        source::ours().into_iter().filter(|file| file.path != "broker/src/store/sled.rs").collect();
    let module = |line: &str| {
        let line = line.trim();
        line == "mod sled;" || line.ends_with("use sled::Sled;") || line == "use super::sled::Sled;"
    };
    let found = lines_with(&others, |line| has_word(line, "sled") && line.contains("sled::"));
    let found = found.into_iter().filter(|found| {
        !((found.starts_with("broker/src/store/mod.rs:")
            || found.starts_with("broker/src/store/embedded.rs:"))
            && module(found.rsplit(": ").next().unwrap()))
    });
    none("sled is named outside broker/src/store/sled.rs", found);
}

#[test]
fn only_respond_builds_a_status() {
    let others: Vec<File> = files("broker/src")
        .into_iter()
        .filter(|file| file.path != "broker/src/request/respond.rs")
        .collect();
    let builds = |line: &str| {
        line.split("Status::").skip(1).any(|rest| {
            let name: String =
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            !name.is_empty() && rest[name.len()..].starts_with('(')
        })
    };
    none("a tonic::Status is built outside respond.rs", lines_with(&others, builds));
}

#[test]
fn only_the_pipeline_commits() {
    let others = files("broker/src");
    let others = others.into_iter().filter(|file| {
        file.path != "broker/src/request/pipeline.rs" && !file.path.starts_with("broker/src/store/")
    });
    let others: Vec<File> = others.collect();
    none("a commit outside the pipeline", lines_with(&others, |line| line.contains(".commit(")));
}

#[test]
fn only_mint_signs_blocks() {
    let detail = |file: &File, what: &str| file.code.iter().any(|(_, line)| line.contains(what));
    let signers = source::ours().into_iter().filter(|file| {
        detail(file, "signed_bytes(") && (detail(file, ".sign(") || detail(file, "sign_message("))
    });
    let signers: Vec<String> = signers.map(|file| file.path).collect();
    assert_eq!(signers, ["core/src/token/mint.rs"]);
}

#[test]
fn files_are_short() {
    let long = source::ours().into_iter().filter(|file| file.lines > LINES_MAX);
    let found = long.map(|file| format!("{}: {} lines without its tests", file.path, file.lines));
    none("a file over 600 lines", found);
}

/// An exception names its invariant in `#[expect(…, reason = "…")]`, on it or a few lines above.
#[test]
fn nothing_outside_tests_panics_without_a_named_invariant() {
    let panics = ["panic!", "unreachable!", "unimplemented!", ".unwrap()", ".expect(", "todo!"];
    let mut found = Vec::new();
    for file in source::ours() {
        for (at, (number, line)) in file.code.iter().enumerate() {
            let near = &file.code[at.saturating_sub(8)..at];
            let excused = near.iter().any(|(_, line)| line.contains("#[expect("))
                && near.iter().any(|(_, line)| line.contains("reason = "));
            if panics.iter().any(|word| line.contains(word)) && !excused {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none("a panic without a named invariant", found);
}

#[test]
fn no_lint_is_allowed_where_it_could_be_expected() {
    let found = lines_with(&source::ours(), |line| line.contains("allow(clippy::"));
    let generated = |found: &String| !found.starts_with("proto/src/");
    none(
        "an allow outside tests: use #[expect(…, reason = …)]",
        found.into_iter().filter(generated),
    );
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    let mut found = Vec::new();
    for file in source::everything() {
        for (number, line) in file.text.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[ignore") || line.starts_with("todo!(") {
                found.push(format!("{}:{}: {line}", file.path, number + 1));
            }
        }
    }
    none("a test ignored, or work left", found);
}

/// A file that no `mod` names is never compiled: its tests never run.
#[test]
fn every_file_is_a_module_of_its_crate() {
    let all: Vec<File> = source::everything()
        .into_iter()
        .filter(|file| file.path.contains("/src/") && !file.path.starts_with("tests/mutants/"))
        .collect();
    let declared = |file: &File| {
        let (folder, name) = file.path.rsplit_once('/').unwrap();
        if name == "lib.rs" || name == "main.rs" || name == "build.rs" {
            return true;
        }
        let (folder, module) = match name {
            "mod.rs" => folder.rsplit_once('/').unwrap(),
            name => (folder, name.strip_suffix(".rs").unwrap()),
        };
        let (by_name, by_path) = (format!("mod {module};"), format!("path = \"{name}\""));
        let says = |text: &str, what: &str| {
            text.lines().any(|line| line.trim().trim_end_matches(']').ends_with(what))
        };
        all.iter().any(|other| {
            let above = other.path.rsplit_once('/').unwrap().0;
            let is_parent = other.path == format!("{folder}.rs")
                || [
                    format!("{folder}/mod.rs"),
                    format!("{folder}/lib.rs"),
                    format!("{folder}/main.rs"),
                ]
                .contains(&other.path);
            (is_parent && says(&other.text, &by_name))
                || (above == folder && says(&other.text, &by_path))
        })
    };
    let stray = all.iter().filter(|file| !declared(file)).map(|file| file.path.clone());
    none("a file that no module names", stray);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = source::ours().into_iter().filter(|file| !file.text.starts_with("//!"));
    none("a module without a //! line", silent.map(|file| file.path));
}

#[test]
fn every_lint_of_the_workspace_reaches_every_crate() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().unwrap();
        let text = std::fs::read_to_string(Path::new(manifest)).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} inherits no lints");
    }
}
