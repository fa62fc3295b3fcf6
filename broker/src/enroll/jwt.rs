//! Enrollment with the signed token of an OpenID provider, a CI system or Kubernetes
//! (RFC 7519, RFC 8725), or with a SPIFFE JWT-SVID.
//!
//! Owns: reading such a token, and checking its issuer, algorithm, key, signature, audience and times.
//! Does not own: the keys (`jwks`), which agent it is (profiles), that it is used once (the decision).
//!
//! Invariants: the configuration of the issuer says which algorithms are accepted. The key says which of
//! them it is for. The token's header may only agree. No header names a source of keys. A token without
//! audience, subject or end is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::UnixMillis;
use sublet_core::base::json::Json;
use sublet_core::base::limits;
use sublet_core::decide::Credential;
use sublet_core::evidence::workload::Attested;
use sublet_core::refusal::{BadJwt, Fault, Refusal};

use super::jwks::{Keys, NoKey, Source, check_url};
use super::method::{Method, Presented};
use super::names::{JWT, JWT_SVID};
use crate::config::{BadConfig, Config, IssuerConfig};

/// The largest token in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The longest time that a token may still be valid, in seconds. Its hash is kept for that time.
const LIFE_SECONDS_MAX: i64 = 25 * 3600;

/// The algorithms that may be configured. A symmetric algorithm is never accepted.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// An issuer whose tokens are accepted.
pub struct Issuer {
    name: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    keys: Keys,
    of_users: bool,
}

impl Issuer {
    /// Makes it from its part of the configuration. An error if that part is not valid.
    pub fn new(issuer: &IssuerConfig, config: &Config) -> Result<Self, BadConfig> {
        let bad = |detail: String| BadConfig::Value(format!("issuer {:?}: {detail}", issuer.name));
        let source = match (&issuer.jwks_file, &issuer.jwks_url) {
            (Some(path), None) => Source::File(path.clone()),
            (None, Some(url)) => Source::Url(url.clone()),
            (None, None) if issuer.method() == JWT => Source::Discovery(issuer.name.clone()),
            (None, None) => return Err(bad("jwks_file or jwks_url is needed".to_owned())),
            (Some(_), Some(_)) => return Err(bad("jwks_file and jwks_url are two".to_owned())),
        };
        if let Source::Url(url) | Source::Discovery(url) = &source {
            check_url(url).map_err(bad)?;
        }
        if let Some(unknown) = issuer.algorithms.iter().find(|name| algorithm(name).is_none()) {
            let known = ALGORITHMS.map(|(name, _)| name);
            return Err(bad(format!("the algorithm {unknown:?} is none of {known:?}")));
        }
        if issuer.algorithms.is_empty() {
            return Err(bad("no algorithm is taken from it".to_owned()));
        }
        let audiences = match issuer.audience.clone() {
            Some(audience) => audience.into_all(),
            None => vec![config.trust_domain.broker_audience()],
        };
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            return Err(bad("its tokens are for nobody: audience is empty".to_owned()));
        }
        Ok(Issuer {
            name: issuer.name.clone(),
            audiences,
            algorithms: issuer.algorithms.clone(),
            keys: Keys::new(source).map_err(bad)?,
            of_users: false,
        })
    }

    /// Makes it an issuer of users' logins, whose tokens are made for a client (see `check_party`).
    #[must_use]
    pub fn of_users(self) -> Self {
        Issuer { of_users: true, ..self }
    }

    /// Checks that a token of this issuer is valid now.
    async fn attest(&self, token: &Token<'_>, now: UnixMillis) -> Result<(), Refusal> {
        let wrong = || BadJwt::Algorithm(token.header.alg.clone());
        let named = self.algorithms.contains(&token.header.alg);
        let algorithm =
            algorithm(&token.header.alg).filter(|_| named).ok_or_else(|| bad(wrong()))?;
        let kid = token.header.kid.as_deref();
        let key = self.keys.find(kid, now).await.map_err(|refusal| match refusal {
            NoKey::Unknown => bad(BadJwt::Key(kid.unwrap_or_default().to_owned())),
            NoKey::Unavailable(_) => Fault::IssuerKeys(self.name.clone()).into(),
        })?;
        if !is_for(&key, algorithm) {
            return Err(bad(wrong()));
        }
        let decoding = DecodingKey::from_jwk(&key).map_err(|_| bad(wrong()))?;
        let holds = crypto::verify(token.signature, token.signed.as_bytes(), &decoding, algorithm);
        if !holds.unwrap_or(false) {
            return Err(bad(BadJwt::Signature));
        }
        self.check_claims(&token.claims, now).map_err(bad)
    }

    /// Checks audience and times. This comes after the signature, so that a forged token reveals nothing.
    fn check_claims(&self, claims: &Json, now: UnixMillis) -> Result<(), BadJwt> {
        let for_us = match member(claims, "aud") {
            Some(Json::Str(audience)) => self.audiences.contains(audience),
            Some(Json::List(all)) => all
                .iter()
                .any(|one| matches!(one, Json::Str(text) if self.audiences.contains(text))),
            _ => false,
        };
        if !for_us {
            return Err(BadJwt::Audience(self.audiences.join(" or ")));
        }
        self.check_party(claims)?;
        let seconds = |name| match member(claims, name) {
            None => Ok(None),
            Some(Json::Int(seconds)) => Ok(Some(*seconds)),
            Some(_) => Err(BadJwt::Form("a time of it is no whole number of seconds")),
        };
        let (now, skew) = (now.seconds(), limits::CLOCK_SKEW_MS / 1000);
        let ends = seconds("exp")?.ok_or(BadJwt::Form("it has no end (exp)"))?;
        if now >= ends {
            return Err(BadJwt::Expired(ends));
        }
        if ends.saturating_sub(now) > LIFE_SECONDS_MAX {
            return Err(BadJwt::Lifetime(ends));
        }
        for begins in [seconds("nbf")?, seconds("iat")?].into_iter().flatten() {
            if begins > now.saturating_add(skew) {
                return Err(BadJwt::NotYetValid(begins));
            }
        }
        Ok(())
    }
}

impl Issuer {
    /// Checks the client that a token was made for (`azp`; OpenID Connect Core, section 3.1.3.7). It
    /// must be one of the configured audiences. A login with several audiences must have it. In a
    /// workload's token it counts only if there are several audiences.
    fn check_party(&self, claims: &Json) -> Result<(), BadJwt> {
        let several = matches!(member(claims, "aud"), Some(Json::List(all)) if all.len() > 1);
        match member(claims, "azp") {
            None if several && self.of_users => Err(BadJwt::Party("nobody".to_owned())),
            Some(Json::Str(party)) if !self.audiences.contains(party) => {
                match several || self.of_users {
                    true => Err(BadJwt::Party(format!("{party:?}"))),
                    false => Ok(()),
                }
            }
            None | Some(Json::Str(_)) => Ok(()),
            Some(_) => Err(BadJwt::Form("its azp is no name")),
        }
    }
}

fn bad(bad: BadJwt) -> Refusal {
    sublet_core::refusal::Unauthenticated::Jwt(bad).into()
}

/// Returns whether the key is for signatures, of this algorithm's family, and for this algorithm if the
/// key names one.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let family = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), RS256 | RS384 | RS512 | PS256 | PS384 | PS512) => true,
        (AlgorithmParameters::EllipticCurve(key), ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let signs = match &key.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        // SPIFFE bundles mark the keys of JWT-SVIDs with this use.
        Some(PublicKeyUse::Other(other)) => other == "jwt-svid",
        Some(PublicKeyUse::Encryption) => false,
    };
    let detail = key.common.key_algorithm.map(|detail| detail.to_string());
    let named = ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map(|(name, _)| *name);
    family && signs && detail.is_none_or(|detail| Some(detail.as_str()) == named)
}

/// One enrollment method: the tokens of these issuers.
pub struct SignedToken {
    method: &'static str,
    issuers: Vec<Issuer>,
}

impl SignedToken {
    /// The method with this name, for these issuers.
    pub fn new(method: &'static str, issuers: Vec<Issuer>) -> Self {
        SignedToken { method, issuers }
    }
}

#[tonic::async_trait]
impl Method for SignedToken {
    fn name(&self) -> &'static str {
        self.method
    }

    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, Refusal> {
        Ok(Credential::Attested(Box::new(self.attest(shown.credential, now).await?)))
    }
}

impl SignedToken {
    /// Returns what a token shows, if it is valid now.
    pub(crate) async fn attest(
        &self,
        credential: &[u8],
        now: UnixMillis,
    ) -> Result<Attested, Refusal> {
        let token = Token::parse(credential).map_err(bad)?;
        let named = match self.method {
            JWT_SVID => trust_domain(&token.subject).map(|domain| format!("spiffe://{domain}")),
            _ => token.issuer.clone(),
        };
        let named = named.unwrap_or_default();
        let issuer = self.issuers.iter().find(|issuer| issuer.name == named);
        let issuer = issuer.ok_or_else(|| bad(BadJwt::Issuer(named)))?;
        issuer.attest(&token, now).await?;
        let Some(Json::Int(ends)) = member(&token.claims, "exp") else {
            return Err(bad(BadJwt::Form("it has no end (exp)")));
        };
        let expires_at = UnixMillis::from_seconds(*ends);
        let claims = match self.method {
            JWT_SVID => with_path(token.claims, &token.subject).map_err(bad)?,
            _ => token.claims,
        };
        Ok(Attested {
            method: self.method,
            issuer: issuer.name.clone(),
            claims,
            // The id leaves out the signature, because anyone can make a second valid ECDSA signature
            // from the first.
            id: sha256(token.signed.as_bytes()),
            once: true,
            expires_at,
        })
    }
}

/// A token that was taken apart. Nothing of it is verified yet.
struct Token<'a> {
    signed: &'a str,
    signature: &'a str,
    header: Header,
    claims: Json,
    issuer: Option<String>,
    subject: String,
}

/// The header fields that are read. Others (`jku`, `x5c`, `jwk` …) are ignored.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
    b64: Option<bool>,
}

impl<'a> Token<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BadJwt> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(BadJwt::Form("it has over 16 KiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadJwt::Form("it is no text"))?;
        let three = BadJwt::Form("it is not three parts in base64url");
        let (signed, signature) = text.rsplit_once('.').ok_or(three.clone())?;
        let (header, claims) = signed.split_once('.').ok_or(three.clone())?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| three.clone());
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| BadJwt::Form("its header is none"))?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(BadJwt::Form("its header demands an extension that is not known here"));
        }
        let claims = Json::parse(&decode(claims)?)
            .map_err(|_| BadJwt::Form("its claims are no JSON that all readers read alike"))?;
        decode(signature)?;
        let text = |name| match member(&claims, name) {
            Some(Json::Str(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let subject = text("sub").ok_or(BadJwt::Form("it is about nobody (sub)"))?;
        let issuer = text("iss");
        Ok(Token { signed, signature, header, issuer, subject, claims })
    }
}

fn member<'a>(claims: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = claims else { return None };
    members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn trust_domain(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix("spiffe://")?;
    Some(rest.split_once('/').map_or(rest, |(domain, _)| domain))
}

/// Returns the claims, with the segments of the SPIFFE id's path as `spiffe`, for use in rules.
fn with_path(claims: Json, subject: &str) -> Result<Json, BadJwt> {
    let path = subject.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
    let (_, path) = path.ok_or(BadJwt::Form("its subject is no SPIFFE id of a workload"))?;
    let segments = path.split('/').map(|segment| Json::Str(segment.to_owned())).collect();
    let Json::Object(mut members) = claims else {
        return Err(BadJwt::Form("its claims are no object"));
    };
    members.retain(|(name, _)| name != "spiffe");
    members.push(("spiffe".to_owned(), Json::List(segments)));
    Json::object(members).map_err(|_| BadJwt::Form("its claims are no object"))
}
