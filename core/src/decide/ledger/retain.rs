//! Erasing, pruning and legal holds, by the admin. docs/SPEC section 9.10.

use serde::{Deserialize, Serialize};

use crate::decide::{Context, Decision, Grant, Operation, is_name};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::state::rows::retention::{HOLDS_MAX, Hold};
use crate::state::{Mutation, Precondition, RowKey};

/// Erases the payload of a record, for example on request of a person. The leaf and every proof
/// stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// The index of the record, which must exist.
    pub index: u64,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for Erase {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/Erase";

    fn describe(&self) -> String {
        format!("erase what lies beside record {}", self.index)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        cx.admin_only()?;
        let records = self.index..self.index.saturating_add(1);
        if let Some(hold) = cx.view.state.retention().held(&records) {
            return Err(Deny::UnderHold { record: self.index, hold: hold.name.clone() });
        }
        let body = Body::Erased { index: self.index, reason: self.reason.clone() };
        let grant = Grant::read(()).requiring([Precondition::NotHeld(self.index)]);
        Ok(grant.changing([Mutation::ErasePayload(self.index)]).recording(cx.caller, body))
    }
}

/// Prunes the records below an index, except those under a legal hold. Their hashes stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The index. The ledger must have as many records.
    pub below: u64,
}

impl Operation for Prune {
    /// The floor after this.
    type Granted = u64;
    const METHOD: &'static str = "/sublet.v1.Audit/Prune";

    fn describe(&self) -> String {
        format!("forget the records below {}", self.below)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<u64> {
        cx.admin_only()?;
        let floor = cx.view.state.retention().floor();
        if self.below <= floor {
            return Ok(Grant::read(floor));
        }
        let body = Body::Pruned { below: self.below };
        let grant = Grant::read(self.below).requiring([Precondition::FloorBelow(self.below)]);
        let grant = grant.changing([Mutation::RaiseFloor(self.below)]);
        Ok(grant.recording(cx.caller, body))
    }
}

/// Places a legal hold: records may be neither pruned nor erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateLegalHold {
    /// The name of the hold.
    pub name: String,
    /// The index of the first record.
    pub from: u64,
    /// The index after the last record; `None` for all records to come.
    pub to: Option<u64>,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for CreateLegalHold {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/CreateLegalHold";

    fn describe(&self) -> String {
        format!("hold {:?} on the records from {}", self.name, self.from)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        cx.admin_only()?;
        if !is_name(&self.name) {
            return Err(Deny::OutOfRange("a hold's name is 1 to 63 of a-z 0-9 -"));
        }
        let to = self.to.unwrap_or(u64::MAX);
        if to <= self.from {
            return Err(Deny::OutOfRange("a hold ends behind its first record"));
        }
        let retention = cx.view.state.retention();
        if retention.hold(&self.name).is_some() {
            return Err(Deny::Exists(format!("the hold {:?}", self.name)));
        }
        if retention.holds().count() >= HOLDS_MAX {
            return Err(Deny::OutOfRange("there are 1,000 holds: release one first"));
        }
        let (name, from) = (self.name.clone(), self.from);
        let hold = Hold { name: name.clone(), from, to, placed_at: cx.now };
        let body = Body::LegalHoldCreated {
            name: name.clone(),
            from,
            to: self.to,
            reason: self.reason.clone(),
        };
        let grant = Grant::read(()).requiring([Precondition::absent(RowKey::Hold(name))]);
        Ok(grant.changing([Mutation::from(hold)]).recording(cx.caller, body))
    }
}

/// Removes a legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveLegalHold {
    /// The name of the hold.
    pub name: String,
    /// The reason, as text.
    pub reason: String,
}

impl Operation for RemoveLegalHold {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/RemoveLegalHold";

    fn describe(&self) -> String {
        format!("release the hold {:?}", self.name)
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<()> {
        cx.admin_only()?;
        if cx.view.state.retention().hold(&self.name).is_none() {
            return Err(Deny::NotFound(format!("hold {:?}", self.name)));
        }
        let name = self.name.clone();
        let body = Body::LegalHoldRemoved { name: name.clone(), reason: self.reason.clone() };
        let grant = Grant::read(()).requiring([Precondition::present(RowKey::Hold(name.clone()))]);
        Ok(grant.changing([Mutation::RemoveLegalHold(name)]).recording(cx.caller, body))
    }
}

/// Which records of the ledger are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// The index below which records may be pruned.
    pub floor: u64,
    /// The legal holds, by name.
    pub holds: Vec<Hold>,
}

/// Returns the floor and the legal holds; for the admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRetention;

impl Operation for ReadRetention {
    type Granted = Retained;
    const METHOD: &'static str = "/sublet.v1.Audit/GetRetention";

    fn describe(&self) -> String {
        "what of the ledger is kept".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Retained> {
        cx.admin_only()?;
        let retention = cx.view.state.retention();
        let holds = retention.holds().cloned().collect();
        Ok(Grant::read(Retained { floor: retention.floor(), holds }))
    }
}
