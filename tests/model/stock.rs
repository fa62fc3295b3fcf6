//! P7: what is given out is a Biscuit for a stock library, which decides a call as the model does.

use biscuit_auth::builder::{AuthorizerBuilder, Fact, Term as StockTerm};
use biscuit_auth::{Algorithm, AuthorizerLimits, Biscuit, PublicKey, RootKeyProvider, error};
use sublet_core::biscuit::datalog::Term;
use sublet_core::evidence::call::facts;
use sublet_core::token::verify::VerifiedToken;
use sublet_tests::raw;

use crate::cast;
use crate::fault::Fault;
use crate::property::{Check, Property};
use crate::world::World;

/// The root keys of the trust bundle, by their numbers.
struct Roots<'a>(&'a World);

impl RootKeyProvider for Roots<'_> {
    fn choose(&self, number: Option<u32>) -> Result<PublicKey, error::Format> {
        let mut keys = self.0.broker.state().trust().bundle().keys().iter();
        let key =
            keys.find(|key| Some(key.id.0) == number).ok_or(error::Format::UnknownPublicKey)?;
        PublicKey::from_bytes(key.public.bytes(), Algorithm::Ed25519)
    }
}

impl World {
    /// A stock library reads the token, sealed by the holder of this key, and finds every signature good.
    pub(crate) fn check_stock(&self, token: &[u8], key: usize) -> Check<Biscuit> {
        let mut envelope = raw::open(token);
        if self.has(Fault::NoBiscuit)
            && let Some(byte) = envelope.authority.signature.last_mut()
        {
            *byte ^= 1;
        }
        let sealed = raw::seal(envelope, self.keys.of(key).as_ref());
        let read = Biscuit::from(sealed, Roots(self));
        read.map_err(|bad| Property::RealBiscuit.broken(format!("a stock library: {bad}")))
    }

    /// The checks of the blocks, evaluated by the stock engine, say of a call what the model says.
    pub(crate) fn check_engine(
        &self,
        token: &VerifiedToken,
        key: usize,
        probe: usize,
        covered: u32,
    ) -> Check {
        let biscuit = self.check_stock(&token.encode(), key)?;
        let offline = token.depth().saturating_sub(covered);
        let limits = AuthorizerLimits {
            max_time: std::time::Duration::from_secs(60),
            ..AuthorizerLimits::default()
        };
        let mut builder = AuthorizerBuilder::new().set_limits(limits);
        for fact in facts(&cast::call(probe), self.now, &token.facts(offline)) {
            let terms: Vec<StockTerm> = fact.terms.iter().map(term).collect();
            builder = builder.fact(Fact::new(fact.name.into_owned(), terms)).unwrap();
        }
        let mut engine = builder.policy("allow if true").unwrap().build(&biscuit).unwrap();
        let allowed = match engine.authorize() {
            Ok(_) => true,
            Err(error::Token::FailedLogic(_)) => false,
            Err(other) => return Err(Property::RealBiscuit.broken(format!("no verdict: {other}"))),
        };
        let (reference, id) = (&self.reference, token.id());
        let chain = reference.chain(&id);
        let seconds = self.now.seconds();
        let expected = reference.admits(&id, probe)
            && (chain[0].not_before..reference.expires(&id)).contains(&seconds)
            && chain.iter().all(|hop| token.depth() <= hop.hops_max && offline <= hop.offline_max);
        Property::RealBiscuit.holds(allowed == expected, || {
            format!(
                "the stock engine says {allowed} of probe {probe} of {id}, the model {expected}"
            )
        })
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
