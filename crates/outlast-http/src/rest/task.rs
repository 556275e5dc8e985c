//! A task as JSON.

use std::collections::BTreeMap;

use outlast_core::status::{Era, Phase};
use outlast_core::undo::Cleanup;
use outlast_core::{Outcome, RawJson, Task, TaskStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::links::{Base, Links};

/// A task, in the field names of the protocol's newer era.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskView {
    /// Names the task on every surface.
    task_id: String,
    /// The tool it runs.
    tool: String,
    /// `working`, `input_required`, `completed`, `failed` or `cancelled`. A tool that ran and says
    /// that it failed is `completed`, with `isError`.
    #[schema(value_type = String, example = "working")]
    status: TaskStatus,
    /// Finer than the status: `scheduled`, `queued`, `blocked`, `running`, `suspended`, `finished`.
    #[schema(value_type = String, example = "running")]
    phase: Phase,
    /// One sentence about where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<String>,
    /// Whether the tool's own result is an error. Absent until the task is `completed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_error: Option<bool>,
    /// How far its undos are: `pending`, `running`, `done` or `failed`. Absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    cleanup: Option<Cleanup>,
    /// What it was called with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    arguments: Option<RawJson>,
    /// How far it is. Absent until something was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    /// The open questions by key, each as the protocol's request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    input_requests: BTreeMap<String, Question>,
    /// Counts attempts from 1; 0 before the first.
    attempt: u32,
    /// Whom it belongs to.
    owner: String,
    /// Free words to find it by.
    labels: BTreeMap<String, String>,
    /// When it was created (RFC 3339).
    created_at: String,
    /// The last change of status, message, progress or questions.
    last_updated_at: String,
    /// When it first ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    /// How long it can be read, in milliseconds from its creation; `null` until it has ended.
    ttl_ms: Option<u64>,
    /// Where its parts are.
    links: Links,
}

/// How far a task is.
#[derive(Serialize, ToSchema)]
pub(super) struct ProgressView {
    /// Finished items.
    done: f64,
    /// All items, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    /// The share that is done, 0 to 100, where a total is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<f64>,
    /// What is happening now.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// An open question.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question {
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    method: String,
    /// The request's parameters: the message, and the JSON Schema of the answer.
    #[schema(value_type = Object)]
    params: RawJson,
    /// When it ends unanswered.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl TaskView {
    /// The task in a list: without its arguments, which may be large.
    pub(super) fn short(task: &Task, base: &Base) -> Self {
        let progress = &task.state.progress;
        let questions = task.open_inputs().map(|input| {
            let request = &input.request;
            let question = Question {
                method: request.method.clone(),
                params: request.params.clone(),
                expires_at: request.expires_at.map(|at| at.to_string()),
            };
            (request.key.clone(), question)
        });
        Self {
            task_id: task.id().to_string(),
            tool: task.spec.tool.clone(),
            status: task.status(Era::Modern),
            phase: task.state.phase,
            status_message: task.status_message(),
            is_error: match task.outcome.as_deref() {
                Some(Outcome::Completed(result)) => Some(result.is_error),
                _ => None,
            },
            cleanup: Some(task.state.cleanup).filter(|cleanup| *cleanup != Cleanup::None),
            arguments: None,
            progress: (!progress.is_empty()).then(|| ProgressView {
                done: progress.done,
                total: progress.total,
                percent: progress.percent(),
                message: progress.message.clone(),
            }),
            input_requests: if task.is_finished() {
                BTreeMap::new()
            } else {
                questions.collect()
            },
            attempt: task.state.attempt,
            owner: task.spec.owner.to_string(),
            labels: task.spec.labels.clone(),
            created_at: task.state.created_at.to_string(),
            last_updated_at: task.state.updated_at.to_string(),
            started_at: task.state.started_at.map(|at| at.to_string()),
            finished_at: task.state.finished_at.map(|at| at.to_string()),
            ttl_ms: task
                .ttl()
                .map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            links: base.links(task.id()),
        }
    }

    /// The task by itself.
    pub(super) fn whole(task: &Task, base: &Base) -> Self {
        Self {
            arguments: Some(task.spec.arguments.clone()),
            ..Self::short(task, base)
        }
    }
}
