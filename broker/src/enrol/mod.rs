//! How an agent comes in: the methods of enrolment, each a module behind one trait. docs/FORMATS,
//! "Enrolment".
//!
//! Owns: which methods there are, and what each needs of the configuration. Does not own: which agent a
//! credential is (`sublet_core::decide::Enroll`, the profiles), the key that it is bound to
//! (`authenticate`).
//!
//! Invariants: a method says what was shown only when it holds now, for this broker; it decides
//! nothing.

pub mod join_token;
pub mod jwks;
pub mod jwt;

use sublet_core::decide::Credential;
use sublet_core::id::UnixMillis;
use sublet_core::no::{Malformed, No};
use sublet_core::state::State;

use crate::config::{BadConfig, Config};

/// One way to come in.
#[tonic::async_trait]
pub trait Method: Send + Sync {
    /// Its name in a request.
    fn name(&self) -> &'static str;

    /// What a credential shows.
    async fn show(&self, credential: &[u8], now: UnixMillis) -> Result<Credential, No>;

    /// Whether this broker could have to do with it at all; else the caller has shown nothing.
    fn is_known(&self, credential: &Credential, state: &State) -> bool {
        let _ = (credential, state);
        true
    }
}

/// The methods of a broker.
pub struct Methods(Vec<Box<dyn Method>>);

impl Methods {
    /// Those that a configuration has: join tokens always, signed tokens where it names issuers.
    pub fn of(config: &Config) -> Result<Self, BadConfig> {
        let mut methods: Vec<Box<dyn Method>> = vec![Box::new(join_token::JoinToken)];
        for method in [jwt::JWT, jwt::JWT_SVID] {
            let issuers = config.issuer.iter().filter(|issuer| issuer.method() == method);
            let issuers = issuers.map(|issuer| jwt::Issuer::new(issuer, config));
            let issuers = issuers.collect::<Result<Vec<_>, _>>()?;
            if !issuers.is_empty() {
                methods.push(Box::new(jwt::SignedToken::new(method, issuers)));
            }
        }
        Ok(Methods(methods))
    }

    /// The method of this name.
    pub fn get(&self, name: &str) -> Result<&dyn Method, No> {
        let found = self.0.iter().find(|method| method.name() == name);
        found.map(Box::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|method| method.name()).collect();
            let says = format!("{name:?} is no enrolment method of this broker: {known:?}");
            Malformed::Field { field: "method", says }.into()
        })
    }
}
