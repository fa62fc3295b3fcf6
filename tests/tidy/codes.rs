//! Stable codes: what code can make, docs/CODES lists, and a test provokes, is one set. SPEC 8.2.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;

use crate::none;
use crate::source::{self, root};
use crate::texts::{self, Part, is_test_file, is_test_item, literals};

/// Codes that no test provokes, each with the reason. The list may only become shorter.
const NOT_PROVOKED: [(&str, &str); 4] = [
    ("bundle", "JSON of texts and numbers is written into memory, which cannot fail"),
    ("contention", "the state would have to change under each of many decisions in turn"),
    (
        "feed_ended",
        "a broker that stops breaks the stream; one that ends it in good order is not built",
    ),
    ("replay_too_long", "over a hundred thousand records"),
];

/// Codes that are ordinary words too: a text of a test is one only where it stands in brackets.
const ORDINARY: [&str; 4] = ["bundle", "io", "internal", "local"];

/// Tables of variants with their codes, which provoke nothing.
const TABLES: [&str; 3] = ["core/src/refusal/", "client/src/error.rs", "broker/src/respond.rs"];

/// Codes that a source file can make.
#[derive(Default)]
struct Made(BTreeSet<String>);

impl Made {
    fn read(text: &str) -> BTreeSet<String> {
        let mut made = Made::default();
        made.visit_file(&syn::parse_file(text).unwrap());
        made.0
    }

    fn take(&mut self, expression: &syn::Expr) {
        match expression {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(code), .. }) => {
                self.0.insert(code.value());
            }
            // `"code".into()`.
            syn::Expr::MethodCall(call) => self.take(&call.receiver),
            _ => {}
        }
    }
}

impl<'a> Visit<'a> for Made {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !is_test_item(item) {
            syn::visit::visit_item(self, item);
        }
    }

    /// What a function `code` gives: its literals, but for those that it compares with.
    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if is_of_codes(&function.sig) {
            InCode(self).visit_block(&function.block);
        }
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if is_of_codes(&function.sig) {
            InCode(self).visit_block(&function.block);
        }
        syn::visit::visit_item_fn(self, function);
    }

    /// `Error::local(code, …)`, `Error::new(kind, code, …)`, `coded(status, detail, code, …)`.
    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func {
            let path: Vec<String> =
                function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let at = match path.as_slice() {
                ["Error", "local"] => Some(0),
                ["Error", "new"] => Some(1),
                ["coded"] => Some(2),
                _ => None,
            };
            at.and_then(|at| call.args.get(at)).into_iter().for_each(|code| self.take(code));
        }
        syn::visit::visit_expr_call(self, call);
    }

    /// `Refused { code: "…" }`.
    fn visit_field_value(&mut self, field: &'a syn::FieldValue) {
        if matches!(&field.member, syn::Member::Named(name) if name == "code") {
            self.take(&field.expr);
        }
        syn::visit::visit_field_value(self, field);
    }
}

fn is_of_codes(signature: &syn::Signature) -> bool {
    signature.ident == "code" || signature.ident.to_string().ends_with("_code")
}

/// The body of a function that gives codes.
struct InCode<'m>(&'m mut Made);

impl<'a> Visit<'a> for InCode<'_> {
    fn visit_expr_lit(&mut self, literal: &'a syn::ExprLit) {
        if let syn::Lit::Str(code) = &literal.lit {
            self.0.0.insert(code.value());
        }
    }

    fn visit_pat(&mut self, _: &'a syn::Pat) {}
}

/// What code that ships can make.
fn made() -> BTreeSet<String> {
    // The demo tells how each of its attempts came out, in words of its own.
    let demo = |path: &str| path.starts_with("cli/src/demo/");
    source::ours()
        .iter()
        .filter(|file| !demo(&file.path))
        .flat_map(|file| Made::read(&file.text))
        .collect()
}

fn is_code(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// What docs/CODES lists: the first column of its tables, and the codes of inner types.
fn documented(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let cell = match line.strip_prefix("| ") {
            Some(row) => row.split(" | ").next().unwrap_or_default(),
            None => line
                .split(" are codes of inner types")
                .next()
                .filter(|cell| *cell != line)
                .unwrap_or_default(),
        };
        found.extend(
            cell.split('`').skip(1).step_by(2).filter(|word| is_code(word)).map(str::to_owned),
        );
    }
    found
}

/// Where tests name each code: as a text of its own, or in brackets as a message ends.
fn provoked(codes: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in texts::all() {
        let (path, is_rust) = (&file.path, file.path.ends_with(".rs"));
        let table = TABLES.iter().any(|table| path.starts_with(table));
        if !is_rust
            || table
            || path.starts_with("tests/tidy/")
            || path.starts_with("tests/mutants/")
        {
            continue;
        }
        let part = if is_test_file(path) { Part::All } else { Part::Tests };
        for text in literals(&file.text, part) {
            let bracketed = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
            for word in bracketed
                .map(|(word, _)| word)
                .chain([text.as_str()].into_iter().filter(|text| !ORDINARY.contains(text)))
            {
                if codes.contains(word) {
                    found.entry(word.to_owned()).or_default().insert(path.clone());
                }
            }
        }
    }
    found
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let text = std::fs::read_to_string(root().join("docs/CODES.md")).unwrap();
    let (made, documented) = (made(), documented(&text));
    let missing = made.difference(&documented).map(|code| format!("{code} is not in docs/CODES"));
    let gone = documented.difference(&made).map(|code| format!("nothing makes {code}"));
    none("codes", missing.chain(gone));
}

#[test]
fn every_code_is_provoked_by_a_test() {
    let made = made();
    let provoked = provoked(&made);
    for (code, files) in &provoked {
        println!("{code}: {files:?}");
    }
    let listed: BTreeSet<&str> = NOT_PROVOKED.iter().map(|(code, _)| *code).collect();
    println!("{} codes, {} provoked, {} listed", made.len(), provoked.len(), listed.len());
    let missing =
        made.iter().filter(|code| !provoked.contains_key(*code) && !listed.contains(code.as_str()));
    let again =
        listed.iter().filter(|code| provoked.contains_key(**code) || !made.contains(**code));
    let missing = missing.map(|code| format!("no test provokes {code}"));
    none("codes", missing.chain(again.map(|code| format!("{code} need not be listed"))));
}
