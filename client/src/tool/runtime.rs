//! A tool with an identity of its own, which it keeps renewed: it follows revocations, checks calls
//! offline, and every decision is kept as evidence and reported.
//!
//! Owns: putting the parts together. Does not own: any of them (`follow`, `check`, `report`); a tool
//! without an identity takes them one by one, and leaves no evidence.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::identity::Identity;
use crate::agent::renewal::Renewal;
use crate::broker::credential::Caller;
use crate::error::Error;
use crate::tool::checker::{Checker, Options};
use crate::tool::follow::Follower;
use crate::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT, Sender};

/// Where a tool's evidence waits for the broker, in its identity's directory.
const EVIDENCE: &str = "evidence";

/// A tool that runs. It follows, reports and renews its identity for as long as it is held.
#[derive(Debug)]
pub struct Tool {
    checker: Arc<Checker>,
    follower: Follower,
    reporter: Arc<Reporter>,
    renewal: Renewal,
    _sender: Sender,
}

impl Tool {
    /// A tool of this name, by this identity and its broker. Evidence lies in the identity's directory,
    /// unless the options say otherwise.
    pub fn start(
        name: impl Into<String>,
        identity: Identity,
        mut options: Options,
    ) -> Result<Self, Error> {
        let (broker, trust) = (identity.broker()?.clone(), identity.trust().clone());
        let reporter = match options.evidence.take() {
            Some(reporter) => reporter,
            None => {
                let spool = identity.directory().path().join(EVIDENCE);
                Reporter::open(&spool, SPOOL_BYTES_DEFAULT)?
            }
        };
        let renewal = identity.keep_renewed();
        let who: Arc<dyn Caller> = Arc::new(identity);
        let follower = Follower::start(broker.clone(), Some(who.clone()), trust.clone());
        let sender = reporter.start(broker, who, follower.view());
        options.evidence = Some(reporter.clone());
        let checker = Arc::new(Checker::new(name, trust, follower.view(), options));
        Ok(Tool { checker, follower, reporter, renewal, _sender: sender })
    }

    /// Waits until the revocations are known, at most so long. Until then every call is refused.
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        self.follower.ready(within).await
    }

    /// What decides.
    pub fn checker(&self) -> Arc<Checker> {
        self.checker.clone()
    }

    /// How the revocations come in.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// How its identity stands, which is renewed for as long as it runs.
    pub fn renewal(&self) -> &Renewal {
        &self.renewal
    }

    /// Waits until the broker has all evidence, at most so long; what is left is sent next time.
    pub async fn flushed(&self, at_most: Duration) -> bool {
        self.reporter.flushed(at_most).await
    }
}
