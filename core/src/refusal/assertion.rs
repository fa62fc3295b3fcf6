//! Why the certificate or the signed token of a workload or user is not accepted.

use crate::base::utc::utc;

/// Why a client certificate proves no workload (X.509-SVID, sections 2 and 5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// It has no SPIFFE id, or two.
    #[error("it must name exactly one SPIFFE id (spiffe://), which says who the workload is")]
    Names,
    /// No authorities of its trust domain are configured.
    #[error("no authorities are configured for {0}")]
    Domain(String),
    /// No authority of its trust domain signed it.
    #[error("no authority of {0} signed it")]
    Authority(String),
    /// It has expired, or is not valid yet.
    #[error("it has expired, or is not valid yet")]
    Time,
    /// The request names another certificate than that of the connection.
    #[error("the request names another certificate than the connection showed")]
    Another,
    /// This broker accepts no client certificates.
    #[error("this broker accepts none")]
    NotTaken,
    /// It has another defect, which the text names.
    #[error("{0}")]
    Form(String),
}

impl BadCertificate {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadCertificate::Names => "certificate_without_spiffe_id",
            BadCertificate::Domain(_) => "certificate_domain",
            BadCertificate::Authority(_) => "certificate_authority",
            BadCertificate::Time => "certificate_expired",
            BadCertificate::Another | BadCertificate::NotTaken | BadCertificate::Form(_) => {
                "client_certificate"
            }
        }
    }
}

/// Why a signed token (RFC 7519) is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwt {
    /// It does not have the form of a signed token.
    #[error("{0}")]
    Form(&'static str),
    /// The broker is not configured with its issuer.
    #[error("the issuer {0:?} is not configured here")]
    Issuer(String),
    /// Its algorithm is not configured for its issuer, or is not that of the key.
    #[error("the algorithm {0:?} is not accepted from this issuer for this key")]
    Algorithm(String),
    /// Its issuer has no key with this id.
    #[error("its issuer has no key {0:?}")]
    Key(String),
    /// Its signature does not verify.
    #[error("its signature does not hold")]
    Signature,
    /// It is for another audience.
    #[error("it is not for {0}")]
    Audience(String),
    /// It was made for another client (`azp`).
    #[error("it was made for the client {0} (azp), which is not configured as an audience")]
    Party(String),
    /// It has expired; the time is in seconds since 1970.
    #[error("it expired at {}", utc(*.0))]
    Expired(i64),
    /// It is not valid yet; the time is in seconds since 1970.
    #[error("it is valid only from {}", utc(*.0))]
    NotYetValid(i64),
    /// It is valid for longer than is accepted; its end is in seconds since 1970.
    #[error("it is valid until {}, which is longer than is accepted", utc(*.0))]
    Lifetime(i64),
}

impl BadJwt {
    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        match self {
            BadJwt::Form(_) => "jwt_malformed",
            BadJwt::Issuer(_) => "jwt_issuer",
            BadJwt::Algorithm(_) => "jwt_algorithm",
            BadJwt::Key(_) => "jwt_key",
            BadJwt::Signature => "jwt_signature",
            BadJwt::Audience(_) | BadJwt::Party(_) => "jwt_audience",
            BadJwt::Expired(_) => "jwt_expired",
            BadJwt::NotYetValid(_) => "jwt_not_yet_valid",
            BadJwt::Lifetime(_) => "jwt_lifetime",
        }
    }
}
