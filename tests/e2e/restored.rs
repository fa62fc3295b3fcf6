//! An old copy comes back in place of what was there: of the store alone, which its broker notices, and of
//! all of the data directory, which those who follow its feed notice.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sublet_broker::config::Config;
use sublet_broker::serve::bind_with;
use sublet_client::broker::connect::Broker;
use sublet_client::ports::Ports;
use sublet_client::ports::{Clock, SystemClock, SystemRandom};
use sublet_client::tool::follow::Follower;
use sublet_client::trust::Trust;
use sublet_core::base::id::UnixMillis;
use sublet_core::revocation::feed::FeedPosition;

use crate::ledger::grow;
use crate::stage::{Stage, sublet_in};
use crate::walk::{enroll, issue};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

fn feed(stage: &Stage) -> (u64, u64) {
    let status = stage.sublet(&["status", "--output", "json"]).json();
    let number = |name: &str| status[name].as_u64().unwrap();
    (number("revocation_epoch"), number("revocation_sequence"))
}

// SPEC 9.6.1.
#[test]
fn a_store_that_is_older_than_its_mark_is_refused_with_words() {
    let mut stage = Stage::set();
    enroll(&stage, "planner");
    issue(&stage);
    assert!(stage.stop().success());
    let (store, old, new) = (stage.path("broker/store"), stage.path("old"), stage.path("new"));
    copy(&store, &old);
    stage.kill_and_restart();
    for number in 0..5 {
        let user = format!("user:u{number}@dev.sublet.example");
        stage.sublet(&["revoke", "principal", &user, "--yes", "--unknown-too"]).ok();
    }
    // Whoever was answered finds it marked, however the broker ends.
    stage.kill();
    copy(&store, &new);
    let data = stage.path("broker").display().to_string();
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data];
    let refused = |words: &str| sublet_in(stage.home.path(), &args).fails(1, words);
    put_back(&old, &store);
    refused("the store is older than it was");
    refused("0 revocations, and");
    refused("and 5. It is an old copy; put the newest store back");
    refused("store.reached to go on from this one");
    // Records alone, with all revocations, are noticed too.
    put_back(&new, &store);
    stage.kill_and_restart();
    assert_eq!(feed(&stage), (1, 5), "the newest one goes on");
    grow(&stage, 0..3);
    assert!(stage.stop().success());
    put_back(&new, &store);
    let refused = sublet_in(stage.home.path(), &args);
    refused.fails(1, "the store is older than it was");
    // What the words say helps.
    put_back(&old, &store);
    fs::remove_file(stage.path("broker/store.reached")).unwrap();
    stage.kill_and_restart();
    let (epoch, sequence) = feed(&stage);
    assert!(epoch > 1 && sequence == 0, "({epoch}, {sequence})");
    stage.kill_and_restart();
    assert_eq!(feed(&stage), (epoch, 0), "and it stays in it");
}

// SPEC 9.6.1.
#[test]
fn a_store_with_another_past_than_its_mark_is_refused() {
    let mut stage = Stage::set();
    assert!(stage.stop().success());
    let (data, old) = (stage.path("broker"), stage.path("old"));
    copy(&data, &old);
    stage.kill_and_restart();
    grow(&stage, 0..2);
    assert!(stage.stop().success());
    let mark = fs::read(stage.path("broker/store.reached")).unwrap();
    put_back(&old, &data);
    stage.kill_and_restart();
    grow(&stage, 10..20);
    assert!(stage.stop().success());
    fs::write(stage.path("broker/store.reached"), mark).unwrap();
    let data = data.display().to_string();
    let args = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data];
    sublet_in(stage.home.path(), &args).fails(1, "the store is another one than was here");
}

/// With its mark an old data directory is as good as new to its broker. Whoever has seen more is told so.
#[test]
fn a_follower_of_a_feed_that_was_rolled_back_says_what_to_do() {
    let mut stage = Stage::set();
    assert!(stage.stop().success());
    let (data, old) = (stage.path("broker"), stage.path("old"));
    copy(&data, &old);
    stage.kill_and_restart();
    let user = "user:mallory@dev.sublet.example";
    stage.sublet(&["revoke", "principal", user, "--yes", "--unknown-too"]).ok();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let follower = runtime.block_on(async {
        let trust = Trust::open(&stage.trust, Ports::system().clock.now()).unwrap();
        let broker = Broker::connect(&stage.endpoint).await.unwrap();
        let follower = Follower::start(broker, None, trust);
        follower.ready(Duration::from_secs(10)).await.unwrap();
        follower
    });
    assert_eq!(follower.view().position(), FeedPosition::new(1, 1));
    stage.kill();
    put_back(&old, &data);
    stage.kill_and_restart();
    let failure = runtime.block_on(async {
        let mut progress = follower.watch();
        let told = progress.wait_for(|now| {
            now.failure.as_ref().is_some_and(|failure| failure.code() == "feed_rolled_back")
        });
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        told.expect("a minute").unwrap().failure.clone().unwrap()
    });
    let detail = failure.to_string();
    for words in ["What was revoked stays revoked here", "newest store back", "store.reached"] {
        assert!(detail.contains(words), "no {words:?} in {detail}");
    }
    // A new epoch is followed, and takes nothing away.
    stage.kill();
    fs::remove_file(stage.path("broker/store.reached")).unwrap();
    stage.kill_and_restart();
    runtime.block_on(async {
        let mut progress = follower.watch();
        let told = progress.wait_for(|now| now.position.epoch > 1 && now.failure.is_none());
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("a minute").unwrap();
    });
    let mallory = sublet_core::revocation::feed::Revocation::Principal(user.parse().unwrap());
    let held = follower.view().read(&Ports::system(), |view, _| view.is_revoked(&mallory));
    assert!(held, "what was revoked stays so");
}

/// A clock that somebody sets.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_ms(&self) -> u64 {
        SystemClock.monotonic_ms()
    }
}

/// A broker that started for the first time while its clock was ahead says what is in the way, once the clock
/// is right, and what its words say helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_with_the_clock_ahead_says_what_to_do() {
    let (home, true_time) = (tempfile::tempdir().unwrap(), SystemClock.now());
    let start = async |name: &str, ahead_ms: i64| {
        let config = Config::dev(home.path().join(name), "127.0.0.1:0".parse().unwrap()).unwrap();
        let clock = Arc::new(Set(AtomicI64::new(true_time.plus_ms(ahead_ms).0)));
        for _ in 0..3_000 {
            let bound = bind_with(config.clone(), clock.clone(), Arc::new(SystemRandom)).await;
            match bound.map(drop) {
                // Whoever held the store lets go a moment after it is dropped; so does a process that another
                // test starts just now.
                Err(held)
                    if ["could not acquire lock", "another broker is at work"]
                        .iter()
                        .any(|words| held.to_string().contains(words)) =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                bound => return bound.map_err(|refused| refused.to_string()),
            }
        }
        panic!("the store is held");
    };
    assert_eq!(start("data", 3 * 3_600_000).await, Ok(()));
    let refused = start("data", 0).await.unwrap_err();
    for words in [
        "10800 seconds ahead of this machine's clock",
        "If the clock is wrong, set it and start again",
        "copy admin.pub of it into an empty one, and start again",
    ] {
        assert!(refused.contains(words), "no {words:?} in {refused}");
    }
    assert_eq!(start("data", 3 * 3_600_000 - 4_000).await, Ok(()), "when that time has come");
    fs::create_dir(home.path().join("anew")).unwrap();
    fs::copy(home.path().join("data/admin.pub"), home.path().join("anew/admin.pub")).unwrap();
    assert_eq!(start("anew", 0).await, Ok(()));
}
