//! Many tasks that wait, in one process; see `tests/it/suspended.rs`.
//!
//! `suspended FOLDER wait COUNT` creates tasks that each record a step and ask a question, and prints
//! the memory of the process before and after, in KiB, when all are suspended; then it waits to be
//! killed. `suspended FOLDER answer COUNT` answers them all and prints how many have completed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::Filter;
use outlast_core::{InputRequest, Owner, Phase, RawJson, Standing, Store, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, Handle, Handler, NewCall, Result, TaskSupport, Tool, Tools,
};
use outlast_sqlite::{Options, SqliteStore, Synchronous};
use serde_json::json;

/// Records a step, then waits for its answer.
struct Waits;

impl Handler for Waits {
    fn check(&self, _: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin(async move {
            let before: u32 = cx.step("before", || async { Ok(1) }).await?;
            let params = json!({ "message": "Go on?", "requestedSchema": {} });
            let question = InputRequest::new("go on", "elicitation/create", params.into());
            cx.ask_raw(question).await?;
            Ok(ToolResult::text(format!("{before}")))
        })
    }
}

/// The memory of this process, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Waits until `count` tasks are in `phase`.
async fn all_are(store: &dyn Store, phase: Phase, count: u64) {
    loop {
        let stats = store.stats().await.expect("the store works");
        if stats.phases().get(phase.as_str()) == Some(&count) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answer_all(handle: &Handle) {
    let owner = Owner::local();
    let mut before = None;
    loop {
        let filter = Filter::default();
        let page = handle.list(&owner, filter, before, 500).await;
        let page = page.expect("the store works");
        for task in &page.tasks {
            let yes = RawJson::from(json!({ "action": "accept", "content": {} }));
            let answers = BTreeMap::from([("go on".to_owned(), yes)]);
            let answered = handle.answer(&owner, task.id(), answers).await;
            answered.expect("the store works");
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, role, count] = &arguments[..] else {
        panic!("suspended FOLDER wait|answer COUNT");
    };
    let count: u64 = count.parse().expect("a number");
    let options = Options {
        // What a killed process has written is in the kernel's hands.
        synchronous: Synchronous::Normal,
        ..Options::new(Path::new(folder).join("outlast.db"), "suspended")
    };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).expect("the store opens"));
    let tool = Tool {
        task: TaskSupport::Required,
        ..Tool::new("waits", Arc::new(Waits))
    };
    let engine = Engine::builder(Arc::clone(&store))
        .tools(Tools::new([tool]).expect("one name"))
        .hot_wait(Duration::ZERO)
        .start()
        .await
        .expect("the engine starts");
    let handle = engine.handle();
    if role == "wait" {
        let before = memory();
        for _ in 0..count {
            let tool = Arc::clone(handle.tools().get("waits").expect("it is there"));
            let call = NewCall::new(tool, RawJson::empty_object(), Owner::local());
            handle.create(call).await.expect("the store works");
        }
        all_are(&*store, Phase::Suspended, count).await;
        println!("{before} {}", memory());
        std::future::pending::<()>().await;
    }
    answer_all(&handle).await;
    all_are(&*store, Phase::Finished, count).await;
    let completed = Filter {
        standings: vec![Standing::Completed],
        ..Filter::default()
    };
    let limit = usize::try_from(count).expect("a count") + 1;
    let page = store.list(&completed, None, limit).await;
    println!("{}", page.expect("the store works").tasks.len());
    engine
        .shutdown(Duration::from_secs(5))
        .await
        .expect("a clean stop");
}
