//! Whole lists of the broker, fetched page by page.
//!
//! Owns: asking for the next page until there is none. Does not own: one page (`rpc`).
//!
//! Invariants: a row that is added or removed meanwhile may be missing; every other row is there
//! once.

use sublet_proto::v1;

use crate::broker::connect::Broker;
use crate::broker::credential::Credential;
use crate::error::Error;

/// Rows of one page: the most that the broker sends.
const PAGE_SIZE: u32 = 500;

macro_rules! whole_lists {
    ($($(#[$doc:meta])* $name:ident: $list:ident($request:ident) -> $rows:ident of $row:ident;)*) => {
        impl Broker {$(
            $(#[$doc])*
            pub async fn $name(&self, admin: &Credential) -> Result<Vec<v1::$row>, Error> {
                let (mut rows, mut page_token) = (Vec::new(), Default::default());
                loop {
                    let request = v1::$request { page_size: PAGE_SIZE, page_token };
                    let page = self.$list(admin, request).await?;
                    rows.extend(page.$rows);
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        return Ok(rows);
                    }
                }
            }
        )*}
    };
}

whole_lists! {
    /// Returns every agent, by id.
    all_agents: list_agents(ListAgentsRequest) -> agents of AgentRow;
    /// Returns every profile, by name.
    all_profiles: list_profiles(ListProfilesRequest) -> profiles of Profile;
    /// Returns every join token that the broker keeps, by id, without the secrets.
    all_join_tokens: list_join_tokens(ListJoinTokensRequest) -> join_tokens of JoinTokenRow;
    /// Returns every session of authority that the broker keeps, by id.
    all_sessions: list_sessions(ListSessionsRequest) -> sessions of SessionRow;
}
