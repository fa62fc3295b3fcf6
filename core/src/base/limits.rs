//! Every bound of the token, in one place, each with its arithmetic. SPEC section 3.
//!
//! What lies over a bound is refused as `Malformed` before any work is spent on it.

/// Blocks after block 0. At about 250 bytes for the smallest real hop, 64 hops are 16 KiB,
/// well inside [`TOKEN_BYTES_MAX`].
pub const HOPS_MAX: u32 = 64;

/// Recorded hops behind one hop. Each is a row that the broker keeps while the hop lives.
pub const FAN_OUT_MAX: u32 = 65_536;

/// One block's payload: 64 capabilities of 48 bytes, or a few rich ones.
pub const BLOCK_BYTES_MAX: usize = 3 * 1024;

/// A whole token. Fits HTTP/2's header list when that is raised to [`HEADER_LIST_BYTES_MAX`].
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// What both sides must allow in HTTP/2 headers: a token of 47 KiB is base64 of 63 KiB.
pub const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// Capabilities in the scope of one block.
pub const CAPABILITIES_MAX: usize = 64;

/// Constraints in one capability, nested ones included.
pub const CONSTRAINTS_MAX: usize = 32;

/// Constraints inside constraints: all_of in any_of in not in all_of.
pub const CONSTRAINT_DEPTH_MAX: usize = 4;

/// The text of a regex or glob.
pub const PATTERN_BYTES_MAX: usize = 256;

/// Patterns (regex, glob, url with a wildcard) in the scope of one block. Each is compiled when the
/// block is read, which is before any signature is verified.
pub const PATTERNS_MAX: usize = 8;

/// Patterns in a whole token: eight hops with as many as they may have.
pub const TOKEN_PATTERNS_MAX: usize = 64;

/// The automaton of a regex or glob: some hundreds of states, compiled in about a tenth of a
/// millisecond.
pub const REGEX_BYTES_MAX: usize = 32 * 1024;

/// A string that is matched against a pattern. Matching takes at most its bytes times the states of
/// the automaton, some milliseconds.
pub const MATCHED_BYTES_MAX: usize = 4096;

/// Groups inside groups of a regex.
pub const REGEX_NESTING_MAX: u32 = 16;

/// Segments of a path that is taken for one: a call has a fact for each.
pub const PATH_SEGMENTS_MAX: usize = 64;

/// Bytes of such a path.
pub const PATH_BYTES_MAX: usize = 4096;

/// Values in one `one_of`.
pub const ONE_OF_MAX: usize = 128;

/// A name, pattern or string value inside a capability.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The arguments of one call.
pub const CALL_BYTES_MAX: usize = 1024 * 1024;

/// Nesting of JSON arguments: deeper than any tool schema seen, shallow enough for any stack.
pub const JSON_DEPTH_MAX: usize = 32;

/// Leaves of one call's arguments.
pub const ARGUMENTS_MAX: usize = 4096;

/// A SPIFFE id. The SPIFFE-ID specification allows 2,048; a block has to hold several.
pub const SPIFFE_ID_BYTES_MAX: usize = 256;

/// A helper path. A ledger leaf of 4 KiB has to hold two, beside two SPIFFE ids and 2 KiB of words.
pub const HELPER_PATH_BYTES_MAX: usize = 512;

/// The longest life of a delegation: seven days. Also how long a revocation must be remembered.
pub const DELEGATION_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// The longest life of an identity token: a day. The broker's default is an hour.
pub const IDENTITY_SECONDS_MAX: i64 = 24 * 3600;

/// How long after a rotation an identity under the key of before is good for everything but to be renewed:
/// a minute, which is longer than any call takes.
pub const KEY_CHANGE_MS: i64 = 60_000;

/// How far a block's `not_before` is set back when minted, inside its parent's window.
pub const BACKDATE_SECONDS: i64 = 10;

/// How old a call proof may be. SPEC section 5.
pub const PROOF_WINDOW_MS: i64 = 30_000;

/// How far a peer's clock may run ahead of ours, in proofs, receipts and heads.
pub const CLOCK_SKEW_MS: i64 = 5_000;

/// The default bound on the age of a revocation view.
pub const STALENESS_MS_DEFAULT: i64 = 10_000;

/// The largest further part of a presentation, in bytes. Such a part is reserved, and refused today.
pub const FURTHER_BYTES_MAX: usize = 8 * 1024;
