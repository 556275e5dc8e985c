//! `GET /tasks/{id}/logs`: the task's log from an offset, while it runs and after.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use outlast_core::log::LogChunk;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Id, Query, Reader};
use super::problem::Problem;

/// How much of a log one answer carries.
const PAGE: usize = 1024 * 1024;

/// Where to begin.
#[derive(Deserialize, IntoParams, Default)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// The byte to begin with: 0, or `next` of the answer before.
    offset: u64,
}

/// Part of a log.
#[derive(Serialize, ToSchema)]
pub(super) struct LogPart {
    /// The pieces in order.
    chunks: Vec<Chunk>,
    /// Where to read on.
    next: u64,
    /// Where the log ends at present.
    end: u64,
}

/// A piece of a log.
#[derive(Serialize, ToSchema)]
pub(super) struct Chunk {
    /// Where its first byte stands.
    offset: u64,
    /// When it was stored.
    at: String,
    /// `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
    level: &'static str,
    /// Who speaks, for example `stdout`. Absent for the tool itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    logger: String,
    /// The text. Bytes that are no UTF-8 are replaced.
    text: String,
}

impl Chunk {
    pub(super) fn of(chunk: &LogChunk) -> Self {
        Self {
            offset: chunk.offset,
            at: chunk.at.to_string(),
            level: chunk.level.as_str(),
            logger: chunk.logger.clone(),
            text: String::from_utf8_lossy(&chunk.text).into_owned(),
        }
    }
}

/// The log of a task. With `Accept: text/plain` it is the bytes and nothing else, and the header
/// `Outlast-Log-Next` says where to read on.
#[utoipa::path(
    get, path = "/tasks/{id}/logs", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), From),
    responses(
        (status = 200, description = "Part of the log.", content((LogPart = "application/json"), (String = "text/plain"))),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn logs(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut page = api.handle().log(&who, id, from.offset, PAGE).await?;
    // Whoever asks beyond the end goes on at the end, and misses nothing of what comes.
    page.next = page.next.min(page.end);
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain")) {
        let bytes: Vec<u8> = page
            .chunks
            .into_iter()
            .flat_map(|chunk| chunk.text)
            .collect();
        let headers = [
            (
                header::CONTENT_TYPE.as_str(),
                "text/plain; charset=utf-8".to_owned(),
            ),
            ("outlast-log-next", page.next.to_string()),
        ];
        return Ok((headers, bytes).into_response());
    }
    Ok(Json(LogPart {
        chunks: page.chunks.iter().map(Chunk::of).collect(),
        next: page.next,
        end: page.end,
    })
    .into_response())
}
