//! Rows as bytes: CBOR (RFC 8949) with named fields, so that a later version can add fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sublet_core::base::bytes::sha256;
use sublet_core::refusal::Fault;
use sublet_core::revocation::feed::Delta;
use sublet_core::state::{AnswerKey, Row, RowKey};
use sublet_core::trust::bundle::SignedBundle;

/// The table of key prefixes. Every kind of key in the store begins with a byte of its own.
pub(super) mod prefix {
    /// `m` name: the schema version; the size and root hash of the ledger.
    pub(crate) const META: u8 = b'm';
    /// `l` index (u64): a segment, which holds records from this index on, with their payloads.
    pub(crate) const LEAF: u8 = b'l';
    /// `t` level (u8), index (u64): a full tile of the tree.
    pub(crate) const TILE: u8 = b't';
    /// `c` size (u64): a signed checkpoint.
    pub(crate) const CHECKPOINT: u8 = b'c';
    /// `d` delegation (32), index (u64): no value. The entry belongs to the delegation.
    pub(crate) const OF_DELEGATION: u8 = b'd';
    /// `a` SPIFFE id: an agent.
    pub(crate) const AGENT: u8 = b'a';
    /// `k` thumbprint (32): the owner of a key.
    pub(crate) const KEY_OWNER: u8 = b'k';
    /// `f` name: a profile.
    pub(crate) const PROFILE: u8 = b'f';
    /// `j` UUID: a join token.
    pub(crate) const JOIN_TOKEN: u8 = b'j';
    /// `g` id (32): a delegation.
    pub(crate) const DELEGATION: u8 = b'g';
    /// `n` id (32): a recorded hop.
    pub(crate) const HOP: u8 = b'n';
    /// `r` sequence (u64): a revocation, in the feed's byte layout.
    pub(crate) const REVOCATION: u8 = b'r';
    /// `v` SPIFFE id: the position and counter of a tool that reports.
    pub(crate) const VERIFIER: u8 = b'v';
    /// `e` SHA-256 of a signed token: an agent has enrolled with the token.
    pub(crate) const SPENT: u8 = b'e';
    /// `w`: the index (u64) below which records may be pruned.
    pub(crate) const FLOOR: u8 = b'w';
    /// `h` name: a legal hold.
    pub(crate) const HOLD: u8 = b'h';
    /// `s` id (32): a session of authority.
    pub(crate) const SESSION: u8 = b's';
    /// `b`: the trust bundle, as the text of `trust.json`.
    pub(crate) const TRUST: u8 = b'b';
    /// `q` SHA-256 over the answer's name: an answer given.
    pub(crate) const ANSWER: u8 = b'q';
    /// `y` SPIFFE id: the last answer that gave this agent an identity.
    pub(crate) const IDENTITY_ANSWER: u8 = b'y';
    /// `z`: the floor of the revocation feed.
    pub(crate) const FEED_FLOOR: u8 = b'z';
}

/// Returns a key: the prefix and the name.
pub(super) fn key(prefix: u8, name: &[u8]) -> Vec<u8> {
    [&[prefix], name].concat()
}

fn answer_key(name: &AnswerKey) -> Vec<u8> {
    let bytes = [name.caller.0.as_slice(), name.method.as_bytes(), &[0], &name.key].concat();
    key(prefix::ANSWER, &sha256(&bytes))
}

/// Returns a row as key and value. A fault if it cannot be encoded.
pub(super) fn encode(row: &Row) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let value = match row {
        Row::Agent(row) => cbor(row)?,
        Row::KeyOwner(row) => cbor(row)?,
        Row::Profile(row) => cbor(row)?,
        Row::JoinToken(row) => cbor(row)?,
        Row::Delegation(row) => cbor(row)?,
        Row::Hop(row) => cbor(row)?,
        Row::Revocation(delta) => delta.encode(),
        Row::Answer(row) => cbor(row)?,
        Row::Verifier(row) => cbor(row)?,
        Row::Spent(row) => cbor(row)?,
        Row::Floor(floor) => cbor(floor)?,
        Row::Hold(row) => cbor(row)?,
        Row::Session(row) => cbor(row)?,
        Row::Trust(trust) => trust.text().to_vec(),
        Row::FeedFloor(floor) => cbor(floor)?,
    };
    Ok((encode_key(&row.key()), value))
}

/// Returns a row's key as bytes.
pub(super) fn encode_key(row: &RowKey) -> Vec<u8> {
    match row {
        RowKey::Agent(id) => key(prefix::AGENT, id.as_str().as_bytes()),
        RowKey::KeyOwner(thumbprint) => key(prefix::KEY_OWNER, &thumbprint.0),
        RowKey::Profile(name) => key(prefix::PROFILE, name.as_bytes()),
        RowKey::JoinToken(id) => key(prefix::JOIN_TOKEN, id.as_bytes()),
        RowKey::Delegation(id) => key(prefix::DELEGATION, &id.0),
        RowKey::Hop(id) => key(prefix::HOP, &id.0),
        RowKey::Revocation(sequence, _) => key(prefix::REVOCATION, &sequence.to_be_bytes()),
        RowKey::Answer(name) => answer_key(name),
        RowKey::IdentityAnswer(agent) => key(prefix::IDENTITY_ANSWER, agent.as_str().as_bytes()),
        RowKey::Verifier(agent) => key(prefix::VERIFIER, agent.as_str().as_bytes()),
        RowKey::Spent(id) => key(prefix::SPENT, id),
        RowKey::Floor => key(prefix::FLOOR, &[]),
        RowKey::Hold(name) => key(prefix::HOLD, name.as_bytes()),
        RowKey::Session(id) => key(prefix::SESSION, &id.0),
        RowKey::Trust => key(prefix::TRUST, &[]),
        RowKey::FeedFloor => key(prefix::FEED_FLOOR, &[]),
    }
}

/// Returns a row from its prefix and value. A fault if the value cannot be read, or the prefix is unknown.
pub(super) fn decode(prefix: u8, value: &[u8]) -> Result<Row, Fault> {
    Ok(match prefix {
        prefix::AGENT => Row::Agent(from_cbor(value)?),
        prefix::KEY_OWNER => Row::KeyOwner(from_cbor(value)?),
        prefix::PROFILE => Row::Profile(from_cbor(value)?),
        prefix::JOIN_TOKEN => Row::JoinToken(from_cbor(value)?),
        prefix::DELEGATION => Row::Delegation(from_cbor(value)?),
        prefix::HOP => Row::Hop(from_cbor(value)?),
        prefix::REVOCATION => Row::Revocation(Delta::decode(value).map_err(|bad| broken(&bad))?),
        prefix::ANSWER | prefix::IDENTITY_ANSWER => Row::Answer(from_cbor(value)?),
        prefix::FEED_FLOOR => Row::FeedFloor(from_cbor(value)?),
        prefix::VERIFIER => Row::Verifier(from_cbor(value)?),
        prefix::SPENT => Row::Spent(from_cbor(value)?),
        prefix::FLOOR => Row::Floor(from_cbor(value)?),
        prefix::HOLD => Row::Hold(from_cbor(value)?),
        prefix::SESSION => Row::Session(from_cbor(value)?),
        prefix::TRUST => {
            Row::Trust(SignedBundle::read(value.to_vec()).map_err(|bad| broken(&bad))?)
        }
        // A kind of row that is written and not read would be lost with a restart.
        _ => {
            return Err(Fault::Internal(format!(
                "rows under {:?} cannot be read",
                char::from(prefix)
            )));
        }
    })
}

/// Returns a value as CBOR.
pub(crate) fn cbor<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|error| broken(&error))?;
    Ok(bytes)
}

/// Returns a value from CBOR. A fault if the bytes cannot be read.
pub(crate) fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    ciborium::from_reader(bytes).map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> Fault {
    Fault::Internal(format!("a stored row is not readable: {error}"))
}
