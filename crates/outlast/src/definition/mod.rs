//! A tool as it is given to a server: what `#[tool]` makes, and what can be written by hand.

mod handlers;
mod into;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{InputRequest, NewSchedule, RawJson, ToolResult};
use outlast_engine::{
    BlockingCx, BoxFuture, Cx, DetachAfter, Handler, OnDisconnect, Order, Retry, TaskSupport,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::declared::{Declared, declares};
use crate::offer::texts;
use crate::{Result, StartError, blocking, schema};
use handlers::{Typed, Untyped};

pub(crate) use into::Need;
pub use into::{IntoTool, StateOf};

/// A tool: its name, what it says about itself, and its code.
///
/// `#[tool]` writes these calls. By hand, for arguments of a type of your own:
///
/// ```
/// use outlast::prelude::*;
/// use outlast::reply;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Sum {
///     a: i64,
///     b: i64,
/// }
///
/// let add = Tool::typed("add", |Sum { a, b }, _cx| async move { reply::of(a + b) })
///     .description("Adds two numbers.")
///     .task(TaskSupport::Optional);
/// let server = Server::new("calculator").tool(add);
/// # let _ = server;
/// ```
#[derive(Clone)]
#[must_use = "a tool does nothing until a server has it"]
pub struct Tool {
    tool: outlast_engine::Tool,
    /// What the tool says by itself; `None` leaves it to the server's default.
    task: Option<TaskSupport>,
    retention: Option<Duration>,
    confirm: bool,
    annotations: Map<String, Value>,
    declared: Declared,
    schedules: Vec<NewSchedule>,
}

impl Tool {
    /// A tool with an async handler. The JSON Schema of its arguments is that of `A`.
    ///
    /// The handler may be called again for the same task: after a crash, an error that is retried or
    /// a long wait. What must not happen twice belongs into [`Cx::step`].
    pub fn typed<A, F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(A, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ToolResult>> + Send + 'static,
    {
        Self::of_arguments::<A>(name, move |arguments, cx| Box::pin(run(arguments, cx)))
    }

    /// A tool with a blocking handler, which runs on a thread of its own, away from the threads that
    /// serve connections. It cannot be stopped from outside: it should look at
    /// [`Cx::is_cancelled`] between two pieces of work.
    pub fn blocking<A, F>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(A, BlockingCx) -> Result<ToolResult> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        Self::of_arguments::<A>(name, move |arguments, cx| {
            let run = Arc::clone(&run);
            cx.run_blocking(move |cx| {
                let _counted = blocking::Counted::new();
                run(arguments, cx)
            })
        })
    }

    fn of_arguments<A>(
        name: impl Into<String>,
        run: impl Fn(A, Cx) -> BoxFuture<'static, Result<ToolResult>> + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
    {
        let schema = schema::of::<A>();
        let validator = schema::validator(&Value::Object(schema.clone()));
        let handler = Typed::<A, _>::new(validator, run);
        let mut tool = outlast_engine::Tool::new(name, Arc::new(handler));
        tool.input_schema = schema::raw(&schema, texts::fields::<A>());
        Self::around(tool, None)
    }

    /// A tool whose arguments are described by a JSON Schema of its own, which is passed on
    /// unchanged. The handler gets arguments that fit it, as they came.
    ///
    /// # Errors
    /// The schema is no valid JSON Schema 2020-12; the sentence says where.
    pub fn untyped<F, Fut>(
        name: impl Into<String>,
        schema: &Value,
        run: F,
    ) -> Result<Self, StartError>
    where
        F: Fn(RawJson, Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ToolResult>> + Send + 'static,
    {
        let name = name.into();
        let validator = jsonschema::draft202012::new(schema).map_err(|error| {
            StartError::new(format!(
                "the schema of the tool {name:?} is not valid: {error}"
            ))
        })?;
        let handler = Untyped::new(validator, run);
        Ok(Self::raw(name, schema.clone(), Arc::new(handler)))
    }

    /// A tool with a handler of your own and a schema as it stands, which is passed on unchanged.
    /// The handler checks its arguments by itself.
    pub fn raw(name: impl Into<String>, schema: impl Into<RawJson>, run: Arc<dyn Handler>) -> Self {
        let mut tool = outlast_engine::Tool::new(name, run);
        tool.input_schema = schema.into();
        Self::around(tool, None)
    }

    fn around(tool: outlast_engine::Tool, task: Option<TaskSupport>) -> Self {
        Self {
            tool,
            task,
            retention: None,
            confirm: false,
            annotations: Map::new(),
            declared: Declared::default(),
            schedules: Vec::new(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.tool.name
    }

    declares!("Says what the tool does, for the model.");

    /// Says whether the tool runs as a task, whatever the server's default is.
    pub fn task(mut self, task: TaskSupport) -> Self {
        self.task = Some(task);
        self
    }

    /// Sets the version of the code, as far as running tasks care: change it when a task that was
    /// begun by the old code cannot be finished by the new. Default "1".
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.tool.version = version.into();
        self
    }

    /// Adds an older version whose unfinished tasks this code can finish.
    pub fn accepts(mut self, version: impl Into<String>) -> Self {
        self.tool.accepts.push(version.into());
        self
    }

    /// Sets how long a finished task is kept. Default: the server's, or 24 hours.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Sets how long one attempt may take before it ends with the reason `timeout`. Waiting for an answer,
    /// a timer, a signal or a child does not count, and an attempt that was suspended has all of its time
    /// again when it goes on. Default: as long as it likes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.tool.timeout = Some(timeout);
        self
    }

    /// Sets how long an attempt may report no progress, log nothing and record nothing before it ends
    /// with the reason `idle_timeout`. Waiting for answers and timers is not idle. Default: as long
    /// as it likes.
    ///
    /// ```
    /// use outlast::prelude::*;
    ///
    /// /// Fetch all pages: one may take five minutes, all of them as long as they take.
    /// #[tool(task, idle_timeout = "5m")]
    /// async fn fetch(pages: u32, cx: Cx) -> Result<u32> {
    ///     for page in cx.progress().over(1..=pages) {
    ///         cx.step(format!("page {page}"), || async { Ok(()) }).await?;
    ///     }
    ///     Ok(pages)
    /// }
    ///
    /// # let _ = Server::new("pages").tool(fetch);
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.tool.idle_timeout = Some(timeout);
        self
    }

    /// Sets how long a task may stand ready before it is started for the first time; then it ends
    /// with the reason `queue_timeout`. Default: as long as it takes.
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.tool.queue_timeout = Some(timeout);
        self
    }

    /// Sets for how long no living worker may run the tool of a ready task; then the task ends with the reason
    /// `no_worker`. Default: the server's, else it waits for a worker.
    pub fn no_worker_timeout(mut self, timeout: Duration) -> Self {
        self.tool.no_worker_timeout = Some(timeout);
        self
    }

    /// Sets how old a task may grow, waiting included, before it must have ended; then it ends with
    /// the reason `expired`. Default 30 days.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.tool.max_age = age;
        self
    }

    /// Tries a task again after an error, up to this many times more, with growing waits.
    pub fn retries(self, retries: u32) -> Self {
        self.retry(Retry::attempts(retries.saturating_add(1)))
    }

    /// Sets whether and how a task is tried again after an error. Default: it is not.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.tool.retry = Some(retry);
        self
    }

    /// Says when the tool's tasks run: priority, limits, rates, quotas, and which calls mean the same.
    /// Such a tool must run as a task, unless all that is said is the priority.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// use outlast::{Order, Per};
    ///
    /// /// Runs a piece of code in a session; pieces of one session run one after the other.
    /// #[tool(task)]
    /// async fn run(session: String, code: String) -> Result<String> {
    ///     Ok(format!("{session}: {code}"))
    /// }
    ///
    /// let one_a_session = Order::new().max_running_per(1, Per::argument("session"));
    /// let server = Server::new("notebook").tool(run().order(one_a_session));
    /// # let _ = server;
    /// ```
    pub fn order(mut self, order: Order) -> Self {
        self.tool.order = order;
        self
    }

    /// Adds a label to the tool's tasks, by which they can be found: see [`outlast_core::label`]. A caller's
    /// label of the same key stands before it.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tool.labels.insert(key.into(), value.into());
        self
    }

    /// Lets the tool call itself at the times that the schedule says, as [`crate::Server::schedule`] does;
    /// the schedule need not name the tool. A second one needs a name, which stands behind the prefix of a
    /// mounted server as the tool's does. Such a tool must run as a task.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// use outlast::{NewSchedule, Server};
    ///
    /// /// Sends the report of the last days.
    /// #[tool(task)]
    /// async fn report(days: u32) -> Result<String> {
    ///     Ok(format!("sent for {days}"))
    /// }
    ///
    /// let every_morning = NewSchedule::cron("0 7 * * *")
    ///     .time_zone("Europe/Berlin")
    ///     .arguments(&serde_json::json!({"days": 1}));
    /// let server = Server::new("reports").tool(report().schedule(every_morning));
    /// # let _ = server;
    /// ```
    pub fn schedule(mut self, schedule: NewSchedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    pub(crate) fn has_schedules(&self) -> bool {
        !self.schedules.is_empty()
    }

    /// Its schedules, which need not name the tool yet; it has none afterwards.
    pub(crate) fn take_schedules(&mut self) -> Vec<NewSchedule> {
        std::mem::take(&mut self.schedules)
    }

    /// Lets only workers run it that are labelled so, as `--worker-label gpu` has it; all labels that are
    /// named must be there. Any server creates its tasks, and they wait for such a worker. The tool must
    /// be one that may run as a task.
    pub fn requires(mut self, label: impl Into<String>) -> Self {
        self.tool.requires.insert(label.into());
        self
    }

    /// Sets how many crashes in a row, without a new journal entry, end a task. Default 3.
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.tool.max_crashes = crashes;
        self
    }

    /// Says whether an attempt that was interrupted by a crash or a stop may be made again. Default: it
    /// may, unless the tool is destructive and not idempotent; then the task ends with the reason
    /// `interrupted`, and its undos run.
    pub fn repeatable(mut self, yes: bool) -> Self {
        self.tool.repeatable = Some(yes);
        self
    }

    /// Asks whether the tool shall run, in the task and before the handler is called. Without a yes
    /// nothing is done, and the caller gets a tool error that says so. Such a tool must run as a task.
    pub fn confirm(mut self) -> Self {
        self.confirm = true;
        self
    }

    /// Sets when a call that still runs is answered with the id of its task, for callers that asked
    /// for the result and cannot have a task. Default: the server's, or 45 s. The tool must be one that
    /// may run as a task.
    pub fn detach_after(mut self, after: DetachAfter) -> Self {
        self.tool.serving.detach_after = Some(after);
        self
    }

    /// Lets a tool with an output schema be answered with the id of its task too. It is then offered
    /// without the schema, which such an answer would not fit.
    pub fn detach(mut self, yes: bool) -> Self {
        self.tool.serving.detach = yes;
        self
    }

    /// Sets how often a call that still runs says so. Default: the server's, or 5 s.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.tool.serving.heartbeat = Some(every);
        self
    }

    /// Sets what becomes of a call whose caller goes away. Default: what the protocol says.
    pub fn on_disconnect(mut self, what: OnDisconnect) -> Self {
        self.tool.serving.on_disconnect = what;
        self
    }

    /// Asks questions before a task exists; the handler reads the answers with
    /// [`Cx::first_answer`]. Such a tool must run as a task.
    pub fn ask_first<F>(mut self, questions: F) -> Self
    where
        F: Fn(&RawJson) -> Result<Vec<InputRequest>> + Send + Sync + 'static,
    {
        self.tool.ask_first = Some(Arc::new(questions));
        self
    }

    /// Sets the JSON Schema of the structured result to that of `T`. The handler must then always
    /// return such a value, and be sure to return an object.
    pub fn output<T: JsonSchema>(mut self) -> Self {
        self.tool.output_schema = Some(schema::raw(&schema::of::<T>(), &[]));
        self
    }

    /// Says that the tool changes nothing, or that it does.
    pub fn read_only(self, yes: bool) -> Self {
        self.hint("readOnlyHint", yes)
    }

    /// Says whether a change that the tool makes may destroy something.
    pub fn destructive(self, yes: bool) -> Self {
        self.hint("destructiveHint", yes)
    }

    /// Says whether calling the tool twice with the same arguments is like calling it once.
    pub fn idempotent(self, yes: bool) -> Self {
        self.hint("idempotentHint", yes)
    }

    /// Says whether the tool deals with things outside, like a search in the web.
    pub fn open_world(self, yes: bool) -> Self {
        self.hint("openWorldHint", yes)
    }

    fn hint(mut self, name: &str, yes: bool) -> Self {
        self.annotations.insert(name.to_owned(), yes.into());
        self
    }
}
