//! Tests of an application's own tools: a server in this process, without a network, a disk or a wait.
//!
//! A [`TestServer`] runs the tools of a [`Server`] as the real one does, over a store in memory whose
//! clock stands still until the test moves it. It can be crashed at any moment and goes on in a
//! successor that finds what was recorded and nothing else, which is what a test of a durable tool
//! is about:
//!
//! ```
//! use outlast::prelude::*;
//! use outlast::testing::TestServer;
//!
//! /// Imports rows, one after the other.
//! #[tool(task)]
//! async fn import(rows: u32, cx: Cx) -> Result<String> {
//!     for row in 0..rows {
//!         cx.step(format!("row {row}"), || async move { Ok(row) }).await?;
//!         cx.sleep(format!("pause {row}"), std::time::Duration::from_secs(60)).await?;
//!     }
//!     Ok(format!("{rows} rows in attempt {}", cx.attempt()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let server = TestServer::start(Server::new("importer").tool(import)).await?;
//! let id = server.create("import", &serde_json::json!({"rows": 3})).await?;
//! server.run_until_idle().await; // the first row, and then it sleeps
//! let server = server.crash().await?;
//! for _ in 0..3 {
//!     server.advance(std::time::Duration::from_secs(60)).await;
//! }
//! assert_eq!(server.text(id).await, "3 rows in attempt 1");
//! assert_eq!(server.recorded(id).await, ["row 0", "pause 0", "row 1", "pause 1", "row 2", "pause 2"]);
//! # Ok(()) }
//! ```
//!
//! REST, event streams, WebSockets and MCP are driven without a network, by [`TestServer::get`],
//! [`TestServer::post`], [`TestServer::events`], [`TestServer::socket`] and [`TestServer::connect`]:
//!
//! ```
//! # use outlast::prelude::*;
//! # use outlast::testing::TestServer;
//! # use serde_json::json;
//! # use std::time::Duration;
//! /// Waits for an hour.
//! #[tool(task)]
//! async fn nap(cx: Cx) -> Result<String> {
//!     cx.sleep("an hour", Duration::from_secs(3600)).await?;
//!     Ok("rested".into())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let server = TestServer::start(Server::new("bed").tool(nap)).await?;
//! let created = server.post("/tasks", &json!({"tool": "nap"})).await;
//! assert_eq!(created.status, 202);
//! let id = created.body["taskId"].as_str().expect("an id");
//!
//! let mut socket = server.socket(&format!("/ws/{id}")).await;
//! assert_eq!(socket.next().await.expect("an event")["type"], "TASK_STARTED");
//!
//! server.run_until_idle().await;
//! server.advance(Duration::from_secs(3600)).await;
//! let task = server.get(&format!("/tasks/{id}")).await;
//! assert_eq!(task.body["status"], "completed");
//!
//! let mut events = server.events(&format!("/tasks/{id}/events")).await;
//! assert_eq!(events.next().await.expect("an event").data["seq"], 1);
//! # Ok(()) }
//! ```
//!
//! What can go wrong with a store is planned by [`TestServer::faults`]:
//!
//! ```
//! # use outlast::prelude::*;
//! # use outlast::testing::{Fault, TestServer};
//! # #[tool(task)]
//! # async fn hello(cx: Cx) -> Result<String> { cx.step("greet", || async { Ok("hello".to_owned()) }).await }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let server = TestServer::start(Server::new("greeter").tool(hello)).await?;
//! server.faults().on_next("finish", Fault::LoseReply);
//! let id = server.create("hello", &serde_json::json!({})).await?;
//! server.run_until_idle().await;
//! assert_eq!(server.text(id).await, "hello");
//! # Ok(()) }
//! ```

mod http;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::{Reads, Store};
use outlast_core::testing::MemoryStore;
pub use outlast_core::testing::{Fault, FaultyStore, ManualClock};
use outlast_core::{Outcome, Owner, Phase, RawJson, Task, TaskId};
use outlast_engine::{Engine, Handle, NewCall};
use serde::Serialize;

pub use self::http::{EventStream, HttpAnswer, ServerEvent, Socket};
use crate::error::StartError;
use crate::server::{Doors, PartsForTests, Stops};
use crate::{Error, Result, Server};

/// How often a test looks whether something has come to rest.
const LOOK: Duration = Duration::from_millis(1);

/// How long leases run here, by the clock of the test.
const LEASE: Duration = Duration::from_secs(30);

/// What secrets are sealed with, so that a successor can open them. The store is this process's memory.
const KEY: [u8; 32] = [7; 32];

/// A server in this process; see the [module](self).
///
/// Waiting handlers are suspended at once, so every timer and every answer takes the way that it takes
/// in a task of days.
pub struct TestServer {
    server: Server,
    engine: Engine,
    memory: Arc<MemoryStore>,
    faults: Arc<FaultyStore>,
    clock: Arc<ManualClock>,
    doors: Doors,
}

impl TestServer {
    /// Starts the tools of `server`, with its settings for tools and its lifespans. Nothing listens, and the
    /// lifespans are not taken down.
    ///
    /// # Errors
    /// As when the server is run: a tool cannot be what it says, or takes a state that is not there.
    pub async fn start(server: Server) -> Result<Self, StartError> {
        let clock = Arc::new(ManualClock::default());
        let memory = MemoryStore::new(Arc::clone(&clock) as Arc<_>);
        Self::over(server, Arc::new(memory), clock).await
    }

    async fn over(
        server: Server,
        memory: Arc<MemoryStore>,
        clock: Arc<ManualClock>,
    ) -> Result<Self, StartError> {
        // Nothing is taken down at the end: a test server ends by a crash, or is dropped.
        let begun = server.begin(&mut Stops::default()).await?;
        let PartsForTests {
            catalog,
            state,
            schedules,
            order,
        } = begun.parts_for_tests()?;
        // This process is all workers in one.
        let labels: Vec<String> = (catalog.tools().iter())
            .flat_map(|tool| tool.requires.iter().cloned())
            .collect();
        let faults = Arc::new(FaultyStore::new(Arc::clone(&memory) as Arc<dyn Store>));
        let engine = Engine::builder(Arc::clone(&faults) as Arc<dyn Store>)
            .tools(catalog.tools())
            .state(state)
            .schedules(schedules)
            .order(order)
            .worker_labels(labels)
            .secret_key(KEY)
            .lease(LEASE)
            .hot_wait(Duration::ZERO)
            .start()
            .await?;
        let doors = begun.doors_for_tests(engine.handle(), catalog).await?;
        Ok(Self {
            server,
            engine,
            memory,
            faults,
            clock,
            doors,
        })
    }

    /// How an application's own code reaches the tasks.
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// The store's clock.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Plans faults of the store: calls that fail, lose their reply, or wait.
    pub fn faults(&self) -> &FaultyStore {
        &self.faults
    }

    /// Creates a task of the tool `tool` for the owner `local`.
    ///
    /// # Errors
    /// There is no such tool, it refuses the arguments, or the store fails as it was told to.
    pub async fn create<A>(&self, tool: &str, arguments: &A) -> Result<TaskId>
    where
        A: Serialize + ?Sized,
    {
        let handle = self.handle();
        let known = handle.tools().get(tool).cloned();
        let known = known.ok_or_else(|| Error::tool(format!("there is no tool {tool:?}")))?;
        let arguments = RawJson::of(arguments)?;
        known.handler.check(&arguments).map_err(Error::arguments)?;
        let call = NewCall::new(known, arguments, Owner::local());
        Ok(handle.create(call).await?.id())
    }

    /// Waits until no task runs or could: all wait for a moment, an answer, another task, room under a
    /// limit or the end of a pause, or have ended and are cleaned up. A handler that never waits and never
    /// ends is never idle.
    pub async fn run_until_idle(&self) {
        loop {
            // In this order: what is claimed in between is seen as running.
            let waits = self.memory.could_claim(&self.engine.claims());
            let stats = self.memory.stats().await.expect("the memory store is open");
            let runs = stats.count(|kind| kind.phase == Phase::Running) > 0;
            if !waits && !runs {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the task has recorded an entry with this name, for example a step.
    ///
    /// # Panics
    /// If the task ends without it.
    pub async fn until_recorded(&self, id: TaskId, name: &str) {
        while !self.recorded(id).await.iter().any(|entry| entry == name) {
            let task = self.task(id).await;
            assert!(!task.is_finished(), "the task ended without {name:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Moves the clock, lets happen what is due then (timers, schedules, time limits, retention), and waits as
    /// [`TestServer::run_until_idle`].
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        loop {
            // Runs look at their limits, and the engine at what is due.
            self.engine.run_due();
            let did = self.engine.look().await;
            self.run_until_idle().await;
            // A planned fault is planned so often and no more.
            if !did.unwrap_or(true) {
                return;
            }
        }
    }

    /// Answers the open question `key` of a task with the response of its client, such as
    /// `{"action": "accept", "content": {…}}`.
    ///
    /// # Errors
    /// No such question is open, or the store fails as it was told to.
    pub async fn answer<A>(&self, id: TaskId, key: &str, response: &A) -> Result<()>
    where
        A: Serialize + ?Sized,
    {
        let answers = BTreeMap::from([(key.to_owned(), RawJson::of(response)?)]);
        let answered = self.handle().answer(&Owner::local(), id, answers).await?;
        if answered.accepted.is_empty() {
            return Err(Error::tool(format!("the question {key:?} is not open")));
        }
        Ok(())
    }

    /// The task as it stands.
    ///
    /// # Panics
    /// If there is none.
    pub async fn task(&self, id: TaskId) -> Arc<Task> {
        let task = self.memory.get(id).await.expect("the memory store is open");
        task.expect("the task is there")
    }

    /// The text of a task that has completed.
    ///
    /// # Panics
    /// If it has not; the message says how it stands.
    pub async fn text(&self, id: TaskId) -> String {
        let task = self.task(id).await;
        match task.outcome.as_deref() {
            Some(Outcome::Completed(result)) => result.headline().unwrap_or_default(),
            outcome => panic!("{}: {outcome:?}", task.state.phase.as_str()),
        }
    }

    /// The names of all that a task has recorded, in order.
    pub async fn recorded(&self, id: TaskId) -> Vec<String> {
        let journal = self.memory.journal(id).await;
        let journal = journal.expect("the memory store is open");
        journal.into_iter().map(|entry| entry.name).collect()
    }

    /// Crashes: every handler is dropped where it stands, and a new server finds what was recorded.
    /// The clock goes on from where it stands; planned faults are forgotten.
    ///
    /// # Errors
    /// As [`TestServer::start`].
    pub async fn crash(self) -> Result<Self, StartError> {
        let server = self.server.clone();
        self.crash_into(server).await
    }

    /// As [`TestServer::crash`], with another server in its place: to see what new code makes of the
    /// tasks of the old one.
    ///
    /// # Errors
    /// As [`TestServer::start`].
    pub async fn crash_into(self, server: Server) -> Result<Self, StartError> {
        self.doors.close();
        self.engine.abandon().await;
        let memory = Arc::new(self.memory.successor());
        Self::over(server, memory, self.clock).await
    }
}
