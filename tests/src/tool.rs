//! What a guarded tool does with a request, with core alone.

use sublet_core::bundle::{KeyUse, TrustBundle};
use sublet_core::call::{Arguments, Call};
use sublet_core::decide::{CallView, Permit, decide_call};
use sublet_core::feed::{FeedWriter, Revocation, RevocationView, SignedHead};
use sublet_core::id::UnixMillis;
use sublet_core::limits::STALENESS_MS_DEFAULT;
use sublet_core::no::{Malformed, No, Overload, Unauthenticated};
use sublet_core::proof::{CallClaims, CallProof, Expected};
use sublet_core::receipt::Receipt;
use sublet_core::seen::{BadReplay, Bounds, SeenProofs};
use sublet_core::sign::Signer;
use sublet_core::token::UnverifiedToken;
use sublet_core::verify::{Coverage, Possession, VerifiedToken};

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
    seen: SeenProofs,
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
            seen: SeenProofs::new(Bounds::default(), NOW.plus_ms(-60_000)),
        };
        tool.follow(NOW);
        tool
    }

    /// A tool that was restarted at this time and lost its memory.
    pub fn restarted(fleet: &Fleet, at: UnixMillis) -> Self {
        let mut tool = Tool::new(fleet);
        tool.seen = SeenProofs::new(Bounds::default(), at);
        tool
    }

    /// A tool that holds at most this many proofs of one holder.
    pub fn with_quota(fleet: &Fleet, per_holder: usize) -> Self {
        let mut tool = Tool::new(fleet);
        let bounds = Bounds { total: 10, per_holder };
        tool.seen = SeenProofs::new(bounds, NOW.plus_ms(-60_000));
        tool
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
    pub fn answer(&self, request: &Request) -> Result<Permit, No> {
        self.answer_at(NOW, request)
    }

    /// Decides a request: read, verify, possession, receipt, decision, and last that it is new.
    pub fn answer_at(&self, now: UnixMillis, request: &Request) -> Result<Permit, No> {
        self.bundle.check_time(now).map_err(Malformed::Bundle)?;
        let arguments = Arguments::from_json(request.arguments.as_bytes());
        let arguments = arguments.map_err(Malformed::Arguments)?;
        let token = UnverifiedToken::decode(&request.token).map_err(Malformed::Token)?;
        let token = VerifiedToken::verify(token, &self.bundle)?;
        let proof = CallProof::decode(&request.proof).map_err(Malformed::Proof)?;
        let expected = Expected {
            hop: token.id(),
            audience: &self.audience,
            action: &request.action,
            arguments_hash: arguments.digest(),
        };
        let possession = Possession::verify(&token, &proof, &expected, now)?;
        let coverage = match request.receipt.as_slice() {
            [] => None,
            bytes => {
                let receipt = Receipt::decode(bytes).map_err(Malformed::Receipt)?;
                Some(Coverage::verify(receipt, &token, &self.bundle)?)
            }
        };
        let view = CallView {
            revocations: &self.view,
            age_ms: self.view.age_ms(now, self.monotonic_ms),
            staleness_ms_max: STALENESS_MS_DEFAULT,
            coverage: coverage.as_ref(),
        };
        let (audience, action) = (self.audience.clone(), request.action.clone());
        let call = Call { audience, action, arguments };
        let permit = decide_call(&token, &possession, &call, view, now)?;
        let claims = possession.claims();
        let holder = token.holder_key().thumbprint();
        match self.seen.check_and_insert(holder, claims.nonce, claims.issued_at, now) {
            Ok(()) => Ok(permit),
            Err(bad @ (BadReplay::Replayed | BadReplay::BeforeStart)) => {
                Err(Unauthenticated::Replay(bad).into())
            }
            Err(bad) => Err(Overload::Proofs(bad).into()),
        }
    }
}
