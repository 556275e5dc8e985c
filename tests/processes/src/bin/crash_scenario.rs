//! One task over a store that kills this process at a planned call.
//!
//! `crash-scenario FOLDER succeed|fail CALL before|after`: does whatever is left to do of the one task
//! in `FOLDER`, playing its client too, and prints its status when it has ended and is cleaned up. The
//! store's call number `CALL` (0: none) aborts the process, before it is made or after it was
//! committed. Every effect of the task is a line in `FOLDER/ledger`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::Filter;
use outlast_core::testing::{Fault, FaultyStore};
use outlast_core::{Cleanup, InputRequest, Owner, Phase, RawJson, Store, TaskStatus, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, Error, Handle, Handler, NewCall, Result, TaskSupport, Tool, Tools,
};
use outlast_sqlite::{Options, SqliteStore, Synchronous};
use serde_json::json;

/// What the task leaves behind besides its effects.
const ARTIFACT: &str = "left behind\n";

/// A change of the world that no store can take back.
fn write_down(ledger: &Path, line: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(ledger)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

struct Closure<F>(F);

impl<F> Handler for Closure<F>
where
    F: Fn(RawJson, Cx) -> BoxFuture<'static, Result<ToolResult>> + Send + Sync + 'static,
{
    fn check(&self, _: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        (self.0)(arguments, cx)
    }
}

/// Steps, undos, a timer, a child, an artifact and a question; then the end that was asked for.
async fn work(cx: Cx, ledger: PathBuf, fails: bool) -> Result<ToolResult> {
    let change = async |name: &'static str| {
        let _undo = cx.undo("take_back", &json!({ "what": name })).await?;
        cx.step(name, || {
            let ledger = ledger.clone();
            async move { write_down(&ledger, name) }
        })
        .await
    };
    cx.info("begun");
    change("one").await?;
    cx.progress().message("a pause");
    cx.sleep("pause", Duration::from_millis(5)).await?;
    change("two").await?;
    let child = cx.spawn("child", json!({})).await?;
    cx.artifact("between", "text/plain", ARTIFACT).await?;
    child.join().await?;
    let question = InputRequest::new(
        "go on",
        "elicitation/create",
        json!({ "message": "Go on?", "requestedSchema": {} }).into(),
    );
    cx.ask_raw(question).await?;
    change("three").await?;
    if fails {
        return Err(Error::protocol(-32000, "as it was asked to"));
    }
    Ok(ToolResult::text("done"))
}

fn tools(folder: &Path, fails: bool) -> Tools {
    let ledger = folder.join("ledger");
    let undone = ledger.clone();
    let by_child = ledger.clone();
    let child = Tool {
        task: TaskSupport::Optional,
        ..Tool::new(
            "child",
            Arc::new(Closure(move |_, cx: Cx| {
                let ledger = by_child.clone();
                Box::pin(async move {
                    let effect = async || write_down(&ledger, "child");
                    cx.step("its effect", effect).await?;
                    Ok(ToolResult::text("done"))
                }) as _
            })),
        )
    };
    let work = Tool {
        task: TaskSupport::Required,
        ..Tool::new(
            "work",
            Arc::new(Closure(move |_, cx| {
                Box::pin(work(cx, ledger.clone(), fails)) as _
            })),
        )
    };
    let take_back = Closure(move |arguments: RawJson, _| {
        let what = arguments.to_value()["what"].clone();
        let line = format!("undo {}", what.as_str().unwrap_or_default());
        let written = write_down(&undone, &line).map(|()| ToolResult::text(line));
        Box::pin(std::future::ready(written)) as _
    });
    let take_back = Tool::new("take_back", Arc::new(take_back));
    Tools::new([work, child, take_back]).expect("three names")
}

/// What a client does that does not give up: creates the task if there is none, answers its question,
/// waits. Every reply that got lost is asked for again, by this process or by the next one.
async fn see_through(handle: &Handle) -> Result<String, outlast_core::Error> {
    let owner = Owner::local();
    let of = |tool: &str| Filter {
        tool: Some(tool.into()),
        ..Filter::default()
    };
    let page = handle.list(&owner, of("work"), None, 2).await?;
    assert!(page.tasks.len() <= 1, "there is one task");
    let id = match page.tasks.first() {
        Some(task) => task.id(),
        None => {
            let work = Arc::clone(handle.tools().get("work").expect("it is there"));
            let call = NewCall::new(work, RawJson::empty_object(), owner.clone());
            handle.create(call).await?.id()
        }
    };
    let mut watch = handle.watch(&owner, id).await?;
    loop {
        let task = Arc::clone(watch.task());
        if task.state.phase == Phase::Finished {
            let status = task.status(outlast_core::Era::Modern);
            let cleaned = matches!(task.state.cleanup, Cleanup::None | Cleanup::Done);
            assert!(cleaned, "{:?}", task.state);
            assert_eq!(
                cleaned && status == TaskStatus::Failed,
                task.state.cleanup == Cleanup::Done
            );
            let children = handle.list(&owner, of("child"), None, 9).await?.tasks;
            assert_eq!(children.len(), 1, "there is one child");
            assert!(children[0].is_finished(), "{:?}", children[0].state);
            let kept = handle.artifacts(&owner, id).await?;
            assert_eq!(kept.len(), 1, "{kept:?}");
            let (_, bytes) = handle
                .artifact(&owner, id, "between", 0, 99)
                .await?
                .expect("it is listed");
            assert_eq!(bytes, ARTIFACT.as_bytes());
            return Ok(status.as_str().to_owned());
        }
        if task.open_inputs().next().is_some() && !task.is_finished() {
            let yes = RawJson::from(json!({ "action": "accept", "content": {} }));
            let answers = BTreeMap::from([("go on".to_owned(), yes)]);
            handle.answer(&owner, id, answers).await?;
        }
        watch.changed().await?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, end, call, side] = &arguments[..] else {
        panic!("crash-scenario FOLDER succeed|fail CALL before|after");
    };
    let folder = Path::new(folder);
    let call: u64 = call.parse().expect("a number");
    let options = Options {
        // What a killed process has written is in the kernel's hands.
        synchronous: Synchronous::Normal,
        ..Options::new(folder.join("outlast.db"), "crash")
    };
    let store = SqliteStore::open(options).expect("the store opens");
    let store = Arc::new(FaultyStore::new(Arc::new(store)));
    if call > 0 {
        let fault = match side.as_str() {
            "before" => Fault::DieBefore,
            "after" => Fault::DieAfter,
            other => panic!("no side {other:?}"),
        };
        store.on_call(call, fault);
    }
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(tools(folder, end == "fail"))
        .hot_wait(Duration::ZERO)
        .start()
        .await
        .expect("the engine starts");
    let status = see_through(&engine.handle())
        .await
        .expect("the store works");
    engine
        .shutdown(Duration::from_secs(5))
        .await
        .expect("a clean stop");
    println!("{status} {}", store.calls());
}
