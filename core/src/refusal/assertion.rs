//! Why the word of another about a workload or a user (a certificate, a signed token) does not hold.

use crate::base::utc::utc;

/// Why the certificate that a client showed says nothing of it (X.509-SVID, sections 2 and 5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// No SPIFFE id, or two.
    #[error("it names no workload, which one spiffe:// id does")]
    Names,
    /// Nobody who would know.
    #[error("no authorities of {0} are known here")]
    Domain(String),
    /// Signed by somebody else.
    #[error("no authority of {0} vouches for it")]
    Authority(String),
    /// Not now.
    #[error("it is over, or not valid yet")]
    Time,
    /// The request is about another one.
    #[error("the request names another one than the connection showed")]
    Another,
    /// None are taken.
    #[error("none are taken here")]
    NotTaken,
    /// Anything else.
    #[error("{0}")]
    Form(String),
}

impl BadCertificate {
    /// The stable code.
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

/// Why a workload's signed token (RFC 7519) does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwt {
    /// Its form.
    #[error("{0}")]
    Form(&'static str),
    /// Its issuer is not one that this broker knows.
    #[error("no issuer {0:?} is known here")]
    Issuer(String),
    /// The algorithm is not one that its issuer is known to use, or not that of the key.
    #[error("the algorithm {0:?} is not one that is taken from this issuer for this key")]
    Algorithm(String),
    /// Its issuer has no such key.
    #[error("its issuer has no key {0:?}")]
    Key(String),
    /// The signature.
    #[error("its signature does not hold")]
    Signature,
    /// It is for somebody else.
    #[error("it is not for {0}")]
    Audience(String),
    /// It was made for another client.
    #[error(
        "it names {0} as the client that it was made for (azp), and none that is configured as audience"
    )]
    Party(String),
    /// It is over.
    #[error("it expired at {}", utc(*.0))]
    Expired(i64),
    /// It is not good yet.
    #[error("it is good only from {}", utc(*.0))]
    NotYetValid(i64),
    /// It lives for longer than is taken.
    #[error("it lives until {}, which is longer than is taken", utc(*.0))]
    Lifetime(i64),
}

impl BadJwt {
    /// The stable code.
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
