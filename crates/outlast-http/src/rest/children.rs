//! `GET /tasks/{id}/children`: the tasks that a task has started.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Id, Query, Reader};
use super::links::Base;
use super::list::{LARGEST_PAGE, TaskPage, position, usual_page};
use super::problem::Problem;

/// Which children.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// `nextCursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
    /// How many tasks on a page, 1 to 500.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// The tasks that a task has started, the latest first, detached ones too. Each says in `children` how
/// many it has itself.
#[utoipa::path(
    get, path = "/tasks/{id}/children", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), Which),
    responses(
        (status = 200, description = "The children.", body = TaskPage),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn children(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    base: Base,
    Query(which): Query<Which>,
) -> Result<Json<TaskPage>, Problem> {
    if !(1..=LARGEST_PAGE).contains(&which.limit) {
        return Err(Problem::out_of_range("limit", which.limit, LARGEST_PAGE));
    }
    let cursor = position(&api, which.cursor.as_deref())?;
    let children = api
        .handle()
        .children(&who, id, false, cursor, which.limit)
        .await?;
    Ok(Json(TaskPage::of(&api, &children, &base)))
}
