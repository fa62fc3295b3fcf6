use super::*;
use crate::base::id::{HopId, TrustDomain};
use crate::base::key::Thumbprint;
use crate::base::sign::{SecretKey, Signer as _};
use crate::revocation::feed::Revocation;
use crate::state::rows::retention::Hold;
use crate::state::{KeyOwner, Precondition, RecordedHop};
use crate::trust::bundle::{KeyId, KeyState, KeyUse, SignedBundle, TrustBundle, TrustedKey};

const NOW: UnixMillis = UnixMillis(1_000_000);

/// A record whose leaf hash tells its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    delegation: Option<DelegationId>,
    is_hop: bool,
    place: Option<Place>,
}

impl Leaf {
    fn of(delegation: Option<DelegationId>) -> Self {
        Leaf { delegation, is_hop: false, place: None }
    }
}

impl Placed for Leaf {
    fn delegation(&self) -> Option<DelegationId> {
        self.delegation
    }

    fn is_hop(&self) -> bool {
        self.is_hop
    }

    fn place(&mut self, place: &Place) -> [u8; 32] {
        self.place = Some(*place);
        [u8::try_from(place.index).unwrap() + 1; 32]
    }
}

fn domain() -> TrustDomain {
    "acme.example".parse().unwrap()
}

fn state() -> State {
    let signer = SecretKey::ed25519_from_seed([7; 32]);
    let key = TrustedKey {
        id: KeyId(1),
        use_: KeyUse::Bundle,
        alg: "ed25519".into(),
        public: signer.public_key().clone(),
        state: KeyState::Active,
        not_before: UnixMillis(0),
        not_after: NOW.plus_ms(1_000),
    };
    let bundle = TrustBundle::new(domain(), 1, NOW, NOW.plus_ms(1_000), vec![key]).unwrap();
    let text = bundle.sign(KeyId(1), &signer).unwrap();
    State::new(SignedBundle::read(text.into_bytes()).unwrap())
}

fn id(number: u8) -> HopId {
    HopId([number; 32])
}

fn delegation(number: u8) -> Delegation {
    Delegation {
        id: id(number),
        principal: "user:a@acme.example".parse().unwrap(),
        agent: "spiffe://acme.example/agent/a".parse().unwrap(),
        issued_at: NOW,
        expires_at: NOW.plus_ms(60_000),
        session: None,
        fan_out_max: 10,
        hops: 0,
        records: 0,
        last_leaf: [0; 32],
    }
}

fn hop(number: u8, parent: Option<u8>) -> RecordedHop {
    RecordedHop {
        id: id(number),
        parent: parent.map(id),
        delegation: id(1),
        position: 0,
        agent: "spiffe://acme.example/agent/a".parse().unwrap(),
        helper: None,
        key: Thumbprint([number; 32]),
        expires_at: NOW.plus_ms(60_000),
        maker: None,
        index: 0,
    }
}

fn apply(
    state: &mut State,
    preconditions: Vec<Precondition>,
    mutations: Vec<Mutation>,
    records: Vec<Leaf>,
) -> Result<Applied<Leaf>, Outdated> {
    state.apply(Effects { preconditions, mutations, records }, NOW)
}

#[test]
fn nothing_is_applied_of_what_is_outdated() {
    let mut state = state();
    let before = state.clone();
    let dead = vec![Precondition::FanOut(id(1), 1), Precondition::present(RowKey::Hop(id(1)))];
    let put = vec![Mutation::from(delegation(1)), Mutation::RaiseFloor(9)];
    assert_eq!(apply(&mut state, dead, put, vec![Leaf::of(None)]), Err(Outdated));
    assert_eq!(state, before);
}

// SPEC 9.3.
#[test]
fn a_delegation_counts_its_records_and_chains_their_leaves() {
    let mut state = state();
    let hop_of = |number, parent, record| Mutation::RecordHop { hop: hop(number, parent), record };
    let issued = vec![Mutation::from(delegation(1)), hop_of(1, None, 1)];
    let consented_and_issued = vec![Leaf::of(Some(id(1))), Leaf::of(Some(id(1)))];
    let first = apply(&mut state, vec![], issued, consented_and_issued).unwrap();
    let positions: Vec<_> = first.records.iter().map(|leaf| leaf.place.unwrap().position).collect();
    assert_eq!(positions, [0, 1]);
    assert_eq!(first.records[1].place.unwrap().previous, [1; 32]);
    // One row, however many records: the delegation as it is behind the last of them.
    let rows = first
        .changes
        .iter()
        .filter(|change| matches!(change, Change::Put(row) if matches!(**row, Row::Delegation(_))));
    assert_eq!(rows.count(), 1);
    assert_eq!(state.hop(&id(1)).unwrap().index, 1, "that of its own record");

    let record = Leaf { is_hop: true, ..Leaf::of(Some(id(1))) };
    let next = apply(&mut state, vec![], vec![hop_of(2, Some(1), 0)], vec![record]).unwrap();
    let place = next.records[0].place.unwrap();
    assert_eq!((next.first, place.index, place.position, place.previous), (2, 2, 2, [2; 32]));
    let row = state.delegation(&id(1)).unwrap();
    assert_eq!((row.records, row.hops, row.last_leaf), (3, 1, [3; 32]));
    assert_eq!(state.indices(&id(2)), Some(vec![1, 2]));
    assert_eq!(state.ledger(), LedgerEnd { size: 3, last: NOW });
}

#[test]
fn revocations_are_numbered_in_order_and_a_record_names_the_last_of_its_commit() {
    let mut state = state();
    let revoke = |number| Mutation::Revoke {
        revocation: Revocation::Hop(id(number)),
        expires_at: NOW.plus_ms(1),
    };
    let applied = apply(&mut state, vec![], vec![revoke(1), revoke(2)], vec![Leaf::of(None)]);
    let place = applied.unwrap().records[0].place.unwrap();
    assert_eq!((state.revocation_sequence(), place.revocation_sequence), (2, 2));
    assert_eq!(state.revoked(&Revocation::Hop(id(2))).unwrap().sequence, 2);
    for (number, sequence, is_there) in [(1, 1, true), (2, 2, true), (1, 2, false), (3, 3, false)] {
        let key = RowKey::Revocation(sequence, Revocation::Hop(id(number)));
        assert_eq!(state.meets(&[Precondition::present(key)]), is_there, "{number} at {sequence}");
    }
}

// SPEC 9.1.1.
#[test]
fn a_records_time_never_runs_back() {
    let mut state = state();
    for (now, recorded) in [(NOW, NOW), (UnixMillis(5), NOW), (NOW.plus_ms(1), NOW.plus_ms(1))] {
        let effects = Effects { records: vec![Leaf::of(None)], ..Effects::default() };
        let applied = state.apply(effects, now).unwrap();
        assert_eq!(applied.records[0].place.unwrap().time, recorded);
    }
}

// SPEC 9.10.
#[test]
fn the_floor_never_falls() {
    let mut state = state();
    for (raised, floor) in [(10, 10), (5, 10), (11, 11)] {
        let applied =
            apply(&mut state, vec![], vec![Mutation::RaiseFloor(raised)], vec![]).unwrap();
        assert_eq!(
            applied.changes,
            [Change::Put(Box::new(Row::Floor(floor)))],
            "what a restart reads"
        );
        assert_eq!(state.retention().floor(), floor);
    }
}

/// A store that applies the changes in order equals the state, so a restart changes nothing.
#[test]
fn whoever_follows_the_changes_has_the_same_state() {
    let (mut state, mut follower) = (state(), state());
    let hold = |to| Hold { name: "case".into(), from: 0, to, placed_at: NOW };
    let owner = KeyOwner {
        key: Thumbprint([1; 32]),
        agent: "spiffe://acme.example/agent/a".parse().unwrap(),
        revoked: false,
    };
    let dead = Mutation::Revoke { revocation: Revocation::Hop(id(1)), expires_at: NOW };
    let steps = [
        vec![Mutation::from(delegation(1)), Mutation::RecordHop { hop: hop(1, None), record: 0 }],
        vec![hold(4).into(), Mutation::RaiseFloor(3), owner.into()],
        vec![Mutation::RemoveLegalHold("case".into()), hold(9).into(), Mutation::ErasePayload(0)],
        vec![dead],
    ];
    for mutations in steps {
        let applied = apply(&mut state, vec![], mutations, vec![Leaf::of(Some(id(1)))]).unwrap();
        follower.follow(applied.changes, state.ledger());
        assert_eq!(follower, state);
    }
    assert_eq!(state.retention().hold("case").map(|hold| hold.to), Some(9));
    let expired = state.expire(NOW.plus_ms(60_001), 10);
    assert_eq!(expired, [Change::Forget(RowKey::Hop(id(1)))]);
    let dead = state.revoked(&Revocation::Hop(id(1))).unwrap().clone();
    let floor = FeedFloor { sequence: 1, hash: [7; 32] };
    let raised = state.raise_feed_floor(floor, vec![dead.clone()], vec![dead]);
    follower.follow(expired.into_iter().chain(raised), state.ledger());
    assert_eq!(follower, state);
    let again = state.revoked(&Revocation::Hop(id(1))).map(|delta| delta.sequence);
    assert_eq!(again, Some(2), "stated once more, behind the floor");
}

#[test]
fn effects_are_none_only_where_nothing_changes_and_nothing_is_recorded() {
    let preconditions = vec![Precondition::trust(1)];
    let (mutation, record) = (Mutation::from(delegation(1)), Leaf::of(None));
    for (mutations, records) in [
        (vec![], vec![]),
        (vec![mutation.clone()], vec![]),
        (vec![], vec![record.clone()]),
        (vec![mutation], vec![record]),
    ] {
        let is_empty = mutations.is_empty() && records.is_empty();
        let effects = Effects { preconditions: preconditions.clone(), mutations, records };
        assert_eq!(effects.is_empty(), is_empty, "{effects:?}");
    }
}

#[test]
fn a_change_of_the_trust_bundle_is_told_from_every_other() {
    let trust = state().trust().as_ref().clone();
    assert!(Mutation::from(trust).is_trust());
    assert!(!Mutation::from(delegation(1)).is_trust() && !Mutation::RaiseFloor(1).is_trust());
}
