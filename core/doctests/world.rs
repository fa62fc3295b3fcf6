// The setting of the examples in doc comments: one trust domain, one agent and one delegation,
// with fixed keys. An example includes it with the hidden line
//
//     # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/world.rs")); }

use sublet_core::authorize::Credentials;
use sublet_core::base::id::{Nonce, UnixMillis};
use sublet_core::base::sign::{SecretKey, Signer};
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::capability::Scope;
use sublet_core::evidence::call::Call;
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::revocation::feed::{FeedWriter, RevocationView, SignedHead};
use sublet_core::token::mint;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

/// The time of the examples.
pub const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// The key of this seed. The broker's keys have the seeds 1 to 4, the planner's has 10.
pub fn key(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

/// The broker's trust bundle: the key of number n has the seed n.
pub fn bundle() -> TrustBundle {
    let uses = [KeyUse::Delegation, KeyUse::Receipt, KeyUse::Feed, KeyUse::Bundle];
    let keys = uses.into_iter().zip(1..).map(|(use_, seed)| TrustedKey {
        use_,
        id: KeyId(u32::from(seed)),
        alg: "ed25519".to_owned(),
        public: key(seed).public_key().clone(),
        not_before: UnixMillis(0),
        not_after: NOW.plus_ms(86_400_000),
        state: KeyState::Active,
    });
    let domain = "acme.example".parse().unwrap();
    TrustBundle::new(domain, 1, NOW, NOW.plus_ms(86_400_000), keys.collect()).unwrap()
}

/// The planner's delegation on behalf of Alice: 15 minutes, 3 hops, all of which may be offline.
pub fn delegation() -> VerifiedToken {
    let seconds = NOW.seconds();
    let origin = Origin {
        issuer: "spiffe://acme.example/sublet".parse().unwrap(),
        nonce: Nonce([1; 16]),
        issued_at: seconds,
        not_before: seconds - 10,
    };
    let block = Block {
        role: Role::Grant { origin, on_behalf_of: "user:alice@acme.example".parse().unwrap() },
        agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
        helper: None,
        not_after: seconds + 900,
        hops_max: 3,
        offline_hops_max: 3,
        scope: Some(Scope::from_texts(&["fs.read@tool://files path=under:/data"]).unwrap()),
    };
    mint::root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap()
}

/// What the holder of `token` shows for one call, with a proof by the key of this seed.
pub fn shown(token: &VerifiedToken, call: &Call, seed: u8) -> Credentials {
    let (digest, nonce) = (call.arguments.digest(), Nonce([7; 16]));
    let claims =
        CallClaims::of_digest(token.id(), &call.audience, &call.action, digest, NOW, nonce);
    let proof = CallProof::sign(claims, &key(seed)).unwrap().encode();
    Credentials { token: Some(token.encode()), proof, ..Credentials::default() }
}

/// The feed's head of now, signed by the broker.
pub fn head(feed: &FeedWriter) -> Vec<u8> {
    SignedHead::sign(feed.head(NOW), KeyId(3), &key(3)).unwrap().encode()
}

/// A view of a revocation feed without revocations.
pub fn view() -> RevocationView {
    let domain = bundle().trust_domain().clone();
    let (mut view, feed) = (RevocationView::new(domain.clone()), FeedWriter::new(domain, 1));
    view.apply_head(&head(&feed), &bundle(), NOW, 0).unwrap();
    view
}
