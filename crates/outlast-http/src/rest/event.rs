//! An event as JSON, the same in a stream and in a socket.

use outlast_core::{Event, EventKind, TaskStatus};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::logs::Chunk;
use super::task::ProgressView;

/// What watchers of a task are told.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Told {
    /// A change of the task, numbered.
    Event(EventView),
    /// A piece of its log, without a number: it has an offset.
    Log(LogView),
}

/// One change of one task.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView {
    /// 1, 2, 3 …, without gaps.
    pub(super) seq: u64,
    /// `TASK_STARTED` is the first of every task; `TASK_COMPLETED`, `TASK_FAILED` or
    /// `TASK_CANCELLED` the last, unless there is something to undo.
    r#type: &'static str,
    /// The task.
    task_id: String,
    /// When it changed.
    at: String,
    /// What belongs to the type.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    details: Value,
}

/// A piece of a task's log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogView {
    /// Always `LOG`.
    r#type: &'static str,
    /// The task.
    task_id: String,
    /// The piece.
    #[serde(flatten)]
    chunk: Chunk,
}

impl LogView {
    pub(super) fn of(task_id: String, chunk: Chunk) -> Self {
        Self {
            r#type: "LOG",
            task_id,
            chunk,
        }
    }
}

impl EventView {
    pub(super) fn of(event: &Event) -> Self {
        let (r#type, details) = words(&event.kind);
        Self {
            seq: event.number,
            r#type,
            task_id: event.task.to_string(),
            at: event.at.to_string(),
            details,
        }
    }
}

fn words(kind: &EventKind) -> (&'static str, Value) {
    let nothing = json!({});
    match kind {
        EventKind::Created => ("TASK_STARTED", nothing),
        EventKind::Blocked => ("TASK_BLOCKED", nothing),
        EventKind::Signalled { name, number } => {
            ("SIGNAL_RECEIVED", json!({ "name": name, "number": number }))
        }
        EventKind::CleaningUp => ("CLEANUP_STARTED", nothing),
        EventKind::Undone { name, failed } => ("UNDONE", json!({ "name": name, "failed": failed })),
        EventKind::CleanedUp { cleanup } => ("CLEANED_UP", json!({ "cleanup": cleanup })),
        EventKind::Queued => ("TASK_QUEUED", nothing),
        EventKind::NoWorker { requires } => ("NO_WORKER", json!({ "requires": requires })),
        EventKind::Started { attempt } => ("ATTEMPT_STARTED", json!({ "attempt": attempt })),
        EventKind::Progress { progress } => (
            "PROGRESS",
            json!({ "progress": ProgressView::from(progress) }),
        ),
        EventKind::InputRequired { keys } => ("INPUT_REQUIRED", json!({ "keys": keys })),
        EventKind::InputAnswered { keys } => ("INPUT_ANSWERED", json!({ "keys": keys })),
        EventKind::Suspended => ("TASK_SUSPENDED", nothing),
        EventKind::Rescued { reason } => ("TASK_RESCUED", json!({ "reason": reason })),
        EventKind::Released => ("TASK_RELEASED", nothing),
        EventKind::Retrying { message, at } => (
            "ATTEMPT_FAILED",
            json!({ "message": message, "nextAttemptAt": at.to_string() }),
        ),
        EventKind::CancelRequested => ("CANCEL_REQUESTED", nothing),
        EventKind::Finished { status } => (
            match status {
                TaskStatus::Cancelled => "TASK_CANCELLED",
                TaskStatus::Failed => "TASK_FAILED",
                _ => "TASK_COMPLETED",
            },
            nothing,
        ),
        EventKind::Spawned { child } => ("CHILD_STARTED", json!({ "child": child })),
        EventKind::ChildEnded { child, status } => {
            ("CHILD_ENDED", json!({ "child": child, "status": status }))
        }
        EventKind::Partial { number } => ("PARTIAL", json!({ "number": number })),
        EventKind::Artifact { name } => ("ARTIFACT", json!({ "name": name })),
        EventKind::Labelled { key, value } => ("LABELLED", json!({ "key": key, "value": value })),
        EventKind::Postponed { at } => ("TASK_POSTPONED", json!({ "at": at.to_string() })),
        // The stored form says what it is; a new kind is shown, not hidden.
        other => (
            "CHANGED",
            json!({ "change": serde_json::to_value(other).unwrap_or(Value::Null) }),
        ),
    }
}
