//! Children and races: started once, joined, fanned out, cancelled with their parent.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::testing::MemoryStore;
use outlast_core::{FailureReason, JournalKind, NewSignal, Outcome, Owner, Phase, RawJson, Task};
use outlast_engine::{
    BoxFuture, CancelBy, Cx, Engine, EngineBuilder, Error, Handle, Handler, Result, TaskSupport,
    Tool, Tools,
};
use serde_json::json;

use crate::support::{create, eventually, finished, get, text, tool};

/// A tool named `child` that gets its argument `n`.
struct Child<F>(F);

impl<F, Fut> Handler for Child<F>
where
    F: Fn(u64, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        match arguments.to_value()["n"].as_u64() {
            Some(_) => Ok(()),
            None => Err("n is missing".into()),
        }
    }

    fn call(
        &self,
        arguments: RawJson,
        cx: Cx,
    ) -> BoxFuture<'static, Result<outlast_core::ToolResult>> {
        let n = arguments.to_value()["n"].as_u64().unwrap();
        let returned = (self.0)(n, cx);
        Box::pin(async move { Ok(outlast_core::ToolResult::text(returned.await?)) })
    }
}

fn child<F, Fut>(work: F) -> Tool
where
    F: Fn(u64, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    Tool {
        task: TaskSupport::Optional,
        ..Tool::new("child", Arc::new(Child(work)))
    }
}

fn double() -> Tool {
    child(|n, _| async move { Ok((2 * n).to_string()) })
}

fn family(store: &Arc<MemoryStore>, parent: Tool, child: Tool) -> EngineBuilder {
    Engine::builder(Arc::clone(store) as Arc<_>)
        .tools(Tools::new([parent, child]).unwrap())
        .hot_wait(Duration::ZERO)
}

async fn start(parent: Tool, child: Tool) -> Engine {
    let store = Arc::new(MemoryStore::default());
    family(&store, parent, child).start().await.unwrap()
}

async fn children(handle: &Handle, id: outlast_core::TaskId) -> Vec<Arc<Task>> {
    let page = handle
        .children(&Owner::local(), id, false, None, 1000)
        .await;
    let mut tasks = page.unwrap().tasks;
    tasks.reverse();
    tasks
}

#[tokio::test]
async fn results_of_children_come_back_typed() {
    let parent = tool(|cx: Cx| async move {
        let one = cx.spawn("child", json!({"n": 1})).named("one").await?;
        let two = cx
            .spawn("child", json!({"n": 2}))
            .named("two")
            .label("which", "second")
            .await?;
        let sum = one.join_as::<u64>().await? + two.join_as::<u64>().await?;
        assert_eq!(two.join_as::<String>().await?, "4", "again, as text");
        Ok(format!("{sum} {}", one.id()))
    });
    for slots in [64, 1] {
        let store = Arc::new(MemoryStore::default());
        let engine = family(&store, parent.clone(), double()).slots(slots);
        let engine = engine.start().await.unwrap();
        let handle = engine.handle();
        let id = create(&handle).await;
        let task = finished(&handle, id).await;
        let tasks = children(&handle, id).await;
        assert_eq!(text(&task), format!("6 {}", tasks[0].id()));
        assert_eq!(tasks[1].spec.labels["which"], "second");
        assert_eq!(tasks[0].spec.parent.unwrap().task, id);
        let shown = task.shown_progress();
        assert_eq!((shown.done, shown.total), (2.0, Some(2.0)));
        let stranger = handle
            .children(&Owner::new("ann"), id, false, None, 9)
            .await;
        assert!(stranger.is_err());
    }
}

#[tokio::test]
async fn what_cannot_be_spawned_is_told_and_creates_nothing() {
    let parent = tool(|cx: Cx| async move {
        let mut told = Vec::new();
        for (tool, arguments) in [
            ("nobody", json!({})),
            ("child", json!({})),
            ("child", json!([1])),
        ] {
            let spawned = cx
                .spawn(tool, arguments)
                .named(told.len().to_string())
                .await;
            told.push(spawned.unwrap_err().to_string());
        }
        cx.spawn("child", json!({"n": 1})).await?;
        let twice = cx.spawn("child", json!({"n": 1})).await;
        told.push(twice.unwrap_err().to_string());
        let inside = cx
            .step("inside", || async {
                let spawned = cx.spawn("child", json!({"n": 1})).named("in").await;
                Ok(spawned.unwrap_err().to_string())
            })
            .await?;
        told.push(inside);
        Ok(told.join("\n"))
    });
    let engine = start(parent, double()).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let text = text(&*finished(&handle, id).await);
    let told: Vec<_> = text.lines().collect();
    assert!(told[0].contains("no such tool"), "{text}");
    assert!(told[1].contains("n is missing"), "{text}");
    assert!(told[2].contains("must be an object"), "{text}");
    assert!(told[3].contains("used twice"), "{text}");
    assert!(told[4].contains("inside a step"), "{text}");
    assert_eq!(children(&handle, id).await.len(), 1);
}

#[tokio::test]
async fn the_failure_of_a_child_is_an_error_of_its_own() {
    let parent = tool(|cx: Cx| async move {
        let failing = cx.spawn("child", json!({"n": 0})).await?;
        let error = failing.join().await.unwrap_err();
        let failure = error.child().expect("the error of a child");
        assert_eq!(failure.task, failing.id());
        assert!(matches!(*failure.outcome, Outcome::Failed(_)));
        Err(error)
    });
    let failing = child(|_, _| async { Err(Error::protocol(-32001, "no paper")) });
    let engine = start(parent, failing).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = finished(&handle, id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{task:?}");
    };
    assert_eq!(failure.reason, FailureReason::Child);
    assert!(failure.message.contains("no paper"), "{}", failure.message);
}

/// The parent dies after it has started a child; its next run finds the child and starts no second one.
#[tokio::test]
async fn a_child_is_started_once_over_a_crash() {
    let lives = Arc::new(AtomicU32::new(0));
    let parent = {
        let lives = Arc::clone(&lives);
        tool(move |cx: Cx| {
            let lives = Arc::clone(&lives);
            async move {
                let child = cx.spawn("child", json!({"n": 21})).await?;
                if lives.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::future::pending::<()>().await;
                }
                child.join_as::<String>().await
            }
        })
    };
    let store = Arc::new(MemoryStore::default());
    let first = family(&store, parent.clone(), double());
    let first = first.start().await.unwrap();
    let id = create(&first.handle()).await;
    outlast_core::testing::eventually("the first life", || async {
        (lives.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    let second = family(&Arc::new(store.successor()), parent, double());
    let second = second.start().await.unwrap();
    let handle = second.handle();
    assert_eq!(text(&*finished(&handle, id).await), "42");
    assert_eq!(children(&handle, id).await.len(), 1);
    drop(first);
}

#[tokio::test]
async fn a_cancel_reaches_running_and_waiting_children() {
    let parent = tool(|cx: Cx| async move {
        let running = cx.spawn("child", json!({"n": 1})).await?;
        running.join_as::<String>().await
    });
    let stopped = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&stopped);
    let patient = child(move |_, cx: Cx| {
        let counted = Arc::clone(&counted);
        async move {
            cx.cancelled().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Err(cx.cancelled_error())
        }
    });
    let engine = start(parent, patient).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    let child = children(&handle, id).await[0].id();
    eventually(&handle, child, |task| task.state.phase == Phase::Running).await;
    handle
        .cancel(&Owner::local(), id, None, CancelBy::Request)
        .await
        .unwrap();
    for id in [id, child] {
        let task = finished(&handle, id).await;
        assert!(matches!(
            task.outcome.as_deref(),
            Some(Outcome::Cancelled { .. })
        ));
    }
    assert_eq!(stopped.load(Ordering::SeqCst), 1, "its handler was told");
}

#[tokio::test]
async fn children_that_nobody_joined_end_with_their_parent_unless_detached() {
    let parent = tool(|cx: Cx| async move {
        cx.spawn("child", json!({"n": 1})).named("kept").await?;
        let free = cx.spawn("child", json!({"n": 2})).named("free").detach();
        Ok(free.await?.to_string())
    });
    let waits = child(|n, cx: Cx| async move {
        let go = cx.signals::<String>("go").next().await?;
        Ok(format!("{n} {go}"))
    });
    let engine = start(parent, waits).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let free = text(&*finished(&handle, id).await);
    let tasks = children(&handle, id).await;
    let kept = finished(&handle, tasks[0].id()).await;
    assert!(matches!(
        kept.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    let free = free.parse().unwrap();
    assert_eq!(tasks[1].id(), free);
    let go = NewSignal::new("go", RawJson::of("on").unwrap());
    handle.signal(&Owner::local(), free, go).await.unwrap();
    let free = finished(&handle, free).await;
    assert_eq!(text(&free), "2 on");
}

#[tokio::test]
async fn a_fan_out_keeps_its_limit_and_its_order() {
    let parent = tool(|cx: Cx| async move {
        let items = (0..40).map(|n| json!({"n": n}));
        let results = cx.fan_out("child", items).limit(4).await?;
        let brief = |result: Result<outlast_core::ToolResult>| match result {
            Ok(result) => result.headline().unwrap(),
            Err(_) => "x".into(),
        };
        Ok(results.into_iter().map(brief).collect::<Vec<_>>().join(" "))
    });
    let most = Arc::new(Mutex::new((0_u32, 0_u32)));
    let noted = Arc::clone(&most);
    let odd = child(move |n, _| {
        let noted = Arc::clone(&noted);
        async move {
            {
                let mut noted = noted.lock().unwrap();
                noted.0 += 1;
                noted.1 = noted.1.max(noted.0);
            }
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            noted.lock().unwrap().0 -= 1;
            match n % 10 {
                3 => Err(Error::tool("three")),
                _ => Ok(n.to_string()),
            }
        }
    });
    let engine = start(parent, odd).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = finished(&handle, id).await;
    let expected: Vec<_> = (0..40)
        .map(|n| match n % 10 {
            3 => "x".to_owned(),
            _ => n.to_string(),
        })
        .collect();
    assert_eq!(text(&task), expected.join(" "));
    let most = most.lock().unwrap().1;
    assert!((1..=4).contains(&most), "{most} at a time");
    assert_eq!(task.state.children.ended, 40);
}

/// Ten children whose results a race would see in another order after a crash: the recorded one wins.
#[tokio::test]
async fn the_winner_of_a_race_wins_again() {
    let lives = Arc::new(AtomicU32::new(0));
    let parent = {
        let lives = Arc::clone(&lives);
        tool(move |cx: Cx| {
            let lives = Arc::clone(&lives);
            async move {
                let mut first = cx.signals::<String>("first");
                let mut second = cx.signals::<String>("second");
                let winner = cx
                    .race("which")
                    .branch(async { first.next().await })
                    .branch(async { second.next().await })
                    .await?;
                if lives.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::future::pending::<()>().await;
                }
                Ok(winner)
            }
        })
    };
    let store = Arc::new(MemoryStore::default());
    let engine = family(&store, parent.clone(), double());
    let engine = engine.start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    let send = async |name: &str, word: &str| {
        let signal = NewSignal::new(name, RawJson::of(word).unwrap());
        handle.signal(&Owner::local(), id, signal).await.unwrap();
    };
    send("second", "two").await;
    outlast_core::testing::eventually("the first life", || async {
        (lives.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    send("first", "one").await;
    let journal = handle.journal(&Owner::local(), id).await.unwrap();
    assert_eq!(journal[0].kind, JournalKind::Race);
    let next = family(&Arc::new(store.successor()), parent, double());
    let next = next.start().await.unwrap();
    let handle = next.handle();
    assert_eq!(text(&*finished(&handle, id).await), "two");
    assert_eq!(get(&handle, id).await.state.attempt, 2);
    drop(engine);
}

/// What the journal of a parent says of the arguments that it started its child with, where secrets are kept
/// by `key`.
async fn digest_of(key: [u8; 32], arguments: &'static str) -> Option<u64> {
    let schema = json!({"type": "object", "properties": {"pin": {"writeOnly": true}}});
    let child = Tool {
        input_schema: schema.into(),
        ..double()
    };
    let parent = tool(move |cx: Cx| async move {
        let arguments = RawJson::parse(arguments).expect("it is JSON");
        let child = cx.spawn("child", &arguments).await?;
        child.join().await?;
        Ok(String::new())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = family(&store, parent, child).secret_key(key).start();
    let engine = engine.await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    finished(&handle, id).await;
    let journal = handle.journal(&Owner::local(), id).await.unwrap();
    let mut entries = journal.iter();
    let entry = entries.find(|entry| entry.kind == JournalKind::Child);
    entry.expect("it has a child").input_hash
}

#[tokio::test]
async fn the_secrets_of_a_child_cannot_be_guessed_from_its_parents_journal() {
    let (one, other) = ([1; 32], [2; 32]);
    let plain = r#"{"n": 1}"#;
    assert_eq!(digest_of(one, plain).await, digest_of(other, plain).await);
    let secret = r#"{"n": 1, "pin": "1234"}"#;
    let kept = digest_of(one, secret).await;
    assert_eq!(kept, digest_of(one, secret).await, "a replay finds it");
    assert_ne!(kept, digest_of(other, secret).await);
}
