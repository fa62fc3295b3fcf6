//! Whole lists of the broker, page by page.
//!
//! Owns: asking for the next page until there is none. Does not own: a page (`ask`).
//!
//! Invariants: a row that is added or removed meanwhile may be there or not; every other row is there once.

use sublet_proto::v1;

use crate::broker::connect::Broker;
use crate::broker::credential::Credential;
use crate::error::Error;

/// Rows of one page: as many as the broker gives.
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
    /// Every agent, by id.
    all_agents: list_agents(ListAgentsRequest) -> agents of AgentRow;
    /// Every profile, by name.
    all_profiles: list_profiles(ListProfilesRequest) -> profiles of Profile;
    /// Every join token that is kept, by id, without its secret.
    all_join_tokens: list_join_tokens(ListJoinTokensRequest) -> join_tokens of JoinTokenRow;
    /// Every session that is kept, by id.
    all_sessions: list_sessions(ListSessionsRequest) -> sessions of SessionRow;
}
