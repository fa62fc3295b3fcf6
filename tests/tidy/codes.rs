//! Stable codes: what code can make, docs/CODES lists, and a test provokes, is one set. SPEC 8.2.

use std::collections::BTreeSet;

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
const TABLES: [&str; 3] = ["core/src/refusal/", "client/src/error.rs", "proto/src/status.rs"];

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

/// The codes that texts of tests name: a text of its own, or in brackets as a message ends.
fn named(texts: &BTreeSet<String>, codes: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in texts {
        let bracketed = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        let alone = Some(text.as_str()).filter(|text| !ORDINARY.contains(text));
        let words = bracketed.map(|(word, _)| word).chain(alone);
        found.extend(words.filter(|word| codes.contains(*word)).map(str::to_owned));
    }
    found
}

/// The codes that some test names.
fn provoked(codes: &BTreeSet<String>) -> BTreeSet<String> {
    let is_of_rules = |path: &str| {
        let ours = ["tests/tidy/", "tests/mutants/"].into_iter().chain(TABLES);
        !path.ends_with(".rs") || ours.into_iter().any(|folder| path.starts_with(folder))
    };
    let files = texts::all().into_iter().filter(|file| !is_of_rules(&file.path));
    let of_file = |file: texts::Text| {
        let part = if is_test_file(&file.path) { Part::All } else { Part::Tests };
        named(&literals(&file.text, part), codes)
    };
    files.flat_map(of_file).collect()
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
    let listed: BTreeSet<&str> = NOT_PROVOKED.iter().map(|(code, _)| *code).collect();
    println!("{} codes, {} provoked, {} listed", made.len(), provoked.len(), listed.len());
    let missing =
        made.iter().filter(|code| !provoked.contains(*code) && !listed.contains(code.as_str()));
    let again = listed.iter().filter(|code| provoked.contains(**code) || !made.contains(**code));
    let missing = missing.map(|code| format!("no test provokes {code}"));
    none("codes", missing.chain(again.map(|code| format!("{code} need not be listed"))));
}

#[test]
fn a_code_is_found_where_it_is_made_listed_and_provoked() {
    let text = "fn code(x: X) -> &'static str { match x { X::A => \"a_a\", X::B(\"no\") => \"b_b\" } }\n\
                fn f() { Error::local(\"c_c\", \"no\"); Error::new(K::Io, \"d_d\".into(), m); coded(s, \"no\", \"e_e\", None); }\n\
                fn g() { Refused { code: \"f_f\", detail: \"no\" }; CliError::local(\"no\"); }\n\
                #[cfg(test)]\nmod tests { fn code() -> &'static str { \"no\" } }";
    let set = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(Made::read(text), set(&["a_a", "b_b", "c_c", "d_d", "e_e", "f_f"]));
    let page = "| code | cause |\n|---|---|\n| `a_a`, `b_b` | `no` |\n`c_c` and `d_d` are codes of inner types. `no`.";
    assert_eq!(
        documented(page),
        set(&["code", "a_a", "b_b", "c_c", "d_d"])
            .into_iter()
            .filter(|code| code != "code")
            .collect()
    );
    let texts = set(&["a_a", "refused [b_b]", "io", "[local]", "of c_c"]);
    let codes = set(&["a_a", "b_b", "c_c", "io", "local"]);
    assert_eq!(named(&texts, &codes), set(&["a_a", "b_b", "local"]));
    let source =
        "fn f() { g(\"a_a\") }\n#[cfg(test)]\nmod tests { fn h() { assert_eq!(x, \"b_b\") } }";
    assert_eq!(literals(source, Part::Tests), set(&["b_b"]));
    assert_eq!(literals(source, Part::Shipped), set(&["a_a"]));
}
