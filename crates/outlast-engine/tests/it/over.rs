//! The end of a run: whoever is still at work for it is told, and what was only about to begin does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{Clock, FailureReason, InputRequest, Outcome, Phase, RawJson, Reads, Store};
use outlast_engine::{BlockingCx, Cx, Engine, EngineBuilder, OnDrop, Tool, Tools};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::support::{builder, call, create, tool};

const MINUTE: Duration = Duration::from_secs(60);

/// A tool whose handler blocks its thread, and says when it has begun and what it was told in the end.
fn blocking(
    told: UnboundedSender<&'static str>,
    work: impl Fn(&BlockingCx) -> &'static str + Clone + Send + Sync + 'static,
) -> Tool {
    tool(move |cx: Cx| {
        let (told, work) = (told.clone(), work.clone());
        async move {
            let blocking = cx.run_blocking(move |cx| {
                told.send("begun").unwrap();
                told.send(work(&cx)).unwrap();
                Ok(outlast_core::ToolResult::text("too late"))
            });
            blocking.await.map(|_| String::new())
        }
    })
}

/// Works until it is to stop.
fn until_told(cx: &BlockingCx) -> &'static str {
    while !cx.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    if cx.is_lost() { "lost" } else { "cancelled" }
}

fn faulty(clock: &Arc<ManualClock>) -> (Arc<MemoryStore>, Arc<FaultyStore>) {
    let memory = Arc::new(MemoryStore::new(Arc::clone(clock) as Arc<dyn Clock>));
    let faulty = FaultyStore::new(Arc::clone(&memory) as Arc<dyn Store>);
    (memory, Arc::new(faulty))
}

fn over(store: &Arc<FaultyStore>, tool: Tool) -> EngineBuilder {
    let store = Arc::clone(store) as Arc<dyn Store>;
    Engine::builder(store).tools(Tools::new([tool]).unwrap())
}

async fn until(wanted: impl Fn() -> bool) {
    let waited = tokio::time::timeout(MINUTE, async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("it never came");
}

#[tokio::test]
async fn a_handler_that_blocks_is_told_that_its_time_is_over() {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    let (told, mut heard) = unbounded_channel();
    let tool = Tool {
        timeout: Some(MINUTE),
        ..blocking(told, until_told)
    };
    let engine = builder(&store, tool).start().await.unwrap();
    create(&engine.handle()).await;
    assert_eq!(heard.recv().await, Some("begun"));
    clock.advance(2 * MINUTE);
    engine.run_due();
    assert_eq!(heard.recv().await, Some("lost"));
    engine.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_handler_that_blocks_is_told_that_its_task_was_handed_back() {
    let store = Arc::new(MemoryStore::default());
    let (told, mut heard) = unbounded_channel();
    let engine = builder(&store, blocking(told, until_told));
    let engine = engine.start().await.unwrap();
    create(&engine.handle()).await;
    assert_eq!(heard.recv().await, Some("begun"));
    engine.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(heard.recv().await, Some("lost"));
}

#[tokio::test]
async fn a_handler_that_blocks_and_waits_waits_no_longer_than_its_run() {
    let ask = |cx: &BlockingCx| {
        let question = InputRequest::new("q", "elicitation/create", RawJson::empty_object());
        match cx.ask_raw(question) {
            Ok(_) => "answered",
            Err(_) => "refused",
        }
    };
    let store = Arc::new(MemoryStore::default());
    let (told, mut heard) = unbounded_channel();
    let engine = builder(&store, blocking(told, ask)).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    assert_eq!(heard.recv().await, Some("begun"));
    crate::support::eventually(&handle, id, |task| task.open_inputs().next().is_some()).await;
    engine.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(heard.recv().await, Some("refused"));
}

/// Its record is on its way when the grace of the stop is over.
#[tokio::test]
async fn a_call_that_may_not_be_repeated_is_not_handed_back() {
    let clock = Arc::new(ManualClock::default());
    let (memory, store) = faulty(&clock);
    let pay = Tool {
        repeatable: Some(false),
        ..tool(|_| std::future::pending())
    };
    let engine = over(&store, pay).persist_after(Duration::ZERO);
    let engine = engine.start().await.unwrap();
    let handle = engine.handle();
    store.on_next("create", Fault::DelayReply);
    let running = handle.call(call(&handle), None, OnDrop::Cancel);
    let calling = tokio::spawn(running);
    until(|| store.held() == 1).await;
    let stopping = tokio::spawn(engine.shutdown(Duration::ZERO));
    until(|| handle.check_alive().is_err()).await;
    store.release();
    let outcome = calling.await.unwrap();
    stopping.await.unwrap().unwrap();
    let Outcome::Failed(failure) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(failure.reason, FailureReason::Interrupted);
    let page = memory.successor().list(&Default::default(), None, 10).await;
    let [task] = &page.unwrap().tasks[..] else {
        panic!("one record");
    };
    assert_eq!(task.state.phase, Phase::Finished);
}

#[tokio::test]
async fn what_is_claimed_at_the_moment_of_a_stop_is_not_begun() {
    let clock = Arc::new(ManualClock::default());
    let (memory, store) = faulty(&clock);
    let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (count, opened) = (Arc::clone(&begun), Arc::clone(&gate));
    let work = tool(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            Ok(String::new())
        }
    });
    let engine = over(&store, work).slots(1).start().await.unwrap();
    let handle = engine.handle();
    let first = create(&handle).await;
    until(|| begun.load(Ordering::Relaxed) == 1).await;
    // The end of the first brings the second.
    let second = create(&handle).await;
    store.on_next("finish", Fault::DelayReply);
    gate.notify_one();
    until(|| store.held() == 1).await;
    let stopping = tokio::spawn(engine.shutdown(MINUTE));
    until(|| handle.check_alive().is_err()).await;
    store.release();
    stopping.await.unwrap().unwrap();
    let memory = memory.successor();
    assert!(memory.get(first).await.unwrap().unwrap().is_finished());
    let task = memory.get(second).await.unwrap().unwrap();
    assert_eq!((task.state.phase, task.state.epoch), (Phase::Queued, 1));
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}
