//! `GET /tasks/{id}/partials`: parts of the result, given out before the end.

use axum::Json;
use axum::extract::State;
use outlast_core::RawJson;
use outlast_engine::Partial;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Id, Query, Reader};
use super::problem::Problem;

/// The most on a page.
const LARGEST_PAGE: usize = 1000;

/// Which of them.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those with larger numbers.
    after: u64,
    /// How many on a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: usize,
}

impl Default for Which {
    fn default() -> Self {
        Self {
            after: 0,
            limit: 100,
        }
    }
}

/// Partial results in the order of their numbers.
#[derive(Serialize, ToSchema)]
pub(super) struct PartialPage {
    /// The partial results.
    partials: Vec<PartialView>,
    /// The number to read on after. Absent on the last page that there is at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// A part of the result.
#[derive(Serialize, ToSchema)]
struct PartialView {
    /// 1, 2, 3 …
    number: u64,
    /// When it was given out.
    at: String,
    /// What it is.
    #[schema(value_type = Value)]
    value: RawJson,
}

impl From<Partial> for PartialView {
    fn from(partial: Partial) -> Self {
        Self {
            number: partial.number,
            at: partial.at.to_string(),
            value: partial.value,
        }
    }
}

/// What a task has given out of its result so far. The event `PARTIAL` says when there is more.
#[utoipa::path(
    get, path = "/tasks/{id}/partials", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), Which),
    responses(
        (status = 200, description = "Partial results.", body = PartialPage),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
    )
)]
pub(super) async fn partials(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Query(which): Query<Which>,
) -> Result<Json<PartialPage>, Problem> {
    if !(1..=LARGEST_PAGE).contains(&which.limit) {
        return Err(Problem::out_of_range("limit", which.limit, LARGEST_PAGE));
    }
    // One more than asked for tells whether there are more.
    let mut partials = api
        .handle()
        .partials(&who, id, which.after, which.limit + 1)
        .await?;
    let more = partials.len() > which.limit;
    partials.truncate(which.limit);
    Ok(Json(PartialPage {
        next: partials.last().filter(|_| more).map(|last| last.number),
        partials: partials.into_iter().map(PartialView::from).collect(),
    }))
}
