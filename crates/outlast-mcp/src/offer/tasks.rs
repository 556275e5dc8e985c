//! Every task as a resource, so that a client that knows resources and no tasks can look at one,
//! show it and subscribe to it.
//!
//! * `outlast://tasks/{taskId}`: how it stands, as JSON with the names of 2026-07-28.
//! * `outlast://tasks/{taskId}/log{?offset,limit}`: its log as text. `_meta` says where it goes on
//!   (`outlast/next`) and where it ends at present (`outlast/end`), in bytes.
//! * `outlast://tasks/{taskId}/result`: the CallToolResult of a task that has ended with one, as JSON.
//! * `outlast://tasks/{taskId}/artifacts`: what it has given out by name, as JSON, with a URI for each.
//! * `outlast://tasks/{taskId}/artifacts/{+name}{?offset,limit}`: an artifact, as text where its type
//!   is one of text and the piece is UTF-8, else as a blob. `_meta` says where it goes on and how long
//!   it is (`outlast/next`, `outlast/size`), in bytes: what is longer than one read gives is read piece
//!   by piece.
//! * `outlast://tasks/{taskId}/partials{?after}`: its partial results with numbers above `after`.
//!
//! A log or an artifact that is read without `offset` and `limit` is given whole, or, beyond 4 MiB, refused
//! with how to read it in pieces: a client that knows nothing of our `_meta` would take the first piece for
//! all of it.
//!
//! They are templates and no entries of `resources/list`: a list would tell every client of a server
//! without users the ids of all others' tasks (2025-11-25 tasks, "Task Isolation and Access Control").
//! A task of another owner does not exist.

use std::sync::{Arc, LazyLock};

use outlast_core::{Artifact, Error as StoreError, Outcome, RawJson, Task, TaskId};
use outlast_engine::{BoxFuture, Error, Result};

use super::contents::ResourceContents;
use super::request::RequestCx;
use super::resource::{ReadRequest, ResourceHandler, ResourceTemplate};
use super::template::UriTemplate;
use crate::jsonrpc::code;
use crate::server::object;
use crate::wire;

/// What is given at once where nothing is said of pieces.
const WHOLE: u64 = 4 * 1024 * 1024;

const PREFIX: &str = "outlast://tasks/";

/// How much of a log one read gives where nothing is said, and at most.
const LOG_LIMIT: usize = 256 * 1024;
const LARGEST_LOG_LIMIT: usize = 1024 * 1024;

/// How many bytes of an artifact one read gives where nothing is said, and at most: as base64 they are
/// a third more, and clients have limits of their own.
const ARTIFACT_LIMIT: usize = 1024 * 1024;
const LARGEST_ARTIFACT_LIMIT: usize = 2 * 1024 * 1024;

/// How many partial results one read gives.
const PARTIALS: usize = 100;

/// What of a task is read.
#[derive(Clone, Copy)]
enum View {
    Status,
    Log,
    Result,
    Artifacts,
    Artifact,
    Partials,
}

/// The templates of the views.
pub(super) fn templates() -> impl Iterator<Item = Arc<ResourceTemplate>> {
    static TEMPLATES: LazyLock<[Arc<ResourceTemplate>; 6]> = LazyLock::new(|| {
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
            template(
                View::Artifacts,
                "outlast://tasks/{taskId}/artifacts",
                "task_artifacts",
                "What a task has given out by name: names, types, sizes, URIs.",
                "application/json",
            ),
            template(
                View::Artifact,
                "outlast://tasks/{taskId}/artifacts/{+name}{?offset,limit}",
                "task_artifact",
                "An artifact of a task from a byte offset on.",
                None,
            ),
            template(
                View::Partials,
                "outlast://tasks/{taskId}/partials{?after}",
                "task_partials",
                "The partial results of a task, in order, after the one with a number.",
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
    mime_type: impl Into<Option<&'static str>>,
) -> Arc<ResourceTemplate> {
    let uri = UriTemplate::new(uri).expect("the templates above are valid");
    Arc::new(ResourceTemplate {
        description: Some(description.into()),
        mime_type: mime_type.into().map(str::to_owned),
        ..ResourceTemplate::new(uri, name, Arc::new(view))
    })
}

/// The task that a URI of these resources is about.
pub(crate) fn task_of(uri: &str) -> Option<TaskId> {
    let rest = uri.strip_prefix(PREFIX)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The URIs under which the changes of a task are told, without their queries.
pub(crate) struct Uris {
    pub(crate) status: String,
    pub(crate) log: String,
    pub(crate) result: String,
    /// All artifacts, each of which is below it.
    pub(crate) artifacts: String,
    pub(crate) partials: String,
}

impl Uris {
    pub(crate) fn of(task: TaskId) -> Self {
        let status = format!("{PREFIX}{task}");
        let view = |name: &str| format!("{status}/{name}");
        Self {
            log: view("log"),
            result: view("result"),
            artifacts: view("artifacts"),
            partials: view("partials"),
            status,
        }
    }
}

/// Whether whoever has subscribed to `asked` is to be told that `updated` has changed: it is that
/// resource, a part of it that a query chooses, or what is below it, if that is so of a task's.
pub(crate) fn is_told_by(asked: &str, updated: &str) -> bool {
    match asked.strip_prefix(updated) {
        Some("") => true,
        Some(rest) if updated.starts_with(PREFIX) => {
            rest.starts_with('?') || (rest.starts_with('/') && updated.ends_with("/artifacts"))
        }
        _ => false,
    }
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
                View::Artifacts => Some(artifacts(id, &cx).await?),
                View::Artifact => artifact(id, &request, &cx).await?,
                View::Partials => Some(partials(id, &request, &cx).await?),
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
    let (mut next, limit) = range(request, LOG_LIMIT, LARGEST_LOG_LIMIT)?;
    let whole = wants_all(request);
    let mut bytes = Vec::new();
    let page = loop {
        let page = cx.tasks().log(cx.principal(), id, next, limit).await?;
        for chunk in &page.chunks {
            bytes.extend_from_slice(&chunk.text);
        }
        next = page.next;
        if !whole || page.chunks.is_empty() || page.next >= page.end {
            break page;
        }
        if page.end > WHOLE {
            return Err(too_long("log", page.end));
        }
    };
    let cut = cut_off(&bytes);
    bytes.truncate(bytes.len() - cut);
    let meta = serde_json::json!({"outlast/next": page.next - cut as u64, "outlast/end": page.end});
    Ok(ResourceContents::text(String::from_utf8_lossy(&bytes)).meta(meta))
}

/// A number in the query.
fn number(request: &ReadRequest, name: &str, of: &str) -> Result<Option<u64>> {
    match request.variables.get(name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            let problem = format!("{name:?} must be a {of}, not {text:?}");
            Error::protocol(code::INVALID_PARAMS, problem)
        }),
    }
}

/// Where to begin and how much to give, in bytes; never so little that no character fits.
fn range(request: &ReadRequest, usual: usize, most: usize) -> Result<(u64, usize)> {
    let offset = number(request, "offset", "number of bytes")?.unwrap_or(0);
    let limit = number(request, "limit", "number of bytes")?;
    let limit = limit.map_or(usual, |limit| usize::try_from(limit).unwrap_or(most));
    Ok((offset, limit.clamp(4, most)))
}

/// Whether the reader says nothing of pieces.
fn wants_all(request: &ReadRequest) -> bool {
    let says = |name| request.variables.contains_key(name);
    !says("offset") && !says("limit")
}

fn too_long(what: &str, size: u64) -> Error {
    let problem = format!(
        "the {what} has {size} bytes, and {WHOLE} are read at once: read it in pieces, the first with \
         ?offset=0&limit={LOG_LIMIT} behind the URI, each next one from the \"outlast/next\" of the last"
    );
    Error::protocol(code::INVALID_PARAMS, problem)
}

/// How many bytes at the end begin a character that goes on in the next piece.
fn cut_off(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            bytes.len() - error.valid_up_to()
        }
        _ => 0,
    }
}

/// The URI of the list of a task's artifacts.
pub(crate) fn uri_of_artifacts(task: TaskId) -> String {
    format!("{PREFIX}{task}/artifacts")
}

/// The URI of an artifact. What RFC 3986 lets stand in a path stands as it is.
pub(crate) fn uri_of_artifact(task: TaskId, name: &str) -> String {
    let mut uri = format!("{PREFIX}{task}/artifacts/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

async fn artifacts(id: TaskId, cx: &RequestCx) -> Result<ResourceContents> {
    let all = cx.tasks().artifacts(cx.principal(), id).await?;
    let one = |artifact: &Artifact| {
        serde_json::json!({
            "name": artifact.name,
            "uri": uri_of_artifact(id, &artifact.name),
            "mimeType": artifact.mime,
            "size": artifact.size,
            "sha256": artifact.sha256,
            "createdAt": artifact.at.to_string(),
        })
    };
    let list: Vec<serde_json::Value> = all.iter().map(one).collect();
    let json = serde_json::json!({ "artifacts": list });
    Ok(ResourceContents::text(json.to_string()))
}

/// `None` if the task has given out nothing of this name.
async fn artifact(
    id: TaskId,
    request: &ReadRequest,
    cx: &RequestCx,
) -> Result<Option<ResourceContents>> {
    let Some(name) = request.variables.get("name") else {
        return Ok(None);
    };
    let (offset, mut limit) = range(request, ARTIFACT_LIMIT, LARGEST_ARTIFACT_LIMIT)?;
    let whole = wants_all(request);
    if whole {
        limit = usize::try_from(WHOLE).expect("a few MiB fit");
    }
    let found = cx.tasks().artifact(cx.principal(), id, name, offset, limit);
    let Some((artifact, mut bytes)) = found.await? else {
        return Ok(None);
    };
    if whole && artifact.size > WHOLE {
        return Err(too_long("artifact", artifact.size));
    }
    let mut next = offset.min(artifact.size) + bytes.len() as u64;
    let mut text = None;
    if is_text(&artifact.mime) {
        let cut = if next < artifact.size {
            cut_off(&bytes)
        } else {
            0
        };
        if let Ok(piece) = std::str::from_utf8(&bytes[..bytes.len() - cut]) {
            text = Some(piece.to_owned());
            next -= cut as u64;
        }
    }
    let contents = match text {
        Some(text) => ResourceContents::text(text),
        None => ResourceContents::blob(std::mem::take(&mut bytes)),
    };
    let meta = serde_json::json!({"outlast/next": next, "outlast/size": artifact.size});
    Ok(Some(contents.mime_type(artifact.mime).meta(meta)))
}

/// Whether contents of this type are for reading.
fn is_text(mime: &str) -> bool {
    let essence = mime.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || matches!(
            essence,
            "application/json" | "application/xml" | "image/svg+xml"
        )
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
}

async fn partials(id: TaskId, request: &ReadRequest, cx: &RequestCx) -> Result<ResourceContents> {
    let after = number(request, "after", "number of a partial result")?.unwrap_or(0);
    let all = cx.tasks().partials(cx.principal(), id, after, PARTIALS);
    let all = all.await?;
    let next = all.last().map_or(after, |partial| partial.number);
    let mut json = String::from(r#"{"partials":"#);
    json.push_str(&serde_json::to_string(&all).map_err(|error| {
        Error::protocol(code::INTERNAL_ERROR, format!("a partial result: {error}"))
    })?);
    json.push('}');
    Ok(ResourceContents::text(json).meta(serde_json::json!({"outlast/next": next})))
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
    fn the_uri_of_an_artifact_is_read_back() {
        let template =
            UriTemplate::new("outlast://tasks/{taskId}/artifacts/{+name}{?offset,limit}");
        let template = template.unwrap();
        let id = TaskId::random();
        for name in ["plot.png", "a/b c.txt", "100%?#&=+.ü", "~x-y_z"] {
            let uri = uri_of_artifact(id, name);
            let values = template.read(&uri).unwrap().expect(&uri);
            assert_eq!(values["name"], name, "{uri}");
            assert_eq!(task_of(&uri), Some(id));
        }
    }

    #[test]
    fn a_uri_names_its_task() {
        let id = TaskId::random();
        let Uris {
            status,
            log,
            artifacts,
            ..
        } = Uris::of(id);
        for uri in [&status, &log, &artifacts, &format!("{log}?offset=3")] {
            assert_eq!(task_of(uri), Some(id), "{uri}");
        }
        assert_eq!(task_of("outlast://tasks/none"), None);
        for (asked, updated, told) in [
            (status.clone(), &status, true),
            (format!("{status}?x=1"), &status, true),
            (log.clone(), &status, false),
            (format!("{log}?offset=3"), &log, true),
            (format!("{log}s"), &log, false),
            (format!("{artifacts}/log"), &artifacts, true),
            (format!("{artifacts}/a/b?offset=0"), &artifacts, true),
            (artifacts.clone(), &log, false),
            ("app://a?b".into(), &"app://a".to_owned(), false),
        ] {
            assert_eq!(is_told_by(&asked, updated), told, "{asked} by {updated}");
        }
        assert_eq!(task_of("other://tasks/x"), None);
    }
}
