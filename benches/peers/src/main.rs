//! What a tool pays for one call, in full: Sublet beside Tenuo and plain Biscuit. See
//! docs/BENCHMARKS.md. Five runs in one process, interleaved; medians; read the ratios.

mod biscuit;
mod measure;
mod report;
mod sublet;
mod tenuo;

use ed25519_dalek::{Signer as _, SigningKey};
use measure::{RUNS, SAMPLES, each, many};
use report::Report;
use sublet_core::mint::Delegate;
use sublet_core::sign::Signer as _;

const PATH: &str = "/data/q3/report.txt";
const OUTSIDE: &str = "/etc/passwd";
const DEPTHS: [usize; 4] = [0, 1, 4, 8];
/// Memory for chains seen before.
const REMEMBERS: u64 = 64 * 1024 * 1024;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let json = match arguments.as_slice() {
        [] => false,
        ["--output", "json"] => true,
        ["--output", "table"] => false,
        other => {
            eprintln!("{other:?}: the only argument is --output json or --output table");
            return std::process::ExitCode::from(2);
        }
    };
    let report = run();
    println!("{}", if json { report.json() } else { report.table() });
    std::process::ExitCode::SUCCESS
}

struct Peers {
    sublet: sublet::Peer,
    tenuo: tenuo::Peer,
    biscuit: biscuit::Peer,
}

fn run() -> Report {
    let peers = Peers {
        sublet: sublet::Peer::new(),
        tenuo: tenuo::Peer::new(),
        biscuit: biscuit::Peer::new(),
    };
    refuse_what_is_outside(&peers);
    let mut report = Report::default();
    for _ in 0..RUNS {
        let strict = strict_us();
        report.add("verify_strict_us", "us", None, strict);
        for depth in DEPTHS {
            at_depth(&peers, depth, strict, &mut report);
        }
        hops(&peers, &mut report);
        policy(&mut report);
    }
    report
}

/// A benchmark of a check that lets everything through would be fast, and wrong.
fn refuse_what_is_outside(peers: &Peers) {
    let (chain, tool) = (peers.sublet.chain(2), peers.sublet.tool(REMEMBERS));
    let shown = peers.sublet.present(&chain, OUTSIDE);
    assert!(!sublet::check(&tool, &shown, OUTSIDE), "sublet");
    let stolen = peers.sublet.present(&chain, PATH);
    assert!(!sublet::check(&tool, &stolen, "/data/other"), "sublet: a proof moved");
    assert!(!peers.tenuo.check(&peers.tenuo.present(2, OUTSIDE), OUTSIDE), "tenuo");
    for token in [peers.biscuit.plain(2), peers.biscuit.third_party(2)] {
        assert!(!peers.biscuit.check(&token, OUTSIDE), "biscuit");
    }
}

fn strict_us() -> f64 {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [5u8; 200];
    let signature = key.sign(&message);
    let public = key.verifying_key();
    many(10, || public.verify_strict(&message, &signature).expect("a good signature"))
}

fn at_depth(peers: &Peers, depth: usize, strict: f64, report: &mut Report) {
    let chain = peers.sublet.chain(depth);
    let tool = peers.sublet.tool(0); // Remembers nothing.
    let shown: Vec<_> = (0..SAMPLES).map(|_| peers.sublet.present(&chain, PATH)).collect();
    let cold = each(&shown, |s| assert!(sublet::check(&tool, s, PATH)));
    let presented = peers.tenuo.present(depth, PATH);
    let theirs = each(&[(); SAMPLES], |()| assert!(peers.tenuo.check(&presented, PATH)));
    let (plain, third) = (peers.biscuit.plain(depth), peers.biscuit.third_party(depth));
    let plain_us = each(&[(); SAMPLES], |()| assert!(peers.biscuit.check(&plain, PATH)));
    let third_us = each(&[(); SAMPLES], |()| assert!(peers.biscuit.check(&third, PATH)));
    let warm = warm(peers, &chain);
    let prefix = prefix_plus_one(peers, &chain);

    let mut us = |name: &str, value| {
        report.add(&format!("{name}_depth_{depth}_us"), "us", None, value);
    };
    us("sublet_cold", cold);
    us("sublet_warm", warm);
    us("sublet_prefix_plus_one", prefix);
    us("tenuo", theirs);
    us("biscuit", plain_us);
    us("biscuit_third_party", third_us);
    let bytes = chain.token.encode().len() as f64;
    let named = peers.tenuo.named(depth).len() as f64;
    for (name, value) in [
        ("sublet", bytes),
        ("tenuo", presented.bytes.len() as f64),
        ("tenuo_named", named),
        ("biscuit", plain.len() as f64),
        ("biscuit_third_party", third.len() as f64),
    ] {
        report.add(&format!("{name}_depth_{depth}_bytes"), "bytes", None, value);
    }
    match depth {
        4 => report.add("cold_depth_4_vs_tenuo", "ratio", Some(0.55), cold / theirs),
        8 => {
            report.add("cold_depth_8_vs_tenuo", "ratio", Some(0.5), cold / theirs);
            report.add("warm_vs_verify_strict", "ratio", Some(1.4), warm / strict);
            report.add("prefix_plus_one_vs_verify_strict", "ratio", Some(2.6), prefix / strict);
            let bytes_ratio = bytes / presented.bytes.len() as f64;
            report.add("bytes_depth_8_vs_tenuo", "ratio", Some(1.0), bytes_ratio);
            report.add("bytes_depth_8_vs_tenuo_named", "ratio", None, bytes / named);
        }
        _ => {}
    }
}

/// A chain that the tool has seen, with a new proof for each call.
fn warm(peers: &Peers, chain: &sublet::Chain) -> f64 {
    let tool = peers.sublet.tool(REMEMBERS);
    assert!(sublet::check(&tool, &peers.sublet.present(chain, PATH), PATH));
    let shown: Vec<_> = (0..SAMPLES).map(|_| peers.sublet.present(chain, PATH)).collect();
    each(&shown, |s| assert!(sublet::check(&tool, s, PATH)))
}

/// A chain that the tool has seen, and one hop more: another helper each time.
fn prefix_plus_one(peers: &Peers, chain: &sublet::Chain) -> f64 {
    let tool = peers.sublet.tool(REMEMBERS);
    assert!(sublet::check(&tool, &peers.sublet.present(chain, PATH), PATH));
    let shown: Vec<_> = (0..SAMPLES)
        .map(|_| peers.sublet.present(&peers.sublet.with_helper(chain), PATH))
        .collect();
    each(&shown, |s| assert!(sublet::check(&tool, s, PATH)))
}

fn hops(peers: &Peers, report: &mut Report) {
    let chain = peers.sublet.chain(1);
    let next = sublet_core::sign::SecretKey::ed25519_from_seed([9; 32]);
    let to = Delegate::Helper { label: "scout".into(), key: next.public_key().clone() };
    let now = peers.sublet.now();
    let ours = each(&[(); SAMPLES], |()| sublet::append(&chain, to.clone(), now));
    let (warrants, holder) = peers.tenuo.chain(1);
    let parent = warrants.last().expect("a warrant");
    let next = tenuo::key();
    let theirs = each(&[(); SAMPLES], |()| tenuo::hop(parent, &holder, &next, None));
    report.add("sublet_hop_us", "us", None, ours);
    report.add("tenuo_hop_us", "us", None, theirs);
    report.add("offline_hop_vs_tenuo", "ratio", Some(1.0), ours / theirs);
}

fn policy(report: &mut Report) {
    let (scope, call) = (sublet::scope(), sublet::call(PATH));
    assert!(scope.admits(&call) && !scope.admits(&sublet::call(OUTSIDE)));
    report.add("policy_us", "us", Some(1.0), many(100, || scope.admits(&call)));
}
