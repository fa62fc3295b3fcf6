//! The attacks of docs/THREATS, one file each, as far as core alone reaches. Each asserts
//! the stable code that a user would see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod absent_field;
mod arguments_aliased;
mod block_as_proof;
mod block_removed;
mod block_spliced;
mod blocks_reordered;
mod bombs;
mod certificate;
mod child_longer;
mod child_wider;
mod clock_wrong;
mod encoded_otherwise;
mod federated_domain;
mod feed_tampered;
mod handed_out_only;
mod hop_by_non_holder;
mod hop_in_anothers_name;
mod hop_unrecorded;
mod identity_as_delegation;
mod join_token;
mod jwt;
mod key_revoked;
mod key_shared;
mod key_weak;
mod negation_over_nothing;
mod next_key_swapped;
mod proof_moved;
mod proof_replayed;
mod receipt_of_another;
mod record_names;
mod revoked_ancestor;
mod root_not_trusted;
mod signature_edge_cases;
mod signature_remade;
mod steps_skipped;
mod symbols_from_later;
mod token_stolen;
