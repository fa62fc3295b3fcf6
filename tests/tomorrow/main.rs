//! Formats that stay open: what this version does with what a later one writes. Each later form costs
//! every tool that is older, so what may be skipped is skipped, and what must not be is refused by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod bundles;
mod feed;
mod records;
mod words;
