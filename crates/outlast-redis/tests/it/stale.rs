//! A worker that is stopped beyond its lease, as by `SIGSTOP` or a laptop that sleeps: what it does when it
//! wakes, and what three engines on one Redis make of one schedule.
//!
//! The workers are processes of their own: this test's binary, started again to run one function.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outlast_core::store::{Filter, Reads, Store};
use outlast_core::task::TaskSpec;
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, JournalKind, NewSchedule, Outcome, Owner, Phase, RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Engine, Handler, Result, TaskSupport, Tool, Tools};
use outlast_redis::{Options, RedisStore};

use crate::server::{Server, open};

/// What a worker is told by: the address of its store, its name, and the folder of its words.
const WORKER: &str = "OUTLAST_TEST_STALE_WORKER";

/// Works until it is told to stop, if it is the first; ends at once, if it is the second.
struct Works {
    name: String,
    folder: String,
}

impl Works {
    /// Leaves a word for the test.
    fn say(&self, word: &str, text: &str) {
        let path = Path::new(&self.folder).join(format!("{} {word}", self.name));
        let unfinished = path.with_extension("new");
        std::fs::write(&unfinished, text).expect("a word is written");
        std::fs::rename(&unfinished, &path).expect("a word is written");
    }
}

#[async_trait]
trait Work {
    async fn work(self: Arc<Self>, cx: Cx) -> Result<ToolResult>;
}

#[async_trait]
impl Work for Works {
    async fn work(self: Arc<Self>, cx: Cx) -> Result<ToolResult> {
        cx.step(self.name.clone(), || async { Ok(()) }).await?;
        self.say("begun", "");
        if self.name == "first" {
            // A thread cannot be dropped: it must hear of it.
            return cx
                .run_blocking(move |cx| {
                    while !cx.is_cancelled() {
                        std::thread::yield_now();
                    }
                    self.say("lost", &cx.is_lost().to_string());
                    cx.info("too late");
                    let late = cx.step("late", || Ok(()));
                    self.say("late", &late.unwrap_err().to_string());
                    Ok(ToolResult::text("first"))
                })
                .await;
        }
        Ok(ToolResult::text(self.name.clone()))
    }
}

struct Called(Arc<Works>);

impl Handler for Called {
    fn check(&self, _: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Arc::clone(&self.0).work(cx)
    }
}

fn tools(handler: impl Handler) -> Tools {
    let tool = Tool {
        task: TaskSupport::Required,
        ..Tool::new("tool", Arc::new(handler))
    };
    Tools::new([tool]).expect("one tool")
}

/// What a worker's process does. Does nothing in a test run, where nobody has given it a name.
#[test]
fn a_process_that_works() {
    let Ok(told) = std::env::var(WORKER) else {
        return;
    };
    let [address, name, folder] = told.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{WORKER} is {told:?}");
    };
    let works = Works {
        name: name.to_owned(),
        folder: folder.to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = RedisStore::open(Options::new(address, "test")).unwrap();
        let _engine = Engine::builder(Arc::new(store))
            .tools(tools(Called(Arc::new(works))))
            .lease(Duration::from_secs(2))
            .start()
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
}

/// A worker's process, killed with the test.
struct Worker(Child);

impl Worker {
    fn start(address: &str, name: &str, folder: &Path) -> Self {
        let told = format!("{address}\n{name}\n{}", folder.display());
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "stale::a_process_that_works", "--nocapture"])
            .env(WORKER, told)
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("it starts"))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill is there").success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a word of a worker.
async fn said(folder: &Path, word: &str) -> String {
    let path = folder.join(word);
    eventually(word, || {
        std::future::ready(std::fs::read_to_string(&path).ok())
    })
    .await
}

#[test]
fn a_worker_that_was_stopped_wakes_and_can_change_nothing() {
    let server = Server::volatile();
    let address = server.address("stale");
    let words = tempfile::tempdir().unwrap();
    let words = words.path();
    let store = RedisStore::open(Options::new(address.as_str(), "test")).unwrap();
    block_on(async {
        let task = TaskSpec::new("tool", RawJson::empty_object());
        let id = store.create(task, None).await.unwrap().task.id();
        let first = Worker::start(&address, "first", words);
        said(words, "first begun").await;
        first.signal("-STOP");
        let _second = Worker::start(&address, "second", words);
        said(words, "second begun").await;
        let ended = eventually("the second ends it", || async {
            let task = store.get(id).await.unwrap().unwrap();
            task.is_finished().then_some(task)
        })
        .await;
        first.signal("-CONT");
        assert_eq!(said(words, "first lost").await, "true");
        let late = said(words, "first late").await;
        assert!(late.contains("taken from this worker"), "{late}");
        let now = store.get(id).await.unwrap().unwrap();
        assert_eq!(*now, *ended, "nothing has changed");
        let Some(Outcome::Completed(result)) = now.outcome.as_deref() else {
            panic!("{now:?}");
        };
        assert!(result.content.as_str().contains("second"), "{result:?}");
        assert!(now.state.attempt > 1);
        let journal = store.journal(id).await.unwrap();
        let steps: Vec<_> = journal
            .iter()
            .filter(|entry| entry.kind == JournalKind::Step)
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(steps, ["first", "second"]);
        let log = store.log_read(id, 0, usize::MAX).await.unwrap();
        assert!(
            log.chunks
                .iter()
                .all(|chunk| !chunk.text.starts_with(b"too late"))
        );
    });
}

/// Ends at once.
struct Quick;

impl Handler for Quick {
    fn check(&self, _: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _: RawJson, _: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin(async { Ok(ToolResult::text("")) })
    }
}

#[test]
fn of_three_engines_one_fires_each_time() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let server = Server::volatile();
    let address = server.address("fires");
    let clock = Arc::new(ManualClock::default());
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut engines = Vec::new();
        for _ in 0..3 {
            let store = open(&address, Arc::clone(&clock) as Arc<dyn Clock>);
            let declared = NewSchedule::every(HOUR).of_tool("tool");
            let engine = Engine::builder(Arc::new(store))
                .tools(tools(Quick))
                .schedules(vec![declared])
                .start();
            engines.push(engine.await.unwrap());
        }
        let handle = engines[0].handle();
        for fired in 1..=5 {
            clock.advance(HOUR);
            engines.iter().for_each(Engine::run_due);
            eventually("it has fired, and its task has ended", || async {
                let schedule = handle.schedules().get("tool").await.unwrap();
                let last = schedule.state.last_task?;
                let task = handle.get(&Owner::local(), last).await.unwrap();
                let over = task.state.phase == Phase::Finished;
                (over && schedule.state.fired == fired).then_some(())
            })
            .await;
        }
        for engine in engines {
            engine.shutdown(Duration::from_secs(10)).await.unwrap();
        }
    });
    let store = open(&address, clock);
    let tasks = block_on(store.list(&Filter::default(), None, 100))
        .unwrap()
        .tasks;
    let mut times: Vec<_> = tasks
        .iter()
        .map(|task| task.spec.labels["scheduled-for"].clone())
        .collect();
    times.sort_unstable();
    times.dedup();
    assert_eq!((tasks.len(), times.len()), (5, 5), "one task for each time");
}
