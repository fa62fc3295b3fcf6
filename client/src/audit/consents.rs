//! The consents by which agents act for principals, as the ledger shows them. SPEC 3.10.9.
//!
//! Owns: reading the records of consent. Does not own: the delegations that were issued by them
//! (`replay`, `history`).
//!
//! Invariants: only the payload of a record names a person; after it is erased, nobody is named.

use serde::Serialize;
use sublet_core::base::utc::utc;
use sublet_core::state::rows::session::SessionId;
use sublet_proto::record::record::Body;

use crate::audit::entry::Entry;

/// A recorded consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedConsent {
    /// The index of its record.
    pub record: u64,
    /// The broker's time of its record, in milliseconds since 1970.
    pub at_ms: i64,
    /// The session of authority that it began or continued; `None` when the record names none.
    pub session: Option<String>,
    /// The agent that may act.
    pub agent: String,
    /// The issuer of the user's token; `None` for a grant by the admin.
    pub issuer: Option<String>,
    /// The principal that the agent may act for; `None` when it was erased.
    pub principal: Option<String>,
    /// The user, as the issuer names it; `None` for a grant by the admin, when it was erased, and
    /// in older records that did not keep it.
    pub subject: Option<String>,
    /// Whether the payload of the record was erased.
    pub erased: bool,
}

impl RecordedConsent {
    /// Returns the consent in a record; `None` when the record is of another kind.
    pub fn of(entry: &Entry) -> Option<Self> {
        let Some(Body::Consented(consent)) = &entry.record.body else { return None };
        let (words, said) = (entry.words(), |text: &String| !text.is_empty());
        let session = consent.session.as_slice().try_into().ok().map(SessionId);
        Some(RecordedConsent {
            record: entry.index,
            at_ms: entry.record.time_ms,
            session: session.map(|session| session.to_string()),
            agent: consent.agent_id.clone(),
            issuer: Some(consent.issuer.clone()).filter(said),
            principal: Some(words.principal).filter(said),
            subject: words.person.map(|person| person.subject).filter(said),
            erased: entry.is_erased(),
        })
    }
}

impl std::fmt::Display for RecordedConsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unknown = if self.erased { "(erased)" } else { "(not kept)" };
        let or = |text: &Option<String>| {
            let text = text.as_ref().map(|text| text.escape_debug().to_string());
            text.unwrap_or_else(|| unknown.to_owned())
        };
        let by = match &self.issuer {
            Some(issuer) => format!("{} at {issuer}", or(&self.subject)),
            None => "a grant of the admin".to_owned(),
        };
        let at = utc(self.at_ms.div_euclid(1000));
        let (record, agent, principal) = (self.record, &self.agent, or(&self.principal));
        write!(f, "consent at {at}, record {record}: {agent} may act for {principal}, by {by}")
    }
}
