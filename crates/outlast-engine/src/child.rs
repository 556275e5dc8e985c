//! Children: tasks that a handler starts and waits for.
//!
//! Starting a child writes it and the parent's journal entry in one unit, so a handler that is run
//! again finds the children that are there and starts none twice. Waiting for one needs no entry: how a
//! child ended never changes, and its record is kept as long as its parent may ask
//! ([`outlast_core::machine::Parent`]). A wait watches the child itself, so that many waits side by side
//! cost each end of a child one wake-up and not one for all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use outlast_core::machine::Dependency;
use outlast_core::{
    JournalEntry, JournalKind, Outcome, RawJson, TaskId, TaskSpec, ToolResult, label,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::NewCall;
use crate::run::Run;
use crate::step::{self, fnv1a};
use crate::wait::For;

/// How many children of one fan-out are under way at a time where nothing is said.
const FAN_OUT: usize = 16;

/// A child that is about to be started; await it. Made by [`crate::Cx::spawn`].
#[must_use = "a child is started when this is awaited"]
pub struct Spawn<'a> {
    run: &'a Arc<Run>,
    tool: String,
    arguments: Result<RawJson>,
    name: Option<String>,
    /// Those that it has by itself.
    labels: BTreeMap<String, String>,
    priority: i16,
    after: Vec<Dependency>,
}

impl<'a> Spawn<'a> {
    pub(crate) fn new<A: Serialize + ?Sized>(
        run: &'a Arc<Run>,
        tool: String,
        arguments: &A,
    ) -> Self {
        Self {
            arguments: object(&tool, arguments),
            labels: BTreeMap::new(),
            priority: run.spec.priority,
            after: Vec::new(),
            name: None,
            tool,
            run,
        }
    }

    /// Sets the name under which the child is recorded; unique among the children of the task. Default:
    /// the tool's name, so a second child of one tool needs a name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds a label to those of the parent and of its tool, or changes one.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets the priority. Default: the parent's.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Lets the child run only after another task, for example another child.
    pub fn after(mut self, dependency: Dependency) -> Self {
        self.after.push(dependency);
        self
    }

    /// Starts the child and lets it go: it outlives its parent, and nobody waits for it. Returns its
    /// id.
    ///
    /// # Errors
    /// As [`crate::Cx::spawn`].
    ///
    /// # Cancel safety
    /// A dropped call has started the child and recorded it, or has done neither.
    pub async fn detach(self) -> Result<TaskId> {
        spawn(self, true).await
    }
}

impl<'a> IntoFuture for Spawn<'a> {
    type Output = Result<Child>;
    type IntoFuture = BoxFuture<'a, Result<Child>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (run, tool) = (Arc::clone(self.run), self.tool.clone());
            let id = spawn(self, false).await?;
            Ok(Child { run, id, tool })
        })
    }
}

async fn spawn(spawn: Spawn<'_>, detached: bool) -> Result<TaskId> {
    step::outside_step("spawn")?;
    let Spawn {
        run,
        tool: name_of_tool,
        arguments,
        name,
        labels,
        priority,
        after,
    } = spawn;
    let arguments = arguments?;
    let name = name.unwrap_or_else(|| name_of_tool.clone());
    let (tool, tools) = (run.tool_named(&name_of_tool), run.shared.tools());
    // What is secret among the arguments must not be guessed from the record.
    let secrets = tool.as_ref().and_then(|tool| tools.secrets_of(&tool.name));
    let told = secrets.map(|fields| run.shared.vault.keyed(&arguments, fields));
    let told = told.as_ref().unwrap_or(&arguments);
    let hash = fnv1a(format!("{name_of_tool}\0{}", told.as_str()).as_bytes());
    if let Some(entry) = run.take_name(JournalKind::Child, &name)? {
        // Of a tool that is gone nobody knows what was secret.
        if tool.is_some() && entry.input_hash != Some(hash) {
            return Err(Error::new(ErrorKind::Journal(format!(
                "child {name:?} was started with another tool or other arguments: the code has \
                 changed under the task"
            ))));
        }
        return id_of(&entry);
    }
    if run.cancel.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled));
    }
    let cannot = |problem: &str| Error::tool(format!("cannot start {name_of_tool:?}: {problem}"));
    let tool = tool.ok_or_else(|| cannot("there is no such tool"))?;
    tool.handler
        .check(&arguments)
        .map_err(|problem| cannot(&problem))?;
    let mut inherited = run.labels();
    inherited.extend(tool.labels.clone());
    inherited.extend(labels);
    let labels = inherited;
    label::check(&labels).map_err(|problem| cannot(&problem))?;
    let call = NewCall {
        client: run.spec.client.clone(),
        labels,
        priority,
        after,
        ..NewCall::new(tool, arguments, run.spec.owner.clone())
    };
    let mut child: TaskSpec = call.into_spec(&run.shared);
    // Who is told of the parent is told of no child.
    child.webhooks.clear();
    let lease = run.must_persist("spawn").await?;
    let store = run.store();
    let spawn = || store.spawn(&lease, &name, Some(hash), child.clone(), detached);
    let entry = run.insist(spawn).await?;
    run.remember(entry.clone());
    id_of(&entry)
}

fn id_of(entry: &JournalEntry) -> Result<TaskId> {
    step::recorded_value(&entry.name, entry)
}

/// The arguments as a JSON object; nothing is the empty one.
fn object<A: Serialize + ?Sized>(tool: &str, arguments: &A) -> Result<RawJson> {
    let arguments = RawJson::of(arguments).map_err(|error| {
        Error::tool(format!(
            "the arguments for {tool:?} have no JSON form: {error}"
        ))
    })?;
    match arguments.as_str().as_bytes().first() {
        Some(b'{') => Ok(arguments),
        _ if arguments.as_str() == "null" => Ok(RawJson::empty_object()),
        _ => Err(Error::tool(format!(
            "the arguments for {tool:?} must be an object with a member for each argument"
        ))),
    }
}

/// A child that was started. Dropping this changes nothing; when the parent ends, a child that has not
/// ended is cancelled.
#[derive(Clone)]
pub struct Child {
    run: Arc<Run>,
    id: TaskId,
    tool: String,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id)
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}

impl Child {
    /// The id of its task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Waits for the end of the child and returns its result. A long wait gives up the worker; the task
    /// goes on when the child has ended. May be called again.
    ///
    /// # Errors
    /// [`ErrorKind::Child`] if the child failed, was cancelled, or its result is an error of its tool;
    /// [`Error::child`] gives what it ended with. Or the task is being cancelled; a call inside a step;
    /// a lost lease; a store that failed.
    ///
    /// # Cancel safety
    /// A dropped wait changes nothing.
    pub async fn join(&self) -> Result<ToolResult> {
        step::outside_step("join")?;
        let run = &self.run;
        let mut changes = run.shared.hub.subscribe(self.id);
        let mut waiting = None;
        loop {
            let resolved = run.waits.resolved.notified();
            if run.cancel.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled));
            }
            let task = run.insist(|| run.store().get(self.id)).await?;
            let task = task.ok_or_else(|| {
                let problem = format!("child {} no longer exists", self.id);
                Error::new(ErrorKind::Journal(problem))
            })?;
            if let Some(outcome) = &task.outcome {
                return self.result(outcome);
            }
            if waiting.is_none() {
                // Told only now: most joins of a replay find an end, and wait for nothing.
                waiting = Some(run.waits.register(For::Child(self.id)));
                run.poke.notify_one();
            }
            tokio::select! {
                () = changes.changed() => {}
                () = resolved => {}
                () = run.cancel.cancelled() => {}
            }
        }
    }

    /// Waits as [`Child::join`] does and reads the result as `T`: its structured content, or else its
    /// text.
    ///
    /// # Errors
    /// As [`Child::join`]; and the result does not have the form of `T`.
    pub async fn join_as<T: DeserializeOwned>(&self) -> Result<T> {
        let result = self.join().await?;
        value_of(&result).map_err(|error| {
            Error::tool(format!(
                "the result of child {} ({:?}) does not have the expected form: {error}",
                self.id, self.tool
            ))
        })
    }

    fn result(&self, outcome: &Arc<Outcome>) -> Result<ToolResult> {
        match &**outcome {
            Outcome::Completed(result) if !result.is_error => Ok(result.clone()),
            _ => Err(Error::new(ErrorKind::Child(ChildFailure {
                task: self.id,
                tool: self.tool.clone(),
                outcome: Arc::clone(outcome),
            }))),
        }
    }
}

/// Reads a result the way `#[tool]` writes one: an object as it is, any other value under `result`.
fn value_of<T: DeserializeOwned>(result: &ToolResult) -> serde_json::Result<T> {
    use serde_json::Value;
    if let Some(structured) = &result.structured {
        return structured.to().or_else(|error| {
            let Value::Object(mut object) = structured.to_value() else {
                return Err(error);
            };
            let wrapped = object.remove("result").filter(|_| object.is_empty());
            wrapped.map_or(Err(error), serde_json::from_value)
        });
    }
    let Value::Array(blocks) = result.content.to_value() else {
        return result.content.to();
    };
    let texts = blocks.iter().filter_map(|block| block["text"].as_str());
    let text = texts.collect::<Vec<_>>().join("\n");
    serde_json::from_str(&text).or_else(|_| serde_json::from_value(Value::String(text)))
}

/// How a child ended that brought no result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildFailure {
    /// The child.
    pub task: TaskId,
    /// Its tool.
    pub tool: String,
    /// What it ended with: a failure, a cancellation, or a result that is an error of the tool.
    pub outcome: Arc<Outcome>,
}

impl fmt::Display for ChildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, tool, .. } = self;
        write!(f, "child {task} ({tool:?}) ")?;
        match &*self.outcome {
            Outcome::Failed(failure) => write!(f, "failed: {}", failure.message),
            Outcome::Cancelled { reason: None } => f.write_str("was cancelled"),
            Outcome::Cancelled {
                reason: Some(reason),
            } => write!(f, "was cancelled: {reason}"),
            Outcome::Completed(result) => {
                let headline = result.headline();
                write!(
                    f,
                    "failed: {}",
                    headline.as_deref().unwrap_or("its tool says no more")
                )
            }
        }
    }
}

/// Children of one tool, one for each set of arguments; await it. Made by [`crate::Cx::fan_out`].
#[must_use = "children are started when this is awaited"]
pub struct FanOut<'a> {
    run: &'a Arc<Run>,
    tool: String,
    arguments: BoxIter<'a>,
    name: String,
    limit: usize,
}

type BoxIter<'a> = Box<dyn Iterator<Item = Result<RawJson>> + Send + 'a>;

impl<'a> FanOut<'a> {
    pub(crate) fn new<I>(run: &'a Arc<Run>, tool: String, arguments: I) -> Self
    where
        I: IntoIterator + 'a,
        I::IntoIter: Send,
        I::Item: Serialize,
    {
        let of = tool.clone();
        let arguments = arguments.into_iter().map(move |item| object(&of, &item));
        Self {
            run,
            arguments: Box::new(arguments),
            name: tool.clone(),
            tool,
            limit: FAN_OUT,
        }
    }

    /// Sets the name under which the children are recorded, each with its number behind it. Default:
    /// the tool's name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many children are under way at a time; at least 1. Default 16.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }
}

impl<'a> IntoFuture for FanOut<'a> {
    type Output = Result<Vec<Result<ToolResult>>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(fan_out(self))
    }
}

/// What the lanes of a fan-out share.
struct Work<'a> {
    arguments: std::iter::Enumerate<BoxIter<'a>>,
    results: Vec<Option<Result<ToolResult>>>,
}

async fn fan_out(fan_out: FanOut<'_>) -> Result<Vec<Result<ToolResult>>> {
    let FanOut {
        run,
        tool,
        arguments,
        name,
        limit,
    } = fan_out;
    let work = Mutex::new(Work {
        arguments: arguments.enumerate(),
        results: Vec::new(),
    });
    let (work, tool, name) = (&work, &tool, &name);
    // Each lane starts a child, waits for it and goes on with the next set of arguments.
    let lane = || async move {
        loop {
            let next = lock(work).arguments.next();
            let Some((index, arguments)) = next else {
                return Ok(());
            };
            let spawn = Spawn {
                arguments,
                name: Some(format!("{name} {index}")),
                ..Spawn::new(run, tool.clone(), &())
            };
            let joined = spawn.await?.join().await;
            if let Err(error) = &joined
                && !matches!(error.kind(), ErrorKind::Child(_))
            {
                return joined.map(drop);
            }
            let results = &mut lock(work).results;
            if results.len() <= index {
                results.resize_with(index + 1, || None);
            }
            results[index] = Some(joined);
        }
    };
    all((0..limit).map(|_| lane()).collect()).await?;
    let results = std::mem::take(&mut lock(work).results);
    Ok(results
        .into_iter()
        .map(|result| result.expect("every lane has ended"))
        .collect())
}

fn lock<'w, 'a>(work: &'w Mutex<Work<'a>>) -> std::sync::MutexGuard<'w, Work<'a>> {
    work.lock()
        .expect("an iterator that panics ends the handler")
}

/// Polls all lanes until each has ended, or one has failed.
async fn all<F: Future<Output = Result<()>>>(lanes: Vec<F>) -> Result<()> {
    let mut lanes: Vec<_> = lanes.into_iter().map(|lane| Some(Box::pin(lane))).collect();
    std::future::poll_fn(move |cx| {
        use std::task::Poll;
        let mut pending = false;
        for slot in &mut lanes {
            let Some(lane) = slot else { continue };
            match lane.as_mut().poll(cx) {
                Poll::Pending => pending = true,
                Poll::Ready(Ok(())) => *slot = None,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    })
    .await
}
