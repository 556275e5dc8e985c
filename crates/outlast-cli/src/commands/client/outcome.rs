//! Shows what came of a call or a task, and decides the exit code.

use outlast_mcp::client::{CallResult, ClientError, Content};
use serde_json::{Value, json};

use super::exit::{Exit, Trouble};
use super::out;

/// Shows a result, or the end without one.
///
/// As JSON it is one document: `taskId` if there is a task, `status`, and `result` or `error`.
pub(crate) fn show(
    task_id: Option<&str>,
    outcome: Result<CallResult, ClientError>,
    as_json: bool,
) -> Result<Exit, Trouble> {
    match outcome {
        Ok(result) => {
            let refused = result.is_error() && is_refused(&result);
            let exit = if refused {
                Exit::Usage
            } else if result.is_error() {
                Exit::ToolError
            } else {
                Exit::Ok
            };
            if as_json {
                document(task_id, "completed", "result", result.raw().to_value());
            } else if refused {
                out::complain(&format!("outlast: {}", text(&result)));
            } else if result.is_error() {
                out::complain(&format!("the tool reports an error: {}", text(&result)));
            } else {
                out::text(&text(&result));
            }
            Ok(exit)
        }
        Err(ClientError::TaskFailed { error, .. }) if as_json => {
            let error = serde_json::to_value(&error).expect("an error has a JSON form");
            document(task_id, "failed", "error", error);
            Ok(Exit::Failed)
        }
        Err(ClientError::TaskCancelled { .. }) if as_json => {
            document(task_id, "cancelled", "result", Value::Null);
            Ok(Exit::Cancelled)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the server says that nothing ran because the arguments do not fit.
fn is_refused(result: &CallResult) -> bool {
    let meta = result.meta().map(outlast_core::RawJson::to_value);
    meta.is_some_and(|meta| meta["outlast/refused"] == true)
}

/// The document of a task that has completed.
pub(crate) fn completed(task_id: &str, result: &CallResult) -> Value {
    json!({"status": "completed", "taskId": task_id, "result": result.raw().to_value()})
}

fn document(task_id: Option<&str>, status: &str, key: &str, value: Value) {
    let mut document = json!({"status": status});
    if let Some(id) = task_id {
        document["taskId"] = id.into();
    }
    if !value.is_null() {
        document[key] = value;
    }
    out::json(&document);
}

/// A result for people: its text, and a word about what is no text.
fn text(result: &CallResult) -> String {
    let mut lines = Vec::new();
    for block in result.content() {
        lines.push(match block {
            Content::Text(text) => text.clone(),
            Content::Image { data, mime } => {
                format!("[image, {mime}, {} bytes; see it with --json]", data.len())
            }
            Content::Audio { data, mime } => {
                format!("[sound, {mime}, {} bytes; hear it with --json]", data.len())
            }
            Content::Resource(raw) | Content::ResourceLink(raw) => resource(&raw.to_value()),
            _ => "[content of another kind; see it with --json]".to_owned(),
        });
    }
    if lines.is_empty()
        && let Some(structured) = result.structured()
    {
        lines.push(serde_json::to_string_pretty(&structured.to_value()).expect("JSON has a text"));
    }
    lines.join("\n").trim_end_matches('\n').to_owned()
}

fn resource(raw: &Value) -> String {
    let inner = raw.get("resource").unwrap_or(raw);
    match inner.get("text").and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => format!(
            "[resource {}]",
            inner
                .get("uri")
                .and_then(Value::as_str)
                .unwrap_or("without an address")
        ),
    }
}
