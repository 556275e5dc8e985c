//! Secret arguments: given to the handler, told to nobody, and there again in another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outlast_core::same::Then;
use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::{Owner, RawJson, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, Handle, Handler, NewCall, Per, Result, Sameness, TaskSupport, Tool,
};
use serde_json::json;

use crate::support::{builder, finished, text};

const SECRET: &str = "hunter2 \"quoted\"";
const KEY: [u8; 32] = [7; 32];

/// Records its secret, tells it in every way, and returns it.
struct Talker {
    hangs: Arc<AtomicBool>,
}

impl Handler for Talker {
    fn check(&self, _: &RawJson) -> std::result::Result<(), String> {
        Ok(())
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let hangs = Arc::clone(&self.hangs);
        Box::pin(async move {
            let key = arguments.to_value()["key"].as_str().unwrap().to_owned();
            assert_eq!(key, SECRET, "the handler gets it");
            let kept: String = cx.step("keep", || async { Ok(key.clone()) }).await?;
            assert_eq!(kept, SECRET, "a replay too");
            cx.info(format!("key {key}"));
            cx.progress().message(format!("with {key}"));
            if hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(ToolResult::text(format!("used {key} twice: {key}")))
        })
    }
}

async fn start(store: &Arc<MemoryStore>, hangs: &Arc<AtomicBool>, key: [u8; 32]) -> Engine {
    let schema = json!({"type": "object", "properties": {"key": {"writeOnly": true}}});
    let tool = Tool {
        task: TaskSupport::Optional,
        input_schema: schema.into(),
        ..Tool::new(
            "work",
            Arc::new(Talker {
                hangs: Arc::clone(hangs),
            }),
        )
    };
    let builder = builder(store, tool).secret_key(key);
    builder.start().await.unwrap()
}

fn call(handle: &Handle) -> NewCall {
    let tool = Arc::clone(handle.tools().get("work").unwrap());
    let arguments = json!({"key": SECRET, "user": "alice"});
    NewCall::new(tool, arguments.into(), Owner::local())
}

#[tokio::test]
async fn the_dots_in_the_place_of_a_secret_are_no_secret() {
    let store = Arc::new(MemoryStore::default());
    let engine = start(&store, &Arc::default(), KEY).await;
    let handle = engine.handle();
    let tool = Arc::clone(handle.tools().get("work").unwrap());
    let check = |arguments: &str| tool.handler.check(&RawJson::parse(arguments).unwrap());
    for dots in [r#"{"key": "•••"}"#, r#"{"key": "\u2022••"}"#] {
        let refused = check(dots).unwrap_err();
        assert!(
            refused.contains("/key") && refused.contains("•••"),
            "{refused}"
        );
    }
    check(r#"{"key": "••••", "user": "•••"}"#).unwrap();
    // What a task shows is no call to be made again; the task itself is.
    let first = handle.create(call(&handle)).await.unwrap();
    finished(&handle, first.id()).await;
    assert!(tool.handler.check(&first.spec.arguments).is_err());
    let again = handle.retry(&Owner::local(), first.id()).await.unwrap();
    let again = finished(&handle, again.id()).await;
    assert_eq!(text(&again), "used ••• twice: •••");
}

/// Everything that is kept of a task, as one text.
async fn kept(handle: &Handle, id: outlast_core::TaskId) -> String {
    let owner = Owner::local();
    let task = handle.get(&owner, id).await.unwrap();
    let journal = handle.journal(&owner, id).await.unwrap();
    let events = handle.events(&owner, id, 0, 1000).await.unwrap();
    let log = handle.log(&owner, id, 0, usize::MAX).await.unwrap();
    let log: Vec<u8> = log.chunks.into_iter().flat_map(|c| c.text).collect();
    let log = String::from_utf8(log).unwrap();
    format!("{task:?} {journal:?} {events:?} {log}")
}

#[tokio::test]
async fn a_secret_outlasts_the_process_and_stands_nowhere() {
    let store = Arc::new(MemoryStore::default());
    let hangs = Arc::new(AtomicBool::new(true));
    let first = start(&store, &hangs, KEY).await;
    let handle = first.handle();
    let created = handle.create(call(&handle)).await.unwrap();
    assert_eq!(
        created.spec.arguments.to_value(),
        json!({"key": "•••", "user": "alice"})
    );
    let id = created.id();
    let owner = Owner::local();
    while handle
        .log(&owner, id, 0, 1)
        .await
        .unwrap()
        .chunks
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    hangs.store(false, Ordering::SeqCst);
    let store = Arc::new(store.successor());
    let second = start(&store, &hangs, KEY).await;
    let task = finished(&second.handle(), id).await;
    assert_eq!(text(&task), "used ••• twice: •••");
    let kept = kept(&second.handle(), id).await;
    assert!(!kept.contains("hunter2"), "{kept}");
    assert!(
        kept.contains("with •••") && kept.contains("key •••"),
        "{kept}"
    );
}

/// Returns what it was called with, as a digest that no mask finds.
struct Teller;

impl Handler for Teller {
    fn check(&self, _: &RawJson) -> std::result::Result<(), String> {
        Ok(())
    }

    fn call(&self, arguments: RawJson, _: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin(async move {
            let arguments = arguments.to_value();
            let key = arguments["key"].as_str().unwrap_or("none");
            let reversed: String = key.chars().rev().collect();
            Ok(ToolResult::text(format!("{} {reversed}", arguments["env"])))
        })
    }
}

/// Whatever secrets the earlier calls had, the newest call runs with its own.
#[tokio::test]
async fn a_debounced_call_runs_with_its_own_secret() {
    let schema = json!({"type": "object", "properties": {"key": {"writeOnly": true}}});
    let mut tool = Tool {
        task: TaskSupport::Optional,
        input_schema: schema.into(),
        ..Tool::new("work", Arc::new(Teller))
    };
    tool.order.same = Some(Sameness {
        then: Then::Debounce {
            delay: Duration::from_secs(10),
            at_most: None,
        },
        per: Some(Per::Tool),
    });
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let engine = builder(&store, tool).secret_key(KEY).start().await.unwrap();
    let handle = engine.handle();
    for (keys, last) in [
        (vec![Some("first"), Some("second")], "dnoces"),
        (vec![None, Some("given")], "nevig"),
        (vec![Some("dropped"), None], "enon"),
    ] {
        let mut ids = Vec::new();
        for (n, key) in keys.iter().enumerate() {
            let tool = Arc::clone(handle.tools().get("work").unwrap());
            let mut arguments = json!({"env": n});
            if let Some(key) = key {
                arguments["key"] = (*key).into();
            }
            let call = NewCall::new(tool, arguments.into(), Owner::local());
            ids.push(handle.create(call).await.unwrap().id());
        }
        assert_eq!(ids[0], ids[1]);
        clock.advance(Duration::from_secs(10));
        engine.run_due();
        let task = finished(&handle, ids[0]).await;
        assert_eq!(text(&task), format!("1 {last}"));
    }
}

#[tokio::test]
async fn a_synchronous_call_hides_what_it_says() {
    let store = Arc::new(MemoryStore::default());
    let hangs = Arc::new(AtomicBool::new(false));
    let engine = start(&store, &hangs, KEY).await;
    let handle = engine.handle();
    let outcome = handle
        .call(call(&handle), None, outlast_engine::OnDrop::Cancel)
        .await;
    assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
}

#[tokio::test]
async fn another_key_is_a_clear_failure() {
    let store = Arc::new(MemoryStore::default());
    let hangs = Arc::new(AtomicBool::new(true));
    let first = start(&store, &hangs, KEY).await;
    let handle = first.handle();
    let id = handle.create(call(&handle)).await.unwrap().id();
    let store = Arc::new(store.successor());
    let second = start(&store, &hangs, [8; 32]).await;
    let task = finished(&second.handle(), id).await;
    let outcome = format!("{:?}", task.outcome);
    assert!(outcome.contains("sealed with another key"), "{outcome}");
}
