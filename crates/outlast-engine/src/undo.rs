//! Undo: calls that take back what a handler did, if its task does not succeed.
//!
//! An undo is the call of a registered tool, recorded before the change it undoes; so any later
//! process can run it, and a process that dies right after the record has nothing to undo but
//! something that never happened. The undos of a task that fails or is cancelled run from the last to
//! the first, one at a time, in a run of their own whose lease is not the attempt's
//! ([`outlast_core::undo`]). Each is called as a tool that is no task is: its steps are not recorded
//! one by one, it cannot ask, and its waits hold the worker. The whole of it is recorded when it is
//! done, so it may run twice; and one that fails does not keep the others from running.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::AttemptEnd;
use outlast_core::store::Claimed;
use outlast_core::{
    JournalEntry, JournalKind, Lease, Level, LogLine, Outcome, RawJson, Recorded, Task, TaskSpec,
    UndoCall,
};
use serde::Serialize;

use crate::attempt::{Ending, drive, settle};
use crate::context::Cx;
use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::run::{Origin, Run};
use crate::step::{self, fnv1a};
use crate::tool::Tool;
use crate::worker;

/// How long an undo may take whose tool says nothing.
const LONGEST: Duration = Duration::from_secs(600);

/// How long to wait when the store does not answer.
const BACKOFF: Duration = Duration::from_millis(200);

/// An undo that was recorded. Dropping this changes nothing: the undo stays.
#[derive(Clone)]
#[must_use = "an undo stays recorded; `discard` it if its change was taken back otherwise"]
pub struct Undo {
    run: Arc<Run>,
    name: String,
}

impl Undo {
    /// Forgets the undo, durably: the change was never made, or the handler has taken it back itself.
    /// Repeating it is harmless.
    ///
    /// # Errors
    /// The lease is lost, or the store failed; then the undo may still run.
    ///
    /// # Cancel safety
    /// A dropped call has forgotten the undo or has not.
    pub async fn discard(self) -> Result<()> {
        step::outside_step("discarding an undo")?;
        let discarded = Recorded::Value(RawJson::of(&()).map_err(Error::from)?);
        if self
            .run
            .take_name(JournalKind::Undone, &self.name)?
            .is_none()
        {
            step::record(&self.run, JournalKind::Undone, &self.name, None, discarded).await?;
        }
        Ok(())
    }
}

impl Cx {
    /// Records a call of `tool` that undoes what the handler is about to do. Call it **before** the
    /// change, and make the change in a [`Cx::step`] behind it.
    ///
    /// If the task fails, returns a tool error or is cancelled, its undos run from the last to the
    /// first, also after a crash and while the task was suspended; if it succeeds they are dropped.
    /// An undo runs at least once: it must do no harm when its change was never made, or when it has
    /// run before. It is tried again as its tool's retries say (three times if they say nothing); one
    /// that fails for good is noted in the record and does not keep the others from running, and no
    /// undo changes the task's outcome.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn set_mode(_: &str) -> Result<()> { Ok(()) }
    /// # async fn copy_schemas() -> Result<u32> { Ok(0) }
    /// # async fn migrate(cx: Cx) -> Result<u32> {
    /// #[derive(serde::Serialize)]
    /// struct SetMode { mode: &'static str }
    ///
    /// let restore = cx.undo("set_mode", &SetMode { mode: "READWRITE" }).await?;
    /// cx.step("import mode", || set_mode("IMPORT")).await?;
    /// let copied = cx.step("copy", || copy_schemas()).await?;
    /// cx.step("normal mode", || set_mode("READWRITE")).await?;
    /// restore.discard().await?;
    /// # Ok(copied) }
    /// ```
    ///
    /// # Errors
    /// No such tool is registered, or it refuses the arguments; a call inside a step; the run is not a
    /// task; the journal is full; a lost lease; a store that failed. Nothing is recorded then, so the
    /// change must not be made.
    ///
    /// # Cancel safety
    /// A dropped call has recorded the undo or has not.
    pub async fn undo<A>(&self, tool: &str, arguments: &A) -> Result<Undo>
    where
        A: Serialize + ?Sized + Sync,
    {
        step::outside_step("undo")?;
        let refused = |why: String| Error::protocol(-32603, format!("undo by {tool:?}: {why}"));
        let arguments =
            RawJson::of(arguments).map_err(|error| refused(format!("no JSON form: {error}")))?;
        let known = self.run.tool_named(tool);
        let known = known.ok_or_else(|| {
            refused("the server has no such tool: register the tool that undoes the change".into())
        })?;
        known.handler.check(&arguments).map_err(refused)?;
        let name = format!("{tool} {:016x}", fnv1a(arguments.as_str().as_bytes()));
        let (name, recorded) = self.run.take_next_name(JournalKind::Undo, &name);
        if recorded.is_none() {
            let call = UndoCall {
                tool: known.name.clone(),
                version: known.version.clone(),
                arguments,
            };
            let call = Recorded::Value(RawJson::of(&call).map_err(Error::from)?);
            step::record(&self.run, JournalKind::Undo, &name, None, call).await?;
        }
        Ok(Undo {
            run: Arc::clone(&self.run),
            name,
        })
    }
}

/// The undos that have to run, in the order of running.
fn outstanding(journal: &[JournalEntry]) -> Vec<&JournalEntry> {
    let of = |kind| move |entry: &&JournalEntry| entry.kind == kind;
    let done: HashSet<_> = journal
        .iter()
        .filter(of(JournalKind::Undone))
        .map(|entry| entry.name.as_str())
        .collect();
    journal
        .iter()
        .rev()
        .filter(of(JournalKind::Undo))
        .filter(|entry| !done.contains(entry.name.as_str()))
        .collect()
}

/// Runs the undos of a task that was claimed for them. What the store is to be told; `None` if it is
/// somebody else's business now.
pub(crate) async fn clean_up(run: &Arc<Run>, journal: &[JournalEntry]) -> Option<AttemptEnd> {
    let undone = async {
        for entry in outstanding(journal) {
            let done = undo(run, entry).await;
            record(run, &entry.name, done).await?;
        }
        Some(AttemptEnd::CleanedUp)
    };
    let end = tokio::select! {
        biased;
        () = run.lost.cancelled() => None,
        () = run.shared.releasing.cancelled() => Some(AttemptEnd::Release),
        end = undone => end,
    };
    // The log of the undos is stored before their end is.
    match settle(run, Ending::Released).await {
        Ending::Lost => None,
        _ => end,
    }
}

/// Runs one undo until it succeeds or its tries are used up.
async fn undo(run: &Arc<Run>, entry: &JournalEntry) -> Result<(), String> {
    let call: UndoCall = entry
        .recorded
        .json()
        .to()
        .map_err(|error| format!("its record cannot be read: {error}"))?;
    let tool = run.shared.tools().get(&call.tool).cloned();
    let fits =
        |tool: &Arc<Tool>| tool.version == call.version || tool.accepts.contains(&call.version);
    let tool = tool.filter(fits).ok_or_else(|| {
        format!(
            "the server has no tool {:?} in version {:?} any more",
            call.tool, call.version
        )
    })?;
    let retry = tool.retry.unwrap_or_default();
    let mut errors = 0;
    loop {
        let Err(message) = once(run, &tool, &call).await else {
            return Ok(());
        };
        errors += 1;
        let text = format!("undo {:?} failed: {message}", entry.name);
        run.log
            .push(Level::Warning, "outlast", &run.mask().text(&text));
        match retry.wait_after(errors) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(message),
        }
    }
}

async fn once(run: &Arc<Run>, tool: &Tool, call: &UndoCall) -> Result<(), String> {
    let spec = TaskSpec {
        tool: call.tool.clone(),
        tool_version: call.version.clone(),
        arguments: call.arguments.clone(),
        ..TaskSpec::clone(&run.spec)
    };
    let tool = Tool {
        timeout: Some(tool.timeout.unwrap_or(LONGEST)),
        ..Tool::clone(tool)
    };
    let slot = run
        .slot
        .lock()
        .expect("nothing panics under this lock")
        .clone();
    let undo = Run::new(
        Arc::clone(&run.shared),
        &tool,
        Arc::new(spec),
        Origin::Unstored(crate::carried::Carried::default()),
        Some(Arc::new(Forward(Arc::clone(run)))),
        slot,
    );
    let handler = worker::start_handler(&tool.handler, &undo);
    match drive(&undo, handler).await {
        Ending::Outcome(Outcome::Completed(result)) if !result.is_error => Ok(()),
        Ending::Outcome(Outcome::Completed(result)) => {
            Err(result.headline().unwrap_or_else(|| "a tool error".into()))
        }
        Ending::Outcome(Outcome::Failed(failure)) => Err(failure.message),
        Ending::Again { message, .. } => Err(message),
        Ending::Outcome(Outcome::Cancelled { .. })
        | Ending::Released
        | Ending::Suspended
        | Ending::Lost => Err("it stopped before its end".into()),
    }
}

/// Records what came of an undo. `None` if the lease is lost.
async fn record(run: &Arc<Run>, name: &str, done: Result<(), String>) -> Option<()> {
    let lease = run.lease()?;
    let recorded = match &done {
        Ok(()) => RawJson::of(&()).map(Recorded::Value),
        Err(message) => RawJson::of(&run.mask().text(message)).map(Recorded::Error),
    };
    let recorded = recorded.expect("a text has a JSON form");
    loop {
        let kind = JournalKind::Undone;
        let put = run
            .store()
            .journal_put(&lease, kind, name, None, recorded.clone(), None);
        match put.await {
            Ok(_) => return Some(()),
            Err(outlast_core::Error::LeaseLost(_)) => return None,
            Err(error) if error.is_retryable() => tokio::time::sleep(BACKOFF).await,
            Err(error) => {
                // Without its record the clean-up cannot end as done, which is what must be seen.
                tracing::error!(task = %lease.task, undo = name, %error, "could not store an undo");
                return Some(());
            }
        }
    }
}

/// What a worker goes on with that has just ended a task under `lease`: its undos, if it has kept the
/// task for them.
pub(crate) async fn kept(shared: &Shared, lease: &Lease, task: Arc<Task>) -> Option<Claimed> {
    if !task.is_cleaning_up() {
        return None;
    }
    let kept = task.lease().filter(|kept| kept.nonce == lease.nonce)?;
    loop {
        match shared.store.journal(kept.task).await {
            Ok(journal) => {
                return Some(Claimed {
                    task,
                    lease: kept,
                    journal,
                });
            }
            Err(error) if error.is_retryable() => tokio::time::sleep(BACKOFF).await,
            Err(error) => {
                tracing::error!(task = %kept.task, %error, "could not read what is to be undone");
                return None;
            }
        }
    }
}

/// Goes on with the undos of a synchronous call, which has no slot: takes one, or leaves them to
/// whoever has one.
pub(crate) fn go_on(shared: &Arc<Shared>, lease: Lease, task: Arc<Task>) {
    let tracker = shared.running.clone();
    let shared = Arc::clone(shared);
    tracker.spawn(async move {
        let Some(claimed) = kept(&shared, &lease, task).await else {
            return;
        };
        match shared.slots.try_take() {
            Some(slot) => worker::start(&shared, claimed, slot),
            None => {
                worker::report_end(&shared, &claimed.lease, AttemptEnd::Release, None).await;
            }
        }
    });
}

/// What an undo logs is the task's log.
struct Forward(Arc<Run>);

impl Observer for Forward {
    fn log(&self, line: &LogLine) {
        let text = String::from_utf8_lossy(&line.text);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        self.0.log.push(line.level, &line.logger, text);
    }
}
