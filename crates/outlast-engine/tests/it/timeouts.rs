//! Time limits: each ends a task at its moment and with its own reason.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::{FailureReason, Outcome, Owner, Phase, Task};
use outlast_engine::{Cx, Retry, Tool};

use crate::support::{builder, create, engine_with_clock, eventually, finished, get, text, tool};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

fn reason(task: &Task) -> FailureReason {
    match task.outcome.as_deref() {
        Some(Outcome::Failed(failure)) => failure.reason,
        other => panic!("not failed: {other:?}"),
    }
}

/// A tool that reports a message and then does nothing for ever.
fn silent() -> Tool {
    tool(async |cx: Cx| {
        cx.progress().message("begun");
        std::future::pending::<()>().await;
        Ok(String::new())
    })
}

fn has_begun(task: &Task) -> bool {
    task.state.progress.message.as_deref() == Some("begun")
}

#[tokio::test]
async fn an_attempt_ends_at_its_limit_and_not_before() {
    let (engine, clock) = engine_with_clock(Tool {
        timeout: Some(3600 * SECOND),
        ..silent()
    })
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, has_begun).await;
    clock.advance(3600 * SECOND - MOMENT);
    engine.run_due();
    // Long enough for the driver to have looked.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&handle, id).await.state.phase, Phase::Running);
    clock.advance(MOMENT);
    engine.run_due();
    assert_eq!(
        reason(&*finished(&handle, id).await),
        FailureReason::Timeout
    );
}

#[tokio::test]
async fn silence_ends_an_attempt_and_a_word_does_not() {
    let (engine, clock) = engine_with_clock(Tool {
        idle_timeout: Some(60 * SECOND),
        ..tool(async |cx: Cx| {
            for round in 1..=3 {
                cx.progress().message(format!("round {round}"));
                cx.step(format!("wait {round}"), || async {
                    std::future::pending::<()>().await;
                    Ok(())
                })
                .timeout(50 * SECOND)
                .await
                .expect_err("it never ends");
            }
            std::future::pending::<()>().await;
            Ok(String::new())
        })
    })
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    for round in 1..=3 {
        let message = format!("round {round}");
        eventually(&handle, id, |task| {
            task.state.progress.message.as_ref() == Some(&message)
        })
        .await;
        clock.advance(50 * SECOND);
        engine.run_due();
    }
    // The last step has ended and was recorded; from there on nothing comes.
    let owner = outlast_core::Owner::local();
    while handle.journal(&owner, id).await.unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    clock.advance(60 * SECOND);
    engine.run_due();
    let task = finished(&handle, id).await;
    assert_eq!(reason(&task), FailureReason::IdleTimeout);
}

#[tokio::test]
async fn waiting_is_not_idle() {
    let (engine, clock) = engine_with_clock(Tool {
        idle_timeout: Some(60 * SECOND),
        ..tool(async |cx: Cx| {
            cx.sleep("day", 24 * 3600 * SECOND).await?;
            Ok("woken".into())
        })
    })
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    clock.advance(24 * 3600 * SECOND);
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "woken");
}

/// Whoever is asked has as long as the question, also while the wait is hot; and the time counts again
/// afterwards.
#[tokio::test]
async fn waiting_takes_no_time() {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let asks = Tool {
        timeout: Some(10 * SECOND),
        ..tool(async |cx: Cx| {
            cx.sleep("an hour", 3600 * SECOND).await?;
            cx.progress().message("up");
            std::future::pending::<()>().await;
            Ok(String::new())
        })
    };
    let engine = builder(&store, asks).hot_wait(3600 * SECOND);
    let engine = engine.start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let sleeps = async {
        while handle
            .journal(&Owner::local(), id)
            .await
            .unwrap()
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    sleeps.await;
    // One thread runs everything here: by then the run has begun to wait.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    clock.advance(3600 * SECOND);
    engine.run_due();
    eventually(&handle, id, |task| {
        task.state.progress.message.as_deref() == Some("up")
    })
    .await;
    clock.advance(10 * SECOND);
    engine.run_due();
    let task = finished(&handle, id).await;
    assert_eq!(reason(&task), FailureReason::Timeout);
}

#[tokio::test]
async fn a_step_that_takes_too_long_has_a_reason_of_its_own() {
    let (engine, clock) = engine_with_clock(tool(async |cx: Cx| {
        cx.progress().message("begun");
        cx.step("fetch", || async {
            std::future::pending::<()>().await;
            Ok(String::new())
        })
        .timeout(5 * SECOND)
        .await
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, has_begun).await;
    clock.advance(5 * SECOND);
    engine.run_due();
    let task = finished(&handle, id).await;
    assert_eq!(reason(&task), FailureReason::StepTimeout);
}

#[tokio::test]
async fn a_limit_that_ran_out_is_retried_like_an_error() {
    let (engine, clock) = engine_with_clock(Tool {
        timeout: Some(SECOND),
        retry: Some(Retry {
            attempts: 2,
            first: SECOND,
            ..Retry::default()
        }),
        ..tool(async |cx: Cx| {
            if cx.attempt() == 1 {
                cx.progress().message("begun");
                std::future::pending::<()>().await;
            }
            Ok(format!("attempt {}", cx.attempt()))
        })
    })
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, has_begun).await;
    clock.advance(SECOND);
    engine.run_due();
    eventually(&handle, id, |task| task.state.phase == Phase::Scheduled).await;
    clock.advance(SECOND);
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "attempt 2");
}

#[tokio::test]
async fn a_queue_that_does_not_move_and_an_old_task_have_their_reasons() {
    let clock = std::sync::Arc::new(outlast_core::testing::ManualClock::default());
    let store = outlast_core::testing::MemoryStore::new(std::sync::Arc::clone(&clock) as _);
    let limited = Tool {
        queue_timeout: Some(10 * SECOND),
        max_age: 20 * SECOND,
        ..silent()
    };
    let engine = crate::support::builder(&std::sync::Arc::new(store), limited)
        .slots(1)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let first = create(&handle).await;
    eventually(&handle, first, has_begun).await;
    let second = create(&handle).await;
    clock.advance(10 * SECOND);
    engine.run_due();
    let second = finished(&handle, second).await;
    assert_eq!(reason(&second), FailureReason::QueueTimeout);
    assert_eq!(get(&handle, first).await.state.phase, Phase::Running);
    clock.advance(10 * SECOND);
    engine.run_due();
    let first = finished(&handle, first).await;
    assert_eq!(reason(&first), FailureReason::Expired);
}
