//! `GET /tasks/{id}/artifacts` and `…/artifacts/{name}`: the files that a task has made.
//!
//! A file is what a tool, and so perhaps a stranger, has written. It is sent under its own media type
//! but for download, never to be shown in the server's origin, and a browser may not guess another type
//! (`nosniff`) nor run anything in it (`sandbox`). It is read in pieces as it is sent: a gigabyte costs
//! no more memory than a kilobyte. Ranges follow RFC 9110, section 14: one range, or the whole.

use std::ops::Range;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use outlast_core::{Artifact, Error, Principal, TaskId};
use outlast_engine::Handle;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Id, Path, Reader};
use super::links::Base;
use super::problem::Problem;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// The files of a task.
#[derive(Serialize, ToSchema)]
pub(super) struct ArtifactList {
    /// In the order of their names.
    artifacts: Vec<ArtifactView>,
}

/// A file that a task has made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ArtifactView {
    /// Unique within the task: a relative path.
    name: String,
    /// Its media type.
    mime_type: String,
    /// How many bytes it has.
    size: u64,
    /// The SHA-256 digest of its bytes, in hexadecimal.
    sha256: String,
    /// When it was kept.
    at: String,
    /// Where it is.
    href: String,
}

/// The files that a task has made. They can be read while it runs and after it.
#[utoipa::path(
    get, path = "/tasks/{id}/artifacts", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The files.", body = ArtifactList),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    base: Base,
) -> Result<Json<ArtifactList>, Problem> {
    let artifacts = api.handle().artifacts(&who, id).await?;
    let view = |artifact: Artifact| ArtifactView {
        href: base.artifact(id, &artifact.name),
        at: artifact.at.to_string(),
        name: artifact.name,
        mime_type: artifact.mime,
        size: artifact.size,
        sha256: artifact.sha256,
    };
    Ok(Json(ArtifactList {
        artifacts: artifacts.into_iter().map(view).collect(),
    }))
}

/// A file that a task has made, or a range of its bytes.
#[utoipa::path(
    get, path = "/tasks/{id}/artifacts/{*name}", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id."),
        ("name" = String, Path, description = "The file's name; it may have slashes."),
        ("Range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`, `bytes=100-` or `bytes=-100`. A header that is no such range is ignored."),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is there already."),
    ),
    responses(
        (status = 200, description = "The whole file.", content_type = "*/*"),
        (status = 206, description = "The range.", content_type = "*/*"),
        (status = 304, description = "It is what is there already."),
        (status = 404, description = "There is no such task, or it has no such file.", body = Problem),
        (status = 416, description = "The range begins behind the end; Content-Range says where that is.", body = Problem),
    )
)]
pub(super) async fn artifact(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = api.handle().artifact(&who, id, &name, 0, 0).await?;
    let Some((artifact, _)) = found else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("task {id} has no artifact {name:?}; GET /tasks/{id}/artifacts lists them"),
        ));
    };
    let tag = HeaderValue::try_from(format!("\"{}\"", artifact.sha256));
    let tag = tag.expect("hexadecimal digits fit a header");
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    // A range of another version would be spliced onto the wrong bytes (RFC 9110, section 13.1.5).
    let same = headers.get(header::IF_RANGE).is_none_or(|had| *had == tag);
    let range = headers.get(header::RANGE).filter(|_| same);
    let asked = range.and_then(|range| asked(range.to_str().ok()?, artifact.size));
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..artifact.size),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => return Ok(behind_the_end(artifact.size)),
    };
    let mut response = Response::new(pieces(api.handle().clone(), who, id, name, range.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    describe(headers, &artifact);
    headers.insert(header::ETAG, tag);
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{}", range.start, range.end - 1, artifact.size);
        let range = HeaderValue::try_from(range).expect("numbers fit a header");
        headers.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The one range that was asked for; `None` if none was, `Some(None)` if nothing of the file is in it.
fn asked(range: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let range = match (first, last) {
        ("", last) => size.saturating_sub(last.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some((range.start < range.end).then_some(range))
}

fn behind_the_end(size: u64) -> Response {
    let status = StatusCode::RANGE_NOT_SATISFIABLE;
    let why = format!("the range begins behind the end; the file has {size} bytes");
    let mut response = Problem::new(status, why).into_response();
    let range = HeaderValue::try_from(format!("bytes */{size}")).expect("numbers fit a header");
    response.headers_mut().insert(header::CONTENT_RANGE, range);
    response
}

fn describe(headers: &mut HeaderMap, artifact: &Artifact) {
    let kind = HeaderValue::try_from(artifact.mime.as_str());
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&artifact.name));
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "private, no-cache"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// For download under the last part of the name: in ASCII for old readers, exactly for the others (RFC
/// 6266, section 4.3; RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let file = name.rsplit('/').next().unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    let ascii: String = file
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let exact: String = file
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let text = format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{exact}");
    HeaderValue::try_from(text).expect("visible ASCII fits a header")
}

/// The bytes of a range, read as they are sent. A reader that goes away costs nothing more.
fn pieces(handle: Handle, who: Principal, id: TaskId, name: String, range: Range<u64>) -> Body {
    let stream = try_unfold(range, move |range| {
        let (handle, who, name) = (handle.clone(), who.clone(), name.clone());
        async move {
            let left = range.end - range.start;
            if left == 0 {
                return Ok(None);
            }
            let limit = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let found = handle.artifact(&who, id, &name, range.start, limit).await?;
            let bytes = found.map(|(_, bytes)| bytes).unwrap_or_default();
            if bytes.is_empty() {
                // The connection breaks off, so that nobody takes a part for the whole.
                return Err(Error::NotFound(id));
            }
            let start = range.start + bytes.len() as u64;
            Ok(Some((Bytes::from(bytes), start..range.end)))
        }
    });
    Body::from_stream(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(asked("bytes=0-9", 100), Some(Some(0..10)));
        assert_eq!(asked("bytes=90-200", 100), Some(Some(90..100)));
        assert_eq!(asked("bytes=90-", 100), Some(Some(90..100)));
        assert_eq!(asked("bytes=-10", 100), Some(Some(90..100)));
        assert_eq!(asked("bytes=-200", 100), Some(Some(0..100)));
        assert_eq!(asked("bytes=100-", 100), Some(None));
        assert_eq!(asked("bytes=-0", 100), Some(None));
        assert_eq!(asked("bytes=0-", 0), Some(None));
        for ignored in [
            "bytes=9-0",
            "bytes=a-b",
            "lines=0-9",
            "bytes=0-1,5-6",
            "0-9",
        ] {
            assert_eq!(asked(ignored, 100), None, "{ignored}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_header() {
        let value = disposition("a/b/rep\"ort\r\nX: ü.html");
        let text = value.to_str().unwrap();
        assert_eq!(
            text,
            "attachment; filename=\"rep_ort__X_ _.html\"; \
             filename*=UTF-8''rep%22ort%0D%0AX%3A%20%C3%BC.html"
        );
    }
}
