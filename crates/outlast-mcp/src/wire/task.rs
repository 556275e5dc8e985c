//! The Task object of each era.
//!
//! 2025-11-25: `ttl` and `pollInterval`, nested under `task` only where a task is created, `ttl`
//! always written even if null. 2026-07-28: `ttlMs` and `pollIntervalMs`, flat, with the question,
//! the result or the error inside. Both carry the figures of the progress under a name of ours,
//! because neither era shows progress notifications to a client that polls.

use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::{InputRequest, Outcome, Task, TaskStatus, Timestamp};

use super::object::{Number, Object};
use super::result;
use crate::protocol::Version;
use crate::protocol::names::{
    META_CHILDREN, META_LABELS, META_LINES_DROPPED, META_OUTCOME, META_PARENT, META_PRIORITY,
    META_PROGRESS, META_RETRY_OF, META_TOOL, META_USUAL,
};

/// How long a client should wait before it asks again: short for a task that has just begun, since
/// it may be done at once, and a tenth of its age later on.
pub(crate) fn poll_interval(task: &Task, now: Timestamp) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    let end = task.state.finished_at.unwrap_or(now);
    (end.since(task.state.created_at) / 10).clamp(FIRST, LONGEST)
}

/// The members of a 2025-11-25 Task.
pub(crate) fn legacy_members(object: &mut Object<'_>, task: &Task, now: Timestamp) {
    let status = task.status(Era::Legacy);
    common(object, task, status);
    ttl(object, "ttl", task);
    object.value("pollInterval", poll_interval(task, now).as_millis());
}

/// The members of a 2026-07-28 Task without its payload.
pub(crate) fn modern_members(object: &mut Object<'_>, task: &Task, now: Timestamp) {
    let status = task.status(Era::Modern);
    common(object, task, status);
    ttl(object, "ttlMs", task);
    object.value("pollIntervalMs", poll_interval(task, now).as_millis());
}

/// The members of a 2026-07-28 Task with what its status calls for: the open questions, the result
/// or the error.
pub(crate) fn detailed_task(object: &mut Object<'_>, task: &Task, now: Timestamp) {
    modern_members(object, task, now);
    match task.outcome.as_deref() {
        None => {
            if task.open_inputs().next().is_some() {
                let mut requests = object.object("inputRequests");
                for input in task.open_inputs() {
                    input_request(&mut requests, &input.request);
                }
            }
        }
        Some(Outcome::Completed(result)) => {
            result::inner_result(object.buffer("result"), result);
        }
        Some(Outcome::Failed(failure)) => {
            result::failure(object.buffer("error"), failure, Version::LATEST);
        }
        Some(Outcome::Cancelled { .. }) => {}
    }
}

/// A task as a document of its own, outside any response: with what the wire has only in `_meta`.
pub(crate) fn task_document(object: &mut Object<'_>, task: &Task, now: Timestamp) {
    modern_members(object, task, now);
    object
        .text("tool", &task.spec.tool)
        .plain("phase", task.state.phase.as_str());
    if let Some(parent) = &task.spec.parent {
        object.plain("parent", parent.task);
    }
    if !task.shown_progress().is_empty() {
        progress(&mut object.object("progress"), task);
    }
}

/// One entry of `inputRequests`.
pub(crate) fn input_request(requests: &mut Object<'_>, question: &InputRequest) {
    let key = serde_json::to_string(&question.key).expect("a string has a JSON form");
    // The key is a tool's own text; without its quotes it is an escaped member name.
    let mut request = requests.object(&key[1..key.len() - 1]);
    request
        .text("method", &question.method)
        .raw("params", question.params.as_str());
}

fn common(object: &mut Object<'_>, task: &Task, status: TaskStatus) {
    object
        .plain("taskId", task.id())
        .plain("status", status.as_str());
    if let Some(message) = task.status_message() {
        object.text("statusMessage", &message);
    }
    object
        .plain("createdAt", task.state.created_at)
        .plain("lastUpdatedAt", task.state.updated_at);
}

fn ttl(object: &mut Object<'_>, key: &str, task: &Task) {
    match task.ttl() {
        Some(ttl) => object.value(key, ttl.as_millis()),
        None => object.raw(key, "null"),
    };
}

/// What neither era's Task object has a member for, for its `_meta`: the tool, and the figures.
pub(crate) fn annotations(meta: &mut Object<'_>, task: &Task) {
    meta.text(META_TOOL, &task.spec.tool);
    if task.is_finished() {
        meta.plain(META_OUTCOME, task.standing().as_str());
    }
    if let Some(parent) = &task.spec.parent {
        meta.plain(META_PARENT, parent.task);
    }
    if task.state.children.spawned > 0 {
        meta.value(META_CHILDREN, task.state.children.spawned);
    }
    if let Some(retry_of) = task.spec.retry_of {
        meta.plain(META_RETRY_OF, retry_of);
    }
    if !task.spec.labels.is_empty() {
        let mut labels = meta.object(META_LABELS);
        for (key, value) in &task.spec.labels {
            let key = serde_json::to_string(key).expect("a string has a JSON form");
            // A label is somebody's own text; without its quotes it is an escaped member name.
            labels.text(&key[1..key.len() - 1], value);
        }
    }
    if task.spec.priority != 0 {
        meta.value(META_PRIORITY, task.spec.priority);
    }
    if task.lines_dropped() > 0 {
        meta.value(META_LINES_DROPPED, task.lines_dropped());
    }
    if let Some(usual) = task.spec.usual.filter(|_| task.outcome.is_none()) {
        meta.value(META_USUAL, usual.as_millis());
    }
    figures(meta, task);
}

/// The progress in numbers, for `_meta`. Written only if something was reported.
pub(crate) fn figures(meta: &mut Object<'_>, task: &Task) {
    if !task.shown_progress().is_empty() {
        progress(&mut meta.object(META_PROGRESS), task);
    }
}

fn progress(figures: &mut Object<'_>, task: &Task) {
    let progress = &task.shown_progress();
    figures.value("done", Number(progress.done));
    if let Some(total) = progress.total {
        figures.value("total", Number(total));
    }
    if let Some(percent) = progress.percent() {
        figures.value("percent", Number((percent * 100.0).round() / 100.0));
    }
    if let Some(message) = &progress.message {
        figures.text("message", message);
    }
    if let Some(phase) = &progress.phase {
        let mut part = figures.object("phase");
        part.text("name", &phase.name)
            .value("done", Number(phase.done));
        if let Some(total) = phase.total {
            part.value("total", Number(total));
        }
    }
    if let Some(eta) = progress.eta {
        figures.plain("eta", eta);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use outlast_core::progress::ProgressPhase;
    use outlast_core::{Progress, RawJson, TaskSpec, ToolResult};

    use super::*;

    fn task() -> Task {
        let spec = TaskSpec::new("t", RawJson::empty_object());
        Task::create(Arc::new(spec), 1, Timestamp::from_millis(1_000)).0
    }

    fn legacy(task: &Task) -> serde_json::Value {
        let mut out = Vec::new();
        legacy_members(
            &mut Object::new(&mut out),
            task,
            Timestamp::from_millis(1_000),
        );
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_older_era_always_writes_ttl() {
        let value = legacy(&task());
        assert_eq!(value["ttl"], serde_json::Value::Null);
        assert!(value.as_object().unwrap().contains_key("ttl"));
        assert_eq!(value["pollInterval"], 100);
        assert_eq!(value["createdAt"], "1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn the_newer_era_has_its_own_names_and_the_payload() {
        let mut task = task();
        task.outcome = Some(Arc::new(Outcome::Completed(ToolResult::error("no"))));
        task.state.expire_at = Some(Timestamp::from_millis(61_000));
        let mut out = Vec::new();
        detailed_task(
            &mut Object::new(&mut out),
            &task,
            Timestamp::from_millis(1_000),
        );
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["status"], "completed");
        assert_eq!(value["ttlMs"], 60_000);
        assert_eq!(value["result"]["isError"], true);
        assert!(value.get("ttl").is_none() && value.get("pollInterval").is_none());
        assert_eq!(value["result"]["resultType"], "complete");
        assert_eq!(legacy(&task)["status"], "failed");
    }

    #[test]
    fn the_interval_grows_with_age_up_to_a_limit() {
        let task = task();
        let at =
            |millis: i64| poll_interval(&task, Timestamp::from_millis(1_000 + millis)).as_millis();
        assert_eq!((at(0), at(3_000), at(3_600_000)), (100, 300, 5_000));
    }

    #[test]
    fn figures_are_written_once_there_are_some() {
        let mut task = task();
        let write = |task: &Task| {
            let mut out = Vec::new();
            figures(&mut Object::new(&mut out), task);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(write(&task), "{}");
        task.state.progress = Progress {
            done: 9.0,
            total: Some(20.0),
            message: Some("x".into()),
            ..Progress::default()
        };
        assert_eq!(
            write(&task),
            r#"{"outlast/progress":{"done":9,"total":20,"percent":45,"message":"x"}}"#
        );
        task.state.progress.phase = Some(ProgressPhase {
            name: "Deleting".into(),
            done: 1.5,
            total: Some(4.0),
        });
        task.state.progress.eta = Some(Timestamp::from_millis(61_000));
        let figures: serde_json::Value = serde_json::from_str(&write(&task)).unwrap();
        let figures = &figures["outlast/progress"];
        assert_eq!(
            (&figures["phase"], &figures["eta"]),
            (
                &serde_json::json!({"name": "Deleting", "done": 1.5, "total": 4}),
                &serde_json::json!("1970-01-01T00:01:01.000Z")
            )
        );
    }

    #[test]
    fn the_usual_time_is_an_estimate_of_what_has_not_ended() {
        let mut spec = TaskSpec::new("t", RawJson::empty_object());
        spec.usual = Some(Duration::from_millis(1500));
        let mut task = Task::create(Arc::new(spec), 1, Timestamp::from_millis(1_000)).0;
        let write = |task: &Task| {
            let mut out = Vec::new();
            annotations(&mut Object::new(&mut out), task);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap()
        };
        assert_eq!(write(&task)[META_USUAL], 1500);
        assert!(
            write(&task).get(META_PROGRESS).is_none(),
            "it is no progress"
        );
        task.outcome = Some(Arc::new(Outcome::Completed(ToolResult::text("done"))));
        assert!(write(&task).get(META_USUAL).is_none());
    }
}
