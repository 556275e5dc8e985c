//! Ready tasks that nobody could take: what they say, and when they end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rig::{Rig, of, spec, with_priority};
use crate::clock::Clock;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::limit::{Key, Keys, LimitKey};
use crate::machine::{AttemptEnd, CancelMode};
use crate::no_worker::Missing;
use crate::outcome::{FailureReason, Outcome};
use crate::status::{Era, TaskStatus};
use crate::store::ToolVersion;
use crate::task::{NewTask, TaskSpec};

const MINUTE: Duration = Duration::from_secs(60);

fn gpu(timeout: Option<Duration>) -> Option<Missing> {
    Some(Missing {
        requires: vec!["gpu".into()],
        timeout,
    })
}

async fn note(rig: &Rig, tasks: &[TaskId], missing: Option<Missing>) -> usize {
    let noted = rig.store.note_no_worker(tasks.to_vec(), missing).await;
    noted.unwrap()
}

async fn cancel(rig: &Rig, id: TaskId) {
    let cancelled = rig.store.cancel(id, None, CancelMode::Force);
    cancelled.await.unwrap();
}

pub(super) async fn a_task_says_that_no_worker_runs_it_until_one_does(rig: Rig) -> Rig {
    let id = rig.create().await;
    rig.clock.advance(MINUTE);
    assert_eq!(note(&rig, &[id, TaskId::random()], gpu(None)).await, 1);
    let task = rig.task(id).await;
    assert_eq!(task.state.updated_at, rig.clock.now());
    assert_eq!(task.status(Era::Modern), TaskStatus::Working);
    let message = task.status_message().unwrap();
    assert!(
        message.contains("no worker with the label gpu"),
        "{message}"
    );
    let requires = vec!["gpu".to_owned()];
    let last = rig.events(id).await.pop().unwrap();
    assert_eq!(last.kind, EventKind::NoWorker { requires });
    assert_eq!(last.at, rig.clock.now());

    // Whoever says the same changes nothing.
    rig.clock.advance(MINUTE);
    assert_eq!(note(&rig, &[id], gpu(None)).await, 0);
    assert_eq!(rig.task(id).await, task);

    assert_eq!(note(&rig, &[id], None).await, 1);
    let found = rig.task(id).await;
    assert_eq!(found.status_message(), None);
    assert_eq!(found.state.no_worker, None);
    assert_eq!(found.state.updated_at, rig.clock.now());
    let last = rig.events(id).await.pop().unwrap();
    assert_eq!(last.kind, EventKind::Queued);
    assert_eq!(note(&rig, &[id], None).await, 0);
    rig
}

pub(super) async fn a_claim_ends_it(rig: Rig) -> Rig {
    let id = rig.create().await;
    note(&rig, &[id], gpu(Some(MINUTE))).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.state.no_worker, None);
    assert_eq!(rig.task(id).await.state.no_worker, None);
    rig.clock.advance(Duration::from_secs(20));
    let released = rig.store.finish(&claimed.lease, AttemptEnd::Release, None);
    released.await.unwrap();
    assert_eq!(rig.task(id).await.state.no_worker, None);
    // The time counts from when it is noted anew.
    rig.clock.advance(MINUTE);
    assert_eq!(note(&rig, &[id], gpu(Some(MINUTE))).await, 1);
    assert!(!rig.task(id).await.is_finished());
    rig
}

pub(super) async fn a_task_fails_when_nobody_came_in_time(rig: Rig) -> Rig {
    let patient = rig.create().await;
    let own = TaskSpec {
        no_worker_timeout: Some(2 * MINUTE),
        ..spec()
    };
    let own = rig.create_spec(own).await.task.id();
    let ids = [patient, own];
    for (timeout, failed) in [(None, 0), (None, 0), (None, 1), (Some(3 * MINUTE), 1)] {
        note(&rig, &ids, gpu(timeout)).await;
        let mut ended = 0;
        for id in ids {
            ended += usize::from(rig.task(id).await.is_finished());
        }
        let before = usize::from(timeout.is_some());
        assert_eq!(ended - before, failed, "with {timeout:?}");
        // No clock ends it: only who has looked for a worker and found none.
        rig.clock.advance(MINUTE);
        rig.tick().await;
    }
    for id in ids {
        let task = rig.task(id).await;
        let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
            panic!("{task:?}");
        };
        assert_eq!(failure.reason, FailureReason::NoWorker);
        assert!(failure.message.contains("gpu"), "{failure:?}");
        assert_eq!(task.state.no_worker, None);
    }
    rig
}

pub(super) async fn what_is_not_ready_is_left_alone(rig: Rig) -> Rig {
    let later = TaskSpec {
        run_at: Some(rig.clock.now() + MINUTE),
        ..spec()
    };
    let later = rig.create_spec(later).await.task.id();
    let (running, lease) = rig.run().await;
    let ended = rig.create().await;
    cancel(&rig, ended).await;
    let ids = [later, running, ended];
    assert_eq!(note(&rig, &ids, gpu(Some(Duration::ZERO))).await, 0);
    assert!(rig.task(running).await.holds(&lease));
    rig
}

pub(super) async fn what_stands_ready_is_found_by_its_version(rig: Rig) -> Rig {
    let version = |tool: &str, version: &str| ToolVersion {
        tool: tool.into(),
        version: version.into(),
    };
    let limited = |value: &str| TaskSpec {
        keys: Keys {
            limits: vec![LimitKey {
                key: Key::new("one", value),
                while_suspended: false,
            }],
            ..Keys::default()
        },
        ..spec()
    };
    let newer = TaskSpec {
        tool_version: "2:ü%0A\n%".into(),
        ..spec()
    };
    assert_eq!(rig.store.ready_versions().await.unwrap(), BTreeSet::new());
    let create = async |spec: NewTask| rig.create_spec(spec).await.task.id();
    let mut tool = BTreeSet::new();
    for spec in [
        spec(),
        with_priority(3),
        limited("a"),
        limited("a"),
        limited("b"),
        spec(),
    ] {
        tool.insert(create(spec).await);
    }
    let other = create(of("o2:")).await;
    let newer = create(newer).await;
    let versions = [
        version("o2:", "1"),
        version("tool", "1"),
        version("tool", "2:ü%0A\n%"),
    ];
    let ready = rig.store.ready_versions().await.unwrap();
    assert_eq!(ready, versions.clone().into());
    let all = async |version: &ToolVersion, limit: usize| {
        let mut found = Vec::new();
        loop {
            let page = rig.store.ready_tasks(version, found.len(), limit).await;
            let page = page.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                return found;
            }
            found.extend(page);
        }
    };
    assert_eq!(all(&versions[0], 5).await, [other]);
    assert_eq!(all(&versions[2], 5).await, [newer]);
    for limit in [1, 2, 4, 100] {
        let found = all(&versions[1], limit).await;
        assert_eq!(found.len(), tool.len(), "each once");
        assert_eq!(BTreeSet::from_iter(found), tool);
    }
    // Nobody has ever claimed it.
    cancel(&rig, other).await;
    let ready = rig.store.ready_versions().await.unwrap();
    assert_eq!(ready, versions[1..].iter().cloned().collect());
    rig
}
