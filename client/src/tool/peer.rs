//! Authentication of a caller by its identity token alone. It gives no authority. SPEC sections
//! 2.9, 5 and 7.
//!
//! Owns: the state that the check needs in this process. Does not own: the check itself
//! (`sublet_core::authorize`), the check of a delegation (`checker`).
//!
//! Invariants: the check is offline; the proof is for this service, action and arguments, and is
//! accepted once; whatever is missing, stale, suspended or revoked leads to a refusal; a delegation
//! token is refused.

use sublet_core::authorize::{Anew, Authorizer, Credentials, Peer};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::replay_cache::ReplayCache;
use sublet_core::refusal::Refusal;

use crate::tool::checker::Options;
use crate::tool::follow::SharedView;
use crate::trust::Trust;

/// Authenticates agents that call one service.
///
/// ```no_run
/// use sublet_client::{Identity, Options, PeerChecker, SharedView};
/// use sublet_core::evidence::call::Arguments;
///
/// # fn example(view: SharedView) -> Result<(), Box<dyn std::error::Error>> {
/// let me = Identity::load("agents/mailer")?;
/// let peers = PeerChecker::new("svc://mailer", me.trust().clone(), view, Options::default());
///
/// // The caller, usually in another process:
/// let caller = Identity::load("agents/planner")?;
/// let shown = caller.credentials_for("svc://mailer", "mail.list", r#"{"folder":"in"}"#)?;
///
/// let arguments = Arguments::from_json(br#"{"folder":"in"}"#)?;
/// let peer = peers.check(&shown, "mail.list", arguments)?;
/// println!("{} calls", peer.agent);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PeerChecker {
    audience: String,
    trust: Trust,
    revocations: SharedView,
    seen: ReplayCache,
    options: Options,
}

impl PeerChecker {
    /// Returns a checker for the service with this audience. The options about authority (evidence,
    /// inclusion, chains) have no effect here.
    pub fn new(
        audience: impl Into<String>,
        trust: impl Into<Trust>,
        revocations: SharedView,
        options: Options,
    ) -> Self {
        let started_at = options.ports.clock.now().plus_ms(options.start_margin_ms);
        let seen = ReplayCache::new(options.nonces, started_at);
        PeerChecker { audience: audience.into(), trust: trust.into(), revocations, seen, options }
    }

    /// Returns the agent that shows these credentials for this action and these arguments.
    pub fn check(
        &self,
        shown: &Credentials,
        action: &str,
        arguments: Arguments,
    ) -> Result<Peer, Refusal> {
        let now = self.options.ports.clock.now();
        let bundle = self.trust.current();
        let authorizer = Authorizer {
            audience: &self.audience,
            bundle: &bundle,
            chains: &Anew,
            revocations: self.revocations.by(&self.options.ports),
            staleness_ms_max: self.options.staleness_ms_max,
            seen: &self.seen,
        };
        let call = Call { audience: self.audience.clone(), action: action.to_owned(), arguments };
        authorizer.recognise(shown, &call, now)
    }
}
