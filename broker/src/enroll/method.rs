//! What a method of enrollment is. docs/FORMATS, "Enrollment".
//!
//! Owns: the trait of all methods, and what an enrollment brings. Does not own: a method.

use sublet_core::base::id::{SpiffeId, UnixMillis};
use sublet_core::base::json::Json;
use sublet_core::base::key::PublicKey;
use sublet_core::decide::Credential;
use sublet_core::refusal::Refusal;
use sublet_core::state::State;

use crate::transport::certificate::Certificate;

/// One way to come in.
#[tonic::async_trait]
pub trait Method: Send + Sync {
    /// Its name in a request.
    fn name(&self) -> &'static str;

    /// What a credential shows.
    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, Refusal>;

    /// Whether this broker could have to do with it at all; else the caller has shown nothing.
    fn is_known(&self, credential: &Credential, state: &State) -> bool {
        let _ = (credential, state);
        true
    }
}

/// What an enrollment brings.
pub struct Presented<'a> {
    /// The credential.
    pub credential: &'a [u8],
    /// The agent that is asked for; empty when the credential says.
    pub agent: &'a str,
    /// The new key, which the caller has shown to hold.
    pub key: &'a PublicKey,
    /// The certificate of the connection.
    pub certificate: Option<&'a Certificate>,
}

/// What a SPIFFE id shows, for rules to name: the id as `sub`, the segments of its path as `spiffe`.
pub(super) fn spiffe_claims(id: &SpiffeId) -> Json {
    let segments = id.path().split('/').map(|segment| Json::Str(segment.to_owned())).collect();
    let subject = Json::Str(id.to_string());
    Json::Object(vec![("spiffe".to_owned(), Json::List(segments)), ("sub".to_owned(), subject)])
}
