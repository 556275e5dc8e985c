//! How attempts end, and progress on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::{LEASE, Rig, answers, done, json, spec};
use crate::clock::Clock;
use crate::event::EventKind;
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::{Failure, FailureReason, Outcome, ToolResult};
use crate::progress::Progress;
use crate::status::{Era, Phase, TaskStatus};
use crate::store::CancelReply;

pub(super) async fn every_outcome_is_kept_to_the_letter(rig: Rig) -> Rig {
    let outcomes = [
        Outcome::Completed(ToolResult {
            content: json(r#"[ {"type":"text" , "text":"\u00e9\n"} ]"#),
            structured: Some(json(r#"{"b":1.10,"a": [18446744073709551615, 1e300]}"#)),
            is_error: false,
            meta: Some(json(r#"{"x/y" :null}"#)),
        }),
        Outcome::Completed(ToolResult::error("no")),
        Outcome::Failed(Failure {
            reason: FailureReason::Panic,
            code: -32000,
            message: "it's \"broken\"\0".into(),
            data: Some(json("[]")),
        }),
        Outcome::Cancelled {
            reason: Some("enough".into()),
        },
        Outcome::Cancelled { reason: None },
    ];
    for outcome in outcomes {
        let (id, lease) = rig.run().await;
        let end = AttemptEnd::Done(outcome.clone());
        let reply = rig.store.finish(&lease, end, None).await.unwrap();
        assert!(reply.next.is_none());
        let task = rig.task(id).await;
        assert_eq!(task, reply.task);
        assert_eq!(task.outcome.as_deref(), Some(&outcome));
        assert_eq!(task.state.finished_at, Some(rig.clock.now()));
        let last = rig.events(id).await.pop().unwrap();
        let status = task.status(Era::Modern);
        assert_eq!(last.kind, EventKind::Finished { status });
        rig.advance(Duration::from_secs(1));
    }
    rig
}

pub(super) async fn a_large_result_is_kept(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let text: String = ('a'..='z').cycle().take(9_000_000).collect();
    rig.store.finish(&lease, done(&text), None).await.unwrap();
    let task = rig.task(id).await;
    let Some(Outcome::Completed(result)) = task.outcome.as_deref() else {
        panic!("it completed");
    };
    assert!(*result == ToolResult::text(&text), "to the letter");
    rig
}

pub(super) async fn the_same_end_may_be_reported_twice(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let first = rig.finish(&lease).await;
    rig.advance(Duration::from_secs(5));
    let again = rig.store.finish(&lease, done("done"), None).await.unwrap();
    assert_eq!(again.task, first, "as after a lost reply");
    assert_eq!(rig.events(id).await.len(), 3);
    rig
}

pub(super) async fn finished_is_final(rig: Rig) -> Rig {
    let id = rig.finished(spec()).await;
    let before = rig.task(id).await;
    for mode in [CancelMode::Force, CancelMode::Ask(LEASE)] {
        let reply = rig.store.cancel(id, Some("late".into()), mode).await;
        assert!(matches!(reply, Ok(CancelReply::AlreadyFinished(task)) if task == before));
    }
    let answered = rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    assert_eq!(answered.accepted, [""; 0]);
    rig.advance(Duration::from_secs(3600));
    rig.tick().await;
    assert!(rig.claim(1).await.is_empty());
    assert_eq!(rig.task(id).await, before, "I2");
    rig
}

pub(super) async fn the_next_task_comes_with_the_end(rig: Rig) -> Rig {
    let (_, lease) = rig.run().await;
    let next = rig.create().await;
    let by = rig.by();
    let reply = rig.store.finish(&lease, done(""), Some(&by)).await.unwrap();
    let claimed = reply.next.expect("one is ready");
    assert_eq!(claimed.task.id(), next);
    assert!(rig.task(next).await.holds(&claimed.lease));
    // A task that comes back by its own end is the next one again.
    let end = AttemptEnd::Release;
    let reply = rig
        .store
        .finish(&claimed.lease, end, Some(&by))
        .await
        .unwrap();
    assert_eq!(reply.task.state.phase, Phase::Queued);
    let again = reply.next.expect("it is ready");
    assert_eq!(again.task.id(), next);
    let by = rig.knowing(&["other"]);
    let reply = rig
        .store
        .finish(&again.lease, done(""), Some(&by))
        .await
        .unwrap();
    assert!(reply.next.is_none());
    rig
}

pub(super) async fn a_retry_runs_again_at_its_time(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let at = rig.clock.now() + Duration::from_secs(10);
    let message = "no luck".to_owned();
    let end = AttemptEnd::Retry { message, at };
    let reply = rig.store.finish(&lease, end, None).await.unwrap();
    assert_eq!(reply.task.state.phase, Phase::Scheduled);
    assert_eq!(reply.task.status_message().as_deref(), Some("no luck"));
    assert!(rig.claim(1).await.is_empty());
    rig.advance(Duration::from_secs(10));
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.state.attempt, 2);
    // At once, if the time has come.
    let message = "again".to_owned();
    let end = AttemptEnd::Retry { message, at };
    rig.store.finish(&claimed.lease, end, None).await.unwrap();
    let claimed = rig.claim_one().await;
    assert_eq!((claimed.task.id(), claimed.task.state.attempt), (id, 3));
    rig
}

pub(super) async fn a_release_counts_no_attempt(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let end = AttemptEnd::Release;
    let reply = rig.store.finish(&lease, end, None).await.unwrap();
    assert_eq!(reply.task.state.phase, Phase::Queued);
    let last = rig.events(id).await.pop().unwrap();
    assert_eq!(last.kind, EventKind::Released);
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.state.attempt, 1);
    assert_ne!(claimed.lease.epoch, lease.epoch);
    rig
}

pub(super) async fn progress_never_goes_back(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let report = async |done: f64, message: Option<&str>| {
        let progress = Progress {
            done,
            total: Some(10.0),
            message: message.map(str::to_owned),
            ..Progress::default()
        };
        rig.store.report(&lease, progress.into()).await.unwrap();
        rig.task(id).await.state.progress.clone()
    };
    let shown = report(0.1 + 0.2, Some("a")).await;
    assert_eq!(shown.done, 0.1 + 0.2, "to the last bit");
    let shown = report(4.0, Some("b")).await;
    assert_eq!((shown.done, shown.message.as_deref()), (4.0, Some("b")));
    let version = rig.task(id).await.state.version;
    assert_eq!(report(3.0, Some("c")).await, shown);
    assert_eq!(report(f64::NAN, None).await, shown);
    assert_eq!(report(4.0, Some("b")).await, shown);
    assert_eq!(rig.task(id).await.state.version, version);
    let endless = Progress {
        done: 5.0,
        total: Some(f64::INFINITY),
        message: None,
        ..Progress::default()
    };
    rig.store.report(&lease, endless.into()).await.unwrap();
    assert_eq!(rig.task(id).await.state.progress.total, None);
    let task = rig.finish(&lease).await;
    assert_eq!(task.state.progress.done, 5.0, "kept in the final record");
    assert_eq!(task.status(Era::Legacy), TaskStatus::Completed);
    let kept: BTreeMap<_, _> = rig
        .events(id)
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Progress { progress } => Some((event.number, progress.done)),
            _ => None,
        })
        .collect();
    assert_eq!(
        kept.into_values().collect::<Vec<_>>(),
        [0.1 + 0.2, 4.0, 5.0]
    );
    rig
}
