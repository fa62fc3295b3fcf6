//! The setting of unit tests: a broker's keys, tokens, receipts and feed, made by hand.

use std::sync::Arc;

use sublet_core::base::id::{HopId, Nonce, UnixMillis};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::capability::Scope;
use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::revocation::feed::{
    FeedPosition, FeedWriter, Revocation, SignedHead, snapshot_text,
};
use sublet_core::token::mint;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

use crate::agent::delegation::Delegation;
use crate::ports::Ports;
use crate::ports::tests::{FakeClock, ports};
use crate::tool::follow::SharedView;
use crate::trust::Trust;
use sublet_proto::v1::watch_event::Event;

/// The time of the tests, in milliseconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) const TOOL: &str = "tool://files";

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

pub(crate) struct World {
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) ports: Ports,
    pub(crate) trust: Trust,
    pub(crate) feed: FeedWriter,
}

const USES: [(KeyUse, u8); 4] =
    [(KeyUse::Delegation, 1), (KeyUse::Receipt, 2), (KeyUse::Feed, 3), (KeyUse::Bundle, 4)];

impl World {
    pub(crate) fn new() -> Self {
        let clock = FakeClock::at(NOW);
        let keys = USES.map(|(use_, seed)| TrustedKey {
            use_,
            id: KeyId(u32::from(seed)),
            alg: "ed25519".into(),
            public: key(seed).public_key().clone(),
            not_before: UnixMillis(0),
            not_after: UnixMillis(i64::MAX),
            state: KeyState::Active,
        });
        let (issued, expires) = (UnixMillis(NOW - 1_000), UnixMillis(NOW + 3_600_000));
        let domain = "acme.example".parse().unwrap();
        let bundle = TrustBundle::new(domain, 1, issued, expires, keys.to_vec()).unwrap();
        let feed = FeedWriter::new(bundle.trust_domain().clone(), 1);
        World { ports: ports(&clock), clock, trust: Trust::new(bundle), feed }
    }

    /// Returns a delegation to the planner, whose key has the seed 10.
    pub(crate) fn issued(&self, offline_hops: u32) -> Delegation {
        let seconds = NOW / 1000;
        let block = Block {
            role: Role::Grant {
                origin: Origin {
                    issuer: "spiffe://acme.example/sublet".parse().unwrap(),
                    nonce: Nonce([1; 16]),
                    issued_at: seconds,
                    not_before: seconds - 10,
                },
                on_behalf_of: "user:alice@acme.example".parse().unwrap(),
            },
            agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
            helper: None,
            not_after: seconds + 900,
            hops_max: 3,
            offline_hops_max: offline_hops,
            scope: Some(Scope::from_texts(&["fs.@tool://files path=under:/data"]).unwrap()),
        };
        let token = mint::root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap();
        let receipt = self.receipt(&token);
        self.held(token, Some(receipt), 10)
    }

    pub(crate) fn held(
        &self,
        token: VerifiedToken,
        receipt: Option<Vec<u8>>,
        seed: u8,
    ) -> Delegation {
        let key = Arc::new(key(seed));
        Delegation::of(token, receipt, key, &self.trust, None, self.ports.clone()).unwrap()
    }

    /// Returns the broker's receipt for a whole chain, as of now.
    pub(crate) fn receipt(&self, token: &VerifiedToken) -> Vec<u8> {
        let now = self.ports.clock.now();
        let claims = ReceiptClaims {
            issuer: "spiffe://acme.example/sublet".parse().unwrap(),
            origin: "acme.example/sublet".into(),
            hop: token.id(),
            position: token.depth(),
            indices: (0..=u64::from(token.depth())).collect(),
            recorded_at: now,
            as_of: now,
            revocation_epoch: 1,
            revocation_sequence: self.feed.sequence(),
            fresh_until: now.plus_ms(30_000),
        };
        Receipt::sign(claims, KeyId(2), &key(2)).unwrap().encode()
    }

    pub(crate) fn revoke(&mut self, revocation: Revocation) {
        let now = self.ports.clock.now();
        self.feed.append(revocation, now, now.plus_ms(3_600_000));
    }

    pub(crate) fn revoke_hop(&mut self, hop: HopId) {
        self.revoke(Revocation::Hop(hop));
    }

    /// Returns the feed as a snapshot, with a head of now.
    pub(crate) fn snapshot(&self) -> String {
        let head = self.feed.head(self.ports.clock.now());
        let head = SignedHead::sign(head, KeyId(3), &key(3)).unwrap().encode();
        snapshot_text(self.feed.deltas_after(0, 0).map(|(_, bytes)| bytes), &head)
    }

    /// Returns a view of the current feed.
    pub(crate) fn view(&self) -> SharedView {
        SharedView::from_snapshot(&self.snapshot(), &self.trust, &self.ports).unwrap()
    }

    /// Applies the rest of the feed to the view.
    pub(crate) fn refresh(&self, view: &SharedView) {
        let FeedPosition { epoch, sequence: from } = view.position();
        let deltas =
            self.feed.deltas_after(epoch, from).map(|(_, bytes)| Event::Delta(bytes.to_vec()));
        let head = self.feed.head(self.ports.clock.now());
        let head = SignedHead::sign(head, KeyId(3), &key(3)).unwrap().encode();
        for event in deltas.chain([Event::Head(head)]) {
            view.apply(&event, &self.trust, &self.ports).unwrap();
        }
    }
}
