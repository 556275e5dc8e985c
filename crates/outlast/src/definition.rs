//! A tool as it is given to a server: what `#[tool]` makes, and what can be written by hand.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::{InputRequest, RawJson, ToolResult};
use outlast_engine::{
    BlockingCx, BoxFuture, Cx, DetachAfter, Handler, OnDisconnect, Order, Retry, TaskSupport,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::blocking;
use crate::icon::{Icon, icons};
use crate::promise::Promised;
use crate::{Error, Result, StartError, arguments, schema};

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
    icons: Vec<Icon>,
    tags: BTreeSet<String>,
    needs: Vec<Need>,
}

/// A state that a tool takes.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl Need {
    pub(crate) fn of<S: StateOf>() -> Self {
        Self {
            id: TypeId::of::<S::Value>(),
            name: std::any::type_name::<S::Value>(),
        }
    }
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
        let handler = Typed {
            validator: schema::validator(&Value::Object(schema.clone())),
            run,
            arguments: PhantomData::<fn(A)>,
        };
        let mut tool = outlast_engine::Tool::new(name, Arc::new(handler));
        tool.input_schema = schema::raw(schema);
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
        let handler = Untyped { validator, run };
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
            icons: Vec::new(),
            tags: BTreeSet::new(),
            needs: Vec::new(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.tool.name
    }

    /// Sets a name for people.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.tool.title = Some(title.into());
        self
    }

    /// Says what the tool does, for the model.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.tool.description = Some(description.into());
        self
    }

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
        self.tool.output_schema = Some(schema::raw(schema::of::<T>()));
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

    /// Adds an icon.
    pub fn icon(mut self, icon: impl Into<Icon>) -> Self {
        self.icons.push(icon.into());
        self
    }

    /// Adds a tag, by which a server offers some of its tools and not others
    /// ([`crate::Server::include_tags`], [`crate::Server::exclude_tags`]).
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    pub(crate) fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// Sets the tool's own `_meta`, an object.
    pub fn meta(mut self, meta: impl Into<RawJson>) -> Self {
        self.tool.meta = Some(meta.into());
        self
    }

    /// Says that the handler takes this state, so that a server without it does not start. `S` is
    /// written as [`crate::State`] of the type.
    pub fn needs<S: StateOf>(mut self) -> Self {
        self.needs.push(Need::of::<S>());
        self
    }

    pub(crate) fn needed(&self) -> &[Need] {
        &self.needs
    }

    /// The tool as the engine runs it, with the server's defaults where it says nothing itself.
    ///
    /// # Errors
    /// It asks questions before a task exists, and would never run as a task.
    pub(crate) fn settle(
        mut self,
        task: Option<TaskSupport>,
        retention: Option<Duration>,
    ) -> Result<outlast_engine::Tool, String> {
        self.tool.task = self.task.or(task).unwrap_or_default();
        if let Some(retention) = self.retention.or(retention) {
            self.tool.retention = retention;
        }
        if !self.annotations.is_empty() {
            self.tool.annotations = Some(Value::Object(self.annotations).into());
        }
        if self.confirm && self.tool.task == TaskSupport::Forbidden {
            return Err(format!(
                "the tool {:?} asks for a confirmation, so it cannot run without a task: declare it \
                 with #[tool(task, …)], or start the server with --task optional",
                self.tool.name
            ));
        }
        if self.confirm {
            self.tool = self.tool.confirmed();
        }
        if !self.icons.is_empty() {
            self.tool.icons = icons(&self.icons);
        }
        if self.tool.ask_first.is_some() && self.tool.task == TaskSupport::Forbidden {
            return Err(format!(
                "the tool {:?} asks questions before its task exists, so it cannot run without \
                 one: declare it with #[tool(task, …)], or start the server with --task optional",
                self.tool.name
            ));
        }
        check_serving(&self.tool)?;
        if let Some(schema) = &self.tool.output_schema {
            let inner = Arc::clone(&self.tool.handler);
            let promised = Promised::new(schema, inner).map_err(|why| {
                format!(
                    "the output schema of the tool {:?} is not valid: {why}",
                    self.tool.name
                )
            })?;
            self.tool.handler = Arc::new(promised);
        }
        Ok(self.tool)
    }
}

/// Refuses what a tool says about being served that cannot hold.
fn check_serving(tool: &outlast_engine::Tool) -> Result<(), String> {
    let name = &tool.name;
    let serving = &tool.serving;
    if let Some(heartbeat) = serving.heartbeat {
        outlast_engine::heartbeat(heartbeat)
            .map_err(|problem| format!("the tool {name:?}: {problem}"))?;
    }
    let detaches = matches!(serving.detach_after, Some(DetachAfter::After(_)));
    let goes_on = serving.on_disconnect == OnDisconnect::Detach;
    if (detaches || goes_on) && tool.task == TaskSupport::Forbidden {
        let what = if detaches {
            "detach_after"
        } else {
            "on_disconnect"
        };
        return Err(format!(
            "the tool {name:?} sets {what}, but a call that is never a task cannot go on without its \
             caller: declare it with #[tool(task, …)], or start the server with --task optional"
        ));
    }
    if detaches && tool.task == TaskSupport::Required {
        return Err(format!(
            "the tool {name:?} sets detach_after, but runs as a task only, so nobody waits for it: use \
             task = \"optional\", or leave detach_after away"
        ));
    }
    if detaches && tool.output_schema.is_some() && !serving.detach {
        return Err(format!(
            "the tool {name:?} sets detach_after and promises structured results, which the id of a \
             task would not fit: add detach = true, and it is offered without the promise"
        ));
    }
    Ok(())
}

impl From<outlast_engine::Tool> for Tool {
    /// A tool that was made for the engine. What it says about tasks and retention stands.
    fn from(tool: outlast_engine::Tool) -> Self {
        let (task, retention) = (tool.task, tool.retention);
        let mut tool = Self::around(tool, Some(task));
        tool.retention = Some(retention);
        if let Some(Value::Object(hints)) = tool.tool.annotations.as_ref().map(RawJson::to_value) {
            tool.annotations = hints;
        }
        tool
    }
}

/// [`crate::State`] of some type: how a tool names the state that it takes.
pub trait StateOf {
    /// The type of the state.
    type Value: Send + Sync + 'static;
}

impl<T: Send + Sync + 'static> StateOf for crate::State<T> {
    type Value = T;
}

/// What a server takes as a tool: a [`Tool`], or the name of a function with `#[tool]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "not a tool",
    note = "put #[tool] on the function and give the server its name without calling it, or make a \
            `Tool` by hand with `Tool::typed`"
)]
pub trait IntoTool {
    /// The tool.
    fn into_tool(self) -> Tool;
}

impl IntoTool for Tool {
    fn into_tool(self) -> Tool {
        self
    }
}

impl IntoTool for outlast_engine::Tool {
    fn into_tool(self) -> Tool {
        self.into()
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> Tool> IntoTool for F {
    fn into_tool(self) -> Tool {
        self()
    }
}

struct Typed<A, F> {
    validator: Option<schema::Later>,
    run: F,
    arguments: PhantomData<fn(A)>,
}

impl<A, F> Handler for Typed<A, F>
where
    A: DeserializeOwned + Send + 'static,
    F: Fn(A, Cx) -> BoxFuture<'static, Result<ToolResult>> + Send + Sync + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        arguments::read::<A>(arguments)?;
        match self.validator.as_deref() {
            Some(Some(validator)) => arguments::validate(validator, arguments),
            _ => Ok(()),
        }
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        match arguments::read(&arguments) {
            Ok(arguments) => (self.run)(arguments, cx),
            // A task that older code accepted.
            Err(sentence) => Box::pin(async move { Err(Error::arguments(sentence)) }),
        }
    }
}

struct Untyped<F> {
    validator: jsonschema::Validator,
    run: F,
}

impl<F, Fut> Handler for Untyped<F>
where
    F: Fn(RawJson, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ToolResult>> + Send + 'static,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        arguments::validate(&self.validator, arguments)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin((self.run)(arguments, cx))
    }
}
