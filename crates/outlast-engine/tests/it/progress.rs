//! Progress: parts, counted iterators, streams and readers, milestones, estimates, sinks, figures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::event::EventKind;
use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{Owner, Phase, Progress, Store, Task, TaskId};
use outlast_engine::{Cx, Engine, Handle, ProgressSink, ProgressUpdate, Tools};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

use crate::support::{builder, create, engine, engine_with_clock, eventually, finished, tool};

async fn reported(handle: &Handle, id: TaskId) -> Vec<Progress> {
    let events = handle.events(&Owner::local(), id, 0, 1000).await.unwrap();
    let progress = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Progress { progress } => Some(progress),
        _ => None,
    });
    progress.collect()
}

async fn log(handle: &Handle, id: TaskId) -> String {
    let page = handle.log(&Owner::local(), id, 0, 1 << 20).await.unwrap();
    let text = page.chunks.into_iter().flat_map(|chunk| chunk.text);
    String::from_utf8(text.collect()).unwrap()
}

#[tokio::test]
async fn parts_have_weights_and_nest() {
    let engine = engine(tool(async |cx: Cx| {
        let mut seen = Vec::new();
        let mut note = || {
            let now = cx.progress().snapshot();
            let phase = now.phase.unwrap_or_default();
            seen.push(format!("{} {} {}", now.done, phase.name, phase.done));
        };
        cx.phase("Fetching", 0.0..0.1, 1).inc(1);
        note();
        let deleting = cx.phase("Deleting", 0.1..0.9, 4usize);
        for item in deleting.over(1..=4u8) {
            if item == 3 {
                let inner = deleting.phase("page", 0.5..0.75, 2);
                inner.inc(1);
                note();
            }
        }
        note();
        // A part that stands behind the others takes nothing back.
        cx.phase("Late", 0.2..0.3, 1).inc(1);
        note();
        cx.phase("Tidying up", 0.9..2.0, 1).inc(1);
        note();
        Ok(seen.join(", "))
    }))
    .await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    assert_eq!(
        crate::support::text(&task),
        "10 Fetching 1, 60 Deleting / page 1, 90 Deleting 4, 90 Deleting 4, 100 Tidying up 1"
    );
    let last = &task.state.progress;
    assert_eq!(
        (last.done, last.total, last.eta),
        (100.0, Some(100.0), None)
    );
}

#[tokio::test]
async fn streams_and_readers_count_by_themselves() {
    let engine = engine(tool(async |cx: Cx| {
        let mut reader = cx.progress().over_reader(Some(11), &b"hello world"[..]);
        let mut text = [0; 5];
        reader.read_exact(&mut text).await?;
        let half = cx.progress().snapshot();
        reader.read_to_end(&mut Vec::new()).await?;
        let whole = cx.progress().snapshot();
        assert_eq!((half.done, half.total), (5.0, Some(11.0)));
        assert_eq!(whole.percent(), Some(100.0));

        let (send, mut receive) = tokio::sync::mpsc::channel(3);
        for item in 0..3 {
            send.send(item).await?;
        }
        drop(send);
        let part = cx.phase("rows", 0.5..1.0, 3);
        let rows = Receiving(&mut receive);
        let mut rows = std::pin::pin!(part.over_stream(rows));
        let mut count = 0;
        while let Some(item) =
            std::future::poll_fn(|cx| futures_core::Stream::poll_next(rows.as_mut(), cx)).await
        {
            assert_eq!(item, count);
            count += 1;
        }
        Ok(format!("{} rows", count))
    }))
    .await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    assert_eq!(crate::support::text(&task), "3 rows");
    assert_eq!(task.state.progress.phase.as_ref().unwrap().done, 3.0);
}

struct Receiving<'a>(&'a mut tokio::sync::mpsc::Receiver<i32>);

impl futures_core::Stream for Receiving<'_> {
    type Item = i32;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<i32>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test]
async fn milestones_are_logged_once_also_across_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let work = |until: u32| {
        tool(move |cx: Cx| async move {
            cx.info("before");
            for item in cx.progress().over(1..=100u32) {
                if item > until {
                    std::future::pending::<()>().await;
                }
            }
            cx.info("after");
            Ok(String::new())
        })
    };
    let first = builder(&store, work(60)).start().await.unwrap();
    let handle = first.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.progress.done == 60.0).await;
    assert_eq!(log(&handle, id).await, "before\n25 % done\n50 % done\n");
    // The process dies and the next one runs the handler from its top.
    let next = Arc::new(store.successor());
    let second = builder(&next, work(100)).start().await.unwrap();
    let handle = second.handle();
    let task = finished(&handle, id).await;
    assert_eq!(
        log(&handle, id).await,
        "before\n25 % done\n50 % done\nafter\n75 % done\n"
    );
    assert_eq!(task.state.progress.milestone, 75);
    let done: Vec<f64> = reported(&handle, id).await.iter().map(|p| p.done).collect();
    assert!(done.is_sorted(), "{done:?}");
}

#[tokio::test]
async fn the_last_word_survives_a_store_that_fails() {
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let said = tool(async |cx: Cx| {
        cx.progress().total(3).done(2).message("the last word");
        cx.info("and a line");
        Ok(String::new())
    });
    let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
        .tools(Tools::new([said]).unwrap())
        .start()
        .await
        .unwrap();
    faulty.on_next("report", Fault::Fail);
    faulty.on_next("report", Fault::Fail);
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = finished(&handle, id).await;
    let progress = &task.state.progress;
    assert_eq!(progress.message.as_deref(), Some("the last word"));
    assert_eq!(log(&handle, id).await, "and a line\n25 % done\n50 % done\n");
}

#[tokio::test]
async fn a_step_is_not_done_again_because_the_store_was_away() {
    for fault in [Fault::Fail, Fault::LoseReply] {
        let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
        let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let work = tool(move |cx: Cx| {
            let counted = Arc::clone(&counted);
            async move {
                let step = cx.step("effect", || async {
                    Ok(counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
                });
                Ok(step.await?.to_string())
            }
        });
        let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
            .tools(Tools::new([work]).unwrap())
            .start()
            .await
            .unwrap();
        faulty.on_next("journal_put", fault);
        faulty.on_next("journal_put", Fault::Fail);
        let handle = engine.handle();
        let id = create(&handle).await;
        let task = finished(&handle, id).await;
        assert_eq!(
            done.load(std::sync::atomic::Ordering::SeqCst),
            1,
            "{fault:?}"
        );
        assert_eq!(task.state.attempt, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn the_time_left_is_estimated_from_the_pace() {
    let step = Arc::new(Notify::new());
    let go = Arc::clone(&step);
    let (engine, clock) = engine_with_clock(tool(move |cx: Cx| {
        let go = Arc::clone(&go);
        async move {
            for _ in cx.progress().over(0..20u32) {
                go.notified().await;
            }
            Ok(String::new())
        }
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.progress.total.is_some()).await;
    for item in 1..=10u32 {
        clock.advance(Duration::from_secs(10));
        step.notify_one();
        let task = eventually(&handle, id, |task| {
            task.state.progress.done == f64::from(item)
        })
        .await;
        let left = task.state.progress.remaining(task.state.updated_at);
        assert_eq!(left, Some(Duration::from_secs(200 - 10 * u64::from(item))));
    }
    let task = handle.get(&Owner::local(), id).await.unwrap();
    assert_eq!(
        task.status_message().unwrap(),
        "50 % · 10 of 20 · about 2 min left"
    );
    for _ in 0..10 {
        step.notify_one();
        tokio::task::yield_now().await;
    }
}

/// Runs the tool once, taking `seconds`.
async fn run_for(handle: &Handle, clock: &ManualClock, go: &Notify, seconds: u64) -> Arc<Task> {
    let id = create(handle).await;
    let running = eventually(handle, id, |task| task.state.phase == Phase::Running).await;
    clock.advance(Duration::from_secs(seconds));
    go.notify_one();
    finished(handle, id).await;
    running
}

#[tokio::test]
async fn a_silent_tool_is_estimated_from_its_earlier_runs() {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let go = Arc::new(Notify::new());
    let silent = {
        let go = Arc::clone(&go);
        move || {
            let go = Arc::clone(&go);
            tool(move |_| {
                let go = Arc::clone(&go);
                async move {
                    go.notified().await;
                    Ok(String::new())
                }
            })
        }
    };
    let first = builder(&store, silent()).start().await.unwrap();
    let handle = first.handle();
    for seconds in [40, 4, 400] {
        let running = run_for(&handle, &clock, &go, seconds).await;
        assert_eq!(running.status_message(), None, "too early to say");
    }
    let running = run_for(&handle, &clock, &go, 42).await;
    assert_eq!(
        running.status_message().as_deref(),
        Some("usually takes about 40 s")
    );
    assert_eq!(running.state.progress.percent(), None);
    // A clean stop keeps what was learnt.
    let next = Arc::new(store.successor());
    first.shutdown(Duration::from_secs(1)).await.unwrap();
    drop(next);
    let next = Arc::new(store.successor());
    let second = builder(&next, silent()).start().await.unwrap();
    let running = run_for(&second.handle(), &clock, &go, 1).await;
    assert_eq!(
        running.status_message().as_deref(),
        Some("usually takes about 40 s")
    );
}

#[derive(Default)]
struct Hears(Mutex<BTreeMap<String, Vec<f64>>>, Notify);

impl ProgressSink for Hears {
    fn progress(&self, update: &ProgressUpdate) {
        let mut heard = self.0.lock().unwrap();
        let tool = heard.entry(update.spec.tool.clone()).or_default();
        tool.push(update.progress.done);
        if update.progress.done == 1000.0 {
            self.1.notify_one();
        }
    }
}

#[tokio::test]
async fn a_sink_hears_every_change() {
    let hears = Arc::new(Hears::default());
    let work = tool(async |cx: Cx| {
        cx.progress().over(0..1000).count();
        Ok(String::new())
    });
    let engine = builder(&Arc::new(MemoryStore::default()), work)
        .progress_sink(Arc::clone(&hears) as Arc<_>)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    finished(&handle, id).await;
    hears.1.notified().await;
    let heard = hears.0.lock().unwrap()["work"].clone();
    let expected: Vec<f64> = (0..=1000).map(f64::from).collect();
    assert_eq!(heard, expected);
    let stored = reported(&handle, id).await.len();
    assert!(stored < 101, "{stored} stored");
}

#[tokio::test]
async fn an_attempt_says_what_it_used_up() {
    let engine = engine(tool(async |cx: Cx| {
        std::thread::sleep(Duration::from_millis(60));
        cx.used(Some(Duration::from_secs(3)), Some(4096));
        tokio::task::yield_now().await;
        Ok(String::new())
    }))
    .await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    let [used] = task.state.usage[..] else {
        panic!("one attempt: {:?}", task.state.usage);
    };
    assert_eq!(used.attempt, 1);
    assert!(used.usage.busy >= Duration::from_millis(60));
    assert_eq!(used.usage.cpu, Some(Duration::from_secs(3)));
    assert_eq!(used.usage.peak_memory, Some(4096));
}
