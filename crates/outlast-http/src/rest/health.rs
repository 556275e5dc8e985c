//! `/health/live`, `/health/ready`, `/health`: for monitors and load balancers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use outlast_core::Timestamp;
use outlast_core::store::StoreInfo;
use outlast_engine::Unserved;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::Problem;
use crate::health::look;

/// The process answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// Always `live`.
    status: &'static str,
}

/// The server can take work.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`; a server that is not answers 503.
    status: &'static str,
}

/// The server can take work, and what there is to be seen of it.
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
    /// How many processes run tasks of the store, this one among them if it does.
    workers: usize,
    /// The tool versions of which tasks stand ready and that no living worker runs.
    #[serde(rename = "noWorker", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    no_worker: Vec<Unserved>,
    /// The last time that the server took its configuration anew, if it ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<ReloadView>,
}

/// A reload.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReloadView {
    /// When.
    at: String,
    /// `reloaded`, or `failed`: then what was served before goes on.
    status: &'static str,
    /// Why it failed, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The settings that have changed and are used only after a restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs_restart: Vec<String>,
}

impl From<Reload> for ReloadView {
    fn from(reload: Reload) -> Self {
        let (status, error, needs_restart) = match reload.ended {
            Ok(needs_restart) => ("reloaded", None, needs_restart),
            Err(sentence) => ("failed", Some(sentence), Vec::new()),
        };
        Self {
            at: reload.at.to_string(),
            status,
            error,
            needs_restart,
        }
    }
}

/// A reload of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// When.
    pub at: Timestamp,
    /// The settings that need a restart; or why nothing was changed.
    pub ended: Result<Vec<String>, String>,
}

/// The last reload of a server, noted by whoever makes it. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Reloads(Arc<Mutex<Option<Reload>>>);

impl Reloads {
    /// Notes one in the place of the last.
    pub fn note(&self, reload: Reload) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    fn last(&self) -> Option<Reload> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Whether the process answers.
#[utoipa::path(
    get, path = "/health/live", tag = "health",
    responses((status = 200, description = "It does.", body = Live))
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Whether the server can take work: it is not stopping, its leases are renewed, and its store can be reached.
/// For probes, which have no tokens: anybody may ask, and hears no more than that.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = 200, description = "It can.", body = Ready),
        (status = 503, description = "It cannot; the detail says why.", body = Problem),
    )
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Ready>, Problem> {
    look(api.handle()).await.map_err(not_ready)?;
    Ok(Json(Ready { status: "ready" }))
}

/// As `/health/ready`, with what there is to be seen of the server.
#[utoipa::path(
    get, path = "/health", tag = "health",
    responses(
        (status = 200, description = "The server can take work.", body = Health),
        (status = 503, description = "It cannot; the detail says why.", body = Problem),
    )
)]
pub(super) async fn health(State(api): State<Api>) -> Result<Json<Health>, Problem> {
    let (stats, workers) = look(api.handle()).await.map_err(not_ready)?;
    Ok(Json(Health {
        status: "ready",
        name: api.options().title.clone(),
        version: api.options().version.clone(),
        store: api.handle().store_info(),
        tasks: stats.phases(),
        workers: workers.iter().filter(|sign| sign.slots > 0).count(),
        no_worker: api
            .handle()
            .unserved()
            .await
            .map_err(|error| not_ready(error.to_string()))?,
        reload: api.options().reloads.last().map(ReloadView::from),
    }))
}

fn not_ready(why: String) -> Problem {
    Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, why)
}
