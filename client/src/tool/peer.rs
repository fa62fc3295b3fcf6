//! Who calls, by its identity alone: an agent shows another, or any service, who it is. No authority
//! is asked for and none is given. SPEC sections 2.9, 5 and 7.
//!
//! Owns: what the check needs of this process. Does not own: the check itself (`sublet_core::authorize`). A
//! delegation is checked by `check`.
//!
//! Invariants: offline; the proof is for this very service, action and arguments, and good once; what
//! is missing, stale, suspended or revoked is a refusal; a delegation token introduces nobody.

use sublet_core::authorize::{Anew, Authorizer, Credentials, Peer};
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::replay_cache::ReplayCache;
use sublet_core::refusal::Refusal;

use crate::tool::checker::Options;
use crate::tool::follow::SharedView;
use crate::trust::Trust;

/// Recognises agents at the door of one service.
#[derive(Debug)]
pub struct PeerChecker {
    audience: String,
    trust: Trust,
    revocations: SharedView,
    seen: ReplayCache,
    options: Options,
}

impl PeerChecker {
    /// A checker for the service of this name, which proofs must be for. Of the options, those about
    /// authority (evidence, inclusion, chains) have no meaning here.
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

    /// Who shows these credentials, for this action with these arguments.
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
