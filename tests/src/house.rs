//! The broker's state, and its decisions committed to memory.

use std::sync::Arc;

use sublet_core::authorize::{Bound, prove, prove_key};
use sublet_core::base::bytes::sha256;
use sublet_core::base::id::{DelegationId, UnixMillis};
use sublet_core::base::key::{PublicKey, Thumbprint};
use sublet_core::base::sign::{SecretKey, Signer};
use sublet_core::decide::caller::{Caller, Kind};
use sublet_core::decide::{
    Context, Delegate, Entropy, Operation, RecordHop, Recording, RotateBrokerKey, Settings,
    Unsigned, Verdict, View, check_holder_key, check_names, decide,
};
use sublet_core::evidence::proof::{CallClaims, CallProof};
use sublet_core::evidence::record::{Body, Record};
use sublet_core::refusal::{Refusal, Unauthenticated};
use sublet_core::revocation::feed::Revocation;
use sublet_core::state::{
    Agent, AgentState, Delegation, Effects, KeyOwner, LedgerEnd, Mutation, Place, Placed,
    RecordedHop, Row, State,
};
use sublet_core::token::mint;
use sublet_core::token::verify::{Possession, TaintedIdentity, VerifiedToken};
use sublet_core::trust::bundle::{SignedBundle, TrustedKey};
use sublet_core::trust::rotation::{KeyStep, Schedule};

use crate::fleet::{Fleet, NOW, agent, key, nonce};

/// A broker without sockets and without a disk.
pub struct House {
    /// What it knows.
    pub state: State,
    /// What its clock says; `NOW` unless a test moves it.
    pub now: UnixMillis,
    settings: Settings,
    asked: u64,
    made: Vec<Arc<SecretKey>>,
    /// Everything that was recorded, in order.
    pub records: Vec<Record>,
}

impl House {
    /// The broker of a fleet that knows no agent yet.
    pub fn new(fleet: &Fleet) -> Self {
        House {
            state: State::new(fleet.signed_bundle()),
            now: NOW,
            settings: Settings {
                identity_ttl_seconds: 3600,
                schedule: Schedule { rotate_ms: 86_400_000, lead_ms: 3_600_000 },
                hops_live_max: 262_144,
            },
            asked: 0,
            made: Vec::new(),
            records: Vec::new(),
        }
    }

    /// A broker that has enrolled these agents, each with the key of its name, and issued this
    /// delegation.
    pub fn with(fleet: &Fleet, agents: &[&str], issued: &VerifiedToken) -> Self {
        let mut house = House::new(fleet);
        for name in agents {
            house.enroll(name, key(name).public_key().clone());
        }
        house.issued(issued);
        house
    }

    /// An active agent with this key.
    pub fn enroll(&mut self, name: &str, key: PublicKey) {
        let owner = KeyOwner { key: key.thumbprint(), agent: agent(name), revoked: false };
        self.state.put(Row::KeyOwner(owner));
        self.state.put(Row::Agent(Agent {
            id: agent(name),
            profile: "default".into(),
            state: AgentState::Active,
            key: Some(key),
            created_at: NOW,
            identity: None,
            former: None,
            version: 0,
        }));
    }

    /// Knows a delegation as issued here.
    pub fn issued(&mut self, token: &VerifiedToken) {
        let expires_at = sublet_core::base::id::UnixMillis::from_seconds(token.expires());
        self.state.put(Row::Delegation(Delegation {
            id: token.delegation(),
            principal: token.principal().unwrap().clone(),
            agent: token.root().agent.clone(),
            issued_at: NOW,
            expires_at,
            session: None,
            fan_out_max: sublet_core::base::limits::FAN_OUT_MAX,
            hops: 0,
            records: 0,
            last_leaf: [0; 32],
        }));
        let hop = RecordedHop {
            id: token.delegation(),
            parent: None,
            delegation: token.delegation(),
            position: 0,
            agent: token.root().agent.clone(),
            helper: None,
            key: token.signed_blocks()[0].next_key().thumbprint(),
            expires_at,
            maker: Some(token.root().agent.clone()),
            index: self.state.ledger().size,
        };
        let next = hop.index + 1;
        self.state.put(Row::Hop(hop));
        self.state.resume_ledger(LedgerEnd { size: next, last: NOW });
    }

    /// Whoever holds this token and proves it with this key.
    pub fn caller(token: &VerifiedToken, signer: &dyn Signer) -> Caller {
        let possession = House::possession(token, signer).unwrap();
        Caller::holder(token.clone(), &possession).unwrap()
    }

    /// Whoever holds this identity of a tainted root, with its key.
    pub fn tainted(identity: TaintedIdentity, signer: &dyn Signer) -> Caller {
        let possession = House::possession(identity.token(), signer).unwrap();
        Caller::tainted(identity, &possession).unwrap()
    }

    /// The call that every caller of this house proves.
    fn call() -> Bound<'static> {
        Bound { audience: "broker", action: "call", arguments_hash: sha256(b"") }
    }

    /// A proof by this signer for a call with this token, checked.
    pub fn possession(
        token: &VerifiedToken,
        signer: &dyn Signer,
    ) -> Result<Possession, Unauthenticated> {
        let claims = CallClaims::new(token.id(), "broker", "call", b"", NOW, nonce(&[b"caller"]));
        let proof = CallProof::sign(claims, signer).unwrap();
        prove(token, &proof, &House::call(), NOW)
    }

    /// An enrolled agent with its identity token and the key of its name.
    pub fn agent(fleet: &Fleet, name: &str) -> Caller {
        House::caller(&fleet.identity(name), &key(name))
    }

    /// The admin.
    pub fn admin() -> Caller {
        let admin: SecretKey = key("admin");
        let hop = sublet_core::base::id::HopId([0; 32]);
        let claims = CallClaims::new(hop, "broker", "call", b"", NOW, nonce(&[b"admin"]));
        let proof = CallProof::sign(claims.clone(), &admin).unwrap();
        let possession =
            prove_key(admin.public_key(), claims.hop, &proof, &House::call(), NOW).unwrap();
        Caller::admin(admin.public_key(), &possession)
    }

    /// Delegates: the caller sends its chain with the new hop last.
    pub fn delegate(
        &mut self,
        caller: &Caller,
        token: &VerifiedToken,
    ) -> Result<Recording, Refusal> {
        self.ask(caller, &Delegate { token: token.clone().into() })
    }

    /// Records a chain that was made offline.
    pub fn record(&mut self, caller: &Caller, token: &VerifiedToken) -> Result<Recording, Refusal> {
        self.ask(caller, &RecordHop { token: token.clone().into() })
    }

    /// How many hops that live one agent may have made.
    pub fn allow_hops(&mut self, live: u32) {
        self.settings.hops_live_max = live;
    }

    /// Whom the last record names as the one who acted; `None` where there is none.
    pub fn last_actor(&self) -> Option<&str> {
        self.records.last().map(|record| record.actor.name.as_str())
    }

    /// What would be decided of this at `NOW`; nothing is committed.
    pub fn decided<O: Operation>(&self, caller: &Caller, operation: &O) -> Verdict<O::Granted> {
        let view = View { state: &self.state, settings: &self.settings };
        decide(&Context { view, caller, now: NOW, entropy: &Entropy([7; 32]) }, operation)
    }

    /// Decides at `now` and commits. Whatever is recorded names the one who really acted.
    pub fn ask<O: Operation>(
        &mut self,
        caller: &Caller,
        operation: &O,
    ) -> Result<O::Granted, Refusal> {
        self.asked += 1;
        if let Kind::Holder(token) = caller.kind() {
            check_names(token, &self.state)?;
            check_holder_key(token, &self.state, NOW)?;
        }
        let entropy = Entropy(sha256(&self.asked.to_be_bytes()));
        let view = View { state: &self.state, settings: &self.settings };
        let cx = Context { view, caller, now: self.now, entropy: &entropy };
        let mut verdict = decide(&cx, operation);
        match verdict.unsigned.clone() {
            Some(Unsigned::Block(unsigned)) => {
                let (block, holder, id) = (unsigned.block, &unsigned.holder_key, unsigned.root.id);
                let token = mint::root(block, holder, id, self.signer(&unsigned.root).as_ref())?;
                verdict = verdict.sign::<O>(&token);
            }
            Some(Unsigned::Trust(next)) => {
                let signer = self.signer(&next.signer);
                let text = next.bundle.sign(next.signer.id, signer.as_ref()).unwrap();
                verdict = verdict.with_trust(SignedBundle::read(text.into_bytes()).unwrap());
            }
            None => {}
        }
        self.apply(verdict.effects);
        Ok(verdict.outcome?)
    }

    /// A record that names an agent names the one whose key signed: the one that it enrolled with, or had
    /// before. A hop to an agent goes to a key of that agent. The keys of this house are the truth that its
    /// records are held against.
    fn check_record(&self, record: &Record) {
        let owner =
            |key: &Thumbprint| self.state.key_owner(key).map(|owner| owner.agent.to_string());
        let actor = &record.actor;
        if actor.name.starts_with("spiffe://") && !actor.name.contains('#') {
            let key = actor.key.expect("an agent acts with a key");
            assert_eq!(
                owner(&key),
                Some(actor.name.clone()),
                "the record names another: {record:?}"
            );
        }
        if let Body::Issued(hop) | Body::HopRecorded(hop) = &record.body
            && hop.holder.helper.is_none()
        {
            assert_eq!(owner(&hop.key), Some(hop.holder.to_string()), "a false hop: {record:?}");
        }
    }

    /// Takes a step in the life of the broker's keys; a key that it needs is made first, as the broker does.
    pub fn rotate_broker_key(&mut self, caller: &Caller, step: KeyStep) -> Result<(), Refusal> {
        let number = self.made.len();
        let made = self.state.trust().bundle().makes(&step).map(|_| {
            let secret = key(&format!("broker key {number}"));
            self.made.push(Arc::new(secret));
            key(&format!("broker key {number}")).public_key().clone()
        });
        self.ask(caller, &RotateBrokerKey { step, reason: "a test".into(), made }).map(drop)
    }

    /// What a decision without a caller rests on.
    pub fn view<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        look(View { state: &self.state, settings: &self.settings })
    }

    /// Knows this as revoked.
    pub fn revoked(&mut self, revocation: Revocation) {
        let revoked = Mutation::Revoke { revocation, expires_at: UnixMillis(i64::MAX) };
        self.apply(Effects { mutations: vec![revoked], ..Effects::default() });
    }

    /// The private half of a key of the broker: one of the fleet's, or one that was made here.
    fn signer(&self, key: &TrustedKey) -> Arc<dyn Signer> {
        let made = self.made.iter().find(|made| *made.public_key() == key.public);
        made.map_or_else(
            || Arc::new(Fleet::signer(key.use_)) as Arc<dyn Signer>,
            |made| made.clone() as Arc<dyn Signer>,
        )
    }

    /// Applies what was decided: the way of the committer, without its disk.
    fn apply(&mut self, effects: Effects) {
        let Effects { preconditions, mutations, records } = effects;
        let records = records.into_iter().map(InMemory).collect();
        let effects = Effects { preconditions, mutations, records };
        let applied = self.state.apply(effects, self.now);
        for InMemory(record) in applied.expect("nothing else has changed the state").records {
            self.check_record(&record);
            self.records.push(record);
        }
    }
}

/// A record that lies in memory alone.
struct InMemory(Record);

impl Placed for InMemory {
    fn delegation(&self) -> Option<DelegationId> {
        self.0.delegation
    }

    fn is_hop(&self) -> bool {
        matches!(self.0.body, Body::HopRecorded(_))
    }

    fn place(&mut self, place: &Place) -> [u8; 32] {
        sha256(format!("{place:?} {:?}", self.0).as_bytes())
    }
}
