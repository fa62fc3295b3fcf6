//! Revocations and the feed that carries them: what a decision rests on, and how large the feed gets.

use std::sync::Arc;

use sublet_broker::store::{NotCommitted, Store};
use sublet_core::base::id::{HopId, UnixMillis};
use sublet_core::base::key::Thumbprint;
use sublet_core::decide::caller::Account;
use sublet_core::revocation::feed::{Revocation, RevocationView, SignedHead};
use sublet_core::state::{AnswerKey, GivenAnswer, Mutation, Precondition};
use sublet_core::trust::bundle::KeyUse;
use sublet_tests::{Fleet, NOW};

use super::{Disk, agent, agent_id, commit};

fn hop(n: u32) -> Revocation {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Revocation::Hop(HopId(id))
}

fn revoke(revocation: Revocation, expires_at: UnixMillis) -> Mutation {
    Mutation::Revoke { revocation, expires_at }
}

async fn done(
    store: &Store,
    guards: Vec<Precondition>,
    writes: Vec<Mutation>,
) -> Result<(), NotCommitted> {
    store.commit(commit(guards, writes, vec![])).await.map(drop)
}

/// Forgets until there is nothing left to forget.
async fn forget_all(store: &Store, before: UnixMillis) {
    while store.prune(before).await.unwrap() > 0 {}
}

/// Has a reader follow the feed as a tool does.
fn follow(view: &mut RevocationView, store: &Store, now: UnixMillis) {
    let (feed, bundle) = (store.feed().unwrap(), Fleet::new().signed_bundle());
    for (_, delta) in feed.deltas_after(view.epoch(), view.sequence()) {
        view.apply_delta(delta).unwrap();
    }
    let signer = Fleet::signer(KeyUse::Feed);
    let key = bundle.bundle().active(KeyUse::Feed).unwrap().id;
    let head = SignedHead::sign(feed.head(now), key, &signer).unwrap();
    view.apply_head(&head.encode(), bundle.bundle(), now, 0).unwrap();
}

// SPEC 7.2.3.
pub(super) async fn a_decision_rests_on_what_it_asked_and_on_no_other_revocation(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let forever = UnixMillis(i64::MAX);
    done(&store, vec![], vec![revoke(hop(1), forever)]).await.unwrap();
    let write = || vec![Mutation::from(agent("a", 0))];
    let dead = vec![Precondition::NotRevoked(vec![hop(2), hop(1)])];
    assert_eq!(done(&store, dead, write()).await, Err(NotCommitted::Changed));
    assert_eq!(
        done(&store, vec![Precondition::NotRevoked(vec![hop(2), hop(3)])], write()).await,
        Ok(())
    );
    // Of 128 revocations at once none is in the way of another.
    let revocations = (100..228u32).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let guards = vec![Precondition::NotRevoked(vec![hop(n), hop(5)])];
            done(&store, guards, vec![revoke(hop(n), forever)]).await
        })
    });
    for revoked in revocations.collect::<Vec<_>>() {
        assert_eq!(revoked.await.unwrap(), Ok(()));
    }
    // Of many that revoke one thing one does, and the others hear that it is done.
    let same = (0..64).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            done(
                &store,
                vec![Precondition::NotRevoked(vec![hop(999)])],
                vec![revoke(hop(999), forever)],
            )
            .await
        })
    });
    let mut granted = 0;
    for outcome in same.collect::<Vec<_>>() {
        granted += usize::from(outcome.await.unwrap().is_ok());
    }
    assert_eq!(granted, 1);
}

// SPEC 7.6.3.
pub(super) async fn the_feed_is_as_large_as_what_is_in_force(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let (soon, forever) = (NOW.plus_ms(1_000), UnixMillis(i64::MAX));
    let key = Revocation::AgentKey(Thumbprint([4; 32]));
    let suspended = |name: &str| Revocation::AgentSuspended(agent_id(name));
    let first = vec![revoke(key.clone(), forever), revoke(suspended("b"), forever)];
    done(&store, vec![], first).await.unwrap();
    done(&store, vec![], vec![revoke(suspended("a"), forever)]).await.unwrap();
    let (mut early, mut later) = (view(), view());
    follow(&mut early, &store, NOW);
    let resumed = Revocation::AgentResumed(agent_id("a"));
    done(&store, vec![], vec![revoke(resumed, forever)]).await.unwrap();
    for portion in 0..30u32 {
        let hops = (0..100).map(|n| revoke(hop(portion * 100 + n), soon)).collect();
        done(&store, vec![], hops).await.unwrap();
    }
    follow(&mut later, &store, NOW);
    forget_all(&store, NOW).await;
    assert_eq!(store.feed().unwrap().len(), 3_004, "nothing is over yet");

    let then = NOW.plus_ms(60_000);
    forget_all(&store, then).await;
    assert!(store.feed().unwrap().len() <= 2 * 2 + 1_024, "{}", store.feed().unwrap().len());
    let in_force = |store: &Store| {
        let state = store.view().unwrap();
        let known = [key.clone(), suspended("b"), suspended("a"), hop(1)];
        known.map(|known| state.revoked(&known).is_some())
    };
    assert_eq!(in_force(&store), [true, true, false, false]);
    let head = store.feed().unwrap().head(then);
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(store.feed().unwrap().head(then), head, "the feed goes on from its floor");
    assert_eq!(in_force(&store), [true, true, false, false]);

    // A reader from before, one that was cut off in between, and one that knows nothing agree.
    let mut fresh = view();
    for reader in [&mut early, &mut later, &mut fresh] {
        follow(reader, &store, then);
        reader.prune(then);
        let known = [key.clone(), suspended("b"), suspended("a"), hop(1)];
        assert_eq!(known.map(|known| reader.is_revoked(&known)), [true, true, false, false]);
    }
    // And it goes on.
    done(&store, vec![], vec![revoke(hop(9_999), forever)]).await.unwrap();
    follow(&mut fresh, &store, then.plus_ms(1));
    assert!(fresh.is_revoked(&hop(9_999)));
}

/// Pairs of suspension and resumption say nothing any more, however many there were.
pub(super) async fn what_was_lifted_leaves_the_feed(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let forever = UnixMillis(i64::MAX);
    for _ in 0..2_000 {
        let agent = agent_id("a");
        let pair = [Revocation::AgentSuspended(agent.clone()), Revocation::AgentResumed(agent)];
        let writes = pair.map(|revocation| revoke(revocation, forever)).to_vec();
        done(&store, vec![], writes).await.unwrap();
    }
    forget_all(&store, NOW).await;
    assert_eq!(store.feed().unwrap().len(), 0);
    assert_eq!(store.view().unwrap().revocation_sequence(), 4_000);
    drop(store);
    let store = disk.open().unwrap();
    done(&store, vec![], vec![revoke(hop(1), forever)]).await.unwrap();
    assert_eq!(store.view().unwrap().revocation_sequence(), 4_001, "numbers go on");
    assert_eq!(store.feed().unwrap().head(NOW).sequence, 4_001);
}

pub(super) async fn answers_are_counted_for_their_callers_over_a_restart(disk: &dyn Disk) {
    let store = disk.open().unwrap();
    let given = |number: u8, identity: bool| GivenAnswer {
        name: AnswerKey {
            caller: Thumbprint([number; 32]),
            method: "/m".into(),
            key: [number; 16],
        },
        account: Account::Agent(agent_id("a")),
        identity_of: identity.then(|| agent_id("a")),
        request: [1; 32],
        answer: None,
        expires_at: if identity { UnixMillis(i64::MAX) } else { NOW },
    };
    for number in 0..20 {
        let writes =
            vec![Mutation::from(given(number, false)), Mutation::from(given(100 + number, true))];
        done(&store, vec![], writes).await.unwrap();
    }
    drop(store);
    let store = Arc::new(disk.open().unwrap());
    let account = Account::Agent(agent_id("a"));
    let counted = || {
        let state = store.view().unwrap();
        (state.answers().of(&account), state.answers().len())
    };
    assert_eq!(counted(), (20, 21), "and one identity");
    {
        let state = store.view().unwrap();
        assert!(state.answers().get(&given(118, true).name).is_none());
        assert!(state.answers().get(&given(119, true).name).is_some());
    }
    forget_all(&store, NOW.plus_ms(1)).await;
    assert_eq!(counted(), (0, 1));
}

fn view() -> RevocationView {
    RevocationView::new("acme.example".parse().unwrap())
}
