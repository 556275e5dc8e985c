//! `POST /tasks/{id}/retry`: the call of a task that has ended, once more.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::Api;
use super::create::{accepted, no_key};
use super::extract::{Empty, Id, Runner};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// Makes a new task of the call of one that has ended. The old one stays as it is; the new one names it in
/// `retryOf`.
#[utoipa::path(
    post, path = "/tasks/{id}/retry", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 202, description = "The new task is stored and runs.", body = TaskView,
            headers(("Location" = String, description = "The new task."))),
        (status = 400, description = "The tool is not offered any more, or refuses the arguments by now, or there is a body, of which it takes none.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 409, description = "The task has not ended.", body = Problem),
        (status = 429, description = "Too many tasks wait already; Retry-After says when to try again.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
    base: Base,
    headers: HeaderMap,
    _: Empty,
) -> Result<Response, Problem> {
    no_key(&headers)?;
    let old = api.handle().get(&who, id).await?;
    if !old.is_finished() {
        let why = format!("task {id} has not ended; only a task that has can be tried again");
        return Err(Problem::conflict(why));
    }
    let task = api.handle().retry(&who, id).await?;
    Ok(accepted(&task, &base))
}
