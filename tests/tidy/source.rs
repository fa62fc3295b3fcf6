//! Our sources, and which of their lines are code that ships.

use std::path::{Path, PathBuf};

/// A source file.
#[derive(Clone)]
pub(crate) struct File {
    /// Its path below the root, with `/`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// Numbered lines that are neither comment nor test.
    pub(crate) code: Vec<(usize, String)>,
    /// How many lines it has without its tests.
    pub(crate) lines: usize,
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every source file of what ships: all crates but the tests, without their test modules.
pub(crate) fn ours() -> Vec<File> {
    ["core", "ledger", "proto", "host", "broker", "client", "pkcs11", "cli"]
        .iter()
        .flat_map(|name| files(&format!("{name}/src")))
        .collect()
}

/// Every source file, tests and all.
pub(crate) fn everything() -> Vec<File> {
    let mut found = Vec::new();
    for name in ["core", "ledger", "proto", "host", "broker", "client", "pkcs11", "cli", "tests"] {
        walk(&root().join(name), &mut found);
    }
    found.iter().map(|path| read(path)).collect()
}

/// The source files below a folder that ship.
pub(crate) fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let tests: Vec<PathBuf> = found.iter().flat_map(|path| test_modules(path)).collect();
    let tests_only = |path: &Path| {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        stem.ends_with("_tests")
            || tests.iter().any(|module| path.starts_with(module))
            || tests.contains(&path.with_extension(""))
    };
    found.iter().filter(|path| !tests_only(path)).map(|path| read(path)).collect()
}

/// The modules that a file declares as tests, each as its path without `.rs`.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(path).unwrap();
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = match stem.as_str() {
        "lib" | "main" | "mod" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let name =
        |pair: &[&str]| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, n)| folder.join(n));
    declared.filter_map(name).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> File {
    let text = std::fs::read_to_string(path).unwrap();
    let below = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    let shipped = shipped(&text);
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let code = shipped.iter().filter(|(_, line)| !is_comment(line));
    let code = code.map(|(at, line)| (*at, (*line).to_owned())).collect();
    File { path: below, lines: shipped.len(), code, text }
}

/// The numbered lines outside `#[cfg(test)]` items. Formatted code ends an item with a brace in
/// the item's own column, or on its first line.
pub(crate) fn shipped(text: &str) -> Vec<(usize, &str)> {
    let mut shipped = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            shipped.push((at + 1, line));
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let (end, mut first) = (format!("{indent}}}"), true);
        for (_, line) in lines.by_ref() {
            let attribute = first && line.trim_start().starts_with("#[");
            let one_line = first && !attribute && (line.ends_with(';') || line.ends_with('}'));
            if one_line || line.trim_end() == end {
                break;
            }
            first = first && attribute;
        }
    }
    shipped
}

/// Whether the line says this word, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = word.starts_with('.') || !before.is_some_and(joins);
        starts && !after.is_some_and(joins)
    })
}

#[test]
fn test_items_are_left_out_and_what_follows_them_is_not() {
    let text = "//! x\n#[cfg(test)]\nmod a;\nfn b() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod c {\n    fn d() {\n    }\n}\nfn e() {}\n";
    let lines: Vec<&str> = shipped(text).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["//! x", "fn b() {}", "fn e() {}"]);
}

#[test]
fn a_word_is_found_alone() {
    assert!(has_word("let t = Instant::now();", "Instant") && has_word("x.await", ".await"));
    assert!(!has_word("Instantiate", "Instant") && !has_word("let my_tokio = 1", "tokio"));
}
