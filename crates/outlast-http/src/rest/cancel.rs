//! `POST /tasks/{id}/cancel`: acknowledged at once; the task ends when its worker has stopped.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use outlast_core::store::CancelReply;
use outlast_engine::CancelBy;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Id, Members, Runner};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// Why it is cancelled.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cancel {
    /// Kept with the task.
    reason: Option<String>,
}

/// Cancels a task. Repeating it is harmless.
#[utoipa::path(
    post, path = "/tasks/{id}/cancel", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    request_body = Option<Cancel>,
    responses(
        (status = 200, description = "The task had ended before, or has now.", body = TaskView),
        (status = 202, description = "The task is being stopped.", body = TaskView),
        (status = 400, description = "The body does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
    base: Base,
    Members(cancel): Members<Cancel>,
) -> Result<(StatusCode, Answer<TaskView>), Problem> {
    let cancelled = api
        .handle()
        .cancel(&who, id, cancel.reason, CancelBy::Request)
        .await?;
    let (status, task) = match cancelled {
        CancelReply::AlreadyFinished(task) | CancelReply::Cancelled(task) => (StatusCode::OK, task),
        CancelReply::Requested(task) => (StatusCode::ACCEPTED, task),
    };
    Ok((status, Answer(TaskView::whole(&task, &base))))
}
