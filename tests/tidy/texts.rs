//! Every text of the repository: code, documents, settings; and what of a source file is a test.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::source::{self, root};

/// A text file.
pub(crate) struct Text {
    /// Its path below the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Folders that hold no text of ours: what a build, a fuzzer or a generator wrote.
const NOT_OURS: [&str; 3] = ["tests/fuzz/seeds", "tests/fuzz/corpus", "tests/fuzz/artifacts"];

/// Names of mutants as of the commit that they were tried on: it names files of that commit.
const OF_ANOTHER_COMMIT: &str = "tests/mutants/results.txt";

const EXTENSIONS: [&str; 6] = ["rs", "md", "proto", "toml", "txt", "yml"];

/// Every text of ours, in the order of their paths.
pub(crate) fn all() -> Vec<Text> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort_by(|a: &Text, b| a.path.cmp(&b.path));
    assert!(found.len() > 300, "only {} texts were found", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<Text>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let below = below_root(&path);
        if path.is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if name != "target" && !hidden && !NOT_OURS.contains(&below.as_str()) {
                walk(&path, found);
            }
        } else if is_text(&path, &name) && below != OF_ANOTHER_COMMIT {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push(Text { path: below, text });
        }
    }
}

fn is_text(path: &Path, name: &str) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    name == "run" || extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

pub(crate) fn below_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The comments of a source file with their line numbers; of every other file all lines.
pub(crate) fn prose(file: &Text) -> impl Iterator<Item = (usize, &str)> {
    let code = file.path.ends_with(".rs") || file.path.ends_with(".proto");
    file.text.lines().enumerate().filter_map(move |(at, line)| match code {
        true => line.find("//").map(|from| (at + 1, &line[from..])),
        false => Some((at + 1, line)),
    })
}

/// Whether this source file is test code as a whole.
pub(crate) fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("_tests.rs")
        || path.ends_with("/tests.rs")
        || path.ends_with("/fixture.rs")
}

/// The functions of a source file, and which of them are run as tests.
#[derive(Default)]
pub(crate) struct Functions {
    /// Those with an attribute `test`.
    pub(crate) tests: BTreeSet<String>,
    /// All of them.
    pub(crate) all: BTreeSet<String>,
    /// Names in a macro that makes items: `proptest!` has its tests in it, the contract suite a table of the
    /// functions that it runs on each store.
    pub(crate) in_macros: BTreeSet<String>,
}

impl Functions {
    /// Reads a source file.
    pub(crate) fn read(text: &str) -> Self {
        let mut found = Functions::default();
        found.visit_file(&syn::parse_file(text).unwrap());
        found
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        };
        let name = function.sig.ident.to_string();
        if function.attrs.iter().any(is_test) {
            self.tests.insert(name.clone());
        }
        self.all.insert(name);
    }

    fn visit_item_macro(&mut self, called: &'a syn::ItemMacro) {
        idents(called.mac.tokens.clone(), &mut self.in_macros);
    }
}

/// Whether an item is there in tests alone.
pub(crate) fn is_test_item(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let of_tests = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
        of_tests || attribute.path().segments.last().is_some_and(|last| last.ident == "test")
    })
}

/// Which part of a source file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Tests,
    Shipped,
}

/// The texts that a part of a source file has as literals.
pub(crate) fn literals(text: &str, part: Part) -> BTreeSet<String> {
    let mut found = Literals { part, in_tests: false, found: BTreeSet::new() };
    found.visit_file(&syn::parse_file(text).unwrap());
    found.found
}

struct Literals {
    part: Part,
    in_tests: bool,
    found: BTreeSet<String>,
}

impl Literals {
    fn is_in(&self) -> bool {
        match self.part {
            Part::All => true,
            Part::Tests => self.in_tests,
            Part::Shipped => !self.in_tests,
        }
    }
}

impl<'a> Visit<'a> for Literals {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let before = self.in_tests;
        self.in_tests |= is_test_item(item);
        syn::visit::visit_item(self, item);
        self.in_tests = before;
    }

    fn visit_lit_str(&mut self, literal: &'a syn::LitStr) {
        if self.is_in() {
            self.found.insert(literal.value());
        }
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        if self.is_in() {
            in_tokens(called.tokens.clone(), &mut self.found);
        }
    }
}

fn in_tokens(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    found.insert(text.value());
                }
            }
            TokenTree::Group(group) => in_tokens(group.stream(), found),
            _ => {}
        }
    }
}

fn idents(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => drop(found.insert(name.to_string())),
            TokenTree::Group(group) => idents(group.stream(), found),
            _ => {}
        }
    }
}

#[test]
fn a_test_is_a_function_with_the_attribute_or_of_a_macro() {
    let text = "#[test]\nfn a() {}\n#[tokio::test]\nasync fn b() {}\nfn c() {}\nproptest! { #[test] fn d() {} }\nmod m { #[test]\nfn e() {} }";
    let Functions { tests, all, in_macros } = Functions::read(text);
    assert_eq!(tests.into_iter().collect::<Vec<_>>(), ["a", "b", "e"]);
    assert!(all.contains("c") && in_macros.contains("d") && !in_macros.contains("c"));
}

/// The numbers of the lines of a source file that are its tests.
pub(crate) fn test_lines(text: &str) -> BTreeSet<usize> {
    let shipped: BTreeSet<usize> = source::shipped(text).into_iter().map(|(at, _)| at).collect();
    (1..=text.lines().count()).filter(|line| !shipped.contains(line)).collect()
}
