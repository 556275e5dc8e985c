//! Ready tasks that no living worker runs: what they say, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::ToolVersion;
use outlast_core::testing::{FaultyStore, ManualClock, MemoryStore};
use outlast_core::worker::WorkerSign;
use outlast_core::{
    Clock, FailureReason, Outcome, Owner, Side, Store, Task, TaskId, Timestamp, WorkerId,
};
use outlast_engine::{Engine, EngineBuilder, Handle, Tool, Tools, Unserved};

use crate::support::{create, finished, get, text, tool};

const MINUTE: Duration = Duration::from_secs(60);

struct World {
    clock: Arc<ManualClock>,
    store: Arc<FaultyStore>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let memory = MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>);
        Self::over(clock, memory)
    }

    fn over(clock: Arc<ManualClock>, memory: MemoryStore) -> Self {
        let store = Arc::new(FaultyStore::new(Arc::new(memory)));
        Self { clock, store }
    }

    fn builder(&self, tool: Tool) -> EngineBuilder {
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        Engine::builder(store).tools(Tools::new([tool]).unwrap())
    }

    /// Lets time pass and the engine look, until something holds.
    async fn until(&self, engine: &Engine, wanted: impl AsyncFn() -> bool) {
        for _ in 0..200 {
            if wanted().await {
                return;
            }
            self.clock.advance(Duration::from_secs(5));
            engine.look().await.unwrap();
        }
        panic!("it never came");
    }

    async fn pass(&self, engine: &Engine, time: Duration) {
        let end = self.clock.now() + time;
        self.until(engine, async || self.clock.now() >= end).await;
    }
}

fn work() -> Tool {
    tool(|_| async { Ok("done".to_owned()) })
}

fn on_gpu() -> Tool {
    Tool {
        requires: ["gpu".to_owned()].into(),
        ..work()
    }
}

/// Another worker that lives for ever.
fn other(runs: &[&str]) -> WorkerSign {
    let version = |tool: &&str| ToolVersion {
        tool: (*tool).to_owned(),
        version: "1".into(),
    };
    WorkerSign {
        worker: WorkerId::random(),
        name: "other".into(),
        version: "1".into(),
        machine: String::new(),
        pid: 1,
        since: Timestamp::default(),
        seen_at: Timestamp::default(),
        until: Timestamp::from_millis(i64::MAX),
        slots: 1,
        slots_taken: 1,
        attempts: 0,
        retries: 0,
        leases_lost: 0,
        labels: Vec::new(),
        tools: Vec::new(),
        runs: runs.iter().map(version).collect(),
    }
}

async fn says(handle: &Handle, id: TaskId) -> bool {
    let task = get(handle, id).await;
    let message = task.status_message();
    message.is_some_and(|message| message.contains("no worker"))
}

async fn all_say(handle: &Handle, ids: &[TaskId]) -> bool {
    for id in ids {
        if !says(handle, *id).await {
            return false;
        }
    }
    true
}

fn failure(task: &Task) -> FailureReason {
    match task.outcome.as_deref() {
        Some(Outcome::Failed(failure)) => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tasks_say_that_nobody_runs_them_until_somebody_does() {
    let world = World::new();
    let engine = world.builder(on_gpu()).start().await.unwrap();
    let handle = engine.handle();
    // More than one look goes through.
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(create(&handle).await);
    }
    engine.look().await.unwrap();
    assert!(!says(&handle, ids[0]).await, "nobody is missed at once");
    let unserved = Unserved {
        tool: "work".into(),
        version: "1".into(),
        requires: vec!["gpu".into()],
    };
    assert_eq!(handle.unserved().await.unwrap(), [unserved]);

    world
        .until(&engine, async || all_say(&handle, &ids).await)
        .await;
    let message = get(&handle, ids[7]).await.status_message().unwrap();
    assert!(message.contains("with the label gpu"), "{message}");
    assert!(message.contains("version 1 of tool \"work\""), "{message}");
    // One that comes later says it with the next look.
    let later = create(&handle).await;
    world
        .until(&engine, async || says(&handle, later).await)
        .await;

    // A worker that has other things to do.
    world.store.join_with(other(&["work"]));
    assert_eq!(handle.unserved().await.unwrap(), []);
    ids.push(later);
    for id in &ids {
        world
            .until(&engine, async || !says(&handle, *id).await)
            .await;
    }
    // Nobody says it of them again.
    world.pass(&engine, MINUTE).await;
    assert!(!says(&handle, ids[0]).await);
    let events = handle.events(&Owner::local(), ids[0], 0, 100).await;
    assert_eq!(events.unwrap().len(), 3, "created, missed, found");
    engine.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_task_whose_worker_comes_runs() {
    let world = World::new();
    let engine = world.builder(on_gpu()).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    world.until(&engine, async || says(&handle, id).await).await;
    handle.set_tools(Tools::new([work()]).unwrap());
    let task = finished(&handle, id).await;
    assert_eq!(text(&task), "done");
    engine.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_task_fails_when_nobody_came_in_time() {
    let world = World::new();
    let own = Tool {
        no_worker_timeout: Some(10 * MINUTE),
        ..on_gpu()
    };
    let builder = world.builder(own).no_worker_timeout(2 * MINUTE);
    let engine = builder.start().await.unwrap();
    let handle = engine.handle();
    let patient = create(&handle).await;
    handle.set_tools(Tools::new([on_gpu()]).unwrap());
    let usual = create(&handle).await;
    world
        .until(&engine, async || says(&handle, usual).await)
        .await;
    world.pass(&engine, MINUTE).await;
    assert!(!get(&handle, usual).await.is_finished());
    world.pass(&engine, 2 * MINUTE).await;
    assert_eq!(
        failure(&*get(&handle, usual).await),
        FailureReason::NoWorker
    );
    assert!(!get(&handle, patient).await.is_finished());
    world.pass(&engine, 10 * MINUTE).await;
    assert_eq!(
        failure(&*get(&handle, patient).await),
        FailureReason::NoWorker
    );
    engine.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn the_next_watcher_takes_back_what_the_last_one_said() {
    let clock = Arc::new(ManualClock::default());
    let memory = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
    let first = Engine::builder(Arc::clone(&memory) as Arc<dyn Store>);
    let first = first.tools(Tools::new([on_gpu()]).unwrap());
    let first = first.start().await.unwrap();
    let handle = first.handle();
    let id = create(&handle).await;
    let world = World::over(Arc::clone(&clock), MemoryStore::default());
    world.until(&first, async || says(&handle, id).await).await;
    first.abandon().await;

    let world = World::over(clock, memory.successor());
    world.store.join_with(other(&["work"]));
    let next = world.builder(on_gpu()).start().await.unwrap();
    let handle = next.handle();
    world.until(&next, async || !says(&handle, id).await).await;
    next.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn one_process_watches_for_all() {
    let world = World::new();
    let watcher = other(&[]);
    let record = serde_json::json!({ "worker": watcher.worker, "noted": [] });
    let put = world
        .store
        .record_put("crew", "no worker", record.to_string().into(), None);
    put.await.unwrap();
    world.store.join_with(watcher);
    let engine = world.builder(on_gpu()).start().await.unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    world.pass(&engine, 5 * MINUTE).await;
    assert!(!says(&handle, id).await);
    engine.shutdown(Duration::ZERO).await.unwrap();
}
