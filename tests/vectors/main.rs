//! Vectors for other implementations: what goes in, and what must come out. Each file is made
//! again here from fixed keys and compared byte for byte; SUBLET_VECTORS=write renews them.
//! tests/vectors/README.md says how to read them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod calls;
mod presentations;
mod scopes;
mod signed;
mod tokens;
mod values;

use std::path::PathBuf;

use serde_json::Value;
use sublet_core::base::text::base64url;

/// Holds a list of vectors against its file.
fn agreed(name: &str, vectors: &Value) {
    let text = format!("{vectors:#}\n");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    if std::env::var_os("SUBLET_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == agreed, "{}: SUBLET_VECTORS=write renews it", path.display());
}

fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    base64url(bytes).into()
}

/// What `detail` and no more: an error's code is agreed, its words may change.
fn verdict<T>(outcome: &Result<T, sublet_core::refusal::Refusal>) -> Value {
    match outcome {
        Ok(_) => "granted".into(),
        Err(refusal) => refusal.code().into(),
    }
}
