//! `/health/live`, `/health/ready`, `/health`: for monitors and load balancers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use outlast_core::store::StoreInfo;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always `live`.
    status: &'static str,
}

/// The server can take work.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ready`; a server that is not answers 503.
    status: &'static str,
    /// The server's name.
    name: String,
    /// The server's version.
    version: String,
    /// What the store promises.
    #[schema(value_type = Object)]
    store: StoreInfo,
    /// Tasks by phase.
    tasks: BTreeMap<&'static str, u64>,
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "/health/live", tag = "health",
    responses((status = 200, description = "It does.", body = Live))
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Whether the server can take work: its store can be reached.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = 200, description = "It can.", body = Health),
        (status = 503, description = "It cannot; the detail says why.", body = Problem),
    )
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    check(&api).await
}

/// The same as `/health/ready`.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses(
        (status = 200, description = "The server can take work.", body = Health),
        (status = 503, description = "It cannot; the detail says why.", body = Problem),
    )
)]
pub(super) async fn health(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    check(&api).await
}

async fn check(api: &Api) -> Result<Json<Health>, Problem> {
    let stats = api.handle().stats().await.map_err(|error| {
        Problem::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            format!("the store cannot be reached: {error}"),
        )
    })?;
    Ok(Json(Health {
        status: "ready",
        name: api.options().title.clone(),
        version: api.options().version.clone(),
        store: api.handle().store_info(),
        tasks: stats.phases(),
    }))
}
