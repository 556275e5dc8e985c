//! What falls between two moments that are one to the handler: a store that keeps a reply back holds them apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::machine::CancelMode;
use outlast_core::testing::{self, Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{
    Answer, Era, FailureReason, InputRequest, Outcome, Owner, Phase, RawJson, Store, TaskSpec,
    TaskStatus, ToolResult,
};
use outlast_engine::{CancelBy, Cx, Engine, Error, NewCall, Retry, Tool, Tools};

use crate::support::{call, create, eventually, finished, get, text, tool};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// An engine over a store that keeps replies back.
async fn engine(tool: Tool) -> (Engine, Arc<FaultyStore>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let memory = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let store = Arc::new(FaultyStore::new(memory));
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([tool]).unwrap())
        .hot_wait(Duration::ZERO)
        .start();
    (engine.await.unwrap(), store, clock)
}

/// Waits until a reply is held back.
async fn held(store: &FaultyStore) {
    let is_held = || std::future::ready((store.held() == 1).then_some(()));
    testing::eventually("a reply is held back", is_held).await;
}

fn question() -> InputRequest {
    let params = RawJson::parse(r#"{"message":"?"}"#).unwrap();
    InputRequest::new("name", "elicitation/create", params)
}

fn answer() -> BTreeMap<String, RawJson> {
    BTreeMap::from([("name".to_owned(), RawJson::of("Ada").unwrap())])
}

fn given(answer: Answer) -> String {
    match answer {
        Answer::Given(value) => value.to().unwrap(),
        Answer::Expired => "expired".into(),
    }
}

#[tokio::test]
async fn what_was_claimed_under_a_lease_that_has_run_out_is_not_begun() {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let begun = || std::future::ready((BEGUN.load(Ordering::SeqCst) == 1).then_some(()));
    let work = tool(async |_: Cx| {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        Ok("done".to_owned())
    });
    let (engine, store, clock) = engine(work).await;
    let handle = engine.handle();
    store.on_next("create", Fault::DelayReply);
    let late = tokio::spawn({
        let handle = handle.clone();
        async move { create(&handle).await }
    });
    held(&store).await;
    // It is claimed with its creation, and nobody has heard of it: the lease runs out, and it is claimed anew.
    clock.advance(HOUR);
    engine.run_due();
    testing::eventually("the task runs", begun).await;
    store.release();
    let id = late.await.unwrap();
    let task = finished(&handle, id).await;
    assert_eq!(text(&task), "done");
    engine.shutdown(HOUR).await.unwrap();
    assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_moment_that_is_announced_while_the_heart_looks_is_not_slept_through() {
    let memory = Arc::new(MemoryStore::default());
    let store = Arc::new(FaultyStore::new(memory));
    let work = tool(async |_: Cx| Ok("done".to_owned()));
    // So long a lease that nothing but the announcement wakes the heart within the patience of this test.
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .lease(HOUR)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    store.on_next("tick", Fault::DelayReply);
    engine.run_due();
    held(&store).await;
    let soon = NewCall {
        delay: Some(Duration::from_millis(1)),
        ..call(&handle)
    };
    let id = handle.create(soon).await.unwrap().id();
    store.release();
    let owner = Owner::local();
    let waited = tokio::time::timeout(Duration::from_secs(30), handle.wait(&owner, id));
    let task = waited.await.expect("the heart looks again").unwrap();
    assert_eq!(text(&task), "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_faster_than_the_reply_to_its_question_is_heard() {
    let work = tool(async |cx: Cx| {
        let (tell, told) = tokio::sync::oneshot::channel();
        let asked = cx.run_blocking(move |cx| {
            let answer = given(cx.ask_raw(question())?);
            tell.send(answer).expect("somebody listens");
            Ok(ToolResult::text(""))
        });
        asked.await?;
        Ok(told.await.expect("it was told"))
    });
    let (engine, store, _clock) = engine(work).await;
    let handle = engine.handle();
    store.on_next("ask", Fault::DelayReply);
    let id = create(&handle).await;
    held(&store).await;
    let asks = get(&handle, id).await;
    assert_eq!(asks.status(Era::Modern), TaskStatus::InputRequired);
    let answered = handle.answer(&Owner::local(), id, answer()).await.unwrap();
    assert_eq!(answered.accepted, ["name"]);
    store.release();
    assert_eq!(text(&*finished(&handle, id).await), "Ada");
}

#[tokio::test]
async fn an_answer_that_is_faster_than_the_reply_to_the_suspension_runs_once() {
    // A tool that may not be run again asks in the unit that suspends it.
    for (repeatable, suspends) in [(true, "suspend"), (false, "ask_and_suspend")] {
        let entries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&entries);
        let work = tool(move |cx: Cx| {
            let entry = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                let first: usize = cx.step("first", || async { Ok(entry) }).await?;
                let answer = given(cx.ask_raw(question()).await?);
                let second: usize = cx.step("second", || async { Ok(entry) }).await?;
                Ok(format!("{answer} {first} {second}"))
            }
        });
        let work = Tool {
            repeatable: Some(repeatable),
            ..work
        };
        let (engine, store, _clock) = engine(work).await;
        let handle = engine.handle();
        store.on_next(suspends, Fault::DelayReply);
        let id = create(&handle).await;
        held(&store).await;
        assert_eq!(get(&handle, id).await.state.phase, Phase::Suspended);
        handle.answer(&Owner::local(), id, answer()).await.unwrap();
        // The next entry begins and ends while the first one does not know yet that it is over.
        let task = finished(&handle, id).await;
        assert_eq!(text(&task), "Ada 1 2");
        store.release();
        engine.shutdown(Duration::from_secs(60)).await.unwrap();
        assert_eq!(entries.load(Ordering::SeqCst), 2);
        assert_eq!(task.state.attempt, 1, "no crash was counted");
    }
}

#[tokio::test]
async fn a_cancel_that_is_faster_than_the_reply_to_the_suspension_ends_it() {
    let work = tool(async |cx: Cx| {
        cx.sleep("night", HOUR).await?;
        Ok(String::new())
    });
    let (engine, store, _clock) = engine(work).await;
    let handle = engine.handle();
    store.on_next("suspend", Fault::DelayReply);
    let id = create(&handle).await;
    held(&store).await;
    handle
        .cancel(&Owner::local(), id, None, CancelBy::Request)
        .await
        .unwrap();
    let task = finished(&handle, id).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    store.release();
    engine.shutdown(Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_cancel_that_is_slower_than_the_end_changes_nothing() {
    let (engine, store, _clock) = engine(tool(async |_: Cx| Ok("done".to_owned()))).await;
    let handle = engine.handle();
    store.on_next("finish", Fault::DelayReply);
    let id = create(&handle).await;
    held(&store).await;
    let before = get(&handle, id).await;
    handle
        .cancel(&Owner::local(), id, None, CancelBy::Request)
        .await
        .unwrap();
    store.cancel(id, None, CancelMode::Force).await.unwrap();
    assert_eq!(*get(&handle, id).await, *before);
    store.release();
    assert_eq!(text(&*finished(&handle, id).await), "done");
}

#[tokio::test]
async fn the_greatest_age_ends_a_task_that_waits_for_its_next_attempt() {
    let work = Tool {
        retry: Some(Retry {
            first: 4 * HOUR,
            longest: 4 * HOUR,
            ..Retry::attempts(9)
        }),
        max_age: HOUR,
        ..tool(async |_: Cx| Err::<String, _>(Error::tool("not today")))
    };
    let (engine, _store, clock) = engine(work).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.phase == Phase::Scheduled).await;
    clock.advance(HOUR);
    engine.run_due();
    let task = finished(&handle, id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(failure.reason, FailureReason::Expired);
    assert_eq!(task.state.attempt, 1);
}

#[tokio::test]
async fn a_backlog_is_taken_up_in_a_few_calls() {
    const TASKS: usize = 63;
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    let all_run = || std::future::ready((RUNNING.load(Ordering::SeqCst) == TASKS).then_some(()));
    let clock = Arc::new(ManualClock::default());
    let memory = Arc::new(MemoryStore::new(clock as Arc<_>));
    for _ in 0..TASKS {
        let spec = TaskSpec::new("work", RawJson::empty_object());
        memory.create(spec, None).await.unwrap();
    }
    let store = Arc::new(FaultyStore::new(memory));
    let work = tool(async |cx: Cx| {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        cx.cancelled().await;
        Ok("stopped".to_owned())
    });
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .slots(TASKS + 1)
        .start();
    let engine = engine.await.unwrap();
    testing::eventually("all of them run", all_run).await;
    // One, two, four and so on, and one more if a notice of the start comes late.
    let claims = store.calls_of("claim");
    assert!(claims <= 7, "{claims} claims");
    engine.abandon().await;
}
