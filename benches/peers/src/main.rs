//! What a tool pays for one call, in full: Sublet beside Tenuo and plain Biscuit. See
//! docs/BENCHMARKS.md. Five runs in one process, interleaved; medians; read the ratios.

mod biscuit;
mod measure;
mod report;
mod sublet;
mod tenuo;

use std::hint::black_box;

use ed25519_dalek::{Signer as _, SigningKey};
use measure::{Lane, RUNS, SAMPLES, beside, many};
use report::Report;
use sublet_core::base::sign::Signer as _;
use sublet_core::token::mint::Recipient;

const PATH: &str = "/data/q3/report.txt";
const OUTSIDE: &str = "/etc/passwd";
const DEPTHS: [usize; 4] = [0, 1, 4, 8];

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
        for depth in DEPTHS {
            at_depth(&peers, depth, &mut report);
        }
        hops(&peers, &mut report);
        policy(&mut report);
    }
    report
}

/// A benchmark of a check that lets everything through would be fast, and wrong.
fn refuse_what_is_outside(peers: &Peers) {
    let (chain, tool) = (peers.sublet.chain(2), peers.sublet.tool());
    let shown = peers.sublet.present(&chain, OUTSIDE);
    assert!(!sublet::check(&tool, &shown, OUTSIDE), "sublet");
    let stolen = peers.sublet.present(&chain, PATH);
    assert!(!sublet::check(&tool, &stolen, "/data/other"), "sublet: a proof moved");
    assert!(!peers.tenuo.check(&peers.tenuo.present(2, OUTSIDE), OUTSIDE), "tenuo");
    for token in [peers.biscuit.plain(2), peers.biscuit.third_party(2)] {
        assert!(!peers.biscuit.check(&token, OUTSIDE), "biscuit");
    }
}

fn at_depth(peers: &Peers, depth: usize, report: &mut Report) {
    let [strict, cold, narrowing, warm, prefix, tenuo, plain, third] = beside([
        strict(),
        cold(&peers.sublet, |sublet| sublet.chain(depth)),
        cold(&peers.sublet, |sublet| sublet.narrowing_chain(depth)),
        warm(&peers.sublet, depth),
        prefix_plus_one(&peers.sublet, depth),
        tenuo(&peers.tenuo, depth),
        biscuit(&peers.biscuit, peers.biscuit.plain(depth)),
        biscuit(&peers.biscuit, peers.biscuit.third_party(depth)),
    ]);
    report.add("verify_strict_us", "us", None, strict);
    for (name, value) in [
        ("sublet_cold", cold),
        ("sublet_cold_narrowing", narrowing),
        ("sublet_warm", warm),
        ("sublet_prefix_plus_one", prefix),
        ("tenuo", tenuo),
        ("biscuit", plain),
        ("biscuit_third_party", third),
    ] {
        report.add(&format!("{name}_depth_{depth}_us"), "us", None, value);
    }
    let [ours, theirs, named] = bytes(peers, depth, report);
    match depth {
        4 => {
            report.add("cold_depth_4_vs_tenuo", "ratio", Some(0.55), cold / tenuo);
            report.add("cold_depth_4_narrowing_vs_tenuo", "ratio", None, narrowing / tenuo);
        }
        8 => {
            report.add("cold_depth_8_vs_tenuo", "ratio", Some(0.5), cold / tenuo);
            report.add("cold_depth_8_narrowing_vs_tenuo", "ratio", None, narrowing / tenuo);
            report.add("warm_vs_verify_strict", "ratio", Some(1.4), warm / strict);
            report.add("prefix_plus_one_vs_verify_strict", "ratio", Some(2.6), prefix / strict);
            report.add("bytes_depth_8_vs_tenuo", "ratio", Some(1.0), ours / theirs);
            report.add("bytes_depth_8_vs_tenuo_named", "ratio", None, ours / named);
        }
        _ => {}
    }
}

/// The bytes of our token, of Tenuo's, and of Tenuo's with its agents named.
fn bytes(peers: &Peers, depth: usize, report: &mut Report) -> [f64; 3] {
    let shown = peers.sublet.present(&peers.sublet.chain(depth), PATH);
    let ours = shown.token.as_ref().map_or(0, Vec::len) as f64;
    let beside = (shown.receipt.as_ref().map_or(0, Vec::len) + shown.proof.len()) as f64;
    let theirs = peers.tenuo.present(depth, PATH).bytes.len() as f64;
    let named = peers.tenuo.named(depth).len() as f64;
    for (name, value) in [
        ("sublet", ours),
        ("sublet_presented", ours + beside),
        ("tenuo", theirs),
        ("tenuo_presented", theirs + tenuo::PROOF_BYTES),
        ("tenuo_named", named),
        ("biscuit", peers.biscuit.plain(depth).len() as f64),
        ("biscuit_third_party", peers.biscuit.third_party(depth).len() as f64),
    ] {
        report.add(&format!("{name}_depth_{depth}_bytes"), "bytes", None, value);
    }
    [ours, theirs, named]
}

/// One strict check of a signature over 200 bytes, another for each call.
fn strict<'a>() -> Lane<'a> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = key.verifying_key();
    let message = |sample: usize| [sample.to_le_bytes(); 25].concat();
    let messages: Vec<Vec<u8>> = (0..SAMPLES).map(message).collect();
    let signatures: Vec<_> = messages.iter().map(|message| key.sign(message)).collect();
    Box::new(move |sample| {
        public.verify_strict(&messages[sample], &signatures[sample]).expect("a good signature");
    })
}

/// Chains that the tool has not seen: another for each call.
fn cold(peer: &sublet::Peer, chain: impl Fn(&sublet::Peer) -> sublet::Chain) -> Lane<'_> {
    let tool = peer.tool();
    let shown: Vec<_> = (0..SAMPLES).map(|_| peer.present(&chain(peer), PATH)).collect();
    Box::new(move |sample| assert!(sublet::check(&tool, &shown[sample], PATH)))
}

/// A chain that the tool has seen, with a new proof for each call.
fn warm(peer: &sublet::Peer, depth: usize) -> Lane<'_> {
    let (tool, chain) = (peer.tool(), peer.chain(depth));
    assert!(sublet::check(&tool, &peer.present(&chain, PATH), PATH));
    let shown: Vec<_> = (0..SAMPLES).map(|_| peer.present(&chain, PATH)).collect();
    Box::new(move |sample| assert!(sublet::check(&tool, &shown[sample], PATH)))
}

/// A chain that the tool has seen, and one hop more: another helper each time.
fn prefix_plus_one(peer: &sublet::Peer, depth: usize) -> Lane<'_> {
    let (tool, chain) = (peer.tool(), peer.chain(depth));
    assert!(sublet::check(&tool, &peer.present(&chain, PATH), PATH));
    let longer = |_| peer.present(&peer.with_helper(&chain), PATH);
    let shown: Vec<_> = (0..SAMPLES).map(longer).collect();
    Box::new(move |sample| assert!(sublet::check(&tool, &shown[sample], PATH)))
}

/// Another chain for each call.
fn tenuo(peer: &tenuo::Peer, depth: usize) -> Lane<'_> {
    let shown: Vec<_> = (0..SAMPLES).map(|_| peer.present(depth, PATH)).collect();
    Box::new(move |sample| assert!(peer.check(&shown[sample], PATH)))
}

/// A bearer token, shown over and over.
fn biscuit(peer: &biscuit::Peer, token: Vec<u8>) -> Lane<'_> {
    Box::new(move |_| assert!(peer.check(&token, PATH)))
}

/// One hop made offline behind a chain of one, subset check included.
fn hops(peers: &Peers, report: &mut Report) {
    let chain = peers.sublet.chain(1);
    let next = sublet_core::base::sign::SecretKey::ed25519_from_seed([9; 32]);
    let to = Recipient::Helper { label: "scout".into(), key: next.public_key().clone() };
    let (warrants, holder) = peers.tenuo.chain(1);
    let parent = warrants.last().expect("a warrant");
    let next = tenuo::key();
    let [ours, theirs] = beside([
        Box::new(|_| drop(black_box(sublet::append(&chain, to.clone(), sublet::scope())))),
        Box::new(|_| drop(black_box(tenuo::hop(parent, &holder, &next, None)))),
    ]);
    report.add("sublet_hop_us", "us", None, ours);
    report.add("tenuo_hop_us", "us", None, theirs);
    report.add("offline_hop_vs_tenuo", "ratio", Some(1.0), ours / theirs);
}

fn policy(report: &mut Report) {
    let (scope, call) = (sublet::scope(), sublet::call(PATH));
    let here = sublet_core::capability::ChainPosition::default();
    assert!(scope.admits(&call, here) && !scope.admits(&sublet::call(OUTSIDE), here));
    report.add("policy_us", "us", Some(1.0), many(100, || scope.admits(&call, here)));
}
