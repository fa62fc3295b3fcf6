//! Stock biscuit-auth, as a verifier that knows only Biscuit would use it.

use std::time::Duration;

use biscuit_auth::builder::{AuthorizerBuilder, Fact, Term as StockTerm};
use biscuit_auth::error::Token;
use biscuit_auth::{AuthorizerLimits, Biscuit, PublicKey};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::sign::{SecretKey, Signer as _};
use sublet_core::biscuit::datalog::Term;
use sublet_core::evidence::call::{Call, ChainFacts, facts};

/// Reads a sealed token under this root key.
pub(crate) fn read(sealed: &[u8], root: &SecretKey) -> Result<Biscuit, Token> {
    let bytes = root.public_key().bytes();
    let root = PublicKey::from_bytes(bytes, biscuit_auth::Algorithm::Ed25519).unwrap();
    Biscuit::from(sealed, root)
}

/// Whether the Datalog engine allows the call, given its facts and nothing else.
pub(crate) fn allows(
    biscuit: &Biscuit,
    call: &Call,
    now: UnixMillis,
    chain: &ChainFacts<'_>,
) -> bool {
    let limits = AuthorizerLimits {
        max_facts: 100_000,
        max_iterations: 1_000,
        max_time: Duration::from_secs(3600),
    };
    let mut builder = AuthorizerBuilder::new().set_limits(limits);
    for fact in facts(call, now, chain) {
        let terms: Vec<StockTerm> = fact.terms.iter().map(term).collect();
        builder = builder.fact(Fact::new(fact.name.into_owned(), terms)).unwrap();
    }
    let mut authorizer = builder.policy("allow if true").unwrap().build(biscuit).unwrap();
    match authorizer.authorize() {
        Ok(_) => true,
        Err(Token::FailedLogic(_)) => false,
        Err(other) => panic!("the engine did not decide: {other:?}"),
    }
}

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
