//! A hop made offline, and a token verified at depth 0, 1, 4 and 8, beside one `verify_strict` in
//! the same run. Read the ratios, not the times.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sublet_core::base::id::{Nonce, UnixMillis};
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::block::{Block, Origin, Role};
use sublet_core::capability::Scope;
use sublet_core::token::UnverifiedToken;
use sublet_core::token::mint::{self, Hop, Recipient};
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const SCOPE: &str =
    "fs.read@tool://files limit=range:1..1000 mode=one_of:raw,text path=under:/data";

fn key(seed: u8) -> SecretKey {
    SecretKey::ed25519_from_seed([seed; 32])
}

fn bundle() -> TrustBundle {
    let trusted = |use_, id, seed| TrustedKey {
        use_,
        id: KeyId(id),
        alg: "ed25519".into(),
        public: key(seed).public_key().clone(),
        not_before: UnixMillis(0),
        not_after: UnixMillis(i64::MAX),
        state: KeyState::Active,
    };
    let keys = vec![trusted(KeyUse::Delegation, 1, 1), trusted(KeyUse::Bundle, 2, 2)];
    TrustBundle::new("acme.example".parse().unwrap(), 1, UnixMillis(0), UnixMillis(i64::MAX), keys)
        .unwrap()
}

fn root() -> VerifiedToken {
    let block = Block {
        role: Role::Grant {
            origin: Origin {
                issuer: "spiffe://acme.example/sublet".parse().unwrap(),
                nonce: Nonce([1; 16]),
                issued_at: NOW.seconds(),
                not_before: NOW.seconds() - 10,
            },
            on_behalf_of: "user:alice@acme.example".parse().unwrap(),
        },
        agent: "spiffe://acme.example/agent/planner".parse().unwrap(),
        helper: None,
        not_after: NOW.seconds() + 900,
        hops_max: 16,
        offline_hops_max: 16,
        scope: Some(Scope::from_texts(&[SCOPE]).unwrap()),
    };
    mint::root(block, key(10).public_key(), KeyId(1), &key(1)).unwrap()
}

fn hop(depth: u8) -> Hop {
    Hop {
        to: Recipient::Helper {
            label: format!("h{depth}"),
            key: key(11 + depth).public_key().clone(),
        },
        scope: Scope::from_texts(&[SCOPE]).unwrap(),
        ttl_seconds: 600,
        hops_max: None,
        offline_hops_max: None,
    }
}

fn chain(depth: u8) -> VerifiedToken {
    (0..depth).fold(root(), |token, at| mint::append(&token, &hop(at), NOW, &key(10 + at)).unwrap())
}

fn bench(c: &mut Criterion) {
    let signer = key(7);
    let signature = signer.sign(b"one message").unwrap();
    c.bench_function("verify_strict", |b| {
        b.iter(|| signer.public_key().verify(black_box(b"one message"), black_box(&signature)));
    });
    let (parent, first) = (root(), hop(0));
    c.bench_function("hop_offline", |b| {
        b.iter(|| mint::append(black_box(&parent), &first, NOW, &key(10)).unwrap());
    });
    let bundle = bundle();
    for depth in [0, 1, 4, 8] {
        let bytes = chain(depth).encode();
        println!("depth {depth}: {} bytes", bytes.len());
        c.bench_function(&format!("decode_and_verify_depth_{depth}"), |b| {
            b.iter(|| {
                VerifiedToken::verify(UnverifiedToken::decode(black_box(&bytes)).unwrap(), &bundle)
                    .unwrap()
            });
        });
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(50); targets = bench }
criterion_main!(benches);
