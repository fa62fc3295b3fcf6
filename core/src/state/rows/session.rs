//! Sessions of authority: the consent by which an agent acts for a user, and its end. SPEC 3.10.
//!
//! Owns: a user's login as the user's signed token shows it, a grant by the admin instead of one,
//! and which principal a login is. Does not own: verifying the token (the broker's `login`), what
//! follows (`decide`).
//!
//! Invariants: a login maps to one principal of this trust domain by one template, and a name that
//! cannot be a principal is refused and never changed into one; a session that ended stays ended
//! for every token from before its end; a logout ends nothing that began after it.

use serde::{Deserialize, Serialize};

use crate::base::bytes::{Label, domain, sha256};
use crate::base::id::{AgentId, BadId, Principal, TrustDomain, UnixMillis};
use crate::base::text::{base64url, from_base64url};
use crate::evidence::workload::Attested;

/// The most live delegations of one session. Everything that ends with the session ends in one
/// commit.
pub const DELEGATIONS_MAX: usize = 4_096;

/// The id of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 32]);

impl SessionId {
    /// Parses the text form; `None` when it is not 32 bytes in base64url.
    pub fn from_text(text: &str) -> Option<Self> {
        Some(SessionId(from_base64url(text)?.try_into().ok()?))
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base64url(self.0))
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A person, as an identity provider names it. A principal is a name of this realm that is made
/// from a claim, and may change; the person tells whose login it was. The subject is personal data:
/// in the ledger it is only in a payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person {
    /// The provider (`iss`).
    pub issuer: String,
    /// The provider's name for the person (`sub`).
    pub subject: String,
}

/// A login at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Login {
    /// The provider.
    pub issuer: String,
    /// The person that logged in, as the provider names it.
    pub subject: String,
    /// Which of its logins (OpenID Connect `sid`); `None` where the issuer does not tell them apart.
    pub sid: Option<String>,
}

impl Login {
    /// Returns the id of the login's session.
    pub fn id(&self) -> SessionId {
        let mut bytes = domain(Label::Login);
        for part in [&self.issuer, &self.subject, self.sid.as_deref().unwrap_or_default()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        SessionId(sha256(&bytes))
    }

    /// Returns the person that logged in.
    pub fn person(&self) -> Person {
        Person { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }

    /// Returns the login that stands for all logins of this person.
    #[must_use]
    pub fn any(&self) -> Self {
        Login { sid: None, ..self.clone() }
    }
}

impl std::fmt::Display for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "login:{}#{}", self.issuer, self.subject)
    }
}

/// A signed statement that a login has ended: the user's own token of that login, or the provider's
/// logout token. It ends what began by the time at which it was issued, and nothing later, so an
/// old statement ends no later login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// The login; all logins of the person if it names no `sid`.
    pub login: Login,
    /// When the statement was issued.
    pub issued_at: UnixMillis,
    /// Whether it is the user's own token of that login, and not the provider's logout token.
    pub own: bool,
}

impl LoggedOut {
    /// Returns whether it ends this session. If the session has ended before, whatever is left of
    /// it is ended.
    pub fn ends(&self, session: &Session) -> bool {
        let Source::Login(one) = &session.source else { return false };
        let is_it = *one == self.login || (self.login.sid.is_none() && one.any() == self.login);
        is_it && (!session.live || session.began_at <= self.issued_at || self.is_of(session))
    }

    /// Returns whether the user's own token is of exactly this login, which did not end after the
    /// token was issued. Then the login began before the token, whatever tokens of it were shown
    /// here.
    fn is_of(&self, session: &Session) -> bool {
        let named = self.own && self.login.sid.is_some() && session.id == self.login.id();
        named && !session.is_over_for(self.issued_at)
    }

    /// Returns until which issue time the tokens of a session that it ends are invalid: its own
    /// issue time. For the login of the user's own token it is at least `now`, so tokens that were
    /// issued since are invalid too.
    pub fn over_until(&self, session: &SessionId, now: UnixMillis) -> UnixMillis {
        match self.own && *session == self.login.id() {
            true => self.issued_at.max(now),
            false => self.issued_at,
        }
    }
}

/// The consent of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The user's own, by a login.
    Login(Login),
    /// A grant by the admin, for this agent only.
    Operator(AgentId),
}

impl Source {
    /// Returns the person who logged in; `None` for a grant by the admin.
    pub fn person(&self) -> Option<Person> {
        match self {
            Source::Login(login) => Some(login.person()),
            Source::Operator(_) => None,
        }
    }
}

/// A session of authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id of the session.
    pub id: SessionId,
    /// The principal; `None` for a login that ended before anything was issued in it.
    pub principal: Option<Principal>,
    /// The consent of the session.
    pub source: Source,
    /// SHA-256 of the token that showed it last; zeros when none did.
    pub token: [u8; 32],
    /// When the session, and everything that was issued in it, expires.
    pub expires_at: UnixMillis,
    /// The issue time of the first token that showed it since it last ended; 1970 in older rows
    /// that did not keep it.
    #[serde(default)]
    pub began_at: UnixMillis,
    /// When it last ended; `None` when it never did. What was issued before stays ended, even if
    /// the user has logged in again since.
    pub ended_at: Option<UnixMillis>,
    /// Tokens of the login that were issued up to this time are not accepted. `None` in older rows,
    /// for which `ended_at` counts.
    #[serde(default)]
    pub over_until: Option<UnixMillis>,
    /// Whether it is live: it did not end, or its user has logged in again.
    pub live: bool,
    /// How often this row was changed.
    pub version: u64,
}

impl Session {
    /// Returns whether a token of the login that was issued at this time is no longer accepted.
    pub fn is_over_for(&self, issued_at: UnixMillis) -> bool {
        self.over_until.or(self.ended_at).is_some_and(|until| until >= issued_at)
    }
}

/// The content of a user's own signed token, which was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserToken {
    /// The login.
    pub login: Login,
    /// The principal that the login maps to.
    pub principal: Principal,
    /// When the token was issued.
    pub issued_at: UnixMillis,
    /// When the token expires.
    pub expires_at: UnixMillis,
    /// SHA-256 over the token.
    pub id: [u8; 32],
    /// The claims, in canonical JSON.
    pub claims: String,
}

/// Why a user's token names no principal here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUserToken {
    /// It has no `sub`.
    #[error("it has no subject (sub)")]
    NoSubject,
    /// It has no `iat`.
    #[error("it does not say when it was issued (iat)")]
    NoTime,
    /// The configured template is not `kind:{claim}`.
    #[error("the template of principals is not valid")]
    Template,
    /// It has no claim of the template's name.
    #[error("it has no claim {0:?}")]
    NoClaim(String),
    /// Its issuer does not say that the address is the user's.
    #[error("its issuer has not verified the email address")]
    EmailNotVerified,
    /// The claim makes no principal.
    #[error("{full:?}: {bad}")]
    Name {
        /// What the template makes of the claim.
        full: String,
        /// Why that is no principal.
        bad: BadId,
    },
    /// The principal belongs to another realm.
    #[error("{principal} is not of {realm}")]
    ForeignRealm {
        /// Whom it names.
        principal: Principal,
        /// The realm of the users.
        realm: TrustDomain,
    },
}

impl UserToken {
    /// Reads what was shown. `template` is `kind:{claim}`: a claim with an `@` must be of the realm,
    /// one without names somebody in it.
    pub fn of(shown: &Attested, template: &str, realm: &TrustDomain) -> Result<Self, BadUserToken> {
        let text = |name| shown.claim(name).map(str::to_owned);
        let login = Login {
            issuer: shown.issuer.clone(),
            subject: text("sub").ok_or(BadUserToken::NoSubject)?,
            sid: text("sid").filter(|sid| !sid.is_empty()),
        };
        let issued = shown.number("iat").ok_or(BadUserToken::NoTime)?;
        Ok(UserToken {
            login,
            principal: principal(shown, template, realm)?,
            issued_at: UnixMillis::from_seconds(issued),
            expires_at: shown.expires_at,
            id: shown.id,
            claims: String::from_utf8(shown.claims.canonical()).unwrap_or_default(),
        })
    }
}

/// Returns the kind and the claim of a template; `None` for a text that is no template.
pub fn template(text: &str) -> Option<(&str, &str)> {
    let (kind, claim) = text.split_once(':')?;
    let claim = claim.strip_prefix('{')?.strip_suffix('}')?;
    let kind_is_one =
        (1..=16).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase());
    (kind_is_one && !claim.is_empty()).then_some((kind, claim))
}

fn principal(shown: &Attested, text: &str, realm: &TrustDomain) -> Result<Principal, BadUserToken> {
    let (kind, claim) = template(text).ok_or(BadUserToken::Template)?;
    let value = shown.claim(claim).ok_or_else(|| BadUserToken::NoClaim(claim.to_owned()))?;
    // An unverified address may be anybody's (OpenID Connect Core 5.7).
    if claim == "email" && !shown.is_true("email_verified") {
        return Err(BadUserToken::EmailNotVerified);
    }
    let full = match value.contains('@') {
        true => format!("{kind}:{value}"),
        false => format!("{kind}:{value}@{realm}"),
    };
    let principal: Principal =
        full.parse().map_err(|bad| BadUserToken::Name { full: full.clone(), bad })?;
    if principal.realm() != realm.as_str() {
        return Err(BadUserToken::ForeignRealm { principal, realm: realm.clone() });
    }
    Ok(principal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::Json;

    fn shown(claims: &str) -> Attested {
        Attested {
            method: "jwt",
            issuer: "https://login.example".into(),
            claims: Json::parse(claims.as_bytes()).unwrap(),
            id: [0; 32],
            once: false,
            expires_at: UnixMillis(2_000),
        }
    }

    fn read(claims: &str, template: &str) -> Result<String, BadUserToken> {
        let realm = "acme.example".parse().unwrap();
        UserToken::of(&shown(claims), template, &realm).map(|user| user.principal.to_string())
    }

    #[test]
    fn a_login_is_one_principal_of_this_realm_or_none() {
        let alice = r#"{"sub":"0042","iat":1,"email":"alice@acme.example","email_verified":true,"name":"Alice"}"#;
        assert_eq!(read(alice, "user:{email}").unwrap(), "user:alice@acme.example");
        assert_eq!(read(alice, "user:{sub}").unwrap(), "user:0042@acme.example");
        for (claims, template, detail) in [
            (alice, "user:{name}", "Alice"),
            (alice, "user:{upn}", "no claim"),
            (alice, "user:alice", "template"),
            (r#"{"sub":"1","iat":1,"email":"alice@acme.example"}"#, "user:{email}", "not verified"),
            (
                r#"{"sub":"1","iat":1,"email":"alice@acme.example","email_verified":"true"}"#,
                "user:{email}",
                "not verified",
            ),
            (
                r#"{"sub":"1","iat":1,"email":"a@evil.example","email_verified":true}"#,
                "user:{email}",
                "not of acme.example",
            ),
            (r#"{"sub":"a@b@acme.example","iat":1}"#, "user:{sub}", "a@b"),
            (r#"{"iat":1}"#, "user:{sub}", "no subject"),
            (r#"{"sub":"1"}"#, "user:{sub}", "iat"),
        ] {
            let refused = read(claims, template).unwrap_err().to_string();
            assert!(refused.contains(detail), "{claims}: {refused}");
        }
    }

    #[test]
    fn logins_do_not_run_into_each_other() {
        let login = |issuer: &str, subject: &str, sid: &str| Login {
            issuer: issuer.into(),
            subject: subject.into(),
            sid: Some(sid.to_owned()).filter(|sid| !sid.is_empty()),
        };
        assert_ne!(login("a", "bc", "").id(), login("ab", "c", "").id());
        assert_ne!(login("a", "b", "c").id(), login("a", "bc", "").id());
        assert_eq!(login("a", "b", "c").any().id(), login("a", "b", "").id());
        let id = login("a", "b", "c").id();
        assert_eq!(SessionId::from_text(&id.to_string()), Some(id));
        assert_eq!(SessionId::from_text("short"), None);
    }

    fn login(sid: &str) -> Login {
        Login {
            issuer: "https://login.example".into(),
            subject: "0042".into(),
            sid: Some(sid.to_owned()).filter(|sid| !sid.is_empty()),
        }
    }

    #[test]
    fn a_session_and_a_login_are_shown_by_name() {
        let id = login("1").id();
        assert_eq!(format!("{id:?}"), format!("SessionId({id})"));
        assert_eq!(login("1").to_string(), "login:https://login.example#0042");
    }

    fn session(sid: &str) -> Session {
        Session {
            id: login(sid).id(),
            principal: None,
            source: Source::Login(login(sid)),
            token: [0; 32],
            expires_at: UnixMillis(9_000),
            began_at: UnixMillis(1_000),
            ended_at: None,
            over_until: None,
            live: true,
            version: 0,
        }
    }

    fn word(sid: &str, issued_at: i64, own: bool) -> LoggedOut {
        LoggedOut { login: login(sid), issued_at: UnixMillis(issued_at), own }
    }

    #[test]
    fn a_word_ends_the_login_that_it_names_or_all_of_its_subject() {
        let later = 2_000;
        assert!(word("1", later, false).ends(&session("1")));
        assert!(!word("2", later, false).ends(&session("1")), "another login of the subject");
        assert!(word("", later, false).ends(&session("1")), "every login of the subject");
        let other = Login { subject: "7".into(), ..login("") };
        assert!(!LoggedOut { login: other, ..word("", later, false) }.ends(&session("1")));
        let by_operator = Source::Operator("spiffe://acme.example/agent/a".parse().unwrap());
        assert!(!word("1", later, false).ends(&Session { source: by_operator, ..session("1") }));
    }

    #[test]
    fn a_word_ends_nothing_that_began_after_it_but_its_own_login() {
        assert!(word("1", 1_000, false).ends(&session("1")));
        assert!(!word("1", 999, false).ends(&session("1")));
        assert!(word("1", 999, true).ends(&session("1")), "the user's own token of it");
        let over = Session { over_until: Some(UnixMillis(999)), ..session("1") };
        assert!(!word("1", 999, true).ends(&over), "it ended after the token was issued");
        assert!(word("1", 999, false).ends(&Session { live: false, ..session("1") }));
    }

    #[test]
    fn a_login_that_its_own_token_ends_is_over_from_now() {
        let (one, now) = (login("1").id(), UnixMillis(5_000));
        assert_eq!(word("1", 2_000, true).over_until(&one, now), now);
        assert_eq!(word("1", 2_000, false).over_until(&one, now), UnixMillis(2_000));
        assert_eq!(word("2", 2_000, true).over_until(&one, now), UnixMillis(2_000));
        assert_eq!(word("1", 7_000, true).over_until(&one, now), UnixMillis(7_000));
    }

    #[test]
    fn a_template_is_a_kind_and_a_claim() {
        assert_eq!(template("user:{email}"), Some(("user", "email")));
        let long = format!("{}:{{sub}}", "k".repeat(17));
        for bad in ["user:{}", "User:{sub}", ":{sub}", "user:sub", "user:{sub", &long] {
            assert_eq!(template(bad), None, "{bad}");
        }
    }
}
