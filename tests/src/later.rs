//! What a later version of Sublet may write, as bytes that nothing of this version makes: keys, deltas.
//! Put together by docs/SPEC and docs/FORMATS alone.

use serde_json::{Value, json};
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::base::json::Json;
use sublet_core::base::sign::Signer as _;
use sublet_core::base::text::base64url;
use sublet_core::revocation::feed::{Head, SignedHead};
use sublet_core::trust::bundle::KeyUse;

use crate::{Fleet, NOW, key, key_id};

fn labelled(label: &str, rest: &[u8]) -> Vec<u8> {
    [b"\0SUBLET\0", label.as_bytes(), b"\0", rest].concat()
}

/// A key as a bundle lists it, of any use: its public half is that of the key of this name.
pub fn listed(use_: &str, id: u32, name: &str) -> Value {
    json!({
        "use": use_, "id": id, "alg": "ed25519", "public": key(name).public_key().to_string(),
        "not_before": NOW.plus_ms(-1000).0, "not_after": NOW.plus_ms(86_400_000).0,
        "state": "active",
    })
}

/// The text of `trust.json` with these members in place of the fleet's, as its bundle key signs it.
pub fn bundle(fleet: &Fleet, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut content: Value = serde_json::from_slice(fleet.signed_bundle().text()).unwrap();
    content.as_object_mut().unwrap().remove("signature");
    change(&mut content);
    let plain = serde_json::to_vec(&content).unwrap();
    let (_, canonical) = Json::parse_canonicalised(&plain).unwrap();
    let signature = Fleet::signer(KeyUse::Bundle).sign(&labelled("trust-bundle-v1", &canonical));
    let id = key_id(KeyUse::Bundle).0;
    content["signature"] = json!({"key": id, "value": base64url(signature.unwrap())});
    serde_json::to_vec_pretty(&content).unwrap()
}

/// The fleet's bundle of a version, with these keys listed too.
pub fn bundle_with(fleet: &Fleet, version: u64, keys: &[Value]) -> Vec<u8> {
    bundle(fleet, |content| {
        content["version"] = version.into();
        content["keys"].as_array_mut().unwrap().extend_from_slice(keys);
    })
}

/// A delta of any kind.
pub fn delta(sequence: u64, kind: u8, subject: &[u8]) -> Vec<u8> {
    let time = |time: UnixMillis| u64::try_from(time.0).unwrap().to_be_bytes();
    let (at, expires) = (time(NOW), time(NOW.plus_ms(86_400_000)));
    let head = [sequence.to_be_bytes(), at, expires].concat();
    labelled("feed-delta-v1", &[head.as_slice(), &[kind], subject].concat())
}

/// The signed head of the first epoch of the fleet's feed that has these deltas and no others.
pub fn head(deltas: &[Vec<u8>], time: UnixMillis) -> Vec<u8> {
    let feed = "acme.example";
    let length = u16::try_from(feed.len()).unwrap().to_be_bytes();
    let first = [length.as_slice(), feed.as_bytes(), &1u64.to_be_bytes()].concat();
    let floor_hash = sha256(&labelled("feed-v1", &first));
    let hash = deltas.iter().fold(floor_hash, |hash, delta| {
        sha256(&labelled("feed-link-v1", &[hash.as_slice(), delta].concat()))
    });
    let head = Head {
        feed: feed.parse().unwrap(),
        epoch: 1,
        sequence: deltas.len() as u64,
        hash,
        floor_sequence: 0,
        floor_hash,
        time,
    };
    SignedHead::sign(head, key_id(KeyUse::Feed), &Fleet::signer(KeyUse::Feed)).unwrap().encode()
}
