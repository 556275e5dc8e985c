//! Records that somebody has damaged: they fail or are set aside, and the others go on.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::{AttemptEnd, CancelMode, Dependency};
use outlast_core::schedule::NewSchedule;
use outlast_core::status::Phase;
use outlast_core::store::{Reads, Store};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{Clock, JournalKind, Outcome, RawJson, Recorded, Schedule, TaskId, TaskSpec};
use outlast_redis::RedisStore;

use crate::cost::{by, done, spec};
use crate::server::{Server, open};

/// The store whose records are damaged, as one process has it open.
fn damaged(server: &Server, clock: &Arc<ManualClock>) -> RedisStore {
    open(&server.address("torn"), Arc::clone(clock) as Arc<dyn Clock>)
}

#[test]
fn a_record_that_cannot_be_read_fails_and_the_others_go_on() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = damaged(&server, &clock);
    block_on(async {
        let by = by();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(store.create(spec(), None).await.unwrap().task.id());
        }
        let [state, call, field, whole] = ids[..] else {
            panic!("four")
        };
        let key = |kind: &str, id| format!("{{torn}}:{kind}:{id}");
        server.call(&["HSET", &key("d", state), "state", "{"]);
        server.call(&["HSET", &key("d", call), "spec", "none of ours"]);
        server.call(&["HSET", &key("t", field), "attempt", "many"]);
        // A claim gives out those that can be read.
        let mut ended = 0;
        for _ in 0..4 {
            for claimed in store.claim(&by, 4).await.unwrap() {
                store.finish(&claimed.lease, done(), None).await.unwrap();
                ended += 1;
            }
        }
        assert_eq!(ended, 1, "the whole one");
        assert!(store.get(whole).await.unwrap().unwrap().is_finished());
        // What was claimed and cannot be read comes back when its lease has run out.
        clock.advance(by.lease);
        for _ in 0..3 {
            store.tick(&[], by.lease, 100).await.unwrap();
        }
        for id in [state, call] {
            assert_eq!(why(&store, id).await, UNREADABLE);
        }
        let found = store.get(field).await.unwrap();
        assert!(found.is_none(), "nothing is left of it: {found:?}");
        let list = store.list(&Default::default(), None, 10).await.unwrap();
        assert_eq!(list.tasks.len(), 3);
        clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
        let mut next = None;
        for _ in 0..3 {
            let ticked = store.tick(&[], by.lease, 100).await.unwrap();
            next = ticked.next;
        }
        assert!(
            next.is_none_or(|next| next > clock.now()),
            "nothing is left that would be looked at for ever: {next:?}"
        );
    });
}

const UNREADABLE: &str = "the record of the task in the store could not be read any more";

/// Why a task has failed.
async fn why(store: &impl Store, id: TaskId) -> String {
    let task = store.get(id).await.unwrap().expect("it is there");
    match task.outcome.as_deref() {
        Some(Outcome::Failed(failure)) => failure.message.clone(),
        other => panic!("{id} has not failed: {other:?}"),
    }
}

#[test]
fn whoever_comes_to_a_record_that_cannot_be_read_lets_it_fail() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = damaged(&server, &clock);
    block_on(async {
        let by = by();
        let damage = |id| server.call(&["HSET", &format!("{{torn}}:d:{id}"), "state", "{"]);
        let after = |id| TaskSpec {
            after: vec![Dependency::success(id)],
            ..spec()
        };
        // The end of what it comes after.
        let first = store.create(spec(), None).await.unwrap().task.id();
        let torn = store.create(after(first), None).await.unwrap().task.id();
        let behind = store.create(after(torn), None).await.unwrap().task.id();
        damage(torn);
        let list = store.list(&Default::default(), None, 10).await.unwrap();
        assert_eq!(list.tasks.len(), 2, "the list leaves it out");
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        assert_eq!(lease.task, first);
        store.finish(&lease, done(), None).await.unwrap();
        assert_eq!(why(&store, torn).await, UNREADABLE);
        assert!(
            why(&store, behind).await.contains("torn")
                || store.get(behind).await.unwrap().unwrap().is_finished()
        );
        store.delete(torn).await.unwrap();
        assert!(store.get(torn).await.unwrap().is_none());

        // A parent and a child that need each other, and what the parent has to take back.
        let parent = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        let undo = r#"{"tool": "restore", "version": "1", "arguments": {}}"#;
        let undo = Recorded::Value(RawJson::parse(undo).unwrap());
        let put = store.journal_put(&lease, JournalKind::Undo, "u", None, undo, None);
        put.await.unwrap();
        let (child, other) = (spec(), spec());
        let [torn, whole] = [child.id, other.id];
        for (name, child) in [("torn", child), ("whole", other)] {
            let spawned = store.spawn(&lease, name, None, child, false);
            spawned.await.unwrap();
        }
        damage(parent);
        damage(torn);
        // Another process, for this one remembers what it runs.
        let elsewhere = damaged(&server, &clock);
        let cancel = elsewhere.cancel(parent, None, CancelMode::Ask(by.lease));
        cancel.await.unwrap();
        for id in [parent, torn] {
            assert_eq!(why(&store, id).await, UNREADABLE);
        }
        let stopped = store.get(whole).await.unwrap().unwrap();
        assert!(stopped.is_finished() || stopped.state.cancel.is_some());
        let failed = store.get(parent).await.unwrap().unwrap();
        assert_eq!(failed.state.undos, 1, "its undo runs");
        assert_ne!(failed.state.phase, Phase::Finished);
    });
}

#[test]
fn a_schedule_that_cannot_be_read_holds_up_neither_tasks_nor_other_schedules() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = damaged(&server, &clock);
    block_on(async {
        let every = |name: &str| {
            let spec = NewSchedule::every(Duration::from_secs(60)).call("tool", &());
            Schedule::create(spec.named(name), clock.now())
        };
        for name in ["torn", "whole"] {
            store.schedule_put(None, every(name), None).await.unwrap();
        }
        server.call(&["SET", "{torn}:sch:torn", "none of ours"]);
        let later = TaskSpec {
            run_at: Some(clock.now() + Duration::from_secs(60)),
            ..spec()
        };
        let later = store.create(later, None).await.unwrap().task.id();
        clock.advance(Duration::from_secs(61));

        let ticked = store.tick(&[], by().lease, 100).await.unwrap();
        let due: Vec<_> = ticked.schedules.iter().map(|due| &due.spec.name).collect();
        assert_eq!(due, ["whole"]);
        let task = store.get(later).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
        assert_eq!(store.schedules().await.unwrap().len(), 1);

        // It is not taken for absent, and can be removed.
        let error = store.schedule_get("torn").await.unwrap_err();
        assert!(error.to_string().contains("\"torn\""), "{error}");
        let error = store.schedule_put(None, every("torn"), None).await;
        assert!(error.unwrap_err().to_string().contains("\"torn\""));
        assert!(store.schedule_delete("torn").await.unwrap());
        store.schedule_put(None, every("torn"), None).await.unwrap();
    });
}

#[test]
fn counts_are_right_after_records_have_gone_by_themselves() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = damaged(&server, &clock);
    block_on(async {
        let count = async || -> u64 { store.stats().await.unwrap().phases().values().sum() };
        let later = || TaskSpec {
            run_at: Some(clock.now() + Duration::from_secs(60)),
            ..spec()
        };
        let mut gone = None;
        for _ in 0..10 {
            gone = Some(store.create(later(), None).await.unwrap().task.id());
        }
        assert_eq!(count().await, 10);
        let gone = gone.unwrap();
        for kind in ["t", "d"] {
            server.call(&["DEL", &format!("{{torn}}:{kind}:{gone}")]);
        }
        clock.advance(Duration::from_secs(61));
        store.tick(&[], by().lease, 100).await.unwrap();
        // Somebody is faster than whoever asks for the counts.
        store.create(spec(), None).await.unwrap();
        store.claim(&by(), 1).await.unwrap();
        assert_eq!(count().await, 10);
        store.create(spec(), None).await.unwrap();
        assert_eq!(count().await, 11);
    });
}

#[test]
fn a_task_whose_journal_cannot_be_read_fails_and_the_others_are_claimed() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = damaged(&server, &clock);
    block_on(async {
        let by = by();
        let torn = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        let value = Recorded::Value(RawJson::empty_object());
        let put = store.journal_put(&lease, JournalKind::Step, "a", None, value, None);
        put.await.unwrap();
        let released = store.finish(&lease, AttemptEnd::Release, None);
        released.await.unwrap();
        let whole = store.create(spec(), None).await.unwrap().task.id();
        server.call(&["HSET", &format!("{{torn}}:j:{torn}"), "step:a", "none"]);

        let claimed = store.claim(&by, 2).await.unwrap();
        let claimed: Vec<_> = claimed.iter().map(|one| one.task.id()).collect();
        assert_eq!(claimed, [whole]);
        store.tick(&[], by.lease, 100).await.unwrap();
        let failed = store.get(torn).await.unwrap().unwrap();
        let Some(Outcome::Failed(failure)) = failed.outcome.as_deref() else {
            panic!("{failed:?}");
        };
        assert!(failure.message.contains("could not be read"), "{failure:?}");
    });
}
