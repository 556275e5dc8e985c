//! Steps: recorded once, replayed after a crash.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::testing::MemoryStore;
use outlast_core::{FailureReason, Outcome, Owner};
use outlast_engine::Error;

use crate::support::{builder, create, engine, eventually, finished, text, tool};

/// A crash in one process: the engine is forgotten with everything in memory, and another one takes
/// over the same records.
async fn crash_and_restart<F, Fut>(store: &Arc<MemoryStore>, work: F) -> outlast_engine::Engine
where
    F: Fn(outlast_engine::Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = outlast_engine::Result<String>> + Send + 'static,
{
    let successor = Arc::new(store.successor());
    builder(&successor, tool(work)).start().await.unwrap()
}

#[tokio::test]
async fn recorded_steps_are_not_run_again_after_a_crash() {
    let runs: Arc<Mutex<Vec<String>>> = Arc::default();
    let work = |runs: Arc<Mutex<Vec<String>>>, last: &'static str| {
        move |cx: outlast_engine::Cx| {
            let runs = Arc::clone(&runs);
            async move {
                let mut sum = 0;
                for i in 0..5 {
                    let runs = Arc::clone(&runs);
                    cx.info(format!("step {i}"));
                    let value: u32 = cx
                        .step(format!("step {i}"), || async {
                            runs.lock().unwrap().push(format!("{i}"));
                            if i == 3 && last == "hang" {
                                std::future::pending::<()>().await;
                            }
                            Ok(i * 10)
                        })
                        .await?;
                    sum += value;
                }
                Ok(format!("{sum} in attempt {}", cx.attempt()))
            }
        }
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, tool(work(Arc::clone(&runs), "hang")))
        .start()
        .await
        .unwrap();
    let id = create(&first.handle()).await;
    while runs.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    let second = crash_and_restart(&store, work(Arc::clone(&runs), "go")).await;
    let task = finished(&second.handle(), id).await;
    assert_eq!(text(&task), "100 in attempt 2");
    assert_eq!(*runs.lock().unwrap(), ["0", "1", "2", "3", "3", "4"]);
    let page = second
        .handle()
        .log(&Owner::local(), id, 0, usize::MAX)
        .await
        .unwrap();
    let log: Vec<u8> = page
        .chunks
        .into_iter()
        .flat_map(|chunk| chunk.text)
        .collect();
    let log = String::from_utf8(log).unwrap();
    assert!(
        log.lines().filter(|line| *line == "step 0").count() <= 1,
        "{log}"
    );
}

#[tokio::test]
async fn a_recorded_error_is_replayed() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let work = |hang: bool| {
        move |cx: outlast_engine::Cx| async move {
            let failed: Result<u32, Error> = cx
                .step("pay", || async {
                    RUNS.fetch_add(1, Ordering::SeqCst);
                    Err(Error::tool("card refused"))
                })
                .await;
            let message = failed.unwrap_err().to_string();
            let _: u32 = cx.step("after", || async { Ok(1) }).await?;
            if hang {
                std::future::pending::<()>().await;
            }
            Ok(message)
        }
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, tool(work(true))).start().await.unwrap();
    let id = create(&first.handle()).await;
    while first
        .handle()
        .journal(&Owner::local(), id)
        .await
        .unwrap()
        .len()
        < 2
    {
        tokio::task::yield_now().await;
    }
    let second = crash_and_restart(&store, work(false)).await;
    assert_eq!(text(&*finished(&second.handle(), id).await), "card refused");
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_task_that_kills_its_process_is_given_up() {
    let store = Arc::new(MemoryStore::default());
    let hang = |_| async {
        std::future::pending::<()>().await;
        Ok(String::new())
    };
    let first = builder(&store, tool(hang)).start().await.unwrap();
    let id = create(&first.handle()).await;
    let mut current = store;
    for _ in 0..3 {
        let next = Arc::new(current.successor());
        let engine = builder(&next, tool(hang)).start().await.unwrap();
        eventually(&engine.handle(), id, |task| {
            task.is_finished() || task.lease().is_some()
        })
        .await;
        current = next;
        std::mem::forget(engine);
    }
    let engine = crash_and_restart(&current, hang).await;
    let task = finished(&engine.handle(), id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome)
    };
    assert_eq!(failure.reason, FailureReason::Crashed);
}

#[tokio::test]
async fn misuse_of_steps_is_an_error_that_says_so() {
    let twice = engine(tool(async |cx| {
        cx.step("a", || async { Ok(1) }).await?;
        cx.step("a", || async { Ok(2) })
            .await
            .map(|two: u32| two.to_string())
    }))
    .await;
    let task = finished(&twice.handle(), create(&twice.handle()).await).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Failed(f)) if f.reason == FailureReason::JournalMismatch
            && f.message.contains("used twice")
    ));

    let nested = engine(tool(async |cx| {
        let inner = cx.clone();
        cx.step("outer", || async {
            inner.progress().message("allowed");
            let refused = inner.step("inner", || async { Ok(1) }).await;
            Ok(refused
                .map(|one: u32| one.to_string())
                .unwrap_or_else(|error| error.to_string()))
        })
        .await
    }))
    .await;
    let task = finished(&nested.handle(), create(&nested.handle()).await).await;
    assert!(text(&task).contains("inside a step"), "{}", text(&task));
}

#[tokio::test]
async fn steps_may_run_side_by_side() {
    let engine = engine(tool(async |cx| {
        let (a, b): (Result<u32, _>, Result<u32, _>) = tokio::join!(
            cx.step("a", || async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(1)
            }),
            cx.step("b", || async { Ok(2) }),
        );
        Ok(format!("{}", a? + b?))
    }))
    .await;
    let handle = engine.handle();
    assert_eq!(text(&*finished(&handle, create(&handle).await).await), "3");
}

/// A step whose value cannot be kept fails the task and says why; nothing is recorded.
#[tokio::test]
async fn a_value_that_cannot_be_kept_is_refused() {
    let failure = async |tool: outlast_engine::Tool| {
        let engine = engine(tool).await;
        let handle = engine.handle();
        let task = finished(&handle, create(&handle).await).await;
        assert_eq!(task.state.journal.entries, 0);
        match task.outcome.as_deref() {
            Some(Outcome::Failed(failure)) => failure.clone(),
            other => panic!("{other:?}"),
        }
    };
    let large = failure(tool(async |cx| {
        cx.step("page", || async { Ok("x".repeat(5 * 1024 * 1024)) })
            .await
    }));
    let large = large.await;
    assert_eq!(large.reason, FailureReason::JournalFull);
    assert!(
        large.message.contains("step \"page\" has 5242886 bytes"),
        "{}",
        large.message
    );
    let keys = failure(tool(async |cx| {
        let pairs = std::collections::BTreeMap::from([((1, 2), 3)]);
        let kept = cx.step("pairs", || std::future::ready(Ok(pairs.clone())));
        Ok(format!("{:?}", kept.await?))
    }));
    let keys = keys.await;
    assert!(
        keys.message.contains("step \"pairs\" has no JSON form"),
        "{}",
        keys.message
    );
    let number = failure(tool(async |cx| {
        let number: f64 = cx.step("ratio", || async { Ok(f64::NAN) }).await?;
        Ok(number.to_string())
    }));
    let number = number.await;
    assert!(
        number.message.contains("changes on its way"),
        "{}",
        number.message
    );
}
