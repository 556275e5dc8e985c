//! Errors as problem details (RFC 9457).

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use outlast_core::{Error, Scope};
use outlast_mcp::Full;
use outlast_mcp::http::NeedsScope;
use serde::Serialize;
use utoipa::ToSchema;

/// The longest body, in bytes.
pub(super) const LARGEST_BODY: usize = 2 * 1024 * 1024;

/// After how many seconds to try again what may pass.
const AGAIN: u64 = 1;

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status tells the kind, the detail the rest.
    r#type: &'static str,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// One sentence that says what is wrong and what is allowed.
    detail: String,
    /// What the caller would have needed.
    #[serde(skip)]
    needs: Option<Scope>,
    /// After how many seconds to try again.
    #[serde(skip)]
    again: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            needs: None,
            again: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(AGAIN),
        }
    }

    /// The sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// 400: the request can never succeed as it is.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: a number in the query is not from 1 to `most`.
    pub(super) fn out_of_range(name: &str, given: usize, most: usize) -> Self {
        Self::bad(format!("{name:?} is {given}; allowed: 1 to {most}"))
    }

    /// 403: the caller may not do this.
    pub(super) fn needs(scope: Scope) -> Self {
        Self {
            needs: Some(scope),
            ..Self::new(
                StatusCode::FORBIDDEN,
                format!("this needs the scope {scope}, which your credentials do not give"),
            )
        }
    }

    /// 404: there is no such task for this caller, in the same words as one that never was.
    pub(super) fn no_task(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("task {id:?} not found"))
    }

    /// 503 or 429: as many streams are open as there may be.
    pub(super) fn full(full: Full) -> Self {
        Self {
            again: Some(full.retry_after().as_secs()),
            ..Self::new(full.status(), full.sentence("streams"))
        }
    }

    /// 409: the request does not fit the state.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::NotFound(id) => Self::no_task(&id.to_string()),
            Error::Invalid(why) => Self::bad(why.clone()),
            Error::Finished(_) | Error::KeyReused { .. } => Self::conflict(error.to_string()),
            Error::QueueFull { retry_after, .. } => Self {
                again: Some(retry_after.as_secs().max(1)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
            },
            _ if error.is_retryable() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        let detail = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                format!("the body is too large; it may have {LARGEST_BODY} bytes")
            }
            _ => rejection.body_text(),
        };
        Self::new(rejection.status(), detail)
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let why = rejection.body_text();
        let hints = [
            (
                "invalid digit found",
                "; a whole number is needed, from 0 on",
            ),
            ("number too large", "; a smaller number is needed"),
            (
                "duplicate field",
                "; give it once, with several values separated by commas",
            ),
            ("there are no fields", "; this takes no query"),
        ];
        let hint = hints.iter().find(|(of, _)| why.contains(of));
        let hint = hint.map_or("", |(_, hint)| hint);
        Self::new(rejection.status(), format!("{why}{hint}"))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<WebSocketUpgradeRejection> for Problem {
    fn from(rejection: WebSocketUpgradeRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (needs, again) = (self.needs, self.again);
        let mut response = (status, axum::Json(self)).into_response();
        if let Some(scope) = needs {
            // For whoever writes the challenge.
            response.extensions_mut().insert(NeedsScope(scope));
        }
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(again) = again {
            headers.insert(header::RETRY_AFTER, again.into());
        }
        response
    }
}

/// The path is not known.
pub(crate) async fn not_found(uri: Uri) -> Problem {
    let path = uri.path();
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {path:?}"),
    )
}

/// The path is known and the method is not; axum adds `Allow`.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not take {method}; the header Allow says what it takes",
            uri.path()
        ),
    )
}
