//! The set of used proofs with a million of them live: what a call pays for it, beside one
//! `verify_strict` in the same run. Read the ratios, not the times.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench"
)]

use std::hint::black_box;
use std::time::Instant;

use ed25519_dalek::{Signer as _, SigningKey};
use sublet_core::base::id::{Nonce, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::evidence::replay_cache::{Bounds, RETENTION_MS, ReplayCache, ReplayRefusal};

const LIVE: usize = 1_000_000;
const HOLDERS: usize = 1_000;
const CALLS: usize = 200_000;
const START: i64 = 1_800_000_000_000;

fn main() {
    // cargo bench passes --bench; cargo test runs benches without it, and this is none.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let strict = strict_us();
    println!("verify_strict: {strict:.1} us");
    let before = resident_bytes();
    let set = full();
    let bytes = resident_bytes().saturating_sub(before) as f64 / LIVE as f64;
    println!("{} live proofs of {HOLDERS} holders, {bytes:.0} bytes each", set.held());
    assert_eq!(set.held(), LIVE);

    // Full: refused, and a replay is still told.
    let last = at(LIVE - 1);
    assert_eq!(insert(&set, LIVE, last), Err(ReplayRefusal::Full { held: LIVE }));
    assert_eq!(insert(&set, LIVE - 1, last), Err(ReplayRefusal::Replayed));

    for threads in [1, 2, 8] {
        report(&format!("{threads} threads, as many in as out"), steady(&full(), threads), strict);
    }
    let refused = steady_refused(&set);
    report("refused, full", refused, strict);
}

/// When the nth proof is issued: all of them within what is remembered.
fn at(n: usize) -> UnixMillis {
    let step = RETENTION_MS as f64 / LIVE as f64;
    UnixMillis(START + (n as f64 * step) as i64)
}

fn insert(set: &ReplayCache, n: usize, now: UnixMillis) -> Result<(), ReplayRefusal> {
    let holder = sublet_core::base::bytes::sha256(&(n % HOLDERS).to_le_bytes());
    let nonce = sublet_core::base::bytes::sha256(&n.to_be_bytes());
    set.check_and_insert(Thumbprint(holder), Nonce(nonce[..16].try_into().unwrap()), now, now)
}

/// A set with as many live proofs as it may hold.
fn full() -> ReplayCache {
    let bounds = Bounds { total: LIVE, per_holder: LIVE };
    let set = ReplayCache::new(bounds, UnixMillis(START));
    (0..LIVE).for_each(|n| insert(&set, n, at(n)).unwrap());
    set
}

/// Calls at the rate at which proofs are forgotten, from several threads; each call's time in us.
fn steady(set: &ReplayCache, threads: usize) -> Vec<f64> {
    let work = |thread: usize| {
        let mut times = Vec::with_capacity(CALLS / threads);
        for call in (thread..CALLS).step_by(threads) {
            // Two seconds behind: what is forgotten goes by whole seconds.
            let now = UnixMillis(at(LIVE + call).0 + 2_000);
            let start = Instant::now();
            black_box(insert(set, LIVE + call, now)).unwrap();
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        times
    };
    std::thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// What a flood pays when there is no room.
fn steady_refused(set: &ReplayCache) -> Vec<f64> {
    let time = |call: usize| {
        let start = Instant::now();
        assert!(black_box(insert(set, LIVE + call, at(LIVE - 1))).is_err());
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..CALLS / 10).map(time).collect()
}

fn report(what: &str, mut times: Vec<f64>, strict: f64) {
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    let (median, tail, worst) = (quantile(0.5), quantile(0.999), quantile(1.0));
    println!(
        "{what}: median {median:.2} us ({:.3} of verify_strict), p99.9 {tail:.1} us, worst {worst:.0} us",
        median / strict
    );
}

fn strict_us() -> f64 {
    let key = SigningKey::from_bytes(&[7; 32]);
    let signed: Vec<_> =
        (0..500u32).map(|n| (n.to_le_bytes(), key.sign(&n.to_le_bytes()))).collect();
    let public = key.verifying_key();
    let start = Instant::now();
    signed
        .iter()
        .for_each(|(message, signature)| public.verify_strict(message, signature).unwrap());
    start.elapsed().as_secs_f64() * 1e6 / signed.len() as f64
}

/// Of this process; 0 where the kernel does not say.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
