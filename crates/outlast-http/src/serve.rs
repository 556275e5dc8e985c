//! Connections: accepted, served, and ended in an orderly way.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use outlast_core::Principal;
use outlast_mcp::Server;
use outlast_mcp::http::{Guard, HttpService};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::auth::Gate;
use crate::dashboard;
use crate::front::{Entrance, Front, Kept, Routes, Sessions};
use crate::mounted::Mounted;
use crate::opening::Opening;
use crate::patience::Patience;
use crate::rest::{self, RestOptions};
use crate::taking::Taking;

/// Where MCP is, where nothing else is said.
pub const DEFAULT_MCP_PATH: &str = "/mcp";

/// How many connections are open at a time, where nothing else is said.
pub const DEFAULT_CONNECTIONS: usize = 10_000;

/// The longest head of a request.
const LONGEST_HEAD: usize = 64 * 1024;

/// How many requests may be under way on one connection of HTTP/2.
const STREAMS: u32 = 250;

/// How long a client may take to begin, and to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long a client may take nothing of what it is sent.
pub(crate) const TAKING_PATIENCE: Duration = Duration::from_secs(60);

/// How often a peer of HTTP/2 that says nothing is asked whether it is still there.
const STILL_THERE: Duration = Duration::from_secs(30);

/// How long connections may take to end once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long to wait after the system refused to accept a connection: most often it has no file
/// descriptors left, and trying at once would only burn time.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Makes a value that lives as long as a connection.
type Companion = Arc<dyn Fn() -> Kept + Send + Sync>;

/// Serves MCP on one path and a router's routes beside it. Whatever the path, a request must come from
/// an allowed host and origin.
#[derive(Clone)]
pub struct HttpServer {
    server: Server,
    front: Front,
    connections: Arc<Semaphore>,
    companion: Option<Companion>,
}

impl HttpServer {
    /// A server with MCP alone.
    pub fn new(server: &Server) -> Self {
        Self::with_routes(server, Router::new())
    }

    /// A server with further routes.
    pub fn with_routes(server: &Server, routes: Router) -> Self {
        Self {
            server: server.clone(),
            front: Front(Arc::new(Routes {
                mcp: HttpService::new(server),
                mcp_path: DEFAULT_MCP_PATH.into(),
                other: routes.fallback(rest::not_found),
                guard: Guard::new(server.config()),
                gate: None,
                sessions: None,
            })),
            connections: Arc::new(Semaphore::new(DEFAULT_CONNECTIONS)),
            companion: None,
        }
    }

    /// A server with the REST surface and the dashboard, which show the same tasks.
    pub fn with_rest(server: &Server, options: RestOptions) -> Self {
        let public_url = options.public_url.clone();
        let rest = rest::routes(server, options);
        let mut this = Self::with_routes(server, rest.merge(dashboard::routes()));
        this.routes().sessions = Some(Sessions {
            server: server.clone(),
            public_url,
        });
        this
    }

    fn routes(&mut self) -> &mut Routes {
        Arc::get_mut(&mut self.front.0).expect("not shared before it serves")
    }

    /// Lets nobody in whom `gate` does not know. Without one there are no users.
    ///
    /// # Panics
    /// The server has been cloned: it is to be set up first.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.routes().gate = Some(gate);
        self
    }

    /// Serves MCP on this path, which begins with `/` and does not end with it.
    ///
    /// # Panics
    /// As [`HttpServer::with_gate`].
    #[must_use]
    pub fn with_mcp_path(mut self, path: impl Into<String>) -> Self {
        self.routes().mcp_path = path.into();
        self
    }

    /// Accepts at most this many connections at a time; the next ones wait to be accepted.
    #[must_use]
    pub fn with_connections(mut self, most: usize) -> Self {
        self.connections = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        self
    }

    /// Keeps what `companion` returns for as long as each accepted connection lives, also as a socket, for
    /// whoever counts them.
    #[must_use]
    pub fn with_companion<T: Send + Sync + 'static>(
        mut self,
        companion: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        self.companion = Some(Arc::new(move || Arc::new(companion())));
        self
    }

    /// Accepts connections until `shutdown` resolves. Then waits that block are answered, streams
    /// end, requests under way are finished, and after five seconds what is left is cut.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; connections that are open go on by themselves.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let cut = CancellationToken::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async { (self.room().await, listener.accept().await) };
            let (room, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut shutdown => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !is_of_the_client(&error) {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let companion = self.companion.as_ref().map(|companion| companion());
            let kept: Kept = Arc::new((room, companion));
            let connection = builder()
                .serve_connection_with_upgrades(
                    TokioIo::new(patient(stream)),
                    self.entrance(Some(peer.ip()), None, Arc::clone(&kept)),
                )
                .into_owned();
            let connection = graceful.watch(connection);
            let cut = cut.clone();
            tokio::spawn(async move {
                let _kept = kept;
                let ended = tokio::select! {
                    ended = connection => ended,
                    () = cut.cancelled() => return,
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
            });
        }
        drop(listener);
        self.server.stop();
        if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some connections were still busy and are cut");
            cut.cancel();
        }
    }

    /// Waits until there is room for one more connection; what is returned keeps it. For whoever accepts
    /// connections of this server elsewhere.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    ///
    /// # Cancel safety
    /// A dropped wait keeps no room.
    pub async fn room(&self) -> OwnedSemaphorePermit {
        let room = Arc::clone(&self.connections).acquire_owned().await;
        room.expect("nobody closes it")
    }

    /// Serves one connection that somebody else accepted, for example on a Unix socket. A principal
    /// whom the kernel vouched for needs no token. What `kept` is lives as long as the connection, also as
    /// one that becomes a socket and outlives this call.
    ///
    /// # Errors
    /// The connection broke, or spoke no HTTP.
    pub async fn serve_connection<S>(
        &self,
        stream: S,
        principal: Option<Principal>,
        kept: impl Send + Sync + 'static,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = builder();
        let entrance = self.entrance(None, principal, Arc::new(kept));
        let stream = TokioIo::new(patient(stream));
        let connection = builder.serve_connection_with_upgrades(stream, entrance);
        connection.await.map_err(io::Error::other)
    }

    /// All of it without a port, for an application that has one.
    pub fn mounted(&self) -> Mounted {
        Mounted(self.front.clone())
    }

    fn entrance(&self, peer: Option<IpAddr>, principal: Option<Principal>, kept: Kept) -> Entrance {
        Entrance {
            front: self.front.clone(),
            peer,
            principal,
            kept: Some(kept),
        }
    }
}

/// A connection that is given up where its peer does not begin, or takes nothing any more.
pub(crate) fn patient<S>(stream: S) -> Opening<Taking<S>> {
    Opening::new(Taking::new(stream, TAKING_PATIENCE), HEAD_PATIENCE)
}

/// For one connection: it has a timer of its own.
pub(crate) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(Patience::default())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(STILL_THERE)
        .keep_alive_timeout(HEAD_PATIENCE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD as u32);
    builder
}

/// The client hung up before it was accepted; nobody else is concerned.
pub(crate) fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
