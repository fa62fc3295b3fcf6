//! What a tool asks before it does anything: may this call be made? SPEC sections 4 to 7: P6.
//!
//! Owns: what the check needs of this process (bundle, view, nonces, chains, clock), and the evidence of
//! what was decided. Does not own: the check itself and its order (`sublet_core::authorize`).
//!
//! Invariants: offline — nobody is asked; what is allowed is kept as evidence before anyone acts on it.
//! There is no switch that turns a step of the check off.

use std::sync::Arc;

use sublet_core::authorize::{Authorizer, Outcome, Permit};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::json::Json;
use sublet_core::base::limits;
use sublet_core::decide::ARGUMENTS_BYTES_MAX;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::refusal::{Malformed, Refusal, Unauthenticated};
use sublet_proto::credentials::{self, Credentials};
use sublet_proto::digest::MessageDigest;
use sublet_proto::v1::UseReport;

use crate::ports::Ports;
use crate::tool::follow::SharedView;
use crate::tool::inclusion::Included;
use crate::tool::spool::Reporter;
use crate::trust::Trust;
use sublet_host::chains::Chains;

/// What a tool may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// How old the revocation view, or the receipt that stands in for it, may be.
    pub staleness_ms_max: i64,
    /// How many used proofs are remembered.
    pub nonces: Bounds,
    /// For how long after the start proofs are refused that were issued in it. A caller whose
    /// clock runs ahead of this one could have used such a proof before a restart;
    /// [`limits::CLOCK_SKEW_MS`] closes that, at the price of refusing for as long.
    pub start_margin_ms: i64,
    /// About how many bytes of chains seen before are kept, so that they need not be verified
    /// again. 0 keeps none.
    pub chain_bytes_max: u64,
    /// Where decisions are kept as evidence until the broker has them; `None` keeps none.
    pub evidence: Option<Arc<Reporter>>,
    /// Whether every hop must be shown to be in the ledger, once for each: no log, no authority.
    pub require_inclusion: bool,
    /// Clocks and randomness.
    pub ports: Ports,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            staleness_ms_max: limits::STALENESS_MS_DEFAULT,
            nonces: Bounds::default(),
            start_margin_ms: 0,
            chain_bytes_max: 32 * 1024 * 1024,
            evidence: None,
            require_inclusion: false,
            ports: Ports::system(),
        }
    }
}

/// Checks the calls of one tool.
#[derive(Debug)]
pub struct Checker {
    audience: String,
    trust: Trust,
    revocations: SharedView,
    seen: ReplayCache,
    chains: Chains,
    included: Included,
    options: Options,
}

impl Checker {
    /// A checker for the tool of this name. Of several replicas each needs a name of its own:
    /// they do not share their nonces.
    pub fn new(
        audience: impl Into<String>,
        trust: impl Into<Trust>,
        revocations: SharedView,
        options: Options,
    ) -> Self {
        let started_at = options.ports.clock.now().plus_ms(options.start_margin_ms);
        Checker {
            audience: audience.into(),
            trust: trust.into(),
            revocations,
            seen: ReplayCache::new(options.nonces, started_at),
            chains: Chains::new(options.chain_bytes_max),
            included: Included::new(),
            options,
        }
    }

    /// The tool's name.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// How old the revocation view is; `None` when it has no head.
    pub fn age_ms(&self) -> Option<i64> {
        self.revocations.age_ms(&self.options.ports)
    }

    /// A call of this tool, to be checked.
    pub fn call(&self, action: impl Into<String>, arguments: Arguments) -> Call {
        Call { audience: self.audience.clone(), action: action.into(), arguments }
    }

    /// Decides one call, offline. A permit is for this call, now, and was given once.
    pub fn check(&self, credentials: &Credentials, call: &Call) -> Result<Permit, Refusal> {
        let now = self.options.ports.clock.now();
        let outcome = self.decide(credentials, call, now);
        let verdict = self.with_evidence(outcome, credentials, call, now);
        match &verdict {
            Ok(permit) => tracing::debug!(
                holder = %permit.holder, principal = %permit.principal, hop = %permit.hop,
                action = %call.action, "allowed"
            ),
            Err(refusal) => {
                tracing::info!(code = refusal.code(), action = %call.action, "refused: {refusal}")
            }
        }
        verdict
    }

    /// Decides one unary gRPC call behind `proto::digest::DigestLayer`. `fields` is what the tool
    /// read out of the message, as JSON: the arguments by name.
    pub fn check_request<M>(
        &self,
        request: &tonic::Request<M>,
        action: &str,
        fields: &Json,
    ) -> Result<Permit, Refusal> {
        let digest = request.extensions().get::<MessageDigest>();
        let digest = digest.ok_or(Unauthenticated::Missing("the digest of the message"))?;
        let credentials = credentials::from_metadata(request.metadata())?;
        let arguments = Arguments::from_digest(digest.0, fields).map_err(Malformed::from)?;
        self.check(&credentials, &self.call(action, arguments))
    }

    /// What is allowed is kept as evidence before anyone acts on it, and so is what was refused to a
    /// holder that proved itself. Whoever did not prove itself leaves no evidence.
    fn with_evidence(
        &self,
        Outcome { verdict, proven }: Outcome,
        shown: &Credentials,
        call: &Call,
        now: UnixMillis,
    ) -> Result<Permit, Refusal> {
        let (Some(reporter), Some(proven)) = (&self.options.evidence, proven) else {
            return verdict;
        };
        let code = match &verdict {
            Ok(_) => "",
            Err(Refusal::Deny(deny)) => deny.code(),
            Err(_) => return verdict,
        };
        let arguments = call.arguments.evidence();
        let kept = reporter.keep(UseReport {
            counter: 0,
            audience: call.audience.clone(),
            action: call.action.clone(),
            code: code.to_owned(),
            decided_at_ms: now.0,
            revocation_epoch: proven.revocations.epoch,
            revocation_sequence: proven.revocations.sequence,
            age_ms: proven.age_ms,
            staleness_ms_max: self.options.staleness_ms_max,
            arguments: if arguments.len() > ARGUMENTS_BYTES_MAX { Vec::new() } else { arguments },
            proof: shown.proof.clone(),
            token: shown.token.clone().unwrap_or_default(),
            receipt: shown.receipt.clone().unwrap_or_default(),
        });
        match (verdict, kept) {
            (Ok(permit), Ok(())) => Ok(permit),
            (Ok(_), Err(refusal)) => Err(refusal),
            (refused, _) => refused,
        }
    }

    fn decide(&self, shown: &Credentials, call: &Call, now: UnixMillis) -> Outcome {
        let bundle = self.trust.current();
        let authorizer = Authorizer {
            audience: &self.audience,
            bundle: &bundle,
            chains: &self.chains,
            revocations: self.revocations.by(&self.options.ports),
            staleness_ms_max: self.options.staleness_ms_max,
            seen: &self.seen,
        };
        authorizer.authorize_with(shown, call, now, |token| {
            if self.options.require_inclusion {
                let inclusion = shown.inclusion.as_deref();
                let head = self.included.check(token, inclusion, &bundle)?;
                if let (Some(reporter), Some((size, note))) = (&self.options.evidence, head) {
                    reporter.saw(size, note);
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
