//! Clean-up: the undos of a task that has failed or was cancelled ([`crate::undo`]), run one at a time from
//! the last to the first, in a run of their own whose lease is not the attempt's ([`outlast_core::undo`]).
//!
//! Each is called as a tool that is no task is: its steps are not recorded one by one, it cannot ask, and
//! its waits hold the worker. The whole of it is recorded when it is done, so it may run twice; and one that
//! fails does not keep the others from running.
//!
//! Decision: a clean-up is claimed by whoever knows the task's tool, and that may be a worker of another
//! release, which does not have the undo's. Such a worker records nothing: it hands the clean-up back, to be
//! claimed a little later, as long as a living worker says that it runs that tool in that version, and for
//! [`ABSENCE`] while it is being restarted. Only then, or where the store has no other worker, has the undo
//! failed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::AttemptEnd;
use outlast_core::store::{Claimed, ToolVersion};
use outlast_core::{
    JournalEntry, JournalKind, Lease, Level, LogLine, Outcome, RawJson, Recorded, Task, TaskSpec,
    UndoCall,
};

use crate::attempt::{Ending, drive, settle};
use crate::observer::Observer;
use crate::run::{Origin, Run};
use crate::shared::Shared;
use crate::tool::Tool;
use crate::worker;

/// How long an undo may take whose tool says nothing.
const LONGEST: Duration = Duration::from_secs(600);

/// How long to wait when the store does not answer.
const BACKOFF: Duration = Duration::from_millis(200);

/// How long after the task's end a worker that could run an undo may be away.
const ABSENCE: Duration = Duration::from_secs(600);

/// How soon a clean-up is claimed again that was handed back: the longer it takes, the later.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(60);

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
            let done = match found(run, entry).await {
                Ok((call, tool)) => undo(run, entry, &call, &tool).await,
                Err(Absent::ForNow(end)) => return Some(end),
                Err(Absent::ForGood(why)) => Err(why),
            };
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

/// Why this worker cannot run an undo.
enum Absent {
    /// Somebody else may be able to: what the store is to be told.
    ForNow(AttemptEnd),
    ForGood(String),
}

/// The call of an undo and its tool, if this worker may run that.
async fn found(run: &Run, entry: &JournalEntry) -> Result<(UndoCall, Arc<Tool>), Absent> {
    let unreadable = |error| Absent::ForGood(format!("its record cannot be read: {error}"));
    let call: UndoCall = entry.recorded.json().to().map_err(unreadable)?;
    let shared = &run.shared;
    let wanted = ToolVersion {
        tool: call.tool.clone(),
        version: call.version.clone(),
    };
    if shared.claimed().contains(&wanted)
        && let Some(tool) = shared.tools().get(&call.tool)
    {
        let tool = Arc::clone(tool);
        return Ok((call, tool));
    }
    let message = format!(
        "no worker that has the tool {:?} in version {:?}, and the labels that it requires, has come",
        call.tool, call.version
    );
    let now = shared.store.clock().now();
    let waited = match shared.store.get(run.spec.id).await {
        Ok(Some(task)) => task.state.finished_at.map(|ended| now.since(ended)),
        Ok(None) | Err(_) => None,
    };
    let waited = waited.unwrap_or_default();
    let comes = match shared.store.workers().await {
        Ok(signs) => {
            let mut others = signs.iter().filter(|sign| sign.worker != shared.worker);
            let is_alone = others.clone().next().is_none();
            others.any(|sign| sign.runs.contains(&wanted)) || (!is_alone && waited < ABSENCE)
        }
        Err(_) => true,
    };
    if !comes {
        return Err(Absent::ForGood(message));
    }
    let at = now + (waited / 4).clamp(SOON, LATER);
    Err(Absent::ForNow(AttemptEnd::Retry { message, at }))
}

/// Runs one undo until it succeeds or its tries are used up.
async fn undo(
    run: &Arc<Run>,
    entry: &JournalEntry,
    call: &UndoCall,
    tool: &Tool,
) -> Result<(), String> {
    let retry = tool.retry.unwrap_or_default();
    let mut errors = 0;
    loop {
        let Err(message) = once(run, tool, &entry.name, call).await else {
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

async fn once(run: &Arc<Run>, tool: &Tool, name: &str, call: &UndoCall) -> Result<(), String> {
    let spec = TaskSpec {
        tool: call.tool.clone(),
        tool_version: call.version.clone(),
        arguments: call.arguments.clone(),
        sealed: call.sealed.clone(),
        sealed_for: None,
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
    let mut undo = Run::new(
        Arc::clone(&run.shared),
        &tool,
        Arc::new(spec),
        Origin::Unstored(crate::carried::Carried::default()),
        Some(Arc::new(Forward(Arc::clone(run)))),
        slot,
    );
    let own = Arc::get_mut(&mut undo).expect("nobody else has it yet");
    own.undoes = Some(name.to_owned());
    if let Ok(opened) = &mut own.opened {
        // It may tell the secrets of its task as well as its own.
        opened.mask = opened.mask.and(run.mask());
    }
    let handler = worker::start_handler(&tool.handler, &undo);
    let ended = drive(&undo, handler).await;
    undo.over();
    let failed = match ended {
        Ending::Outcome(Outcome::Completed(result)) if !result.is_error => return Ok(()),
        Ending::Outcome(Outcome::Completed(result)) => {
            result.headline().unwrap_or_else(|| "a tool error".into())
        }
        Ending::Outcome(Outcome::Failed(failure)) => failure.message,
        Ending::Again { message, .. } => message,
        Ending::Outcome(Outcome::Cancelled { .. })
        | Ending::Released
        | Ending::Interrupted
        | Ending::Suspended
        | Ending::Lost => "it stopped before its end".into(),
    };
    Err(undo.mask().text(&failed).into_owned())
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
