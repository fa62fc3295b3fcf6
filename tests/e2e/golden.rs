//! What people read is an interface: help texts are golden files. SUBLET_GOLDEN=write renews them.

use std::path::PathBuf;

use crate::stage::sublet_in;

const COMMANDS: [&str; 16] = [
    "",
    "demo",
    "serve",
    "agent",
    "agent enroll",
    "profile",
    "key",
    "issue",
    "delegate",
    "record",
    "call",
    "verify",
    "inspect",
    "revoke",
    "audit replay",
    "bench",
];

#[test]
fn help_texts_are_as_they_were_agreed() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let home = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = sublet_in(home.path(), &words).ok();
        let name = if command.is_empty() { "sublet".to_owned() } else { command.replace(' ', "-") };
        let path = golden.join(format!("{name}.help.txt"));
        if std::env::var_os("SUBLET_GOLDEN").is_some() {
            std::fs::create_dir_all(&golden).unwrap();
            std::fs::write(&path, &help).unwrap();
        }
        let agreed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(help, agreed, "{}: SUBLET_GOLDEN=write renews it", path.display());
    }
}
