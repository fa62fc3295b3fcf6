//! The Sublet SDK for agents, for the helpers that they spawn, and for tools.
//!
//! An agent enrolls once, asks for a delegation on behalf of a principal, delegates attenuated parts
//! of it, and proves each call:
//!
//! ```no_run
//! use std::time::Duration;
//! use sublet_client::{Attenuation, Broker, Error, Grant, Identity};
//!
//! # async fn plan() -> Result<(), Error> {
//! let broker = Broker::connect("http://127.0.0.1:7460").await?;
//! let me = Identity::enroll(&broker, "sublet-join1.…", "agents/planner").await?;
//! let _renewal = me.keep_renewed();
//! let grant = Grant::of("user:alice@acme.example", &["fs.@tool://files path=under:/data"], Duration::from_secs(900))?;
//! let delegation = me.ask(&grant.hops(3).offline_hops(1)).await?;
//! let part = Attenuation::of(&["fs.read@tool://files path=under:/data/q3"], Duration::from_secs(300))?;
//! let for_researcher = delegation.delegate_to_agent(&"spiffe://acme.example/agent/researcher".parse()?, &part).await?;
//! println!("{}", for_researcher.to_text()); // only the researcher can use it
//! let scout = delegation.spawn_helper("scout", &part)?; // offline, with a fresh key
//! let shown = scout.credentials_for("tool://files", "fs.read", r#"{"path":"/data/q3/a.csv"}"#)?;
//! # let _ = shown; Ok(())
//! # }
//! ```
//!
//! A tool follows the revocation feed, decides offline, and reports its decisions:
//!
//! ```no_run
//! use std::time::Duration;
//! use sublet_client::{Error, Identity, Options, Tool};
//! use sublet_core::evidence::call::Arguments;
//!
//! # async fn serve(shown: sublet_proto::credentials::Credentials) -> Result<(), Error> {
//! let tool = Tool::start("tool://files", Identity::load("agents/files-tool")?, Options::default())?;
//! tool.ready(Duration::from_secs(10)).await?;
//! let checker = tool.checker();
//! let arguments = Arguments::from_json(br#"{"path":"/data/q3/a.csv"}"#)?;
//! let permit = checker.check(&shown, &checker.call("fs.read", arguments))?;
//! println!("{} for {}", permit.holder, permit.principal);
//! # Ok(())
//! # }
//! ```
//!
//! Owns: keys of agents, calls to the broker, the revocation view, the state of a tool's checks. Does
//! not own: the checks themselves (`sublet-core`), the form of messages (`sublet-proto`). Every error
//! is an [`Error`], except for a decision of a tool: that is a `sublet_core::refusal::Refusal`.

pub mod agent;
pub mod audit;
pub mod broker;
pub mod error;
pub mod files;
#[cfg(test)]
mod fixture;
pub mod ports;
pub mod tool;
pub mod trust;

pub use agent::delegation::{Attenuation, Delegation};
pub use agent::directory::Directory;
pub use agent::grant::{Consent, Grant};
pub use agent::identity::Identity;
pub use agent::renewal::Renewal;
pub use broker::connect::Broker;
pub use broker::credential::{Caller, Credential};
pub use broker::tls::Tls;
pub use error::{Error, Kind};
pub use ports::{Clock, Ports, RandomSource, SystemClock, SystemRandom};
pub use tool::checker::{Checker, Options};
pub use tool::follow::{Follower, SharedView};
pub use tool::guard::{Allowed, Guard};
pub use tool::peer::PeerChecker;
pub use tool::runtime::Tool;
pub use trust::Trust;
