//! For OAuth clients: token exchange (RFC 8693) and the end of a login (OpenID Connect Back-Channel
//! Logout 1.0), over HTTPS beside gRPC. docs/FORMATS, "OAuth".
//!
//! Owns: forms and answers as the standards define them. Does not own: decisions; they are those of
//! Issue and EndSessions.
//!
//! Invariants: an actor token needs a proof by its holder over this very body. No answer may be cached.
//! No token is logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use sublet_core::base::json::Json;
use sublet_core::base::text::from_base64url;
use sublet_core::capability::Capability;
use sublet_core::decide::caller::{Authenticated, Caller};
use sublet_core::decide::{Consent, EndSessions, Ending, Issue};
use sublet_core::refusal::{Malformed, Overload, Refusal};
use sublet_core::token::Presentation;
use sublet_proto::convert::field;

use crate::broker::Broker;
use crate::request::authenticate::{self, Introduced};
use crate::request::pipeline::{self, Asked, Came};
use crate::request::respond;
use crate::service;
use crate::transport::listen::Via;

/// The action that a proof names.
const TOKEN: &str = "/token";

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const USER_TYPES: [&str; 3] = [
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:access_token",
    "urn:ietf:params:oauth:token-type:jwt",
];
const IDENTITY_TYPE: &str = "urn:sublet:params:oauth:token-type:identity";
const DELEGATION_TYPE: &str = "urn:sublet:params:oauth:token-type:delegation";

/// The lifetime of a delegation if the request states none, in seconds.
const TTL_SECONDS: i64 = 900;

/// Returns the routes.
pub(crate) fn routes(broker: Arc<Broker>) -> Router {
    Router::new().route(TOKEN, post(token)).route("/logout", post(logout)).with_state(broker)
}

async fn token(
    State(broker): State<Arc<Broker>>,
    via: Option<Extension<Via>>,
    introduced: Option<Extension<Arc<Introduced>>>,
    body: Bytes,
) -> Response {
    let via = via.map(|Extension(via)| via).unwrap_or_default();
    let introduced = introduced.map(|Extension(introduced)| introduced);
    answer(exchange(&broker, &via, introduced.as_deref(), &body).await)
}

async fn logout(
    State(broker): State<Arc<Broker>>,
    via: Option<Extension<Via>>,
    body: Bytes,
) -> Response {
    let via = via.map(|Extension(via)| via).unwrap_or_default();
    answer(log_out(&broker, &via, &body).await)
}

/// Serves the token exchange: takes subject and actor, returns a delegation.
async fn exchange(
    broker: &Arc<Broker>,
    via: &Via,
    introduced: Option<&Introduced>,
    body: &[u8],
) -> Result<Value, Refusal> {
    let form = Form::parse(body)?;
    form.is("grant_type", &[EXCHANGE])?;
    form.is("subject_token_type", &USER_TYPES)?;
    form.is("actor_token_type", &[IDENTITY_TYPE])?;
    if form.has("requested_token_type") {
        form.is("requested_token_type", &[DELEGATION_TYPE])?;
    }
    let caller = authenticate::http_caller(broker, introduced, body, via, TOKEN)?;
    let actor = from_base64url(form.get("actor_token")?)
        .ok_or_else(|| field("actor_token", "the identity token in base64url".to_owned()))?;
    if caller.agent().is_none() || !is_of(&actor, &caller) {
        let detail = "it is not the identity that the proof is under".to_owned();
        return Err(field("actor_token", detail).into());
    }
    let user = authenticate::user(broker, via, form.get("subject_token")?.as_bytes()).await?;
    let operation = Issue {
        on_behalf_of: user.principal.clone(),
        scope: scope(form.get("authorization_details")?)?,
        ttl_seconds: form.number("requested_expires_in", TTL_SECONDS)?,
        hops: u32::try_from(form.number("hops", 0)?).unwrap_or(u32::MAX),
        offline_hops: 0,
        by: Consent::UserToken(Box::new(user)),
    };
    let authenticated = Authenticated { caller, operation };
    let came = Came { trace: None, from: via.network() };
    let asked = Asked { authenticated, repeatable: None, came };
    let (issued, found) = pipeline::run(broker, asked).await?.into_parts()?;
    let receipt = Some(respond::receipt(broker, &found)?);
    let token = issued.token.into_vec();
    Ok(json!({
        "access_token": Presentation { token, receipt }.to_text(),
        "issued_token_type": DELEGATION_TYPE,
        // The token alone gives nothing, because its holder proves each call (RFC 8693 section 2.2.1).
        "token_type": "N_A",
        "expires_in": issued.expires.saturating_sub(broker.ports.clock.now().seconds()),
        // What the token states, in the terms of RFC 8693 (section 4.1).
        "sublet": {
            "iss": broker.domain().issuer().to_string(),
            "sub": issued.principal.to_string(),
            "act": {"sub": issued.agent.to_string()},
            "exp": issued.expires,
            "jti": issued.hop.to_string(),
            "cnf": {"jkt": issued.key.to_string()},
        },
    }))
}

/// Returns whether these are the bytes of the caller's own identity token.
fn is_of(actor: &[u8], caller: &Caller) -> bool {
    caller.own_identity().is_some_and(|own| own.encode() == actor)
}

/// Reads capabilities in the JSON long form, each a rich authorization request (RFC 9396) of our type. A
/// member that appears twice is refused, because two readers could use different ones.
fn scope(details: &str) -> Result<sublet_core::capability::Scope, Refusal> {
    let bad = |detail: String| field("authorization_details", detail);
    let list = Json::parse(details.as_bytes()).map_err(|error| bad(error.to_string()))?;
    let Json::List(list) = list else {
        return Err(bad("a list of capabilities is expected".to_owned()).into());
    };
    let mut capabilities = Vec::new();
    for detail in list {
        let Json::Object(mut members) = detail else {
            return Err(bad("each is an object".to_owned()).into());
        };
        let before = members.len();
        let is_ours = Json::Str("sublet_capability".to_owned());
        members.retain(|(name, value)| name != "type" || *value != is_ours);
        if members.len() == before {
            return Err(bad("the type of each is sublet_capability".to_owned()).into());
        }
        let capability = Capability::from_json(&Json::Object(members).canonical());
        capabilities.push(capability.map_err(Malformed::from)?);
    }
    Ok(sublet_core::capability::Scope::new(capabilities).map_err(Malformed::from)?)
}

async fn log_out(broker: &Arc<Broker>, via: &Via, body: &[u8]) -> Result<Value, Refusal> {
    let form = Form::parse(body)?;
    let token = form.get("logout_token")?.as_bytes();
    let word = authenticate::logged_out(broker, via, token).await?;
    let caller = Caller::user(word.login.clone());
    let reason = format!("logged out at {}", word.login.issuer);
    let operation = EndSessions { which: Ending::Login(word), reason };
    let came = Came { trace: None, from: via.network() };
    let (sessions, delegations) =
        service::end_sessions(broker.clone(), caller, operation, came).await??;
    tracing::info!(sessions, delegations, "a user logged out");
    Ok(json!({}))
}

/// A form in which no field appears twice.
struct Form(BTreeMap<String, String>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(field("form", "a field stands twice".to_owned()).into());
            }
        }
        Ok(Form(fields))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &'static str) -> Result<&str, Refusal> {
        let value = self.0.get(name).map(String::as_str);
        value.ok_or_else(|| field(name, "missing".to_owned()).into())
    }

    fn is(&self, name: &'static str, known: &[&str]) -> Result<(), Refusal> {
        match self.get(name)? {
            value if known.contains(&value) => Ok(()),
            _ => Err(field(name, format!("one of {known:?} is expected")).into()),
        }
    }

    fn number(&self, name: &'static str, default: i64) -> Result<i64, Refusal> {
        match self.0.get(name).map(|text| text.parse()) {
            None => Ok(default),
            Some(Ok(number)) if number >= 0 => Ok(number),
            Some(_) => Err(field(name, "a whole number is expected".to_owned()).into()),
        }
    }
}

/// Returns the answer; errors have the form of RFC 6749 section 5.2.
fn answer(done: Result<Value, Refusal>) -> Response {
    match done {
        Ok(value) => (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")], axum::Json(value))
            .into_response(),
        Err(refused) => refusal(&refused),
    }
}

/// Returns the answer to a refused request, also if its form was not read.
pub(crate) fn refusal(refusal: &Refusal) -> Response {
    let (status, error) = match refusal {
        Refusal::Malformed(_) | Refusal::Overload(Overload::TooLarge { .. }) => {
            (StatusCode::BAD_REQUEST, "invalid_request")
        }
        Refusal::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Refusal::Deny(_) => (StatusCode::BAD_REQUEST, "invalid_grant"),
        Refusal::Overload(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Refusal::Fault(fault) => {
            tracing::error!(%fault, "an OAuth request");
            (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
    };
    let detail = respond::status(refusal).message().to_owned();
    let value = json!({"error": error, "error_description": detail, "sublet_code": refusal.code()});
    let mut answer =
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(value)).into_response();
    if let Some(retry_ms) = refusal.retry_ms() {
        // Whole seconds (RFC 9110, section 10.2.3).
        let seconds = HeaderValue::from(retry_ms.div_ceil(1_000));
        answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    answer
}
