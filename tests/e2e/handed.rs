//! What the command line hands out that others could use: the stock form, join tokens, and no proof for the
//! broker itself.

use std::fs;

use biscuit_auth::builder::{AuthorizerBuilder, Fact, Term as StockTerm};
use biscuit_auth::{Biscuit, PublicKey};
use sublet_client::ports::Ports;
use sublet_client::trust::Trust;
use sublet_core::base::id::UnixMillis;
use sublet_core::biscuit::datalog::Term;
use sublet_core::evidence::call::{Arguments, Call, ChainFacts, facts};
use sublet_core::trust::bundle::KeyUse;

use crate::fleet::is_private;
use crate::stage::Stage;
use crate::walk::{CALL, enroll, issue, run};

const ONE: &str = "fs.read@tool://files path=under:/data/q3";

/// A term, as the stock library has it.
fn term(term: &Term<'_>) -> StockTerm {
    match term {
        Term::Integer(value) => StockTerm::Integer(*value),
        Term::String(value) => StockTerm::Str(value.clone().into_owned()),
        Term::Date(seconds) => StockTerm::Date(*seconds),
        Term::Bytes(value) => StockTerm::Bytes(value.to_vec()),
        Term::Bool(value) => StockTerm::Bool(*value),
        Term::Set(terms) => StockTerm::Set(terms.iter().map(self::term).collect()),
        Term::Variable(name) => panic!("a fact has no variable, ${name}"),
    }
}

/// What a stock library says of a call at a time, with the broker's root key and the text alone.
fn stock_allows(stage: &Stage, text: &str, path: &str, at: UnixMillis) -> bool {
    let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap().current();
    let root = trust.keys().iter().find(|key| key.use_ == KeyUse::Delegation).unwrap();
    let root = PublicKey::from_bytes(root.public.bytes(), biscuit_auth::Algorithm::Ed25519);
    let token = Biscuit::from_base64(text, root.unwrap()).unwrap();
    let arguments = Arguments::from_json(format!("{{\"path\":\"{path}\"}}").as_bytes()).unwrap();
    let call = Call { audience: "tool://files".into(), action: "fs.read".into(), arguments };
    let delegate_of = std::collections::BTreeSet::new();
    let chain = ChainFacts { hops: 1, unrecorded: 0, delegate_of };
    let mut builder = AuthorizerBuilder::new();
    for fact in facts(&call, at, &chain) {
        let terms: Vec<StockTerm> = fact.terms.iter().map(term).collect();
        builder = builder.fact(Fact::new(fact.name.into_owned(), terms)).unwrap();
    }
    builder.policy("allow if true").unwrap().build(&token).unwrap().authorize().is_ok()
}

// SPEC 2.12, 2.12.2.
#[test]
fn the_stock_form_is_written_for_its_owner_with_one_warning() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let delegate = |more: &[&str]| {
        let words = ["delegate", "--as", "planner", "--token", "root.token", "--stock"];
        stage.sublet(&[&words, more].concat())
    };
    let made = delegate(&["--allow", ONE, "--out", "stock.token"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(made.err.lines().count(), 1, "{made:?}");
    for word in ["warning", "stock.token", "receipt", "possession", "revocation", "replay"] {
        assert!(made.err.contains(word), "{word}: {made:?}");
    }
    assert!(is_private(&stage.path("stock.token")));
    let text = fs::read_to_string(stage.path("stock.token")).unwrap();
    assert!(!made.out.contains(text.trim()), "it is not printed");
    let now = Ports::system().clock.now();
    assert!(stock_allows(&stage, text.trim(), "/data/q3/a", now));
    assert!(!stock_allows(&stage, text.trim(), "/data/q4/a", now));
    assert!(!stock_allows(&stage, text.trim(), "/data/q3/a", now.plus_ms(61_000)), "a minute");
    // Nothing of ours takes it.
    stage.sublet(&["inspect", "stock.token"]).fails(3, "no token in text form");
    for (more, code, words) in [
        (&["--allow", ONE][..], 64, "--out"),
        (&["--allow", ONE, "--to", "agent/planner", "--out", "no"], 64, "--to"),
        (&["--allow", ONE, "--offline", "--out", "no"], 64, "--offline"),
        (&["--allow", ONE, "--dry-run", "--out", "no"], 64, "--dry-run"),
        (&["--allow", ONE, "--ttl", "61s", "--out", "no"], 2, "1 to 60 seconds"),
        (&["--allow", "fs.@tool://files path=under:/data", "--out", "no"], 2, "one exact audience"),
        (
            &["--allow", "fs.read@tool://files path=under:/", "--out", "no"],
            2,
            "[scope_exceeds_parent]",
        ),
    ] {
        delegate(more).fails(code, words);
        assert!(!stage.path("no").exists());
    }
}

/// A proof for the broker is as good as being its holder there: it is signed by the SDK for the call that it
/// makes, and never by hand.
// SPEC 5.10.1.
#[test]
fn a_proof_for_the_broker_is_not_signed_by_hand() {
    let stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    let tricked = ["--action", "/sublet.v1.Identity/RotateKey", "--out", "no.proof"];
    for audience in ["sublet://dev.sublet.example", "sublet://acme.example", "sublet:x"] {
        let to = [&tricked[..], &["--audience", audience]].concat();
        run(&stage, &["prove", "identity", "--as", "planner"], &to)
            .fails(64, "the name of a broker");
        run(&stage, &["prove", "call", "--as", "planner", "--token", "root.token"], &to)
            .fails(64, "the name of a broker");
    }
    assert!(!stage.path("no.proof").exists());
    run(&stage, &["prove", "identity", "--as", "planner", "--out", "who.proof"], &CALL).ok();
}

#[test]
fn a_join_token_is_written_for_its_owner_and_over_nothing() {
    let stage = Stage::set();
    let create = ["agent", "create", "agent/planner", "--out", "planner.join"];
    let made = stage.sublet(&create);
    assert!(made.code == 0 && !made.out.contains("sublet-join1."), "{made:?}");
    assert!(is_private(&stage.path("planner.join")));
    stage.sublet(&["agent", "enroll", "--join-token", "planner.join", "--out", "planner"]).ok();
    // Nothing is made that could not be written.
    for out in ["planner.join", "nowhere/a.join"] {
        stage.sublet(&["agent", "create", "agent/reader", "--out", out]).fails(1, out);
    }
    stage.sublet(&["agent", "show", "agent/reader"]).fails(2, "[unknown_agent]");
    let invite = ["agent", "invite", "agent/planner", "--out", "again.join", "--output", "json"];
    let answer = stage.sublet(&invite).json();
    assert!(answer.get("join_token").is_none() && answer["file"] == "again.join", "{answer}");
    assert!(is_private(&stage.path("again.join")));
}
