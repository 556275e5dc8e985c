//! `POST /tasks/{id}/signals/{name}`: a message into a run that nobody asked for.

use axum::Json as Answer;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use outlast_core::RawJson;
use outlast_core::signal::NewSignal;
use outlast_core::store::Signalled;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Id, Json, Path, Runner};
use super::problem::Problem;

/// A signal that was taken.
#[derive(Serialize, ToSchema)]
pub(super) struct SignalTaken {
    /// Its place among those of the same name.
    number: u64,
    /// A signal with the same `Idempotency-Key` had come before; this one changed nothing.
    repeated: bool,
}

impl From<Signalled> for SignalTaken {
    fn from(signalled: Signalled) -> Self {
        Self {
            number: signalled.number,
            repeated: signalled.repeated,
        }
    }
}

/// Sends a signal into a task. The body is the message, any JSON. It is stored in order and waits until
/// the tool reads it.
#[utoipa::path(
    post, path = "/tasks/{id}/signals/{name}", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id."),
        ("name" = String, Path, description = "What the tool reads it by."),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated signal with the same key arrives once."),
    ),
    request_body(content = Object, description = "The message."),
    responses(
        (status = 202, description = "The signal is stored.", body = SignalTaken),
        (status = 400, description = "The signal exceeds a limit, or the body does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 409, description = "The task has ended.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
    )
)]
pub(super) async fn signal(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    Json(payload): Json<RawJson>,
) -> Result<(StatusCode, Answer<SignalTaken>), Problem> {
    let key = headers.get("idempotency-key");
    let signal = NewSignal {
        id: key.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned()),
        ..NewSignal::new(name, payload)
    };
    let signalled = api.handle().signal(&who, id, signal).await?;
    Ok((StatusCode::ACCEPTED, Answer(signalled.into())))
}
