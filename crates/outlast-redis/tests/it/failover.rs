//! A primary dies and a replica takes its place, found by sentinels or in a cluster: what replicas had
//! confirmed is there, callers are told to try again, and everything goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{Either, select};
use outlast_core::store::{BeatReply, Notice, Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, TaskId};
use outlast_redis::RedisStore;

use crate::cost::{by, done, spec};
use crate::doubt::Ear;
use crate::fleet::{Cluster, Node, Watched, follower};
use crate::server::open;

/// Creates tasks until it fails because the primary has gone, and says when there are many. What it returns was
/// acknowledged.
async fn create_until_it_has_gone(
    store: &RedisStore,
    told: &std::sync::mpsc::Sender<()>,
    gone: &AtomicBool,
) -> Vec<TaskId> {
    let mut acknowledged = Vec::new();
    loop {
        let asked = spec();
        let id = asked.id;
        // On a busy machine servers may take each other for dead before anybody is.
        let is_gone = gone.load(Ordering::SeqCst);
        match store.create(asked, None).await {
            Ok(_) => acknowledged.push(id),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                if is_gone {
                    return acknowledged;
                }
                continue;
            }
        }
        if acknowledged.len() == 30 {
            told.send(()).unwrap();
        }
    }
}

/// `kill` ends the primary, `follow` gives the next one a replica.
fn fails_over(address: &str, kill: impl FnOnce(), follow: impl FnOnce()) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let sure = open(&format!("{address}&wait_replicas=1"), Arc::clone(&clock));
    let near = open(address, Arc::clone(&clock));
    let far = open(address, clock);
    let ear = Ear::of(&far);
    let held = block_on(async {
        let asked = spec();
        eventually("the first is confirmed", async || {
            sure.create(asked.clone(), None).await.ok()
        })
        .await;
        let by = by();
        eventually("it is claimed", async || {
            sure.claim(&by, 1).await.ok()?.pop()
        })
        .await
        .lease
    });
    let (told, enough) = std::sync::mpsc::channel();
    let gone = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| block_on(create_until_it_has_gone(&sure, &told, &gone)));
        enough.recv().unwrap();
        kill();
        gone.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    block_on(async {
        eventually("the next primary answers", async || {
            near.create(spec(), None).await.ok()
        })
        .await;
        for id in acknowledged {
            let task = near.get(id).await.unwrap();
            assert!(task.is_some(), "{id} was acknowledged");
        }
        check_invariants(&near).await;

        // Who waits for a replica is told that there is none, and finds it done when there is one.
        let asked = spec();
        let error = eventually("it reaches the next primary", async || {
            let refused = sure.create(asked.clone(), None).await.unwrap_err();
            assert!(refused.is_retryable(), "{refused}");
            let unsure = refused.to_string().contains("0 have confirmed");
            unsure.then_some(refused)
        })
        .await;
        let made = near.get(asked.id).await.unwrap();
        assert!(made.is_some(), "{error}");
        let again = sure.create(asked.clone(), None).await;
        assert!(again.is_err(), "what was done before is not confirmed yet");
        follow();
        eventually("there is a replica", async || {
            sure.create(asked.clone(), None).await.ok()
        })
        .await;

        // The lease of before still holds, and nobody hears less than before.
        eventually("its end is confirmed", async || {
            match sure.finish(&held, done(), None).await {
                Err(error) if error.is_retryable() => None,
                ended => Some(ended.unwrap()),
            }
        })
        .await;
        let made = std::sync::Mutex::new(Vec::new());
        eventually("what is told at the next primary", async || {
            let id = near.create(spec(), None).await.ok()?.task.id();
            made.lock().unwrap().push(id);
            let made = made.lock().unwrap();
            let is_of = |notice: &Notice| matches!(notice, Notice::Changed { task, .. } if made.contains(task));
            ear.has(is_of).then_some(())
        })
        .await;
        check_invariants(&near).await;
    });
}

#[test]
fn sentinels_name_the_next_primary() {
    let watched = std::cell::RefCell::new(Watched::new());
    let address = watched.borrow().address("watched");
    fails_over(
        &address,
        || watched.borrow_mut().kill_primary(),
        || watched.borrow_mut().follow(),
    );
}

#[test]
fn a_replica_in_a_cluster_takes_the_slot() {
    let cluster = std::cell::RefCell::new(Cluster::quick());
    let prefix = cluster.borrow().prefix_of_first();
    let address = cluster.borrow().address(&prefix);
    fails_over(
        &address,
        || cluster.borrow_mut().kill_owner(),
        || cluster.borrow_mut().follow_owner(),
    );
}

#[test]
fn while_a_replica_stands_still_only_changes_wait_for_it() {
    let primary = Node::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let replica = follower(&primary);
    let address = format!(
        "redis://127.0.0.1:{}?volatile=true&wait_replicas=1",
        primary.port
    );
    let store = open(&address, Arc::new(ManualClock::default()));
    block_on(async {
        let id = store.create(spec(), None).await.unwrap().task.id();
        let by = by();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        replica.signal("STOP");
        let asked: Vec<_> = (0..20).map(|_| spec()).collect();
        // A process that was held up for seconds itself sees nothing of it, and looks again.
        eventually("a reading and a renewal overtake the changes", async || {
            let creates = asked.iter().map(|one| store.create(one.clone(), None));
            let changes = outlast_core::testing::join_all(creates);
            let others = async {
                let replies = store.heartbeat(vec![lease], by.lease).await.unwrap();
                assert_eq!(replies, [BeatReply::Held]);
                store.get(id).await.unwrap().unwrap();
            };
            let (changes, others) = (std::pin::pin!(changes), std::pin::pin!(others));
            let first = select(changes, others).await;
            let (overtaken, changes) = match first {
                Either::Left((changes, _)) => (false, changes),
                Either::Right(((), changes)) => (true, changes.await),
            };
            for change in changes {
                let error = change.expect_err("no replica has it");
                assert!(error.is_retryable(), "{error}");
            }
            overtaken.then_some(())
        })
        .await;
        replica.signal("CONT");
        for one in asked {
            let again = || store.create(one.clone(), None);
            eventually("the replica has it", async || again().await.ok()).await;
        }
        store.finish(&lease, done(), None).await.unwrap();
        check_invariants(&store).await;
    });
}
