//! `GET /tasks/{id}/journal`: what a task has recorded, and `GET /tasks/{id}/attempts`: how its runs went.
//!
//! Attempts are told from the task's events, which are kept as long as the task: there is no second
//! record of them that could say something else.

use axum::Json;
use axum::extract::State;
use outlast_core::{
    AttemptUsage, Event, EventKind, JournalEntry, JournalKind, RawJson, Recorded, Task,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Id, Query, Reader};
use super::problem::Problem;

/// The most entries on a page.
const LARGEST_PAGE: usize = 1000;

/// A recorded value that is longer is told by its length.
const LONGEST_VALUE: usize = 16 * 1024;

/// How many events are read at once.
const EVENTS: usize = 1000;

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// How many entries to pass over: `next` of the page before.
    after: usize,
    /// How many entries on a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: usize,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            after: 0,
            limit: 200,
        }
    }
}

/// What was recorded, in the order of recording.
#[derive(Serialize, ToSchema)]
pub(super) struct JournalPage {
    /// The entries.
    entries: Vec<EntryView>,
    /// How many there are in all.
    total: usize,
    /// Where the next page begins. Absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

/// Something that happened once and is not done again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryView {
    /// `step`, `sleep`, `ask`, `value`, `undo`, `undone`, `race`, `child`, `signal`, `partial`,
    /// `artifact` or `label`.
    #[schema(value_type = String, example = "step")]
    kind: JournalKind,
    /// Its name, unique within its kind.
    name: String,
    /// When it was recorded: the end of a step.
    at: String,
    /// Of a step: how long its work took, in milliseconds, with its tries. Absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// The work failed for good; the value is its error.
    failed: bool,
    /// What was recorded, with dots in the place of secrets. Absent if it is longer than 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    value: Option<RawJson>,
    /// How many bytes of JSON it has.
    bytes: usize,
}

impl EntryView {
    fn of(entry: JournalEntry) -> Self {
        let failed = matches!(entry.recorded, Recorded::Error(_));
        let json = entry.recorded.json();
        let bytes = json.as_str().len();
        Self {
            value: (bytes <= LONGEST_VALUE).then(|| json.clone()),
            kind: entry.kind,
            name: entry.name,
            at: entry.at.to_string(),
            took_ms: entry.took.map(millis),
            failed,
            bytes,
        }
    }
}

pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a task has recorded: steps, timers, questions, children and what it gave out.
#[utoipa::path(
    get, path = "/tasks/{id}/journal", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), Which),
    responses(
        (status = 200, description = "The entries.", body = JournalPage),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn journal(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Query(which): Query<Which>,
) -> Result<Json<JournalPage>, Problem> {
    if !(1..=LARGEST_PAGE).contains(&which.limit) {
        return Err(Problem::out_of_range("limit", which.limit, LARGEST_PAGE));
    }
    let page = api.handle();
    let page = page.journal_slice(&who, id, which.after, which.limit);
    let (page, total) = page.await?;
    let end = which.after.saturating_add(page.len());
    Ok(Json(JournalPage {
        entries: page.into_iter().map(EntryView::of).collect(),
        total,
        next: (end < total).then_some(end),
    }))
}

/// The runs of a task's handler.
#[derive(Serialize, ToSchema)]
pub(super) struct Attempts {
    /// In their order.
    attempts: Vec<AttemptView>,
}

/// One run of the handler, over all its entries: a task that waited goes on with its attempt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptView {
    /// Counted from 1.
    attempt: u32,
    /// When it began.
    started_at: String,
    /// When it ended. Absent while it runs or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// How it ended: `finished`, `error`, `crash`, `reboot`, `lease_expired` or `released`. Absent while
    /// it runs or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'static str>,
    /// Why it failed, if another attempt follows. What the last one failed with is the task's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// When the next attempt may start, after an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    /// How often it gave up its worker to wait.
    suspensions: u32,
    /// What it used up, where that is known; kept for the last twenty attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageView>,
}

/// What an attempt used up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageView {
    /// How long the handler held a thread of the server, in milliseconds.
    busy_ms: u64,
    /// The processor time of a command and everything it started, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<u64>,
    /// The most memory that a process of a command held at a time, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory: Option<u64>,
}

impl From<&AttemptUsage> for UsageView {
    fn from(used: &AttemptUsage) -> Self {
        Self {
            busy_ms: millis(used.usage.busy),
            cpu_ms: used.usage.cpu.map(millis),
            peak_memory: used.usage.peak_memory,
        }
    }
}

/// How the runs of a task's handler went: when each began and ended, with what error, and what it used
/// up.
#[utoipa::path(
    get, path = "/tasks/{id}/attempts", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The attempts.", body = Attempts),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn attempts(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
) -> Result<Json<Attempts>, Problem> {
    let task = api.handle().get(&who, id).await?;
    let mut attempts: Vec<AttemptView> = Vec::new();
    let mut after = 0;
    loop {
        let events = api.handle().events(&who, id, after, EVENTS).await?;
        for event in &events {
            after = event.number;
            note(&mut attempts, event);
        }
        if events.len() < EVENTS {
            break;
        }
    }
    add_usage(&mut attempts, &task);
    Ok(Json(Attempts { attempts }))
}

/// Takes from an event what it says about attempts.
fn note(attempts: &mut Vec<AttemptView>, event: &Event) {
    let last = attempts.last_mut();
    match (&event.kind, last) {
        (EventKind::Started { attempt }, last)
            if last.as_ref().is_none_or(|last| last.attempt != *attempt) =>
        {
            attempts.push(AttemptView {
                attempt: *attempt,
                started_at: event.at.to_string(),
                ended_at: None,
                ended: None,
                message: None,
                next_attempt_at: None,
                suspensions: 0,
                usage: None,
            });
        }
        // An attempt that was handed back goes on under its number.
        (EventKind::Started { .. }, Some(last)) => (last.ended_at, last.ended) = (None, None),
        (EventKind::Suspended, Some(last)) => last.suspensions += 1,
        (EventKind::Retrying { message, at }, Some(last)) => {
            last.message = Some(message.clone());
            last.next_attempt_at = Some(at.to_string());
            end(last, "error", event);
        }
        (EventKind::Rescued { reason }, Some(last)) => {
            use outlast_core::RescueReason::{Crash, LeaseExpired, Reboot};
            let how = match reason {
                Crash => "crash",
                Reboot => "reboot",
                LeaseExpired => "lease_expired",
            };
            end(last, how, event);
        }
        (EventKind::Released, Some(last)) => end(last, "released", event),
        (EventKind::Finished { .. }, Some(last)) if last.ended.is_none() => {
            end(last, "finished", event);
        }
        _ => {}
    }
}

fn end(attempt: &mut AttemptView, how: &'static str, event: &Event) {
    attempt.ended = Some(how);
    attempt.ended_at = Some(event.at.to_string());
}

fn add_usage(attempts: &mut [AttemptView], task: &Task) {
    for attempt in attempts {
        let mut usage = task.state.usage.iter();
        let used = usage.find(|used| used.attempt == attempt.attempt);
        attempt.usage = used.map(UsageView::from);
    }
}
