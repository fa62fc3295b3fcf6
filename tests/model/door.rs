//! Who asks, shown to the broker as the shipped door asks it: a token, and a proof by a key.

use sublet_core::authorize::{Bound, prove, prove_key, verify_token};
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::HopId;
use sublet_core::base::sign::Signer as _;
use sublet_core::decide::caller::Caller;
use sublet_core::decide::{check_holder_key, check_names, keeps_an_identity};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::Actor;
use sublet_core::refusal::{Malformed, Refusal, Unauthenticated};
use sublet_core::token::UnverifiedToken;
use sublet_core::token::verify::TaintedIdentity;
use sublet_core::trust::bundle::KeyRefusal;
use sublet_tests::key;

use crate::ask::Who;
use crate::cast;
use crate::fault::Fault;
use crate::world::{Held, World};

/// The name of the broker, for proofs.
const BROKER: &str = "https://sublet.acme.example";

impl World {
    /// The caller of a request; `thief` is the number of another key that signs in its place.
    pub(crate) fn caller(
        &mut self,
        who: &Who,
        method: &str,
        thief: Option<usize>,
    ) -> Result<Caller, Refusal> {
        match who {
            Who::Admin => {
                let admin = thief.map_or_else(|| key("admin").into(), |n| self.keys.of(n).clone());
                let proof = self.proof(HopId([0; 32]), method, admin.as_ref());
                let public = key("admin").public_key().clone();
                let call = bound(method);
                let shown = prove_key(&public, HopId([0; 32]), &proof, &call, self.broker_now())?;
                Ok(Caller::admin(&public, &shown))
            }
            Who::Agent(..) | Who::Holder(_) => {
                let held = self.shown(who).expect("the draw names a token that there is");
                self.by_token(&held, method, thief)
            }
            Who::NewKey(number) => {
                let (brought, signer) =
                    (self.keys.of(*number), self.keys.of(thief.unwrap_or(*number)));
                let signature = signer.sign(b"enroll").unwrap();
                Ok(Caller::new_key(brought.public_key().clone(), b"enroll", &signature)?)
            }
            Who::User(login) => Ok(Caller::user(cast::login(*login))),
        }
    }

    /// The token that someone shows.
    pub(crate) fn shown(&self, who: &Who) -> Option<Held> {
        match who {
            Who::Agent(agent, back) => {
                let all = self.identities.get(agent)?;
                all.iter().rev().nth(*back).cloned()
            }
            Who::Holder(number) => self.wallet.get(*number).cloned(),
            Who::Admin | Who::NewKey(_) | Who::User(_) => None,
        }
    }

    fn proof(
        &mut self,
        hop: HopId,
        method: &str,
        signer: &sublet_core::base::sign::SecretKey,
    ) -> CallProof {
        let nonce = self.nonce();
        let claims = CallClaims::new(hop, BROKER, method, b"", self.now, nonce);
        CallProof::sign(claims, signer).unwrap()
    }

    fn by_token(
        &mut self,
        held: &Held,
        method: &str,
        thief: Option<usize>,
    ) -> Result<Caller, Refusal> {
        let taken = self.has(Fault::AnyKey);
        let signer = self.keys.of(thief.filter(|_| !taken).unwrap_or(held.key)).clone();
        let proof = self.proof(held.token.id(), method, signer.as_ref());
        let (now, state) = (self.broker_now(), self.broker.state());
        let bytes = held.token.encode();
        let token = match verify_token(&bytes, state.trust().bundle()) {
            Err(Refusal::Unauthenticated(Unauthenticated::Root(KeyRefusal::Tainted(_))))
                if keeps_an_identity(method) =>
            {
                let read = UnverifiedToken::decode(&bytes).map_err(Malformed::from)?;
                let identity = TaintedIdentity::verify(read, state.trust().bundle())?;
                let agent = state.agent(&identity.token().root().agent);
                let known = agent.and_then(|agent| agent.key.as_ref());
                if known != Some(identity.token().holder_key()) {
                    return Err(Unauthenticated::Missing("an identity that is not tainted").into());
                }
                let shown = prove(identity.token(), &proof, &bound(method), now)?;
                return Ok(Caller::tainted(identity, &shown)?);
            }
            read => read?,
        };
        let shown = prove(&token, &proof, &bound(method), now)?;
        if !token.is_identity() {
            check_names(&token, state)?;
            check_holder_key(&token, state, now)?;
        }
        Ok(Caller::holder(token, &shown)?)
    }

    /// How records must name whoever asks: by what it is, and by its own key.
    pub(crate) fn actor(&self, who: &Who) -> Actor {
        let thumbprint = |number: usize| self.keys.of(number).public_key().thumbprint();
        match who {
            Who::Admin => {
                let admin = key("admin").public_key().thumbprint();
                Actor { key: Some(admin), ..format!("admin:{admin}").into() }
            }
            Who::Agent(agent, _) => {
                let held = self.shown(who).unwrap();
                Actor {
                    key: Some(thumbprint(held.key)),
                    ..cast::agent_id(*agent).to_string().into()
                }
            }
            Who::Holder(_) => {
                let held = self.shown(who).unwrap();
                let (block, hop) = (held.token.last().block(), held.token.id());
                let name = match &block.helper {
                    Some(helper) => format!("{}#{helper}", block.agent),
                    None => block.agent.to_string(),
                };
                let own = self.reference.recorded.contains_key(&hop);
                Actor {
                    key: Some(thumbprint(held.key)),
                    hop: Some(hop),
                    recorded: self.above(&hop, own),
                    ..name.into()
                }
            }
            Who::NewKey(number) => {
                let key = thumbprint(*number);
                Actor { key: Some(key), ..format!("key:{key}").into() }
            }
            Who::User(login) => format!("login:{}", cast::login(*login).issuer).into(),
        }
    }
}

fn bound(method: &str) -> Bound<'_> {
    Bound { audience: BROKER, action: method, arguments_hash: sha256(b"") }
}
