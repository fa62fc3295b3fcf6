//! Enrolment by the identity token of another Sublet broker: federation of trust domains.
//!
//! Owns: whether such a token and its proof hold, by the trust bundle of its own domain. Does not own:
//! which agent of ours it is (profiles).
//!
//! Invariants: one bundle a domain, never merged with ours or another's, and only ever followed by a
//! bundle that it vouches for; the proof binds the token to this broker, this enrolment and this new
//! key; a proof opens one enrolment.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use prost::Message as _;
use sublet_core::authorize::{Bound, prove};
use sublet_core::bundle::{SignedBundle, TrustBundle};
use sublet_core::bytes::sha256;
use sublet_core::decide::{Credential, Enroll, Operation as _};
use sublet_core::id::{TrustDomain, UnixMillis};
use sublet_core::no::{Malformed, No, Unauthenticated};
use sublet_core::proof::{CallProof, enroll_message};
use sublet_core::token::UnverifiedToken;
use sublet_core::verify::VerifiedToken;
use sublet_core::workload::Attested;
use sublet_proto::v1;

use super::method::{Method, Presented, spiffe_claims};
use super::names::NEIGHBOUR;
use crate::config::{BadConfig, Config};

/// The brokers whose identities are taken.
pub struct Neighbours {
    audience: String,
    brokers: Vec<Neighbour>,
}

struct Neighbour {
    domain: TrustDomain,
    path: PathBuf,
    held: Mutex<TrustBundle>,
}

impl Neighbours {
    /// Those that a configuration names; `None` when it names none.
    pub fn of(config: &Config) -> Result<Option<Self>, BadConfig> {
        let named = config.issuer.iter().filter_map(|issuer| {
            issuer.trust_bundle.as_ref().map(|path| (issuer.name.as_str(), path))
        });
        let brokers = named.map(|(name, path)| Neighbour::open(name, path.clone(), config));
        let brokers: Vec<_> = brokers.collect::<Result<_, _>>()?;
        let audience = config.trust_domain.broker_audience();
        Ok((!brokers.is_empty()).then_some(Neighbours { audience, brokers }))
    }
}

impl Neighbour {
    fn open(name: &str, path: PathBuf, config: &Config) -> Result<Self, BadConfig> {
        let bad = |says: String| BadConfig::Value(format!("issuer {name:?}: {says}"));
        let domain = name.strip_prefix("spiffe://").unwrap_or(name);
        let domain: TrustDomain = domain.parse().map_err(|no| bad(format!("{no}")))?;
        if domain == config.trust_domain {
            return Err(bad("a broker is no neighbour of itself".to_owned()));
        }
        let text = std::fs::read(&path);
        let text = text.map_err(|error| bad(format!("{}: {error}", path.display())))?;
        let held = SignedBundle::read(text);
        let held = held.map_err(|no| bad(format!("{}: {no}", path.display())))?.bundle().clone();
        if *held.trust_domain() != domain {
            let says = format!("{} is of {}", path.display(), held.trust_domain());
            return Err(bad(says));
        }
        Ok(Neighbour { domain, path, held: Mutex::new(held) })
    }

    /// The bundle in its file, if the one held vouches for it; else the one held.
    fn bundle(&self, now: UnixMillis) -> TrustBundle {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::fs::read(&self.path).unwrap_or_default();
        match held.accept_update(&text, now) {
            Ok(next) => *held = next,
            Err(no) => {
                tracing::warn!(domain = %self.domain, %no, "its trust bundle is not taken anew");
            }
        }
        held.clone()
    }
}

#[tonic::async_trait]
impl Method for Neighbours {
    fn name(&self) -> &'static str {
        NEIGHBOUR
    }

    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, No> {
        let says = || "no identity token with its proof".to_owned();
        let credential = v1::NeighbourCredential::decode(shown.credential)
            .map_err(|_| Malformed::Field { field: "credential", says: says() })?;
        let (token, domain) = self.token(&credential.identity_token, now)?;
        let proof = CallProof::decode(&credential.proof).map_err(Malformed::Proof)?;
        let enrolment = enroll_message(NEIGHBOUR, &[], shown.agent, shown.key);
        let call = Bound {
            audience: &self.audience,
            action: Enroll::METHOD,
            arguments_hash: sha256(&enrolment),
        };
        let possession = prove(&token, &proof, &call, now)?;
        let proof_nonce = possession.claims().nonce.0;
        Ok(Credential::Attested(Box::new(Attested {
            method: NEIGHBOUR,
            issuer: format!("spiffe://{domain}"),
            claims: spiffe_claims(&token.root().agent),
            // What was proven, not how it was written down.
            id: sha256(&[&token.id().0[..], &proof_nonce].concat()),
            once: true,
            // Longer than its proof is good.
            expires_at: now.plus_ms(2 * 60_000),
        })))
    }
}

impl Neighbours {
    /// An identity token that holds now, by the bundle of the one neighbour that it is of.
    fn token(&self, bytes: &[u8], now: UnixMillis) -> Result<(VerifiedToken, &TrustDomain), No> {
        let no = |says: String| No::from(Unauthenticated::Neighbour { says });
        let token = UnverifiedToken::decode(bytes).map_err(Malformed::from)?;
        let domain = token.issuer().map(|issuer| issuer.trust_domain());
        let neighbour = self.brokers.iter().find(|one| Some(&one.domain) == domain.as_ref());
        let neighbour = neighbour.ok_or_else(|| {
            let domain = domain.map(|domain| domain.to_string()).unwrap_or_default();
            no(format!("{domain:?} is no neighbour"))
        })?;
        let bundle = neighbour.bundle(now);
        bundle.check_time(now).map_err(|bad| no(format!("{}: {bad}", neighbour.domain)))?;
        let token = VerifiedToken::verify(token, &bundle)?;
        if !token.is_identity() {
            return Err(no("a delegation is no identity".to_owned()));
        }
        if !token.window().contains(now.seconds()) {
            return Err(Unauthenticated::IdentityExpired { window: token.window() }.into());
        }
        Ok((token, &neighbour.domain))
    }
}
