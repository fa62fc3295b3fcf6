//! Requests that are sent again, and the answers that are kept for them. docs/decisions/0003.
//!
//! Owns: which answer is given again, to whom, and which is kept. Does not own: how many there are
//! (`core::answers`), the operations that need none (`core::decide::Keeps`).
//!
//! Invariants: an answer is given again only to a caller that is alive, for the same request, under the
//! key that proved it; an identity that was given in place of another and that somebody has shown since is
//! not given out a second time.

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

/// How long an answer is kept for a repeated request: ten minutes. A call is given up after seconds, and
/// a proof is over after 30.
const ANSWER_MS: i64 = 10 * 60 * 1000;

/// What makes a request repeatable: the caller's key for it, and what was asked.
#[derive(Clone, Copy, Debug)]
pub struct Repeatable {
    /// The idempotency key.
    pub key: [u8; 16],
    /// SHA-256 over the request without it.
    pub request: [u8; 32],
}

/// A request of a caller that is known, under which its answer is found.
pub(crate) struct Request {
    name: AnswerKey,
    request: [u8; 32],
    account: Option<Account>,
}

/// What is found where a request is looked for.
pub(crate) enum Found<G> {
    /// The answer that was given then, or that the key was used for something else.
    Answer(Result<G, Deny>),
    /// An answer that is none any more: the request is decided anew.
    Outdated,
    /// None.
    Nothing,
}

impl Request {
    /// `None` where no answer of this operation is kept, or nobody's key proved the request.
    pub(crate) fn of<O: Operation>(
        caller: &Caller,
        repeatable: Option<Repeatable>,
    ) -> Option<Self> {
        let Repeatable { key, request } = repeatable.filter(|_| O::KEEPS != Keeps::Nothing)?;
        let name = AnswerKey { caller: caller.key()?, method: O::METHOD.to_owned(), key };
        Some(Request { name, request, account: caller.account() })
    }

    /// Looks for the answer, which only a caller that is alive gets.
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

    /// Whether there is room for its answer.
    pub(crate) fn has_room<O: Operation>(&self, view: View<'_>) -> bool {
        let room = |account| view.state.answers().has_room(account);
        O::KEEPS == Keeps::TheIdentity || self.account.as_ref().is_some_and(room)
    }

    /// What is kept of the answer. Refusals are decided again: they change nothing.
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

/// The agent that an identity token names, and which of its identities it is.
fn identity(token: &[u8]) -> Option<(AgentId, Nonce)> {
    let token = UnverifiedToken::decode(token).ok()?;
    let block = token.blocks().first()?.block();
    Some((block.agent.clone(), block.role.origin()?.nonce))
}

/// Which agents have shown the identity that they were given last, and when each made the first proof under
/// it, by its own clock. Whoever has shown an identity has it: the answer that gave it arrived, and who asks
/// for it after that is another, with a copy of what was asked. A request that was made before it and came
/// late is the agent's own. It is known in this process alone: after a restart an answer is given again
/// until its identity is shown anew.
#[derive(Debug, Default)]
pub struct Heard(RwLock<HashMap<AgentId, (Nonce, UnixMillis)>>);

impl Heard {
    /// An agent has proven a call with this identity; one of before says nothing.
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

    /// When an agent first showed this identity, if it is the last one that it has shown.
    fn first(&self, agent: &AgentId, identity: Nonce) -> Option<UnixMillis> {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(agent).filter(|(nonce, _)| *nonce == identity).map(|(_, at)| *at)
    }

    /// Whether the identity that was given in place of another was shown before this caller asked for it. One
    /// that was given for a credential is not asked about: whoever has the credential and the key comes in
    /// again by them.
    fn has_shown<O: Operation>(&self, granted: &O::Granted, caller: &Caller) -> bool {
        if !keeps_an_identity(O::METHOD) {
            return false;
        }
        let given = O::identity(granted).and_then(identity);
        let shown_at = given.and_then(|(agent, nonce)| self.first(&agent, nonce));
        shown_at.zip(caller.proven_at()).is_some_and(|(shown, asked)| asked > shown)
    }
}
