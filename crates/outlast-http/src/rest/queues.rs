//! `GET /queues`, and pause and resume: what waits for a worker, by tool.
//!
//! Each tool is a queue of its own. A pause is kept by the store, holds over restarts and for every
//! worker, and touches nothing that runs. It concerns everybody's tasks, so on a server with users it
//! takes an administrator.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use outlast_core::limit::{Controls, Queue, Rule};
use outlast_core::{Error, Phase, Standing};
use outlast_engine::TaskSupport;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Admin, Empty, Path, Reader};
use super::problem::Problem;

/// What waits and runs.
#[derive(Serialize, ToSchema)]
pub(super) struct QueueList {
    /// Everything is paused.
    paused: bool,
    /// One for each tool that may run as a task, and for each that tasks are kept of, in the order of
    /// their names.
    queues: Vec<QueueView>,
    /// The limits that hold, by their names.
    limits: BTreeMap<String, LimitView>,
}

/// A limit: exactly one of these.
#[derive(Serialize, ToSchema, Default)]
struct LimitView {
    /// At most so many tasks of one key run at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<u32>,
    /// Attempts of one key start no faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10/min")]
    rate: Option<String>,
    /// At most so many tasks of one key wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
}

impl From<Rule> for LimitView {
    fn from(rule: Rule) -> Self {
        let mut view = Self::default();
        match rule {
            Rule::Running(most) => view.running = Some(most),
            Rule::Rate(rate) => view.rate = Some(rate.to_string()),
            Rule::Queued(most) => view.queued = Some(most),
        }
        view
    }
}

/// The tasks of one tool.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueView {
    /// The tool.
    tool: String,
    /// This server offers the tool at present. The tasks of one that it does not wait for a worker that
    /// does.
    offered: bool,
    /// Its tasks are created and wait.
    paused: bool,
    /// Ready, and waiting for a worker or for room under a limit.
    queued: u64,
    /// Waiting for their time.
    scheduled: u64,
    /// Waiting for another task.
    blocked: u64,
    /// Running.
    running: u64,
    /// Waiting for an answer, a timer, a signal or a child, without a worker.
    suspended: u64,
    /// Asking for input: of those above.
    input_required: u64,
}

/// What waits for a worker, by tool: all of the store's tasks, whoever owns them.
#[utoipa::path(
    get, path = "/queues", tag = "operation",
    responses((status = 200, description = "The queues.", body = QueueList),
        (status = 503, description = "The store cannot answer at present.", body = Problem))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(_): Reader,
) -> Result<Json<QueueList>, Problem> {
    let controls = api.handle().controls().await?;
    answer(&api, &controls).await
}

async fn answer(api: &Api, controls: &Controls) -> Result<Json<QueueList>, Problem> {
    let stats = api.handle().stats().await?;
    let offered = api.handle().tools();
    let tasks = offered.iter();
    let tasks = tasks.filter(|tool| tool.task != TaskSupport::Forbidden);
    let waiting = stats.counts.keys();
    let waiting = waiting.filter(|kind| kind.phase != Phase::Finished);
    let names: BTreeSet<String> = tasks
        .map(|tool| tool.name.clone())
        .chain(waiting.map(|kind| kind.tool.clone()))
        .collect();
    let view = |tool: String| {
        let of = |phase| stats.count(|kind| kind.tool == tool && kind.phase == phase);
        QueueView {
            offered: offered.get(&tool).is_some(),
            paused: controls.is_paused(&tool),
            queued: of(Phase::Queued),
            scheduled: of(Phase::Scheduled),
            blocked: of(Phase::Blocked),
            running: of(Phase::Running),
            suspended: of(Phase::Suspended),
            input_required: stats
                .count(|kind| kind.tool == tool && kind.standing == Standing::InputRequired),
            tool,
        }
    };
    Ok(Json(QueueList {
        paused: controls.paused.contains(&Queue::All),
        queues: names.into_iter().map(view).collect(),
        limits: controls
            .rules
            .iter()
            .map(|(name, rule)| (name.clone(), LimitView::from(*rule)))
            .collect(),
    }))
}

/// Stops the tasks of a tool from being started. Those that run go on. Repeating it is harmless.
#[utoipa::path(
    post, path = "/tools/{name}/pause", tag = "operation",
    params(("name" = String, Path, description = "The tool.")),
    responses(
        (status = 200, description = "The queues.", body = QueueList),
        (status = 400, description = "There is a body, of which it takes none.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 404, description = "There is no such tool.", body = Problem),
    )
)]
pub(super) async fn pause(
    State(api): State<Api>,
    _: Admin,
    Path(name): Path<String>,
    _: Empty,
) -> Result<Json<QueueList>, Problem> {
    let controls = match api.handle().pause(Queue::Tool(name)).await {
        Err(Error::Invalid(unknown)) => return Err(Problem::new(StatusCode::NOT_FOUND, unknown)),
        paused => paused?,
    };
    answer(&api, &controls).await
}

/// Lets the tasks of a tool be started again. Repeating it is harmless.
#[utoipa::path(
    post, path = "/tools/{name}/resume", tag = "operation",
    params(("name" = String, Path, description = "The tool.")),
    responses(
        (status = 200, description = "The queues.", body = QueueList),
        (status = 400, description = "It takes no body.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
    )
)]
pub(super) async fn resume(
    State(api): State<Api>,
    _: Admin,
    Path(name): Path<String>,
    _: Empty,
) -> Result<Json<QueueList>, Problem> {
    let controls = api.handle().resume(Queue::Tool(name)).await?;
    answer(&api, &controls).await
}

/// Stops all tasks from being started. Those that run go on. Repeating it is harmless.
#[utoipa::path(
    post, path = "/queues/pause", tag = "operation",
    responses(
        (status = 200, description = "The queues.", body = QueueList),
        (status = 400, description = "It takes no body.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
    )
)]
pub(super) async fn pause_all(
    State(api): State<Api>,
    _: Admin,
    _: Empty,
) -> Result<Json<QueueList>, Problem> {
    let controls = api.handle().pause(Queue::All).await?;
    answer(&api, &controls).await
}

/// Lets tasks be started again, except those of tools that are paused by themselves. Repeating it is
/// harmless.
#[utoipa::path(
    post, path = "/queues/resume", tag = "operation",
    responses(
        (status = 200, description = "The queues.", body = QueueList),
        (status = 400, description = "It takes no body.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
    )
)]
pub(super) async fn resume_all(
    State(api): State<Api>,
    _: Admin,
    _: Empty,
) -> Result<Json<QueueList>, Problem> {
    let controls = api.handle().resume(Queue::All).await?;
    answer(&api, &controls).await
}
