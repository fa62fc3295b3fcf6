//! Every limit of the token in one place, each with its arithmetic. SPEC section 3.
//!
//! Whatever exceeds a limit is refused as `Malformed` before any work is spent on it.

/// The most hops after block 0. At about 250 bytes for the smallest hop, 64 hops are 16 KiB, well
/// below [`TOKEN_BYTES_MAX`].
pub const HOPS_MAX: u32 = 64;

/// The most recorded hops directly below one hop. Each is a row that the broker keeps while the hop
/// lives.
pub const FAN_OUT_MAX: u32 = 65_536;

/// The largest payload of a block, in bytes: 64 capabilities of 48 bytes, or a few rich ones.
pub const BLOCK_BYTES_MAX: usize = 3 * 1024;

/// The largest token, in bytes. It fits HTTP/2's header list if that is raised to
/// [`HEADER_LIST_BYTES_MAX`].
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// The header list that both sides of HTTP/2 must accept, in bytes. A token of 47 KiB is 63 KiB in
/// base64.
pub const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// The most capabilities in the scope of one block.
pub const CAPABILITIES_MAX: usize = 64;

/// The most constraints in one capability, including nested ones.
pub const CONSTRAINTS_MAX: usize = 32;

/// The deepest nesting of constraints: all_of in any_of in not in all_of.
pub const CONSTRAINT_DEPTH_MAX: usize = 4;

/// The longest text of a regex or glob, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;

/// The most patterns (regex, glob, url with a wildcard) in the scope of one block. Each is compiled
/// when the block is read, before any signature is verified.
pub const PATTERNS_MAX: usize = 8;

/// The most patterns in a whole token: eight hops with [`PATTERNS_MAX`] each.
pub const TOKEN_PATTERNS_MAX: usize = 64;

/// The largest automaton of a regex or glob, in bytes: some hundreds of states, compiled in about a
/// tenth of a millisecond.
pub const REGEX_BYTES_MAX: usize = 32 * 1024;

/// The longest string that is matched against a pattern, in bytes. Matching takes at most its bytes
/// times the states of the automaton, some milliseconds.
pub const MATCHED_BYTES_MAX: usize = 4096;

/// The deepest nesting of groups in a regex.
pub const REGEX_NESTING_MAX: u32 = 16;

/// The most segments of a path. A call has one fact for each.
pub const PATH_SEGMENTS_MAX: usize = 64;

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// The most values of one `one_of`.
pub const ONE_OF_MAX: usize = 128;

/// The longest name, pattern or string value in a capability, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The largest arguments of one call, in bytes.
pub const CALL_BYTES_MAX: usize = 1024 * 1024;

/// The deepest nesting of JSON arguments: deeper than any known tool schema, and safe for any
/// stack.
pub const JSON_DEPTH_MAX: usize = 32;

/// The most leaves of one call's arguments.
pub const ARGUMENTS_MAX: usize = 4096;

/// The longest SPIFFE id, in bytes. The SPIFFE-ID specification allows 2,048; a block has to hold
/// several.
pub const SPIFFE_ID_BYTES_MAX: usize = 256;

/// The longest helper path, in bytes. A ledger leaf of 4 KiB has to hold two, beside two SPIFFE ids
/// and 2 KiB of text.
pub const HELPER_PATH_BYTES_MAX: usize = 512;

/// The longest life of a delegation, in seconds: seven days. A revocation must be remembered for as
/// long.
pub const DELEGATION_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// The longest life of an identity token, in seconds: a day. The broker's default is an hour.
pub const IDENTITY_SECONDS_MAX: i64 = 24 * 3600;

/// How long after a rotation an identity token of the previous key is accepted for everything but
/// renewal, in milliseconds. A minute is longer than any call takes.
pub const KEY_CHANGE_MS: i64 = 60_000;

/// By how much a block's `not_before` is set back when it is minted, in seconds, within its
/// parent's window.
pub const BACKDATE_SECONDS: i64 = 10;

/// The greatest age of a call proof, in milliseconds. SPEC section 5.
pub const PROOF_WINDOW_MS: i64 = 30_000;

/// How far a peer's clock may be ahead of ours, in milliseconds, for proofs, receipts and heads.
pub const CLOCK_SKEW_MS: i64 = 5_000;

/// The default limit of a revocation view's age, in milliseconds.
pub const STALENESS_MS_DEFAULT: i64 = 10_000;

/// The largest further part of a presentation, in bytes. Such parts are reserved, and refused
/// today.
pub const FURTHER_BYTES_MAX: usize = 8 * 1024;
