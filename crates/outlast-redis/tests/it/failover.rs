//! A primary dies and a replica takes its place, found by sentinels or in a cluster: what replicas had
//! confirmed is there, callers are told to try again, and everything goes on by itself.

use std::sync::Arc;

use outlast_core::store::{Notice, Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, TaskId};
use outlast_redis::RedisStore;

use crate::cost::{by, done, spec};
use crate::doubt::Ear;
use crate::fleet::{Cluster, Watched};
use crate::server::open;

/// Creates tasks until it fails, and says how many there are. What it returns was acknowledged.
async fn create_until_it_fails(
    store: &RedisStore,
    told: &std::sync::mpsc::Sender<()>,
) -> Vec<TaskId> {
    let mut acknowledged = Vec::new();
    loop {
        let asked = spec();
        let id = asked.id;
        match store.create(asked, None).await {
            Ok(_) => acknowledged.push(id),
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                return acknowledged;
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
        sure.create(spec(), None).await.unwrap();
        sure.claim(&by(), 1).await.unwrap().pop().unwrap().lease
    });
    let (told, enough) = std::sync::mpsc::channel();
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| block_on(create_until_it_fails(&sure, &told)));
        enough.recv().unwrap();
        kill();
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
        sure.finish(&held, done(), None).await.unwrap();
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
