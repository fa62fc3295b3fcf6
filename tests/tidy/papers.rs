//! What a text names is there: files, documents and their parts, decisions, targets of links.

use std::collections::BTreeSet;
use std::path::Path;

use crate::none;
use crate::source::root;
use crate::texts::{self, Text, below_root, prose};

/// Files that a run writes, and one of another project.
const NOT_OURS: [&str; 4] =
    ["tests/fuzz/artifacts", "derived/report.md", "report.md", "SPIFFE_Workload_API.md"];

/// Folders below which a path is one of ours, wherever it stands.
const ROOMS: [&str; 8] = ["core", "ledger", "proto", "host", "broker", "client", "pkcs11", "cli"];

/// Words of a line that can be paths, with their places.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    line.split(move |c: char| !part(c))
        .map(|word| word.trim_end_matches(['.', '/', '-']))
        // What begins with a slash is behind a folder that is named elsewhere, as in `concat!`.
        .filter(|word| !word.is_empty() && !word.starts_with('/'))
}

/// Whether a word is a path from the root of the repository.
fn is_from_root(word: &str) -> bool {
    let mut parts = word.split('/');
    match (parts.next(), parts.next()) {
        (Some("docs" | "tests" | "benches"), Some(_)) => true,
        (Some(room), Some("src" | "tests" | "examples")) => ROOMS.contains(&room),
        (Some("proto"), Some("sublet")) => true,
        _ => false,
    }
}

/// What there is.
struct Known {
    files: BTreeSet<String>,
}

impl Known {
    fn read() -> Self {
        let mut files = BTreeSet::new();
        everything(&root(), &mut files);
        Known { files }
    }

    /// Whether a path from the root is a file, a folder, a document without its ending, or a decision by its
    /// number.
    fn has(&self, path: &str) -> bool {
        let (folder, document) = (format!("{path}/"), format!("{path}.md"));
        let decision = path
            .strip_prefix("docs/decisions/")
            .is_some_and(|number| number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()));
        let begins = |start: &str| self.files.iter().any(|file| file.starts_with(start));
        self.files.contains(path)
            || self.files.contains(&document)
            || begins(&folder)
            || (decision && begins(&format!("{path}-")))
    }

    /// Whether there is a file whose path ends so.
    fn has_end(&self, path: &str) -> bool {
        let end = format!("/{path}");
        self.files.iter().any(|file| file == path || file.ends_with(&end))
    }
}

fn everything(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name == ".git" => {}
            true => everything(&path, found),
            false => drop(found.insert(below_root(&path))),
        }
    }
}

/// The paths of a text that lead nowhere.
fn paths_to_nowhere(file: &Text, known: &Known) -> Vec<String> {
    let mut found = Vec::new();
    let home = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (at, line) in file.text.lines().enumerate() {
        for path in paths(line).filter(|path| is_from_root(path)) {
            let here = known.has(&format!("{home}/{path}"));
            if !known.has(path) && !here && !NOT_OURS.contains(&path) {
                found.push(format!("{}:{}: {path}", file.path, at + 1));
            }
        }
    }
    for (at, line) in prose(file) {
        for path in paths(line) {
            let path = path.trim_start_matches("../").trim_start_matches("./");
            let is_file = [".rs", ".md", ".proto"].iter().any(|end| {
                path.strip_suffix(end).is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
            });
            if is_file && !is_from_root(path) && !known.has_end(path) && !NOT_OURS.contains(&path) {
                found.push(format!("{}:{at}: {path}", file.path));
            }
        }
    }
    found
}

/// `#[path = "…"]` of files that no build of the workspace compiles.
fn modules_to_nowhere(file: &Text) -> Vec<String> {
    let folder = root().join(&file.path);
    let folder = folder.parent().unwrap();
    let modules = file.text.lines().enumerate().filter_map(|(at, line)| {
        let path = line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]")?;
        (!folder.join(path).exists()).then(|| format!("{}:{}: {path}", file.path, at + 1))
    });
    modules.collect()
}

/// The decisions that a line cites in words: `decision 14`, `decisions 9 and 27`.
fn decisions(line: &str) -> Vec<u32> {
    let line = line.to_lowercase();
    let mut found = Vec::new();
    for (at, word) in line.match_indices("decision") {
        let rest = line[at + word.len()..].trim_start_matches('s');
        let Some(rest) = rest.strip_prefix(' ') else { continue };
        for part in rest.replace(" and ", ", ").split(", ") {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse() {
                Ok(number) => found.push(number),
                Err(_) => break,
            }
            if digits.len() < part.len() {
                break;
            }
        }
    }
    found
}

/// The parts of documents that a line cites: `FORMATS, "On the wire"`.
fn parts(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(", \"") {
        let Some((title, _)) = line[at + 3..].split_once('"') else { continue };
        let mut before = &line[..at];
        if let Some((link, _)) = before.strip_suffix(')').and_then(|link| link.rsplit_once("](")) {
            before = link;
        }
        let before = before.trim_end_matches('`').trim_end_matches(".md");
        let start = before.rfind(|c: char| !c.is_ascii_uppercase()).map_or(0, |at| at + 1);
        let document = &before[start..];
        if document.len() > 2 && root().join(format!("docs/{document}.md")).exists() {
            found.push((document.to_owned(), title.to_owned()));
        }
    }
    found
}

fn headings(markdown: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    markdown.lines().filter_map(move |line| {
        fenced ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        (!fenced && line.starts_with('#')).then(|| text.trim())
    })
}

fn has_heading(document: &str, title: &str) -> bool {
    let text = std::fs::read_to_string(root().join(format!("docs/{document}.md"))).unwrap();
    headings(&text).any(|heading| heading == title)
}

/// The anchors of a document: what it names as one, and its headings as GitHub makes them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let named = markdown.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let named = named.map(str::to_owned);
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let of_heading = headings(markdown).map(|heading| {
        heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
    });
    named.chain(of_heading.collect::<Vec<_>>()).collect()
}

/// The links of a document that lead nowhere.
fn links_to_nowhere(file: &Text) -> Vec<String> {
    let path = root().join(&file.path);
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for rest in line.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (to, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = match to {
                "" => path.clone(),
                to => path.parent().unwrap().join(to),
            };
            let has_anchor = || anchors(&std::fs::read_to_string(&to).unwrap()).contains(anchor);
            if !to.exists() || !(anchor.is_empty() || has_anchor()) {
                found.push(format!("{}:{}: {target}", file.path, at + 1));
            }
        }
    }
    found
}

/// What a text names and is not there.
fn to_nowhere(file: &Text, known: &Known) -> Vec<String> {
    let mut found = paths_to_nowhere(file, known);
    found.extend(modules_to_nowhere(file));
    for (at, line) in prose(file) {
        let at = format!("{}:{at}", file.path);
        let missing = |number: &u32| !known.has(&format!("docs/decisions/{number:04}"));
        let decisions = decisions(line).into_iter().filter(missing);
        found.extend(decisions.map(|number| format!("{at}: decision {number}")));
        let parts = parts(line).into_iter().filter(|(name, title)| !has_heading(name, title));
        found.extend(parts.map(|(name, title)| format!("{at}: {name}, \"{title}\"")));
    }
    if file.path.ends_with(".md") {
        found.extend(links_to_nowhere(file));
    }
    found
}

#[test]
fn what_a_text_names_is_there() {
    let known = Known::read();
    // The changelog names what was; the controls below, and those of other rules, name what never was.
    let names_others = |path: &str| path == "CHANGELOG.md" || path.starts_with("tests/tidy/");
    let texts = texts::all().into_iter().filter(|file| !names_others(&file.path));
    none("named, and not there", texts.flat_map(|file| to_nowhere(&file, &known)));
}

#[test]
fn what_is_not_there_is_found() {
    let known = Known::read();
    let found = |path: &str, text: &str| {
        to_nowhere(&Text { path: path.to_owned(), text: text.to_owned() }, &known).len()
    };
    for bad in [
        "see docs/SPECS",
        "see docs/decisions/0999",
        "in `core/src/nothing.rs`.",
        "only `nothing.rs` does",
        "decision 99 and decision 98 say so, 7".split(" and").next().unwrap(),
        "decisions 9 and 999",
        "FORMATS, \"Nothing\"",
        "[FORMATS](FORMATS.md), \"Nothing\"",
        "[a term](GLOSSARY.md#nothing)",
        "[a text](NOTHING.md)".replace(".md", ".txt").as_str(),
    ] {
        assert_eq!(found("docs/X.md", bad), 1, "{bad}");
    }
    for good in [
        "see docs/SPEC, docs/decisions/0014 and `core/src/lib.rs`",
        "decision 14, or decisions 9 and 27, 3 times",
        "[FORMATS](FORMATS.md), \"On the wire\"; [a hop](GLOSSARY.md#hop)",
        "https://example.com/docs/nothing and ./broker/admin.pem",
    ] {
        assert_eq!(found("docs/X.md", good), 0, "{good}");
    }
    assert_eq!(found("core/src/x.rs", "let x = \"nothing.rs\"; // nothing.md"), 1);
    assert_eq!(found("core/src/x.rs", "#[path = \"nothing.rs\"]\nmod x;"), 1);
}
