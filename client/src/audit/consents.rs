//! By whose word an agent acts for somebody, as the ledger shows it. SPEC 3.10.9.
//!
//! Owns: reading the records of consent. Does not own: what was issued by it (`audit`, `history`).
//!
//! Invariants: a person is named only by what lies beside the record; where that was erased nobody is.

use serde::Serialize;
use sublet_core::base::utc::utc;
use sublet_core::state::rows::session::SessionId;
use sublet_proto::record::record::Body;

use crate::audit::entry::Entry;

/// A consent that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedConsent {
    /// The index of its record.
    pub record: u64,
    /// When, in milliseconds.
    pub at_ms: i64,
    /// The session that it began or went on with; `None` when the record names none.
    pub session: Option<String>,
    /// The agent.
    pub agent: String,
    /// The issuer of the user's token; `None` for an operator's word.
    pub issuer: Option<String>,
    /// For whom; `None` when it was erased.
    pub principal: Option<String>,
    /// The person whose token it was, as the issuer names it; `None` for an operator's word, when it was
    /// erased, and in records from before it was kept.
    pub subject: Option<String>,
    /// Whether what lay beside the record was erased.
    pub erased: bool,
}

impl RecordedConsent {
    /// The consent that a record is of, if it is of one.
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
