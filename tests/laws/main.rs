//! What must hold for every token, scope and call. Random cases: `SUBLET_LAW_CASES`, or 256.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod encoding;
mod exact;
mod meeting;
mod model;
mod naive;
mod narrowing;

use proptest::prelude::*;
use sublet_tests::law_cases;
use sublet_tests::universe::Dice;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(law_cases()) }
}

fn dice() -> impl Strategy<Value = Dice> {
    prop::collection::vec(any::<u16>(), 0..600).prop_map(Dice::new)
}
