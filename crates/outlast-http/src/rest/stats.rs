//! `GET /stats`: how many tasks there are and how long they take. `GET /workers`: who runs them.
//!
//! Counts are the store's and hold over restarts. Times and the history are what this process has seen
//! since it began, and say so: nothing is written for their sake.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use outlast_core::filter::Kind;
use outlast_core::status::{Era, Phase};
use outlast_core::store::{Filter, StoreInfo};
use outlast_core::worker::WorkerSign;
use outlast_engine::{Histogram, Minute, Unserved};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Query, Reader};
use super::journal::millis;
use super::list::whose;
use super::problem::Problem;

/// Whose tasks are counted.
#[derive(Deserialize, IntoParams, Default)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// For administrators: this owner's tasks instead of the caller's own, or everybody's: `*`.
    owner: Option<String>,
}

/// Counts and times.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatsView {
    /// How many tasks there are.
    total: u64,
    /// By status, with those of which there are none left out.
    #[schema(value_type = BTreeMap<String, u64>)]
    statuses: BTreeMap<&'static str, u64>,
    /// Those that have ended, by outcome: `completed`, `error`, `failed` and `cancelled`. What people call
    /// failed is `error` and `failed` together.
    #[schema(value_type = BTreeMap<String, u64>)]
    outcomes: BTreeMap<&'static str, u64>,
    /// By phase.
    #[schema(value_type = BTreeMap<String, u64>)]
    phases: BTreeMap<&'static str, u64>,
    /// By tool and status.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    tools: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// By tool, phase, status and outcome, for everything that is not 0: what the others are sums of.
    counts: Vec<CountView>,
    /// The task that has been ready to run for longest, by its creation. Absent if none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_queued: Option<OldestView>,
    /// What this process has seen, of everybody's tasks.
    process: ProcessView,
}

/// How many tasks are of one kind.
#[derive(Serialize, ToSchema)]
struct CountView {
    /// The tool.
    tool: String,
    /// The phase.
    phase: &'static str,
    /// The status.
    status: &'static str,
    /// The outcome. Absent for tasks that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// How many there are.
    count: u64,
}

/// A task that waits.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OldestView {
    /// The task.
    task_id: String,
    /// Its tool.
    tool: String,
    /// When it was created.
    created_at: String,
    /// How long ago that is, in milliseconds.
    age_ms: u64,
}

/// What one process has seen since it began.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProcessView {
    /// When it began.
    since: String,
    /// By tool, from when a task could run to its first start.
    waiting: BTreeMap<String, TimesView>,
    /// By tool, from a task's first start to its end.
    running: BTreeMap<String, TimesView>,
    /// The last minutes, up to three hours, in order; the last one has not ended.
    minutes: Vec<MinuteView>,
}

/// A distribution of times.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TimesView {
    /// How many there were.
    count: u64,
    /// Their mean, in seconds.
    mean_seconds: f64,
    /// How many took at most so long.
    buckets: Vec<BucketView>,
}

/// One bucket.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BucketView {
    /// The longest time in it.
    up_to_seconds: f64,
    /// How many took at most so long; those of smaller buckets too.
    count: u64,
}

impl From<&Histogram> for TimesView {
    fn from(times: &Histogram) -> Self {
        let count = times.count();
        // Counts here are far below the integers that a double cannot tell apart.
        let mean = times.sum() / (count.max(1) as f64);
        Self {
            count,
            mean_seconds: mean,
            buckets: times
                .buckets()
                .map(|(up_to_seconds, count)| BucketView {
                    up_to_seconds,
                    count,
                })
                .collect(),
        }
    }
}

/// One minute of the process.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MinuteView {
    /// When it began.
    at: String,
    /// Tasks created by callers.
    created: u64,
    /// Tasks started for the first time.
    started: u64,
    /// Tasks that ended well.
    completed: u64,
    /// Tasks that ended otherwise.
    unsuccessful: u64,
    /// How long the started ones had waited, on average, in milliseconds.
    mean_wait_ms: u64,
    /// The longest of these.
    longest_wait_ms: u64,
    /// How long the ended ones had run, on average, in milliseconds.
    mean_run_ms: u64,
    /// The longest of these.
    longest_run_ms: u64,
}

impl From<&Minute> for MinuteView {
    fn from(minute: &Minute) -> Self {
        let ended = minute.completed + minute.unsuccessful;
        Self {
            at: minute.at.to_string(),
            created: minute.created,
            started: minute.started,
            completed: minute.completed,
            unsuccessful: minute.unsuccessful,
            mean_wait_ms: millis(minute.waited) / minute.started.max(1),
            longest_wait_ms: millis(minute.longest_wait),
            mean_run_ms: millis(minute.ran) / ended.max(1),
            longest_run_ms: millis(minute.longest_run),
        }
    }
}

/// How many of the caller's tasks there are in which state, and how long tasks wait and run.
#[utoipa::path(
    get, path = "/stats", tag = "operation", params(Whose),
    responses(
        (status = 200, description = "The counts.", body = StatsView),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 403, description = "Only an administrator may count other owners' tasks.", body = Problem),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn stats(
    State(api): State<Api>,
    Reader(who): Reader,
    Query(asked): Query<Whose>,
) -> Result<Json<StatsView>, Problem> {
    let owner = whose(&who, asked.owner)?;
    let handle = api.handle();
    let counts = handle.stats().await?.counts;
    let mine = |kind: &Kind| owner.as_ref().is_none_or(|owner| kind.owner == *owner);
    let (mut total, mut statuses, mut phases) = (0, BTreeMap::new(), BTreeMap::new());
    let mut outcomes = BTreeMap::new();
    let mut tools: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
    let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
    for (kind, count) in counts.into_iter().filter(|(kind, _)| mine(kind)) {
        let status = kind.standing.status(Era::Modern).as_str();
        let outcome = kind.standing.is_terminal();
        let outcome = outcome.then(|| kind.standing.as_str());
        total += count;
        *statuses.entry(status).or_default() += count;
        if let Some(outcome) = outcome {
            *outcomes.entry(outcome).or_default() += count;
        }
        *phases.entry(kind.phase.as_str()).or_default() += count;
        // Of everybody's tasks those of several owners are one count.
        let same = (kind.tool.clone(), kind.phase.as_str(), status, outcome);
        *kinds.entry(same).or_default() += count;
        let tool = tools.entry(kind.tool).or_default();
        *tool.entry(status).or_default() += count;
    }
    let oldest = Filter {
        owner,
        phases: vec![Phase::Queued],
        oldest_first: true,
        ..Filter::default()
    };
    let oldest = handle.list_any(&oldest, None, 1).await?;
    let figures = handle.figures();
    let times = |of: fn(&outlast_engine::ToolFigures) -> &Histogram| {
        let tools = figures.tools.iter();
        let told = tools.filter(|(_, tool)| of(tool).count() > 0);
        told.map(|(name, tool)| (name.clone(), TimesView::from(of(tool))))
            .collect()
    };
    Ok(Json(StatsView {
        total,
        statuses,
        outcomes,
        phases,
        tools,
        counts: kinds
            .into_iter()
            .map(|((tool, phase, status, outcome), count)| CountView {
                tool,
                phase,
                status,
                outcome,
                count,
            })
            .collect(),
        oldest_queued: oldest.tasks.first().map(|task| OldestView {
            task_id: task.id().to_string(),
            tool: task.spec.tool.clone(),
            created_at: task.state.created_at.to_string(),
            age_ms: millis(handle.now().since(task.state.created_at)),
        }),
        process: ProcessView {
            since: figures.since.to_string(),
            waiting: times(|tool| &tool.waiting),
            running: times(|tool| &tool.running),
            minutes: figures.minutes.iter().map(MinuteView::from).collect(),
        },
    }))
}

/// Who runs tasks.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkerList {
    /// The processes that run tasks of the store and are alive; the one that answers first.
    workers: Vec<WorkerView>,
    /// The tool versions of which tasks stand ready and that none of them runs.
    #[serde(rename = "noWorker")]
    #[schema(value_type = Vec<Object>)]
    no_worker: Vec<Unserved>,
    /// What the store promises.
    #[schema(value_type = Object)]
    store: StoreInfo,
}

/// One process that runs tasks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WorkerView {
    /// One life of one process.
    id: String,
    /// The server's name.
    name: String,
    /// Its version.
    version: String,
    /// The machine; empty if that is not known.
    machine: String,
    /// The process id there.
    pid: u32,
    /// When it began.
    since: String,
    /// Its last sign of life, which the rest of this is from.
    seen_at: String,
    /// How many tasks it runs at a time.
    slots: usize,
    /// How many of these are taken.
    slots_taken: usize,
    /// Attempts that it has begun.
    attempts: u64,
    /// Attempts that failed and were followed by another.
    retries: u64,
    /// Runs that were taken from it.
    leases_lost: u64,
    /// What it is labelled with.
    labels: Vec<String>,
    /// The tools that it runs.
    tools: Vec<String>,
}

impl From<WorkerSign> for WorkerView {
    fn from(sign: WorkerSign) -> Self {
        Self {
            id: sign.worker.to_string(),
            name: sign.name,
            version: sign.version,
            machine: sign.machine,
            pid: sign.pid,
            since: sign.since.to_string(),
            seen_at: sign.seen_at.to_string(),
            slots: sign.slots,
            slots_taken: sign.slots_taken,
            attempts: sign.attempts,
            retries: sign.retries,
            leases_lost: sign.leases_lost,
            labels: sign.labels,
            tools: sign.tools,
        }
    }
}

/// Who runs tasks, and how much of it is busy.
#[utoipa::path(
    get, path = "/workers", tag = "operation",
    responses(
        (status = 200, description = "The workers.", body = WorkerList),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn workers(
    State(api): State<Api>,
    Reader(_): Reader,
) -> Result<Json<WorkerList>, Problem> {
    let workers = api.handle().workers().await?;
    Ok(Json(WorkerList {
        workers: workers.into_iter().map(WorkerView::from).collect(),
        no_worker: api.handle().unserved().await?,
        store: api.handle().store_info(),
    }))
}
