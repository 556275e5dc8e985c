//! What a dead process left behind.

use super::rig::{Rig, json, spec};
use crate::event::{EventKind, RescueReason};
use crate::id::{TaskId, WorkerId};
use crate::journal::{JournalKind, Recorded};
use crate::outcome::{FailureReason, Outcome};
use crate::status::Phase;
use crate::store::{ClaimBy, Recovered};
use crate::task::TaskSpec;

async fn recover(rig: &Rig) -> Recovered {
    rig.store
        .recover(WorkerId::random())
        .await
        .expect("a recovery")
}

async fn claim_by_another(rig: &Rig, limit: usize) -> Vec<TaskId> {
    let by = ClaimBy {
        worker: WorkerId::random(),
        ..rig.by()
    };
    let claimed = rig.store.claim(&by, limit).await.expect("a claim");
    claimed.iter().map(|one| one.task.id()).collect()
}

pub(super) async fn what_ran_is_ready_again_in_its_old_place(rig: Rig) -> Rig {
    let first = rig.create().await;
    let second = rig.create().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), first);
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (1, 0));
    let last = rig.events(first).await.pop().unwrap();
    let reason = RescueReason::Crash;
    assert_eq!(last.kind, EventKind::Rescued { reason });
    assert!(!rig.task(first).await.holds(&claimed.lease));
    assert_eq!(rig.claim_all().await, [first, second]);
    assert_eq!(rig.task(first).await.state.attempt, 2);
    rig
}

/// Two crashes in a row, with the same tasks at work.
async fn crash_twice(rig: &Rig, tasks: usize) {
    for _ in 0..2 {
        assert_eq!(claim_by_another(rig, tasks).await.len(), tasks);
        recover(rig).await;
    }
}

pub(super) async fn a_lone_task_is_to_blame(rig: Rig) -> Rig {
    let id = rig
        .create_spec(TaskSpec {
            max_crashes: 2,
            ..spec()
        })
        .await
        .task
        .id();
    assert_eq!(claim_by_another(&rig, 1).await, [id]);
    assert_eq!(recover(&rig).await.rescued, 1);
    assert_eq!(rig.task(id).await.state.crashes, 1);
    assert_eq!(claim_by_another(&rig, 1).await, [id]);
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (0, 1));
    let task = rig.task(id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("it failed");
    };
    assert_eq!(failure.reason, FailureReason::Crashed);
    assert_eq!(recover(&rig).await, Recovered::default(), "nothing is left");
    rig
}

pub(super) async fn several_tasks_become_suspects(rig: Rig) -> Rig {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(rig.create().await);
    }
    assert_eq!(claim_by_another(&rig, 4).await, ids);
    assert_eq!(recover(&rig).await.rescued, 4);
    for id in &ids {
        assert!(!rig.task(*id).await.state.suspect, "one crash says nothing");
    }
    // So all go on at once.
    assert_eq!(claim_by_another(&rig, 4).await, ids);
    assert_eq!(recover(&rig).await.rescued, 4);
    for id in &ids {
        let task = rig.task(*id).await;
        assert!(task.state.suspect);
        assert_eq!(task.state.crashes, 0, "none can be blamed");
        assert_eq!(task.state.phase, Phase::Queued);
    }
    rig
}

pub(super) async fn what_runs_in_other_processes_is_no_suspect(rig: Rig) -> Rig {
    let mut outside = Vec::new();
    for _ in 0..3 {
        let command = TaskSpec {
            max_crashes: u32::MAX,
            ..spec()
        };
        outside.push(rig.create_spec(command).await.task.id());
    }
    let inside = rig.create().await;
    crash_twice(&rig, 4).await;
    for id in &outside {
        let task = rig.task(*id).await;
        assert!(!task.state.suspect && task.state.crashes == 0);
    }
    let task = rig.task(inside).await;
    assert!(task.state.suspect);
    assert_eq!(task.state.crashes, 2, "no other can be to blame");
    // Beside a suspect they go on at once.
    let all = claim_by_another(&rig, 9).await;
    assert_eq!(all.len(), 4);
    rig
}

pub(super) async fn suspects_run_one_at_a_time(rig: Rig) -> Rig {
    let mut suspects = Vec::new();
    for _ in 0..3 {
        suspects.push(rig.create().await);
    }
    crash_twice(&rig, 3).await;
    let mut clear = Vec::new();
    for _ in 0..3 {
        clear.push(rig.create().await);
    }
    let without = ClaimBy {
        suspects: false,
        ..rig.by()
    };
    let claimed = rig.store.claim(&without, 1).await.unwrap();
    assert_eq!(claimed[0].task.id(), clear[0], "there is a suspect already");
    let ids: Vec<_> = rig
        .claim(10)
        .await
        .iter()
        .map(|one| one.task.id())
        .collect();
    assert_eq!(ids, [suspects[0], clear[1], clear[2]]);
    // The next one comes with the end of the first, if there is room for a suspect then.
    let lease = rig.task(suspects[0]).await.lease().expect("it runs");
    let reply = rig
        .store
        .finish(&lease, super::rig::done(""), Some(&without))
        .await
        .unwrap();
    assert!(reply.next.is_none());
    assert_eq!(rig.claim_one().await.task.id(), suspects[1]);
    rig
}

pub(super) async fn the_only_suspect_is_to_blame(rig: Rig) -> Rig {
    let suspect = rig.create().await;
    let other = rig.create().await;
    crash_twice(&rig, 2).await;
    assert_eq!(claim_by_another(&rig, 2).await, [suspect]);
    let bystander = rig.create().await;
    assert_eq!(claim_by_another(&rig, 1).await.len(), 1);
    recover(&rig).await;
    let crashes = async |id| rig.task(id).await.state.crashes;
    // Two suspects ran by two claims, so neither can be blamed.
    assert_eq!((crashes(suspect).await, crashes(other).await), (0, 0));
    // Clear one of them; then the other is the only one.
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), suspect);
    let value = Recorded::Value(json("1"));
    rig.store
        .journal_put(&claimed.lease, JournalKind::Step, "s", None, value, None)
        .await
        .unwrap();
    assert!(!rig.task(suspect).await.state.suspect);
    assert_eq!(claim_by_another(&rig, 1).await, [other]);
    recover(&rig).await;
    assert_eq!((crashes(suspect).await, crashes(other).await), (0, 1));
    assert_eq!(crashes(bystander).await, 0);
    rig
}

pub(super) async fn its_own_tasks_are_left_alone(rig: Rig) -> Rig {
    let (_, lease) = rig.run().await;
    let recovered = rig.store.recover(rig.worker).await.unwrap();
    assert_eq!(recovered, Recovered::default());
    rig.finish(&lease).await;
    rig
}

fn unrepeatable() -> TaskSpec {
    TaskSpec {
        repeatable: false,
        ..spec()
    }
}

pub(super) async fn what_may_not_be_repeated_ends(rig: Rig) -> Rig {
    let (crashed, _) = rig.run_spec(unrepeatable()).await;
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (0, 1));
    let (slow, _) = rig.run_spec(unrepeatable()).await;
    rig.advance(super::rig::LEASE);
    rig.tick().await;
    for (id, why) in [(crashed, "process died"), (slow, "cut off or too slow")] {
        let task = rig.task(id).await;
        let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
            panic!("it failed");
        };
        assert_eq!(failure.reason, FailureReason::Interrupted);
        assert!(failure.message.contains(why), "{}", failure.message);
    }
    rig
}

pub(super) async fn what_nobody_has_confirmed_is_not_interrupted(rig: Rig) -> Rig {
    let careful = TaskSpec {
        confirmed_by: Some("sure".into()),
        ..unrepeatable()
    };
    let (id, _) = rig.run_spec(careful).await;
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (1, 0));
    let lease = rig.claim_one().await.lease;
    rig.ask(&lease, &["sure", "more"]).await;
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (1, 0));
    rig.claim_one().await;
    let answers = super::rig::answers(&[("sure", "1")]);
    rig.store.answer(id, answers).await.unwrap();
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (0, 1));
    rig
}

pub(super) async fn what_may_not_be_repeated_and_has_not_begun_runs(rig: Rig) -> Rig {
    let queued = rig.create_spec(unrepeatable()).await.task.id();
    assert_eq!(recover(&rig).await, Recovered::default());
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), queued);
    // Waiting in the store is no interruption, and neither is being handed back.
    rig.ask(&claimed.lease, &["q"]).await;
    rig.suspend_on(&claimed.lease, &["q"]).await;
    assert_eq!(recover(&rig).await, Recovered::default());
    let answers = super::rig::answers(&[("q", "1")]);
    rig.store.answer(queued, answers).await.unwrap();
    let lease = rig.claim_one().await.lease;
    let release = crate::machine::AttemptEnd::Release;
    rig.store.finish(&lease, release, None).await.unwrap();
    let lease = rig.claim_one().await.lease;
    rig.finish(&lease).await;
    rig
}

pub(super) async fn what_was_created_first_is_taken_back_first(rig: Rig) -> Rig {
    // Ids say nothing about that.
    let [parent, child] = [2, 1].map(|number| TaskId::from_bytes([number; 16]));
    let (_, lease) = rig
        .run_spec(TaskSpec {
            id: parent,
            ..unrepeatable()
        })
        .await;
    let spawned = TaskSpec {
        id: child,
        ..spec()
    };
    let store = &rig.store;
    store
        .spawn(&lease, "c", None, spawned, false)
        .await
        .unwrap();
    assert_eq!(rig.claim_one().await.task.id(), child);
    // The end of the parent has reached its child by the time that it is the child's turn.
    let recovered = recover(&rig).await;
    assert_eq!((recovered.rescued, recovered.failed), (0, 2));
    let task = rig.task(child).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    rig
}
