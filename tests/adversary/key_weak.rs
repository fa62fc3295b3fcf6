//! Weak keys, and signatures that a looser check of Ed25519 would take.

use curve25519_dalek::constants::{ED25519_BASEPOINT_TABLE, EIGHT_TORSION};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest as _, Sha512};
use sublet_core::base::key::{Algorithm, PublicKey};
use sublet_core::base::sign::{Signer, SignerFault};
use sublet_tests::{Fleet, Request, Tool, append, code, key, raw, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

// SPEC 2.7.
#[test]
fn a_small_order_key_is_no_next_key() {
    let fleet = Fleet::new();
    let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap();
    for point in EIGHT_TORSION {
        let mut envelope = raw::open(&child.encode());
        envelope.blocks[0].next_key.key = point.compress().as_bytes().to_vec();
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_next_key");
    }
}

// SPEC 2.7.
#[test]
fn what_is_no_point_is_no_key() {
    let fleet = Fleet::new();
    let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap();
    for bytes in [vec![], vec![2; 31], vec![2; 32], vec![9; 33], vec![0xff; 32]] {
        let mut envelope = raw::open(&child.encode());
        envelope.blocks[0].next_key.key = bytes.clone();
        assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_next_key", "{bytes:?}");
    }
}

/// Signs with the holder's true key, but shifts R by a point of small order: the cofactored
/// equation of a batch holds, the strict one does not.
struct Shifted {
    seed: [u8; 32],
    public: PublicKey,
    torsion: usize,
}

impl Shifted {
    fn of(name: &str, torsion: usize) -> Self {
        let seed = sublet_core::base::bytes::sha256(name.as_bytes());
        Shifted { seed, public: key(name).public_key().clone(), torsion }
    }
}

impl Signer for Shifted {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignerFault> {
        let expanded = Sha512::digest(self.seed);
        let secret = clamp_integer(expanded[..32].try_into().unwrap());
        let secret = Scalar::from_bytes_mod_order(secret);
        let wide = |parts: &[&[u8]]| {
            Scalar::from_bytes_mod_order_wide(&Sha512::digest(parts.concat()).into())
        };
        let nonce = wide(&[&expanded[32..], message]);
        let shifted = ED25519_BASEPOINT_TABLE * &nonce + EIGHT_TORSION[self.torsion];
        let shifted = shifted.compress();
        let challenge = wide(&[shifted.as_bytes(), self.public.bytes(), message]);
        let s = nonce + challenge * secret;
        Ok([shifted.as_bytes().as_slice(), s.as_bytes()].concat())
    }
}

// SPEC 2.8, 2.8.2.
#[test]
fn a_shifted_r_is_refused_in_blocks_and_proofs() {
    let fleet = Fleet::new();
    let tool = Tool::new(&fleet);
    let root = fleet.root("planner", READ);
    let child = append(&root, &to_helper("scout", READ), "planner").unwrap();
    for torsion in 0..8 {
        let signer = Shifted::of("planner", torsion);
        let block = child.last().block();
        let forged = raw::forge(&root, block, key("scout").public_key(), &signer);
        let proof = Request::new(&root, &signer, "fs.read", ARGS);
        // By nothing at all it is an honest signature: the bench is sound.
        let (block, call) = match torsion {
            0 => ("granted", "granted"),
            _ => ("bad_signature", "proof_signature"),
        };
        assert_eq!(code(fleet.verify(&forged)), block, "torsion {torsion}");
        assert_eq!(code(tool.answer(&proof)), call, "torsion {torsion}");
    }
}

// SPEC 2.8.
#[test]
fn an_s_that_is_not_reduced_is_refused() {
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let fleet = Fleet::new();
    let child = append(&fleet.root("planner", READ), &to_helper("scout", READ), "planner").unwrap();
    let mut envelope = raw::open(&child.encode());
    let mut carry = 0u16;
    for (byte, more) in envelope.blocks[0].signature[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(more);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(code(fleet.verify(&raw::bytes(&envelope))), "bad_signature");
}

#[test]
fn the_scalars_zero_and_beyond_the_order_are_no_secp256r1_keys() {
    for scalar in [[0; 32], [0xff; 32]] {
        assert!(sublet_core::base::sign::SecretKey::secp256r1_from_seed(&scalar).is_none());
    }
    assert!(PublicKey::from_bytes(Algorithm::Secp256r1, &[0; 33]).is_err(), "infinity");
}
