//! Notices: hints, given after the change can be read.

use std::time::Duration;

use super::rig::{LEASE, Rig, answers, awaiting, spec};
use crate::clock::Clock;
use crate::log::{Level, LogLine};
use crate::machine::CancelMode;
use crate::status::Phase;
use crate::store::Notice;
use crate::task::TaskSpec;

pub(super) async fn changes_are_announced_after_they_are_made(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.finish(&lease).await;
    for wanted in 1..=3 {
        rig.noticed("a notice of the change", |notice| {
            matches!(notice, Notice::Changed { task, version } if *task == id && *version >= wanted)
        })
        .await;
    }
    rig
}

pub(super) async fn ready_tasks_are_announced(rig: Rig) -> Rig {
    assert!(rig.notices().is_empty());
    let id = rig.create().await;
    let ready = |notice: &Notice| *notice == Notice::Ready;
    rig.noticed("a new task is ready", ready).await;
    let lease = rig.claim_one().await.lease;
    assert_eq!(rig.phase(id).await, Phase::Running);
    rig.ask(&lease, &["q"]).await;
    rig.store.suspend(&lease, awaiting(&["q"])).await.unwrap();
    let count = |rig: &Rig| rig.notices().iter().filter(|notice| ready(notice)).count();
    let before = count(&rig);
    rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    crate::testing::eventually("an answer makes it ready", || {
        std::future::ready((count(&rig) > before).then_some(()))
    })
    .await;
    rig
}

pub(super) async fn moments_are_announced(rig: Rig) -> Rig {
    let at = rig.clock.now() + Duration::from_secs(5);
    let asked = TaskSpec {
        run_at: Some(at),
        ..spec()
    };
    rig.create_spec(asked).await;
    rig.noticed(
        "when the task is due",
        |notice| matches!(notice, Notice::Due(due) if *due <= at),
    )
    .await;
    let (id, _) = rig.run().await;
    let mode = CancelMode::Ask(Duration::from_secs(1));
    rig.store.cancel(id, None, mode).await.unwrap();
    let deadline = rig.clock.now() + Duration::from_secs(1);
    rig.noticed(
        "when the patience ends",
        |notice| matches!(notice, Notice::Due(due) if *due <= deadline),
    )
    .await;
    rig
}

pub(super) async fn stops_are_announced(rig: Rig) -> Rig {
    let (asked, _) = rig.run().await;
    let mode = CancelMode::Ask(10 * LEASE);
    rig.store.cancel(asked, None, mode).await.unwrap();
    let (forced, _) = rig.run().await;
    let mode = CancelMode::Force;
    rig.store.cancel(forced, None, mode).await.unwrap();
    let (lost, _) = rig.run().await;
    rig.advance(LEASE);
    rig.tick().await;
    for id in [asked, forced, lost] {
        rig.noticed("a stop", |notice| *notice == Notice::Stop(id))
            .await;
    }
    // Who lets go by itself is not told to.
    let lease = rig.claim_one().await.lease;
    assert_eq!(lease.task, lost);
    let before = rig.notices().len();
    rig.finish(&lease).await;
    rig.noticed("the end", |notice| {
        matches!(notice, Notice::Changed { task, version } if *task == lost && *version >= 5)
    })
    .await;
    assert!(!rig.notices()[before..].contains(&Notice::Stop(lost)));
    rig
}

pub(super) async fn logs_and_deletions_are_announced(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let line = LogLine {
        level: Level::Info,
        logger: String::new(),
        text: b"x".to_vec(),
        mark: None,
    };
    rig.store.log_append(&lease, vec![line]).await.unwrap();
    rig.noticed("the log has grown", |notice| *notice == Notice::Logged(id))
        .await;
    rig.finish(&lease).await;
    let changed = |rig: &Rig| {
        let notices = rig.notices().into_iter();
        let of = |notice: &Notice| matches!(notice, Notice::Changed { task, .. } if *task == id);
        notices.filter(of).count()
    };
    crate::testing::eventually("the end", || {
        std::future::ready((changed(&rig) >= 3).then_some(()))
    })
    .await;
    let before = changed(&rig);
    rig.store.delete(id).await.unwrap();
    crate::testing::eventually("the deletion", || {
        std::future::ready((changed(&rig) > before).then_some(()))
    })
    .await;
    rig
}
