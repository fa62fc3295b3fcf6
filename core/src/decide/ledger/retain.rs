//! What of the ledger is kept, erased and forgotten: by the admin. docs/SPEC section 9.10.

use serde::{Deserialize, Serialize};

use crate::decide::{Context, Decision, Grant, Operation, is_name};
use crate::evidence::record::Body;
use crate::refusal::Deny;
use crate::state::rows::retention::{HOLDS_MAX, Hold};
use crate::state::{Mutation, Precondition, RowKey};

/// The admin has what lies beside a record erased: whatever a person asked to have forgotten. The
/// record and every proof of it stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// The record's index. The ledger has such a record.
    pub index: u64,
    /// Why.
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

/// The admin has records below an index forgotten, but for those under a hold. Their hashes stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The index. The ledger has as many records.
    pub below: u64,
}

impl Operation for Prune {
    /// The floor from now on.
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

/// The admin keeps records from being forgotten and erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateLegalHold {
    /// Its name.
    pub name: String,
    /// The first record.
    pub from: u64,
    /// The first record behind it; `None` for all that is still to come.
    pub to: Option<u64>,
    /// Why.
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
        let body =
            Body::HoldPlaced { name: name.clone(), from, to: self.to, reason: self.reason.clone() };
        let grant = Grant::read(()).requiring([Precondition::absent(RowKey::Hold(name))]);
        Ok(grant.changing([Mutation::from(hold)]).recording(cx.caller, body))
    }
}

/// The admin lets a hold go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveLegalHold {
    /// Its name.
    pub name: String,
    /// Why.
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
        let body = Body::HoldReleased { name: name.clone(), reason: self.reason.clone() };
        let grant = Grant::read(()).requiring([Precondition::present(RowKey::Hold(name.clone()))]);
        Ok(grant.changing([Mutation::RemoveLegalHold(name)]).recording(cx.caller, body))
    }
}

/// What of the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// The index below which records may be pruned.
    pub floor: u64,
    /// The holds, by name.
    pub holds: Vec<Hold>,
}

/// What is kept and what is held; for the admin.
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
