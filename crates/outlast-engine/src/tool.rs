//! What can be run: tools, their handlers, and the set a server offers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::ToolVersion;
use outlast_core::task::{DEFAULT_MAX_AGE, DEFAULT_MAX_CRASHES, DEFAULT_RETENTION};
use outlast_core::{InputRequest, RawJson, ToolResult, label};
use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::context::Cx;
use crate::error::Result;
use crate::namespace::Namespace;
use crate::order::Order;
use crate::placement;
use crate::retry::Retry;
use crate::secrets::{Fields, Undotted};
use crate::serving::Serving;

/// Whether a tool may, must or must not run as a task, in the words of both eras.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSupport {
    /// Runs inline; nothing is stored.
    #[default]
    Forbidden,
    /// Runs as a task for callers that can have one, and synchronously for others.
    Optional,
    /// Runs as a task or not at all.
    Required,
}

impl TaskSupport {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// The code of a tool.
///
/// A handler may be called again for the same task: after a crash, after an error that is retried,
/// after a suspension. What must not happen twice belongs into [`Cx::step`].
pub trait Handler: Send + Sync + 'static {
    /// Says whether the arguments can be run, before anything is stored. The sentence names the
    /// argument and what is allowed.
    ///
    /// # Errors
    /// The arguments do not fit.
    fn check(&self, arguments: &RawJson) -> Result<(), String>;

    /// Says whether the call's `_meta` can be taken, before anything is stored: for tools that read
    /// keys of it. Takes everything unless it is written otherwise.
    ///
    /// # Errors
    /// A key does not fit; the sentence names it and says what is allowed.
    fn check_meta(&self, meta: Option<&RawJson>) -> Result<(), String> {
        let _ = meta;
        Ok(())
    }

    /// Runs the tool. The future may be dropped at any await: when the task is cancelled, suspends,
    /// or is handed to another worker.
    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>>;
}

/// Asks questions before a task exists: arguments in, questions out. The answers reach the handler
/// by [`Cx::first_answer`].
pub type AskFirst = Arc<dyn Fn(&RawJson) -> Result<Vec<InputRequest>> + Send + Sync>;

/// A tool as a server offers it.
#[derive(Clone)]
pub struct Tool {
    /// Unique within a server.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For the model.
    pub description: Option<String>,
    /// The JSON Schema of the arguments, an object.
    pub input_schema: RawJson,
    /// The JSON Schema of the structured result.
    pub output_schema: Option<RawJson>,
    /// The protocol's `annotations` object.
    pub annotations: Option<RawJson>,
    /// The tool's own `_meta` object.
    pub meta: Option<RawJson>,
    /// The protocol's `icons`, an array.
    pub icons: Option<RawJson>,
    /// Whether it runs as a task.
    pub task: TaskSupport,
    /// The version of the code, as far as running tasks care. Two versions that differ here are two
    /// tools to a worker.
    pub version: String,
    /// Versions whose unfinished tasks this code can finish.
    pub accepts: Vec<String>,
    /// How long a finished task is kept.
    pub retention: Duration,
    /// How many crashes in a row, without a new journal entry, end a task.
    pub max_crashes: u32,
    /// Whether an attempt that was interrupted (by a crash, a lost lease, a stop that could not wait)
    /// may be made again. `None`: it may, unless the annotations say `destructiveHint` and not
    /// `idempotentHint`.
    pub repeatable: Option<bool>,
    /// The key of a question before whose answer the handler does nothing, as [`Tool::confirmed`] has it:
    /// until then no interruption is one.
    pub confirmed_by: Option<String>,
    /// Whether and how an attempt that ended with an error is followed by another.
    pub retry: Option<Retry>,
    /// How long one attempt may take; then it ends with the reason `timeout`, or is followed by
    /// another if `retry` says so. Waiting for an answer, a timer, a signal or a child does not count, and
    /// an attempt that was suspended has all of its time again when it goes on.
    pub timeout: Option<Duration>,
    /// How long an attempt may report no progress, log nothing and record nothing; then it ends with
    /// the reason `idle_timeout`, or is followed by another. Waiting for answers and timers is not
    /// idle.
    pub idle_timeout: Option<Duration>,
    /// How long a task may stand ready before it is started for the first time; then it ends with
    /// the reason `queue_timeout`.
    pub queue_timeout: Option<Duration>,
    /// For how long no living worker may run a ready task until it ends with the reason `no_worker`; without
    /// it the server's time counts ([`EngineBuilder::no_worker_timeout`](crate::EngineBuilder::no_worker_timeout)).
    pub no_worker_timeout: Option<Duration>,
    /// How old a task may grow before it must have ended; then it ends with the reason `expired`.
    /// Counts from its creation, or from the moment it was ordered for.
    pub max_age: Duration,
    /// When its tasks run: priority, limits, rates, quotas, and which calls mean the same.
    pub order: Order,
    /// Labels of its tasks: see [`outlast_core::label`].
    pub labels: BTreeMap<String, String>,
    /// What a worker must be labelled with to run it, such as `gpu` or `region=eu`; see
    /// [`EngineBuilder::worker_labels`](crate::EngineBuilder::worker_labels).
    pub requires: BTreeSet<String>,
    /// Questions to be answered before the task exists.
    pub ask_first: Option<AskFirst>,
    /// How calls are served whose caller waits.
    pub serving: Serving,
    /// The mounted server it belongs to, if it does to one.
    pub namespace: Option<Arc<Namespace>>,
    /// The code.
    pub handler: Arc<dyn Handler>,
}

impl Tool {
    /// A tool without arguments that never runs as a task; set the fields you need.
    pub fn new(name: impl Into<String>, handler: Arc<dyn Handler>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: None,
            input_schema: RawJson::parse(r#"{"type":"object","properties":{}}"#)
                .expect("a constant"),
            output_schema: None,
            annotations: None,
            meta: None,
            icons: None,
            task: TaskSupport::Forbidden,
            version: "1".into(),
            accepts: Vec::new(),
            retention: DEFAULT_RETENTION,
            max_crashes: DEFAULT_MAX_CRASHES,
            repeatable: None,
            confirmed_by: None,
            retry: None,
            timeout: None,
            idle_timeout: None,
            queue_timeout: None,
            no_worker_timeout: None,
            max_age: DEFAULT_MAX_AGE,
            order: Order::default(),
            labels: BTreeMap::new(),
            requires: BTreeSet::new(),
            ask_first: None,
            serving: Serving::default(),
            namespace: None,
            handler,
        }
    }

    /// Whether an interrupted attempt is made again; see [`Tool::repeatable`].
    pub fn is_repeatable(&self) -> bool {
        let careful = || {
            let hints = self.annotations.as_ref().map(Hints::of).unwrap_or_default();
            hints.destructive && !hints.idempotent
        };
        self.repeatable.unwrap_or_else(|| !careful())
    }

    /// Whether a call may be answered with the id of its task although the caller asked for the
    /// result: it may be a task, and such an answer fits what the tool says it returns.
    pub fn may_detach(&self) -> bool {
        self.task == TaskSupport::Optional && (self.output_schema.is_none() || self.serving.detach)
    }
}

/// What the annotations say of a repetition.
#[derive(Default)]
struct Hints {
    destructive: bool,
    idempotent: bool,
}

impl Hints {
    fn of(annotations: &RawJson) -> Self {
        let said = annotations.to_value();
        Self {
            destructive: said["destructiveHint"] == true,
            idempotent: said["idempotentHint"] == true,
        }
    }
}

/// The tools of a server, by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tools {
    by_name: Arc<BTreeMap<String, Arc<Tool>>>,
    versions: Arc<BTreeSet<ToolVersion>>,
    /// The secret arguments of the tools that have some.
    secrets: Arc<BTreeMap<String, Fields>>,
}

impl Tools {
    /// The set of these tools.
    ///
    /// # Errors
    /// Two tools have the same name, a name is empty, or what a tool says about order or labels cannot hold;
    /// the sentence says which.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Result<Self, String> {
        let mut set = Self::default();
        for tool in tools {
            set.add(tool)?;
        }
        Ok(set)
    }

    /// What is read of a tool is read once, however many are added after it.
    fn add(&mut self, mut tool: Tool) -> Result<(), String> {
        tool.repeatable = Some(tool.is_repeatable());
        let name = tool.name.clone();
        let versions = std::iter::once(&tool.version).chain(&tool.accepts);
        let versions: Vec<ToolVersion> = versions
            .map(|version| ToolVersion {
                tool: name.clone(),
                version: version.clone(),
            })
            .collect();
        let fields = Fields::of(&tool.input_schema.to_value());
        if let Some(fields) = fields.clone() {
            let handler = tool.handler;
            tool.handler = Arc::new(Undotted { handler, fields });
        }
        insert(Arc::make_mut(&mut self.by_name), tool)?;
        Arc::make_mut(&mut self.versions).extend(versions);
        if let Some(fields) = fields {
            Arc::make_mut(&mut self.secrets).insert(name, fields);
        }
        Ok(())
    }

    /// Whether a tool has secret arguments: those whose schema says `writeOnly` or `format: password`.
    pub fn have_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    pub(crate) fn secrets_of(&self, tool: &str) -> Option<&Fields> {
        self.secrets.get(tool)
    }

    /// Whether it is this very set, not merely an equal one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.by_name, &other.by_name)
    }

    /// This set and one tool more.
    ///
    /// # Errors
    /// As [`Tools::new`].
    pub fn with(&self, tool: Tool) -> Result<Self, String> {
        let mut set = self.clone();
        set.add(tool)?;
        Ok(set)
    }

    /// This set without the tool of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut set = self.clone();
        Arc::make_mut(&mut set.by_name).remove(name);
        Arc::make_mut(&mut set.versions).retain(|version| version.tool != name);
        Arc::make_mut(&mut set.secrets).remove(name);
        set
    }

    /// The tool with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.by_name.get(name)
    }

    /// All tools in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.by_name.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The names and versions that a worker with these tools and labels runs.
    pub(crate) fn versions_for(&self, labels: &BTreeSet<String>) -> Arc<BTreeSet<ToolVersion>> {
        let runs = |name: &str| {
            let tool = self.by_name.get(name);
            tool.is_some_and(|tool| tool.requires.is_subset(labels))
        };
        if self.by_name.keys().all(|name| runs(name)) {
            return Arc::clone(&self.versions);
        }
        let versions = self.versions.iter().filter(|version| runs(&version.tool));
        Arc::new(versions.cloned().collect())
    }
}

fn insert(by_name: &mut BTreeMap<String, Arc<Tool>>, tool: Tool) -> Result<(), String> {
    if tool.name.is_empty() {
        return Err("a tool has an empty name".into());
    }
    tool.order.check(&tool.name)?;
    placement::check(&tool)?;
    label::check(&tool.labels).map_err(|wrong| format!("the tool {:?}: {wrong}", tool.name))?;
    if tool.task == TaskSupport::Forbidden && !tool.order.is_free() {
        return Err(format!(
            "the tool {:?} has a limit, a rate, a quota or a rule for calls that mean the same, and \
             these hold for tasks: let it run as a task (task = \"optional\"), or take the rule away",
            tool.name
        ));
    }
    match by_name.insert(tool.name.clone(), Arc::new(tool)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "two tools are named {:?}; names must differ",
            other.name
        )),
    }
}
