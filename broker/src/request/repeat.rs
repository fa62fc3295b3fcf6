//! Repeated requests, and the answers that are kept for them. docs/decisions/0003.
//!
//! Owns: which answer is kept, and which caller gets it again. Does not own: how many answers are kept
//! (`core::answers`), which operations need none (`core::decide::Keeps`).
//!
//! Invariants: an answer is given again only to a valid caller, for the same request, under the key that
//! proved it. An identity that replaced another and was shown since is not given a second time.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sublet_core::base::id::{AgentId, Nonce, UnixMillis};
use sublet_core::decide::caller::{Account, Caller};
use sublet_core::decide::{self, Keeps, Operation, Verdict, View, keeps_an_identity};
use sublet_core::refusal::{Deny, Fault, Refusal};
use sublet_core::state::{AnswerKey, GivenAnswer, State};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::VerifiedToken;

use crate::store::{cbor, from_cbor};

/// How long an answer is kept: ten minutes. A client stops retrying after seconds, and a proof expires
/// after 30 s.
const ANSWER_MS: i64 = 10 * 60 * 1000;

/// What identifies a repeated request.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable {
    /// The idempotency key.
    pub key: [u8; 16],
    /// The SHA-256 of the request without its idempotency key.
    pub request: [u8; 32],
}

/// A request of a known caller, with the name under which its answer is kept.
pub(crate) struct Request {
    name: AnswerKey,
    request: [u8; 32],
    account: Option<Account>,
}

/// What is kept for a request.
pub(crate) enum Found<G> {
    /// The kept answer; or a refusal, if the idempotency key was used for another request or the answer
    /// showed a secret.
    Answer(Result<G, Deny>),
    /// A kept answer that is no longer valid. The request is decided again.
    Outdated,
    /// No answer is kept.
    Nothing,
}

impl Request {
    /// Makes it from the request. `None` if this operation keeps no answers, or if no key proved the request.
    pub(crate) fn of<O: Operation>(
        caller: &Caller,
        repeatable: Option<Repeatable>,
    ) -> Option<Self> {
        let Repeatable { key, request } = repeatable.filter(|_| O::KEEPS != Keeps::Nothing)?;
        let name = AnswerKey { caller: caller.key()?, method: O::METHOD.to_owned(), key };
        Some(Request { name, request, account: caller.account() })
    }

    /// Looks for the kept answer. Only a valid caller gets it.
    pub(crate) fn look<O: Operation>(
        &self,
        view: View<'_>,
        caller: &Caller,
        heard: &Heard,
        now: UnixMillis,
    ) -> Result<Found<O::Granted>, Refusal> {
        let Some(given) = view.state.answers().get(&self.name) else { return Ok(Found::Nothing) };
        let is_over = given.expires_at <= now;
        if is_over || decide::check_repeats(view, caller, O::METHOD, now).is_err() {
            return Ok(Found::Outdated);
        }
        if given.request != self.request {
            return Ok(Found::Answer(Err(Deny::IdempotencyConflict)));
        }
        let Some(bytes) = &given.answer else {
            return Ok(Found::Answer(Err(Deny::SecretShownOnce)));
        };
        let granted: O::Granted = from_cbor(bytes)?;
        let is_copy = heard.has_shown::<O>(&granted, caller);
        let is_answer = O::still_holds(&granted, view) && !is_copy;
        Ok(if is_answer { Found::Answer(Ok(granted)) } else { Found::Outdated })
    }

    /// Returns whether there is room to keep the answer.
    pub(crate) fn has_room<O: Operation>(&self, view: View<'_>) -> bool {
        let room = |account| view.state.answers().has_room(account);
        O::KEEPS == Keeps::TheIdentity || self.account.as_ref().is_some_and(room)
    }

    /// Returns the row that keeps the answer; `None` for a refusal. A refusal is decided again, because
    /// it changed nothing.
    pub(crate) fn answer<O: Operation>(
        &self,
        verdict: &Verdict<O::Granted>,
        now: UnixMillis,
    ) -> Result<Option<GivenAnswer>, Fault> {
        let Ok(granted) = &verdict.outcome else { return Ok(None) };
        let identity_of = O::identity(granted).and_then(identity).map(|(agent, _)| agent);
        let account = identity_of.clone().map(Account::Agent).or(self.account.clone());
        let Some(account) = account else { return Ok(None) };
        let kept = O::remembered(granted).map(cbor).transpose()?;
        let expires_at = match identity_of {
            Some(_) => UnixMillis(i64::MAX),
            None => now.plus_ms(ANSWER_MS),
        };
        Ok(Some(GivenAnswer {
            name: self.name.clone(),
            account,
            identity_of,
            request: self.request,
            answer: kept.map(serde_bytes::ByteBuf::from),
            expires_at,
        }))
    }
}

/// Returns the agent that an identity token names and the token's nonce; `None` if it is no identity token.
fn identity(token: &[u8]) -> Option<(AgentId, Nonce)> {
    let token = UnverifiedToken::decode(token).ok()?;
    let block = token.blocks().first()?.block();
    Some((block.agent.clone(), block.role.origin()?.nonce))
}

/// Which agents have shown their latest identity, and the time of the first call proof under it, by the
/// agent's clock. An agent that has shown an identity received the answer that gave it. A later request
/// for the same answer comes from somebody with a copy of the request. A request that was made earlier
/// and arrived late is the agent's own. This is held in memory only. After a restart the answer is given
/// again until the identity is shown again.
#[derive(Debug, Default)]
pub struct Heard(RwLock<HashMap<AgentId, (Nonce, UnixMillis)>>);

impl Heard {
    /// Notes that an agent has proven a call with this identity. Ignores an identity that is not the latest.
    pub(crate) fn saw(&self, shown: &VerifiedToken, proven_at: UnixMillis, state: &State) {
        let root = shown.root();
        let Some(origin) = root.role.origin() else { return };
        let given = state.agent(&root.agent).and_then(|agent| agent.identity);
        let is_last = given.is_some_and(|last| last.nonce == origin.nonce);
        if is_last && self.first(&root.agent, origin.nonce).is_none() {
            let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
            heard.insert(root.agent.clone(), (origin.nonce, proven_at));
        }
    }

    /// Returns when an agent first showed this identity; `None` if another identity was shown last.
    fn first(&self, agent: &AgentId, identity: Nonce) -> Option<UnixMillis> {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(agent).filter(|(nonce, _)| *nonce == identity).map(|(_, at)| *at)
    }

    /// Returns whether an identity that replaced another was shown before this caller asked for it.
    /// False for an identity that was given for a credential: the owner of the credential and the key
    /// may enroll again.
    fn has_shown<O: Operation>(&self, granted: &O::Granted, caller: &Caller) -> bool {
        if !keeps_an_identity(O::METHOD) {
            return false;
        }
        let given = O::identity(granted).and_then(identity);
        let shown_at = given.and_then(|(agent, nonce)| self.first(&agent, nonce));
        shown_at.zip(caller.proven_at()).is_some_and(|(shown, asked)| asked > shown)
    }
}
