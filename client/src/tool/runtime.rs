//! A tool with an identity of its own: it keeps the identity renewed, follows the revocation feed,
//! checks calls offline, and reports each decision as evidence.
//!
//! Owns: putting the parts together. Does not own: any of them (`follow`, `checker`, `spool`). A
//! tool without an identity uses them one by one and leaves no evidence.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::identity::Identity;
use crate::agent::renewal::Renewal;
use crate::broker::credential::Caller;
use crate::error::Error;
use crate::tool::checker::{Checker, Options};
use crate::tool::follow::Follower;
use crate::tool::spool::{Reporter, SPOOL_BYTES_DEFAULT, Sender};

/// The folder of the evidence, in the identity's directory.
const EVIDENCE: &str = "evidence";

/// A running tool. Dropping it stops following, reporting and renewing.
///
/// ```no_run
/// use std::time::Duration;
/// use sublet_client::{Error, Identity, Options, Tool};
/// use sublet_core::evidence::call::Arguments;
///
/// # async fn example(shown: sublet_proto::credentials::Credentials) -> Result<(), Error> {
/// let identity = Identity::load("agents/files-tool")?;
/// let tool = Tool::start("tool://files", identity, Options::default())?;
/// tool.ready(Duration::from_secs(10)).await?; // until then every call is refused
/// let checker = tool.checker();
/// let arguments = Arguments::from_json(br#"{"path":"/data/a.csv"}"#)?;
/// let permit = checker.check(&shown, &checker.call("fs.read", arguments))?;
/// println!("{} for {}", permit.holder, permit.principal);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Tool {
    checker: Arc<Checker>,
    follower: Follower,
    reporter: Arc<Reporter>,
    renewal: Renewal,
    _sender: Sender,
}

impl Tool {
    /// Starts a tool with this audience and identity. The evidence lies in the identity's
    /// directory, unless the options name another spool. Must be called inside a Tokio runtime.
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

    /// Waits for at most `within` until the revocations are known. Until then every call is
    /// refused.
    pub async fn ready(&self, within: Duration) -> Result<(), Error> {
        self.follower.ready(within).await
    }

    /// Returns the checker.
    pub fn checker(&self) -> Arc<Checker> {
        self.checker.clone()
    }

    /// Returns the follower of the revocation feed.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Returns the renewal of the tool's identity.
    pub fn renewal(&self) -> &Renewal {
        &self.renewal
    }

    /// Waits for at most `at_most` until the broker has recorded all evidence, and returns whether
    /// it has. The rest stays in the spool.
    pub async fn flushed(&self, at_most: Duration) -> bool {
        self.reporter.flushed(at_most).await
    }
}
