//! Signatures and keys on which verifiers are known to disagree: each has one verdict here.
//!
//! Ed25519: the twelve vectors of Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs"
//! (SSR 2020, <https://eprint.iacr.org/2020/1244>), values from `cases.json` of
//! novifinancial/ed25519-speccheck. Asserted: the row "Dalek strict" of its table, which
//! refuses all but vector 3, and that `verify_strict` itself says the same.
//!
//! A batch is no substitute: its verdict is neither that of the cofactored equation nor of the
//! cofactorless one, as random factors meet the torsion components. `ed25519_dalek::verify_batch`
//! (2.2.0) with one signature refuses vector 3, which single verification takes, and takes
//! vector 11, whose key is weak and not canonical. So Sublet verifies together only what a receipt
//! covers (SPEC 2.8.2).
//!
//! secp256r1: what a verifier must refuse by itself, as the equation would let it pass or a
//! library may: high s, zero and unreduced scalars, DER in other bytes, points written otherwise.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sublet_core::base::key::{Algorithm, BadKey, PublicKey};
use sublet_core::base::sign::Signer as _;
use sublet_core::token::mint::{self, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::{Fleet, NOW, append, code, curve_key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];

/// Message, key and signature in hex, whether a lenient verifier (dalek's `verify`, without the
/// strict checks) takes it, and where it falls here.
type Vector = (&'static str, &'static str, &'static str, bool, Falls);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Falls {
    /// It does not: the signature holds.
    Not,
    /// The key is none that Sublet takes.
    Key(BadKey),
    /// The key is taken, the signature is not.
    Signature,
}

/// By number: 0, 1 a key of small order (0: an R too); 2 an R of small order; 3 key and R of mixed
/// order; 4 the same, and only the cofactored equation holds; 5 the same, if 8h is not reduced
/// first; 6, 7 an s that is not reduced; 8, 9 an R and 10, 11 a key of small order that is not
/// canonical, hashed reduced (8, 10) or as it stands (9, 11); in 10 and 11 only the sign of x = 0 is
/// another, so the key falls as the weak one that it is.
///
/// Vector 3 holds: neither key nor R is of small order, both are canonical, s is reduced, and the
/// torsion components of R and of h·A cancel, so the cofactorless equation holds without a
/// factor. Only a check that A lies in the prime-order subgroup would refuse it; RFC 8032 does not
/// ask for one, and whoever holds such a key made it so.
#[rustfmt::skip]
const VECTORS: [Vector; 12] = [
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
        true, Falls::Key(BadKey::Weak),
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        true, Falls::Key(BadKey::Weak),
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        true, Falls::Signature,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        true, Falls::Not,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        false, Falls::Signature,
    ),
    (
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        false, Falls::Signature,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        false, Falls::Signature,
    ),
    (
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        false, Falls::Signature,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        false, Falls::Signature,
    ),
    (
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        false, Falls::Signature,
    ),
    (
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        false, Falls::Key(BadKey::Weak),
    ),
    (
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        true, Falls::Key(BadKey::Weak),
    ),
];

fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

fn falls((message, key, signature, ..): &Vector) -> Falls {
    match PublicKey::from_bytes(Algorithm::Ed25519, &hex::<32>(key)) {
        Err(bad) => Falls::Key(bad),
        Ok(key) if key.verify(&hex::<32>(message), &hex::<64>(signature)) => Falls::Not,
        Ok(_) => Falls::Signature,
    }
}

// SPEC 2.8.
#[test]
fn of_the_ed25519_vectors_only_number_3_holds() {
    for (at, vector) in VECTORS.iter().enumerate() {
        assert_eq!(falls(vector), vector.4, "vector {at}");
        assert_eq!(vector.4 == Falls::Not, at == 3, "vector {at}");
    }
}

/// The vectors were copied correctly, and the lenient verdict is the one that the paper prints.
#[test]
fn dalek_says_of_the_vectors_what_the_paper_says() {
    for (at, (message, key, signature, lenient, falls)) in VECTORS.iter().enumerate() {
        let key = VerifyingKey::from_bytes(&hex(key)).unwrap();
        let (message, signature) = (hex::<32>(message), Signature::from_bytes(&hex(signature)));
        let strict = key.verify_strict(&message, &signature).is_ok();
        assert_eq!(strict, *falls == Falls::Not, "vector {at}");
        assert_eq!(key.verify(&message, &signature).is_ok(), *lenient, "vector {at}");
    }
}

/// n of SEC 2 section 2.4.2, and the field's p, big-endian.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const FIELD: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

/// A number of any size, big-endian.
type Number = Vec<u8>;

fn plus(one: &[u8], two: &[u8]) -> Number {
    let (mut sum, mut carry) = (vec![0; 33], 0u16);
    for at in (0..33).rev() {
        let digit = |of: &[u8]| (at + of.len()).checked_sub(33).map_or(0, |at| u16::from(of[at]));
        carry += digit(one) + digit(two);
        sum[at] = carry.to_be_bytes()[1];
        carry >>= 8;
    }
    sum
}

/// A DER integer in its shortest form.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[zeros..];
    let sign: &[u8] = if digits.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    raw_integer(&[sign, digits].concat())
}

fn raw_integer(content: &[u8]) -> Vec<u8> {
    [&[2, u8::try_from(content.len()).unwrap()], content].concat()
}

/// A DER sequence of short length.
fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[0x30, u8::try_from(content.len()).unwrap()], content.as_slice()].concat()
}

fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    sequence(&[&integer(r), &integer(s)])
}

/// r and s of a signature.
fn scalars(signature: &[u8]) -> [Number; 2] {
    let (r, s) = p256::ecdsa::Signature::from_der(signature).unwrap().split_bytes();
    [r.to_vec(), s.to_vec()]
}

/// n less s: the other signature of the same message, unless low s is asked for.
fn mirrored(s: &[u8]) -> Number {
    let s = p256::ecdsa::Signature::from_scalars([1; 32], <[u8; 32]>::try_from(s).unwrap());
    (-*s.unwrap().s()).to_bytes().to_vec()
}

/// Every other way to write, or to mistake, the good signature.
fn bad_signatures(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let [r, s] = scalars(good);
    let (n, zero) = (hex::<32>(ORDER).to_vec(), vec![0]);
    let (int_r, int_s) = (integer(&r), integer(&s));
    let padded = |number: &[u8]| raw_integer(&[&[0, 0], number].concat());
    vec![
        ("high s", der(&r, &mirrored(&s))),
        ("r = 0", der(&zero, &s)),
        ("s = 0", der(&r, &zero)),
        ("r = s = 0", der(&zero, &zero)),
        ("r = n", der(&n, &s)),
        ("s = n", der(&r, &n)),
        ("r = s = n", der(&n, &n)),
        ("r + n", der(&plus(&r, &n), &s)),
        ("s + n", der(&r, &plus(&s, &n))),
        ("r negative", sequence(&[&raw_integer(&[&[0xff], r.as_slice()].concat()), &int_s])),
        ("r padded", sequence(&[&padded(&r), &int_s])),
        ("s padded", sequence(&[&int_r, &padded(&s)])),
        ("r empty", sequence(&[&raw_integer(&[]), &int_s])),
        ("long length", [&[0x30, 0x81], &good[1..]].concat()),
        ("indefinite length", [&[0x30, 0x80], &good[2..], &[0, 0]].concat()),
        ("trailing byte", [good, &[0]].concat()),
        ("trailing byte inside", sequence(&[&int_r, &int_s, &[0]])),
        ("third integer", sequence(&[&int_r, &int_s, &integer(&[1])])),
        ("one integer", sequence(&[&int_r])),
        ("a byte short", good[..good.len() - 1].to_vec()),
        ("r and s swapped", der(&s, &r)),
        ("no DER", [r, s].concat()),
        ("empty", Vec::new()),
    ]
}

/// planner → scout (secp256r1) → deep: the last block carries an ECDSA signature.
fn by_ecdsa(fleet: &Fleet) -> VerifiedToken {
    let mut hop = to_helper("scout", READ);
    let scout = curve_key("scout");
    hop.to = Recipient::Helper { label: "scout".into(), key: scout.public_key().clone() };
    let child = append(&fleet.root("planner", READ), &hop, "planner").unwrap();
    mint::append(&child, &to_helper("deep", READ), NOW, &scout).unwrap()
}

#[test]
fn an_ecdsa_signature_has_one_form() {
    let (fleet, scout) = (Fleet::new(), curve_key("scout"));
    let good = raw::open(&by_ecdsa(&fleet).encode());
    let (message, key) = (b"message", scout.public_key());
    let signature = scout.sign(message).unwrap();
    assert!(key.verify(message, &signature) && fleet.verify(&raw::bytes(&good)).is_ok());
    for (what, bad) in bad_signatures(&signature) {
        assert!(!key.verify(message, &bad), "{what}");
    }
    for (what, bad) in bad_signatures(&good.blocks[1].signature) {
        let mut envelope = good.clone();
        envelope.blocks[1].signature = bad;
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature", "{what}");
    }
}

/// Low s is our own demand: the library takes the other half, so the case above is not void.
#[test]
fn a_lenient_verifier_takes_high_s() {
    let scout = curve_key("scout");
    let [r, s] = scalars(&scout.sign(b"message").unwrap());
    let high = p256::ecdsa::Signature::from_der(&der(&r, &mirrored(&s))).unwrap();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(scout.public_key().bytes()).unwrap();
    assert!(key.verify(b"message", &high).is_ok());
    assert_eq!(der(&r, &s), scout.sign(b"message").unwrap(), "and the good one is as made here");
}

/// A compressed point with a small x, which therefore has the second spelling x + p.
fn small_x() -> [u8; 33] {
    let compressed = |x: u8| {
        let mut bytes = [0; 33];
        (bytes[0], bytes[32]) = (2, x);
        bytes
    };
    let on_curve = |bytes: &[u8; 33]| PublicKey::from_bytes(Algorithm::Secp256r1, bytes).is_ok();
    (0..=255).map(compressed).find(on_curve).unwrap()
}

fn bad_keys() -> Vec<(&'static str, Vec<u8>)> {
    let good = curve_key("scout").public_key().bytes().to_vec();
    let point = p256::PublicKey::from_sec1_bytes(&good).unwrap();
    let long = p256::EncodedPoint::from(point).as_bytes().to_vec();
    let tagged = |tag: u8, bytes: &[u8]| [&[tag], &bytes[1..]].concat();
    let unreduced = plus(&small_x()[1..], &hex::<32>(FIELD));
    vec![
        ("uncompressed", long.clone()),
        ("hybrid", tagged(6 + (long[64] & 1), &long)),
        ("hybrid of the other parity", tagged(7 - (long[64] & 1), &long)),
        ("compact", tagged(5, &good)),
        ("no tag", tagged(0, &good)),
        ("x and y without a tag", long[1..].to_vec()),
        ("infinity", vec![0]),
        ("infinity, compressed", vec![0; 33]),
        ("infinity, uncompressed", vec![0; 65]),
        ("x = p", [&[2], hex::<32>(FIELD).as_slice()].concat()),
        ("x + p", tagged(2, &unreduced)),
        ("trailing byte", [good.as_slice(), &[0]].concat()),
        ("a byte short", good[..32].to_vec()),
        ("empty", Vec::new()),
    ]
}

#[test]
fn a_secp256r1_key_has_one_form() {
    let fleet = Fleet::new();
    let good = raw::open(&by_ecdsa(&fleet).encode());
    assert!(PublicKey::from_bytes(Algorithm::Secp256r1, &good.blocks[0].next_key.key).is_ok());
    for (what, bad) in bad_keys() {
        assert!(PublicKey::from_bytes(Algorithm::Secp256r1, &bad).is_err(), "{what}");
        let mut envelope = good.clone();
        envelope.blocks[0].next_key.key = bad;
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_next_key", "{what}");
    }
}
