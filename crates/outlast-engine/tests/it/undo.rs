//! Undos: what a handler did is taken back when its task does not succeed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::store::CancelReply;
use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{Cleanup, EventKind, Outcome, Owner, Phase, RawJson, Store, Task, TaskId};
use outlast_engine::{
    BoxFuture, CancelBy, Cx, Engine, EngineBuilder, Error, Handle, Handler, NewCall, OnDrop,
    Result, Retry, Tool, Tools,
};
use serde_json::json;

use crate::support::{create, eventually, finished, tool};

/// What happened, in order.
type Ledger = Arc<Mutex<Vec<String>>>;

/// Notes its argument `what`, and does to it what the test wants.
struct TakeBack<F>(F);

impl<F, Fut> Handler for TakeBack<F>
where
    F: Fn(String, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        what(arguments).map(drop)
    }

    fn call(
        &self,
        arguments: RawJson,
        cx: Cx,
    ) -> BoxFuture<'static, Result<outlast_core::ToolResult>> {
        let returned = (self.0)(what(&arguments).expect("checked"), cx);
        Box::pin(async move {
            returned.await?;
            Ok(outlast_core::ToolResult::text("taken back"))
        })
    }
}

fn what(arguments: &RawJson) -> Result<String, String> {
    let arguments = arguments.to_value();
    let what = arguments["what"].as_str();
    what.map(str::to_owned)
        .ok_or_else(|| "`what` is missing".into())
}

fn take_back<F, Fut>(undo: F) -> Tool
where
    F: Fn(String, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    Tool {
        retry: Some(Retry::attempts(1)),
        ..Tool::new("take_back", Arc::new(TakeBack(undo)))
    }
}

/// An undo that only writes down that it ran.
fn noting(ledger: &Ledger) -> Tool {
    let ledger = Arc::clone(ledger);
    take_back(move |what, cx| {
        ledger.lock().unwrap().push(what.clone());
        cx.info(format!("taking back {what}"));
        async { Ok(()) }
    })
}

fn builder(store: &Arc<MemoryStore>, tools: impl IntoIterator<Item = Tool>) -> EngineBuilder {
    Engine::builder(Arc::clone(store) as Arc<dyn Store>)
        .tools(Tools::new(tools).unwrap())
        .hot_wait(Duration::ZERO)
}

async fn engine(tools: impl IntoIterator<Item = Tool>) -> Engine {
    builder(&Arc::default(), tools).start().await.unwrap()
}

/// Records the undos a, b and c, each before its change.
async fn change(cx: &Cx, ledger: &Ledger) -> Result<()> {
    for name in ["a", "b", "c"] {
        let _undo = cx.undo("take_back", &json!({"what": name})).await?;
        let ledger = Arc::clone(ledger);
        cx.step(name, || async {
            ledger.lock().unwrap().push(format!("did {name}"));
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn cleaned(handle: &Handle, id: TaskId) -> Arc<Task> {
    eventually(handle, id, |task| {
        task.state.phase == Phase::Finished && !task.is_cleaning_up()
    })
    .await
}

fn lines(ledger: &Ledger) -> Vec<String> {
    ledger.lock().unwrap().clone()
}

fn log_of(page: outlast_core::LogPage) -> String {
    let text = page.chunks.into_iter().flat_map(|chunk| chunk.text);
    String::from_utf8(text.collect()).unwrap()
}

const DONE: [&str; 3] = ["did a", "did b", "did c"];
const UNDONE: [&str; 3] = ["c", "b", "a"];

fn all() -> Vec<String> {
    DONE.iter()
        .chain(&UNDONE)
        .map(ToString::to_string)
        .collect()
}

/// A tool that does three things and then what `then` says.
fn work<F, Fut>(ledger: &Ledger, then: F) -> Tool
where
    F: Fn(Cx) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    let ledger = Arc::clone(ledger);
    tool(move |cx| {
        let (ledger, then) = (Arc::clone(&ledger), then.clone());
        async move {
            change(&cx, &ledger).await?;
            then(cx).await
        }
    })
}

#[tokio::test]
async fn a_failure_is_undone_from_the_last_to_the_first() {
    let ledger = Ledger::default();
    let fails = work(&ledger, async |_| {
        Err(Error::protocol(-32000, "no space left"))
    });
    let engine = engine([fails, noting(&ledger)]).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = cleaned(&handle, id).await;
    assert_eq!(lines(&ledger), all());
    assert_eq!(task.state.cleanup, Cleanup::Done);
    assert_eq!(
        task.status_message().as_deref(),
        Some("no space left (what it did was undone)")
    );
    let log = handle.log(&Owner::local(), id, 0, usize::MAX).await;
    assert_eq!(
        log_of(log.unwrap()),
        "taking back c\ntaking back b\ntaking back a\n"
    );
    let undone = handle.events(&Owner::local(), id, 0, 99).await.unwrap();
    let undone = undone
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Undone { failed: false, .. }));
    assert_eq!(undone.count(), 3);
}

#[tokio::test]
async fn success_and_discarded_undos_leave_everything_as_it_is() {
    let ledger = Ledger::default();
    let succeeds = work(&ledger, async |_| Ok("fine".into()));
    let first = engine([succeeds, noting(&ledger)]).await;
    let id = create(&first.handle()).await;
    assert_eq!(
        cleaned(&first.handle(), id).await.state.cleanup,
        Cleanup::None
    );
    assert_eq!(lines(&ledger), DONE);

    let ledger = Ledger::default();
    let seen = Arc::clone(&ledger);
    let discards = tool(move |cx| {
        let ledger = Arc::clone(&seen);
        async move {
            let undo = cx.undo("take_back", &json!({"what": "a"})).await?;
            // The same call once more is another undo.
            let _second = cx.undo("take_back", &json!({"what": "a"})).await?;
            ledger.lock().unwrap().push("did a".into());
            undo.clone().discard().await?;
            undo.discard().await.expect("repeating it is harmless");
            Err(Error::tool("no"))
        }
    });
    let second = engine([discards, noting(&ledger)]).await;
    let id = create(&second.handle()).await;
    assert_eq!(
        cleaned(&second.handle(), id).await.state.cleanup,
        Cleanup::Done
    );
    assert_eq!(lines(&ledger), ["did a", "a"]);
}

#[tokio::test]
async fn a_cancelled_task_is_undone_also_while_it_was_suspended() {
    for hot_wait in [Duration::ZERO, Duration::from_secs(600)] {
        let ledger = Ledger::default();
        let waits = work(&ledger, async |cx| {
            cx.sleep("long", Duration::from_secs(3600)).await?;
            Ok(String::new())
        });
        let tools = [waits, noting(&ledger)];
        let engine = builder(&Arc::default(), tools).hot_wait(hot_wait);
        let engine = engine.start().await.unwrap();
        let handle = engine.handle();
        let id = create(&handle).await;
        let wanted = if hot_wait.is_zero() {
            Phase::Suspended
        } else {
            Phase::Running
        };
        eventually(&handle, id, |task| {
            task.state.phase == wanted && task.state.journal.entries == 7
        })
        .await;
        let by = CancelBy::Wait(Duration::from_secs(60));
        let reply = handle.cancel(&Owner::local(), id, None, by).await.unwrap();
        assert!(matches!(reply, CancelReply::Cancelled(_)), "{reply:?}");
        let task = cleaned(&handle, id).await;
        assert_eq!(lines(&ledger), all());
        assert_eq!(task.state.cleanup, Cleanup::Done);
        let outcome = task.outcome.as_deref();
        assert!(matches!(outcome, Some(Outcome::Cancelled { .. })));
    }
}

#[tokio::test]
async fn a_task_that_fails_after_a_crash_is_undone() {
    let ledger = Ledger::default();
    let store = Arc::new(MemoryStore::default());
    let hangs = work(&ledger, async |_| std::future::pending().await);
    let first = builder(&store, [hangs, noting(&ledger)])
        .start()
        .await
        .unwrap();
    let id = create(&first.handle()).await;
    eventually(&first.handle(), id, |_| true).await;
    while lines(&ledger).len() < 3
        || first
            .handle()
            .journal(&Owner::local(), id)
            .await
            .unwrap()
            .len()
            < 6
    {
        tokio::task::yield_now().await;
    }
    let next = Arc::new(store.successor());
    let fails = work(&ledger, async |_| Err(Error::tool("no")));
    let second = builder(&next, [fails, noting(&ledger)])
        .start()
        .await
        .unwrap();
    let task = cleaned(&second.handle(), id).await;
    assert_eq!(lines(&ledger), all());
    assert_eq!(task.state.undos, 0);
}

#[tokio::test]
async fn an_undo_that_died_with_its_process_runs_in_the_next() {
    let ledger = Ledger::default();
    let store = Arc::new(MemoryStore::default());
    let seen = Arc::clone(&ledger);
    let hangs_at_b = take_back(move |what, _| {
        seen.lock().unwrap().push(what.clone());
        async move {
            match what.as_str() {
                "b" => std::future::pending().await,
                _ => Ok(()),
            }
        }
    });
    let fails = || work(&ledger, async |_| Err(Error::tool("no")));
    let first = builder(&store, [fails(), hangs_at_b])
        .start()
        .await
        .unwrap();
    let id = create(&first.handle()).await;
    while lines(&ledger).last().is_none_or(|last| last != "b") {
        tokio::task::yield_now().await;
    }
    let next = Arc::new(store.successor());
    let second = builder(&next, [fails(), noting(&ledger)])
        .start()
        .await
        .unwrap();
    let task = cleaned(&second.handle(), id).await;
    assert_eq!(task.state.cleanup, Cleanup::Done);
    let expected = ["did a", "did b", "did c", "c", "b", "b", "a"];
    assert_eq!(lines(&ledger), expected, "recorded ones do not run again");
}

#[tokio::test]
async fn an_undo_that_fails_keeps_no_other_from_running() {
    let ledger = Ledger::default();
    let seen = Arc::clone(&ledger);
    let fails_at_b = Tool {
        retry: Some(Retry {
            attempts: 2,
            first: Duration::ZERO,
            ..Retry::default()
        }),
        ..take_back(move |what, cx| {
            seen.lock().unwrap().push(what.clone());
            async move {
                // A step of an undo is not recorded by itself.
                cx.step("inside", || async { Ok(1) }).await?;
                match what.as_str() {
                    "b" => Err(Error::tool("the registry is gone")),
                    "c" => panic!("c"),
                    _ => Ok(()),
                }
            }
        })
    };
    let fails = work(&ledger, async |_| Err(Error::tool("no")));
    let engine = engine([fails, fails_at_b]).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = cleaned(&handle, id).await;
    assert_eq!(task.state.cleanup, Cleanup::Failed);
    let undone: Vec<_> = lines(&ledger).split_off(3);
    assert_eq!(undone, ["c", "c", "b", "b", "a"]);
    let Some(Outcome::Completed(result)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(result.headline().as_deref(), Some("no"), "never changed");
    let journal = handle.journal(&Owner::local(), id).await.unwrap();
    assert!(
        journal
            .iter()
            .any(|entry| { entry.recorded.json().as_str() == "\"the registry is gone\"" })
    );
}

#[tokio::test]
async fn an_undo_that_could_never_run_is_refused_before_the_change() {
    let refused = async |tool: &'static str, arguments: serde_json::Value| {
        let ledger = Ledger::default();
        let asks = crate::support::tool(move |cx| {
            let arguments = arguments.clone();
            async move {
                let _undo = cx.undo(tool, &arguments).await?;
                Ok("changed".into())
            }
        });
        let engine = engine([asks, noting(&ledger)]).await;
        let handle = engine.handle();
        let task = finished(&handle, create(&handle).await).await;
        assert_eq!(task.state.journal.entries, 0);
        task.status_message().unwrap()
    };
    let message = refused("forget", json!({})).await;
    assert!(
        message.contains("\"forget\": the server has no such tool"),
        "{message}"
    );
    let message = refused("take_back", json!({})).await;
    assert!(message.contains("`what` is missing"), "{message}");
}

#[tokio::test]
async fn a_synchronous_call_is_undone_after_its_answer() {
    let ledger = Ledger::default();
    let fails = work(&ledger, async |_| Err(Error::protocol(-1, "no")));
    let engine = engine([fails, noting(&ledger)]).await;
    let handle = engine.handle();
    let work = Arc::clone(handle.tools().get("work").unwrap());
    let call = NewCall::new(work, RawJson::empty_object(), Owner::local());
    let running = handle.call(call, None, OnDrop::Continue);
    let id = running.id();
    assert!(matches!(running.await, Outcome::Failed(_)));
    assert_eq!(cleaned(&handle, id).await.state.cleanup, Cleanup::Done);
    assert_eq!(lines(&ledger), all());
}

/// Every store call of a failing task loses its reply once, and once is not made: the undos run.
#[tokio::test]
async fn no_lost_reply_loses_an_undo() {
    for fault in [Fault::Fail, Fault::LoseReply] {
        for method in ["journal_put", "finish", "journal"] {
            let ledger = Ledger::default();
            let fails = work(&ledger, async |_| Err(Error::tool("no")));
            let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
            let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
                .tools(Tools::new([fails, noting(&ledger)]).unwrap())
                .start()
                .await
                .unwrap();
            store.on_next(method, fault);
            let handle = engine.handle();
            let id = create(&handle).await;
            let task = cleaned(&handle, id).await;
            assert_eq!(task.state.cleanup, Cleanup::Done, "{method} {fault:?}");
            let lines = lines(&ledger);
            assert!(
                lines.ends_with(&UNDONE.map(str::to_owned)),
                "{method} {fault:?} {lines:?}"
            );
        }
    }
}

/// A handler that hears its context and then fails.
fn failing<F, Fut>(changes: F) -> Tool
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let changes = Arc::new(changes);
    tool(move |cx| {
        let changes = Arc::clone(&changes);
        async move {
            changes(cx).await?;
            Err(Error::tool("no"))
        }
    })
}

#[tokio::test]
async fn each_undo_has_keys_of_its_own_for_systems_outside() {
    let keys = Ledger::default();
    let seen = Arc::clone(&keys);
    let refund = Tool {
        retry: Some(Retry {
            attempts: 2,
            first: Duration::ZERO,
            ..Retry::default()
        }),
        ..take_back(move |_, cx| {
            let mut keys = seen.lock().unwrap();
            keys.push(cx.key("call"));
            let tried_again = keys.iter().filter(|key| *key == &cx.key("call")).count() > 1;
            async move {
                match tried_again {
                    true => Ok(()),
                    false => Err(Error::tool("once more")),
                }
            }
        })
    };
    let seen = Arc::clone(&keys);
    let order = failing(move |cx| {
        seen.lock().unwrap().push(cx.key("call"));
        async move {
            for charge in ["a", "b", "a"] {
                let _undo = cx.undo("take_back", &json!({"what": charge})).await?;
            }
            Ok(())
        }
    });
    let engine = engine([order, refund]).await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = cleaned(&handle, id).await;
    assert_eq!(task.state.cleanup, Cleanup::Done);
    let keys = lines(&keys);
    let (of_handler, of_undos) = keys.split_first().unwrap();
    let (undos, _) = of_undos.as_chunks::<2>();
    assert_eq!(undos.len(), 3, "each is tried twice: {keys:?}");
    let mut all: Vec<_> = undos.iter().map(|[first, _]| first).collect();
    assert!(
        undos.iter().all(|[first, again]| first == again),
        "{keys:?}"
    );
    all.push(of_handler);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4, "{keys:?}");
}

#[tokio::test]
async fn the_secrets_of_an_undo_stand_nowhere() {
    const SECRET: &str = "s3cr3t-token";
    let ledger = Ledger::default();
    let seen = Arc::clone(&ledger);
    let log_out = Tool {
        input_schema: json!({"properties": {"what": {"format": "password"}}}).into(),
        ..take_back(move |what, cx| {
            seen.lock().unwrap().push(what.clone());
            cx.info(format!("logging out {what}"));
            async move { Err(Error::tool(format!("{what} is unknown"))) }
        })
    };
    let open = failing(async |cx: Cx| {
        for _ in 0..2 {
            let _undo = cx.undo("take_back", &json!({"what": SECRET})).await?;
        }
        Ok(())
    });
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, [open, log_out]).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = cleaned(&handle, id).await;
    assert_eq!(lines(&ledger), [SECRET, SECRET], "it gets what was meant");
    let owner = Owner::local();
    let stored = outlast_core::Reads::journal(&*store, id).await.unwrap();
    let shown = handle.journal(&owner, id).await.unwrap();
    let events = handle.events(&owner, id, 0, 1000).await.unwrap();
    let log = log_of(handle.log(&owner, id, 0, usize::MAX).await.unwrap());
    assert!(log.contains("logging out •••"), "{log}");
    let all = format!("{task:?} {stored:?} {shown:?} {events:?} {log}");
    assert!(!all.contains(SECRET), "{all}");
    let shown = shown[0].recorded.json().as_str();
    assert_eq!(
        shown,
        r#"{"tool":"take_back","version":"1","arguments":{"what":"•••"}}"#
    );
}

#[tokio::test]
async fn an_undo_is_refused_where_nobody_would_run_it() {
    let message = Ledger::default();
    let seen = Arc::clone(&message);
    let prepares = move |cx: Cx| {
        let seen = Arc::clone(&seen);
        async move {
            let undo = cx.undo("take_back", &json!({"what": "a"})).await;
            let refused = undo
                .err()
                .map_or("recorded".into(), |error| error.to_string());
            seen.lock().unwrap().push(refused);
            Ok(String::new())
        }
    };
    let on_gpus = Tool {
        requires: ["gpu".to_owned()].into(),
        task: outlast_engine::TaskSupport::Optional,
        ..noting(&Ledger::default())
    };
    // Workers without the label may run the task, and would have to run the undo.
    let engine_without = engine([tool(prepares.clone()), on_gpus.clone()]).await;
    let handle = engine_without.handle();
    finished(&handle, create(&handle).await).await;
    // Where both require it, whoever runs the one may run the other.
    let both = Tool {
        requires: ["gpu".to_owned()].into(),
        ..tool(prepares.clone())
    };
    let engine_with = builder(&Arc::default(), [both, on_gpus])
        .worker_labels(["gpu".to_owned()])
        .start()
        .await
        .unwrap();
    let handle = engine_with.handle();
    finished(&handle, create(&handle).await).await;
    // A call that is never a task has no record that could keep it.
    let never = Tool {
        task: outlast_engine::TaskSupport::Forbidden,
        ..tool(prepares)
    };
    let inline = engine([never, noting(&Ledger::default())]).await;
    let handle = inline.handle();
    let work = Arc::clone(handle.tools().get("work").unwrap());
    let call = NewCall::new(work, RawJson::empty_object(), Owner::local());
    handle.call(call, None, OnDrop::Continue).await;

    let [without, with, inline] = &lines(&message)[..] else {
        panic!("{message:?}");
    };
    assert!(without.contains("\"gpu\""), "{without}");
    assert_eq!(with, "recorded");
    assert!(inline.contains("task"), "{inline}");
}

/// One release has the tool that undoes, the other, which claims the clean-up, does not.
#[tokio::test]
async fn an_undo_waits_for_the_worker_that_has_its_tool() {
    let clock = Arc::new(ManualClock::default());
    let ledger = Ledger::default();
    let hangs = work(&ledger, async |_| std::future::pending().await);
    let newer = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let first = builder(&newer, [hangs, noting(&ledger)])
        .start()
        .await
        .unwrap();
    let id = create(&first.handle()).await;
    eventually(&first.handle(), id, |task| task.state.journal.entries == 6).await;

    // It dies; a worker of the release before takes the task over, and knows that the other one lives.
    let fails = || work(&Ledger::default(), async |_| Err(Error::tool("no")));
    let without = Tool {
        name: "another".into(),
        ..noting(&ledger)
    };
    let older = Arc::new(newer.successor());
    let store = Arc::new(FaultyStore::new(Arc::clone(&older) as Arc<dyn Store>));
    let sign = first.handle().workers().await.unwrap().remove(0);
    store.join_with(sign);
    let second = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([fails(), without]).unwrap())
        .start()
        .await
        .unwrap();
    let waits = eventually(&second.handle(), id, |task| {
        task.is_cleaning_up() && task.state.phase == Phase::Scheduled
    })
    .await;
    assert_eq!((waits.state.undos, waits.state.undo_failed), (3, false));

    // The newer release is back.
    let next = Arc::new(older.successor());
    let third = builder(&next, [fails(), noting(&ledger)])
        .start()
        .await
        .unwrap();
    clock.advance(Duration::from_secs(60));
    third.run_due();
    let task = cleaned(&third.handle(), id).await;
    assert_eq!(task.state.cleanup, Cleanup::Done);
    assert_eq!(lines(&ledger), all());
}

/// A store that wants somebody to mend it loses no result that is ready by then.
#[tokio::test]
async fn a_result_waits_for_a_store_that_needs_a_hand() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new([tool(async |_| Ok("ready".into()))]).unwrap())
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        store.on_next("finish", Fault::Break);
    }
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    let Some(Outcome::Completed(result)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(result.headline().as_deref(), Some("ready"));
    assert_eq!(store.planned(), 0);
}
