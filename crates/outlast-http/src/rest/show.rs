//! `GET /tasks/{id}`: one task as it stands, or once it has ended.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Id, Query, Reader};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;
use super::wait::Wait;

/// How long to wait.
#[derive(Deserialize, IntoParams, Default)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Patience {
    /// Answer when the task has ended, or after this time: `20s`, at most `1m`. At once if absent.
    #[param(value_type = Option<String>, example = "20s")]
    pub(super) wait: Wait,
}

/// One task.
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), Patience),
    responses(
        (status = 200, description = "The task.", body = TaskView),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    base: Base,
    Query(patience): Query<Patience>,
) -> Result<Json<TaskView>, Problem> {
    let task = patience.wait.on(api.server(), &who, id).await?;
    Ok(Json(TaskView::whole(&task, &base)))
}
