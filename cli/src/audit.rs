//! What the audit commands and the demo make of a ledger.
//!
//! Owns: the checks of copies and bundles, the questions and answers of a replay, the reports, and their exit
//! codes. Does not own: flags and their help (`command::audit`), verification itself (`sublet_client`,
//! `sublet_ledger`).

pub(crate) mod against;
pub(crate) mod answers;
pub(crate) mod checkpoint;
pub(crate) mod copy;
pub(crate) mod delegation;
pub(crate) mod evidence;
mod ocsf;
pub(crate) mod questions;
pub(crate) mod report;
pub(crate) mod retention;
