//! No circle of files: of two files at most one uses names of the other, also in a round about others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::names::{Arrows, Crate};
use crate::source;

/// The root file of each crate that ships.
const ROOTS: [&str; 8] = [
    "core/src/lib.rs",
    "ledger/src/lib.rs",
    "proto/src/lib.rs",
    "host/src/lib.rs",
    "broker/src/lib.rs",
    "client/src/lib.rs",
    "pkcs11/src/lib.rs",
    "cli/src/main.rs",
];

/// The files that reach each other, each circle once.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<&str>> {
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            for to in arrows.get(&file).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        arrows.keys().map(|file| (file.as_str(), reach(file))).collect();
    let mut found: Vec<BTreeSet<&str>> = Vec::new();
    for (file, to) in &reached {
        if !to.contains(*file) || found.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let back =
            reached.iter().filter(|(other, from)| to.contains(**other) && from.contains(*file));
        found.push(back.map(|(other, _)| *other).collect());
    }
    found
}

/// The arrows within a circle, in words.
fn describe(arrows: &Arrows, circle: &BTreeSet<&str>) -> String {
    let mut lines = Vec::new();
    for from in circle {
        for (to, name) in arrows.get(*from).into_iter().flatten() {
            if circle.contains(to.as_str()) {
                lines.push(format!("{from} → {to} ({name})"));
            }
        }
    }
    lines.join("\n    ")
}

fn arrows_of(read: &Crate, base: &Path) -> Arrows {
    read.arrows(|path| path.strip_prefix(base).unwrap_or(path).to_string_lossy().replace('\\', "/"))
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let base = source::root();
    let mut found = Vec::new();
    for root in ROOTS {
        let read = Crate::read(&base.join(root));
        assert!(read.modules() > 1, "{root} was not read");
        let arrows = arrows_of(&read, &base);
        found.extend(circles(&arrows).iter().map(|circle| describe(&arrows, circle)));
    }
    crate::none("files in a circle", found);
}

/// A crate of two or three files, written to a directory of its own.
fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = directory.path().join("lib.rs");
    (directory, root)
}

fn circles_of(files: &[(&str, &str)]) -> usize {
    let (directory, root) = written(files);
    circles(&arrows_of(&Crate::read(&root), directory.path())).len()
}

#[test]
fn a_circle_is_found_however_it_is_made() {
    let lib = ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\npub use b::B;");
    let none = ("c.rs", "");
    let b_of_a = ("b.rs", "pub struct B(pub crate::a::A);");
    for (what, a) in [
        ("an import", "use crate::b::B;\npub struct A;\nfn f(_: B) {}"),
        ("an unused import", "use crate::b::B;\npub struct A;"),
        ("a path", "pub struct A;\nfn f() { let _ = crate::b::B(A); }"),
        ("a path from the module above", "pub struct A;\nfn f(_: super::b::B) {}"),
        ("an imported module", "use crate::b;\npub struct A;\nfn f(_: b::B) {}"),
        ("a renamed import", "use crate::b::B as C;\npub struct A;\nfn f(_: C) {}"),
        ("a glob", "use crate::b::*;\npub struct A;\nfn f(_: B) {}"),
        ("a macro's arguments", "pub struct A;\nfn f() { println!(\"{:?}\", crate::b::B(A)); }"),
        (
            "a macro that puts its arguments behind a path",
            "macro_rules! all { ($($n:ident),*) => { fn f($(_: super::b::$n),*) {} } }\npub struct A;\nall!(B);",
        ),
        (
            "a macro that puts its arguments behind the module above",
            "macro_rules! all { ($($n:ident),*) => { fn f($(_: super::$n),*) {} } }\npub struct A;\nall!(B);",
        ),
        ("an import within a function", "pub struct A;\nfn f() { use crate::b::B; }"),
    ] {
        assert_eq!(circles_of(&[lib, ("a.rs", a), b_of_a, none]), 1, "{what}");
    }
    // Through a third file, and through a name that the root exports again.
    let (a, b, c) = (
        "use crate::b::B;\npub struct A;",
        "use crate::c::C;\npub struct B;",
        "pub struct C(crate::A);",
    );
    assert_eq!(circles_of(&[lib, ("a.rs", a), ("b.rs", b), ("c.rs", c)]), 1);
    let (below, above) = ("mod d;\npub struct A;\nfn f(_: d::D) {}", "pub struct D(super::A);");
    assert_eq!(circles_of(&[lib, ("a.rs", below), ("b.rs", ""), none, ("a/d.rs", above)]), 1);
}

#[test]
fn what_is_no_circle_is_none() {
    let lib = ("lib.rs", "pub mod a;\npub mod b;\npub use a::A;\npub use b::B;");
    let b_of_a = ("b.rs", "pub struct B(pub crate::a::A);");
    for (what, a) in [
        ("a test", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }"),
        ("a re-export", "pub use crate::b::B;\npub struct A;"),
        ("a module of the same name elsewhere", "pub struct A;\nfn f(_: other::b::B) {}"),
        ("a word", "pub struct A;\n/// As crate::b::B has it.\nfn f() { let b = 1; let _ = b; }"),
    ] {
        assert_eq!(circles_of(&[lib, ("a.rs", a), b_of_a]), 0, "{what}");
    }
}
