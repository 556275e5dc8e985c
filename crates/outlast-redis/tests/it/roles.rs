//! Several engines on one store: who runs what, and who declares what.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::store::Filter;
use outlast_core::testing::{ManualClock, eventually};
use outlast_core::{Clock, NewSchedule, Owner, Phase, RawJson, Store, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, EngineBuilder, Handle, Handler, NewCall, OnDrop, Order, Result, Role,
    TaskSupport, Tool, Tools,
};

use crate::server::{Server, open};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Notes where it runs.
struct Note {
    place: &'static str,
    ran: Arc<Mutex<Vec<&'static str>>>,
}

impl Handler for Note {
    fn check(&self, _: &RawJson) -> std::result::Result<(), String> {
        Ok(())
    }

    fn call(&self, _: RawJson, _: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        self.ran.lock().unwrap().push(self.place);
        let text = ToolResult::text(self.place);
        Box::pin(async move { Ok(text) })
    }
}

struct Rig {
    server: Server,
    clock: Arc<ManualClock>,
    ran: Arc<Mutex<Vec<&'static str>>>,
}

impl Rig {
    fn new() -> Self {
        Self {
            server: Server::volatile(),
            clock: Arc::new(ManualClock::default()),
            ran: Arc::default(),
        }
    }

    /// One more process on the store.
    fn process(&self, tools: Vec<Tool>) -> EngineBuilder {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let address = self.server.address("roles");
        // Opening blocks.
        let store = tokio::task::block_in_place(|| open(&address, clock));
        Engine::builder(Arc::new(store) as Arc<dyn Store>).tools(Tools::new(tools).unwrap())
    }

    fn tool(&self, name: &str, place: &'static str) -> Tool {
        let ran = Arc::clone(&self.ran);
        Tool {
            task: TaskSupport::Optional,
            ..Tool::new(name, Arc::new(Note { place, ran }))
        }
    }

    fn picky(&self, place: &'static str) -> Tool {
        Tool {
            requires: ["gpu".to_owned(), "region=eu".to_owned()].into(),
            ..self.tool("train", place)
        }
    }
}

fn call(handle: &Handle, tool: &str) -> NewCall {
    let tool = Arc::clone(handle.tools().get(tool).unwrap());
    NewCall::new(tool, RawJson::empty_object(), Owner::local())
}

async fn sees(handle: &Handle, workers: usize) {
    eventually("the signs of life", async || {
        (handle.workers().await.unwrap().len() == workers).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_runs_only_where_its_labels_are() {
    let rig = Rig::new();
    let without = rig.process(vec![rig.picky("without")]);
    let half = ["gpu".to_owned()];
    let without = without.worker_labels(half).start().await.unwrap();
    let handle = without.handle();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(handle.create(call(&handle, "train")).await.unwrap().id());
    }
    // One whose caller waits is not run here either.
    let waiting = handle.call(call(&handle, "train"), None, OnDrop::Continue);
    let waiting = tokio::spawn(waiting);
    let labels = ["gpu", "region=eu", "ssd"].map(str::to_owned);
    let with = rig.process(vec![rig.picky("with")]).worker_labels(labels);
    let with = with.start().await.unwrap();
    let owner = Owner::local();
    for id in ids {
        let waited = tokio::time::timeout(Duration::from_secs(60), handle.wait(&owner, id));
        assert!(waited.await.expect("it ends").unwrap().is_finished());
    }
    let outcome = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    let outcome = format!("{:?}", outcome.expect("it ends").unwrap());
    assert!(outcome.contains("with"), "{outcome}");
    assert_eq!(*rig.ran.lock().unwrap(), ["with"; 9]);
    sees(&handle, 2).await;
    let shown = with.handle().workers().await.unwrap();
    let shown: Vec<_> = shown
        .iter()
        .map(|sign| (&sign.labels[..], &sign.tools[..]))
        .collect();
    let wanted = ["gpu", "region=eu", "ssd"].map(str::to_owned);
    assert_eq!(shown[0], (&wanted[..], &["train".to_owned()][..]));
    assert_eq!(
        shown[1],
        (&["gpu".to_owned()][..], &[][..]),
        "it runs nothing"
    );
    with.shutdown(HOUR).await.unwrap();
    without.shutdown(HOUR).await.unwrap();
}

#[test]
fn a_tool_that_is_never_a_task_requires_nothing() {
    let rig = Rig::new();
    let inline = Tool {
        task: TaskSupport::Forbidden,
        ..rig.picky("here")
    };
    let problem = Tools::new([inline]).err().expect("it cannot hold");
    assert!(problem.contains("\"gpu\""), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_does_what_is_due_and_runs_nothing() {
    let rig = Rig::new();
    let hourly = NewSchedule::every(HOUR).call("work", &RawJson::empty_object());
    let name = hourly.name.clone();
    let first = rig
        .process(vec![rig.tool("work", "server")])
        .schedules(vec![hourly.clone()]);
    first.start().await.unwrap().shutdown(HOUR).await.unwrap();
    let scheduler = rig.process(vec![rig.tool("work", "scheduler")]);
    let scheduler = scheduler.role(Role::Scheduler).start().await.unwrap();
    let handle = scheduler.handle();
    rig.clock.advance(HOUR);
    let owner = Owner::local();
    let task = eventually("the fire", async || {
        scheduler.run_due();
        let page = handle
            .list(&owner, Filter::default(), None, 9)
            .await
            .unwrap();
        page.tasks.into_iter().next()
    })
    .await;
    assert_eq!(task.state.phase, Phase::Queued);
    assert_eq!(handle.figures().slots, 0);
    let server = rig
        .process(vec![rig.tool("work", "server")])
        .schedules(vec![hourly]);
    let server = server.start().await.unwrap();
    let waited = server.handle();
    let waited = tokio::time::timeout(Duration::from_secs(60), waited.wait(&owner, task.id()));
    assert!(waited.await.expect("it ends").unwrap().is_finished());
    assert_eq!(*rig.ran.lock().unwrap(), ["server"], "schedule {name}");
    server.shutdown(HOUR).await.unwrap();
    scheduler.shutdown(HOUR).await.unwrap();
}

/// The rules and the schedules in the store.
async fn declared(handle: &Handle) -> (Vec<String>, Vec<String>) {
    let rules = handle.controls().await.unwrap().rules;
    let rules = rules.iter().map(|(name, rule)| format!("{name} {rule:?}"));
    let schedules = handle.schedules().list().await.unwrap();
    let schedules = schedules.into_iter().map(|schedule| schedule.spec.tool);
    (rules.collect(), schedules.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_declares_what_is_its_own() {
    let rig = Rig::new();
    let limited = |max| Tool {
        order: Order::new().max_running(max),
        ..rig.tool("a", "a")
    };
    let hourly = NewSchedule::every(HOUR).call("a", &RawJson::empty_object());
    let first = rig.process(vec![limited(2)]).schedules(vec![hourly]);
    let first = first
        .order(Order::new().max_running(9))
        .start()
        .await
        .unwrap();
    let handle = first.handle();
    sees(&handle, 1).await;
    eventually("its sign in the store", async || {
        let shown = rig
            .process(Vec::new())
            .role(Role::Worker)
            .start()
            .await
            .unwrap();
        let seen = shown.handle().workers().await.unwrap().len();
        shown.shutdown(HOUR).await.unwrap();
        (seen == 2).then_some(())
    })
    .await;
    let before = declared(&handle).await;
    assert_eq!((before.0.len(), before.1.len()), (2, 1), "{before:?}");

    // Neither a server with other tools nor a worker changes any of it.
    let other = rig.process(vec![rig.tool("b", "b")]).start().await.unwrap();
    assert_eq!(declared(&handle).await, before);
    let worker = rig.process(vec![limited(7)]).role(Role::Worker);
    let worker = worker.start().await.unwrap();
    assert_eq!(declared(&handle).await, before);
    worker.shutdown(HOUR).await.unwrap();

    // A server that knows the tool too does: the one that starts last decides.
    let next = rig.process(vec![limited(3)]).start().await.unwrap();
    let (rules, schedules) = declared(&handle).await;
    assert!(
        rules.contains(&"a/running Running(3)".to_owned()),
        "{rules:?}"
    );
    assert!(
        rules.contains(&"*/running Running(9)".to_owned()),
        "{rules:?}"
    );
    assert_eq!(schedules, [""; 0], "its file says nothing of it");
    for engine in [first, other, next] {
        engine.shutdown(HOUR).await.unwrap();
    }

    // The only one decides about everything.
    let alone = rig.process(vec![rig.tool("a", "a")]).start().await.unwrap();
    assert_eq!(declared(&alone.handle()).await, (Vec::new(), Vec::new()));
    alone.shutdown(HOUR).await.unwrap();
}
