//! Cancellation, in every phase and both modes.

use std::time::Duration;

use super::rig::{LEASE, Rig, answers, awaiting, json, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{TaskId, WorkerId};
use crate::journal::{JournalKind, Recorded};
use crate::limit::{Control, Key, LimitKey, Queue, Rule};
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::Outcome;
use crate::signal::NewSignal;
use crate::status::{Era, Phase, TaskStatus};
use crate::store::{BeatReply, CancelReply, SuspendReply};
use crate::task::{Lease, TaskSpec};

const MODES: [CancelMode; 2] = [CancelMode::Force, CancelMode::Ask(Duration::from_secs(30))];

fn reason() -> Option<String> {
    Some("enough".into())
}

async fn assert_cancelled(rig: &Rig, id: TaskId, reason: Option<&str>) {
    let task = rig.task(id).await;
    let reason = reason.map(str::to_owned);
    assert_eq!(
        task.outcome.as_deref(),
        Some(&Outcome::Cancelled { reason })
    );
    assert_eq!(task.status(Era::Legacy), TaskStatus::Cancelled);
    let last = rig.events(id).await.pop().unwrap();
    let status = TaskStatus::Cancelled;
    assert_eq!(last.kind, EventKind::Finished { status });
    assert!(rig.claim(1).await.is_empty(), "nobody gets it any more");
}

pub(super) async fn what_does_not_run_is_cancelled_at_once(rig: Rig) -> Rig {
    for mode in MODES {
        let queued = rig.create().await;
        let reply = rig.store.cancel(queued, reason(), mode).await.unwrap();
        assert!(matches!(reply, CancelReply::Cancelled(task) if task.id() == queued));
        assert_cancelled(&rig, queued, Some("enough")).await;

        let run_at = Some(rig.clock.now() + LEASE);
        let scheduled = rig
            .create_spec(TaskSpec { run_at, ..spec() })
            .await
            .task
            .id();
        rig.store.cancel(scheduled, None, mode).await.unwrap();
        assert_cancelled(&rig, scheduled, None).await;

        let suspended = rig.suspended("q").await;
        rig.store.cancel(suspended, reason(), mode).await.unwrap();
        assert_cancelled(&rig, suspended, Some("enough")).await;
    }
    rig
}

pub(super) async fn a_running_task_is_asked_first(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let reply = rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    assert!(matches!(reply, CancelReply::Requested(_)));
    let task = rig.task(id).await;
    assert_eq!(task.state.phase, Phase::Running);
    assert_eq!(task.status_message().as_deref(), Some("cancelling"));
    let last = rig.events(id).await.pop().unwrap();
    assert_eq!(last.kind, EventKind::CancelRequested);
    let beats = rig.store.heartbeat(vec![lease], LEASE).await.unwrap();
    assert_eq!(beats, [BeatReply::Cancelled]);
    let reason = None;
    let end = AttemptEnd::Done(Outcome::Cancelled { reason });
    rig.store.finish(&lease, end, None).await.unwrap();
    assert_cancelled(&rig, id, Some("enough")).await;
    rig
}

pub(super) async fn by_force_a_running_task_is_cancelled_at_once(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let reply = rig
        .store
        .cancel(id, reason(), CancelMode::Force)
        .await
        .unwrap();
    assert!(matches!(reply, CancelReply::Cancelled(_)));
    assert_cancelled(&rig, id, Some("enough")).await;
    let beats = rig.store.heartbeat(vec![lease], LEASE).await.unwrap();
    assert_eq!(beats, [BeatReply::Lost]);
    assert!(rig.task(id).await.state.epoch > lease.epoch);
    // Patience may end: first asked, then by force.
    let (id, _) = rig.run().await;
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    let other = Some("other".into());
    rig.store
        .cancel(id, other, CancelMode::Force)
        .await
        .unwrap();
    assert_cancelled(&rig, id, Some("enough")).await;
    rig
}

pub(super) async fn a_finished_task_stays_as_it_is(rig: Rig) -> Rig {
    let id = rig.finished(spec()).await;
    let before = rig.task(id).await;
    for mode in MODES {
        let reply = rig.store.cancel(id, reason(), mode).await.unwrap();
        assert!(matches!(reply, CancelReply::AlreadyFinished(task) if task == before));
    }
    assert_eq!(rig.task(id).await, before);
    rig
}

pub(super) async fn repeating_it_is_harmless(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    let before = rig.task(id).await;
    rig.advance(Duration::from_secs(1));
    let reply = rig
        .store
        .cancel(id, Some("other".into()), MODES[1])
        .await
        .unwrap();
    assert!(matches!(reply, CancelReply::Requested(task) if task == before));
    assert_eq!(rig.task(id).await, before);
    rig.finish(&lease).await;
    assert_cancelled(&rig, id, Some("enough")).await;
    rig
}

pub(super) async fn a_result_that_comes_too_late_is_discarded(rig: Rig) -> Rig {
    let ends = [
        super::rig::done("late"),
        AttemptEnd::Release,
        AttemptEnd::Retry {
            message: "late".into(),
            at: rig.clock.now() + LEASE,
        },
    ];
    for end in ends {
        let (id, lease) = rig.run().await;
        rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
        rig.store.finish(&lease, end, None).await.unwrap();
        assert_cancelled(&rig, id, Some("enough")).await;
    }
    rig
}

pub(super) async fn the_deadline_ends_what_does_not_stop(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    for _ in 0..3 {
        rig.advance(Duration::from_secs(10));
        assert_eq!(rig.phase(id).await, Phase::Running);
        rig.store.heartbeat(vec![lease], LEASE).await.unwrap();
        // Its own process does not spare it: it did not stop.
        rig.store.tick(&[lease], LEASE, 10).await.unwrap();
    }
    assert_cancelled(&rig, id, Some("enough")).await;
    let beats = rig.store.heartbeat(vec![lease], LEASE).await.unwrap();
    assert_eq!(beats, [BeatReply::Lost]);
    rig
}

pub(super) async fn a_cancelled_task_does_not_suspend(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.ask(&lease, &["q"]).await;
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    let reply = rig.store.suspend(&lease, awaiting(&["q"])).await.unwrap();
    assert!(matches!(reply, SuspendReply::Resolved(_)));
    rig.finish(&lease).await;
    assert_cancelled(&rig, id, Some("enough")).await;
    rig
}

pub(super) async fn a_cancelled_task_is_not_run_again(rig: Rig) -> Rig {
    let (first, _) = rig.run().await;
    let long = CancelMode::Ask(10 * LEASE);
    rig.store.cancel(first, reason(), long).await.unwrap();
    rig.advance(LEASE);
    rig.tick().await;
    assert_cancelled(&rig, first, Some("enough")).await;
    let (second, _) = rig.run().await;
    rig.store.cancel(second, None, long).await.unwrap();
    rig.store.recover(WorkerId::random()).await.unwrap();
    assert_cancelled(&rig, second, None).await;
    rig
}

pub(super) async fn nobody_cancels_a_task_that_is_not_there(rig: Rig) -> Rig {
    for mode in MODES {
        let id = TaskId::random();
        let error = rig.store.cancel(id, None, mode).await.unwrap_err();
        assert!(matches!(error, Error::NotFound(task) if task == id));
    }
    rig
}

/// A call under a limit of one.
fn alone() -> TaskSpec {
    let mut spec = spec();
    spec.keys.limits = vec![LimitKey {
        key: Key::new("one", ""),
        while_suspended: false,
    }];
    spec
}

/// A task under a limit of one that runs, and has begun what outlives its handler.
async fn begun(rig: &Rig) -> (TaskId, Lease) {
    let rule = Control::Rule("one".into(), Some(Rule::Running(1)));
    rig.store.control(vec![rule]).await.unwrap();
    let (id, lease) = rig.run_spec(alone()).await;
    let place = Recorded::Value(json(r#""here""#));
    let put = rig
        .store
        .journal_put(&lease, JournalKind::Begun, "here", None, place, None);
    put.await.unwrap();
    (id, lease)
}

/// That the task is neither cancelled nor at work, and that nobody may work under its key.
async fn assert_stopping(rig: &Rig, id: TaskId) {
    let task = rig.task(id).await;
    assert!(task.is_stopping(), "{task:?}");
    assert_eq!(task.status(Era::Modern), TaskStatus::Working);
    assert_eq!(task.status_message().as_deref(), Some("cancelling"));
    let other = rig.create_spec(alone()).await.task.id();
    assert!(rig.claim(9).await.is_empty(), "its key is taken");
    let force = CancelMode::Force;
    rig.store.cancel(other, None, force).await.unwrap();
}

/// That the key of a task that has ended is free.
async fn assert_free(rig: &Rig) {
    let (_, lease) = rig.run_spec(alone()).await;
    rig.finish(&lease).await;
}

pub(super) async fn what_was_begun_is_stopped_first(rig: Rig) -> Rig {
    let (id, lease) = begun(&rig).await;
    rig.store.recover(WorkerId::random()).await.unwrap();
    let paused = vec![Control::Pause(Queue::All)];
    rig.store.control(paused).await.unwrap();
    let reply = rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    assert!(matches!(reply, CancelReply::Requested(_)));
    let last = rig.events(id).await.pop().unwrap();
    assert_eq!(last.kind, EventKind::CancelRequested);
    let resumed = vec![Control::Resume(Queue::All)];
    rig.store.control(resumed).await.unwrap();
    assert_stopping(&rig, id).await;
    // Nothing that comes for it wakes it.
    let signal = NewSignal::new("go", json("1"));
    rig.store.signal(id, signal).await.unwrap();
    let answers = answers(&[("q", "1")]);
    rig.store.answer(id, answers).await.unwrap();
    let again = rig.store.cancel(id, None, MODES[1]).await.unwrap();
    assert!(matches!(again, CancelReply::Requested(_)));
    let ended = rig.store.finish(&lease, super::rig::done("late"), None);
    assert!(matches!(ended.await, Err(Error::LeaseLost(_))));
    rig.advance(Duration::from_secs(20));
    rig.tick().await;
    assert_stopping(&rig, id).await;
    let stopped = rig.store.cancel(id, None, CancelMode::Stopped).await;
    assert!(matches!(stopped.unwrap(), CancelReply::Cancelled(_)));
    assert_cancelled(&rig, id, Some("enough")).await;
    assert_free(&rig).await;
    rig
}

pub(super) async fn what_nobody_can_stop_is_written_off(rig: Rig) -> Rig {
    let (id, _) = begun(&rig).await;
    rig.store.recover(WorkerId::random()).await.unwrap();
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    assert_stopping(&rig, id).await;
    rig.advance(Duration::from_secs(30));
    rig.tick().await;
    assert_cancelled(&rig, id, Some("enough")).await;
    assert_free(&rig).await;
    // Whoever cannot wait is told at once; the key is kept for as long.
    let (id, _) = begun(&rig).await;
    rig.store.recover(WorkerId::random()).await.unwrap();
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    let force = CancelMode::Force;
    rig.store.cancel(id, None, force).await.unwrap();
    let next = rig.create_spec(alone()).await.task.id();
    assert_cancelled(&rig, id, Some("enough")).await;
    rig.advance(Duration::from_secs(30));
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), next);
    rig.finish(&claimed.lease).await;
    rig
}

pub(super) async fn a_worker_that_goes_leaves_what_it_began_to_be_stopped(rig: Rig) -> Rig {
    let ends = [
        AttemptEnd::Release,
        AttemptEnd::Retry {
            message: "late".into(),
            at: rig.clock.now() + LEASE,
        },
    ];
    for end in ends {
        let (id, lease) = begun(&rig).await;
        rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
        let asked = rig.store.cancel(id, None, CancelMode::Stopped).await;
        assert!(
            matches!(asked.unwrap(), CancelReply::Requested(_)),
            "it runs"
        );
        rig.store.finish(&lease, end, None).await.unwrap();
        assert_stopping(&rig, id).await;
        let stopped = CancelMode::Stopped;
        rig.store.cancel(id, None, stopped).await.unwrap();
        assert_cancelled(&rig, id, Some("enough")).await;
    }
    // It died in the middle of the cancel.
    let (id, _) = begun(&rig).await;
    rig.store.cancel(id, reason(), MODES[1]).await.unwrap();
    rig.store.recover(WorkerId::random()).await.unwrap();
    assert_stopping(&rig, id).await;
    let stopped = CancelMode::Stopped;
    rig.store.cancel(id, None, stopped).await.unwrap();
    assert_cancelled(&rig, id, Some("enough")).await;
    assert_free(&rig).await;
    rig
}

pub(super) async fn nothing_else_is_cancelled_for_having_been_stopped(rig: Rig) -> Rig {
    let stopped = CancelMode::Stopped;
    let queued = rig.create().await;
    let reply = rig.store.cancel(queued, None, stopped).await.unwrap();
    assert!(matches!(reply, CancelReply::Requested(_)));
    assert_eq!(rig.phase(queued).await, Phase::Queued);
    let claimed = rig.claim_one().await;
    rig.finish(&claimed.lease).await;
    let suspended = rig.suspended("q").await;
    rig.store.cancel(suspended, None, stopped).await.unwrap();
    assert_eq!(rig.phase(suspended).await, Phase::Suspended);
    assert!(!rig.task(suspended).await.is_finished());
    rig
}
