//! `GET /tasks/{id}/result`: what came of a task, as often as somebody asks.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use outlast_core::status::Era;
use outlast_core::{Outcome, RawJson, Task, TaskStatus, ToolResult};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::create::accepted;
use super::extract::{Id, Query, Reader};
use super::links::Base;
use super::problem::Problem;
use super::show::Patience;
use super::task::TaskView;

/// How a task ended: exactly one of `result`, `error` and `reason`, as the status says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ending {
    /// The task.
    task_id: String,
    /// `completed`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    status: TaskStatus,
    /// Of a completed task: the tool's result, in the protocol's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultView>,
    /// Of a failed task: the protocol's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    /// Of a cancelled task: what was given as the reason, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What a tool returned.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResultView {
    /// Content blocks.
    #[schema(value_type = Vec<Object>)]
    content: RawJson,
    /// The structured content, if the tool gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    structured_content: Option<RawJson>,
    /// The tool ran and says that it failed.
    is_error: bool,
    /// The result's own metadata.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    meta: Option<RawJson>,
}

/// Why there is no result.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorView {
    /// The JSON-RPC code.
    code: i64,
    /// One sentence.
    message: String,
    /// Why, in one stable word.
    reason: String,
    /// The error's own data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    data: Option<RawJson>,
}

impl From<&ToolResult> for ResultView {
    fn from(result: &ToolResult) -> Self {
        Self {
            content: result.content.clone(),
            structured_content: result.structured.clone(),
            is_error: result.is_error,
            meta: result.meta.clone(),
        }
    }
}

impl Ending {
    /// How the task ended; `None` if it has not.
    pub(super) fn of(task: &Task) -> Option<Self> {
        let outcome = task.outcome.as_deref()?;
        let mut ending = Self {
            task_id: task.id().to_string(),
            status: task.status(Era::Modern),
            result: None,
            error: None,
            reason: None,
        };
        match outcome {
            Outcome::Completed(result) => ending.result = Some(result.into()),
            Outcome::Failed(failure) => {
                let reason = serde_json::to_value(failure.reason).ok();
                ending.error = Some(ErrorView {
                    code: failure.code,
                    message: failure.message.clone(),
                    reason: reason
                        .and_then(|reason| reason.as_str().map(str::to_owned))
                        .unwrap_or_default(),
                    data: failure.data.clone(),
                });
            }
            Outcome::Cancelled { reason } => ending.reason.clone_from(reason),
        }
        Some(ending)
    }
}

/// What came of a task.
#[utoipa::path(
    get, path = "/tasks/{id}/result", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), Patience),
    responses(
        (status = 200, description = "How the task ended.", body = Ending),
        (status = 202, description = "The task has not ended; ask again.", body = TaskView,
            headers(("Retry-After" = u64, description = "Seconds."))),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn result(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    base: Base,
    Query(patience): Query<Patience>,
) -> Result<Response, Problem> {
    let task = patience.wait.on(api.server(), &who, id).await?;
    Ok(ended_or_not(&task, &base))
}

/// 200 with the end of the task, or 202 with the task.
pub(super) fn ended_or_not(task: &Task, base: &Base) -> Response {
    match Ending::of(task) {
        Some(ending) => Json(ending).into_response(),
        None => accepted(task, base),
    }
}
