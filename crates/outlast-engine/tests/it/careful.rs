//! Tools that must not be run lightly: not again after an interruption, not without a yes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::testing::{Fault, FaultyStore, ManualClock, MemoryStore};
use outlast_core::{
    FailureReason, InputRequest, Outcome, Owner, Phase, RawJson, Reads, Store, Task,
};
use outlast_engine::{CONFIRM_KEY, Engine, OnDrop, Tool, Tools};
use serde_json::json;

use crate::support::{builder, create, eventually, finished, text, tool};

fn destructive(tool: Tool) -> Tool {
    Tool {
        annotations: Some(json!({"destructiveHint": true}).into()),
        ..tool
    }
}

fn hangs() -> Tool {
    tool(async |_| std::future::pending().await)
}

fn reason(task: &Task) -> FailureReason {
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    failure.reason
}

#[test]
fn annotations_decide_where_the_tool_says_nothing() {
    let with = |annotations: serde_json::Value, repeatable| {
        let tool = Tool {
            annotations: Some(annotations.into()),
            repeatable,
            ..hangs()
        };
        tool.is_repeatable()
    };
    assert!(with(json!({}), None));
    assert!(!with(json!({"destructiveHint": true}), None));
    assert!(with(
        json!({"destructiveHint": true, "idempotentHint": true}),
        None
    ));
    assert!(with(json!({"destructiveHint": true}), Some(true)));
    assert!(!with(json!({}), Some(false)));
    assert!(with(json!({"destructiveHint": "true"}), None));
    assert!(with(json!([true, false]), None));
}

#[test]
fn of_a_hint_that_stands_twice_the_last_one_counts() {
    let said = |text: &str| {
        let tool = Tool {
            annotations: Some(RawJson::parse(text).unwrap()),
            ..hangs()
        };
        tool.is_repeatable()
    };
    assert!(!said(
        r#"{"destructiveHint": false, "destructiveHint": true}"#
    ));
    assert!(said(
        r#" {"destructiveHint": true, "destructiveHint": false}"#
    ));
}

#[tokio::test]
async fn a_destructive_tool_is_not_run_again_after_a_crash() {
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, destructive(hangs())).start().await.unwrap();
    let id = create(&first.handle()).await;
    eventually(&first.handle(), id, |task| task.lease().is_some()).await;
    let next = Arc::new(store.successor());
    let second = builder(&next, destructive(hangs())).start().await.unwrap();
    assert_eq!(second.recovered().failed, 1);
    let task = finished(&second.handle(), id).await;
    assert_eq!(reason(&task), FailureReason::Interrupted);
}

#[tokio::test]
async fn a_clean_stop_interrupts_it_unless_it_only_waits() {
    let waits = tool(async |cx| {
        cx.sleep("long", Duration::from_secs(3600)).await?;
        Ok(String::new())
    });
    for (tool, ended) in [(hangs(), true), (waits, false)] {
        let store = Arc::new(MemoryStore::default());
        let engine = builder(&store, destructive(tool)).hot_wait(Duration::from_secs(3600));
        let engine = engine.start().await.unwrap();
        let id = create(&engine.handle()).await;
        // What only waits gives up its worker at once, where others would stay hot for an hour.
        eventually(&engine.handle(), id, |task| match ended {
            true => task.lease().is_some(),
            false => task.state.phase == Phase::Suspended,
        })
        .await;
        engine.shutdown(Duration::ZERO).await.unwrap();
        let store = store.successor();
        let task = outlast_core::Reads::get(&store, id).await.unwrap().unwrap();
        assert_eq!(task.is_finished(), ended);
        if ended {
            assert_eq!(reason(&task), FailureReason::Interrupted);
        } else {
            assert_eq!(task.state.phase, Phase::Suspended);
        }
    }
}

/// Whoever sees the question sees a task that holds no worker, so no crash can find it at work.
#[tokio::test]
async fn a_question_is_asked_by_being_suspended() {
    let asks = || {
        destructive(tool(async |cx| {
            cx.step("before", async || Ok(())).await?;
            let question = InputRequest::new("go on", "elicitation/create", json!({}).into());
            cx.ask_raw(question).await?;
            Ok("gone on".into())
        }))
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, asks()).hot_wait(Duration::from_secs(3600));
    let first = first.start().await.unwrap();
    let id = create(&first.handle()).await;
    let is_open = |task: &Task| task.open_inputs().next().is_some();
    let task = eventually(&first.handle(), id, is_open).await;
    assert_eq!(task.state.phase, Phase::Suspended);
    let next = Arc::new(store.successor());
    let second = builder(&next, asks()).start().await.unwrap();
    assert_eq!(second.recovered().failed, 0);
    let handle = second.handle();
    let yes = json!({"action": "accept", "content": {}});
    let given = BTreeMap::from([("go on".to_owned(), RawJson::from(yes))]);
    handle.answer(&Owner::local(), id, given).await.unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "gone on");
}

/// Beside work that is under way a question is asked at once.
#[tokio::test]
async fn a_question_does_not_wait_for_a_step() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = Arc::clone(&go);
    let works = destructive(tool(move |cx| {
        let gate = Arc::clone(&gate);
        async move {
            let question = InputRequest::new("now", "elicitation/create", json!({}).into());
            let work = cx.step("work", || async {
                gate.acquire().await.expect("never closed").forget();
                Ok(())
            });
            let (asked, worked) = tokio::join!(cx.ask_raw(question), work);
            asked.and(worked)?;
            Ok("both".into())
        }
    }));
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, works).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = eventually(&handle, id, |task| task.open_inputs().next().is_some()).await;
    assert_eq!(task.state.phase, Phase::Running);
    go.add_permits(1);
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    let yes = json!({"action": "accept", "content": {}});
    let given = BTreeMap::from([("now".to_owned(), RawJson::from(yes))]);
    handle.answer(&Owner::local(), id, given).await.unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "both");
}

#[tokio::test]
async fn nothing_is_done_without_a_yes() {
    let answers = [
        (
            json!({"action": "accept", "content": {"confirm": true}}),
            true,
        ),
        (
            json!({"action": "accept", "content": {"confirm": false}}),
            false,
        ),
        (json!({"action": "accept"}), false),
        (json!({"action": "decline"}), false),
        (json!({"action": "cancel"}), false),
    ];
    for (answer, runs) in answers {
        let deletes = tool(async |_| Ok("deleted".into())).confirmed();
        let store = Arc::new(MemoryStore::default());
        let engine = builder(&store, deletes).start().await.unwrap();
        let handle = engine.handle();
        let id = create(&handle).await;
        let task = eventually(&handle, id, |task| task.open_inputs().next().is_some()).await;
        assert_eq!(task.open_inputs().next().unwrap().request.key, CONFIRM_KEY);
        let given = BTreeMap::from([(CONFIRM_KEY.to_owned(), RawJson::from(answer))]);
        handle.answer(&Owner::local(), id, given).await.unwrap();
        let text = text(&*finished(&handle, id).await);
        if runs {
            assert_eq!(text, "deleted");
        } else {
            assert_eq!(text, "work was not confirmed, so nothing was done");
        }
    }
}

#[tokio::test]
async fn a_crash_before_the_yes_interrupts_nothing_and_one_after_it_does() {
    let deletes = |work: Tool| destructive(work).confirmed();
    // It dies before it can ask.
    let mute = || Tool {
        confirmed_by: Some(CONFIRM_KEY.to_owned()),
        ..destructive(hangs())
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, mute()).start().await.unwrap();
    let id = create(&first.handle()).await;
    eventually(&first.handle(), id, |task| task.lease().is_some()).await;
    let store = Arc::new(store.successor());
    let second = builder(&store, deletes(hangs())).start().await.unwrap();
    assert_eq!(second.recovered().rescued, 1);
    let handle = second.handle();
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    let yes = json!({"action": "accept", "content": {"confirm": true}});
    let given = BTreeMap::from([(CONFIRM_KEY.to_owned(), RawJson::from(yes))]);
    handle.answer(&Owner::local(), id, given).await.unwrap();
    eventually(&handle, id, |task| task.lease().is_some()).await;
    let store = Arc::new(store.successor());
    let third = builder(&store, deletes(hangs())).start().await.unwrap();
    assert_eq!(third.recovered().failed, 1);
    let task = finished(&third.handle(), id).await;
    assert_eq!(reason(&task), FailureReason::Interrupted);
}

/// A grant that got lost on the way is given again once its lease has run out, by the very worker that
/// never heard of it.
#[tokio::test]
async fn a_lease_whose_grant_was_lost_is_not_held_for_ever() {
    for method in ["claim", "create"] {
        let clock = Arc::new(ManualClock::default());
        let store = MemoryStore::new(Arc::clone(&clock) as Arc<_>);
        let store = Arc::new(FaultyStore::new(Arc::new(store)));
        let quick = tool(async |_| Ok("done".into()));
        let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
            .tools(Tools::new([quick]).unwrap())
            .slots(1)
            .start()
            .await
            .unwrap();
        let handle = engine.handle();
        if method == "create" {
            store.on_next(method, Fault::LoseReply);
        }
        let mut call = crate::support::call(&handle);
        if method == "claim" {
            // A creation whose time has come takes its lease with it.
            call.run_at = Some(handle.now() + Duration::from_secs(1));
        }
        let created = handle.create(call).await;
        assert_eq!(created.is_err(), method == "create");
        if method == "claim" {
            // The worker has found nothing before the creation, and looks again when it is time.
            store.on_next(method, Fault::LoseReply);
        }
        clock.advance(Duration::from_secs(1));
        engine.run_due();
        let filter = outlast_core::store::Filter::default();
        let page = handle.list(&Owner::local(), filter, None, 9).await.unwrap();
        let id = page.tasks[0].id();
        // Somebody seems to run it.
        eventually(&handle, id, |task| task.lease().is_some()).await;
        clock.advance(Duration::from_secs(31));
        engine.run_due();
        assert_eq!(text(&*finished(&handle, id).await), "done");
    }
}

/// A call that is over before it is known whether its record was written: the record ends with it.
#[tokio::test]
async fn a_record_whose_reply_was_lost_is_not_run_again() {
    let store = Arc::new(MemoryStore::default());
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store) as Arc<_>));
    let written = Arc::clone(&store);
    let work = tool(move |cx| {
        let store = Arc::clone(&written);
        async move {
            outlast_core::testing::eventually("the record", async || {
                store.get(cx.task_id()).await.unwrap()
            })
            .await;
            Ok("done".into())
        }
    });
    let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .persist_after(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    faulty.on_next("create", Fault::LoseReply);
    let running = handle.call(crate::support::call(&handle), None, OnDrop::Continue);
    let id = running.id();
    assert!(matches!(running.await, Outcome::Completed(_)));
    let task = store.get(id).await.unwrap().expect("a record");
    assert!(task.is_finished(), "nobody else may take it for its own");
}
