//! A receipt of another chain, of another key, or stale.

use sublet_core::evidence::receipt::{Receipt, ReceiptClaims};
use sublet_core::revocation::feed::Revocation;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{KeyState, KeyUse};
use sublet_tests::{Fleet, NOW, Request, Tool, append, code, key, key_id, to_agent, to_helper};

const READ: &[&str] = &["fs.read@tool://files path=under:/data"];
const ARGS: &str = r#"{"path":"/data/a"}"#;

fn token(fleet: &Fleet) -> VerifiedToken {
    append(&fleet.root("planner", READ), &to_agent("researcher", READ), "planner").unwrap()
}

fn bare(fleet: &Fleet) -> Request {
    Request::new(&token(fleet), &key("researcher"), "fs.read", ARGS)
}

fn with(fleet: &Fleet, change: impl FnOnce(&mut ReceiptClaims)) -> &'static str {
    let receipt = fleet.receipt_with(&token(fleet), change);
    code(Tool::new(fleet).answer(&bare(fleet).with(&receipt)))
}

// SPEC 6.3.
#[test]
fn the_receipt_of_another_chain_covers_nothing() {
    let fleet = Fleet::new();
    let wide = fleet.root("planner", &["fs.@tool://files path=under:/data"]);
    let other = append(&wide, &to_agent("researcher", READ), "planner").unwrap();
    let longer = append(&token(&fleet), &to_helper("deep", READ), "researcher").unwrap();
    for other in [other, longer] {
        let request = bare(&fleet).with(&fleet.receipt(&other));
        assert_eq!(code(Tool::new(&fleet).answer(&request)), "receipt_of_another_chain");
    }
    assert_eq!(with(&fleet, |_| {}), "granted");
    let root = fleet.root("planner", READ).id();
    assert_eq!(with(&fleet, |claims| claims.hop = root), "receipt_of_another_chain");
    let moved = |claims: &mut ReceiptClaims| (claims.position, claims.indices) = (0, vec![0]);
    assert_eq!(with(&fleet, moved), "receipt_of_another_chain");
    let beyond = |claims: &mut ReceiptClaims| {
        (claims.position, claims.indices) = (2, vec![0, 1, 2]);
    };
    assert_eq!(with(&fleet, beyond), "receipt_of_another_chain");
    let issuer = |claims: &mut ReceiptClaims| {
        claims.issuer = "spiffe://evil.example/sublet".parse().unwrap();
    };
    assert_eq!(with(&fleet, issuer), "receipt_of_another_chain");
}

/// A broker's key signs for the ledgers of its own trust domain and for no other.
// SPEC 6.3.
#[test]
fn the_receipt_of_another_ledger_covers_nothing() {
    let fleet = Fleet::new();
    let of = |origin: &str| with(&fleet, |claims| claims.origin = origin.to_owned());
    for ours in ["acme.example/sublet", "acme.example/sublet/2", "acme.example/sublet/eu-1/2026"] {
        assert_eq!(of(ours), "granted", "{ours}");
    }
    for other in [
        "",
        "acme.example",
        "acme.example/",
        "acme.example/other",
        "acme.example/sublet2",
        "acme.example/sublet/",
        "acme.example/sublet//2",
        "acme.example/sublet/..",
        "acme.example/sublet/../x",
        "acme.example/sublet/a b",
        "acme.example/sublet/a+b",
        "evil.example/sublet",
        "evil.example/acme.example/sublet",
        "ACME.example/sublet",
    ] {
        assert_eq!(of(other), "receipt_of_another_ledger", "{other}");
    }
    // Also where the signatures that it covers are verified with it.
    let receipt = fleet.receipt_with(&token(&fleet), |claims| {
        claims.origin = "evil.example/sublet".into();
    });
    let (token, receipt) = (token(&fleet).encode(), receipt.encode());
    let token = sublet_core::token::UnverifiedToken::decode(&token).unwrap();
    let receipt = Receipt::decode(&receipt).unwrap();
    let refused = VerifiedToken::verify_recorded(token, receipt, &fleet.bundle).unwrap_err();
    assert_eq!(refused.code(), "receipt_of_another_ledger");
    assert!(refused.to_string().contains("evil.example/sublet"), "{refused}");
}

#[test]
fn a_receipt_that_does_not_name_every_hop_is_none() {
    let fleet = Fleet::new();
    assert_ne!(with(&fleet, |claims| claims.indices = vec![1]), "granted");
    assert_ne!(with(&fleet, |claims| claims.indices = vec![0, 1, 2]), "granted");
}

// SPEC 6.3.
#[test]
fn only_the_receipt_key_signs_receipts() {
    let fleet = Fleet::new();
    let claims = fleet.receipt(&token(&fleet)).claims;
    let signed = |use_, signer: &str| {
        let signer = match signer {
            "own" => Fleet::signer(use_),
            name => key(name),
        };
        let receipt = Receipt::sign(claims.clone(), key_id(use_), &signer).unwrap();
        code(Tool::new(&fleet).answer(&bare(&fleet).with(&receipt)))
    };
    assert_eq!(signed(KeyUse::Receipt, "own"), "granted");
    assert_eq!(signed(KeyUse::Receipt, "thief"), "bad_receipt");
    for other in [KeyUse::Delegation, KeyUse::Ledger, KeyUse::Feed, KeyUse::Bundle] {
        assert_eq!(signed(other, "own"), "unknown_key");
    }
    let tainted = Fleet::changed(|keys| {
        keys.iter_mut().filter(|k| k.use_ == KeyUse::Receipt).for_each(|key| {
            key.state = KeyState::Tainted;
        });
    });
    let request = bare(&tainted).with(&tainted.receipt(&token(&tainted)));
    assert_eq!(code(Tool::new(&tainted).answer(&request)), "key_tainted");
}

#[test]
fn bytes_changed_added_or_cut() {
    let fleet = Fleet::new();
    let (tool, good) = (Tool::new(&fleet), bare(&fleet));
    let receipt = fleet.receipt(&token(&fleet)).encode();
    for at in 0..receipt.len() {
        let mut changed = receipt.clone();
        changed[at] ^= 1;
        let request = Request { receipt: changed, ..good.clone() };
        assert_ne!(code(tool.answer(&request)), "granted", "byte {at}");
    }
    for at in 1..receipt.len() {
        let request = Request { receipt: receipt[..at].to_vec(), ..good.clone() };
        let refused = code(tool.answer(&request));
        assert!(["receipt_malformed", "bad_receipt"].contains(&refused), "cut at {at}: {refused}");
    }
    let request = Request { receipt: [receipt.as_slice(), &[0]].concat(), ..good };
    assert_eq!(code(tool.answer(&request)), "bad_receipt");
}

/// Where the tool's own view is too old, a receipt staples "not revoked": by its date, within the
/// bound, and only for the last hop.
#[test]
fn a_stale_receipt_staples_nothing() {
    let fleet = Fleet::new();
    let token = token(&fleet);
    let late = NOW.plus_ms(60_000);
    let tool = Tool::new(&fleet);
    let stapled = |change: &dyn Fn(&mut ReceiptClaims)| {
        let receipt = fleet.receipt_with(&token, |claims| {
            (claims.as_of, claims.fresh_until) = (late, late.plus_ms(10_000));
            change(claims);
        });
        let request = Request::at(late, &token, &key("researcher"), "fs.read", ARGS).with(&receipt);
        code(Tool::new(&fleet).answer_at(late, &request))
    };
    assert_eq!(stapled(&|_| {}), "granted");
    assert_eq!(stapled(&|claims| claims.as_of = late.plus_ms(-10_000)), "granted");
    assert_eq!(stapled(&|claims| claims.as_of = late.plus_ms(-10_001)), "stale_view");
    assert_eq!(stapled(&|claims| claims.as_of = late.plus_ms(5_001)), "stale_view");
    assert_eq!(stapled(&|claims| claims.fresh_until = late.plus_ms(-1)), "stale_view");
    let bare = Request::at(late, &token, &key("researcher"), "fs.read", ARGS);
    assert_eq!(code(tool.answer_at(late, &bare)), "stale_view");

    let deep = append(&token, &to_helper("deep", READ), "researcher").unwrap();
    let of_parent = fleet.receipt_with(&token, |claims| {
        (claims.as_of, claims.fresh_until) = (late, late.plus_ms(10_000));
    });
    let request = Request::at(late, &deep, &key("deep"), "fs.read", ARGS).with(&of_parent);
    assert_eq!(code(tool.answer_at(late, &request)), "stale_view", "it staples its last hop only");
}

#[test]
fn a_receipt_yields_to_a_newer_feed() {
    let fleet = Fleet::new();
    let token = token(&fleet);
    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::Hop(token.id()));
    let request = bare(&fleet).with(&fleet.receipt(&token));
    assert_eq!(code(tool.answer(&request)), "hop_revoked");

    // Also when the newer feed, being stale itself, does not know of this hop.
    let mut tool = Tool::new(&fleet);
    tool.revoke(Revocation::Hop(fleet.root("other", READ).id()));
    let late = NOW.plus_ms(60_000);
    let receipt = fleet.receipt_with(&token, |claims| {
        (claims.as_of, claims.fresh_until) = (late, late.plus_ms(10_000));
    });
    let request = Request::at(late, &token, &key("researcher"), "fs.read", ARGS).with(&receipt);
    assert_eq!(code(tool.answer_at(late, &request)), "stale_view");
}
