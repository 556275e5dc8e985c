//! Chains: tasks that come after others.

use std::time::Duration;

use super::rig::{Forked, Rig, done, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{Owner, TaskId};
use crate::machine::{AttemptEnd, CancelMode, Dependency};
use crate::outcome::{Failure, FailureReason, Outcome, ToolResult};
use crate::status::Phase;
use crate::store::ClaimNow;
use crate::task::TaskSpec;

fn after(dependencies: &[Dependency]) -> TaskSpec {
    TaskSpec {
        after: dependencies.to_vec(),
        ..spec()
    }
}

pub(super) async fn a_dependant_is_blocked_until_all_have_completed(rig: Rig) -> Rig {
    let (first, second) = (rig.create().await, rig.create().await);
    let edges = [Dependency::success(first), Dependency::success(second)];
    let created = rig.create_spec(after(&edges)).await;
    let id = created.task.id();
    assert_eq!(created.task.state.phase, Phase::Blocked);
    assert_eq!(rig.stats_of("blocked").await, 1);
    for _ in [first, second] {
        assert_eq!(rig.phase(id).await, Phase::Blocked);
        let lease = rig.claim_one().await.lease;
        rig.finish(&lease).await;
    }
    assert_eq!(rig.phase(id).await, Phase::Queued);
    assert_eq!(rig.stats_of("blocked").await, 0);
    let kinds: Vec<_> = rig.events(id).await.into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EventKind::Created, EventKind::Queued]);
    let lease = rig.claim_one().await.lease;
    assert_eq!(lease.task, id);
    rig.finish(&lease).await;
    rig
}

pub(super) async fn the_end_that_unblocks_may_claim_it_too(rig: Rig) -> Rig {
    let (first, lease) = rig.run().await;
    let id = rig
        .create_spec(after(&[Dependency::success(first)]))
        .await
        .task
        .id();
    let reply = rig.store.finish(&lease, done("x"), Some(&rig.by())).await;
    assert_eq!(reply.unwrap().next.unwrap().task.id(), id);
    rig
}

pub(super) async fn an_edge_to_an_ended_task_is_settled_at_once(rig: Rig) -> Rig {
    let first = rig.finished(spec()).await;
    let spec = after(&[Dependency::success(first)]);
    let claim = ClaimNow::IfNext(rig.by());
    let created = rig.store.create(spec, Some(claim)).await.unwrap();
    assert!(created.lease.is_some(), "it is ready and next");
    let cancelled = rig.create().await;
    rig.store
        .cancel(cancelled, None, CancelMode::Force)
        .await
        .unwrap();
    let created = rig
        .create_spec(after(&[Dependency::success(cancelled)]))
        .await;
    assert!(matches!(
        created.task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    let read = rig.task(created.task.id()).await;
    assert_eq!(*read, *created.task, "the outcome is stored with it");
    rig
}

pub(super) async fn a_failure_ends_those_that_need_success(rig: Rig) -> Rig {
    let failures = [
        Outcome::Failed(Failure::internal(FailureReason::Error, "no")),
        Outcome::Completed(ToolResult::error("no")),
    ];
    for failure in failures {
        let (first, lease) = rig.run().await;
        let needs = rig.create_spec(after(&[Dependency::success(first)])).await;
        let behind = after(&[Dependency::success(needs.task.id())]);
        let behind = rig.create_spec(behind).await.task.id();
        let any = rig.create_spec(after(&[Dependency::any_end(first)])).await;
        let end = AttemptEnd::Done(failure);
        rig.store.finish(&lease, end, None).await.unwrap();
        for id in [needs.task.id(), behind] {
            let task = rig.task(id).await;
            let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
                panic!("failed with its dependency: {task:?}");
            };
            assert_eq!(failure.reason, FailureReason::Dependency);
        }
        let claimed = rig.claim_one().await;
        assert_eq!(claimed.task.id(), any.task.id(), "any end will do");
        rig.finish(&claimed.lease).await;
    }
    rig
}

pub(super) async fn a_cancelled_dependency_cancels_those_that_need_success(rig: Rig) -> Rig {
    let first = rig.create().await;
    let needs = rig.create_spec(after(&[Dependency::success(first)])).await;
    rig.store
        .cancel(first, None, CancelMode::Force)
        .await
        .unwrap();
    let task = rig.task(needs.task.id()).await;
    let Some(Outcome::Cancelled {
        reason: Some(reason),
    }) = task.outcome.as_deref()
    else {
        panic!("cancelled with its dependency: {task:?}");
    };
    assert!(reason.contains(&first.to_string()), "{reason}");
    rig
}

pub(super) async fn unknown_dependencies_create_nothing(rig: Rig) -> Rig {
    let gone = rig
        .finished(TaskSpec {
            retention: Duration::ZERO,
            priority: 1,
            ..spec()
        })
        .await;
    let foreign = TaskSpec {
        owner: Owner::new("ann"),
        ..spec()
    };
    let foreign = rig.create_spec(foreign).await.task.id();
    let known = rig.create().await;
    let twice = [Dependency::success(known), Dependency::any_end(known)];
    let itself = spec();
    let own = Dependency::success(itself.id);
    for refused in [
        after(&[Dependency::success(TaskId::random())]),
        after(&[Dependency::any_end(foreign)]),
        after(&[Dependency::any_end(gone)]),
        after(&twice),
        after(&vec![Dependency::success(known); 1001]),
        TaskSpec {
            after: vec![own],
            ..itself
        },
    ] {
        let id = refused.id;
        let error = rig.store.create(refused, None).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        assert!(rig.store.get(id).await.unwrap().is_none());
    }
    rig
}

pub(super) async fn a_repeated_creation_does_not_look_again(rig: Rig) -> Rig {
    let first = rig.finished(spec()).await;
    let spec = after(&[Dependency::success(first)]);
    let created = rig.create_spec(spec.clone()).await;
    assert!(rig.store.delete(first).await.unwrap());
    let again = rig.create_spec(spec).await;
    assert_eq!(*again.task, *created.task);
    rig
}

pub(super) async fn a_later_time_and_a_dependency_are_both_waited_for(rig: Rig) -> Rig {
    let second = Duration::from_secs(1);
    let (first, lease) = rig.run().await;
    let later = |edge| TaskSpec {
        run_at: Some(rig.clock.now() + second),
        ..after(&[edge])
    };
    let early = rig
        .create_spec(later(Dependency::success(first)))
        .await
        .task;
    let late = rig
        .create_spec(later(Dependency::any_end(early.id())))
        .await
        .task;
    assert_eq!(early.state.phase, Phase::Scheduled);
    rig.finish(&lease).await;
    assert_eq!(rig.phase(early.id()).await, Phase::Scheduled, "not yet");
    rig.advance(second);
    rig.tick().await;
    assert_eq!(rig.phase(early.id()).await, Phase::Queued);
    assert_eq!(rig.phase(late.id()).await, Phase::Blocked);
    let kinds: Vec<_> = rig
        .events(late.id())
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(kinds, [EventKind::Created, EventKind::Blocked]);
    let lease = rig.claim_one().await.lease;
    rig.finish(&lease).await;
    assert_eq!(rig.phase(late.id()).await, Phase::Queued);
    rig
}

pub(super) async fn a_blocked_task_can_be_cancelled(rig: Rig) -> Rig {
    let (first, lease) = rig.run().await;
    let id = rig
        .create_spec(after(&[Dependency::success(first)]))
        .await
        .task
        .id();
    rig.store
        .cancel(id, None, CancelMode::Ask(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(rig.phase(id).await, Phase::Finished);
    assert!(rig.store.delete(id).await.unwrap());
    rig.finish(&lease).await;
    assert!(rig.store.get(id).await.unwrap().is_none());
    rig
}

pub(super) async fn no_deletion_strands_a_dependant(rig: Rig) -> Rig {
    let brief = TaskSpec {
        retention: Duration::ZERO,
        ..spec()
    };
    let (first, lease) = rig.run_spec(brief).await;
    let id = rig
        .create_spec(after(&[Dependency::success(first)]))
        .await
        .task
        .id();
    rig.finish(&lease).await;
    rig.tick().await;
    assert!(rig.store.get(first).await.unwrap().is_none());
    assert_eq!(rig.claim_all().await, [id]);
    rig
}

pub(super) async fn a_task_that_grows_too_old_takes_its_dependants_along(rig: Rig) -> Rig {
    let brief = TaskSpec {
        max_age: Duration::from_secs(60),
        ..spec()
    };
    let first = rig.create_spec(brief).await.task.id();
    let id = rig
        .create_spec(after(&[Dependency::success(first)]))
        .await
        .task
        .id();
    rig.advance(Duration::from_secs(60));
    rig.tick().await;
    assert_eq!(rig.phase(id).await, Phase::Finished);
    rig
}

pub(super) async fn what_is_blocked_is_blocked_after_a_restart(rig: Rig) -> Rig {
    let first = rig.create().await;
    let id = rig
        .create_spec(after(&[Dependency::success(first)]))
        .await
        .task
        .id();
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(rig.claim_all().await, [first]);
    let lease = rig.task(first).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(rig.claim_all().await, [id]);
    rig
}

/// How many tasks stand behind one another, and beside one another, in a crowd.
const CROWD: usize = 300;

pub(super) async fn the_end_of_a_long_chain_is_one(rig: Rig) -> Rig {
    let (first, lease) = rig.run().await;
    let mut chain = vec![first];
    for _ in 0..CROWD {
        let last = *chain.last().expect("the first");
        let next = rig.create_spec(after(&[Dependency::success(last)])).await;
        chain.push(next.task.id());
    }
    let failure = Failure::internal(FailureReason::Error, "no");
    let end = AttemptEnd::Done(Outcome::Failed(failure));
    rig.store.finish(&lease, end, None).await.unwrap();
    for (place, id) in chain.iter().enumerate().skip(1) {
        let task = rig.task(*id).await;
        let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
            panic!("{place} steps behind the one that failed: {task:?}");
        };
        assert_eq!(failure.reason, FailureReason::Dependency);
    }
    assert_eq!(rig.stats_of("finished").await, CROWD as u64 + 1);
    // What is due for others is not held up by it either.
    let later = TaskSpec {
        run_at: Some(rig.clock.now() + Duration::from_secs(1)),
        ..spec()
    };
    let later = rig.create_spec(later).await.task.id();
    rig.advance(Duration::from_secs(1));
    rig.tick().await;
    assert_eq!(rig.claim_all().await, [later]);
    rig
}

pub(super) async fn a_cancel_reaches_a_long_chain_of_which_each_has_others_behind(rig: Rig) -> Rig {
    let first = rig.create().await;
    let mut last = first;
    let mut all = vec![first];
    for _ in 0..CROWD / 3 {
        let edge = [Dependency::success(last)];
        for _ in 0..2 {
            all.push(rig.create_spec(after(&edge)).await.task.id());
        }
        last = rig.create_spec(after(&edge)).await.task.id();
        all.push(last);
    }
    rig.store
        .cancel(first, None, CancelMode::Ask(Duration::ZERO))
        .await
        .unwrap();
    for id in all {
        let task = rig.task(id).await;
        assert!(
            matches!(task.outcome.as_deref(), Some(Outcome::Cancelled { .. })),
            "{task:?}"
        );
    }
    rig
}
