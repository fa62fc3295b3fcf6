//! The broker's signed statement that hops are recorded and were not revoked. SPEC section 6.
//!
//! Owns: the layout of a receipt and its signature. Does not own: which chain it is of
//! (`verify::Coverage`), how fresh it must be (`authorize`).
//!
//! Invariants: a receipt is decoded exactly; the signature covers the key's number; there is one
//! ledger index for each hop from the root to the last one covered.

use crate::base::bytes::{BadLayout, Label, Reader, Writer};
use crate::base::id::{HopId, SpiffeId, UnixMillis};
use crate::base::key::PublicKey;
use crate::base::limits;
use crate::base::sign::{Signer, SignerFault};
use crate::trust::bundle::KeyId;

const LABEL: Label = Label::Receipt;

/// Why bytes are not an acceptable receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// The bytes do not have the layout.
    #[error(transparent)]
    Layout(#[from] BadLayout),
    /// The issuer is not in normal form.
    #[error("the issuer is not named in normal form")]
    Issuer,
    /// The number of ledger indices is not the number of hops.
    #[error("a receipt has one ledger index for each hop, 65 at most")]
    Indices,
    /// The signature does not verify.
    #[error("its signature does not hold under the receipt key")]
    Signature,
}

impl BadReceipt {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadReceipt::Layout(_) => "receipt_layout",
            BadReceipt::Issuer => "receipt_issuer",
            BadReceipt::Indices => "receipt_indices",
            BadReceipt::Signature => "receipt_signature",
        }
    }
}

/// The content of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptClaims {
    /// The broker's SPIFFE id.
    pub issuer: SpiffeId,
    /// The origin of the ledger.
    pub origin: String,
    /// The id of the last hop covered.
    pub hop: HopId,
    /// The position of that hop, 0 for the root.
    pub position: u32,
    /// The ledger index of every hop from the root to that hop.
    pub indices: Vec<u64>,
    /// When the last of these hops was recorded.
    pub recorded_at: UnixMillis,
    /// The time at which nothing of the chain was revoked.
    pub as_of: UnixMillis,
    /// The epoch of the revocation feed at that time.
    pub revocation_epoch: u64,
    /// The number in the revocation feed at that time.
    pub revocation_sequence: u64,
    /// Until when the revocation status of this receipt may be used.
    pub fresh_until: UnixMillis,
}

/// A signed receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The content.
    pub claims: ReceiptClaims,
    /// The number of the key that signed it.
    pub key: KeyId,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Receipt {
    /// Signs a receipt with the key of this number.
    pub fn sign(
        claims: ReceiptClaims,
        key: KeyId,
        signer: &dyn Signer,
    ) -> Result<Self, SignerFault> {
        let signature = signer.sign(&message(&claims, key))?;
        Ok(Receipt { claims, key, signature })
    }

    /// Returns the signed bytes, followed by the signature.
    pub fn encode(&self) -> Vec<u8> {
        [message(&self.claims, self.key), self.signature.clone()].concat()
    }

    /// Decodes a receipt, exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadReceipt> {
        let mut reader = Reader::labelled(bytes, LABEL)?;
        let key = KeyId(reader.u32()?);
        let issuer = reader.text()?.parse().map_err(|_| BadReceipt::Issuer)?;
        let origin = reader.text()?.to_owned();
        let hop = HopId(reader.fixed()?);
        let position = reader.u32()?;
        if position > limits::HOPS_MAX {
            return Err(BadReceipt::Indices);
        }
        let indices = (0..=position).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        let claims = ReceiptClaims {
            issuer,
            origin,
            hop,
            position,
            indices,
            recorded_at: reader.time()?,
            as_of: reader.time()?,
            revocation_epoch: reader.u64()?,
            revocation_sequence: reader.u64()?,
            fresh_until: reader.time()?,
        };
        Ok(Receipt { claims, key, signature: reader.rest().to_vec() })
    }

    /// Checks that the signature verifies under this key.
    pub fn verify_signature(&self, key: &PublicKey) -> Result<(), BadReceipt> {
        let expected =
            usize::try_from(self.claims.position).ok().and_then(|position| position.checked_add(1));
        if Some(self.claims.indices.len()) != expected {
            return Err(BadReceipt::Indices);
        }
        if key.verify(&message(&self.claims, self.key), &self.signature) {
            Ok(())
        } else {
            Err(BadReceipt::Signature)
        }
    }
}

fn message(claims: &ReceiptClaims, key: KeyId) -> Vec<u8> {
    let mut writer = Writer::labelled(LABEL)
        .u32(key.0)
        .text(claims.issuer.as_str())
        .text(&claims.origin)
        .fixed(&claims.hop.0)
        .u32(claims.position);
    for index in &claims.indices {
        writer = writer.u64(*index);
    }
    writer
        .time(claims.recorded_at)
        .time(claims.as_of)
        .u64(claims.revocation_epoch)
        .u64(claims.revocation_sequence)
        .time(claims.fresh_until)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sign::SecretKey;

    fn receipt() -> Receipt {
        let claims = ReceiptClaims {
            issuer: "spiffe://acme.example/sublet".parse().unwrap(),
            origin: "acme.example/sublet".into(),
            hop: HopId([7; 32]),
            position: 1,
            indices: vec![4, 9],
            recorded_at: UnixMillis(1_000),
            as_of: UnixMillis(2_000),
            revocation_epoch: 1,
            revocation_sequence: 3,
            fresh_until: UnixMillis(12_000),
        };
        Receipt::sign(claims, KeyId(3), &SecretKey::ed25519_from_seed([5; 32])).unwrap()
    }

    #[test]
    fn round_trips_and_verifies() {
        let key = SecretKey::ed25519_from_seed([5; 32]);
        let back = Receipt::decode(&receipt().encode()).unwrap();
        assert_eq!(back, receipt());
        assert_eq!(back.verify_signature(key.public_key()), Ok(()));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let key = SecretKey::ed25519_from_seed([5; 32]);
        let bytes = receipt().encode();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let holds = Receipt::decode(&changed)
                .is_ok_and(|r| r.verify_signature(key.public_key()).is_ok());
            assert!(!holds, "byte {at}");
        }
        for cut in 0..bytes.len() {
            let holds = Receipt::decode(&bytes[..cut])
                .is_ok_and(|r| r.verify_signature(key.public_key()).is_ok());
            assert!(!holds, "cut at {cut}");
        }
        let longer = [bytes, vec![0]].concat();
        assert!(
            Receipt::decode(&longer).is_ok_and(|r| r.verify_signature(key.public_key()).is_err())
        );
    }

    #[test]
    fn a_receipt_is_of_a_hop_as_deep_as_a_chain_may_be() {
        let at = |position: u32| {
            let indices = (0..=u64::from(position)).collect();
            let claims = ReceiptClaims { position, indices, ..receipt().claims };
            Receipt::sign(claims, KeyId(3), &SecretKey::ed25519_from_seed([5; 32])).unwrap()
        };
        let deepest = at(limits::HOPS_MAX);
        assert_eq!(Receipt::decode(&deepest.encode()), Ok(deepest));
        let deeper = at(limits::HOPS_MAX + 1);
        assert_eq!(Receipt::decode(&deeper.encode()), Err(BadReceipt::Indices));
    }
}
