//! The enrollment methods. Each is a module that implements one trait. docs/FORMATS, "Enrollment".
//!
//! Owns: which methods there are, and what each needs of the configuration. Does not own: which agent a
//! credential is (`sublet_core::decide::Enroll`, the profiles), the new key (`authenticate`).
//!
//! Invariants: a method returns what a credential shows only if the credential is valid now and for this
//! broker. It decides nothing.

pub mod federated_domain;
pub mod join_token;
pub mod jwks;
pub mod jwt;
pub mod login;
pub mod method;
pub mod names;
pub mod x509;

use std::sync::Arc;

use sublet_core::refusal::{Malformed, Refusal};

use self::method::Method;
use crate::config::{BadConfig, Config};
use crate::transport::tls::Tls;

/// The enrollment methods of a broker.
pub struct Methods(Vec<Box<dyn Method>>);

impl Methods {
    /// Makes the methods of a configuration: always join tokens, and others for its issuers. An error if
    /// an issuer is not valid.
    pub fn of(config: &Config, tls: Option<&Arc<Tls>>) -> Result<Self, BadConfig> {
        let mut methods: Vec<Box<dyn Method>> = vec![Box::new(join_token::JoinToken)];
        for method in [names::JWT, names::JWT_SVID] {
            let issuers = config.issuer.iter().filter(|issuer| issuer.signs_jwts());
            let issuers = issuers.filter(|issuer| issuer.method() == method);
            let issuers = issuers.map(|issuer| jwt::Issuer::new(issuer, config));
            let issuers = issuers.collect::<Result<Vec<_>, _>>()?;
            if !issuers.is_empty() {
                methods.push(Box::new(jwt::SignedToken::new(method, issuers)));
            }
        }
        if let Some(tls) = tls.filter(|tls| tls.takes_certificates()) {
            methods.push(Box::new(x509::X509Svid::new(tls.clone())));
        }
        if let Some(federated_domains) = federated_domain::FederatedDomains::of(config)? {
            methods.push(Box::new(federated_domains));
        }
        Ok(Methods(methods))
    }

    /// Returns the method with this name. Malformed if the broker does not have it.
    pub fn get(&self, name: &str) -> Result<&dyn Method, Refusal> {
        let found = self.0.iter().find(|method| method.name() == name);
        found.map(Box::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|method| method.name()).collect();
            let detail = format!("{name:?} is no enrolment method of this broker: {known:?}");
            Malformed::Field { field: "method", detail }.into()
        })
    }
}
