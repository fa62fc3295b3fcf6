//! What an enrollment method is. docs/FORMATS, "Enrollment".
//!
//! Owns: the trait of all methods, and their input. Does not own: a method.

use sublet_core::base::id::{SpiffeId, UnixMillis};
use sublet_core::base::json::Json;
use sublet_core::base::key::PublicKey;
use sublet_core::decide::Credential;
use sublet_core::refusal::Refusal;
use sublet_core::state::State;

use crate::transport::certificate::Certificate;

/// One enrollment method.
#[tonic::async_trait]
pub trait Method: Send + Sync {
    /// Returns its name in a request.
    fn name(&self) -> &'static str;

    /// Returns what a credential shows, if it is valid now.
    async fn show(&self, shown: &Presented<'_>, now: UnixMillis) -> Result<Credential, Refusal>;

    /// Returns whether this broker can have issued the credential. If not, the caller counts as
    /// unauthenticated.
    fn is_known(&self, credential: &Credential, state: &State) -> bool {
        let _ = (credential, state);
        true
    }
}

/// The input of an enrollment.
pub struct Presented<'a> {
    /// The credential.
    pub credential: &'a [u8],
    /// The agent that the caller claims to be; empty if the credential says it.
    pub agent: &'a str,
    /// The new key. The caller has proven possession of it.
    pub key: &'a PublicKey,
    /// The client certificate of the connection; `None` if it showed none.
    pub certificate: Option<&'a Certificate>,
}

/// Returns the claims of a SPIFFE id for use in rules: the id as `sub`, the segments of its path as `spiffe`.
pub(super) fn spiffe_claims(id: &SpiffeId) -> Json {
    let segments = id.path().split('/').map(|segment| Json::Str(segment.to_owned())).collect();
    let subject = Json::Str(id.to_string());
    Json::Object(vec![("spiffe".to_owned(), Json::List(segments)), ("sub".to_owned(), subject)])
}
