//! A command tool as the engine runs it: start or adopt the run, follow it, return what came of it.
//!
//! A handler may be called again for the same task at any time: after a crash of the server, after a
//! clean stop, after the store failed. It therefore begins by looking for a run of the task, and
//! adopts what it finds; only where there is none does it make one. How far the output was taken
//! over is stored together with the output itself, as the log's mark (the run's number and an offset
//! in its log), so that no byte is stored twice and none is left out.
//!
//! Runs are found on the machine where they were made and nowhere else. So before anything is made it is
//! recorded where ([`Cx::begin_at`]), and a machine that was handed a task which was begun on another does
//! not begin it again unless it is repeatable: whether the command still runs there cannot be told from
//! here.
//!
//! A call that has no record yet keeps its output in memory; a quick command that is called
//! synchronously costs the store nothing.
//!
//! A caller may ask for another time limit by `_meta`, `"outlast/timeoutMs"`: a number of
//! milliseconds, at most the tool's `max_timeout`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::log::unfinished;
use outlast_core::task::{DEFAULT_MAX_AGE, DEFAULT_RETENTION};
use outlast_core::{Failure, FailureReason, Level, LogLine, RawJson, TaskId, ToolResult};
use outlast_engine::{BoxFuture, Cx, Error, ErrorKind, Handler, Mask, Result, TaskSupport, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::Instant;

use super::expand::{Invocation, as_object, expand, variable};
use super::folder::{RunFolder, Spec, Started, Status, StopCause};
use super::follow::{Followed, Follower};
use super::limits::bytes as size;
use super::output::HALF;
use super::progress::{ProgressReader, ProgressUpdate};
use super::runs::Runs;
use super::{artifacts, orphans, outcome};
use crate::config::{CommandTool, Program};

/// The `_meta` key of a call that asks for another time limit.
pub const TIMEOUT_KEY: &str = "outlast/timeoutMs";

/// Output waits this long for more before it is stored.
const BATCH: Duration = Duration::from_millis(200);

/// Output is stored at once from this size on.
const FULL: usize = 256 * 1024;

/// The most output that a call without a record keeps in memory; more makes it have one.
const UNSTORED: usize = 1024 * 1024;

/// How often a shim is started for one run before that counts as impossible.
const STARTS: u32 = 3;

/// How often in a row, and in what distance, it is tried to look at a run.
const TROUBLES: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// How often a repeatable command is run again after its shim was killed. Restarts of the machine
/// do not count.
const REPEATS: usize = 3;

/// A mark of the log holds the run's number above and the offset below this bit.
const OFFSET_BITS: u32 = 48;

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
        // A server that dies under a command says nothing about the command, which goes on.
        max_crashes: u32::MAX,
        // The handler knows what has become of the command, and runs it again only if it may.
        repeatable: Some(true),
        ..Tool::new(command.name, Arc::new(handler))
    };
    if confirm { tool.confirmed() } else { tool }
}

#[derive(Clone)]
struct CommandHandler {
    command: Arc<CommandTool>,
    runs: Arc<Runs>,
    /// Whether a call can have a record, and with it a log.
    is_logged: bool,
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

/// How a run ended, for its handler.
enum Ending {
    Status(Status),
    /// Gone without a status, or stopped by a signal from elsewhere.
    Interrupted,
    /// Cancelled before anything was started.
    NeverStarted,
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
    fn secrets(&self, arguments: &RawJson) -> Result<Vec<(String, String)>> {
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
        if cx.is_stored() {
            // Something recorded in each attempt shows the engine that this task is not what brings
            // the server down, so that others need not wait for its end.
            for attempt in 2..=cx.attempt() {
                cx.step(format!("attempt {attempt}"), || async { Ok(()) })
                    .await?;
            }
        }
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

    async fn create(&self, number: u64, arguments: &RawJson, cx: &Cx) -> Result<RunFolder> {
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

/// Waits for the end of a shim. Cancel safe.
async fn ended(shim: &mut Option<Child>) {
    if let Some(shim) = shim {
        // How it ended stands in the folder.
        let _ = shim.wait().await;
    }
}

/// Blots out secrets in a log that nobody writes any more, whose gap ends there. Its length stays as it is.
fn scrub(path: &Path, gap: u64, mask: &Mask) -> io::Result<()> {
    const PIECE: usize = 1024 * 1024;
    let file = File::options().read(true).write(true).open(path)?;
    let mut piece = vec![0; PIECE + mask.longest()];
    let mut at = 0;
    loop {
        let mut length = 0;
        while length < piece.len() {
            match file.read_at(&mut piece[length..], at + length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        if mask.blot(&mut piece[..length]) {
            file.write_all_at(&piece[..length], at)?;
        }
        if length < piece.len() {
            return file.sync_all();
        }
        // The end is looked at again: a secret may go over it.
        at += PIECE as u64;
        if at > HALF && at < gap {
            // There is nothing, for as long as the command has printed.
            at = gap;
        }
    }
}

impl Drop for Run<'_> {
    /// A call without a record can never be asked for again: what nobody follows any more is stopped. The
    /// shim needs no server for that.
    fn drop(&mut self) {
        if !self.over && !self.cx.is_stored() {
            let _ = self.folder.request_cancel();
        }
    }
}

/// A run that is being followed.
struct Run<'a> {
    handler: &'a CommandHandler,
    cx: &'a Cx,
    arguments: &'a RawJson,
    number: u64,
    folder: RunFolder,
    progress: ProgressReader,
    /// Output that is not in the store yet, and when it should be.
    pending: Vec<u8>,
    store_at: Option<Instant>,
    /// How far the output has been read.
    offset: u64,
    /// The output has ended.
    over: bool,
    shim: Option<Child>,
    starts: u32,
}

impl<'a> Run<'a> {
    fn new(
        handler: &'a CommandHandler,
        cx: &'a Cx,
        arguments: &'a RawJson,
        number: u64,
        folder: RunFolder,
    ) -> Self {
        Self {
            handler,
            cx,
            arguments,
            number,
            folder,
            progress: ProgressReader::new(handler.command.progress.clone()),
            pending: Vec::new(),
            store_at: None,
            offset: 0,
            over: false,
            shim: None,
            starts: 0,
        }
    }

    /// Follows the run to its end, starting it if nobody has.
    async fn follow(&mut self) -> Result<Ending> {
        let mark = self.cx.log_mark().await?;
        self.offset = mark
            .filter(|mark| mark >> OFFSET_BITS == self.number)
            .map_or(0, |mark| mark & ((1 << OFFSET_BITS) - 1));
        let mut follower = Follower::new(self.folder.clone(), self.offset);
        let mut cancelled = false;
        let mut troubles = 0;
        let cx = self.cx;
        loop {
            let store_at = self.store_at;
            let next = tokio::select! {
                biased;
                () = cx.cancelled(), if !cancelled => {
                    cancelled = true;
                    self.folder.request_cancel()?;
                    continue;
                }
                () = tokio::time::sleep_until(store_at.unwrap_or_else(Instant::now)),
                    if store_at.is_some() =>
                {
                    self.store(false).await?;
                    continue;
                }
                // A shim of ours that ends is news at once; the follower would find out later.
                () = ended(&mut self.shim), if self.shim.is_some() => {
                    self.shim = None;
                    continue;
                }
                next = follower.next() => next,
            };
            let next = match next {
                Ok(next) => {
                    troubles = 0;
                    next
                }
                // A command of hours is not given up because the machine had no file descriptor
                // left for a moment.
                Err(error) if troubles < TROUBLES => {
                    troubles += 1;
                    let task = self.cx.task_id();
                    tracing::warn!(%task, %error, "cannot follow a command; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match next {
                Followed::Output(piece) => {
                    self.offset = follower.offset();
                    let update = self.progress.feed(&piece);
                    self.tell(update);
                    if self.handler.is_logged {
                        self.pending.extend_from_slice(&piece);
                        self.store_at.get_or_insert_with(|| Instant::now() + BATCH);
                        if self.pending.len() >= FULL {
                            self.store(self.pending.len() >= UNSTORED).await?;
                        }
                    }
                }
                Followed::Gap(bytes) => {
                    let hidden = self.cx.mask().longest() as u64;
                    // What stands there may be the end of a secret whose beginning is gone.
                    follower.pass_over(hidden);
                    self.offset = follower.offset();
                    self.tell_gap(bytes + hidden).await?;
                }
                Followed::NotStarted if cancelled => return Ok(Ending::NeverStarted),
                Followed::NotStarted => self.start().await?,
                Followed::Ended(status) => {
                    self.take_over().await?;
                    return Ok(match status.stopped {
                        Some(StopCause::Signal) => Ending::Interrupted,
                        // Not by anybody who may: its handler went while its record was being made.
                        Some(StopCause::Cancel) if !cancelled => Ending::Interrupted,
                        _ => Ending::Status(status),
                    });
                }
                Followed::Vanished(started) => {
                    self.take_over().await?;
                    self.bury(&started).await?;
                    return Ok(Ending::Interrupted);
                }
            }
        }
    }

    /// Starts a shim, unless one that was started is still on its way.
    async fn start(&mut self) -> Result<()> {
        if self.shim.is_some() {
            // On its way. If it comes to nothing, its end is noticed.
            tokio::time::sleep(Duration::from_millis(2)).await;
            return Ok(());
        }
        if self.starts == STARTS {
            return Err(Error::tool(format!(
                "the command could not be started: {}",
                self.folder.shim_says()
            )));
        }
        self.starts += 1;
        // Only here: a command that runs already is followed whatever its file says of its arguments by
        // now.
        let secrets = self.handler.secrets(self.arguments)?;
        let launcher = self.handler.runs.launcher();
        match launcher.launch(&self.folder, &secrets) {
            Ok(shim) => self.shim = Some(shim),
            Err(error) if self.starts == STARTS => {
                return Err(Error::tool(format!(
                    "the command could not be started: {error}"
                )));
            }
            // The machine has no process or no memory left just now.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        Ok(())
    }

    fn tell(&self, update: Option<ProgressUpdate>) {
        let Some(update) = update else { return };
        let progress = self.cx.progress();
        if let Some(total) = update.total {
            progress.total(total);
        }
        if let Some(message) = update.message {
            progress.message(message);
        }
        if let Some(done) = update.done {
            progress.done(done);
        }
    }

    /// Stores the output that waits, together with how far it has been read. A call without a record
    /// gets one only if `must`.
    async fn store(&mut self, must: bool) -> Result<()> {
        if !must && !self.cx.is_stored() {
            self.store_at = Some(Instant::now() + BATCH);
            return Ok(());
        }
        self.store_at = None;
        // What may be the beginning of a secret waits for the rest, or for the end; so does a character.
        let complete = if self.over {
            self.pending.len()
        } else {
            let complete = self.cx.mask().complete(&self.pending);
            complete - unfinished(&self.pending[..complete])
        };
        let waits = self.pending.split_off(complete);
        let ready = std::mem::replace(&mut self.pending, waits);
        if ready.is_empty() {
            return Ok(());
        }
        let told = self.offset - self.pending.len() as u64;
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text: ready,
            mark: Some(self.number << OFFSET_BITS | told),
        };
        self.cx.write_log(vec![line]).await.map(drop)
    }

    /// Stores what waits, and says that so many bytes behind it are not kept. What waits for the rest of
    /// a secret or of a character goes with them.
    async fn tell_gap(&mut self, bytes: u64) -> Result<()> {
        if !self.handler.is_logged {
            return Ok(());
        }
        let complete = self.cx.mask().complete(&self.pending);
        self.pending.truncate(complete);
        self.pending.truncate(complete - unfinished(&self.pending));
        self.store_at = None;
        let mut text = std::mem::take(&mut self.pending);
        let note = format!(
            "\n[{} of output are not kept: a command's log holds its beginning and its end]\n",
            size(bytes)
        );
        text.extend_from_slice(note.as_bytes());
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text,
            mark: Some(self.number << OFFSET_BITS | self.offset),
        };
        self.cx.write_log(vec![line]).await.map(drop)
    }

    /// The output has ended: stores the rest and reads the last line.
    async fn take_over(&mut self) -> Result<()> {
        let update = self.progress.finish();
        self.tell(update);
        self.over = true;
        let mask = self.cx.mask();
        if !mask.is_empty() {
            // The command wrote the file itself; now it can be cleaned.
            let (log, gap) = (self.folder.log_path(), self.folder.gap_end()?);
            tokio::task::spawn_blocking(move || scrub(&log, gap, &mask)).await??;
        }
        if self.cx.is_stored() {
            self.store(true).await
        } else {
            Ok(())
        }
    }

    /// Sees to it that nothing of a vanished run is left.
    async fn bury(&self, started: &Started) -> Result<()> {
        let killed = orphans::kill(&self.folder, started).await?;
        if killed > 0 {
            let task = self.cx.task_id();
            tracing::warn!(%task, killed, "a command's shim was killed; what it left is ended");
        }
        Ok(())
    }

    async fn result(&self, status: &Status) -> Result<ToolResult> {
        if let Some(used) = status.used {
            let cpu = Duration::from_millis(used.cpu_ms);
            self.cx.used(Some(cpu), used.peak_memory);
        }
        let spec = self.folder.spec()?;
        let patterns = &self.handler.command.artifacts;
        let folder = &spec.working_dir;
        let kept = artifacts::keep(self.cx, patterns, folder, status.started_at_ms).await?;
        let whole = if self.cx.is_stored() {
            format!("outlast tasks logs {}", self.cx.task_id())
        } else {
            String::new()
        };
        Ok(outcome::result(
            status,
            &self.folder.log_path(),
            &spec,
            &whole,
            &kept,
        )?)
    }

    /// Makes the next run, with a word about it in the log.
    async fn repeat(&self) -> Result<()> {
        let number = self.number + 1;
        if self.handler.is_logged {
            let line = LogLine {
                level: Level::Warning,
                logger: "outlast".to_owned(),
                text: b"the command was interrupted and is run again\n".to_vec(),
                mark: Some(number << OFFSET_BITS),
            };
            self.cx.write_log(vec![line]).await?;
        }
        match self.handler.create(number, self.arguments, self.cx).await {
            Ok(_) => Ok(()),
            // The arguments were good once; what has changed is outside.
            Err(error) if matches!(error.kind(), ErrorKind::Arguments(_)) => Err(Error::tool(
                format!("the command cannot be run again: {error}"),
            )),
            Err(error) => Err(error),
        }
    }
}
