//! Enrollment with a join token: a secret that the admin was shown once, and that enrolls once.

use sublet_core::base::id::UnixMillis;
use sublet_core::decide::Credential;
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::state::State;

use super::method::{Method, Presented};

/// The method `join_token`.
pub struct JoinToken;

#[tonic::async_trait]
impl Method for JoinToken {
    fn name(&self) -> &'static str {
        "join_token"
    }

    async fn show(&self, shown: &Presented<'_>, _: UnixMillis) -> Result<Credential, Refusal> {
        let read = std::str::from_utf8(shown.credential).ok().and_then(Credential::from_join_token);
        read.ok_or_else(|| {
            let detail = "no join token: sublet-join1.<id>.<secret>".to_owned();
            Malformed::Field { field: "credential", detail }.into()
        })
    }

    fn is_known(&self, credential: &Credential, state: &State) -> bool {
        match credential {
            Credential::JoinToken { id, hash } => {
                state.join_token(id).is_some_and(|row| row.hash == *hash)
            }
            Credential::Attested(_) => false,
        }
    }
}
