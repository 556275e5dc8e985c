//! From creation to the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ToolVersion};
use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{
    Clock, FailureReason, Outcome, Owner, Phase, Reads, Store, ToolResult, WorkerId,
};
use outlast_engine::{Engine, Error, ErrorKind, Tool, Tools};
use tokio::sync::{Semaphore, mpsc};

use crate::support::{builder, call, create, engine, finished, get, text, tool};

#[tokio::test]
async fn a_task_runs_and_its_result_can_be_read_again() {
    let engine = engine(tool(async |_| Ok("done".into()))).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let first = finished(&handle, id).await;
    assert_eq!(text(&first), "done");
    assert_eq!(get(&handle, id).await.outcome, first.outcome);
}

#[tokio::test]
async fn another_owner_finds_nothing() {
    let engine = engine(tool(async |_| Ok("done".into()))).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let foreign = handle.get(&Owner::new("mallory"), id).await.unwrap_err();
    let unknown = handle
        .get(&Owner::local(), outlast_core::TaskId::random())
        .await
        .unwrap_err();
    assert!(matches!(foreign, outlast_core::Error::NotFound(_)));
    assert!(matches!(unknown, outlast_core::Error::NotFound(_)));
}

#[tokio::test]
async fn each_way_to_fail_has_its_outcome() {
    let tool_error = engine(tool(async |_| Err(Error::tool("no such file")))).await;
    let task = finished(&tool_error.handle(), create(&tool_error.handle()).await).await;
    assert!(matches!(task.outcome.as_deref(), Some(Outcome::Completed(r)) if r.is_error));

    let protocol = engine(tool(async |_| Err(Error::protocol(-32001, "gone")))).await;
    let task = finished(&protocol.handle(), create(&protocol.handle()).await).await;
    assert!(matches!(task.outcome.as_deref(), Some(Outcome::Failed(f)) if f.code == -32001));

    let panics = engine(tool(async |_| panic!("index out of bounds"))).await;
    let task = finished(&panics.handle(), create(&panics.handle()).await).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome)
    };
    assert_eq!(failure.reason, FailureReason::Panic);
    assert!(failure.message.contains("index out of bounds"));
    // The server goes on.
    finished(&panics.handle(), create(&panics.handle()).await).await;
}

#[tokio::test]
async fn more_tasks_than_slots_all_run_and_never_too_many_at_once() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let work = tool(async |_| {
        MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        Ok("done".into())
    });
    let engine = builder(&Arc::new(MemoryStore::default()), work)
        .slots(3)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(create(&handle).await);
    }
    for id in ids {
        finished(&handle, id).await;
    }
    assert!(MOST.load(Ordering::SeqCst) <= 3);
}

/// A worker that everybody takes for dead wakes up and goes on: its handler is dropped, and the store
/// refuses what is left of it all that it writes.
#[tokio::test]
async fn a_worker_that_was_written_off_can_change_nothing() {
    /// Says that the handler is gone.
    struct Gone(mpsc::UnboundedSender<&'static str>);

    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }

    let store = Arc::new(MemoryStore::default());
    let (tell, mut told) = mpsc::unbounded_channel();
    let wakes = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&wakes);
    let sleeper = tool(move |cx| {
        let (gate, tell) = (Arc::clone(&gate), tell.clone());
        async move {
            let _ = tell.send("begun");
            let _gone = Gone(tell.clone());
            tokio::spawn(async move {
                gate.acquire().await.expect("never closed").forget();
                let step = cx.step("late", || async { Ok(()) }).await;
                let lost = step.is_err_and(|error| matches!(error.kind(), ErrorKind::LeaseLost));
                let _ = tell.send(if lost { "refused" } else { "recorded" });
            });
            std::future::pending().await
        }
    });
    let engine = builder(&store, sleeper).slots(1).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    assert_eq!(told.recv().await, Some("begun"));
    // Another worker takes over, in one turn of this thread.
    let version = ToolVersion {
        tool: "work".into(),
        version: "1".into(),
    };
    let by = ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([version].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    };
    store.recover(by.worker).await.unwrap();
    let claimed = store.claim(&by, 1).await.unwrap().remove(0);
    assert_eq!(told.recv().await, Some("dropped"));
    wakes.add_permits(1);
    assert_eq!(told.recv().await, Some("refused"));
    let done = Outcome::Completed(ToolResult::text("by the second"));
    let done = store.finish(&claimed.lease, AttemptEnd::Done(done), None);
    done.await.unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "by the second");
    let journal = store.journal(id).await.unwrap();
    assert!(journal.is_empty(), "{journal:?}");
}

#[tokio::test]
async fn lines_that_were_dropped_are_counted_in_the_record() {
    let engine = engine(tool(async |cx| {
        // Nothing is stored in between, for the handler gives the driver no turn.
        for _ in 0..3 {
            cx.info("x".repeat(600 * 1024));
        }
        Ok("done".into())
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    assert_eq!(finished(&handle, id).await.lines_dropped(), 2);
}

#[tokio::test]
async fn progress_and_log_stand_in_the_record() {
    let engine = engine(tool(async |cx| {
        for item in cx.progress().over(0..10) {
            cx.info(format!("item {item}"));
        }
        cx.progress().message("all done");
        Ok("done".into())
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = finished(&handle, id).await;
    assert_eq!(task.state.progress.done, 10.0);
    assert_eq!(task.state.progress.total, Some(10.0));
    assert_eq!(task.state.progress.message.as_deref(), Some("all done"));
    let page = handle
        .log(&Owner::local(), id, 0, usize::MAX)
        .await
        .unwrap();
    let text: Vec<u8> = page
        .chunks
        .iter()
        .filter(|chunk| chunk.logger.is_empty())
        .flat_map(|chunk| chunk.text.clone())
        .collect();
    assert_eq!(String::from_utf8(text).unwrap().lines().count(), 10);
    assert_eq!(page.next, page.end);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_handler_that_blocks_every_thread_keeps_its_lease() {
    let work = tool(async |cx| {
        // Wrong on purpose: the only worker thread is stuck for several leases.
        std::thread::sleep(Duration::from_millis(900));
        Ok(format!("attempt {}", cx.attempt()))
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work)
        .lease(Duration::from_millis(150))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    assert_eq!(text(&task), "attempt 1");
}

#[tokio::test]
async fn blocking_handlers_run_beside_the_async_threads() {
    struct Blocks;
    impl outlast_engine::Handler for Blocks {
        fn check(&self, _: &outlast_core::RawJson) -> Result<(), String> {
            Ok(())
        }

        fn call(
            &self,
            _: outlast_core::RawJson,
            cx: outlast_engine::Cx,
        ) -> outlast_engine::BoxFuture<'static, outlast_engine::Result<outlast_core::ToolResult>>
        {
            cx.run_blocking(|cx| {
                let answer: u32 = cx.step("compute", || Ok(42))?;
                if answer == 42 {
                    panic!("on its own thread")
                }
                unreachable!()
            })
        }
    }
    let work = Tool {
        task: outlast_engine::TaskSupport::Optional,
        ..Tool::new("work", Arc::new(Blocks))
    };
    let engine = engine(work).await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome)
    };
    assert!(
        failure.message.contains("on its own thread"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_clean_stop_hands_tasks_back_without_counting_the_attempt() {
    let work = tool(async |_| {
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    assert_eq!(get(&handle, id).await.state.phase, Phase::Running);
    engine.shutdown(Duration::ZERO).await.unwrap();
    let task = store.successor().get(id).await.unwrap().unwrap();
    assert_eq!(task.state.phase, Phase::Queued);
    assert!(
        task.state.resuming,
        "the next claim goes on with the attempt"
    );
    assert_eq!(task.state.crashes, 0);
}

#[tokio::test]
async fn a_scheduled_call_waits_for_its_moment() {
    let (engine, clock) =
        crate::support::engine_with_clock(tool(async |_| Ok("done".into()))).await;
    let handle = engine.handle();
    let mut later = call(&handle);
    later.run_at = Some(handle.now() + Duration::from_secs(3600));
    let id = handle.create(later).await.unwrap().id();
    assert_eq!(get(&handle, id).await.state.phase, Phase::Scheduled);
    clock.advance(Duration::from_secs(3600));
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "done");
}

#[tokio::test]
async fn a_process_shows_itself_and_says_when_it_cannot_work() {
    let store = Arc::new(MemoryStore::default());
    let quick = tool(async |_| Ok(String::new()));
    let engine = builder(&store, quick).named("here", "7").slots(3).start();
    let engine = engine.await.unwrap();
    let handle = engine.handle();
    finished(&handle, create(&handle).await).await;
    let workers = handle.workers().await.unwrap();
    let [worker] = &workers[..] else {
        panic!("this process alone: {workers:?}");
    };
    assert_eq!(
        (worker.name.as_str(), worker.version.as_str()),
        ("here", "7")
    );
    assert_eq!((worker.pid, worker.slots), (std::process::id(), 3));
    assert_eq!(worker.attempts, 1);
    assert_eq!(worker.tools, ["work"]);
    assert_eq!(handle.check_alive(), Ok(()));
    engine.shutdown(Duration::ZERO).await.unwrap();
    let why = handle.check_alive().unwrap_err();
    assert!(why.contains("stopping"), "{why}");
}

#[tokio::test]
async fn what_is_due_is_done_although_it_panicked_once() {
    let clock = Arc::new(ManualClock::default());
    let memory = MemoryStore::new(Arc::clone(&clock) as Arc<_>);
    let store = Arc::new(FaultyStore::new(Arc::new(memory)));
    let work = tool(|_| async { Ok("done".to_owned()) });
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let mut later = call(&handle);
    later.run_at = Some(clock.now() + Duration::from_secs(60));
    let id = handle.create(later).await.unwrap().id();
    store.on_next("tick", Fault::Panic);
    clock.advance(Duration::from_secs(60));
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "done");
    assert!(handle.check_alive().is_ok());
    engine.shutdown(Duration::ZERO).await.unwrap();
}
