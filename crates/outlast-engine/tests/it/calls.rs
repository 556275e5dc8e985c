//! Synchronous calls: unstored, lazy, dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{Error, Outcome, Owner, Phase, Progress, Reads, Store, TaskId};
use outlast_engine::{Cx, Engine, Handle, Observer, OnDrop, TaskSupport, Tool, Tools};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::support::{builder, call, create, engine, eventually, finished, text, tool};

#[derive(Default)]
struct Hears {
    progress: Mutex<Vec<f64>>,
    stored: Notify,
}

impl Observer for Hears {
    fn progress(&self, progress: &Progress) {
        self.progress.lock().unwrap().push(progress.done);
    }

    fn stored(&self, _: TaskId) {
        self.stored.notify_one();
    }
}

#[tokio::test]
async fn a_quick_call_stores_nothing() {
    let engine = engine(tool(async |_| Ok("quick".into()))).await;
    let handle = engine.handle();
    let running = handle.call(call(&handle), None, OnDrop::Cancel);
    let id = running.id();
    assert!(matches!(running.await, Outcome::Completed(_)));
    let found = handle.get(&Owner::local(), id).await;
    assert!(matches!(found, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_slow_call_is_written_down_and_goes_on_without_its_caller() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let work = tool(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok("slow".into())
        }
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work)
        .persist_after(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let hears = Arc::new(Hears::default());
    let mut running = handle.call(
        call(&handle),
        Some(Arc::clone(&hears) as Arc<_>),
        OnDrop::Continue,
    );
    let id = running.id();
    tokio::select! {
        _ = &mut running => panic!("it waits"),
        () = hears.stored.notified() => {}
    }
    drop(running);
    go.notify_one();
    assert_eq!(text(&*finished(&handle, id).await), "slow");
}

#[tokio::test]
async fn a_dropped_call_of_the_newer_era_is_cancelled() {
    let work = tool(async |_| {
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work)
        .persist_after(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let hears = Arc::new(Hears::default());
    let mut running = handle.call(
        call(&handle),
        Some(Arc::clone(&hears) as Arc<_>),
        OnDrop::Cancel,
    );
    let id = running.id();
    tokio::select! {
        _ = &mut running => panic!("it waits"),
        () = hears.stored.notified() => {}
    }
    drop(running);
    let task = eventually(&handle, id, |task| task.is_finished()).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
}

#[tokio::test]
async fn a_step_writes_the_call_down_and_its_outcome_is_stored_first() {
    let engine = engine(tool(async |cx| {
        cx.step("a", || async { Ok("kept".to_owned()) }).await
    }))
    .await;
    let handle = engine.handle();
    let running = handle.call(call(&handle), None, OnDrop::Cancel);
    let id = running.id();
    let outcome = running.await;
    let task = handle.get(&Owner::local(), id).await.unwrap();
    assert_eq!(task.outcome.as_deref(), Some(&outcome));
}

#[tokio::test]
async fn a_call_that_suspends_still_answers_its_caller() {
    let engine = engine(tool(async |cx| {
        cx.sleep("short", Duration::from_millis(5)).await?;
        Ok("awake".into())
    }))
    .await;
    let handle = engine.handle();
    let outcome = handle.call(call(&handle), None, OnDrop::Cancel).await;
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_tool_that_is_never_a_task_runs_its_steps_unrecorded() {
    let inline = Tool {
        task: TaskSupport::Forbidden,
        ..tool(async |cx| {
            cx.progress().total(2).inc(1);
            let one: u32 = cx.step("one", || async { Ok(1) }).await?;
            cx.progress().inc(1);
            Ok(one.to_string())
        })
    };
    let engine = engine(inline).await;
    let handle = engine.handle();
    let hears = Arc::new(Hears::default());
    let running = handle.call(
        call(&handle),
        Some(Arc::clone(&hears) as Arc<_>),
        OnDrop::Cancel,
    );
    let id = running.id();
    assert!(matches!(running.await, Outcome::Completed(_)));
    assert!(handle.get(&Owner::local(), id).await.is_err());
    assert_eq!(hears.progress.lock().unwrap().last(), Some(&2.0));
}

#[tokio::test]
async fn a_context_that_outlives_its_call_leaves_no_record_behind() {
    let kept: Arc<Mutex<Option<outlast_engine::Cx>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let engine = engine(tool(move |cx| {
        *keep.lock().unwrap() = Some(cx);
        async { Ok("done".into()) }
    }))
    .await;
    let handle = engine.handle();
    let running = handle.call(call(&handle), None, OnDrop::Cancel);
    let id = running.id();
    running.await;
    let cx = kept.lock().unwrap().take().unwrap();
    assert!(cx.step("late", || async { Ok(1) }).await.is_err());
    assert!(handle.get(&Owner::local(), id).await.is_err());
}

/// Begins a synchronous call that is written down, on a task of its own.
async fn call_under_way(handle: &Handle) -> (TaskId, JoinHandle<Outcome>) {
    let hears = Arc::new(Hears::default());
    let observer = Arc::clone(&hears) as Arc<_>;
    let running = handle.call(call(handle), Some(observer), OnDrop::Continue);
    let id = running.id();
    let outcome = tokio::spawn(running);
    hears.stored.notified().await;
    (id, outcome)
}

#[tokio::test]
async fn a_clean_stop_gives_a_call_its_grace() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let work = tool(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok("in time".into())
        }
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work).persist_after(Duration::ZERO);
    let engine = engine.start().await.unwrap();
    let handle = engine.handle();
    let (id, outcome) = call_under_way(&handle).await;
    let stop = tokio::spawn(engine.shutdown(Duration::from_secs(60)));
    handle.stopping().await;
    go.notify_one();
    stop.await.unwrap().unwrap();
    let outcome = outcome.await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    let task = store.successor().get(id).await.unwrap().unwrap();
    assert_eq!(task.outcome.as_deref(), Some(&outcome));
}

#[tokio::test]
async fn a_clean_stop_hands_calls_back_without_counting_the_attempt() {
    let work = tool(async |_| {
        std::future::pending::<()>().await;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, work).persist_after(Duration::ZERO);
    let engine = engine.start().await.unwrap();
    let handle = engine.handle();
    let (id, outcome) = call_under_way(&handle).await;
    engine.shutdown(Duration::ZERO).await.unwrap();
    let Outcome::Failed(failure) = outcome.await.unwrap() else {
        panic!("it cannot have ended")
    };
    assert!(failure.message.contains(&id.to_string()), "{failure:?}");
    let task = store.successor().get(id).await.unwrap().unwrap();
    assert_eq!((task.state.phase, task.state.crashes), (Phase::Queued, 0));
    assert!(task.state.resuming);
}

/// A call without a record, whose caller has gone, must not keep the process from stopping.
#[tokio::test]
async fn a_clean_stop_waits_for_no_abandoned_call() {
    let begun = Arc::new(Notify::new());
    let tell = Arc::clone(&begun);
    let work = tool(move |_| {
        let tell = Arc::clone(&tell);
        async move {
            tell.notify_one();
            std::future::pending::<()>().await;
            Ok(String::new())
        }
    });
    let inline = Tool {
        task: TaskSupport::Forbidden,
        ..work
    };
    let engine = engine(inline).await;
    let handle = engine.handle();
    let mut running = handle.call(call(&handle), None, OnDrop::Continue);
    tokio::select! {
        _ = &mut running => panic!("it waits"),
        () = begun.notified() => {}
    }
    drop(running);
    let stopped = tokio::time::timeout(Duration::from_secs(60), engine.shutdown(Duration::ZERO));
    stopped.await.expect("it stops").unwrap();
}

#[tokio::test]
async fn who_waits_for_a_task_outlives_a_store_that_is_away() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let work = tool(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok("done".into())
        }
    });
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let mut watch = handle.watch(&Owner::local(), id).await.unwrap();
    for _ in 0..3 {
        faulty.on_next("get", Fault::Fail);
    }
    go.notify_one();
    let ended = async {
        while !watch.task().is_finished() {
            watch.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .expect("it ends");
}

/// An engine with a store that fails as it is told, which writes calls down at once.
async fn faulty_engine(work: Tool, clock: Arc<ManualClock>) -> (Arc<FaultyStore>, Engine) {
    let store = MemoryStore::new(clock);
    let faulty = Arc::new(FaultyStore::new(Arc::new(store)));
    let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .persist_after(Duration::ZERO)
        .start();
    let engine = engine.await.unwrap();
    (faulty, engine)
}

/// A tool whose entries wait until they are let go, one by one, and how many have begun.
fn gated() -> (Tool, Arc<Semaphore>, Arc<AtomicUsize>) {
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let (opens, counts) = (Arc::clone(&gate), Arc::clone(&begun));
    let work = tool(move |cx: Cx| {
        let (opens, counts) = (Arc::clone(&opens), Arc::clone(&counts));
        async move {
            let number = counts.fetch_add(1, Ordering::SeqCst) + 1;
            cx.info(format!("entry {number}"));
            opens.acquire().await.unwrap().forget();
            Ok(format!("entry {number}"))
        }
    });
    (work, gate, begun)
}

#[tokio::test]
async fn a_call_whose_record_is_in_doubt_ends_in_that_record() {
    let (work, gate, begun) = gated();
    let (faulty, engine) = faulty_engine(work, Arc::default()).await;
    let handle = engine.handle();
    for fault in [Fault::LoseReply, Fault::Fail, Fault::Fail] {
        faulty.on_next("create", fault);
    }
    let running = handle.call(call(&handle), None, OnDrop::Continue);
    let id = running.id();
    let outcome = tokio::spawn(running);
    // It is there, and its run has not heard of it.
    written(&handle, id).await;
    gate.add_permits(1);
    let outcome = outcome.await.unwrap();
    let task = handle.get(&Owner::local(), id).await.unwrap();
    assert_eq!(task.outcome.as_deref(), Some(&outcome));
    assert_eq!(text(&task), "entry 1");
    let log = faulty.log_read(id, 0, usize::MAX).await.unwrap();
    assert_eq!(log.chunks.len(), 1, "what it said is there too");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_whose_record_was_given_to_another_attempt_leaves_it_alone() {
    let (work, gate, begun) = gated();
    let clock = Arc::new(ManualClock::default());
    let (faulty, engine) = faulty_engine(work, Arc::clone(&clock)).await;
    let handle = engine.handle();
    for fault in [Fault::LoseReply, Fault::Delay] {
        faulty.on_next("create", fault);
    }
    let running = handle.call(call(&handle), None, OnDrop::Continue);
    let id = running.id();
    let outcome = tokio::spawn(running);
    written(&handle, id).await;
    // Nobody renews its lease, and this worker itself takes it up.
    clock.advance(Duration::from_secs(31));
    engine.run_due();
    outlast_core::testing::eventually("the second attempt, and the creation again", || {
        let both = begun.load(Ordering::SeqCst) == 2 && faulty.planned() == 0;
        std::future::ready(both.then_some(()))
    })
    .await;
    // The call hears of its record only now: it is the second attempt's.
    faulty.release();
    gate.add_permits(2);
    let outcome = outcome.await.unwrap();
    let task = finished(&handle, id).await;
    assert_eq!(task.outcome.as_deref(), Some(&outcome));
    assert_eq!(text(&task), "entry 2");
}

#[tokio::test]
async fn where_a_call_begins_is_recorded_although_its_record_is_in_doubt() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let work = tool(move |cx: Cx| {
        let opens = Arc::clone(&opens);
        async move {
            opens.acquire().await.unwrap().forget();
            cx.begin_at("here").await
        }
    });
    let (faulty, engine) = faulty_engine(work, Arc::default()).await;
    let handle = engine.handle();
    faulty.on_next("create", Fault::LoseReply);
    let running = handle.call(call(&handle), None, OnDrop::Continue);
    let id = running.id();
    let outcome = tokio::spawn(running);
    // The record was written without the place, and the run does not know it.
    written(&handle, id).await;
    gate.add_permits(1);
    outcome.await.unwrap();
    let task = handle.get(&Owner::local(), id).await.unwrap();
    assert_eq!(text(&task), "here");
    assert_eq!(task.spec.begun_at, None);
    let journal = faulty.journal(id).await.unwrap();
    let names: Vec<_> = journal.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        ["begun at"],
        "whoever takes the task up reads it there"
    );
}

/// Waits for the record of a call.
async fn written(handle: &Handle, id: TaskId) {
    outlast_core::testing::eventually("it is written down", async || {
        handle.get(&Owner::local(), id).await.ok()
    })
    .await;
}
