//! Users: what a user's signed token shows, and the logout tokens of identity providers (OpenID Connect
//! Core; Back-Channel Logout 1.0). SPEC 3.10.
//!
//! Owns: whose logins are accepted, and which principal each login is. Does not own: the check of a
//! token (`enroll::jwt`), sessions (`sublet_core::state::rows::session`, `decide`).
//!
//! Invariants: a logout token is never accepted as a login, and a login never as a logout token. A
//! logout token must say when it was issued.

use sublet_core::base::id::{TrustDomain, UnixMillis};
use sublet_core::base::json::Json;
use sublet_core::evidence::workload::Attested;
use sublet_core::refusal::{BadJwt, Refusal, Unauthenticated};
use sublet_core::state::rows::session::{LoggedOut, Login, UserToken, template};

use crate::config::{BadConfig, Config};
use crate::enroll::jwt::{Issuer, SignedToken};
use crate::enroll::names::JWT;

/// The event of a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// The identity providers of users.
pub struct Logins {
    realm: TrustDomain,
    tokens: SignedToken,
    templates: Vec<(String, String)>,
}

impl Logins {
    /// The identity providers of a configuration. An error if one is not valid.
    pub fn of(config: &Config) -> Result<Self, BadConfig> {
        let mut templates: Vec<(String, String)> = Vec::new();
        let mut issuers = Vec::new();
        for login in &config.user_issuer {
            let bad = |detail: &str| BadConfig::Value(format!("login {:?}: {detail}", login.name));
            if login.name.starts_with("spiffe://") {
                return Err(bad("a workload is no user"));
            }
            if template(&login.principal).is_none() {
                return Err(bad("principal is kind:{claim}"));
            }
            if templates.iter().any(|(name, _)| *name == login.name) {
                return Err(bad("it is there twice"));
            }
            issuers.push(Issuer::new(&login.issuer(), config)?.of_users());
            templates.push((login.name.clone(), login.principal.clone()));
        }
        let tokens = SignedToken::new(JWT, issuers);
        Ok(Logins { realm: config.trust_domain.clone(), tokens, templates })
    }

    /// Returns the user and principal of a user's signed token.
    pub async fn show(&self, token: &[u8], now: UnixMillis) -> Result<UserToken, Refusal> {
        let shown = self.tokens.attest(token, now).await?;
        if events(&shown).is_some() {
            return Err(bad(BadJwt::Form("it is a logout token and no login")));
        }
        let template = self.templates.iter().find(|(name, _)| *name == shown.issuer);
        let template = template.map(|(_, template)| template.as_str()).unwrap_or_default();
        let user = UserToken::of(&shown, template, &self.realm);
        user.map_err(|bad| {
            let (issuer, detail) = (shown.issuer.clone(), bad.to_string());
            Unauthenticated::User { issuer, detail }.into()
        })
    }

    /// Returns the login that a logout token ends, and when the token was issued.
    pub async fn logged_out(&self, token: &[u8], now: UnixMillis) -> Result<LoggedOut, Refusal> {
        let shown = self.tokens.attest(token, now).await?;
        let says_so = events(&shown).is_some_and(|events| {
            events.iter().any(|(name, what)| name == LOGOUT && matches!(what, Json::Object(_)))
        });
        if !says_so || shown.claim("nonce").is_some() {
            return Err(bad(BadJwt::Form("it is no logout token")));
        }
        let issued = shown.number("iat");
        let issued =
            issued.ok_or(BadJwt::Form("it does not say when it was issued (iat)")).map_err(bad)?;
        let subject = shown.claim("sub").unwrap_or_default().to_owned();
        let sid = shown.claim("sid").filter(|sid| !sid.is_empty()).map(str::to_owned);
        let login = Login { issuer: shown.issuer, subject, sid };
        Ok(LoggedOut { login, issued_at: UnixMillis::from_seconds(issued), own: false })
    }
}

fn events(shown: &Attested) -> Option<&[(String, Json)]> {
    let Json::Object(members) = &shown.claims else { return None };
    members.iter().find_map(|(name, value)| match value {
        Json::Object(events) if name == "events" => Some(events.as_slice()),
        _ => None,
    })
}

fn bad(bad: BadJwt) -> Refusal {
    Unauthenticated::Jwt(bad).into()
}
