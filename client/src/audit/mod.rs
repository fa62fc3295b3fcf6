//! What an auditor has: the records of a ledger, replayed, queried, mirrored, and bundled as
//! evidence.

mod archive;
pub mod bundle;
pub mod chain;
pub mod consents;
pub mod doubt;
pub mod entry;
pub mod history;
pub mod mirror;
mod names;
pub mod published;
pub mod questions;
pub mod rebuild;
pub mod records;
pub mod replay;
