//! A guarded tool with core alone: its keys, its feed, its requests. What it answers is
//! [`sublet_core::authorize`]'s, as of every tool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sublet_core::authorize::{
    AgedView, Anew, Authorizer, ChainMemory, Credentials, Digest, Permit,
};
use sublet_core::base::id::UnixMillis;
use sublet_core::base::limits::STALENESS_MS_DEFAULT;
use sublet_core::base::sign::Signer;
use sublet_core::evidence::call::{Arguments, Call};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::receipt::Receipt;
use sublet_core::evidence::replay_cache::{Bounds, ReplayCache};
use sublet_core::refusal::{Malformed, Refusal};
use sublet_core::revocation::feed::{FeedWriter, Revocation, RevocationView, SignedHead};
use sublet_core::token::verify::{Coverage, VerifiedToken};
use sublet_core::trust::bundle::{KeyUse, TrustBundle};

use crate::fleet::{AUDIENCE, Fleet, NOW, key_id, nonce};

/// What arrives at a tool.
#[derive(Clone, Debug)]
pub struct Request {
    /// The token's bytes.
    pub token: Vec<u8>,
    /// The receipt's bytes; empty when there is none.
    pub receipt: Vec<u8>,
    /// The call proof's bytes.
    pub proof: Vec<u8>,
    /// The action called.
    pub action: String,
    /// Its arguments, as JSON.
    pub arguments: String,
}

impl Request {
    /// A call at `NOW` under a token, signed by `signer`, who should be its holder.
    pub fn new(token: &VerifiedToken, signer: &dyn Signer, action: &str, arguments: &str) -> Self {
        Request::at(NOW, token, signer, action, arguments)
    }

    /// A call that its holder dates `issued_at`.
    pub fn at(
        issued_at: UnixMillis,
        token: &VerifiedToken,
        signer: &dyn Signer,
        action: &str,
        arguments: &str,
    ) -> Self {
        // What does not parse is hashed as it stands; it is refused before the hash is looked at.
        let digest = Arguments::from_json(arguments.as_bytes()).map_or([0; 32], |a| a.digest());
        let nonce = nonce(&[&token.id().0, action.as_bytes(), &digest, &issued_at.0.to_be_bytes()]);
        let claims = CallClaims::of_digest(token.id(), AUDIENCE, action, digest, issued_at, nonce);
        Request {
            token: token.encode(),
            receipt: Vec::new(),
            proof: CallProof::sign(claims, signer).unwrap().encode(),
            action: action.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    /// The same with a receipt.
    #[must_use]
    pub fn with(mut self, receipt: &Receipt) -> Self {
        self.receipt = receipt.encode();
        self
    }
}

/// A tool, and the feed that it follows.
pub struct Tool {
    /// Its name.
    pub audience: String,
    /// Whom it trusts.
    pub bundle: TrustBundle,
    /// The broker's side of the feed.
    pub feed: FeedWriter,
    /// What the tool knows of revocations.
    pub view: RevocationView,
    /// Its monotonic clock.
    pub monotonic_ms: u64,
    seen: ReplayCache,
    /// Of the same tool that remembers chains.
    seen_too: ReplayCache,
    memory: Memory,
}

impl Tool {
    /// A tool that was started a minute before `NOW` and has seen a head at `NOW`.
    pub fn new(fleet: &Fleet) -> Self {
        let domain = fleet.bundle.trust_domain().clone();
        let mut tool = Tool {
            audience: AUDIENCE.to_owned(),
            bundle: fleet.bundle.clone(),
            feed: FeedWriter::new(domain.clone(), 1),
            view: RevocationView::new(domain),
            monotonic_ms: 0,
            seen: ReplayCache::new(Bounds::default(), NOW.plus_ms(-60_000)),
            seen_too: ReplayCache::new(Bounds::default(), NOW.plus_ms(-60_000)),
            memory: Memory::default(),
        };
        tool.follow(NOW);
        tool
    }

    /// A tool that was restarted at this time and lost its memory.
    pub fn restarted(fleet: &Fleet, at: UnixMillis) -> Self {
        Tool::new(fleet).remembering(Bounds::default(), at)
    }

    /// A tool that holds at most this many proofs of one holder.
    pub fn with_quota(fleet: &Fleet, per_holder: usize) -> Self {
        Tool::new(fleet).remembering(Bounds { total: 10, per_holder }, NOW.plus_ms(-60_000))
    }

    fn remembering(self, bounds: Bounds, since: UnixMillis) -> Self {
        let set = || ReplayCache::new(bounds, since);
        Tool { seen: set(), seen_too: set(), ..self }
    }

    /// A signed head of the feed at this time.
    pub fn head(&self, time: UnixMillis) -> Vec<u8> {
        let signer = Fleet::signer(KeyUse::Feed);
        let signed = SignedHead::sign(self.feed.head(time), key_id(KeyUse::Feed), &signer);
        signed.unwrap().encode()
    }

    /// Takes in what the feed has, with a head of this time.
    pub fn follow(&mut self, time: UnixMillis) {
        let (epoch, sequence) = (self.view.epoch(), self.view.sequence());
        let deltas: Vec<Vec<u8>> =
            self.feed.deltas_after(epoch, sequence).map(|(_, bytes)| bytes.to_vec()).collect();
        for delta in deltas {
            self.view.apply_delta(&delta).unwrap();
        }
        let head = self.head(time);
        self.view.apply_head(&head, &self.bundle, time, self.monotonic_ms).unwrap();
    }

    /// Revokes something, and lets the tool hear of it.
    pub fn revoke(&mut self, revocation: Revocation) {
        self.feed.append(revocation, NOW, NOW.plus_ms(86_400_000));
        self.follow(NOW);
    }

    /// Decides a request at `NOW`.
    pub fn answer(&self, request: &Request) -> Result<Permit, Refusal> {
        self.answer_at(NOW, request)
    }

    /// Decides a request. The authorizer is asked twice, once with a memory of chains and once without,
    /// and must say the same.
    pub fn answer_at(&self, now: UnixMillis, request: &Request) -> Result<Permit, Refusal> {
        let arguments = Arguments::from_json(request.arguments.as_bytes());
        let arguments = arguments.map_err(Malformed::Arguments)?;
        let (audience, action) = (self.audience.clone(), request.action.clone());
        let call = Call { audience, action, arguments };
        let shown = Credentials {
            token: Some(request.token.clone()),
            receipt: Some(request.receipt.clone()).filter(|receipt| !receipt.is_empty()),
            proof: request.proof.clone(),
            inclusion: None,
        };
        let anew = self.authorizer(now, &Anew, &self.seen).authorize(&shown, &call, now);
        let known =
            self.authorizer(now, &self.memory, &self.seen_too).authorize(&shown, &call, now);
        assert_eq!(anew, known, "a chain that is remembered is decided like one that is not");
        anew.verdict
    }

    fn authorizer<'a, M: ChainMemory>(
        &'a self,
        now: UnixMillis,
        chains: &'a M,
        seen: &'a ReplayCache,
    ) -> Authorizer<'a, M, AgedView<'a>> {
        let age_ms = self.view.age_ms(now, self.monotonic_ms);
        Authorizer {
            audience: &self.audience,
            bundle: &self.bundle,
            chains,
            revocations: AgedView { view: &self.view, age_ms },
            staleness_ms_max: STALENESS_MS_DEFAULT,
            seen,
        }
    }
}

/// A memory of chains without a bound.
#[derive(Default)]
struct Memory {
    chains: Mutex<HashMap<(Digest, u64), Arc<VerifiedToken>>>,
    receipts: Mutex<HashMap<(Digest, u64), Arc<Coverage>>>,
}

impl ChainMemory for Memory {
    fn chain(&self, name: &Digest, bundle: u64) -> Option<Arc<VerifiedToken>> {
        self.chains.lock().unwrap().get(&(*name, bundle)).cloned()
    }

    fn keep_chain(&self, name: Digest, bundle: u64, chain: &Arc<VerifiedToken>, _: usize) {
        self.chains.lock().unwrap().entry((name, bundle)).or_insert_with(|| chain.clone());
    }

    fn drop_chain(&self, name: &Digest) {
        self.chains.lock().unwrap().retain(|(kept, _), _| kept != name);
    }

    fn coverage(&self, name: &Digest, bundle: u64) -> Option<Arc<Coverage>> {
        self.receipts.lock().unwrap().get(&(*name, bundle)).cloned()
    }

    fn keep_coverage(&self, name: Digest, bundle: u64, coverage: &Arc<Coverage>, _: usize) {
        self.receipts.lock().unwrap().insert((name, bundle), coverage.clone());
    }
}
