//! `GET /tasks`: the caller's tasks, the latest first, page by page.

use axum::Json;
use axum::extract::State;
use outlast_core::TaskStatus;
use outlast_core::status::Phase;
use outlast_core::store::Filter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Query, Reader};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// The most tasks on a page.
const LARGEST_PAGE: usize = 500;

/// Which tasks, and how many.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only tasks with this status.
    #[serde(default)]
    #[param(value_type = Option<String>, example = "working")]
    status: Option<TaskStatus>,
    /// Only tasks in this phase.
    #[serde(default)]
    #[param(value_type = Option<String>, example = "queued")]
    phase: Option<Phase>,
    /// Only tasks of this tool.
    #[serde(default)]
    tool: Option<String>,
    /// `nextCursor` of the page before.
    #[serde(default)]
    cursor: Option<u64>,
    /// How many tasks on a page, 1 to 500.
    #[serde(default = "usual_page")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

fn usual_page() -> usize {
    50
}

/// Some tasks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskPage {
    /// The latest created first.
    tasks: Vec<TaskView>,
    /// Where the next page begins. Absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<u64>,
}

/// The caller's tasks.
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", params(Which),
    responses(
        (status = 200, description = "The tasks.", body = TaskPage),
        (status = 400, description = "The query does not fit.", body = Problem),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(who): Reader,
    base: Base,
    Query(which): Query<Which>,
) -> Result<Json<TaskPage>, Problem> {
    if !(1..=LARGEST_PAGE).contains(&which.limit) {
        return Err(Problem::bad(format!(
            "\"limit\" is {}; allowed: 1 to {LARGEST_PAGE}",
            which.limit
        )));
    }
    let filter = Filter {
        tool: which.tool,
        phases: which.phase.into_iter().collect(),
        statuses: which.status.into_iter().collect(),
        ..Filter::default()
    };
    let page = api
        .handle()
        .list(&who, filter, which.cursor, which.limit)
        .await?;
    Ok(Json(TaskPage {
        tasks: page
            .tasks
            .iter()
            .map(|task| TaskView::short(task, &base))
            .collect(),
        next_cursor: page.next,
    }))
}
