//! Connections: accepted, served, and ended in an orderly way.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use outlast_mcp::Server;
use outlast_mcp::http::{Guard, HttpService};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower_service::Service as _;

use crate::body::Body;
use crate::dashboard;
use crate::rest::{self, RestOptions};

/// How long a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long connections may take to end once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How long to wait after the system refused to accept a connection: most often it has no file
/// descriptors left, and trying at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Makes a value that lives as long as a connection.
type Companion = Arc<dyn Fn() -> Box<dyn Send> + Send + Sync>;

/// Serves MCP on `/mcp` and a router's routes beside it. Whatever the path, a request must come from
/// an allowed host and origin.
#[derive(Clone)]
pub struct HttpServer {
    server: Server,
    service: Routes,
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
            service: Routes {
                mcp: HttpService::new(server),
                guard: Arc::new(Guard::new(server.config())),
                other: routes.fallback(not_found),
            },
            companion: None,
        }
    }

    /// A server with the REST surface and the dashboard, which show the same tasks.
    pub fn with_rest(server: &Server, options: RestOptions) -> Self {
        let rest = rest::routes(server.handle().clone(), options);
        Self::with_routes(server, rest.merge(dashboard::routes()))
    }

    /// Keeps what `companion` returns for as long as each accepted connection lives, for whoever
    /// counts them.
    #[must_use]
    pub fn with_companion<T: Send + 'static>(
        mut self,
        companion: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        self.companion = Some(Arc::new(move || Box::new(companion())));
        self
    }

    /// Accepts connections until `shutdown` resolves. Then waits that block are answered, streams
    /// end, requests under way are finished, and after five seconds what is left is cut.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; connections that are open go on by themselves.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let builder = builder();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut shutdown => break,
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
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let connection = builder
                .serve_connection(TokioIo::new(stream), self.service.clone())
                .into_owned();
            let connection = graceful.watch(connection);
            let companion = self.companion.as_ref().map(|companion| companion());
            tokio::spawn(async move {
                let _companion = companion;
                if let Err(error) = connection.await {
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
        }
    }

    /// Serves one connection that somebody else accepted, for example on a Unix socket.
    ///
    /// # Errors
    /// The connection broke, or spoke no HTTP.
    pub async fn serve_connection<S>(&self, stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = builder();
        let connection = builder.serve_connection(TokioIo::new(stream), self.service.clone());
        connection.await.map_err(io::Error::other)
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE);
    builder.http2().timer(TokioTimer::new());
    builder
}

/// The client hung up before it was accepted; nobody else is concerned.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

async fn not_found() -> (http::StatusCode, &'static str) {
    (
        http::StatusCode::NOT_FOUND,
        "not found; MCP is served on /mcp\n",
    )
}

/// Which service a request goes to.
#[derive(Clone)]
struct Routes {
    mcp: HttpService,
    guard: Arc<Guard>,
    other: Router,
}

impl hyper::service::Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // MCP goes before the router: it is the path that must be fast.
        if matches!(request.uri().path(), "/mcp" | "/mcp/") {
            let response = self.mcp.clone().call(request);
            return Box::pin(async move { Ok(response.await?.map(Body::Mcp)) });
        }
        let (mut parts, body) = request.into_parts();
        if let Err(problem) = self.guard.check(&parts) {
            let refused = rest::refused(problem).map(Body::Other);
            return Box::pin(std::future::ready(Ok(refused)));
        }
        rest::trim_path(&mut parts.uri);
        let response = self.other.clone().call(Request::from_parts(parts, body));
        Box::pin(async move { Ok(response.await?.map(Body::Other)) })
    }
}
