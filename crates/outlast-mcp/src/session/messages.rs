//! Messages of the older era about tasks: progress, status, questions.

use std::collections::BTreeMap;

use outlast_core::{InputRequest, Progress, RawJson, Task, TaskId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::{RequestId, request};
use crate::protocol::Version;
use crate::server::Inner;
use crate::wire::{self, Number, Object};

/// The next progress value: the real one, or a little more than the last where that would not
/// increase.
pub(crate) fn next_value(last: f64, real: f64, total: Option<f64>) -> f64 {
    if real > last {
        return real;
    }
    let step = total.filter(|total| *total > 0.0).unwrap_or(1.0) / 1e6;
    let next = last + step;
    if next > last { next } else { last.next_up() }
}

fn related_task(object: &mut Object<'_>, task: TaskId) {
    let mut meta = object.object("_meta");
    meta.object(crate::protocol::names::META_RELATED_TASK)
        .plain("taskId", task);
}

/// `notifications/progress`.
pub(crate) fn progress_notification(
    token: &str,
    value: f64,
    progress: &Progress,
    with_message: bool,
    task: Option<TaskId>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    let mut message = Object::new(&mut out);
    message
        .raw("jsonrpc", r#""2.0""#)
        .plain("method", "notifications/progress");
    let mut params = message.object("params");
    params
        .raw("progressToken", token)
        .value("progress", Number(value));
    // A value beyond the total is one that only had to increase.
    if let Some(total) = progress.total.filter(|total| value <= *total) {
        params.value("total", Number(total));
    }
    if let Some(text) = progress.message.as_ref().filter(|_| with_message) {
        params.text("message", text);
    }
    if let Some(task) = task {
        related_task(&mut params, task);
    }
    drop(params);
    drop(message);
    out
}

/// `notifications/tasks/status`: the whole task, flat.
pub(super) fn status_notification(server: &Inner, task: &Task) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    let mut message = Object::new(&mut out);
    message
        .raw("jsonrpc", r#""2.0""#)
        .plain("method", "notifications/tasks/status");
    let mut params = message.object("params");
    wire::legacy_members(&mut params, task, server.handle.now());
    drop(params);
    drop(message);
    out
}

/// A question as a request of the older era.
pub(super) fn question_request(
    id: &RequestId,
    task: TaskId,
    question: &InputRequest,
    version: Version,
) -> Vec<u8> {
    let mut params = Vec::with_capacity(question.params.as_str().len() + 128);
    {
        let mut object = Object::new(&mut params);
        object.members_of(params_for(question, version).as_str());
        if lacks_id(question) {
            object.text("elicitationId", &elicitation_id(task, &question.key));
        }
        related_task(&mut object, task);
    }
    let params = String::from_utf8(params).expect("JSON is UTF-8");
    let params: Box<RawValue> = RawValue::from_string(params).expect("written as JSON");
    request(id.as_json(), &question.method, &params)
}

/// `notifications/cancelled`: nobody waits for the answer to this request of ours any more, which belonged to
/// `task` if to one.
pub(crate) fn withdrawn(id: &RequestId, task: Option<TaskId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut message = Object::new(&mut out);
    message
        .raw("jsonrpc", r#""2.0""#)
        .plain("method", "notifications/cancelled");
    let mut params = message.object("params");
    params
        .raw("requestId", id.as_json())
        .plain("reason", "the question is no longer open");
    if let Some(task) = task {
        related_task(&mut params, task);
    }
    drop(params);
    drop(message);
    out
}

/// The parameters of a question of a run without a record, which belongs to no task that there is.
pub(crate) fn unstored_params(run: TaskId, question: &InputRequest, version: Version) -> RawJson {
    let known = params_for(question, version);
    if !lacks_id(question) {
        return known;
    }
    let mut params = Vec::with_capacity(known.as_str().len() + 64);
    let mut object = Object::new(&mut params);
    object.members_of(known.as_str());
    object.text("elicitationId", &elicitation_id(run, &question.key));
    drop(object);
    let params = String::from_utf8(params).expect("JSON is UTF-8");
    RawJson::parse(params).expect("written as JSON")
}

/// The parameters of a question without what this version does not know. Before there were modes, every
/// elicitation was a form.
fn params_for(question: &InputRequest, version: Version) -> RawJson {
    if version.has_elicitation_modes() || elicitation_mode(question).is_none() {
        return question.params.clone();
    }
    // Each member as it was written: the order of a form's fields is the order of its schema.
    let members = question.params.to::<BTreeMap<String, Box<RawValue>>>();
    let mut members = members.expect("it has a member that was read");
    members.remove("mode");
    RawJson::of(&members).expect("members that were JSON")
}

/// What 2025-11-25 calls an elicitation by URL, so that its completion can be told: the same each time
/// the question is sent, and unique in the server. 2026-07-28 has no such member.
pub(crate) fn elicitation_id(run: TaskId, key: &str) -> String {
    format!("{run}/{key}")
}

/// `notifications/elicitation/complete`.
pub(crate) fn url_completed(run: TaskId, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    let mut message = Object::new(&mut out);
    message
        .raw("jsonrpc", r#""2.0""#)
        .plain("method", "notifications/elicitation/complete");
    message
        .object("params")
        .text("elicitationId", &elicitation_id(run, key));
    drop(message);
    out
}

/// Whether the person is to go to a URL, and whoever asks has named the elicitation in no way of its own.
fn lacks_id(question: &InputRequest) -> bool {
    #[derive(Deserialize)]
    struct Url {
        mode: Option<String>,
        #[serde(rename = "elicitationId")]
        id: Option<serde::de::IgnoredAny>,
    }
    let url = question.params.to::<Url>();
    question.method == "elicitation/create"
        && url.is_ok_and(|url| url.mode.as_deref() == Some("url") && url.id.is_none())
}

/// The mode of an elicitation, if the question says one.
pub(crate) fn elicitation_mode(question: &InputRequest) -> Option<String> {
    #[derive(Deserialize)]
    struct Mode {
        mode: Option<String>,
    }
    question.params.to::<Mode>().ok()?.mode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_always_increase() {
        assert_eq!(next_value(f64::NEG_INFINITY, 0.0, None), 0.0);
        assert_eq!(next_value(1.0, 2.0, Some(7.0)), 2.0);
        let next = next_value(2.0, 2.0, Some(7.0));
        assert!(next > 2.0 && next < 2.1);
        assert!(next_value(1e300, 1e300, Some(1.0)) > 1e300);
    }

    #[test]
    fn a_question_names_its_task() {
        let params = RawJson::parse(r#"{"mode":"form","message":"sure?"}"#).unwrap();
        let question = InputRequest::new("k", "elicitation/create", params);
        let task = TaskId::random();
        let text = question_request(
            &RequestId::string("q"),
            task,
            &question,
            Version::LATEST_LEGACY,
        );
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["params"]["message"], "sure?");
        assert_eq!(
            value["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"],
            task.to_string()
        );
        assert_eq!(value["params"]["mode"], "form");
        let older = unstored_params(task, &question, Version::V2025_06_18);
        assert_eq!(older.as_str(), r#"{"message":"sure?"}"#);
    }
}
