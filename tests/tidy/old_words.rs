//! No old word is left: what was renamed stands under its old name in the CHANGELOG alone.

use crate::none;
use crate::source::has_word;
use crate::texts;

/// Names of before, as whole words.
const OLD: [&str; 23] = [
    "to_its_end",
    "turn_keys",
    "give_up",
    "Neighbour",
    "SeenProofs",
    "BadReplay",
    "Upkeep",
    "Notary",
    "LookupAgent",
    "ShowAgent",
    "ShowProfile",
    "ChangeKey",
    "ProveRecorded",
    "SyncVerifier",
    "PlaceHold",
    "keep_days",
    "receipt_fresh_ms",
    "tls.elsewhere",
    "not_permitted",
    "agent_state",
    "no_hop",
    "key_of_another",
    "not_yours_to_revoke",
];

/// More of them: also as a part of a longer name, or as a key of a configuration.
fn is_old(line: &str) -> bool {
    let line = line.trim_start();
    OLD.iter().any(|word| has_word(line, word))
        || has_word(line, "login_names_nobody")
        || ["give_up_", "given_up"].iter().any(|part| line.contains(part))
        || line.starts_with("elsewhere =")
        || ["\"elsewhere =", "\\nelsewhere ="].iter().any(|key| line.contains(key))
}

#[test]
fn no_old_word_is_left() {
    let mut found = Vec::new();
    for file in texts::all() {
        if file.path == "CHANGELOG.md" || file.path == "tests/tidy/old_words.rs" {
            continue;
        }
        let lines = file.text.lines().enumerate().filter(|(_, line)| is_old(line));
        found.extend(lines.map(|(at, line)| format!("{}:{}: {}", file.path, at + 1, line.trim())));
    }
    none("a word of before", found);
}

#[test]
fn an_old_word_is_found_whole() {
    for old in [
        "impl Notary {",
        "`turn_keys`",
        "code() == \"no_hop\"",
        "elsewhere = true",
        "x = \"[tls]\\nelsewhere = 1\"",
        "fn give_up_what() {",
        "set tls.elsewhere",
    ] {
        assert!(is_old(old), "{old}");
    }
    for new in
        ["let elsewhere = 1;", "no_hops_left", "NotaryPublic", "agent_states", "kept elsewhere"]
    {
        assert!(!is_old(new), "{new}");
    }
}
