//! What is told apart when nobody answers: an outage of Redis from the death of a worker, a commit
//! whose reply got lost from one that never was, and a Redis that has lost its last writes from one
//! that has not.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::{ClaimBy, ClaimNow, Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, Error, Phase, TaskId, Timestamp, WorkerId};
use outlast_redis::{Options, RedisStore};

use crate::cost::{by, done, spec};
use crate::fleet::Node;
use crate::proxy::{Lines, Proxy};
use crate::server::{Server, open};

/// A store that goes by the time of the server.
fn open_timed(address: &str) -> RedisStore {
    RedisStore::open(Options::new(address, "test")).expect("a store that opens")
}

pub(crate) async fn reaches(store: &RedisStore, id: TaskId, phase: Phase) {
    eventually("the phase", async || {
        let task = store.get(id).await.ok()??;
        (task.state.phase == phase).then_some(())
    })
    .await;
}

#[test]
fn a_claim_whose_reply_got_lost_is_given_back() {
    let server = Server::volatile();
    let proxy = Proxy::new(&server.socket());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let near = open(&server.address("lost"), Arc::clone(&clock));
    let far = open(&proxy.address("lost"), clock);
    block_on(async {
        let mut fragile = spec();
        fragile.repeatable = false;
        let id = near.create(fragile, None).await.unwrap().task.id();
        let by = by();
        proxy.mute(Lines::All);
        let (claimed, ()) = futures_util::future::join(far.claim(&by, 1), async {
            reaches(&near, id, Phase::Running).await;
            proxy.cut(Lines::All);
        })
        .await;
        let error = claimed.expect_err("the reply is lost");
        assert!(error.is_retryable(), "{error}");
        // Nobody runs it, and no lease has to run out first: the clock stands still.
        reaches(&near, id, Phase::Queued).await;
        let claimed = near.claim(&by, 1).await.unwrap().pop().unwrap();
        assert_eq!(
            claimed.task.state.attempt, 1,
            "the lost claim was no attempt"
        );
        near.finish(&claimed.lease, done(), None).await.unwrap();

        // An end whose reply got lost can be reported again, and what it has claimed comes back.
        let (first, second) = (near.create(spec(), None).await.unwrap().task.id(), spec());
        let second = near.create(second, None).await.unwrap().task.id();
        let lease = far.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        proxy.mute(Lines::All);
        let finish = far.finish(&lease, done(), Some(&by));
        let (finished, ()) = futures_util::future::join(finish, async {
            reaches(&near, second, Phase::Running).await;
            proxy.cut(Lines::All);
        })
        .await;
        assert!(finished.expect_err("the reply is lost").is_retryable());
        let again = far.finish(&lease, done(), None).await.unwrap();
        assert_eq!(again.task.id(), first);
        assert!(again.task.is_finished());
        reaches(&near, second, Phase::Queued).await;

        // A creation that was claimed for a task that runs already can be repeated.
        let (running, now) = (spec(), Some(ClaimNow::Running(by.clone())));
        proxy.mute(Lines::All);
        let create = far.create(running.clone(), now.clone());
        let (created, ()) = futures_util::future::join(create, async {
            reaches(&near, running.id, Phase::Running).await;
            proxy.cut(Lines::All);
        })
        .await;
        created.expect_err("the reply is lost");
        let again = far.create(running, now).await.unwrap();
        let lease = again.lease.expect("it is the one who claimed it");
        far.finish(&lease, done(), None).await.unwrap();
        check_invariants(&near).await;
    });
}

#[test]
fn a_store_that_has_lost_its_last_writes_cannot_be_fooled() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let [first, second] = [0, 1].map(|_| open(&server.address("lossy"), Arc::clone(&clock)));
    block_on(async {
        let id = first.create(spec(), None).await.unwrap().task.id();
        let before = server.snapshot();
        // The first claims, and Redis forgets it while no connection breaks.
        let stale = first.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        server.restore(&before);
        let held = second.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        assert_eq!((held.task, held.epoch), (stale.task, stale.epoch));
        assert_ne!(held.nonce, stale.nonce);
        // What the first remembers has been written just as often as what is there.
        let late = first.finish(&stale, done(), None).await;
        assert!(matches!(late, Err(Error::LeaseLost(_))), "{late:?}");
        let task = second.get(id).await.unwrap().unwrap();
        assert_eq!(task.lease(), Some(held), "it is as it was");
        second.finish(&held, done(), None).await.unwrap();
        check_invariants(&second).await;
    });
}

#[test]
fn after_an_outage_leases_are_not_taken_back_at_once() {
    let server = Server::volatile();
    let store = open_timed(&server.address("away"));
    block_on(async {
        let claims = ClaimBy {
            lease: Duration::from_millis(1),
            ..by()
        };
        let id = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&claims, 1).await.unwrap().pop().unwrap().lease;
        // As if nobody had been heard of for an hour.
        eventually("the outage", || {
            let past = store.clock().now().as_millis() - 3_600_000;
            server.call(&["HSET", "{away}:clock", "last", &past.to_string()]);
            let outage = server.call(&["HGET", "{away}:clock", "outage"]);
            std::future::ready((outage != redis::Value::Nil).then_some(()))
        })
        .await;
        let hour = Duration::from_secs(3600);
        eventually("a tick that knows of it", async || {
            let ticked = store.tick(&[], hour, 10).await.unwrap();
            assert_eq!(ticked.deleted, 0);
            let task = store.get(id).await.unwrap().unwrap();
            assert_eq!(task.lease(), Some(lease), "it was not taken back");
            let until = task.state.held.as_ref().unwrap().until;
            (until > store.clock().now()).then_some(())
        })
        .await;
        // Its holder is there and goes on.
        store.finish(&lease, done(), None).await.unwrap();
        check_invariants(&store).await;
    });
}

#[test]
fn the_time_of_the_store_never_goes_back() {
    let server = Server::volatile();
    let old = open_timed(&server.address("time"));
    let later = old.clock().now() + Duration::from_secs(3600);
    // What the store has seen is an hour ahead of what its server says now.
    server.call(&[
        "HSET",
        "{time}:clock",
        "last",
        &later.as_millis().to_string(),
    ]);
    let new = open_timed(&server.address("time"));
    assert!(new.clock().now() >= later, "who comes later");
    block_on(eventually("who was there before", || {
        std::future::ready((old.clock().now() >= later).then_some(()))
    }));
    let apart = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a));
    let apart = apart(old.clock().now(), new.clock().now());
    assert!(
        apart < Duration::from_secs(60),
        "they mean the same: {apart:?}"
    );
}

#[test]
fn a_worker_elsewhere_that_fell_silent_is_taken_for_dead() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let lost = open(&server.address("far"), Arc::clone(&clock) as Arc<dyn Clock>);
    let near = open(&server.address("far"), Arc::clone(&clock) as Arc<dyn Clock>);
    block_on(async {
        let mut fatal = spec();
        fatal.max_crashes = 3;
        let id = near.create(fatal, None).await.unwrap().task.id();
        let lost_by = by();
        for crash in 1..=3 {
            // Its process is on another machine, and has said nothing for long.
            let worker = WorkerId::random();
            let entry = format!(
                r#"{{"machine":"elsewhere","boot":null,"pid":1,"began":null,"worker":"{worker}","until":0}}"#
            );
            let name = format!("process{crash}");
            server.call(&["HSET", "{far}:processes", &name, &entry]);
            let claims = ClaimBy {
                worker,
                ..lost_by.clone()
            };
            assert_eq!(lost.claim(&claims, 1).await.unwrap().len(), 1, "{crash}");
            near.tick(&[], claims.lease, 10).await.unwrap();
            let task = near.get(id).await.unwrap().unwrap();
            assert_eq!(task.state.phase, Phase::Running, "its lease holds");
            clock.advance(claims.lease);
            near.tick(&[], claims.lease, 10).await.unwrap();
            let task = near.get(id).await.unwrap().unwrap();
            assert_eq!(task.state.crashes, crash);
            assert_eq!(task.is_finished(), crash == 3);
        }
        check_invariants(&near).await;
    });
}

#[test]
fn leases_are_renewed_while_the_memory_is_full() {
    let server = Server::volatile();
    let store = open(&server.next_address(), Arc::new(ManualClock::default()));
    block_on(async {
        store.create(spec(), None).await.unwrap();
        let by = by();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        server.call(&["CONFIG", "SET", "maxmemory", "1"]);
        let replies = store.heartbeat(vec![lease], by.lease).await.unwrap();
        assert_eq!(replies, [outlast_core::store::BeatReply::Held]);
    });
}

#[test]
fn what_is_over_is_deleted_while_the_memory_is_full() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let address = server.next_address();
    let store = open(&address, Arc::clone(&clock) as Arc<dyn Clock>);
    block_on(async {
        let by = by();
        // Due first, and not without room.
        let mut later = spec();
        later.run_at = Some(clock.now() + Duration::from_secs(1));
        let later = store.create(later, None).await.unwrap().task.id();
        store.create(spec(), None).await.unwrap();
        let claimed = store.claim(&by, 1).await.unwrap().pop().unwrap();
        store.finish(&claimed.lease, done(), None).await.unwrap();
        clock.advance(Duration::from_secs(10 * 24 * 60 * 60));
        server.call(&["CONFIG", "SET", "maxmemory", "1"]);
        let error = store.tick(&[], by.lease, 10).await.unwrap_err();
        assert!(error.to_string().contains("maxmemory"), "{error}");
        let ended = store.get(claimed.lease.task).await.unwrap();
        assert!(ended.is_none(), "its retention is over");
        server.call(&["CONFIG", "SET", "maxmemory", "0"]);
        store.tick(&[], by.lease, 10).await.unwrap();
        let task = store.get(later).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
        check_invariants(&store).await;
    });
}

#[test]
fn a_password_that_is_changed_and_set_back_ends_nothing() {
    let node = Node::with(&["--save", ""]);
    let rights = [
        "~{pw}*",
        "&{pw}*",
        "+@all",
        "-@dangerous",
        "+info",
        "+config|get",
    ];
    let given = |password: &str| {
        let mut words = vec!["ACL", "SETUSER", "team", "on", "resetpass", password];
        words.extend(rights);
        node.call(&words);
        node.call(&["CLIENT", "KILL", "USER", "team"]);
    };
    given(">old");
    let address = format!("redis://team:old@127.0.0.1:{}", node.port);
    let address = format!("{address}?volatile=true&prefix=pw");
    let store = open(&address, Arc::new(ManualClock::default()));
    block_on(async {
        store.create(spec(), None).await.unwrap();
        let lease = store.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        given(">new");
        eventually("it is noticed", async || {
            // The first call may meet the connection as it breaks.
            let error = store.finish(&lease, done(), None).await.unwrap_err();
            assert!(error.is_retryable(), "it says nothing of the task: {error}");
            let refused = error.to_string().contains("refuses the user name");
            refused.then_some(())
        })
        .await;
        // Whoever starts now is told, and does not wait.
        let late = RedisStore::open(Options::new(&address, "test")).unwrap_err();
        assert!(late.to_string().contains("refuses the user name"), "{late}");
        given(">old");
        eventually("the end is kept", async || {
            store.finish(&lease, done(), None).await.ok()
        })
        .await;
        check_invariants(&store).await;
    });
}

#[test]
fn a_damaged_lease_takes_no_other_along() {
    let server = Server::volatile();
    let store = open(&server.address("torn"), Arc::new(ManualClock::default()));
    block_on(async {
        let mut leases = Vec::new();
        let by = by();
        for field in ["until", "due", "sequence", "revision"] {
            store.create(spec(), None).await.unwrap();
            let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
            server.call(&["HSET", &format!("{{torn}}:t:{}", lease.task), field, "x"]);
            leases.push(lease);
        }
        store.create(spec(), None).await.unwrap();
        leases.push(store.claim(&by, 1).await.unwrap().pop().unwrap().lease);
        let replies = store.heartbeat(leases, by.lease).await.unwrap();
        use outlast_core::store::BeatReply::{Held, Lost};
        assert_eq!(replies, [Lost, Lost, Lost, Lost, Held]);
    });
}

#[test]
fn callers_in_line_are_told_together_that_nobody_answers() {
    let server = Server::volatile();
    let store = open(&server.next_address(), Arc::new(ManualClock::default()));
    let mut server = server;
    server.kill();
    block_on(async {
        let asked = (0..50).map(|_| store.get(TaskId::random()));
        for answer in outlast_core::testing::join_all(asked).await {
            let error = answer.expect_err("nobody is there");
            assert!(error.is_retryable(), "{error}");
        }
    });
}
