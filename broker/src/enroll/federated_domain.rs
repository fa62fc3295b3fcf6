//! Enrollment with the identity token of another Sublet broker: federation of trust domains.
//!
//! Owns: the check of such a token and its proof, with the trust bundle of its domain. Does not own:
//! which agent of this domain it is (profiles).
//!
//! Invariants: each domain has one bundle, which is never merged with another. A bundle is only replaced
//! by one that it vouches for. The proof binds the token to this broker, this enrollment and this new
//! key. A proof enrolls once.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use prost::Message as _;
use sublet_core::authorize::{Bound, prove};
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::decide::{Credential, Enroll, Operation as _};
use sublet_core::evidence::proof::{CallProof, enroll_message};
use sublet_core::evidence::workload::Attested;
use sublet_core::refusal::{Malformed, Refusal, Unauthenticated};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::VerifiedToken;
use sublet_core::trust::bundle::{SignedBundle, TrustBundle};
use sublet_proto::v1;

use super::method::{Method, Presented, spiffe_claims};
use super::names::FEDERATED;
use crate::config::{BadConfig, Config};

/// The federated domains.
pub struct FederatedDomains {
    audience: String,
    brokers: Vec<FederatedDomain>,
}

struct FederatedDomain {
    domain: TrustDomain,
    path: PathBuf,
    held: Mutex<TrustBundle>,
}

impl FederatedDomains {
    /// The federated domains of a configuration; `None` if there are none. An error if a bundle cannot
    /// be read.
    pub fn of(config: &Config) -> Result<Option<Self>, BadConfig> {
        let named = config.issuer.iter().filter_map(|issuer| {
            issuer.trust_bundle.as_ref().map(|path| (issuer.name.as_str(), path))
        });
        let brokers = named.map(|(name, path)| FederatedDomain::open(name, path.clone(), config));
        let brokers: Vec<_> = brokers.collect::<Result<_, _>>()?;
        let audience = config.trust_domain.broker_audience();
        Ok((!brokers.is_empty()).then_some(FederatedDomains { audience, brokers }))
    }
}

impl FederatedDomain {
    fn open(name: &str, path: PathBuf, config: &Config) -> Result<Self, BadConfig> {
        let bad = |detail: String| BadConfig::Value(format!("issuer {name:?}: {detail}"));
        let domain = name.strip_prefix("spiffe://").unwrap_or(name);
        let domain: TrustDomain = domain.parse().map_err(|refusal| bad(format!("{refusal}")))?;
        if domain == config.trust_domain {
            return Err(bad("a broker is not federated with itself".to_owned()));
        }
        let text = std::fs::read(&path);
        let text = text.map_err(|error| bad(format!("{}: {error}", path.display())))?;
        let held = SignedBundle::read(text);
        let held =
            held.map_err(|refusal| bad(format!("{}: {refusal}", path.display())))?.bundle().clone();
        if *held.trust_domain() != domain {
            let detail = format!("{} is of {}", path.display(), held.trust_domain());
            return Err(bad(detail));
        }
        Ok(FederatedDomain { domain, path, held: Mutex::new(held) })
    }

    /// Returns the bundle in the file, if the held one vouches for it; else the held one.
    fn bundle(&self, now: UnixMillis) -> TrustBundle {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::fs::read(&self.path).unwrap_or_default();
        match held.accept_update(&text, now) {
            Ok(next) => *held = next,
            Err(refusal) => {
                tracing::warn!(domain = %self.domain, %refusal, "its trust bundle is not taken anew");
            }
        }
        held.clone()
    }
}

#[tonic::async_trait]
impl Method for FederatedDomains {
    fn name(&self) -> &'static str {
        FEDERATED
    }

    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, Refusal> {
        let detail = || "no identity token with its proof".to_owned();
        let credential = v1::FederatedCredential::decode(shown.credential)
            .map_err(|_| Malformed::Field { field: "credential", detail: detail() })?;
        let (token, domain) = self.token(&credential.identity_token, now)?;
        let proof = CallProof::decode(&credential.proof).map_err(Malformed::Proof)?;
        let enrollment = enroll_message(FEDERATED, &[], shown.agent, shown.key);
        let call = Bound {
            audience: &self.audience,
            action: Enroll::METHOD,
            arguments_hash: sha256(&enrollment),
        };
        let possession = prove(&token, &proof, &call, now)?;
        let proof_nonce = possession.claims().nonce.0;
        Ok(Credential::Attested(Box::new(Attested {
            method: FEDERATED,
            issuer: format!("spiffe://{domain}"),
            claims: spiffe_claims(&token.root().agent),
            // The id covers what was proven, and not how it was encoded.
            id: sha256(&[&token.id().0[..], &proof_nonce].concat()),
            once: true,
            // Longer than a proof is valid.
            expires_at: now.plus_ms(2 * 60_000),
        })))
    }
}

impl FederatedDomains {
    /// Verifies an identity token with the bundle of its federated domain.
    fn token(
        &self,
        bytes: &[u8],
        now: UnixMillis,
    ) -> Result<(VerifiedToken, &TrustDomain), Refusal> {
        let refusal = |detail: String| Refusal::from(Unauthenticated::FederatedDomain { detail });
        let token = UnverifiedToken::decode(bytes).map_err(Malformed::from)?;
        let domain = token.issuer().map(|issuer| issuer.trust_domain());
        let federated_domain = self.brokers.iter().find(|one| Some(&one.domain) == domain.as_ref());
        let federated_domain = federated_domain.ok_or_else(|| {
            let domain = domain.map(|domain| domain.to_string()).unwrap_or_default();
            refusal(format!("{domain:?} is no federated domain"))
        })?;
        let bundle = federated_domain.bundle(now);
        bundle
            .check_time(now)
            .map_err(|bad| refusal(format!("{}: {bad}", federated_domain.domain)))?;
        let token = VerifiedToken::verify(token, &bundle)?;
        if !token.is_identity() {
            return Err(refusal("a delegation is no identity".to_owned()));
        }
        if !token.window().contains(now.seconds()) {
            return Err(Unauthenticated::IdentityExpired { window: token.window() }.into());
        }
        Ok((token, &federated_domain.domain))
    }
}
