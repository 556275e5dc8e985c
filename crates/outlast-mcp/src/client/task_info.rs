//! A task as a server shows it, read from the object of either era.

use std::collections::BTreeMap;
use std::time::Duration;

use outlast_core::progress::ProgressPhase;
use outlast_core::{Progress, RawJson, Standing, TaskStatus};
use serde::Deserialize;

use super::question::Request;
use crate::jsonrpc::RpcError;

/// What a server says about a task at one moment.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The id. Whoever holds it, and may, can look at the task.
    pub id: String,
    /// Where it stands, in the words of the era that the server speaks.
    pub status: TaskStatus,
    /// Whether it ended with a tool's own error, which 2026-07-28 does not see in the status, where the
    /// server says so.
    pub is_error: bool,
    /// What it is doing, or why it ended, for people.
    pub message: Option<String>,
    /// How far it is. Empty where the server gives no figures: the protocol has a field for none.
    pub progress: Progress,
    /// How long earlier runs of its tool took, where the server says so: an estimate.
    pub usual: Option<Duration>,
    /// The tool, where the server says so.
    pub tool: Option<String>,
    /// The task that started it, where the server says so.
    pub parent: Option<String>,
    /// How many tasks it has started, where the server says so.
    pub children: u64,
    /// Its priority, where the server says so; 0 is the usual one.
    pub priority: i16,
    /// How many lines of its log were dropped, where the server says so.
    pub lines_dropped: u64,
    /// When it was created, as the server wrote it.
    pub created_at: String,
    /// When it last changed, as the server wrote it.
    pub last_updated_at: String,
    /// How long after its creation it is kept, where that is settled.
    pub ttl: Option<Duration>,
    /// How long the server wants callers to wait between two looks.
    pub poll_interval: Option<Duration>,
    /// All of it as it came.
    pub raw: RawJson,
}

/// A task with what its status calls for. The newer era sends both together; in the older one the
/// payload is empty and has its own request.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) info: TaskInfo,
    pub(super) result: Option<RawJson>,
    pub(super) error: Option<RpcError>,
    pub(super) questions: BTreeMap<String, Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    task_id: String,
    status: TaskStatus,
    #[serde(default)]
    status_message: Option<String>,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    last_updated_at: String,
    #[serde(default)]
    ttl: Option<f64>,
    #[serde(default)]
    ttl_ms: Option<f64>,
    #[serde(default)]
    poll_interval: Option<f64>,
    #[serde(default)]
    poll_interval_ms: Option<f64>,
    #[serde(default, rename = "_meta")]
    meta: Option<Meta>,
    #[serde(default)]
    result: Option<RawJson>,
    #[serde(default)]
    error: Option<RpcError>,
    #[serde(default)]
    input_requests: BTreeMap<String, Request>,
}

/// What this project's server adds.
#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default, rename = "outlast/progress")]
    progress: Option<Figures>,
    #[serde(default, rename = "outlast/usualMs")]
    usual_ms: Option<f64>,
    #[serde(default, rename = "outlast/tool")]
    tool: Option<String>,
    #[serde(default, rename = "outlast/outcome")]
    outcome: Option<Standing>,
    #[serde(default, rename = "outlast/priority")]
    priority: i16,
    #[serde(default, rename = "outlast/logLinesDropped")]
    lines_dropped: u64,
    #[serde(default, rename = "outlast/children")]
    children: u64,
    #[serde(default, rename = "outlast/parent")]
    parent: Option<String>,
}

impl TaskInfo {
    /// Reads a Task object of either era.
    ///
    /// # Errors
    /// It is none; the text says why.
    pub fn read(raw: RawJson) -> Result<Self, String> {
        Ok(Snapshot::read(raw)?.info)
    }

    /// The status for people, in either era: a tool's own error is `failed`.
    pub fn shown_status(&self) -> TaskStatus {
        match self.status {
            TaskStatus::Completed if self.is_error => TaskStatus::Failed,
            status => status,
        }
    }
}

/// Its figures, with the estimate as the wire writes a time.
#[derive(Deserialize)]
struct Figures {
    #[serde(default)]
    done: f64,
    #[serde(default)]
    total: Option<f64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    phase: Option<ProgressPhase>,
    #[serde(default)]
    eta: Option<String>,
}

impl From<Figures> for Progress {
    fn from(figures: Figures) -> Self {
        Self {
            done: figures.done,
            total: figures.total,
            message: figures.message,
            phase: figures.phase,
            eta: figures.eta.and_then(|eta| eta.parse().ok()),
            ..Self::default()
        }
    }
}

impl Snapshot {
    /// Reads a Task object, with or without a payload.
    ///
    /// # Errors
    /// It is none; the text says why.
    pub(super) fn read(raw: RawJson) -> Result<Self, String> {
        let wire: Wire = super::params::object(&raw, "a task")?;
        let meta = wire.meta.unwrap_or_default();
        let info = TaskInfo {
            id: wire.task_id,
            status: wire.status,
            is_error: meta.outcome == Some(Standing::Error),
            message: wire.status_message.filter(|message| !message.is_empty()),
            progress: meta.progress.map(Progress::from).unwrap_or_default(),
            usual: meta.usual_ms.and_then(millis),
            tool: meta.tool,
            parent: meta.parent,
            children: meta.children,
            priority: meta.priority,
            lines_dropped: meta.lines_dropped,
            created_at: wire.created_at,
            last_updated_at: wire.last_updated_at,
            ttl: wire.ttl_ms.or(wire.ttl).and_then(millis),
            poll_interval: wire
                .poll_interval_ms
                .or(wire.poll_interval)
                .and_then(millis),
            raw,
        };
        Ok(Self {
            info,
            result: wire.result,
            error: wire.error,
            questions: wire.input_requests,
        })
    }
}

/// A duration a server gave in milliseconds. Nonsense is no answer.
fn millis(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value / 1_000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Snapshot, String> {
        Snapshot::read(RawJson::parse(json).unwrap())
    }

    #[test]
    fn both_eras_are_read() {
        let older = read(
            r#"{"taskId":"a","status":"working","statusMessage":"step 1","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"x","ttl":60000,"pollInterval":1000}"#,
        )
        .unwrap()
        .info;
        assert_eq!(
            (older.status, older.message.as_deref()),
            (TaskStatus::Working, Some("step 1"))
        );
        assert_eq!(
            (older.ttl, older.poll_interval),
            (Some(Duration::from_secs(60)), Some(Duration::from_secs(1)))
        );
        let newer = read(
            r#"{"resultType":"complete","taskId":"a","status":"input_required","createdAt":"","lastUpdatedAt":"","ttlMs":null,"pollIntervalMs":250,
               "inputRequests":{"k":{"method":"elicitation/create","params":{"message":"?"}}},
               "_meta":{"outlast/progress":{"done":9,"total":20,"percent":45,"message":"x",
                "phase":{"name":"Deleting","done":1,"total":4},"eta":"2026-01-01T00:00:00.000Z"},
                "outlast/usualMs":1500}}"#,
        )
        .unwrap();
        assert_eq!(
            (newer.info.ttl, newer.info.poll_interval),
            (None, Some(Duration::from_millis(250)))
        );
        assert_eq!(newer.info.progress.percent(), Some(45.0));
        let progress = &newer.info.progress;
        assert_eq!(progress.phase.as_ref().unwrap().name, "Deleting");
        assert_eq!(
            progress.eta.unwrap().to_string(),
            "2026-01-01T00:00:00.000Z"
        );
        assert_eq!(newer.info.usual, Some(Duration::from_millis(1500)));
        assert_eq!(newer.questions["k"].method, "elicitation/create");
    }

    #[test]
    fn what_is_no_task_is_refused() {
        assert!(read("{}").is_err());
        assert!(read(r#"{"taskId":"a","status":"sleeping"}"#).is_err());
        assert_eq!(
            read(r#"{"taskId":"a","status":"failed","ttl":-5}"#)
                .unwrap()
                .info
                .ttl,
            None
        );
    }
}
