//! Cancelling: in every phase, with and without the handler's help.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outlast_core::store::CancelReply;
use outlast_core::testing::MemoryStore;
use outlast_core::{Outcome, Owner, Phase};
use outlast_engine::CancelBy;

use crate::support::{builder, create, engine, eventually, finished, text, tool};

fn is_cancelled(task: &outlast_core::Task) -> bool {
    matches!(task.outcome.as_deref(), Some(Outcome::Cancelled { .. }))
}

#[tokio::test]
async fn a_handler_that_does_not_look_is_dropped() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let engine = engine(tool(move |_| {
        let guard = Dropped(Arc::clone(&seen));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(String::new())
        }
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let reason = Some("no longer needed".to_owned());
    let reply = handle
        .cancel(
            &Owner::local(),
            id,
            reason,
            CancelBy::Wait(Duration::from_secs(60)),
        )
        .await;
    let CancelReply::Cancelled(task) = reply.unwrap() else {
        panic!("not cancelled")
    };
    assert_eq!(task.status_message().as_deref(), Some("no longer needed"));
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_handler_that_looks_may_clean_up_and_its_result_is_discarded() {
    static CLEANED: AtomicBool = AtomicBool::new(false);
    let engine = engine(tool(async |cx| {
        cx.cancelled().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        CLEANED.store(true, Ordering::SeqCst);
        Ok("late".into())
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    handle
        .cancel(&Owner::local(), id, None, CancelBy::Request)
        .await
        .unwrap();
    let task = finished(&handle, id).await;
    assert!(is_cancelled(&task));
    assert!(CLEANED.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_handler_that_never_stops_is_written_off() {
    let work = tool(async |cx| {
        cx.cancelled().await;
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work)
        .cancel_grace(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let by = CancelBy::Wait(Duration::from_millis(20));
    let reply = handle.cancel(&Owner::local(), id, None, by).await.unwrap();
    assert!(matches!(reply, CancelReply::Cancelled(task) if is_cancelled(&task)));
}

#[tokio::test]
async fn queued_and_suspended_tasks_are_cancelled_at_once() {
    let work = tool(async |cx| {
        cx.sleep("long", Duration::from_secs(3600)).await?;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work).start().await.unwrap();
    let handle = engine.handle();
    let suspended = create(&handle).await;
    eventually(&handle, suspended, |task| {
        task.state.phase == Phase::Suspended
    })
    .await;
    let reply = handle
        .cancel(&Owner::local(), suspended, None, CancelBy::Request)
        .await
        .unwrap();
    assert!(matches!(reply, CancelReply::Cancelled(task) if is_cancelled(&task)));
}

#[tokio::test]
async fn a_task_that_finished_first_stays_finished() {
    let engine = engine(tool(async |_| Ok("done".into()))).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let before = finished(&handle, id).await;
    let reply = handle
        .cancel(&Owner::local(), id, None, CancelBy::Request)
        .await
        .unwrap();
    let CancelReply::AlreadyFinished(task) = reply else {
        panic!("not finished")
    };
    assert_eq!(text(&task), "done");
    assert_eq!(task.state.updated_at, before.state.updated_at);
}

#[tokio::test]
async fn a_wait_ends_when_the_task_is_cancelled() {
    let work = tool(async |cx| {
        if cx.is_cancelled() {
            return Ok("too early".into());
        }
        let slept = cx.sleep("long", Duration::from_secs(3600)).await;
        assert!(slept.is_err());
        slept.map(|()| String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work)
        .hot_wait(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let by = CancelBy::Wait(Duration::from_secs(60));
    let reply = handle.cancel(&Owner::local(), id, None, by).await.unwrap();
    assert!(matches!(reply, CancelReply::Cancelled(task) if is_cancelled(&task)));
}
