//! Keys, trust, roots and hops that are honest.

use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{AgentId, Nonce, TrustDomain, UnixMillis};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::capability::Scope;
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, SignedBundle, TrustBundle, TrustedKey};

/// The time of the tests, on a whole second.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The tool of the tests.
pub const AUDIENCE: &str = "tool://files";

/// The Ed25519 key of this name; the same name gives the same key.
pub fn key(name: &str) -> SecretKey {
    SecretKey::ed25519_from_seed(sha256(name.as_bytes()))
}

/// The secp256r1 key of this name.
pub fn curve_key(name: &str) -> SecretKey {
    SecretKey::secp256r1_from_seed(&sha256(name.as_bytes())).unwrap()
}

/// The agent of this name, in the trust domain of the tests.
pub fn agent(name: &str) -> AgentId {
    format!("spiffe://acme.example/agent/{name}").parse().unwrap()
}

/// A scope from SCOPE texts.
pub fn scope(texts: &[&str]) -> Scope {
    Scope::from_texts(texts).unwrap()
}

/// A nonce that follows from its parts.
pub fn nonce(parts: &[&[u8]]) -> Nonce {
    Nonce(sha256(&parts.concat())[..16].try_into().unwrap())
}

/// The number of the key that the bundle lists for a use.
pub fn key_id(use_: KeyUse) -> KeyId {
    KeyId(use_ as u32 + 1)
}

/// A trust domain and its keys.
pub struct Fleet {
    /// The keys that a verifier trusts.
    pub bundle: TrustBundle,
}

const USES: [KeyUse; 6] = [
    KeyUse::Delegation,
    KeyUse::Identity,
    KeyUse::Receipt,
    KeyUse::Ledger,
    KeyUse::Feed,
    KeyUse::Bundle,
];

impl Default for Fleet {
    fn default() -> Self {
        Fleet::new()
    }
}

impl Fleet {
    /// The fleet of acme.example, all keys active.
    pub fn new() -> Self {
        Fleet::changed(|_| {})
    }

    /// The fleet of another trust domain, with the same keys.
    pub fn of(domain: &str) -> Self {
        Fleet::listing(domain, Fleet::new().bundle.keys().to_vec())
    }

    /// The same, of which the bundle is over.
    pub fn ended(domain: &str) -> Self {
        let keys = Fleet::new().bundle.keys().to_vec();
        Fleet::lasting(domain, keys, NOW.plus_ms(-1))
    }

    /// A fleet of which the keys were changed: another state, another time, one less.
    pub fn changed(change: impl FnOnce(&mut Vec<TrustedKey>)) -> Self {
        let mut keys: Vec<TrustedKey> = USES
            .map(|use_| TrustedKey {
                use_,
                id: key_id(use_),
                alg: "ed25519".into(),
                public: Fleet::signer(use_).public_key().clone(),
                not_before: NOW.plus_ms(-86_400_000),
                not_after: NOW.plus_ms(86_400_000),
                state: KeyState::Active,
            })
            .into();
        change(&mut keys);
        Fleet::listing("acme.example", keys)
    }

    fn listing(domain: &str, keys: Vec<TrustedKey>) -> Self {
        Fleet::lasting(domain, keys, NOW.plus_ms(86_400_000))
    }

    fn lasting(domain: &str, keys: Vec<TrustedKey>, to: UnixMillis) -> Self {
        let domain: TrustDomain = domain.parse().unwrap();
        let from = NOW.plus_ms(-86_400_000);
        Fleet { bundle: TrustBundle::new(domain, 1, from, to, keys).unwrap() }
    }

    /// The bundle as its bundle key signs it.
    pub fn signed_bundle(&self) -> SignedBundle {
        let text = self.bundle.sign(key_id(KeyUse::Bundle), &Fleet::signer(KeyUse::Bundle));
        SignedBundle::read(text.unwrap().into_bytes()).unwrap()
    }

    /// The broker's private key for a use.
    pub fn signer(use_: KeyUse) -> SecretKey {
        key(&format!("broker {use_:?}"))
    }

    fn origin(&self, to: &str, scopes: &[&str]) -> Origin {
        Origin {
            issuer: self.bundle.trust_domain().issuer(),
            nonce: nonce(&[to.as_bytes(), scopes.concat().as_bytes()]),
            issued_at: NOW.seconds(),
            not_before: NOW.seconds() - 10,
        }
    }

    /// Block 0 for an agent: an hour, four hops, two of them unrecorded.
    pub fn grant(&self, to: &str, scopes: &[&str]) -> Block {
        let role = Role::Grant {
            origin: self.origin(to, scopes),
            on_behalf_of: "user:alice@acme.example".parse().unwrap(),
        };
        let scope = Some(scope(scopes));
        Block {
            role,
            agent: agent(to),
            helper: None,
            not_after: NOW.seconds() + 3600,
            hops_max: 4,
            offline_hops_max: 2,
            scope,
        }
    }

    /// Signs block 0 with the delegation root, or the identity root where it is an identity; its
    /// holder has the key of the agent's name.
    pub fn issue(&self, block: Block) -> VerifiedToken {
        let name = block.agent.path().trim_start_matches("agent/").to_owned();
        let use_ = match block.role {
            Role::Identity { .. } => KeyUse::Identity,
            _ => KeyUse::Delegation,
        };
        mint::root(block, key(&name).public_key(), key_id(use_), &Fleet::signer(use_)).unwrap()
    }

    /// A delegation to an agent.
    pub fn root(&self, to: &str, scopes: &[&str]) -> VerifiedToken {
        self.issue(self.grant(to, scopes))
    }

    /// An identity token of an agent.
    pub fn identity(&self, name: &str) -> VerifiedToken {
        let grant = self.grant(name, &["a@t:x"]);
        let role = Role::Identity { origin: self.origin(name, &[]) };
        self.issue(Block { role, hops_max: 0, offline_hops_max: 0, scope: None, ..grant })
    }

    /// The receipt that the broker gives for this chain at `NOW`.
    pub fn receipt(&self, token: &VerifiedToken) -> Receipt {
        self.receipt_with(token, |_| {})
    }

    /// A receipt of which the claims were changed before it was signed.
    pub fn receipt_with(
        &self,
        token: &VerifiedToken,
        change: impl FnOnce(&mut ReceiptClaims),
    ) -> Receipt {
        let mut claims = ReceiptClaims {
            issuer: self.bundle.trust_domain().issuer(),
            origin: "acme.example/sublet".into(),
            hop: token.id(),
            position: token.depth(),
            indices: (0..=u64::from(token.depth())).collect(),
            recorded_at: NOW,
            as_of: NOW,
            revocation_epoch: 1,
            revocation_sequence: 0,
            fresh_until: NOW.plus_ms(10_000),
        };
        change(&mut claims);
        Receipt::sign(claims, key_id(KeyUse::Receipt), &Fleet::signer(KeyUse::Receipt)).unwrap()
    }

    /// Reads and verifies bytes, as every verifier does.
    pub fn verify(&self, bytes: &[u8]) -> Result<VerifiedToken, Refusal> {
        let token = UnverifiedToken::decode(bytes).map_err(Malformed::Token)?;
        Ok(VerifiedToken::verify(token, &self.bundle)?)
    }
}

/// A hop to the enrolled agent of this name, for ten minutes.
pub fn to_agent(name: &str, scopes: &[&str]) -> Hop {
    hop(Recipient::Agent { id: agent(name), key: key(name).public_key().clone() }, scopes)
}

/// A hop to a helper, which has the key of its label's name, for ten minutes.
pub fn to_helper(label: &str, scopes: &[&str]) -> Hop {
    hop(Recipient::Helper { label: label.into(), key: key(label).public_key().clone() }, scopes)
}

/// A hop to oneself, for ten minutes.
pub fn to_self(scopes: &[&str]) -> Hop {
    hop(Recipient::Oneself, scopes)
}

fn hop(to: Recipient, scopes: &[&str]) -> Hop {
    Hop { to, scope: scope(scopes), ttl_seconds: 600, hops_max: None, offline_hops_max: None }
}

/// Appends a hop with the key of the holder's name.
pub fn append(parent: &VerifiedToken, hop: &Hop, signer: &str) -> Result<VerifiedToken, Refusal> {
    mint::append(parent, hop, NOW, &key(signer))
}
