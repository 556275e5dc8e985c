//! Trying again: attempts, steps, time limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlast_core::testing::MemoryStore;
use outlast_core::{FailureReason, Outcome};
use outlast_engine::{Error, Retry, Tool};

use crate::support::{builder, create, engine, finished, text, tool};

fn quickly(attempts: u32) -> Retry {
    Retry {
        attempts,
        first: Duration::from_millis(1),
        ..Retry::default()
    }
}

#[tokio::test]
async fn an_attempt_that_fails_is_repeated_and_its_steps_are_not() {
    static PAID: AtomicU32 = AtomicU32::new(0);
    let work = tool(async |cx| {
        let paid: u32 = cx
            .step("pay", || async { Ok(PAID.fetch_add(1, Ordering::SeqCst)) })
            .await?;
        if cx.attempt() < 3 {
            return Err(Error::tool("the host is busy"));
        }
        Ok(format!("paid {paid}, attempt {}", cx.attempt()))
    });
    let engine = engine(Tool {
        retry: Some(quickly(3)),
        ..work
    })
    .await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    assert_eq!(text(&task), "paid 0, attempt 3");
    assert_eq!(task.state.errors, 2);
}

#[tokio::test]
async fn the_last_error_is_the_outcome_and_some_errors_are_final_at_once() {
    let fails = engine(Tool {
        retry: Some(quickly(2)),
        ..tool(async |cx| Err(Error::tool(format!("error {}", cx.attempt()))))
    })
    .await;
    let task = finished(&fails.handle(), create(&fails.handle()).await).await;
    assert_eq!(text(&task), "error 2");

    let hopeless = engine(Tool {
        retry: Some(quickly(5)),
        ..tool(async |cx| Err(Error::tool(format!("error {}", cx.attempt())).never_retry()))
    })
    .await;
    let task = finished(&hopeless.handle(), create(&hopeless.handle()).await).await;
    assert_eq!(text(&task), "error 1");
}

#[tokio::test]
async fn a_step_is_tried_again_by_itself() {
    let engine = engine(tool(async |cx| {
        let tries = AtomicU32::new(0);
        let tries = &tries;
        let got: u32 = cx
            .step("fetch", || async move {
                match tries.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(Error::tool("reset").retry_after(Duration::from_millis(1))),
                    1 => std::future::pending().await,
                    n => Ok(n),
                }
            })
            .retry(quickly(3))
            .timeout(Duration::from_millis(20))
            .input("https://a.example")
            .await?;
        Ok(got.to_string())
    }))
    .await;
    let handle = engine.handle();
    assert_eq!(text(&*finished(&handle, create(&handle).await).await), "2");
}

#[tokio::test]
async fn a_step_with_another_input_does_not_replay() {
    let work = |input: u32| {
        move |cx: outlast_engine::Cx| async move {
            let kept: u32 = cx
                .step("one", move || async move { Ok(input) })
                .input(&input)
                .await?;
            if input == 1 {
                std::future::pending::<()>().await;
            }
            Ok(kept.to_string())
        }
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, tool(work(1))).start().await.unwrap();
    let handle = first.handle();
    let id = create(&handle).await;
    while handle
        .journal(&outlast_core::Owner::local(), id)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let second = builder(&Arc::new(store.successor()), tool(work(2)))
        .start()
        .await
        .unwrap();
    let task = finished(&second.handle(), id).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Failed(failure)) if failure.reason == FailureReason::JournalMismatch
    ));
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_fails_with_its_own_reason() {
    let work = tool(async |_| {
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let engine = engine(Tool {
        timeout: Some(Duration::from_millis(5)),
        ..work
    })
    .await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Failed(failure)) if failure.reason == FailureReason::Timeout
    ));
}
