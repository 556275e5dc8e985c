//! An engine over a memory store, with handlers made from closures.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::{Outcome, Owner, RawJson, Store, Task, TaskId, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, EngineBuilder, Handle, Handler, NewCall, Result, TaskSupport, Tool,
    Tools,
};

/// A handler made from an async closure.
struct Closure<F>(F);

impl<F, Fut> Handler for Closure<F>
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    fn check(&self, _: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let returned = (self.0)(cx);
        Box::pin(async move { Ok(ToolResult::text(returned.await?)) })
    }
}

/// A tool named `work` that may run as a task.
pub(crate) fn tool<F, Fut>(work: F) -> Tool
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    Tool {
        task: TaskSupport::Optional,
        ..Tool::new("work", Arc::new(Closure(work)))
    }
}

pub(crate) fn builder(store: &Arc<MemoryStore>, tool: Tool) -> EngineBuilder {
    // The memory store takes one sink; each engine of a test gets its own view of the same records.
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    Engine::builder(store)
        .tools(Tools::new([tool]).unwrap())
        .hot_wait(Duration::ZERO)
}

pub(crate) async fn engine(tool: Tool) -> Engine {
    builder(&Arc::new(MemoryStore::default()), tool)
        .start()
        .await
        .unwrap()
}

/// An engine whose store's clock stands still.
pub(crate) async fn engine_with_clock(tool: Tool) -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    (builder(&store, tool).start().await.unwrap(), clock)
}

pub(crate) fn call(handle: &Handle) -> NewCall {
    let tool = Arc::clone(handle.tools().get("work").unwrap());
    NewCall::new(tool, RawJson::empty_object(), Owner::local())
}

pub(crate) async fn create(handle: &Handle) -> TaskId {
    handle.create(call(handle)).await.unwrap().id()
}

pub(crate) async fn finished(handle: &Handle, id: TaskId) -> Arc<Task> {
    let owner = Owner::local();
    let waited = tokio::time::timeout(Duration::from_secs(60), handle.wait(&owner, id));
    waited.await.expect("the task ends").unwrap()
}

pub(crate) async fn get(handle: &Handle, id: TaskId) -> Arc<Task> {
    handle.get(&Owner::local(), id).await.unwrap()
}

/// Waits until the task is as `wanted` says.
pub(crate) async fn eventually(
    handle: &Handle,
    id: TaskId,
    wanted: impl Fn(&Task) -> bool,
) -> Arc<Task> {
    let mut watch = handle.watch(&Owner::local(), id).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !wanted(watch.task()) {
            watch.changed().await.unwrap();
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("never came: {:?}", watch.task()));
    Arc::clone(watch.task())
}

/// The text of a completed task.
pub(crate) fn text(task: &Task) -> String {
    let Some(Outcome::Completed(result)) = task.outcome.as_deref() else {
        panic!("not completed: {:?}", task.outcome);
    };
    result.content.to_value()[0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}
