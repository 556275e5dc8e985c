//! `GET /schedules`, and pause, resume and run: calls that make themselves.
//!
//! Schedules make tasks for owners of their own, so all of it concerns everybody's tasks and takes, on a server
//! with users, an administrator.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use outlast_core::{Error, Schedule};
use outlast_engine::{Schedules, schedule_view};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Api;
use super::create::{accepted, no_key};
use super::extract::{Admin, Empty, Path};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// The schedules.
#[derive(Serialize, ToSchema)]
pub(super) struct ScheduleList {
    /// In the order of their names: `name`, `tool`, `arguments`, `owner`, when (`cron` and `timeZone`, or
    /// `every`), `nextAt`, `upcoming`, `lastFireAt`, `lastTaskId`, `fired`, `paused`, and `note`, why one was
    /// not fired.
    #[schema(value_type = Vec<Object>)]
    schedules: Vec<Value>,
}

/// All schedules.
#[utoipa::path(
    get, path = "/schedules", tag = "operation",
    responses(
        (status = 200, description = "The schedules.", body = ScheduleList),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn list(State(api): State<Api>, _: Admin) -> Result<Json<ScheduleList>, Problem> {
    let schedules = api.handle().schedules().list().await?;
    Ok(Json(ScheduleList {
        schedules: schedules.iter().map(schedule_view).collect(),
    }))
}

/// A schedule.
#[utoipa::path(
    get, path = "/schedules/{name}", tag = "operation",
    params(("name" = String, Path, description = "The schedule.")),
    responses(
        (status = 200, description = "The schedule, as in the list.", body = Object),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 404, description = "There is no such schedule.", body = Problem),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn show(Known { schedule, .. }: Known) -> Json<Value> {
    Json(schedule_view(&schedule))
}

/// Stops a schedule from firing. Its tasks go on. Repeating it is harmless.
#[utoipa::path(
    post, path = "/schedules/{name}/pause", tag = "operation",
    params(("name" = String, Path, description = "The schedule.")),
    responses(
        (status = 200, description = "The schedule, as in the list.", body = Object),
        (status = 400, description = "It takes no body.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 404, description = "There is no such schedule.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn pause(
    Known {
        schedules, name, ..
    }: Known,
    _: Empty,
) -> Result<Json<Value>, Problem> {
    Ok(Json(schedule_view(&schedules.pause(&name).await?)))
}

/// Lets a schedule go on from now; it makes up for nothing. Repeating it is harmless.
#[utoipa::path(
    post, path = "/schedules/{name}/resume", tag = "operation",
    params(("name" = String, Path, description = "The schedule.")),
    responses(
        (status = 200, description = "The schedule, as in the list.", body = Object),
        (status = 400, description = "It takes no body.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 404, description = "There is no such schedule.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn resume(
    Known {
        schedules, name, ..
    }: Known,
    _: Empty,
) -> Result<Json<Value>, Problem> {
    Ok(Json(schedule_view(&schedules.resume(&name).await?)))
}

/// Makes a task of a schedule now, beside its fire times; also of one that is paused.
#[utoipa::path(
    post, path = "/schedules/{name}/run", tag = "operation",
    params(("name" = String, Path, description = "The schedule.")),
    responses(
        (status = 202, description = "The task is stored and runs.", body = TaskView,
            headers(("Location" = String, description = "The task."))),
        (status = 400, description = "The tool is not offered any more, or refuses the arguments by now, or there is a body, of which it takes none.", body = Problem),
        (status = 403, description = "This takes an administrator.", body = Problem),
        (status = 404, description = "There is no such schedule.", body = Problem),
        (status = 429, description = "Too many tasks wait already; Retry-After says when to try again.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn run(
    Known {
        schedules, name, ..
    }: Known,
    base: Base,
    headers: HeaderMap,
    _: Empty,
) -> Result<Response, Problem> {
    no_key(&headers)?;
    let task = schedules.run(&name).await?;
    Ok(accepted(&task, &base))
}

/// The schedule that the address names, for an administrator. One that is not there is a wrong address here,
/// no wrong value.
pub(super) struct Known {
    schedules: Schedules,
    name: String,
    schedule: Schedule,
}

impl FromRequestParts<Api> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        Admin::from_request_parts(parts, api).await?;
        let path = Path::<String>::from_request_parts(parts, api).await;
        let Path(name) = path?;
        let schedules = api.handle().schedules();
        let schedule = schedules.get(&name).await.map_err(|error| match error {
            Error::Invalid(_) => Problem::new(
                StatusCode::NOT_FOUND,
                format!("there is no schedule {name:?}; GET /schedules lists them"),
            ),
            error => error.into(),
        })?;
        Ok(Self {
            schedules,
            name,
            schedule,
        })
    }
}
