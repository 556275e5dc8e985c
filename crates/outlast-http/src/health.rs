//! Whether a process can work, and a listener for that question alone.
//!
//! Probes have no tokens and come from elsewhere, and a worker serves nothing else. So this listener says
//! no more than yes or no and why: nothing of tasks, and no protocol. What a worker has run is counted in its
//! own process, so it gives out its figures there too where its operator says so: they name tools, and no owner.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use outlast_core::store::Stats;
use outlast_core::worker::WorkerSign;
use outlast_engine::Handle;
use outlast_mcp::Server;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::rest::page;
use crate::serve::{ACCEPT_PAUSE, builder, is_of_the_client};

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many probes are answered at a time.
const CONNECTIONS: usize = 64;

/// How long one connection may stay.
const LONGEST: Duration = Duration::from_secs(30);

/// What there is to be seen of a process that can work: it is not stopping, its leases are renewed, and its
/// store can be reached.
///
/// # Errors
/// Why it cannot.
pub(crate) async fn look(handle: &Handle) -> Result<(Stats, Vec<WorkerSign>), String> {
    handle.check_alive()?;
    let away = |error: &dyn std::fmt::Display| format!("the store cannot be reached: {error}");
    let looked = tokio::time::timeout(PATIENCE, async {
        Ok::<_, outlast_core::Error>((handle.stats().await?, handle.workers().await?))
    });
    match looked.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(away(&error)),
        Err(_) => Err(away(&format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Answers `/health/live`, `/health/ready` and `/health` on `listener`, and `/metrics` if `metrics` says so, and
/// nothing else, until `shutdown` resolves.
pub async fn serve_health(
    listener: TcpListener,
    server: Server,
    metrics: bool,
    shutdown: impl Future<Output = ()>,
) {
    let mut routes = Router::new()
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .route("/health", get(ready));
    if metrics {
        routes = routes.route("/metrics", get(figures));
    }
    let routes = routes.with_state(server);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let room = Arc::clone(&connections).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (room, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_of_the_client(&error) {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let _room = room;
            let builder = builder();
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(LONGEST, connection).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

async fn figures(State(server): State<Server>) -> Response {
    match page(&server).await {
        Ok(page) => page.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(server): State<Server>) -> (StatusCode, String) {
    match look(server.handle()).await {
        Ok(_) => (StatusCode::OK, "ready\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
