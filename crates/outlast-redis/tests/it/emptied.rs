//! A Redis that has lost everything under the processes that are at work on it.

use std::sync::Arc;

use outlast_core::store::{Notice, Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, Error};

use crate::cost::{by, done, spec};
use crate::doubt::Ear;
use crate::server::{Server, open};

#[test]
fn a_store_that_comes_back_empty_is_begun_anew_by_those_who_go_on() {
    let server = Server::volatile();
    let address = server.address("flushed");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let [first, second] = [0, 1].map(|_| open(&address, Arc::clone(&clock)));
    let ears = [&first, &second].map(Ear::of);
    block_on(async {
        let id = first.create(spec(), None).await.unwrap().task.id();
        let lease = first.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        server.call(&["FLUSHALL"]);
        // Whoever finds it first begins it, and each hears of it.
        for ear in &ears {
            let emptied = |notice: &Notice| *notice == Notice::Emptied;
            ear.hears("it has lost everything", emptied).await;
        }
        assert!(first.get(id).await.unwrap().is_none());
        let late = first.finish(&lease, done(), None).await;
        assert!(
            matches!(late, Err(Error::NotFound(_) | Error::LeaseLost(_))),
            "{late:?}"
        );
        // The keys are this server's, so whoever starts now finds its store.
        let third = open(&address, Arc::clone(&clock));
        let next = third.create(spec(), None).await.unwrap().task.id();
        let claimed = second.claim(&by(), 1).await.unwrap().pop().unwrap();
        assert_eq!(claimed.task.id(), next);
        second.finish(&claimed.lease, done(), None).await.unwrap();
        check_invariants(&first).await;
    });
}

#[test]
fn a_restart_that_keeps_everything_empties_nothing() {
    let mut server = Server::durable();
    let store = open(&server.address("kept"), Arc::new(ManualClock::default()));
    let ear = Ear::of(&store);
    block_on(async {
        let id = store.create(spec(), None).await.unwrap().task.id();
        server.restart();
        let found = eventually("it answers", async || store.get(id).await.ok()).await;
        assert!(found.is_some());
        // A call after the next sign of life.
        let beats = || server.call(&["HGET", "{kept}:clock", "last"]);
        let before = beats();
        eventually("a sign of life", || {
            std::future::ready((beats() != before).then_some(()))
        })
        .await;
        assert!(!ear.has(|notice| *notice == Notice::Emptied));
    });
}
