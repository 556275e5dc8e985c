//! `DELETE /tasks/{id}`: everything about a task that has ended is gone.

use axum::extract::State;
use http::StatusCode;

use super::Api;
use super::extract::{Id, Runner};
use super::problem::Problem;

/// Deletes a task that has ended.
#[utoipa::path(
    delete, path = "/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 204, description = "The task and everything that belonged to it is gone."),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 409, description = "The task has not ended; cancel it first.", body = Problem),
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    if api.handle().delete(&who, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::conflict(format!(
            "task {id} has not ended; cancel it first"
        )))
    }
}
