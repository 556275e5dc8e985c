//! What a receiver is told: enough to know what has happened to which task, and no more.
//!
//! Neither arguments nor results are in it: whoever may read them fetches them by the task's id, and a
//! receiver that is an outsider's stays one. So a message is also small, whatever a task brings.

use std::collections::BTreeMap;

use outlast_core::status::Era;
use outlast_core::webhook::Delivery;
use outlast_core::{Outcome, Task, WebhookEvent};
use serde::Serialize;

/// The longest sentence about a task in a message, in bytes.
const LONGEST_SENTENCE: usize = 2048;

#[derive(Serialize)]
struct Message<'a> {
    r#type: String,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    task_id: String,
    /// The number of the event among the task's.
    event: u64,
    tool: &'a str,
    owner: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_message: Option<String>,
    /// The tool's own error: the task is `completed` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_error: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// The message of a delivery, as JSON.
pub(super) fn body(task: &Task, delivery: &Delivery, public_url: Option<&str>) -> String {
    let ended = delivery.event != WebhookEvent::InputRequired;
    let is_error = match task.outcome.as_deref() {
        Some(Outcome::Completed(result)) if ended => Some(result.is_error),
        _ => None,
    };
    // What is said of a question must not tell what happened after it.
    let finished_at = task.state.finished_at.filter(|_| ended);
    let message = Message {
        r#type: format!("task.{}", delivery.event),
        timestamp: delivery.at.to_string(),
        data: Data {
            task_id: task.id().to_string(),
            event: delivery.number,
            tool: &task.spec.tool,
            owner: task.spec.owner.as_str(),
            status: match ended {
                true => task.status(Era::Modern).as_str(),
                false => delivery.event.as_str(),
            },
            status_message: task.status_message().filter(|_| ended).map(cut),
            is_error,
            labels: &task.spec.labels,
            created_at: task.state.created_at.to_string(),
            finished_at: finished_at.map(|at| at.to_string()),
            url: public_url.map(|url| format!("{url}/tasks/{}", task.id())),
        },
    };
    serde_json::to_string(&message).expect("texts and numbers have a JSON form")
}

fn cut(mut sentence: String) -> String {
    if sentence.len() > LONGEST_SENTENCE {
        let end = sentence.floor_char_boundary(LONGEST_SENTENCE);
        sentence.truncate(end);
        sentence.push('…');
    }
    sentence
}
