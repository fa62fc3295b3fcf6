//! Sublet: a recorded chain between enrolled agents, with a receipt and a call proof.

use std::sync::Arc;

use sublet_client::ports::{Clock, Ports, SystemRandom};
use sublet_client::tool::checker::{Checker, Options};
use sublet_client::tool::follow::SharedView;
use sublet_client::trust::Trust;
use sublet_core::base::id::{Nonce, UnixMillis};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::capability::Scope;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::revocation::feed::{FeedWriter, SignedHead, snapshot_text};
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};
use sublet_proto::credentials::Credentials;

const SCOPE: &str =
    "fs.read@tool://files limit=range:1..1000 mode=one_of:raw,text path=under:/data";
const TOOL: &str = "tool://files";
const ACTION: &str = "fs.read";
/// Memory for chains seen before.
const REMEMBERS: u64 = 64 * 1024 * 1024;
const USES: [(KeyUse, u8); 4] =
    [(KeyUse::Delegation, 1), (KeyUse::Receipt, 2), (KeyUse::Feed, 3), (KeyUse::Bundle, 4)];

/// When everything happens.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A clock that stands.
struct ChainPosition;

impl Clock for ChainPosition {
    fn now(&self) -> UnixMillis {
        NOW
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// A broker's keys, and tools that trust them.
pub(crate) struct Peer {
    ports: Ports,
    trust: Trust,
    view: SharedView,
}

/// A chain, the key of its last holder, and the receipt for it.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) token: VerifiedToken,
    pub(crate) holder: Arc<SecretKey>,
    receipt: Vec<u8>,
}

fn key(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

impl Peer {
    pub(crate) fn new() -> Self {
        let ports = Ports { clock: Arc::new(ChainPosition), entropy: Arc::new(SystemRandom) };
        let now = NOW;
        let trusted = USES.map(|(use_, seed)| TrustedKey {
            use_,
            id: KeyId(u32::from(seed)),
            alg: "ed25519".into(),
            public: key(seed).public_key().clone(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(i64::MAX),
            state: KeyState::Active,
        });
        let domain = "acme.example".parse().expect("a domain");
        let end = now.plus_ms(3_600_000);
        let bundle = TrustBundle::new(domain, 1, now, end, trusted.to_vec()).expect("a bundle");
        let feed = FeedWriter::new(bundle.trust_domain().clone(), 1);
        let trust = Trust::new(bundle);
        let head = SignedHead::sign(feed.head(now), KeyId(3), &key(3)).expect("a head").encode();
        let view = SharedView::from_snapshot(&snapshot_text([], &head), &trust, &ports);
        Peer { view: view.expect("a view"), ports, trust }
    }

    /// A tool that has seen nothing yet, and remembers what it sees.
    pub(crate) fn tool(&self) -> Checker {
        let options = Options {
            chain_bytes_max: REMEMBERS,
            staleness_ms_max: 3_600_000,
            ports: self.ports.clone(),
            ..Options::default()
        };
        Checker::new(TOOL, self.trust.clone(), self.view.clone(), options)
    }

    /// A chain from agent to agent, recorded as a whole; every hop states the same scope.
    pub(crate) fn chain(&self, depth: usize) -> Chain {
        self.chain_of(depth, |_| scope())
    }

    /// The same, every hop with less than the one before.
    pub(crate) fn narrowing_chain(&self, depth: usize) -> Chain {
        self.chain_of(depth, |hop| {
            let text = SCOPE.replace("1..1000", &format!("1..{}", 1000 - hop));
            Scope::from_texts(&[text]).expect("a scope")
        })
    }

    fn chain_of(&self, depth: usize, scope: impl Fn(usize) -> Scope) -> Chain {
        let holder = self.ports.new_key().expect("a key");
        let seconds = NOW.seconds();
        let origin = Origin {
            issuer: "spiffe://acme.example/sublet".parse().expect("an issuer"),
            nonce: self.ports.entropy.nonce().expect("a nonce"),
            issued_at: seconds,
            not_before: seconds - 10,
        };
        let block = Block {
            role: Role::Grant {
                origin,
                on_behalf_of: "user:alice@acme.example".parse().expect("a principal"),
            },
            agent: "spiffe://acme.example/agent/planner".parse().expect("an agent"),
            helper: None,
            not_after: seconds + 3600,
            hops_max: 16,
            offline_hops_max: 1,
            scope: Some(scope(0)),
        };
        let token = mint::root(block, holder.public_key(), KeyId(1), &key(1)).expect("a root");
        let mut chain = Chain { token, holder: Arc::new(holder), receipt: Vec::new() };
        for at in 0..depth {
            let next = self.ports.new_key().expect("a key");
            let id = format!("spiffe://acme.example/agent/worker-{at}").parse().expect("an agent");
            let to = Recipient::Agent { id, key: next.public_key().clone() };
            chain = self.longer(&chain, to, next, scope(at + 1));
        }
        chain.receipt = self.receipt(&chain.token);
        chain
    }

    /// The chain and a hop to a helper, which no receipt covers yet.
    pub(crate) fn with_helper(&self, chain: &Chain) -> Chain {
        let next = self.ports.new_key().expect("a key");
        let to = Recipient::Helper { label: "scout".into(), key: next.public_key().clone() };
        self.longer(chain, to, next, scope())
    }

    fn longer(&self, chain: &Chain, to: Recipient, next: SecretKey, scope: Scope) -> Chain {
        let token = append(chain, to, scope);
        Chain { token, holder: Arc::new(next), receipt: chain.receipt.clone() }
    }

    fn receipt(&self, token: &VerifiedToken) -> Vec<u8> {
        let now = NOW;
        let claims = ReceiptClaims {
            issuer: "spiffe://acme.example/sublet".parse().expect("an issuer"),
            origin: "acme.example/sublet".into(),
            hop: token.id(),
            position: token.depth(),
            indices: (0..=u64::from(token.depth())).collect(),
            recorded_at: now,
            as_of: now,
            revocation_epoch: 1,
            revocation_sequence: 0,
            fresh_until: now.plus_ms(3_600_000),
        };
        Receipt::sign(claims, KeyId(2), &key(2)).expect("a receipt").encode()
    }

    /// What a caller shows for one call: the chain, its receipt, a new proof.
    pub(crate) fn present(&self, chain: &Chain, path: &str) -> Credentials {
        let digest = arguments(path).digest();
        let nonce: Nonce = self.ports.entropy.nonce().expect("a nonce");
        let id = chain.token.id();
        let claims = CallClaims::of_digest(id, TOOL, ACTION, digest, NOW, nonce);
        let proof = CallProof::sign(claims, chain.holder.as_ref()).expect("a proof").encode();
        Credentials {
            token: Some(chain.token.encode()),
            receipt: Some(chain.receipt.clone()).filter(|receipt| !receipt.is_empty()),
            proof,
            inclusion: None,
        }
    }
}

/// One hop made offline, subset check included.
pub(crate) fn append(chain: &Chain, to: Recipient, scope: Scope) -> VerifiedToken {
    let ttl_seconds = chain.token.expires() - NOW.seconds() - 20;
    let hop = Hop { to, scope, ttl_seconds, hops_max: None, offline_hops_max: None };
    mint::append(&chain.token, &hop, NOW, chain.holder.as_ref()).expect("a narrower hop")
}

pub(crate) fn scope() -> Scope {
    Scope::from_texts(&[SCOPE]).expect("a scope")
}

fn arguments(path: &str) -> Arguments {
    let json = format!(r#"{{"limit":10,"mode":"text","path":"{path}"}}"#);
    Arguments::from_json(json.as_bytes()).expect("arguments")
}

/// All that a tool pays: arguments, decoding, chain, receipt, possession, revocation, policy.
pub(crate) fn check(tool: &Checker, shown: &Credentials, path: &str) -> bool {
    tool.check(shown, &call(path)).is_ok()
}

pub(crate) fn call(path: &str) -> Call {
    Call { audience: TOOL.to_owned(), action: ACTION.to_owned(), arguments: arguments(path) }
}
