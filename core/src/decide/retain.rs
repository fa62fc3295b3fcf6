//! What of the ledger is kept, erased and forgotten: by the admin. docs/SPEC section 9.10.

use super::{Ask, Decision, Entropy, Grant, View, admin_only, is_name};
use crate::caller::Caller;
use crate::id::UnixMillis;
use crate::no::Deny;
use crate::record::Body;
use crate::retention::{HOLDS_MAX, Hold, Retention};
use crate::state::{Guard, Write};

/// The admin has what lies beside a record erased: whatever a person asked to have forgotten. The
/// record and every proof of it stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erase {
    /// The record's index. The ledger has such a record.
    pub index: u64,
    /// Why.
    pub reason: String,
}

impl Ask for Erase {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/Erase";

    fn asked(&self) -> String {
        format!("erase what lies beside record {}", self.index)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        let records = self.index..self.index.saturating_add(1);
        if let Some(hold) = view.state.retention().held(&records) {
            return Err(Deny::UnderHold { record: self.index, hold: hold.name.clone() });
        }
        let body = Body::Erased { index: self.index, reason: self.reason.clone() };
        let grant = Grant::read(()).guarded([Guard::NotHeld(self.index)]);
        Ok(grant.writing([Write::Erase(self.index)]).recording(caller, body))
    }
}

/// The admin has records below an index forgotten, but for those under a hold. Their hashes stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// The index. The ledger has as many records.
    pub below: u64,
}

impl Ask for Prune {
    /// The floor from now on.
    type Granted = u64;
    const METHOD: &'static str = "/sublet.v1.Audit/Prune";

    fn asked(&self) -> String {
        format!("forget the records below {}", self.below)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<u64> {
        admin_only(caller)?;
        let floor = view.state.retention().floor();
        if self.below <= floor {
            return Ok(Grant::read(floor));
        }
        let body = Body::Pruned { below: self.below };
        let grant = Grant::read(self.below).guarded([Guard::FloorBelow(self.below)]);
        let grant = grant.writing([Write::Floor(self.below)]);
        Ok(grant.recording(caller, body))
    }
}

/// The admin keeps records from being forgotten and erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceHold {
    /// Its name.
    pub name: String,
    /// The first record.
    pub from: u64,
    /// The first record behind it; `None` for all that is still to come.
    pub to: Option<u64>,
    /// Why.
    pub reason: String,
}

impl Ask for PlaceHold {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/PlaceHold";

    fn asked(&self) -> String {
        format!("hold {:?} on the records from {}", self.name, self.from)
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        now: UnixMillis,
        _: &Entropy,
    ) -> Decision<()> {
        admin_only(caller)?;
        if !is_name(&self.name) {
            return Err(Deny::NotPermitted("a hold's name is 1 to 63 of a-z 0-9 -"));
        }
        let to = self.to.unwrap_or(u64::MAX);
        if to <= self.from {
            return Err(Deny::NotPermitted("a hold ends behind its first record"));
        }
        let retention = view.state.retention();
        if retention.hold(&self.name).is_some() {
            return Err(Deny::Exists(format!("the hold {:?}", self.name)));
        }
        if retention.holds().count() >= HOLDS_MAX {
            return Err(Deny::NotPermitted("there are 1,000 holds: release one first"));
        }
        let (name, from) = (self.name.clone(), self.from);
        let hold = Hold { name: name.clone(), from, to, placed_at: now };
        let body =
            Body::HoldPlaced { name: name.clone(), from, to: self.to, reason: self.reason.clone() };
        let grant = Grant::read(()).guarded([Guard::Hold(name, false)]);
        Ok(grant.writing([Write::Hold(hold)]).recording(caller, body))
    }
}

/// The admin lets a hold go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseHold {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl Ask for ReleaseHold {
    type Granted = ();
    const METHOD: &'static str = "/sublet.v1.Audit/ReleaseHold";

    fn asked(&self) -> String {
        format!("release the hold {:?}", self.name)
    }

    fn decide(&self, view: View<'_>, caller: &Caller, _: UnixMillis, _: &Entropy) -> Decision<()> {
        admin_only(caller)?;
        if view.state.retention().hold(&self.name).is_none() {
            return Err(Deny::NotFound(format!("hold {:?}", self.name)));
        }
        let name = self.name.clone();
        let body = Body::HoldReleased { name: name.clone(), reason: self.reason.clone() };
        let grant = Grant::read(()).guarded([Guard::Hold(name.clone(), true)]);
        Ok(grant.writing([Write::Release(name)]).recording(caller, body))
    }
}

/// What is kept and what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRetention;

impl Ask for ReadRetention {
    /// The floor, and the holds by name.
    type Granted = (u64, Vec<Hold>);
    const METHOD: &'static str = "/sublet.v1.Audit/GetRetention";

    fn asked(&self) -> String {
        "what of the ledger is kept".to_owned()
    }

    fn decide(
        &self,
        view: View<'_>,
        caller: &Caller,
        _: UnixMillis,
        _: &Entropy,
    ) -> Decision<(u64, Vec<Hold>)> {
        admin_only(caller)?;
        let retention: &Retention = view.state.retention();
        Ok(Grant::read((retention.floor(), retention.holds().cloned().collect())))
    }
}
