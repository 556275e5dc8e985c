//! How long tasks are kept, and what goes with them.

use std::time::Duration;

use super::rig::{Forked, LEASE, Rig, json, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::id::TaskId;
use crate::journal::{JournalKind, Recorded};
use crate::log::{Level, LogLine};
use crate::machine::AttemptEnd;
use crate::outcome::{FailureReason, Outcome};
use crate::status::Phase;
use crate::store::Ticked;
use crate::task::{DEFAULT_RETENTION, MAX_RETENTION, TaskSpec};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

async fn tick(rig: &Rig, budget: usize) -> Ticked {
    rig.store.tick(&[], LEASE, budget).await.expect("a tick")
}

async fn is_there(rig: &Rig, id: TaskId) -> bool {
    rig.store.get(id).await.expect("a read").is_some()
}

pub(super) async fn a_finished_task_is_kept_and_then_gone(rig: Rig) -> Rig {
    let id = rig.finished(spec()).await;
    let task = rig.task(id).await;
    assert_eq!(
        task.state.expire_at,
        Some(rig.clock.now() + DEFAULT_RETENTION)
    );
    rig.advance(DEFAULT_RETENTION - MOMENT);
    assert_eq!(tick(&rig, 10).await.deleted, 0);
    assert!(is_there(&rig, id).await);
    rig.advance(MOMENT);
    assert!(!is_there(&rig, id).await, "whether or not it is pruned yet");
    assert_eq!(tick(&rig, 10).await.deleted, 1);
    assert!(!is_there(&rig, id).await);
    assert!(rig.events(id).await.is_empty());
    rig
}

pub(super) async fn a_ttl_is_a_floor(rig: Rig) -> Rig {
    let with = |ttl, retention| TaskSpec {
        ttl: Some(ttl),
        retention,
        ..spec()
    };
    let (short, lease) = rig.run_spec(with(MOMENT, HOUR)).await;
    rig.advance(HOUR);
    rig.tick().await;
    let beats = rig.store.heartbeat(vec![lease], LEASE).await;
    assert!(beats.is_ok(), "a ttl ends nothing that runs");
    rig.advance(HOUR);
    rig.tick().await;
    assert!(is_there(&rig, short).await);
    let lease = rig.claim_one().await.lease;
    rig.finish(&lease).await;
    let task = rig.task(short).await;
    assert_eq!(task.ttl(), Some(3 * HOUR), "two of work and one kept");

    let long = rig.finished(with(5 * HOUR, HOUR)).await;
    assert_eq!(rig.task(long).await.ttl(), Some(5 * HOUR));
    let none = rig.finished(with(Duration::ZERO, Duration::ZERO)).await;
    assert!(!is_there(&rig, none).await, "not kept at all");
    rig
}

pub(super) async fn nothing_is_kept_for_ever(rig: Rig) -> Rig {
    let asked = TaskSpec {
        ttl: Some(Duration::MAX),
        retention: Duration::MAX,
        ..spec()
    };
    let id = rig.finished(asked).await;
    assert_eq!(rig.task(id).await.ttl(), Some(MAX_RETENTION));
    rig.advance(MAX_RETENTION);
    assert_eq!(tick(&rig, 10).await.deleted, 1);
    rig
}

pub(super) async fn unfinished_tasks_do_not_expire(rig: Rig) -> Rig {
    let asked = TaskSpec {
        ttl: Some(MOMENT),
        retention: MOMENT,
        ..spec()
    };
    let id = rig.create_spec(asked).await.task.id();
    let waiting = {
        let claimed = rig.claim_one().await;
        rig.ask(&claimed.lease, &["q"]).await;
        rig.suspend_on(&claimed.lease, &["q"]).await;
        claimed.task.id()
    };
    assert_eq!(id, waiting);
    let queued = rig.create().await;
    rig.advance(24 * HOUR);
    rig.tick().await;
    assert_eq!(rig.phase(waiting).await, Phase::Suspended);
    assert_eq!(rig.phase(queued).await, Phase::Queued);
    rig
}

pub(super) async fn an_old_task_fails(rig: Rig) -> Rig {
    let aged = || TaskSpec {
        max_age: HOUR,
        ..spec()
    };
    let (running, lease) = rig.run_spec(aged()).await;
    let queued = rig.create_spec(aged()).await.task.id();
    rig.advance(HOUR - MOMENT);
    assert_eq!(
        rig.store.tick(&[lease], LEASE, 10).await.unwrap().changed,
        0
    );
    rig.advance(MOMENT);
    assert_eq!(
        rig.store.tick(&[lease], LEASE, 10).await.unwrap().changed,
        2
    );
    for id in [running, queued] {
        let task = rig.task(id).await;
        let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
            panic!("it failed");
        };
        assert_eq!(failure.reason, FailureReason::Expired);
    }
    rig
}

pub(super) async fn what_nobody_starts_in_time_fails(rig: Rig) -> Rig {
    let patient = || TaskSpec {
        queue_timeout: Some(HOUR),
        ..spec()
    };
    // A task that has started once is past the limit, also when it stands ready again.
    let (started, lease) = rig.run_spec(patient()).await;
    let released = rig.store.finish(&lease, AttemptEnd::Release, None).await;
    released.expect("its lease holds");
    let queued = rig.create_spec(patient()).await.task.id();
    let run_at = Some(rig.clock.now() + 2 * HOUR);
    let later = TaskSpec {
        run_at,
        ..patient()
    };
    let later = rig.create_spec(later).await.task.id();
    rig.advance(HOUR - MOMENT);
    rig.tick().await;
    assert_eq!(rig.phase(queued).await, Phase::Queued);
    rig.advance(MOMENT);
    rig.tick().await;
    assert_eq!(failure(&rig, queued).await, FailureReason::QueueTimeout);
    assert_eq!(rig.phase(started).await, Phase::Queued);
    assert_eq!(rig.claim_all().await, [started], "it is not ready any more");
    rig.advance(HOUR);
    rig.tick().await;
    assert_eq!(rig.phase(later).await, Phase::Queued, "its time has come");
    rig.advance(HOUR);
    rig.tick().await;
    assert_eq!(failure(&rig, later).await, FailureReason::QueueTimeout);
    rig
}

pub(super) async fn a_task_for_later_ages_from_then_on(rig: Rig) -> Rig {
    let run_at = Some(rig.clock.now() + 2 * HOUR);
    let max_age = HOUR;
    let later = TaskSpec {
        run_at,
        max_age,
        ..spec()
    };
    let id = rig.create_spec(later).await.task.id();
    rig.advance(3 * HOUR - MOMENT);
    rig.tick().await;
    assert_eq!(rig.phase(id).await, Phase::Queued);
    rig.advance(MOMENT);
    rig.tick().await;
    assert_eq!(failure(&rig, id).await, FailureReason::Expired);
    rig
}

async fn failure(rig: &Rig, id: TaskId) -> FailureReason {
    match rig.task(id).await.outcome.as_deref() {
        Some(Outcome::Failed(failure)) => failure.reason,
        other => panic!("it failed: {other:?}"),
    }
}

pub(super) async fn a_tick_keeps_to_its_budget(rig: Rig) -> Rig {
    for _ in 0..7 {
        rig.finished(spec()).await;
        rig.advance(MOMENT);
    }
    rig.advance(DEFAULT_RETENTION);
    let mut deleted = Vec::new();
    for _ in 0..4 {
        let ticked = tick(&rig, 3).await;
        deleted.push(ticked.deleted);
        let more = ticked.next.is_some_and(|next| next <= rig.clock.now());
        assert_eq!(more, deleted.iter().sum::<usize>() < 7);
    }
    assert_eq!(deleted, [3, 3, 1, 0]);
    rig
}

pub(super) async fn a_tick_says_when_to_come_back(rig: Rig) -> Rig {
    let nothing = Ticked {
        now: rig.clock.now(),
        ..Ticked::default()
    };
    assert_eq!(tick(&rig, 10).await, nothing);
    let id = rig.create().await;
    let oldest = rig.task(id).await.due_at();
    assert_eq!(tick(&rig, 10).await.next, Some(oldest));
    let run_at = rig.clock.now() + HOUR;
    rig.create_spec(TaskSpec {
        run_at: Some(run_at),
        ..spec()
    })
    .await;
    assert_eq!(tick(&rig, 10).await.next, Some(run_at));
    let lease = rig.claim_one().await.lease;
    assert_eq!(tick(&rig, 10).await.next, Some(rig.clock.now() + LEASE));
    rig.finish(&lease).await;
    assert_eq!(tick(&rig, 10).await.next, Some(run_at));
    rig
}

pub(super) async fn deleting_takes_everything_along(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let (other, kept) = rig.run().await;
    for lease in [&lease, &kept] {
        let value = Recorded::Value(json("1"));
        rig.store
            .journal_put(lease, JournalKind::Step, "s", None, value, None)
            .await
            .unwrap();
        let line = LogLine {
            level: Level::Info,
            logger: "stdout".into(),
            text: b"hello\n".to_vec(),
            mark: Some(6),
        };
        rig.store.log_append(lease, vec![line]).await.unwrap();
    }
    rig.finish(&lease).await;
    assert!(rig.store.delete(id).await.unwrap());
    assert!(!is_there(&rig, id).await);
    assert!(rig.events(id).await.is_empty());
    assert!(rig.store.journal(id).await.unwrap().is_empty());
    let log = rig.store.log_read(id, 0, 100).await.unwrap();
    assert_eq!(log, Default::default());
    let error = rig.store.delete(id).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(task) if task == id));
    // The name is free again, and nothing of the old task comes back with it.
    let again = rig.create_spec(TaskSpec { id, ..spec() }).await;
    assert_eq!(again.task.state.version, 1);
    assert_eq!(rig.events(id).await.len(), 1);
    assert!(rig.store.journal(id).await.unwrap().is_empty());
    // The neighbour lost nothing.
    assert_eq!(rig.store.journal(other).await.unwrap().len(), 1);
    assert_eq!(rig.store.log_read(other, 0, 100).await.unwrap().end, 6);
    rig
}

pub(super) async fn only_finished_tasks_are_deleted(rig: Rig) -> Rig {
    let suspended = rig.suspended("q").await;
    let (running, _) = rig.run().await;
    let queued = rig.create().await;
    for id in [suspended, running, queued] {
        assert!(!rig.store.delete(id).await.unwrap());
        assert!(is_there(&rig, id).await);
    }
    rig
}

pub(super) async fn a_place_is_never_given_twice(rig: Rig) -> Rig {
    let mut last = 0;
    for _ in 0..3 {
        let id = rig.finished(spec()).await;
        let sequence = rig.task(id).await.state.sequence;
        assert!(sequence > last);
        last = sequence;
        assert!(rig.store.delete(id).await.unwrap());
    }
    match rig.fork().await {
        Forked::Reopened(rig) => {
            let id = rig.create().await;
            assert!(rig.task(id).await.state.sequence > last, "after a restart");
            rig
        }
        Forked::Same(rig) => rig,
    }
}
