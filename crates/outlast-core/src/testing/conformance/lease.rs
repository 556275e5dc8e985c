//! Leases: only the worker that runs a task now can write for it (I1).

use std::time::Duration;

use super::rig::{LEASE, Rig, awaiting, done, json, question};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::{EventKind, RescueReason};
use crate::id::TaskId;
use crate::journal::{JournalKind, Recorded};
use crate::log::{Level, LogLine};
use crate::machine::{AttemptEnd, CancelMode};
use crate::progress::Progress;
use crate::status::Phase;
use crate::store::BeatReply;
use crate::task::Lease;

/// Tries every write that needs a lease and checks that none of them does anything.
async fn refused(rig: &Rig, what: &str, lease: &Lease) {
    let store = &rig.store;
    let before = store.get(lease.task).await.unwrap();
    let events = rig.events(lease.task).await;
    let journal = store.journal(lease.task).await.unwrap();
    let log = store.log_read(lease.task, 0, usize::MAX).await.unwrap();
    let line = LogLine {
        level: Level::Info,
        logger: String::new(),
        text: b"stale\n".to_vec(),
        mark: Some(99),
    };
    let progress = Progress {
        done: 1e9,
        ..Progress::default()
    };
    let value = Recorded::Value(json("0"));
    let errors = [
        store.report(lease, progress.into()).await.err(),
        store
            .journal_put(lease, JournalKind::Step, "stale", None, value, None)
            .await
            .err(),
        store.ask(lease, vec![question("stale")]).await.err(),
        store.suspend(lease, awaiting(&["stale"])).await.err(),
        store.finish(lease, done("stale"), None).await.err(),
        store.finish(lease, AttemptEnd::Release, None).await.err(),
        store.log_append(lease, vec![line]).await.err(),
    ];
    for (index, error) in errors.into_iter().enumerate() {
        assert!(
            matches!(error, Some(Error::LeaseLost(task)) if task == lease.task),
            "{what}: write {index} got {error:?}"
        );
    }
    let beats = store.heartbeat(vec![*lease], LEASE).await.unwrap();
    assert_eq!(beats, [BeatReply::Lost], "{what}");
    assert_eq!(store.get(lease.task).await.unwrap(), before, "{what}");
    assert_eq!(rig.events(lease.task).await, events, "{what}");
    assert_eq!(store.journal(lease.task).await.unwrap(), journal, "{what}");
    let after = store.log_read(lease.task, 0, usize::MAX).await.unwrap();
    assert_eq!(after, log, "{what}");
}

pub(super) async fn a_stale_lease_changes_nothing(rig: Rig) -> Rig {
    let (_, lease) = rig.run().await;
    rig.ask(&lease, &["q"]).await;
    rig.suspend_on(&lease, &["q"]).await;
    refused(&rig, "suspended", &lease).await;

    let (_, lease) = rig.run().await;
    let end = AttemptEnd::Release;
    rig.store.finish(&lease, end, None).await.unwrap();
    refused(&rig, "released", &lease).await;
    let claimed = rig.claim_one().await;
    refused(&rig, "claimed again", &lease).await;
    rig.finish(&claimed.lease).await;
    refused(&rig, "finished by another", &lease).await;

    let (id, lease) = rig.run().await;
    let mode = CancelMode::Force;
    rig.store.cancel(id, None, mode).await.unwrap();
    refused(&rig, "cancelled by force", &lease).await;
    assert!(rig.store.delete(id).await.unwrap());
    refused(&rig, "deleted", &lease).await;

    let (_, lease) = rig.run().await;
    rig.advance(LEASE);
    rig.tick().await;
    refused(&rig, "expired", &lease).await;

    let nobody = Lease {
        task: TaskId::random(),
        epoch: 1,
        nonce: 1,
    };
    refused(&rig, "unknown task", &nobody).await;
    rig
}

pub(super) async fn a_lease_with_another_nonce_changes_nothing(rig: Rig) -> Rig {
    let (_, lease) = rig.run().await;
    for other in [
        Lease {
            nonce: lease.nonce ^ 1,
            ..lease
        },
        Lease {
            epoch: lease.epoch + 1,
            ..lease
        },
        Lease {
            epoch: lease.epoch - 1,
            ..lease
        },
    ] {
        refused(&rig, "made up", &other).await;
    }
    rig.finish(&lease).await;
    rig
}

pub(super) async fn a_heartbeat_extends_the_lease(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let version = rig.task(id).await.state.version;
    for _ in 0..5 {
        rig.advance(LEASE - Duration::from_millis(1));
        rig.tick().await;
        let beats = rig.store.heartbeat(vec![lease], LEASE).await.unwrap();
        assert_eq!(beats, [BeatReply::Held]);
    }
    let task = rig.task(id).await;
    assert!(task.holds(&lease));
    assert_eq!(task.state.version, version, "no visible change");
    assert_eq!(task.due_at(), rig.clock.now() + LEASE);
    // A shorter renewal takes nothing away.
    let short = Duration::from_millis(1);
    rig.store.heartbeat(vec![lease], short).await.unwrap();
    assert_eq!(rig.task(id).await.due_at(), rig.clock.now() + LEASE);
    rig
}

pub(super) async fn a_heartbeat_answers_for_each_lease(rig: Rig) -> Rig {
    let (_, held) = rig.run().await;
    let (_, lost) = rig.run().await;
    rig.finish(&lost).await;
    let (cancelled, asked) = rig.run().await;
    let mode = CancelMode::Ask(LEASE);
    rig.store.cancel(cancelled, None, mode).await.unwrap();
    let leases = vec![lost, asked, held, lost];
    let beats = rig.store.heartbeat(leases, LEASE).await.unwrap();
    let expected = [
        BeatReply::Lost,
        BeatReply::Cancelled,
        BeatReply::Held,
        BeatReply::Lost,
    ];
    assert_eq!(beats, expected);
    assert!(
        rig.store
            .heartbeat(Vec::new(), LEASE)
            .await
            .unwrap()
            .is_empty()
    );
    rig
}

pub(super) async fn an_expired_lease_is_taken_back(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.advance(LEASE - Duration::from_millis(1));
    rig.tick().await;
    assert!(rig.task(id).await.holds(&lease), "not a moment too early");
    rig.advance(Duration::from_millis(1));
    rig.tick().await;
    let task = rig.task(id).await;
    assert_eq!(task.state.phase, Phase::Queued);
    assert_eq!(task.state.crashes, 0, "a lost lease is no crash");
    let last = rig.events(id).await.pop().unwrap();
    let reason = RescueReason::LeaseExpired;
    assert_eq!(last.kind, EventKind::Rescued { reason });
    assert_eq!(rig.claim_one().await.task.state.attempt, 2);
    rig
}

pub(super) async fn the_slow_worker_cannot_overwrite_its_successor(rig: Rig) -> Rig {
    let (id, slow) = rig.run().await;
    rig.advance(LEASE);
    rig.tick().await;
    let next = rig.claim_one().await;
    assert_eq!(next.task.id(), id);
    refused(&rig, "slow", &slow).await;
    let task = rig.finish(&next.lease).await;
    refused(&rig, "slower", &slow).await;
    assert_eq!(rig.task(id).await, task);
    rig
}

/// A lease whose grant got lost on the way is not renewed by a process that does not know it.
pub(super) async fn a_lease_that_nobody_runs_expires(rig: Rig) -> Rig {
    let first = rig.create().await;
    let second = rig.create().await;
    let known = rig.claim_one().await.lease;
    let lost = rig.claim_one().await.lease;
    rig.advance(LEASE);
    let ticked = rig.store.tick(&[known], LEASE, 10).await.unwrap();
    assert_eq!(ticked.changed, 1);
    assert!(rig.task(first).await.holds(&known));
    assert!(!rig.task(second).await.holds(&lost));
    let again = rig.claim_one().await;
    assert_eq!(again.task.id(), second);
    rig.finish(&known).await;
    rig.finish(&again.lease).await;
    rig
}

pub(super) async fn a_process_keeps_its_own_leases(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.advance(3 * LEASE);
    let ticked = rig.store.tick(&[lease], LEASE, 10).await.unwrap();
    assert_eq!((ticked.changed, ticked.deleted), (0, 0));
    assert_eq!(ticked.next, Some(rig.clock.now() + LEASE));
    assert!(rig.task(id).await.holds(&lease));
    rig.finish(&lease).await;
    rig
}
