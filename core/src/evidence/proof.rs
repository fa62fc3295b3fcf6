//! The call proof, and the two proofs of possession at enrollment and rotation. SPEC section 5.
//!
//! Owns: the layout of what a holder signs when it calls, and whether a proof is for this call.
//! Does not own: whether the proof was used before (`replay_cache`), what the call may do.
//!
//! Invariants: a message is its label and fields of fixed length, or length-prefixed ones; a proof
//! decodes exactly, with no byte left; the algorithm of the signature is the key's.

use crate::base::bytes::{BadLayout, Label, Reader, Writer, sha256};
use crate::base::id::{AgentId, HopId, Nonce, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::base::limits;
use crate::base::sign::{Signer, SignerFault};
use crate::base::text::{base64url, from_base64url};

const CALL_LABEL: Label = Label::CallProof;
const ENROLL_LABEL: Label = Label::Enroll;
const ROTATE_LABEL: Label = Label::Rotate;

/// The start of a proof's text form.
pub const PROOF_PREFIX: &str = "sublet1p.";

/// The longest signature, in bytes: DER of two P-256 integers, 2 + 2·(2 + 33). An Ed25519 signature
/// has 64.
pub const SIGNATURE_BYTES_MAX: usize = 72;

/// The claims of a call proof: the holder makes this call, at this time, under this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallClaims {
    /// The id of the token's last hop.
    pub hop: HopId,
    /// SHA-256 of the audience, as text.
    pub audience_hash: [u8; 32],
    /// SHA-256 of the action, as text.
    pub action_hash: [u8; 32],
    /// SHA-256 of the arguments: canonical JSON, or the raw message of gRPC.
    pub arguments_hash: [u8; 32],
    /// When the holder made the call, by the holder's clock; not before 1970.
    pub issued_at: UnixMillis,
    /// Random bytes that make the proof unique.
    pub nonce: Nonce,
}

impl CallClaims {
    /// Returns the claims of a call with these argument bytes.
    pub fn new(
        hop: HopId,
        audience: &str,
        action: &str,
        arguments: &[u8],
        issued_at: UnixMillis,
        nonce: Nonce,
    ) -> Self {
        Self::of_digest(hop, audience, action, sha256(arguments), issued_at, nonce)
    }

    /// Returns the claims of a call by the SHA-256 of its arguments.
    pub fn of_digest(
        hop: HopId,
        audience: &str,
        action: &str,
        arguments_hash: [u8; 32],
        issued_at: UnixMillis,
        nonce: Nonce,
    ) -> Self {
        CallClaims {
            hop,
            audience_hash: sha256(audience.as_bytes()),
            action_hash: sha256(action.as_bytes()),
            arguments_hash,
            issued_at,
            nonce,
        }
    }

    /// Returns the bytes that are signed.
    pub fn message(&self) -> Vec<u8> {
        Writer::labelled(CALL_LABEL)
            .fixed(&self.hop.0)
            .fixed(&self.audience_hash)
            .fixed(&self.action_hash)
            .fixed(&self.arguments_hash)
            .time(self.issued_at)
            .fixed(&self.nonce.0)
            .finish()
    }

    /// Checks that the claims are of exactly this call.
    pub(crate) fn check_call(&self, expected: &Expected<'_>) -> Result<(), BadProof> {
        if self.audience_hash != sha256(expected.audience.as_bytes()) {
            return Err(BadProof::WrongAudience { asked: expected.audience.to_owned() });
        }
        if self.action_hash != sha256(expected.action.as_bytes()) {
            return Err(BadProof::WrongAction { asked: expected.action.to_owned() });
        }
        if self.arguments_hash != expected.arguments_hash {
            return Err(BadProof::WrongArguments);
        }
        if self.hop != expected.hop {
            return Err(BadProof::WrongToken { proven: self.hop, presented: expected.hop });
        }
        Ok(())
    }

    /// Checks that the call was made within the window around `now`: at most
    /// [`limits::PROOF_WINDOW_MS`] ago, and at most [`limits::CLOCK_SKEW_MS`] ahead.
    pub(crate) fn check_time(&self, now: UnixMillis) -> Result<(), BadProof> {
        let age_ms = now.since(self.issued_at);
        if age_ms > limits::PROOF_WINDOW_MS {
            return Err(BadProof::Expired { age_ms });
        }
        if age_ms < -limits::CLOCK_SKEW_MS {
            return Err(BadProof::FromFuture { ahead_ms: age_ms.saturating_neg() });
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, BadLayout> {
        Ok(CallClaims {
            hop: HopId(reader.fixed()?),
            audience_hash: reader.fixed()?,
            action_hash: reader.fixed()?,
            arguments_hash: reader.fixed()?,
            issued_at: reader.time()?,
            nonce: Nonce(reader.fixed()?),
        })
    }
}

/// The call that a proof must be for, as the verifier received it. Only `authorize` makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// The last hop of the presented token.
    pub(crate) hop: HopId,
    /// The verifier's own audience.
    pub(crate) audience: &'a str,
    /// The action of the call.
    pub(crate) action: &'a str,
    /// SHA-256 of the received arguments.
    pub(crate) arguments_hash: [u8; 32],
}

/// Returns the likely cause of a proof that is for another broker.
fn of_broker(asked: &str) -> &'static str {
    match asked.starts_with("sublet://") {
        true => ": whoever made it goes by the trust bundle of another trust domain",
        false => "",
    }
}

/// Why a proof is not a proof of this call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// The text is not `sublet1p.` and base64url.
    #[error("not a call proof: one line of {PROOF_PREFIX} and base64url is expected")]
    Text,
    /// The bytes are not a call proof with a signature of 1 to 72 bytes.
    #[error("the bytes do not have the layout of a call proof")]
    Layout,
    /// The proof is for another audience.
    #[error("the proof is for another audience than {asked:?}{}", of_broker(.asked))]
    WrongAudience {
        /// The audience of the call.
        asked: String,
    },
    /// The proof is for another action.
    #[error("the proof is for another action than {asked:?}")]
    WrongAction {
        /// The action of the call.
        asked: String,
    },
    /// The proof is for other arguments.
    #[error("the proof is for other arguments than those received")]
    WrongArguments,
    /// The proof is for another token.
    #[error("the proof is for the token that ends in hop {proven}, not for {presented}")]
    WrongToken {
        /// The hop in the proof.
        proven: HopId,
        /// The last hop of the presented token.
        presented: HopId,
    },
    /// The holder's key did not sign the proof.
    #[error("the proof is not signed by the holder's key {holder}")]
    Signature {
        /// The thumbprint of the holder's key.
        holder: Thumbprint,
    },
    /// The proof is older than [`limits::PROOF_WINDOW_MS`].
    #[error("the proof is {age_ms} ms old; {} ms at most", limits::PROOF_WINDOW_MS)]
    Expired {
        /// The age in milliseconds, by the verifier's clock.
        age_ms: i64,
    },
    /// The proof is further ahead than [`limits::CLOCK_SKEW_MS`].
    #[error("the proof is {ahead_ms} ms ahead of this clock; {} ms at most", limits::CLOCK_SKEW_MS)]
    FromFuture {
        /// How far it is ahead in milliseconds, by the verifier's clock.
        ahead_ms: i64,
    },
}

impl BadProof {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadProof::Text => "proof_text",
            BadProof::Layout => "proof_layout",
            BadProof::WrongAudience { .. } => "wrong_audience",
            BadProof::WrongAction { .. } => "wrong_action",
            BadProof::WrongArguments => "wrong_arguments",
            BadProof::WrongToken { .. } => "wrong_token",
            BadProof::Signature { .. } => "proof_signature",
            BadProof::Expired { .. } => "proof_expired",
            BadProof::FromFuture { .. } => "proof_from_future",
        }
    }
}

impl From<BadLayout> for BadProof {
    fn from(_: BadLayout) -> Self {
        BadProof::Layout
    }
}

/// A call proof: the holder's signature over one call.
///
/// ```
/// use sublet_core::base::id::{Nonce, UnixMillis};
/// use sublet_core::evidence::call::Arguments;
/// use sublet_core::evidence::proof::{CallClaims, CallProof};
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }
/// # let (token, key, nonce) = (world::delegation(), world::key(10), Nonce([7; 16]));
/// # let now = world::NOW;
///
/// let digest = Arguments::from_json(br#"{"path":"/data/a.csv"}"#)?.digest();
/// let (audience, action) = ("tool://files", "fs.read");
/// let claims = CallClaims::of_digest(token.id(), audience, action, digest, now, nonce);
/// let proof = CallProof::sign(claims, &key)?;
/// assert!(proof.to_text().starts_with("sublet1p."));
/// assert_eq!(CallProof::from_text(&proof.to_text())?, proof);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallProof {
    /// The signed claims.
    pub claims: CallClaims,
    /// The holder's signature over [`CallClaims::message`].
    pub signature: Vec<u8>,
}

impl CallProof {
    /// Signs the claims with the holder's key.
    pub fn sign(claims: CallClaims, signer: &dyn Signer) -> Result<Self, SignerFault> {
        let signature = signer.sign(&claims.message())?;
        Ok(CallProof { claims, signature })
    }

    /// Returns the message, followed by the signature.
    pub fn encode(&self) -> Vec<u8> {
        [self.claims.message().as_slice(), &self.signature].concat()
    }

    /// Decodes the result of [`CallProof::encode`], exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadProof> {
        let mut reader = Reader::labelled(bytes, CALL_LABEL)?;
        let claims = CallClaims::read(&mut reader)?;
        Ok(CallProof { claims, signature: read_signature(reader)? })
    }

    /// Returns one line: `sublet1p.` and base64url.
    pub fn to_text(&self) -> String {
        proof_text(&self.encode())
    }

    /// Parses the result of [`CallProof::to_text`]. One newline at the end is ignored.
    pub fn from_text(text: &str) -> Result<Self, BadProof> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::decode(&proof_bytes(line)?)
    }

    /// Checks that `key`, the last holder's, signed this proof for exactly this call, within the
    /// window around `now`. The call is compared before the signature is verified, so the error
    /// names a proof that is for another call. Whether the proof was used before is checked last,
    /// by the replay cache.
    pub(crate) fn verify(
        &self,
        key: &PublicKey,
        expected: &Expected<'_>,
        now: UnixMillis,
    ) -> Result<(), BadProof> {
        self.verify_undated(key, expected)?;
        self.claims.check_time(now)
    }

    /// Checks the proof without its time.
    pub(crate) fn verify_undated(
        &self,
        key: &PublicKey,
        expected: &Expected<'_>,
    ) -> Result<(), BadProof> {
        self.claims.check_call(expected)?;
        if key.verify(&self.claims.message(), &self.signature) {
            Ok(())
        } else {
            Err(BadProof::Signature { holder: key.thumbprint() })
        }
    }
}

/// Returns the text form of these bytes, which need not be a proof.
pub fn proof_text(bytes: &[u8]) -> String {
    format!("{PROOF_PREFIX}{}", base64url(bytes))
}

/// Returns the bytes of a proof's text form. [`CallProof::decode`] tells whether they are a proof.
pub fn proof_bytes(text: &str) -> Result<Vec<u8>, BadProof> {
    text.strip_prefix(PROOF_PREFIX).and_then(from_base64url).ok_or(BadProof::Text)
}

/// Returns the rest of a message as a signature. A length that no signature has is an error.
pub(crate) fn read_signature(reader: Reader<'_>) -> Result<Vec<u8>, BadLayout> {
    let signature = reader.rest();
    if (1..=SIGNATURE_BYTES_MAX).contains(&signature.len()) {
        Ok(signature.to_vec())
    } else {
        Err(BadLayout)
    }
}

/// Returns what a new key signs at enrollment: the method, the SHA-256 of the credential, the agent
/// that the request names (empty if it names none), and the key itself. Variable parts are
/// length-prefixed.
pub fn enroll_message(method: &str, credential: &[u8], agent: &str, key: &PublicKey) -> Vec<u8> {
    let head = Writer::labelled(ENROLL_LABEL).text(method).fixed(&sha256(credential));
    with_key(head.text(agent), key)
}

/// Returns what a new key signs at rotation. The old key signs too: it signs the call that carries
/// this message.
pub fn rotate_message(agent: &AgentId, old: &Thumbprint, new: &PublicKey) -> Vec<u8> {
    with_key(Writer::labelled(ROTATE_LABEL).text(agent.as_str()).fixed(&old.0), new)
}

/// Appends the algorithm's number, a length of two bytes (32 or 33), and the key.
fn with_key(writer: Writer, key: &PublicKey) -> Vec<u8> {
    let length = u16::try_from(key.bytes().len()).unwrap_or(u16::MAX);
    writer.u8(key.algorithm().number()).u16(length).fixed(key.bytes()).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sign::SecretKey;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn holder() -> SecretKey {
        SecretKey::ed25519_from_seed([5; 32])
    }

    fn claims() -> CallClaims {
        let hop = HopId([1; 32]);
        CallClaims::new(hop, "mcp://crm", "crm.read", b"{\"a\":1}", NOW, Nonce([2; 16]))
    }

    fn expected() -> Expected<'static> {
        Expected {
            hop: HopId([1; 32]),
            audience: "mcp://crm",
            action: "crm.read",
            arguments_hash: sha256(b"{\"a\":1}"),
        }
    }

    fn refusal(expected: &Expected<'_>, now: UnixMillis) -> &'static str {
        let proof = CallProof::sign(claims(), &holder()).unwrap();
        proof.verify(holder().public_key(), expected, now).unwrap_err().code()
    }

    #[test]
    fn a_proof_holds_for_its_call_with_either_algorithm() {
        for key in [holder(), SecretKey::secp256r1_from_seed(&[8; 32]).unwrap()] {
            let proof = CallProof::sign(claims(), &key).unwrap();
            let back = CallProof::from_text(&format!("{}\n", proof.to_text())).unwrap();
            assert_eq!(back, proof);
            assert_eq!(back.verify(key.public_key(), &expected(), NOW), Ok(()));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut want = b"\0SUBLET\0call-proof-v1\0".to_vec();
        want.extend([1; 32]);
        want.extend(sha256(b"mcp://crm"));
        want.extend(sha256(b"crm.read"));
        want.extend(sha256(b"{\"a\":1}"));
        want.extend(1_800_000_000_000u64.to_be_bytes());
        want.extend([2; 16]);
        assert_eq!(claims().message(), want);
    }

    #[test]
    fn a_proof_moved_to_another_call_is_refused() {
        let of = expected();
        assert_eq!(refusal(&Expected { audience: "mcp://hr", ..of }, NOW), "wrong_audience");
        assert_eq!(refusal(&Expected { action: "crm.write", ..of }, NOW), "wrong_action");
        assert_eq!(refusal(&Expected { arguments_hash: [0; 32], ..of }, NOW), "wrong_arguments");
        assert_eq!(refusal(&Expected { hop: HopId([9; 32]), ..of }, NOW), "wrong_token");
    }

    #[test]
    fn a_proof_by_another_key_or_with_a_claim_changed_is_refused() {
        let thief = SecretKey::ed25519_from_seed([6; 32]);
        let forged = CallProof::sign(claims(), &thief).unwrap();
        let error = forged.verify(holder().public_key(), &expected(), NOW).unwrap_err();
        assert_eq!(error.code(), "proof_signature");

        let mut renewed = CallProof::sign(claims(), &holder()).unwrap();
        renewed.claims.nonce = Nonce([3; 16]);
        let error = renewed.verify(holder().public_key(), &expected(), NOW).unwrap_err();
        assert_eq!(error.code(), "proof_signature");
    }

    #[test]
    fn the_window_is_thirty_seconds_back_and_the_skew_ahead() {
        let proof = CallProof::sign(claims(), &holder()).unwrap();
        let at = |ms| proof.verify(holder().public_key(), &expected(), NOW.plus_ms(ms));
        assert_eq!(at(limits::PROOF_WINDOW_MS), Ok(()));
        assert_eq!(at(-limits::CLOCK_SKEW_MS), Ok(()));
        assert_eq!(refusal(&expected(), NOW.plus_ms(30_001)), "proof_expired");
        assert_eq!(refusal(&expected(), NOW.plus_ms(-5_001)), "proof_from_future");
        assert_eq!(refusal(&expected(), UnixMillis(i64::MIN)), "proof_from_future");
        assert_eq!(refusal(&expected(), UnixMillis(i64::MAX)), "proof_expired");
    }

    #[test]
    fn decoding_is_exact() {
        let bytes = CallProof::sign(claims(), &holder()).unwrap().encode();
        for length in 0..claims().message().len() + 1 {
            let cut = bytes.get(..length).unwrap();
            assert_eq!(CallProof::decode(cut), Err(BadProof::Layout), "{length}");
        }
        let mut long = bytes.clone();
        long.push(0);
        let padded = CallProof::decode(&long).unwrap();
        let error = padded.verify(holder().public_key(), &expected(), NOW).unwrap_err();
        assert_eq!(error.code(), "proof_signature", "a 65-byte signature is none of Ed25519");
        long.extend([0; 16]);
        assert_eq!(CallProof::decode(&long), Err(BadProof::Layout));
        let mut past = claims().message();
        past.get_mut(150..158).unwrap().fill(0xff);
        past.extend([0; 64]);
        assert_eq!(CallProof::decode(&past), Err(BadProof::Layout), "a time beyond i64");
        for text in ["", "sublet1p.", "sublet1.AAAA", "sublet1p.A=", "sublet1p.AAAA\n\n"] {
            assert!(CallProof::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn possession_messages_keep_their_parts_apart() {
        let agent: AgentId = "spiffe://acme.example/agent/a".parse().unwrap();
        let key = holder();
        let enroll = |method: &str, credential: &[u8]| {
            enroll_message(method, credential, agent.as_str(), key.public_key())
        };
        assert!(enroll("token", b"c").starts_with(b"\0SUBLET\0enroll-v1\0\0\x05token"));
        assert_ne!(enroll("token", b"c"), enroll("toke", b"nc"));
        let rotate = rotate_message(&agent, &key.public_key().thumbprint(), key.public_key());
        assert!(rotate.starts_with(b"\0SUBLET\0rotate-v1\0"));
        assert!(rotate.ends_with(key.public_key().bytes()));
    }

    #[test]
    fn a_proof_for_another_broker_says_what_that_may_come_from() {
        let detail = |asked: &str| BadProof::WrongAudience { asked: asked.into() }.to_string();
        assert!(
            detail("sublet://acme.example").ends_with("the trust bundle of another trust domain")
        );
        assert!(detail("mcp://crm").ends_with(r#"than "mcp://crm""#), "{}", detail("mcp://crm"));
    }
}
