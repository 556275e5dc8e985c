//! Children: how they come, what they tell their parent, and what their parent does to them.

use std::time::Duration;

use super::rig::{Forked, Rig, done, of, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{Owner, TaskId};
use crate::journal::{JournalEntry, JournalKind};
use crate::machine::{CancelMode, Dependency, MAX_DEPTH};
use crate::outcome::Outcome;
use crate::status::{Phase, TaskStatus};
use crate::store::{Filter, SuspendReply};
use crate::task::{Awaiting, Lease, TaskSpec};

/// Children are of a tool of their own, so that a claim of `tool` never gets one.
fn child() -> TaskSpec {
    of("child")
}

impl Rig {
    async fn try_spawn(
        &self,
        lease: &Lease,
        name: &str,
        spec: TaskSpec,
        detached: bool,
    ) -> Result<JournalEntry, Error> {
        let (hash, name) = (Some(1), name);
        self.store.spawn(lease, name, hash, spec, detached).await
    }

    async fn spawn(&self, lease: &Lease, name: &str) -> TaskId {
        let spec = child();
        let id = spec.id;
        let entry = self.try_spawn(lease, name, spec, false).await;
        assert_eq!(entry.expect("a child").kind, JournalKind::Child);
        id
    }

    async fn run_child(&self) -> Lease {
        let by = self.knowing(&["child"]);
        let claimed = self.store.claim(&by, 1).await.expect("a claim");
        claimed[0].lease
    }

    async fn await_child(&self, lease: &Lease, child: TaskId) -> SuspendReply {
        let awaiting = Awaiting {
            children: vec![child],
            ..Awaiting::default()
        };
        let reply = self.store.suspend(lease, awaiting).await;
        reply.expect("its lease holds")
    }
}

pub(super) async fn a_child_and_its_entry_are_one(rig: Rig) -> Rig {
    let parent = TaskSpec {
        owner: Owner::new("ann"),
        ..spec()
    };
    let (id, lease) = rig.run_spec(parent).await;
    let spawned = child();
    let entry = rig
        .try_spawn(&lease, "c", spawned.clone(), false)
        .await
        .unwrap();
    let task = rig.task(spawned.id).await;
    assert_eq!(task.state.phase, Phase::Queued);
    assert_eq!(task.spec.owner, Owner::new("ann"), "its parent's owner");
    let parent = task.spec.parent.unwrap();
    assert_eq!((parent.task, parent.depth, parent.detached), (id, 1, false));
    assert_eq!(
        rig.store.journal(id).await.unwrap(),
        std::slice::from_ref(&entry)
    );
    let again = rig.try_spawn(&lease, "c", child(), false).await.unwrap();
    assert_eq!(again, entry, "the child that is there");
    let other = rig.store.spawn(&lease, "c", Some(2), child(), false).await;
    assert!(matches!(other.unwrap_err(), Error::JournalMismatch { .. }));
    // Whether a further one could be made is no question then.
    let mut impossible = child();
    impossible.after = vec![Dependency::success(impossible.id)];
    let again = rig.try_spawn(&lease, "c", impossible.clone(), false).await;
    assert_eq!(again.unwrap(), entry);
    let other = rig.store.spawn(&lease, "c", None, impossible, false).await;
    assert!(matches!(other.unwrap_err(), Error::JournalMismatch { .. }));
    assert_eq!(rig.task(id).await.state.children.spawned, 1);
    let kinds: Vec<_> = rig.events(id).await.into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds[2..], [EventKind::Spawned { child: spawned.id }]);
    let taken = rig.try_spawn(&lease, "d", spawned, false).await;
    assert!(matches!(taken.unwrap_err(), Error::Invalid(_)));
    rig
}

pub(super) async fn a_stale_lease_spawns_nothing(rig: Rig) -> Rig {
    let (_, lease) = rig.run().await;
    rig.finish(&lease).await;
    let refused = child();
    let id = refused.id;
    let error = rig
        .try_spawn(&lease, "c", refused, false)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LeaseLost(_)), "{error}");
    assert!(rig.store.get(id).await.unwrap().is_none());
    rig
}

pub(super) async fn a_refused_child_leaves_no_entry(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let refused = TaskSpec {
        after: vec![Dependency::success(TaskId::random())],
        ..child()
    };
    let error = rig
        .try_spawn(&lease, "c", refused, false)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(rig.store.journal(id).await.unwrap(), []);
    assert!(rig.task(id).await.state.children.is_empty());
    rig
}

pub(super) async fn the_end_of_a_child_wakes_its_parent(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let (first, second) = (rig.spawn(&lease, "1").await, rig.spawn(&lease, "2").await);
    let reply = rig.await_child(&lease, second).await;
    assert!(matches!(reply, SuspendReply::Suspended));
    let one = rig.run_child().await;
    assert_eq!(one.task, first);
    rig.finish(&one).await;
    assert_eq!(
        rig.phase(id).await,
        Phase::Suspended,
        "it waits for another"
    );
    let two = rig.run_child().await;
    rig.finish(&two).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), id);
    assert_eq!(claimed.task.state.attempt, 1, "the attempt goes on");
    let children = claimed.task.state.children;
    assert_eq!((children.spawned, children.ended), (2, 2));
    let kinds: Vec<_> = rig.events(id).await.into_iter().map(|e| e.kind).collect();
    let status = TaskStatus::Completed;
    let told = EventKind::ChildEnded {
        child: second,
        status,
    };
    assert!(kinds.contains(&told), "{kinds:?}");
    rig
}

pub(super) async fn a_child_that_has_ended_is_not_waited_for(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let first = rig.spawn(&lease, "1").await;
    let second = rig.spawn(&lease, "2").await;
    let one = rig.run_child().await;
    rig.finish(&one).await;
    let reply = rig.await_child(&lease, first).await;
    let SuspendReply::Resolved(task) = reply else {
        panic!("it had ended");
    };
    assert!(task.holds(&lease));
    let reply = rig.await_child(&lease, TaskId::random()).await;
    assert!(
        matches!(reply, SuspendReply::Resolved(_)),
        "it would never come"
    );
    let reply = rig.await_child(&lease, second).await;
    assert!(matches!(reply, SuspendReply::Suspended));
    rig.store
        .cancel(second, None, CancelMode::Force)
        .await
        .unwrap();
    assert_eq!(rig.phase(id).await, Phase::Queued, "a cancel is an end");
    rig
}

pub(super) async fn the_end_of_a_parent_cancels_its_children(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let running = rig.spawn(&lease, "1").await;
    let child_lease = rig.run_child().await;
    let nested = child();
    let nested_id = nested.id;
    rig.try_spawn(&child_lease, "n", nested, false)
        .await
        .unwrap();
    let queued = rig.spawn(&lease, "2").await;
    let free = child();
    let free_id = free.id;
    rig.try_spawn(&lease, "3", free, true).await.unwrap();
    rig.finish(&lease).await;
    let task = rig.task(queued).await;
    let Some(Outcome::Cancelled {
        reason: Some(reason),
    }) = task.outcome.as_deref()
    else {
        panic!("nobody is left to use it: {task:?}");
    };
    assert!(reason.contains(&id.to_string()), "{reason}");
    assert!(rig.task(running).await.state.cancel.is_some());
    assert_eq!(
        rig.phase(nested_id).await,
        Phase::Finished,
        "all the way down"
    );
    assert_eq!(rig.phase(free_id).await, Phase::Queued, "it is on its own");
    rig.finish(&child_lease).await;
    let task = rig.task(running).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    rig
}

pub(super) async fn a_cancel_goes_down_the_tree_at_once(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let queued = rig.spawn(&lease, "1").await;
    let patience = CancelMode::Ask(Duration::from_secs(60));
    rig.store.cancel(id, None, patience).await.unwrap();
    assert_eq!(rig.phase(id).await, Phase::Running);
    assert_eq!(rig.phase(queued).await, Phase::Finished);
    assert_eq!(rig.task(id).await.state.children.ended, 1);
    // One that is spawned while its parent stops ends with it.
    let late = rig.spawn(&lease, "2").await;
    rig.finish(&lease).await;
    assert_eq!(rig.phase(late).await, Phase::Finished);

    let (id, lease) = rig.run().await;
    let awaited = rig.spawn(&lease, "1").await;
    rig.await_child(&lease, awaited).await;
    rig.store.cancel(id, None, patience).await.unwrap();
    assert_eq!(rig.phase(id).await, Phase::Finished, "suspended ones too");
    assert_eq!(rig.phase(awaited).await, Phase::Finished);
    rig
}

pub(super) async fn a_child_is_kept_for_its_parent(rig: Rig) -> Rig {
    let hour = Duration::from_secs(3600);
    let brief = || TaskSpec {
        retention: hour,
        ..child()
    };
    let (id, lease) = rig.run().await;
    let (kept, free) = (brief(), brief());
    let (kept_id, free_id) = (kept.id, free.id);
    rig.try_spawn(&lease, "1", kept, false).await.unwrap();
    rig.try_spawn(&lease, "2", free, true).await.unwrap();
    for _ in 0..2 {
        let lease = rig.run_child().await;
        rig.finish(&lease).await;
    }
    let reply = rig.await_child(&lease, TaskId::random()).await;
    assert!(matches!(reply, SuspendReply::Resolved(_)));
    let awaiting = Awaiting {
        until: Some(rig.clock.now() + 3 * hour),
        ..Awaiting::default()
    };
    rig.store.suspend(&lease, awaiting).await.unwrap();
    rig.advance(2 * hour);
    rig.tick().await;
    assert!(rig.store.get(free_id).await.unwrap().is_none());
    let error = rig.store.delete(kept_id).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    rig.advance(hour);
    rig.tick().await;
    let lease = rig.claim_one().await.lease;
    assert_eq!(lease.task, id);
    rig.finish(&lease).await;
    let expire_at = rig.task(kept_id).await.state.expire_at;
    assert_eq!(expire_at, Some(rig.clock.now() + hour), "counts from now");
    rig.advance(hour);
    rig.tick().await;
    assert!(rig.store.get(kept_id).await.unwrap().is_none());
    rig
}

pub(super) async fn a_child_that_outlives_its_parent_is_kept_no_longer_than_others(
    rig: Rig,
) -> Rig {
    let hour = Duration::from_secs(3600);
    for asked_before in [false, true] {
        let (parent, lease) = rig.run().await;
        let spec = TaskSpec {
            retention: hour,
            ..child()
        };
        let id = spec.id;
        rig.try_spawn(&lease, "1", spec, false).await.unwrap();
        let child_lease = rig.run_child().await;
        if asked_before {
            // The child has been asked to stop by the time its parent ends.
            let patience = CancelMode::Ask(hour);
            rig.store.cancel(parent, None, patience).await.unwrap();
            assert!(rig.task(id).await.state.cancel.is_some());
        }
        rig.finish(&lease).await;
        rig.advance(Duration::from_secs(1));
        let ended = rig.store.finish(&child_lease, done("late"), None).await;
        let expire_at = ended.unwrap().task.state.expire_at;
        assert_eq!(expire_at, Some(rig.clock.now() + hour), "{asked_before}");
        rig.advance(hour);
        rig.tick().await;
        assert!(rig.store.get(id).await.unwrap().is_none());
    }
    rig
}

pub(super) async fn a_tree_has_a_depth(rig: Rig) -> Rig {
    let (_, mut lease) = rig.run().await;
    for _ in 0..MAX_DEPTH {
        rig.spawn(&lease, "down").await;
        lease = rig.run_child().await;
    }
    let error = rig.try_spawn(&lease, "down", child(), false).await;
    assert!(matches!(error.unwrap_err(), Error::Invalid(_)));
    rig
}

pub(super) async fn the_children_of_a_task_can_be_listed(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let mut children = Vec::new();
    for name in ["1", "2", "3"] {
        children.push(rig.spawn(&lease, name).await);
    }
    children.reverse();
    let one = rig.run_child().await;
    rig.finish(&one).await;
    let mut filter = Filter {
        parent: Some(id),
        ..Filter::default()
    };
    let ids = |page: crate::store::Page| -> Vec<TaskId> {
        page.tasks.iter().map(|task| task.id()).collect()
    };
    let page = rig.store.list(&filter, None, 2).await.unwrap();
    let next = page.next;
    assert_eq!(ids(page), children[..2]);
    let page = rig.store.list(&filter, next, 2).await.unwrap();
    assert_eq!(ids(page), children[2..]);
    filter.phases = vec![Phase::Queued];
    let page = rig.store.list(&filter, None, 9).await.unwrap();
    assert_eq!(ids(page), children[..2]);
    filter.owner = Some(Owner::new("ann"));
    let page = rig.store.list(&filter, None, 9).await.unwrap();
    assert_eq!(ids(page), []);
    rig
}

pub(super) async fn a_child_that_cannot_begin_tells_its_parent(rig: Rig) -> Rig {
    let failed = rig.create().await;
    rig.store
        .cancel(failed, None, CancelMode::Force)
        .await
        .unwrap();
    let (id, lease) = rig.run().await;
    let behind = TaskSpec {
        after: vec![Dependency::success(failed)],
        ..child()
    };
    let behind_id = behind.id;
    rig.try_spawn(&lease, "c", behind, false).await.unwrap();
    let children = rig.task(id).await.state.children;
    assert_eq!((children.spawned, children.ended), (1, 1));
    let reply = rig.await_child(&lease, behind_id).await;
    assert!(matches!(reply, SuspendReply::Resolved(_)));
    rig
}

pub(super) async fn a_family_survives_a_restart(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let awaited = rig.spawn(&lease, "1").await;
    rig.await_child(&lease, awaited).await;
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    let one = rig.run_child().await;
    assert_eq!(one.task, awaited);
    let by = rig.by();
    let reply = rig.store.finish(&one, done("x"), Some(&by)).await.unwrap();
    let next = reply.next.expect("the parent was woken in the same unit");
    assert_eq!(next.task.id(), id);
    assert_eq!(next.journal.len(), 1, "it finds its child");
    rig
}
