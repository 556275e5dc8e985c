//! A command tool as the engine runs it: start or adopt the run, follow it, return what came of it.
//!
//! A handler may be called again for the same task at any time: after a crash of the server, after a
//! clean stop, after the store failed. It therefore begins by looking for a run of the task, and
//! adopts what it finds; only where there is none does it make one. How it is followed stands in `run.rs`.
//!
//! Runs are found on the machine where they were made and nowhere else. So before anything is made it is
//! recorded where ([`Cx::begin_at`]), and a machine that was handed a task which was begun on another does
//! not begin it again unless it is repeatable: whether the command still runs there cannot be told from
//! here.
//!
//! A caller may ask for another time limit by `_meta`, `"outlast/timeoutMs"`: a number of
//! milliseconds, at most the tool's `max_timeout`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::task::{DEFAULT_MAX_AGE, DEFAULT_RETENTION};
use outlast_core::{Failure, FailureReason, RawJson, TaskId, ToolResult};
use outlast_engine::{BoxFuture, Cx, Error, Handler, Result, TaskSupport, Tool};
use serde::Deserialize;
use serde_json::{Value, json};

use super::expand::{Invocation, as_object, expand, variable};
use super::folder::{RunFolder, Spec, StopCause};
use super::run::{Ending, PAUSE, Run, TROUBLES};
use super::runs::Runs;
use crate::config::{CommandTool, Program};

/// The `_meta` key of a call that asks for another time limit.
pub const TIMEOUT_KEY: &str = "outlast/timeoutMs";

/// How often a repeatable command is run again after its shim was killed. Restarts of the machine
/// do not count.
const REPEATS: usize = 3;

/// What holds for tools that do not say otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Defaults {
    /// Task support.
    pub task: TaskSupport,
    /// How long a result is kept after the end.
    pub retention: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            task: TaskSupport::Optional,
            retention: DEFAULT_RETENTION,
        }
    }
}

/// Makes a command an engine's tool.
///
/// # Panics
/// Never: a schema made of strings and numbers has a JSON form.
#[must_use]
pub fn tool(command: CommandTool, defaults: Defaults, runs: &Arc<Runs>) -> Tool {
    let json = |value: &Value| RawJson::of(value).expect("a JSON value has a JSON form");
    let task = command.task.unwrap_or(defaults.task);
    let annotations = (!command.annotations.is_empty()).then(|| json(&json!(command.annotations)));
    let handler = CommandHandler {
        command: Arc::new(command.clone()),
        runs: Arc::clone(runs),
        is_logged: task != TaskSupport::Forbidden,
    };
    let confirm = command.confirm;
    let tool = Tool {
        title: command.title.clone(),
        description: Some(command.description.clone()),
        input_schema: json(&command.input_schema()),
        annotations,
        task,
        version: command.version.clone(),
        retention: command.retention.unwrap_or(defaults.retention),
        order: command.order.clone(),
        requires: command.requires.iter().cloned().collect(),
        queue_timeout: command.queue_timeout,
        no_worker_timeout: command.no_worker_timeout,
        max_age: command.max_age.unwrap_or(DEFAULT_MAX_AGE),
        serving: command.serving,
        labels: command.labels.clone(),
        // A command cannot bring its server down, and goes on when that dies.
        max_crashes: u32::MAX,
        // The handler knows what has become of the command, and runs it again only if it may.
        repeatable: Some(true),
        ..Tool::new(command.name, Arc::new(handler))
    };
    if confirm { tool.confirmed() } else { tool }
}

#[derive(Clone)]
pub(super) struct CommandHandler {
    pub(super) command: Arc<CommandTool>,
    pub(super) runs: Arc<Runs>,
    /// Whether a call can have a record, and with it a log.
    pub(super) is_logged: bool,
}

impl Handler for CommandHandler {
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        self.expand(arguments).map(drop)
    }

    fn check_meta(&self, meta: Option<&RawJson>) -> Result<(), String> {
        self.timeout(meta).map(drop)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let handler = self.clone();
        Box::pin(async move { handler.run(&arguments, &cx).await })
    }
}

impl CommandHandler {
    fn expand(&self, arguments: &RawJson) -> Result<Invocation, String> {
        let arguments = as_object(&arguments.to_value()).map_err(|error| error.to_string())?;
        expand(&self.command, &arguments).map_err(|error| error.to_string())
    }

    /// The time limit of a run whose call came with this `_meta`.
    fn timeout(&self, meta: Option<&RawJson>) -> Result<Option<Duration>, String> {
        #[derive(Default, Deserialize)]
        struct Meta {
            #[serde(rename = "outlast/timeoutMs")]
            timeout_ms: Option<Value>,
        }
        let meta: Meta = meta.and_then(|meta| meta.to().ok()).unwrap_or_default();
        let asked = match meta.timeout_ms {
            None | Some(Value::Null) => None,
            Some(value) => Some(Duration::from_millis(value.as_u64().ok_or_else(|| {
                format!(
                    "_meta[\"{TIMEOUT_KEY}\"] is {value}; allowed: a whole number of milliseconds"
                )
            })?)),
        };
        let timeout = self.command.timeout_for(asked);
        timeout.map_err(|problem| format!("_meta[\"{TIMEOUT_KEY}\"]: {problem}"))
    }

    /// The variables that hold secrets.
    pub(super) fn secrets(&self, arguments: &RawJson) -> Result<Vec<(String, String)>> {
        if self
            .command
            .arguments
            .iter()
            .all(|argument| !argument.secret)
        {
            return Ok(Vec::new());
        }
        let expanded = self.expand(arguments).map_err(Error::arguments)?;
        Ok(expanded.secret_env)
    }

    /// What is to be run in the folder at `path`.
    fn spec(&self, path: &Path, arguments: &RawJson, cx: &Cx) -> Result<Spec> {
        let timeout = self.timeout(cx.request_meta()).map_err(Error::arguments)?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut invocation = self.expand(arguments).map_err(Error::arguments)?;
        if self.command.own_folder {
            invocation.working_dir = RunFolder::files(path);
        }
        let log_file = self.command.log_file.as_ref();
        let log_file = log_file.map(|file| invocation.working_dir.join(file));
        let mut inherited = self.command.inherited.clone();
        if let Some(only) = &mut inherited.only {
            only.extend(invocation.secret_env.iter().map(|(name, _)| name.clone()));
        }
        // A script's argument that was not given is not set, whatever the server's own environment has.
        if matches!(self.command.program, Program::Shell(_)) {
            let secret =
                |name: &String| invocation.secret_env.iter().any(|(given, _)| given == name);
            let arguments = self.command.arguments.iter();
            let variables = arguments.map(|argument| variable(&argument.name));
            inherited
                .never
                .extend(variables.filter(|name| !secret(name)));
        }
        Ok(Spec {
            timeout_ms: timeout.map(ms),
            idle_timeout_ms: self.command.idle_timeout.map(ms),
            interrupt_grace_ms: ms(self.command.interrupt_grace),
            terminate_grace_ms: ms(self.command.terminate_grace),
            limits: self.command.limits,
            inherited,
            log_file,
            ..Spec::new(invocation)
        })
    }

    async fn run(&self, arguments: &RawJson, cx: &Cx) -> Result<ToolResult> {
        let task = cx.task_id();
        let _following = patiently(task, || self.runs.follow(task)).await?;
        let here = patiently(task, || self.runs.place()).await?;
        let begun = cx.begin_at(&here).await?;
        let elsewhere = (begun != here).then_some(begun);
        loop {
            let latest = self.latest_or_new(arguments, cx, elsewhere.as_deref());
            let (number, folder) = latest.await?;
            let mut run = Run::new(self, cx, arguments, number, folder);
            match run.follow().await? {
                Ending::Status(status) if status.stopped == Some(StopCause::Cancel) => {
                    return Err(cx.cancelled_error());
                }
                Ending::NeverStarted => return Err(cx.cancelled_error()),
                Ending::Status(status) => return run.result(&status).await,
                Ending::Interrupted if self.may_repeat(cx)? => run.repeat().await?,
                Ending::Interrupted => return Err(self.interrupted()),
            }
        }
    }

    /// The task's last run, or its first; `elsewhere` is where it was begun, if that was not here.
    async fn latest_or_new(
        &self,
        arguments: &RawJson,
        cx: &Cx,
        elsewhere: Option<&str>,
    ) -> Result<(u64, RunFolder)> {
        let task = cx.task_id();
        let mut runs = patiently(task, || async { self.runs.of(task) }).await?;
        if let Some((number, folder)) = runs.pop_last() {
            return Ok((number, folder));
        }
        if let Some(place) = elsewhere.filter(|_| !self.command.repeatable) {
            return Err(interrupted_elsewhere(place));
        }
        Ok((1, self.create(1, arguments, cx).await?))
    }

    pub(super) async fn create(
        &self,
        number: u64,
        arguments: &RawJson,
        cx: &Cx,
    ) -> Result<RunFolder> {
        let path = std::path::absolute(self.runs.path(cx.task_id(), number))?;
        let spec = self.spec(&path, arguments, cx)?;
        // Several waits for the disk.
        let made = tokio::task::spawn_blocking(move || RunFolder::create(&path, &spec)).await?;
        Ok(made.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("the run cannot be written down: {error}"),
            )
        })?)
    }

    /// Whether an interrupted command is run again.
    fn may_repeat(&self, cx: &Cx) -> Result<bool> {
        if !self.command.repeatable {
            return Ok(false);
        }
        let mut of_this_boot = 0;
        for folder in self.runs.of(cx.task_id())?.values() {
            if let Some(started) = folder.started()? {
                of_this_boot += usize::from(started.command.is_of_this_boot()?);
            }
        }
        Ok(of_this_boot <= REPEATS)
    }

    fn interrupted(&self) -> Error {
        let why = if self.command.repeatable {
            "it was run again too often"
        } else {
            "it is not declared repeatable, so it was not run again"
        };
        let message = format!(
            "interrupted: the command vanished with its machine or was killed together with its \
             shim; {why}; the log holds what it printed"
        );
        Error::failed(Failure::internal(FailureReason::Interrupted, message))
    }
}

/// Another machine has the run, and this one has the task.
fn interrupted_elsewhere(place: &str) -> Error {
    let machine = place.split(' ').next().unwrap_or(place);
    let message = format!(
        "interrupted: the command was started on {machine}, whose worker has lost the task or was \
         stopped; it is not declared repeatable, so it was not run again here; the log holds what it \
         printed until then"
    );
    Error::failed(Failure::internal(FailureReason::Interrupted, message))
}

/// Tries for a minute to look at the runs of a task. A command of hours is not given up because the
/// machine had no file descriptor left for a moment.
async fn patiently<T, F: Future<Output = io::Result<T>>>(
    task: TaskId,
    mut look: impl FnMut() -> F,
) -> io::Result<T> {
    let mut troubles = 0;
    loop {
        match look().await {
            Err(error) if troubles < TROUBLES => {
                troubles += 1;
                tracing::warn!(%task, %error, "cannot look at the runs of a task; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
