//! A server that runs, as whoever started it holds it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::Principal;
use outlast_engine::{Engine, Handle, StateMap};
use outlast_http::{HttpServer, Mounted, Reloads};
use tokio::io::{BufReader, DuplexStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Stops;
use super::connections::Connections;
use super::reload::{Served, SharedIdentity};
use crate::offer::Catalog;
use crate::settings::Settings;

/// How much may be under way on an in-process connection before its writer waits.
const BUFFER: usize = 64 * 1024;

/// How long connections may take to end after everything else has.
const LAST_ANSWERS: Duration = Duration::from_secs(6);

/// How often a server behind a bridge looks whether anybody needs it.
const LOOK: Duration = Duration::from_secs(5);

/// A running server. Dropping it without [`RunningServer::shutdown`] is like a crash: running tasks
/// are taken up by the next server of the store.
#[must_use = "the server ends when this is dropped"]
pub struct RunningServer {
    pub(super) catalog: Catalog,
    pub(super) engine: Option<Engine>,
    pub(super) mcp: outlast_mcp::Server,
    pub(super) http: HttpServer,
    pub(super) state: StateMap,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) mcp_path: String,
    pub(super) unix_path: Option<PathBuf>,
    pub(super) database: PathBuf,
    /// Where the tasks are, for people.
    pub(super) location: String,
    /// Keeps the place beside the store, where several servers may want it.
    pub(super) _place: Option<std::fs::File>,
    /// None of a worker, which nobody is handed.
    pub(super) socket_path: Option<PathBuf>,
    pub(super) closing: CancellationToken,
    pub(super) handover: CancellationToken,
    pub(super) connections: Connections,
    pub(super) tasks: TaskTracker,
    /// What it was told at the start, above the server's own settings.
    pub(super) told: Settings,
    /// What it was started with.
    pub(super) served: Mutex<Served>,
    pub(super) identity: SharedIdentity,
    /// What came of the last reload, for whoever asks how the server is.
    pub(super) reloads: Reloads,
    /// What is to be taken down after the last handler.
    pub(super) stops: Stops,
    #[cfg(feature = "otlp")]
    pub(super) telemetry: Option<Arc<outlast_otel::Telemetry>>,
}

impl RunningServer {
    /// The first address that HTTP is served on; `None` for a server that only has its socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// The URL of MCP on that address.
    pub fn url(&self) -> Option<String> {
        Some(format!("http://{}{}", self.local_addr()?, self.mcp_path))
    }

    /// The store's file; for a store that is no file, the place of what stands beside it on this machine.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The socket beside the store, which speaks MCP with one message a line.
    pub fn socket(&self) -> &Path {
        let path = self.socket_path.as_deref();
        path.expect("only workers have none, and they are handed to nobody")
    }

    /// How the application's own code creates, watches and cancels tasks.
    pub fn handle(&self) -> Handle {
        self.mcp.handle().clone()
    }

    /// What is offered, to be changed while the server runs.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Everything that the server serves over HTTP (MCP, REST, sockets, the dashboard) as a `tower` service,
    /// for an application that has a port of its own: let it serve the paths that the application does
    /// not, as `axum`'s `Router::fallback_service`, and start the server without an address to listen on.
    /// The server ends when this value does, not with the service.
    ///
    /// ```
    /// # use outlast::prelude::*;
    /// # async fn example(server: Server) -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    ///
    /// let server = server.start(Settings::default()).await?;
    /// let app: Router = Router::new()
    ///     .route("/orders", get(async || "the application's own"))
    ///     .fallback_service(server.service());
    /// # let _ = app;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Who may use it, and what a request may say about its sender, is as [`Mounted`] says: with users in
    /// the server's settings, their tokens are asked for; an application that has checked its users itself
    /// puts a [`Principal`] into the request's extensions. Without either, whoever reaches the application's
    /// port runs the tools, as far as `Host` is a name of this machine or one of
    /// [`Settings::allowed_hosts`](crate::Settings::allowed_hosts).
    ///
    /// Under a path (`nest_service("/tasks", …)`) it works too; let
    /// [`Settings::public_url`](crate::Settings::public_url) name that path, for the links in answers.
    pub fn service(&self) -> Mounted {
        self.http.mounted()
    }

    /// MCP over Streamable HTTP alone, for one path of an application that has a port of its own. The
    /// application decides who may use it; a [`Principal`] in a request's extensions says who calls.
    pub fn mcp_service(&self) -> outlast_mcp::http::HttpService {
        outlast_mcp::http::HttpService::new(&self.mcp)
    }

    /// The value of this type that the server's handlers are given, whether a
    /// [lifespan](crate::Server::lifespan) made it or the application gave it; for the application's own
    /// code beside them. `None` if there is none; what belongs to [mounted](crate::Server::mount) servers
    /// is theirs alone.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.state.get()
    }

    /// Connects within the process: a stream that speaks MCP with one message a line, like standard
    /// input and output.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let mcp = self.mcp.clone();
        let connected = self.connections.enter();
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let _connected = connected;
            let (input, output) = tokio::io::split(ours);
            let serve = mcp.serve_lines(Principal::operator(), BufReader::new(input), output);
            tokio::select! {
                _ = serve => {}
                () = closing.cancelled() => {}
            }
        });
        theirs
    }

    /// Stops cleanly: accepts nothing more, lets running work end for up to `grace`, hands back the
    /// rest so that the next server goes on with it, closes the store, and takes down what the server's
    /// [lifespans](crate::Server::lifespan) made.
    ///
    /// # Errors
    /// The store could not be closed cleanly; nothing acknowledged is lost.
    pub async fn shutdown(mut self, grace: Duration) -> crate::Result<()> {
        // While the store's lock still holds: later the socket may be somebody else's.
        if let Some(socket) = &self.socket_path {
            let _ = std::fs::remove_file(socket);
        }
        // Clients see their tasks end while the grace lasts.
        let stopped = match self.engine.take() {
            Some(engine) => Some(engine.stop(grace).await),
            None => None,
        };
        self.closing.cancel();
        self.mcp.stop();
        self.tasks.close();
        // What is asked until the connections have ended is answered from the store, and not told that
        // there is none.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.tasks.wait()).await;
        #[cfg(feature = "otlp")]
        if let Some(telemetry) = self.telemetry.take() {
            let figures = outlast_http::figures::Snapshot::of(&self.mcp).await;
            telemetry.finish(figures.ok()).await;
        }
        let closed = match stopped {
            Some(stopped) => stopped.close().await,
            None => Ok(()),
        };
        std::mem::take(&mut self.stops).run().await;
        closed.map_err(crate::Error::from)
    }

    /// Resolves when a bridge of another build wants this server to make room.
    pub(crate) async fn asked_to_hand_over(&self) {
        self.handover.cancelled().await;
    }

    /// Resolves once there has been neither a client nor an unfinished task nor a message to a webhook for
    /// `patience`.
    pub(crate) async fn unneeded(&self, patience: Duration) {
        loop {
            tokio::time::sleep(LOOK.min(patience)).await;
            if self
                .connections
                .quiet_for()
                .is_none_or(|quiet| quiet < patience)
            {
                continue;
            }
            let handle = self.mcp.handle();
            match handle.unfinished().await {
                Ok(0) if !handle.owes_messages() => return,
                // Not before the last one has been finished for as long.
                _ => self.connections.touch(),
            }
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.closing.cancel();
        if self.engine.is_some() {
            self.mcp.stop();
        }
    }
}
