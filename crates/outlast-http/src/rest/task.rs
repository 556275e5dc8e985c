//! A task as JSON.

use std::collections::BTreeMap;

use outlast_core::machine::Blocker;
use outlast_core::status::{Era, Phase};
use outlast_core::task::Awaiting;
use outlast_core::undo::Cleanup;
use outlast_core::{Outcome, Progress, RawJson, Standing, Task, TaskStatus};
use serde::{Deserialize, Serialize};
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
    /// How it ended: `completed`, `error` (by the tool's own word: `completed` with `isError`), `failed` or
    /// `cancelled`. Absent until it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    outcome: Option<TaskOutcome>,
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
    /// Larger runs earlier.
    priority: i16,
    /// The task that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// The task whose call it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    /// How many tasks it has started. Absent if it has started none.
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<ChildrenView>,
    /// The tasks that it comes after and that have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked_by: Vec<String>,
    /// What a suspended task waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaiting: Option<AwaitingView>,
    /// Why it failed or was cancelled, in a sentence. Absent unless it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whom it belongs to.
    owner: String,
    /// Free words to find it by.
    labels: BTreeMap<String, String>,
    /// When it was created (RFC 3339).
    created_at: String,
    /// The last change of status, message, progress or questions.
    last_updated_at: String,
    /// When it may run, if that is not at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<String>,
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
    /// The part of the work that is under way, where the work has parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<PhaseView>,
    /// When it will probably be done: an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta: Option<String>,
}

/// A part of the work.
#[derive(Serialize, ToSchema)]
pub(super) struct PhaseView {
    /// Its name; for a part of a part `outer / inner`.
    name: String,
    /// Its finished items.
    done: f64,
    /// All its items, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
}

/// How many tasks a task has started.
#[derive(Serialize, ToSchema)]
pub(super) struct ChildrenView {
    /// In all.
    started: u64,
    /// Of these, independent of it.
    detached: u64,
    /// Of those that are not, how many have ended.
    ended: u64,
}

/// What a suspended task waits for; any one of it wakes the task.
#[derive(Serialize, ToSchema)]
pub(super) struct AwaitingView {
    /// Keys of questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    /// Names of signals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<String>,
    /// Ids of tasks that it has started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<String>,
    /// A moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl From<&Awaiting> for AwaitingView {
    fn from(awaiting: &Awaiting) -> Self {
        Self {
            inputs: awaiting.inputs.clone(),
            signals: awaiting.signals.keys().cloned().collect(),
            children: awaiting.children.iter().map(ToString::to_string).collect(),
            until: awaiting.until.map(|at| at.to_string()),
        }
    }
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self {
            done: progress.done,
            total: progress.total,
            percent: progress.percent(),
            message: progress.message.clone(),
            phase: progress.phase.as_ref().map(|phase| PhaseView {
                name: phase.name.clone(),
                done: phase.done,
                total: phase.total,
            }),
            eta: progress.eta.map(|at| at.to_string()),
        }
    }
}

/// How a task ended, in the words that metrics count it under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TaskOutcome {
    Completed,
    Error,
    Failed,
    Cancelled,
}

impl TaskOutcome {
    /// `None` for a task that has not ended.
    pub(super) fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Working | Standing::InputRequired => None,
            Standing::Completed => Some(Self::Completed),
            Standing::Error => Some(Self::Error),
            Standing::Failed => Some(Self::Failed),
            Standing::Cancelled => Some(Self::Cancelled),
        }
    }
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
        let (progress, children) = (&task.state.progress, task.state.children);
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
            outcome: TaskOutcome::of(task.standing()),
            is_error: match task.outcome.as_deref() {
                Some(Outcome::Completed(result)) => Some(result.is_error),
                _ => None,
            },
            cleanup: Some(task.state.cleanup).filter(|cleanup| *cleanup != Cleanup::None),
            arguments: None,
            progress: (!progress.is_empty()).then(|| progress.into()),
            input_requests: if task.is_finished() {
                BTreeMap::new()
            } else {
                questions.collect()
            },
            attempt: task.state.attempt,
            priority: task.spec.priority,
            parent: task.spec.parent.map(|parent| parent.task.to_string()),
            retry_of: task.spec.retry_of.map(|old| old.to_string()),
            children: (!children.is_empty()).then_some(ChildrenView {
                started: children.spawned,
                detached: children.detached,
                ended: children.ended,
            }),
            blocked_by: task
                .state
                .blocked
                .iter()
                .filter_map(|blocker| match blocker {
                    Blocker::Task(on) => Some(on.task.to_string()),
                    _ => None,
                })
                .collect(),
            awaiting: task.state.awaiting.as_ref().map(AwaitingView::from),
            error: match task.outcome.as_deref() {
                Some(Outcome::Failed(failure)) => Some(failure.message.clone()),
                Some(Outcome::Cancelled { reason }) => reason.clone(),
                _ => None,
            },
            run_at: task.state.run_at.map(|at| at.to_string()),
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
