//! Who calls, by its identity alone: an agent shows another, or any service, who it is. No authority
//! is asked for and none is given. SPEC sections 2.9, 5 and 7.
//!
//! Owns: the order of the checks. Does not own: any of them. A delegation is checked by `check`.
//!
//! Invariants: offline; the proof is for this very service, action and arguments, and good once; what
//! is missing, stale, suspended or revoked is a refusal; a delegation token introduces nobody.

use sublet_core::call::{Arguments, Call};
use sublet_core::decide::{CallView, Peer, decide_peer};
use sublet_core::no::{Malformed, No};
use sublet_core::proof::Expected;
use sublet_core::seen::SeenProofs;
use sublet_core::token::UnverifiedToken;
use sublet_core::verify::{Possession, VerifiedToken};
use sublet_proto::credentials::Credentials;

use crate::check::{Options, check_there, spend};
use crate::follow::SharedView;
use crate::trust::Trust;

/// Recognises agents at the door of one service.
#[derive(Debug)]
pub struct PeerChecker {
    audience: String,
    trust: Trust,
    revocations: SharedView,
    seen: SeenProofs,
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
        let seen = SeenProofs::new(options.nonces, started_at);
        PeerChecker { audience: audience.into(), trust: trust.into(), revocations, seen, options }
    }

    /// Who shows these credentials, for this action with these arguments.
    pub fn check(
        &self,
        shown: &Credentials,
        action: &str,
        arguments: Arguments,
    ) -> Result<Peer, No> {
        let now = self.options.ports.clock.now();
        let bundle = self.trust.current();
        bundle.check_time(now).map_err(Malformed::from)?;
        check_there(shown)?;
        let proof = shown.call_proof()?;
        let token = UnverifiedToken::decode(&shown.token).map_err(Malformed::from)?;
        let token = VerifiedToken::verify(token, &bundle)?;
        let call = Call { audience: self.audience.clone(), action: action.to_owned(), arguments };
        let expected = Expected {
            hop: token.id(),
            audience: &call.audience,
            action,
            arguments_hash: call.arguments.digest(),
        };
        let possession = Possession::verify(&token, &proof, &expected, now)?;
        let peer = self.revocations.read(&self.options.ports, |revocations, age_ms| {
            let staleness_ms_max = self.options.staleness_ms_max;
            let view = CallView { revocations, age_ms, staleness_ms_max, coverage: None };
            decide_peer(&token, &possession, &call, view, now)
        })?;
        // Last, as in `check`: noise spends nothing.
        spend(&self.seen, &token, &possession, now)?;
        Ok(peer)
    }
}
