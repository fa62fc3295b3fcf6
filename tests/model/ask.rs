//! All that may be asked of the broker, as one type, and how the shipped code decides it.

use sublet_core::decide::{
    ApplyProfile, Context, CreateAgent, CreateJoinToken, CreateLegalHold, Delegate, EndSessions,
    Enroll, Erase, GrantSession, Inspect, Invitation, Issue, Issued, ListDelegations, Operation,
    Prune, RecordHop, Recording, RemoveLegalHold, Renew, ReportUses, ReportVerifierState,
    RestorePrincipal, Restored, ResumeAgent, Revoke, RevokeAgentKey, RevokeFormerKeys,
    RevokeJoinToken, RotateBrokerKey, RotateKey, SuspendAgent, Unsigned, Verdict, decide,
};
use sublet_core::refusal::Deny;
use sublet_core::state::Effects;
use sublet_core::state::rows::session::Session;
use sublet_core::token::verify::VerifiedToken;

use crate::broker::Signers;

/// What was granted, as far as the model needs it.
#[derive(Clone, Debug)]
pub(crate) enum Granted {
    /// An identity token.
    Identity(Vec<u8>),
    /// A delegation.
    Issued(Issued),
    /// Hops were recorded.
    Recording(Recording),
    /// A join token.
    Invitation(Invitation),
    /// A session.
    Session(Session),
    /// Sessions ended, with what was issued in them.
    Ended,
    /// A principal is back.
    Restored(Restored),
    /// Something else.
    Other,
}

/// A decision, with what was signed for it.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    /// What was granted, or why not.
    pub(crate) outcome: Result<Granted, Deny>,
    /// What it does.
    pub(crate) effects: Effects,
    /// Whether it is the refusal of a caller that is not alive.
    pub(crate) is_dead: bool,
}

macro_rules! asks {
    ($($kind:ident => $granted:expr),* $(,)?) => {
        /// Something that is asked of the broker.
        #[derive(Clone, Debug)]
        pub(crate) enum Ask {
            $(#[doc = stringify!($kind)] $kind($kind)),*
        }

        impl Ask {
            /// Its name.
            pub(crate) fn name(&self) -> &'static str {
                match self { $(Ask::$kind(_) => stringify!($kind)),* }
            }

            /// The names of all.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($kind)),*];

            /// The method's path.
            pub(crate) fn method(&self) -> &'static str {
                match self { $(Ask::$kind(_) => <$kind as Operation>::METHOD),* }
            }

            /// What is asked, in words.
            pub(crate) fn describe(&self) -> String {
                match self { $(Ask::$kind(operation) => operation.describe()),* }
            }

            /// Decides it by the shipped code, and has signed what must be signed first.
            pub(crate) fn decide(&self, cx: &Context<'_>, signers: &Signers) -> Decided {
                match self { $(Ask::$kind(operation) => decided(cx, operation, signers, $granted)),* }
            }
        }
    };
}

asks!(
    CreateAgent => Granted::Invitation,
    CreateJoinToken => Granted::Invitation,
    RevokeJoinToken => other,
    ApplyProfile => other,
    SuspendAgent => other,
    ResumeAgent => other,
    RevokeAgentKey => other,
    Enroll => identity,
    Renew => identity,
    RotateKey => identity,
    RevokeFormerKeys => other,
    Issue => Granted::Issued,
    Delegate => Granted::Recording,
    RecordHop => Granted::Recording,
    Revoke => other,
    RestorePrincipal => Granted::Restored,
    GrantSession => Granted::Session,
    EndSessions => ended,
    ReportUses => other,
    ReportVerifierState => other,
    Prune => other,
    Erase => other,
    CreateLegalHold => other,
    RemoveLegalHold => other,
    RotateBrokerKey => other,
    Inspect => other,
    ListDelegations => other,
);

fn other<G>(_: G) -> Granted {
    Granted::Other
}

fn ended(_: (u64, u64)) -> Granted {
    Granted::Ended
}

fn identity(token: serde_bytes::ByteBuf) -> Granted {
    Granted::Identity(token.into_vec())
}

fn decided<O: Operation>(
    cx: &Context<'_>,
    operation: &O,
    signers: &Signers,
    granted: impl Fn(O::Granted) -> Granted,
) -> Decided {
    let mut verdict: Verdict<O::Granted> = decide(cx, operation);
    match verdict.unsigned.clone() {
        Some(Unsigned::Block(unsigned)) => {
            let token = signers.block(&unsigned);
            verdict = verdict.sign::<O>(&token);
        }
        Some(Unsigned::Trust(next)) => {
            let trust = signers.trust(&next);
            verdict = verdict.with_trust(trust);
        }
        None => {}
    }
    let Verdict { outcome, effects, is_dead, .. } = verdict;
    Decided { outcome: outcome.map(granted), effects, is_dead }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// The admin.
    Admin,
    /// An agent, with one of its identities: 0 for the last that it was given, 1 for the one before.
    Agent(usize, usize),
    /// The holder of a token, by the token's number in the wallet.
    Holder(usize),
    /// Someone with a new key, by the key's number.
    NewKey(usize),
    /// A user, by the number of the login.
    User(usize),
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) who: Who,
    /// For what.
    pub(crate) ask: Ask,
    /// The idempotency key, if it has one.
    pub(crate) keyed: Option<[u8; 16]>,
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.who {
            Who::Admin => write!(f, "the admin")?,
            Who::Agent(agent, back) => {
                write!(f, "{} (identity {back} back)", crate::cast::agent_id(*agent).path())?;
            }
            Who::Holder(held) => write!(f, "the holder of token {held}")?,
            Who::NewKey(key) => write!(f, "key {key}")?,
            Who::User(login) => write!(f, "{}", crate::cast::login(*login))?,
        }
        write!(f, " asks {}: {}", self.ask.name(), self.ask.describe())
    }
}

/// Signs with the broker's keys.
impl Signers {
    fn block(&self, unsigned: &sublet_core::decide::UnsignedBlock) -> VerifiedToken {
        let (block, root) = (unsigned.block.clone(), &unsigned.root);
        sublet_core::token::mint::root(block, &unsigned.holder_key, root.id, self.of(root)).unwrap()
    }
}
