//! Cancellation, in every phase and both modes.

use std::time::Duration;

use super::rig::{LEASE, Rig, awaiting, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{TaskId, WorkerId};
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::Outcome;
use crate::status::{Era, Phase, TaskStatus};
use crate::store::{BeatReply, CancelReply, SuspendReply};
use crate::task::TaskSpec;

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
