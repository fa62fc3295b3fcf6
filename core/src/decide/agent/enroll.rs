//! Giving an agent an identity for a key: Enroll, Renew, RotateKey. SPEC 3.7, 2.11.

use crate::base::id::{AgentId, UnixMillis};
use crate::base::key::{PublicKey, Thumbprint};
use crate::base::limits;
use crate::biscuit::block::{Block, Origin, Role};
use crate::decide::agent::kept_identity::{RENEW, ROTATE_KEY, keeps_an_identity};
use crate::decide::caller::{Caller, Kind};
use crate::decide::join_token_hash;
use crate::decide::{Context, Decision, Grant, Keeps, Operation, Unsigned, UnsignedBlock, View};
use crate::evidence::record::{Attestation, Body};
use crate::evidence::workload::Attested;
use crate::refusal::{BadJoinToken, Deny};
use crate::revocation::feed::Revocation;
use crate::state::{
    Agent, AgentState, FormerKey, JoinTokenState, KeyOwner, LastIdentity, Mutation, Precondition,
    RowKey, SpentToken,
};
use crate::token::UnverifiedToken;
use crate::token::verify::VerifiedToken;
use crate::trust::bundle::KeyUse;

/// A request for an identity, by a caller with a new key and a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// The credential.
    pub credential: Credential,
    /// The agent that the caller expects to be; `None` leaves it to the credential.
    pub agent: Option<AgentId>,
}

/// The credential of an enrollment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A join token of this broker.
    JoinToken {
        /// The id of the join token.
        id: String,
        /// SHA-256 over the token that was shown (`admin::join_token_hash`).
        hash: [u8; 32],
    },
    /// A verified statement of another party about the workload.
    Attested(Box<Attested>),
}

impl Credential {
    /// Parses a join token in text form; `None` when it is none.
    pub fn from_join_token(text: &str) -> Option<Self> {
        let (id, _) = crate::decide::split_join_token(text)?;
        Some(Credential::JoinToken { id, hash: join_token_hash(text) })
    }
}

/// The agent that enrolls, and the changes to its credential.
struct Admitted {
    agent: Agent,
    /// Whether the agent is new.
    created: bool,
    preconditions: Vec<Precondition>,
    mutation: Option<Mutation>,
    join_token: Option<String>,
    attested: Option<Attestation>,
}

impl Operation for Enroll {
    /// The identity token's bytes.
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = "/sublet.v1.Identity/Enroll";
    const KEEPS: Keeps = Keeps::TheIdentity;

    fn describe(&self) -> String {
        let agent =
            self.agent.as_ref().map_or("the agent it was made for".to_owned(), ToString::to_string);
        match &self.credential {
            Credential::JoinToken { id, .. } => format!("join token {id} for {agent}"),
            Credential::Attested(shown) => {
                let subject = shown.claim("sub").unwrap_or_default();
                format!("a token of {} about {subject:?} for {agent}", shown.issuer)
            }
        }
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        let Kind::NewKey(key) = cx.caller.kind() else {
            return Err(Deny::Forbidden("the new key must sign the enrollment"));
        };
        let admitted = match &self.credential {
            Credential::JoinToken { id, hash } => self.invited(cx, id, hash)?,
            Credential::Attested(shown) => self.attested(cx, shown, key)?,
        };
        let agent = &admitted.agent;
        if agent.state == AgentState::Suspended {
            return Err(Deny::AgentNotActive {
                agent: agent.id.clone(),
                state: agent.state.name(),
            });
        }
        // An agent that enrolled and never got the answer asks again, with any credential that it
        // has by now.
        let own = agent.key.as_ref() == Some(key);
        let thumbprint = if own { key.thumbprint() } else { free_key(cx.view, &agent.id, key)? };
        // Repeating an old request must not make the agent with the key look like a copy. So the
        // earlier identity stays the last one, and the one that is issued now is younger.
        let last = agent.identity.filter(|_| own);
        let at_least = last.map_or(i64::MIN, |last| last.issued_at.saturating_add(1));
        let (mut grant, given) = identity(cx, agent, key, at_least)?;
        let given = last.unwrap_or(given);
        if admitted.created {
            grant.effects.preconditions =
                vec![Precondition::absent(RowKey::Agent(agent.id.clone()))];
            let body =
                Body::AgentCreated { agent: agent.id.clone(), profile: agent.profile.clone() };
            grant = grant.recording(cx.caller, body);
        }
        let body = Body::AgentEnrolled {
            agent: agent.id.clone(),
            key: thumbprint,
            join_token: admitted.join_token,
            attested: admitted.attested,
        };
        let grant = grant
            .requiring(admitted.preconditions)
            .changing(admitted.mutation)
            .recording(cx.caller, body);
        let grant = if own { grant } else { taking(grant, agent, key) };
        let former = if own { agent.former } else { None };
        Ok(active(grant, agent, key, given, former))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }

    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        is_current(granted, view)
    }

    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        Some(granted)
    }
}

impl Enroll {
    fn invited(&self, cx: &Context<'_>, id: &str, hash: &[u8; 32]) -> Result<Admitted, Deny> {
        let row = cx.view.state.join_token(id).filter(|row| row.hash == *hash);
        let row = row.ok_or(Deny::JoinToken(BadJoinToken::Unknown))?;
        let bad = match row.state {
            JoinTokenState::Spent => Some(BadJoinToken::Used),
            JoinTokenState::Revoked => Some(BadJoinToken::Revoked),
            JoinTokenState::Open if cx.now >= row.expires_at => Some(BadJoinToken::Expired),
            JoinTokenState::Open if self.agent.as_ref().is_some_and(|a| *a != row.agent) => {
                Some(BadJoinToken::OfAnother)
            }
            JoinTokenState::Open => None,
        };
        if let Some(bad) = bad {
            return Err(Deny::JoinToken(bad));
        }
        let agent = cx.view.state.agent(&row.agent);
        let agent = agent.ok_or_else(|| Deny::UnknownAgent { agent: row.agent.clone() })?.clone();
        let preconditions = vec![Precondition::unchanged(row)];
        let mut spent = row.clone();
        spent.state = JoinTokenState::Spent;
        spent.version += 1;
        Ok(Admitted {
            agent,
            created: false,
            preconditions,
            mutation: Some(Mutation::from(spent)),
            join_token: Some(row.id.clone()),
            attested: None,
        })
    }

    /// Returns the only agent that the rules of all profiles give for this workload.
    fn attested(
        &self,
        cx: &Context<'_>,
        shown: &Attested,
        key: &PublicKey,
    ) -> Result<Admitted, Deny> {
        let not = |detail: String| Deny::NotEnrollable { issuer: shown.issuer.clone(), detail };
        if shown.once && cx.view.state.is_spent(&shown.id) {
            return Err(Deny::CredentialUsed);
        }
        if cx.now >= shown.expires_at {
            return Err(not("it has expired".to_owned()));
        }
        let rules = cx
            .view
            .state
            .profiles()
            .flat_map(|profile| profile.enroll.iter().map(move |rule| (profile, rule)));
        let mut meant = rules.filter(|(_, rule)| rule.means(shown));
        let (profile, rule) = meant.next().ok_or_else(|| {
            not("no profile has a rule for a workload with its claims".to_owned())
        })?;
        if let Some((other, _)) = meant.next() {
            let detail = format!(
                "rules of the profiles {:?} and {:?} both match it",
                profile.name, other.name
            );
            return Err(not(detail));
        }
        let id = rule.agent(shown, cx.view.state.domain()).map_err(|bad| not(bad.to_string()))?;
        if id == cx.view.state.domain().issuer() {
            return Err(not("an agent is not the broker".to_owned()));
        }
        if let Some(asked) = self.agent.as_ref().filter(|asked| **asked != id) {
            return Err(not(format!("it is {id}, and {asked} was asked for")));
        }
        let known = cx.view.state.agent(&id);
        if let Some(agent) = known.filter(|agent| agent.profile != profile.name) {
            return Err(not(format!("{id} has the profile {:?}", agent.profile)));
        }
        let active = known.filter(|agent| agent.state == AgentState::Active);
        if active.is_some_and(|agent| agent.key.as_ref() != Some(key)) && !rule.rekey {
            return Err(Deny::AgentNotActive { agent: id, state: AgentState::Active.name() });
        }
        let created = known.is_none();
        let agent = known.cloned().unwrap_or_else(|| Agent::invited(id, &profile.name, cx.now));
        let spent = SpentToken { id: shown.id, expires_at: shown.expires_at };
        let profile = Precondition::unchanged(profile);
        Ok(Admitted {
            agent,
            created,
            preconditions: shown
                .once
                .then_some(Precondition::absent(RowKey::Spent(shown.id)))
                .into_iter()
                .chain([profile])
                .collect(),
            mutation: shown.once.then_some(Mutation::from(spent)),
            join_token: None,
            attested: Some(Attestation {
                method: shown.method,
                issuer: shown.issuer.clone(),
                token: shown.id,
                claims: String::from_utf8(shown.claims.canonical()).unwrap_or_default(),
            }),
        })
    }
}

/// A request for a new identity token for the agent's current key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew;

impl Operation for Renew {
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = RENEW;
    const KEEPS: Keeps = Keeps::TheIdentity;

    fn describe(&self) -> String {
        "a new identity".to_owned()
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        let agent = keeper(cx)?;
        let key = agent.key.clone().ok_or(Deny::Forbidden("the agent has no key"))?;
        let body = Body::AgentRenewed { agent: agent.id.clone(), key: key.thumbprint() };
        let (grant, given) = identity(cx, agent, &key, shown_at(cx.caller))?;
        let mut row = agent.clone();
        row.identity = Some(given);
        row.version += 1;
        Ok(grant.changing([Mutation::from(row)]).recording(cx.caller, body))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }

    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        is_current(granted, view)
    }

    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        Some(granted)
    }
}

/// A request to replace the agent's key. Possession of the new key was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateKey {
    /// The new key.
    pub new_key: PublicKey,
}

impl Operation for RotateKey {
    type Granted = serde_bytes::ByteBuf;
    const METHOD: &'static str = ROTATE_KEY;
    const KEEPS: Keeps = Keeps::TheIdentity;

    fn describe(&self) -> String {
        format!("the key {}", self.new_key.thumbprint())
    }

    fn decide(&self, cx: &Context<'_>) -> Decision<Self::Granted> {
        let agent = keeper(cx)?;
        let old = agent.key.as_ref().ok_or(Deny::Forbidden("the agent has no key"))?.thumbprint();
        let new = free_key(cx.view, &agent.id, &self.new_key)?;
        let body = Body::KeyRotated { agent: agent.id.clone(), old, new };
        let (grant, given) = identity(cx, agent, &self.new_key, shown_at(cx.caller))?;
        let former = FormerKey { key: old, until: cx.now };
        let grant = taking(grant.recording(cx.caller, body), agent, &self.new_key);
        Ok(active(grant, agent, &self.new_key, given, Some(former)))
    }

    fn with_token(_: Self::Granted, token: &VerifiedToken) -> Self::Granted {
        token.encode().into()
    }

    fn still_holds(granted: &Self::Granted, view: View<'_>) -> bool {
        is_current(granted, view)
    }

    fn identity(granted: &Self::Granted) -> Option<&[u8]> {
        Some(granted)
    }
}

/// The thumbprint of a key that never had an owner and was not revoked. An identity under a revoked key would be
/// dead.
fn free_key(view: View<'_>, agent: &AgentId, key: &PublicKey) -> Result<Thumbprint, Deny> {
    let thumbprint = key.thumbprint();
    if view.state.key_owner(&thumbprint).is_some() {
        return Err(Deny::KeyInUse);
    }
    if view.is_revoked(Revocation::AgentKey(thumbprint)) {
        return Err(Deny::KeyRevoked { hop: 0, agent: agent.clone() });
    }
    Ok(thumbprint)
}

/// Returns the agent that asks for another identity instead of the one that it shows. Refused if
/// another party has renewed since, or rotated away from the key that is shown: of two parties with
/// one key, one has a copy. An identity that is younger than the last known one is from before this
/// broker was restored from a backup, and no copy; but under a tainted root nothing proves that.
fn keeper<'a>(cx: &Context<'a>) -> Result<&'a Agent, Deny> {
    let shown = cx.caller.own_identity();
    let shown = shown.ok_or(Deny::Forbidden("only an agent may do this, with its identity"))?;
    let id = &shown.root().agent;
    let agent = cx.view.state.agent(id).ok_or_else(|| Deny::UnknownAgent { agent: id.clone() })?;
    let (Some(origin), Some(last)) = (shown.root().role.origin(), agent.identity) else {
        return if cx.caller.agent().is_some() { Ok(agent) } else { Err(Deny::RootRevoked) };
    };
    if agent.key.as_ref() == Some(shown.holder_key()) && is_no_older(origin, last) {
        let vouched = cx.caller.agent().is_some() || origin.nonce == last.nonce;
        return if vouched { Ok(agent) } else { Err(Deny::RootRevoked) };
    }
    Err(Deny::IdentityCloned { agent: id.clone() })
}

/// Returns when the shown identity was issued. The next one is not older, so the shown one does not
/// pass for a younger one, even within one second.
fn shown_at(caller: &Caller) -> i64 {
    let origin = caller.own_identity().and_then(|shown| shown.root().role.origin());
    origin.map_or(i64::MIN, |origin| origin.issued_at)
}

/// Returns whether a stored identity is still a valid answer: it was not renewed since, and the
/// agent is active.
fn is_current(given: &[u8], view: View<'_>) -> bool {
    let token = UnverifiedToken::decode(given).ok();
    let first = token.as_ref().and_then(|token| token.blocks().first());
    first.is_some_and(|first| {
        let (block, key) = (first.block(), first.next_key());
        let agent = view.state.agent(&block.agent);
        let agent = agent.filter(|agent| agent.state == AgentState::Active);
        let last = agent.filter(|agent| agent.key.as_ref() == Some(key));
        let last = last.and_then(|agent| agent.identity);
        last.zip(block.role.origin()).is_some_and(|(last, given)| is_no_older(given, last))
    })
}

/// Checks that a caller may be given a stored answer: it is valid, or it is the agent as it was
/// before the very rotation that it repeats. An agent whose rotation was granted but not answered
/// repeats it under the previous key, however much later.
pub fn check_repeats(
    view: View<'_>,
    caller: &Caller,
    method: &str,
    now: UnixMillis,
) -> Result<(), Deny> {
    match crate::decide::authority::chain::check_caller(view, caller, method, now) {
        Err(Deny::NotTheAgentsKey { hop: 0, .. })
            if method == RotateKey::METHOD && is_former(view, caller) =>
        {
            Ok(())
        }
        checked => checked,
    }
}

fn is_former(view: View<'_>, caller: &Caller) -> bool {
    let Kind::Agent(token) = caller.kind() else { return false };
    let former = view.state.agent(&token.root().agent).and_then(|row| row.former);
    former.is_some_and(|former| former.key == token.holder_key().thumbprint())
}

/// Returns whether an identity is the last known one, or younger.
fn is_no_older(origin: &Origin, last: LastIdentity) -> bool {
    origin.nonce == last.nonce || origin.issued_at > last.issued_at
}

/// Converts the refusal of a caller that proved a key which the agent has rotated away from: such a
/// caller has a copy of it. Under a tainted root anybody may have made the identity, so that proves
/// nothing.
pub(in crate::decide) fn cloned(view: View<'_>, caller: &Caller, method: &str, deny: Deny) -> Deny {
    match &deny {
        Deny::NotTheAgentsKey { hop: 0, agent }
            if keeps_an_identity(method) && is_former(view, caller) =>
        {
            Deny::IdentityCloned { agent: agent.clone() }
        }
        _ => deny,
    }
}

/// Makes a key the agent's own, for ever.
fn taking(
    grant: Grant<serde_bytes::ByteBuf>,
    agent: &Agent,
    key: &PublicKey,
) -> Grant<serde_bytes::ByteBuf> {
    let owner = KeyOwner { key: key.thumbprint(), agent: agent.id.clone(), revoked: false };
    grant
        .requiring([Precondition::absent(RowKey::KeyOwner(owner.key))])
        .not_revoked([Revocation::AgentKey(owner.key)])
        .changing([Mutation::from(owner)])
}

/// Makes the agent active with this key and this identity.
fn active(
    grant: Grant<serde_bytes::ByteBuf>,
    agent: &Agent,
    key: &PublicKey,
    given: LastIdentity,
    former: Option<FormerKey>,
) -> Grant<serde_bytes::ByteBuf> {
    let mut row = agent.clone();
    row.state = AgentState::Active;
    row.key = Some(key.clone());
    row.identity = Some(given);
    row.former = former;
    row.version += 1;
    grant.changing([Mutation::from(row)])
}

/// Returns a grant of an identity token to be signed, issued now, or at `at_least` if that is
/// later.
fn identity(
    cx: &Context<'_>,
    agent: &Agent,
    key: &PublicKey,
    at_least: i64,
) -> Result<(Grant<serde_bytes::ByteBuf>, LastIdentity), Deny> {
    let seconds = cx.now.seconds().max(at_least);
    let root = cx.view.signing(KeyUse::Identity, cx.now)?;
    let ttl = cx.view.settings.identity_ttl_seconds.min(limits::IDENTITY_SECONDS_MAX);
    let origin = Origin {
        issuer: cx.view.state.domain().issuer(),
        nonce: cx.entropy.nonce("identity"),
        issued_at: seconds,
        not_before: seconds.saturating_sub(limits::BACKDATE_SECONDS),
    };
    let given = LastIdentity { nonce: origin.nonce, issued_at: origin.issued_at };
    let block = Block {
        role: Role::Identity { origin },
        agent: agent.id.clone(),
        helper: None,
        // An identity must not outlive the key that signed it.
        not_after: seconds.saturating_add(ttl).min(root.not_after.seconds()),
        hops_max: 0,
        offline_hops_max: 0,
        scope: None,
    };
    let mut grant =
        Grant::read(serde_bytes::ByteBuf::new()).requiring([Precondition::unchanged(agent)]);
    let unsigned = UnsignedBlock { block, holder_key: key.clone(), root: root.clone() };
    grant.unsigned = Some(Unsigned::Block(Box::new(unsigned)));
    Ok((grant, given))
}
