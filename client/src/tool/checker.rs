//! The decision of a tool on each call, before it does anything. SPEC sections 4 to 7: P6.
//!
//! Owns: the state that the check needs in this process (bundle, revocation view, replay cache,
//! verified chains, clock), and the evidence of each decision. Does not own: the check itself and
//! its order (`sublet_core::authorize`).
//!
//! Invariants: the check is offline; a permitted call is in the spool as evidence before the tool
//! acts on it; no option turns a step of the check off.

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

/// Settings of a [`Checker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The greatest age of the revocation view, or of the receipt that stands in for it, in
    /// milliseconds.
    pub staleness_ms_max: i64,
    /// The limits of the replay cache.
    pub nonces: Bounds,
    /// How long after the start proofs are refused that were issued in that time, in milliseconds.
    /// A caller whose clock is ahead could have used such a proof before a restart.
    /// [`limits::CLOCK_SKEW_MS`] closes that gap, but also refuses valid calls for as long. The
    /// default is 0.
    pub start_margin_ms: i64,
    /// About how many bytes of verified chains are cached, so that they are not verified again. 0
    /// caches none.
    pub chain_bytes_max: u64,
    /// The spool of the evidence, until the broker has recorded it; `None` keeps no evidence.
    pub evidence: Option<Arc<Reporter>>,
    /// Whether every hop must be proven to be in the ledger. A hop is proven once for each version
    /// of the trust bundle.
    pub require_inclusion: bool,
    /// The clock and random source.
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

/// Decides the calls to one tool, offline.
///
/// ```
/// use sublet_client::{Checker, Options, SharedView, Trust};
/// use sublet_core::evidence::call::Arguments;
/// # use sublet_core::base::{id::UnixMillis, sign::{SecretKey, Signer}};
/// # use sublet_core::trust::bundle::{KeyId, KeyState, KeyUse, TrustBundle, TrustedKey};
/// # use sublet_proto::credentials::Credentials;
/// # let (key, end) = (SecretKey::ed25519_from_seed([1; 32]), UnixMillis(4_000_000_000_000));
/// # let listed = TrustedKey {
/// #     use_: KeyUse::Bundle, id: KeyId(1), alg: "ed25519".into(), public: key.public_key().clone(),
/// #     not_before: UnixMillis(0), not_after: end, state: KeyState::Active,
/// # };
/// # let domain = "acme.example".parse()?;
/// # let bundle = TrustBundle::new(domain, 1, UnixMillis(0), end, vec![listed]).unwrap();
/// let trust = Trust::new(bundle); // usually `Trust::open` of a trust.json
/// let view = SharedView::empty(trust.domain()); // usually the view of a `Follower`
/// let checker = Checker::new("tool://files", trust, view, Options::default());
///
/// let call = checker.call("fs.read", Arguments::from_json(br#"{"path":"/data/a.csv"}"#)?);
/// let refusal = checker.check(&Credentials::default(), &call).unwrap_err();
/// assert_eq!(refusal.code(), "credentials_missing"); // no token and no proof was shown
/// # Ok::<(), sublet_client::Error>(())
/// ```
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
    /// Returns a checker for the tool with this audience. Replicas do not share their replay
    /// caches, so each needs an audience of its own.
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

    /// Returns the tool's audience.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Returns the age of the revocation view in milliseconds; `None` when it has no head.
    pub fn age_ms(&self) -> Option<i64> {
        self.revocations.age_ms(&self.options.ports)
    }

    /// Returns a call to this tool, for [`Checker::check`].
    pub fn call(&self, action: impl Into<String>, arguments: Arguments) -> Call {
        Call { audience: self.audience.clone(), action: action.into(), arguments }
    }

    /// Decides one call at the current time, offline. A permit is for this call only: the proof is
    /// accepted once.
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

    /// Decides one unary gRPC call behind `proto::digest::DigestLayer`. `fields` holds the
    /// arguments by name, as a JSON object that the tool read from the message.
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

    /// Stores the evidence of a permitted call before anyone acts on it, and of a refusal to a
    /// holder that proved possession. Nothing is stored about any other caller.
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
