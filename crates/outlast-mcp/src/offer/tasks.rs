//! Every task as a resource, so that a client that knows resources and no tasks can look at one,
//! show it and subscribe to it.
//!
//! * `outlast://tasks/{taskId}`: how it stands, as JSON with the names of 2026-07-28.
//! * `outlast://tasks/{taskId}/log{?offset,limit}`: its log as text. `_meta` says where it goes on
//!   (`outlast/next`) and where it ends at present (`outlast/end`), in bytes.
//! * `outlast://tasks/{taskId}/result`: the CallToolResult of a task that has ended with one, as JSON.
//!
//! They are templates and no entries of `resources/list`: a list would tell every client of a server
//! without users the ids of all others' tasks (2025-11-25 tasks, "Task Isolation and Access Control").
//! A task of another owner does not exist.

use std::sync::{Arc, LazyLock};

use outlast_core::{Error as StoreError, Outcome, RawJson, Task, TaskId};
use outlast_engine::{BoxFuture, Error, Result};

use super::contents::ResourceContents;
use super::request::RequestCx;
use super::resource::{ReadRequest, ResourceHandler, ResourceTemplate};
use super::template::UriTemplate;
use crate::jsonrpc::code;
use crate::server::object;
use crate::wire;

const PREFIX: &str = "outlast://tasks/";

/// How much of a log one read gives where nothing is said, and at most.
const LOG_LIMIT: usize = 256 * 1024;
const LARGEST_LOG_LIMIT: usize = 1024 * 1024;

/// What of a task is read.
#[derive(Clone, Copy)]
enum View {
    Status,
    Log,
    Result,
}

/// The templates of the views.
pub(super) fn templates() -> impl Iterator<Item = Arc<ResourceTemplate>> {
    static TEMPLATES: LazyLock<[Arc<ResourceTemplate>; 3]> = LazyLock::new(|| {
        [
            template(
                View::Status,
                "outlast://tasks/{taskId}",
                "task",
                "How a task stands: status, progress, times.",
                "application/json",
            ),
            template(
                View::Log,
                "outlast://tasks/{taskId}/log{?offset,limit}",
                "task_log",
                "The log of a task from a byte offset on.",
                "text/plain",
            ),
            template(
                View::Result,
                "outlast://tasks/{taskId}/result",
                "task_result",
                "The result of a task that has ended.",
                "application/json",
            ),
        ]
    });
    TEMPLATES.iter().map(Arc::clone)
}

fn template(
    view: View,
    uri: &str,
    name: &str,
    description: &str,
    mime_type: &str,
) -> Arc<ResourceTemplate> {
    let uri = UriTemplate::new(uri).expect("the templates above are valid");
    Arc::new(ResourceTemplate {
        description: Some(description.into()),
        mime_type: Some(mime_type.into()),
        ..ResourceTemplate::new(uri, name, Arc::new(view))
    })
}

/// The task that a URI of these resources is about.
pub(crate) fn task_of(uri: &str) -> Option<TaskId> {
    let rest = uri.strip_prefix(PREFIX)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The URIs of a task that change with its record, and with its log.
pub(crate) fn uris_of(task: TaskId) -> (String, String, String) {
    let status = format!("{PREFIX}{task}");
    let (log, result) = (format!("{status}/log"), format!("{status}/result"));
    (status, log, result)
}

impl ResourceHandler for View {
    fn read(
        &self,
        request: ReadRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Option<Vec<ResourceContents>>>> {
        let view = *self;
        Box::pin(async move {
            let Some(id) = task_of(&request.uri) else {
                return Ok(None);
            };
            let task = match cx.tasks().get(cx.principal(), id).await {
                Ok(task) => task,
                Err(StoreError::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let contents = match view {
                View::Status => Some(status(&task, &cx)),
                View::Log => Some(log(id, &request, &cx).await?),
                View::Result => result(&task)?,
            };
            Ok(contents.map(|contents| vec![contents]))
        })
    }
}

fn status(task: &Task, cx: &RequestCx) -> ResourceContents {
    let json = object(|object| wire::task_document(object, task, cx.tasks().now()));
    ResourceContents::text(json.as_str())
}

async fn log(id: TaskId, request: &ReadRequest, cx: &RequestCx) -> Result<ResourceContents> {
    let number = |name: &str| match request.variables.get(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            let problem = format!("{name:?} must be a number of bytes, not {text:?}");
            Error::protocol(code::INVALID_PARAMS, problem)
        }),
    };
    let offset = number("offset")?.unwrap_or(0);
    let limit = number("limit")?.map_or(LOG_LIMIT, |limit| {
        usize::try_from(limit).unwrap_or(LARGEST_LOG_LIMIT)
    });
    let limit = limit.clamp(4, LARGEST_LOG_LIMIT);
    let page = cx.tasks().log(cx.principal(), id, offset, limit).await?;
    let mut bytes = Vec::with_capacity(limit.min(64 * 1024));
    for chunk in &page.chunks {
        bytes.extend_from_slice(&chunk.text);
    }
    // A character that is cut off at the end begins the next page.
    let cut = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            bytes.len() - error.valid_up_to()
        }
        _ => 0,
    };
    bytes.truncate(bytes.len() - cut);
    let meta = serde_json::json!({"outlast/next": page.next - cut as u64, "outlast/end": page.end});
    Ok(ResourceContents::text(String::from_utf8_lossy(&bytes)).meta(meta))
}

/// `None` while there is no result.
fn result(task: &Task) -> Result<Option<ResourceContents>> {
    match task.outcome.as_deref() {
        None => Ok(None),
        Some(Outcome::Failed(failure)) => Err(Error::failed(failure.clone())),
        Some(outcome) => {
            let json: RawJson = object(|object| wire::outcome_members(object, outcome));
            Ok(Some(ResourceContents::text(json.as_str())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_its_task() {
        let id = TaskId::random();
        let (status, log, result) = uris_of(id);
        for uri in [&status, &log, &result, &format!("{log}?offset=3")] {
            assert_eq!(task_of(uri), Some(id), "{uri}");
        }
        assert_eq!(task_of("outlast://tasks/none"), None);
        assert_eq!(task_of("other://tasks/x"), None);
    }
}
