//! The README's block of Rust compiles: it is the marked part of an example that the workspace builds.

use crate::source::root;

const EXAMPLE: &str = "client/examples/readme.rs";

/// The Rust blocks of a document.
fn blocks(markdown: &str) -> Vec<String> {
    let inside = |rest: &str| rest.split("\n```").next().unwrap_or_default().trim().to_owned();
    markdown.split("```rust\n").skip(1).map(inside).collect()
}

/// Lines without the spaces before them.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Whether an example has these lines, one behind the other.
fn has(example: &str, block: &str) -> bool {
    let (example, block) = (lines(example), lines(block));
    !block.is_empty() && example.windows(block.len()).any(|window| window == block.as_slice())
}

/// Cargo builds every example with the tests, so what stands in one compiles.
#[test]
fn every_block_of_rust_in_the_readme_is_in_an_example_that_compiles() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (example, blocks) = (read(EXAMPLE), blocks(&read("README.md")));
    assert!(!blocks.is_empty(), "the README has no Rust");
    for block in blocks {
        assert!(has(&example, &block), "{EXAMPLE} has not these lines of the README:\n{block}");
    }
}

#[test]
fn a_block_that_no_example_has_is_found() {
    let readme = "a\n```rust\nlet a = b()?;\nlet c = a;\n```\n```sh\nls\n```\n";
    assert_eq!(blocks(readme), ["let a = b()?;\nlet c = a;"]);
    let block = &blocks(readme)[0];
    assert!(has("fn f() {\n    let a = b()?;\n    let c = a;\n}", block));
    assert!(!has("fn f() {\n    let a = b();\n    let c = a;\n}", block));
}
