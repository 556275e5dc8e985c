//! What happens to servers: killed, paused, full. What was acknowledged is there, callers are told to
//! try again, and everything goes on by itself.

use std::sync::Arc;

use outlast_core::store::{Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{RawJson, TaskSpec};

use crate::cost::{by, done, spec};
use crate::server::{Server, open};

#[test]
fn what_was_acknowledged_survives_the_server_s_death() {
    let mut server = Server::durable();
    let store = open(&server.address("kept"), Arc::new(ManualClock::default()));
    for _ in 0..3 {
        let (told, finished) = std::sync::mpsc::channel();
        let acknowledged = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                block_on(async {
                    let by = by();
                    let mut acknowledged = Vec::new();
                    loop {
                        let asked = spec();
                        let id = asked.id;
                        if store.create(asked, None).await.is_err() {
                            break;
                        }
                        acknowledged.push((id, false));
                        if acknowledged.len() > 50 {
                            // Heard once.
                            let _ = told.send(());
                        }
                        let Ok(mut claimed) = store.claim(&by, 1).await else {
                            break;
                        };
                        let Some(claimed) = claimed.pop() else {
                            continue;
                        };
                        let lease = claimed.lease;
                        if store.finish(&lease, done(), None).await.is_err() {
                            break;
                        }
                        acknowledged.push((lease.task, true));
                    }
                    acknowledged
                })
            });
            finished.recv().unwrap();
            server.restart();
            worker.join().unwrap()
        });
        block_on(async {
            // The first call may find the broken connection; the next one makes another.
            eventually("the store answers", async || store.stats().await.ok()).await;
            for (id, ended) in acknowledged {
                let task = store.get(id).await.unwrap().expect("it was acknowledged");
                assert!(!ended || task.is_finished());
            }
            check_invariants(&store).await;
        });
    }
}

#[test]
fn a_full_server_refuses_whole_operations_and_goes_on() {
    let server = Server::volatile();
    let store = open(&server.next_address(), Arc::new(ManualClock::default()));
    block_on(async {
        let by = by();
        let first = store.create(spec(), None).await.unwrap().task.id();
        let running = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        let ended = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        store.finish(&lease, done(), None).await.unwrap();
        server.call(&["CONFIG", "SET", "maxmemory", "1"]);
        let large = RawJson::of(&"x".repeat(10_000)).unwrap();
        let error = store
            .create(TaskSpec::new("tool", large), None)
            .await
            .expect_err("there is no room");
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("maxmemory"), "{error}");
        let error = store.finish(&running, done(), None).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        check_invariants(&store).await;
        assert!(store.get(first).await.unwrap().is_some(), "it can be read");
        assert!(
            store.delete(ended).await.unwrap(),
            "memory can be given back"
        );
        server.call(&["CONFIG", "SET", "maxmemory", "0"]);
        store.finish(&running, done(), None).await.unwrap();
        check_invariants(&store).await;
    });
}
