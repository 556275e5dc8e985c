//! Undos: what runs after an outcome that is no success.

use std::time::Duration;

use super::rig::{Forked, LEASE, Rig, done, json, spec};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{TaskId, WorkerId};
use crate::journal::{JournalKind, Recorded};
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::{Failure, FailureReason, Outcome, ToolResult};
use crate::progress::Progress;
use crate::status::{Era, Phase, TaskStatus};
use crate::store::{CancelReply, Filter};
use crate::task::{Lease, Task, TaskSpec};
use crate::undo::{Cleanup, MAX_CLEANUP};

fn failed() -> AttemptEnd {
    AttemptEnd::Done(Outcome::Failed(Failure::internal(
        FailureReason::Error,
        "no",
    )))
}

fn succeeded() -> Recorded {
    Recorded::Value(json("null"))
}

/// A running task with the undos `a` and `b`.
async fn undoable(rig: &Rig, spec: TaskSpec) -> (TaskId, Lease) {
    let (id, lease) = rig.run_spec(spec).await;
    rig.undo(&lease, "a").await;
    rig.undo(&lease, "b").await;
    assert_eq!(rig.task(id).await.state.undos, 2);
    (id, lease)
}

/// Ends the task with a failure; returns the lease for its undos.
async fn fail(rig: &Rig, lease: &Lease) -> Lease {
    let reply = rig.store.finish(lease, failed(), None).await.unwrap();
    reply.task.lease().expect("it stays with its worker")
}

async fn undone(rig: &Rig, lease: &Lease, name: &str) {
    rig.put(lease, JournalKind::Undone, name, succeeded()).await;
}

async fn clean_up(rig: &Rig, lease: &Lease) {
    for name in ["b", "a"] {
        undone(rig, lease, name).await;
    }
    let end = AttemptEnd::CleanedUp;
    rig.store.finish(lease, end, None).await.unwrap();
}

fn assert_failed(task: &Task) {
    assert_eq!(task.status(Era::Modern), TaskStatus::Failed);
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(failure.message, "no");
}

pub(super) async fn success_drops_the_undos(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let task = rig.finish(&lease).await;
    assert_eq!((task.state.undos, task.state.cleanup), (0, Cleanup::None));
    assert_eq!(rig.phase(id).await, Phase::Finished);
    assert!(rig.claim(9).await.is_empty());
    rig
}

pub(super) async fn failure_leaves_the_task_with_its_worker_to_be_undone(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    assert_eq!(cleaning.epoch, lease.epoch + 1);
    let task = rig.task(id).await;
    assert_failed(&task);
    assert_eq!(task.state.phase, Phase::Running);
    assert_eq!(task.state.cleanup, Cleanup::Running);
    assert_eq!(
        task.status_message().as_deref(),
        Some("no (what it did is being undone)")
    );
    undone(&rig, &cleaning, "b").await;
    let last = rig.events(id).await.pop().unwrap().kind;
    let name = "b".to_owned();
    let failed = false;
    assert_eq!(last, EventKind::Undone { name, failed });
    undone(&rig, &cleaning, "a").await;
    let end = AttemptEnd::CleanedUp;
    let reply = rig.store.finish(&cleaning, end, None).await.unwrap();
    assert_failed(&reply.task);
    assert_eq!(reply.task.state.phase, Phase::Finished);
    assert_eq!(reply.task.state.cleanup, Cleanup::Done);
    assert_eq!(reply.task.state.attempt, 1, "undos are no attempt");
    let last = rig.events(id).await.pop().unwrap().kind;
    let cleanup = Cleanup::Done;
    assert_eq!(last, EventKind::CleanedUp { cleanup });
    rig
}

pub(super) async fn a_tool_error_is_undone(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let end = AttemptEnd::Done(Outcome::Completed(ToolResult::error("no")));
    let reply = rig.store.finish(&lease, end, None).await.unwrap();
    assert_eq!(reply.task.status(Era::Modern), TaskStatus::Completed);
    let cleaning = reply.task.lease().expect("it stays with its worker");
    clean_up(&rig, &cleaning).await;
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Done);
    rig
}

pub(super) async fn the_end_may_be_reported_twice_before_the_undos(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    assert_eq!(fail(&rig, &lease).await, cleaning);
    clean_up(&rig, &cleaning).await;
    let version = rig.task(id).await.state.version;
    let end = AttemptEnd::CleanedUp;
    let again = rig.store.finish(&cleaning, end, None).await.unwrap();
    assert_eq!(again.task.state.version, version);
    rig
}

pub(super) async fn an_attempt_that_is_over_can_write_nothing(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    let version = rig.task(id).await.state.version;
    let store = &rig.store;
    let step = JournalKind::Step;
    for lease in [lease, cleaning] {
        let refused = [
            store.report(&lease, Progress::default().into()).await.err(),
            store.ask(&lease, Vec::new()).await.err(),
            store.suspend(&lease, super::rig::awaiting(&[])).await.err(),
            store
                .journal_put(&lease, step, "late", None, succeeded(), None)
                .await
                .err(),
        ];
        for error in refused {
            assert!(matches!(error, Some(Error::LeaseLost(_))), "{error:?}");
        }
    }
    assert_eq!(rig.task(id).await.state.version, version);
    clean_up(&rig, &cleaning).await;
    rig
}

pub(super) async fn no_next_task_comes_before_the_undos(rig: Rig) -> Rig {
    let (_, lease) = undoable(&rig, spec()).await;
    let waiting = rig.create().await;
    let by = rig.by();
    let reply = rig.store.finish(&lease, failed(), Some(&by)).await.unwrap();
    assert!(reply.next.is_none());
    let cleaning = reply.task.lease().expect("it stays with its worker");
    let end = AttemptEnd::CleanedUp;
    let reply = rig.store.finish(&cleaning, end, Some(&by)).await.unwrap();
    assert_eq!(reply.next.map(|next| next.task.id()), Some(waiting));
    assert_eq!(reply.task.state.cleanup, Cleanup::Failed, "none has run");
    rig
}

pub(super) async fn a_suspended_task_is_undone_by_whoever_claims_it(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    rig.ask(&lease, &["q"]).await;
    rig.suspend_on(&lease, &["q"]).await;
    let mode = CancelMode::Ask(LEASE);
    let reply = rig.store.cancel(id, None, mode).await.unwrap();
    let CancelReply::Cancelled(task) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(task.state.cleanup, Cleanup::Pending);
    let again = rig.store.cancel(id, None, CancelMode::Force).await.unwrap();
    assert!(matches!(again, CancelReply::AlreadyFinished(_)));
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), id);
    assert_eq!(claimed.task.state.cleanup, Cleanup::Running);
    assert_eq!(claimed.task.state.attempt, 1);
    let names: Vec<_> = claimed.journal.iter().map(|entry| &entry.name).collect();
    assert_eq!(names, ["a", "b"]);
    clean_up(&rig, &claimed.lease).await;
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Done);
    rig
}

pub(super) async fn a_task_that_is_taken_away_is_undone_when_its_lease_has_run_out(
    rig: Rig,
) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    rig.store.cancel(id, None, CancelMode::Force).await.unwrap();
    assert_eq!(
        rig.task(id).await.status(Era::Modern),
        TaskStatus::Cancelled
    );
    assert!(!rig.task(id).await.holds(&lease));
    assert!(rig.claim(1).await.is_empty(), "its worker may not know yet");
    rig.advance(LEASE);
    rig.tick().await;
    let claimed = rig.claim_one().await;
    clean_up(&rig, &claimed.lease).await;
    assert_eq!(rig.phase(id).await, Phase::Finished);
    rig
}

pub(super) async fn undos_are_taken_back_from_a_worker_that_is_gone(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    undone(&rig, &cleaning, "b").await;
    rig.advance(LEASE);
    rig.tick().await;
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Pending);
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.journal.len(), 3, "what has run is known");
    let stale = rig
        .store
        .journal_put(&cleaning, JournalKind::Undone, "a", None, succeeded(), None)
        .await;
    assert!(matches!(stale, Err(Error::LeaseLost(_))));
    undone(&rig, &claimed.lease, "a").await;
    let end = AttemptEnd::CleanedUp;
    rig.store.finish(&claimed.lease, end, None).await.unwrap();
    assert_failed(&*rig.task(id).await);
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Done);
    rig
}

pub(super) async fn undos_survive_their_process(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    fail(&rig, &lease).await;
    let rig = match rig.fork().await {
        Forked::Reopened(rig) => rig,
        Forked::Same(rig) => return rig,
    };
    assert_failed(&*rig.task(id).await);
    let recovered = rig.store.recover(rig.worker).await.unwrap();
    assert_eq!((recovered.rescued, recovered.failed), (1, 0));
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), id);
    clean_up(&rig, &claimed.lease).await;
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Done);
    rig
}

pub(super) async fn undos_that_crash_are_given_up(rig: Rig) -> Rig {
    let max_crashes = 2;
    let spec = TaskSpec {
        max_crashes,
        ..spec()
    };
    let (id, lease) = undoable(&rig, spec).await;
    fail(&rig, &lease).await;
    for left in (0..max_crashes).rev() {
        let recovered = rig.store.recover(WorkerId::random()).await.unwrap();
        assert_eq!(recovered.rescued, usize::from(left > 0));
        assert_eq!(rig.claim(1).await.len(), usize::from(left > 0));
    }
    let task = rig.task(id).await;
    assert_eq!(task.state.cleanup, Cleanup::Failed);
    assert_failed(&task);
    rig
}

pub(super) async fn undos_that_nobody_runs_are_given_up(rig: Rig) -> Rig {
    // A task's own time says nothing about its undos.
    let max_age = Duration::from_secs(60);
    let (id, lease) = undoable(&rig, TaskSpec { max_age, ..spec() }).await;
    let cleaning = fail(&rig, &lease).await;
    let end = AttemptEnd::Release;
    rig.store.finish(&cleaning, end, None).await.unwrap();
    rig.advance(MAX_CLEANUP - Duration::from_millis(1));
    rig.tick().await;
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Pending);
    rig.advance(Duration::from_millis(1));
    rig.tick().await;
    // Its retention is over by now, so nothing keeps it any more.
    assert!(rig.store.get(id).await.unwrap().is_none());
    assert!(rig.claim(1).await.is_empty());
    rig
}

pub(super) async fn a_failed_undo_fails_the_clean_up_alone(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    let error = Recorded::Error(json("\"no such registry\""));
    rig.put(&cleaning, JournalKind::Undone, "b", error).await;
    let last = rig.events(id).await.pop().unwrap().kind;
    assert!(matches!(last, EventKind::Undone { failed: true, .. }));
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Running);
    undone(&rig, &cleaning, "a").await;
    let end = AttemptEnd::CleanedUp;
    let reply = rig.store.finish(&cleaning, end, None).await.unwrap();
    assert_eq!(reply.task.state.cleanup, Cleanup::Failed);
    assert_failed(&reply.task);
    rig
}

pub(super) async fn a_discarded_undo_does_not_run(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let version = rig.task(id).await.state.version;
    for name in ["a", "b"] {
        undone(&rig, &lease, name).await;
    }
    let state = &rig.task(id).await.state;
    assert_eq!((state.undos, state.version), (0, version));
    let reply = rig.store.finish(&lease, failed(), None).await.unwrap();
    assert_eq!(reply.task.state.phase, Phase::Finished);
    assert_eq!(reply.task.state.cleanup, Cleanup::None);
    rig
}

pub(super) async fn a_record_is_kept_until_it_is_undone(rig: Rig) -> Rig {
    let retention = Duration::from_secs(10);
    let spec = TaskSpec {
        retention,
        ..spec()
    };
    let (id, lease) = undoable(&rig, spec).await;
    let cleaning = fail(&rig, &lease).await;
    assert!(!rig.store.delete(id).await.unwrap());
    rig.advance(2 * retention);
    rig.tick().await;
    assert_failed(&*rig.task(id).await);
    let all = Filter::default();
    let listed = rig.store.list(&all, None, 9).await.unwrap();
    assert_eq!(listed.tasks.len(), 1);
    clean_up(&rig, &cleaning).await;
    assert!(rig.store.get(id).await.unwrap().is_none());
    rig.tick().await;
    assert!(matches!(
        rig.store.delete(id).await,
        Err(Error::NotFound(_))
    ));
    rig
}

pub(super) async fn a_release_hands_the_undos_back(rig: Rig) -> Rig {
    let (id, lease) = undoable(&rig, spec()).await;
    let cleaning = fail(&rig, &lease).await;
    let end = AttemptEnd::Release;
    rig.store.finish(&cleaning, end, None).await.unwrap();
    assert_eq!(rig.task(id).await.state.cleanup, Cleanup::Pending);
    let claimed = rig.claim_one().await;
    // A late outcome is no outcome, only the end of the clean-up.
    let late = rig.store.finish(&claimed.lease, done("late"), None).await;
    let task = late.unwrap().task;
    assert_failed(&task);
    assert_eq!(task.state.cleanup, Cleanup::Failed);
    rig
}
