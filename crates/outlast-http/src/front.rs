//! What every request passes before it reaches a route, in this order: may it come from there (`Host`,
//! `Origin`), is it a browser's question what it may ask, does it read the public metadata, who sends
//! it. A request to MCP on a server without users, from no page, goes there directly: it is the path
//! that must be fast, and MCP looks at `Host` itself.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use outlast_core::Principal;
use outlast_mcp::http::{Guard, HttpFuture, HttpService, NeedsScope};
use tower_service::Service as _;

use crate::auth::Gate;
use crate::body::Body;
use crate::cors;
use crate::rest;

/// Where the older transport of 2024-11-05 had its streams and took its messages.
const OLDER_TRANSPORT: [&str; 3] = ["/sse", "/messages", "/message"];

/// What anybody may see on a server with users: whether it is alive, and the dashboard's page, which has
/// nothing in it before somebody's token has fetched it.
fn is_public(path: &str) -> bool {
    matches!(path, "/" | "/health/live") || path.starts_with("/dashboard/")
}

/// Everything behind one port.
#[derive(Clone)]
pub(crate) struct Front(pub(crate) Arc<Routes>);

pub(crate) struct Routes {
    pub(crate) mcp: HttpService,
    pub(crate) mcp_path: String,
    pub(crate) other: Router,
    pub(crate) guard: Guard,
    pub(crate) gate: Option<Gate>,
}

/// The front for one connection.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) front: Front,
    pub(crate) peer: Option<IpAddr>,
    /// Who is at the other end, if the kernel said so.
    pub(crate) principal: Option<Principal>,
}

type Answered = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let routes = &self.front.0;
        let known = self.principal.as_ref();
        if let Some(principal) = known {
            request.extensions_mut().insert(principal.clone());
        }
        let open = known.is_some() || routes.gate.is_none();
        if open && routes.is_mcp(request.uri().path()) && !request.headers().contains_key(ORIGIN) {
            return Answering::Mcp(routes.mcp.clone().call(request));
        }
        let entrance = self.clone();
        Answering::Other(Box::pin(async move { entrance.serve(request, open).await }))
    }
}

/// The response to come; MCP's own stands in it unboxed.
pub(crate) enum Answering {
    Mcp(HttpFuture),
    Other(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

impl Future for Answering {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        match self.get_mut() {
            Self::Mcp(answer) => Pin::new(answer)
                .poll(cx)
                .map(|answer| Ok(answer?.map(Body::Mcp))),
            Self::Other(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl Entrance {
    async fn serve(self, request: Request<Incoming>, open: bool) -> Answered {
        let routes = Arc::clone(&self.front.0);
        let (mut parts, body) = request.into_parts();
        if let Err(problem) = routes.guard.check(&parts) {
            return Ok(rest::refused(problem).map(Body::Other));
        }
        let origin = parts.headers.get(ORIGIN).cloned();
        let mut response = if cors::is_preflight(&parts) {
            cors::preflight(&parts)
        } else {
            let public = is_public(parts.uri.path());
            let gate = routes.gate.as_ref().filter(|_| !open && !public);
            let metadata = gate.and_then(|gate| gate.metadata(&parts, &routes.mcp_path));
            match (metadata, gate) {
                (Some(metadata), _) => metadata,
                (None, None) => routes.route(Request::from_parts(parts, body)).await?,
                (None, Some(gate)) => {
                    match gate.admit(&mut parts, self.peer, &routes.mcp_path).await {
                        Err(refusal) => *refusal,
                        Ok(()) => {
                            // The head is needed again only if a scope was missing.
                            let mut head = Request::new(());
                            *head.uri_mut() = parts.uri.clone();
                            if let Some(host) = parts.headers.get(HOST) {
                                head.headers_mut().insert(HOST, host.clone());
                            }
                            let request = Request::from_parts(parts, body);
                            let mut response = routes.route(request).await?;
                            if let Some(NeedsScope(scope)) = response.extensions_mut().remove() {
                                let (head, ()) = head.into_parts();
                                let error = ("insufficient_scope", "the token does not give it");
                                let path = &routes.mcp_path;
                                gate.challenge(&mut response, &head, path, Some(error), scope);
                            }
                            response
                        }
                    }
                }
            }
        };
        if let Some(origin) = origin {
            cors::share(response.headers_mut(), origin);
        }
        Ok(response)
    }
}

impl Routes {
    fn is_mcp(&self, path: &str) -> bool {
        path.strip_prefix(&*self.mcp_path)
            .is_some_and(|rest| rest.is_empty() || rest == "/")
    }

    async fn route(&self, mut request: Request<Incoming>) -> Answered {
        let path = request.uri().path();
        if self.is_mcp(path) {
            return Ok(self.mcp.clone().call(request).await?.map(Body::Mcp));
        }
        let older = OLDER_TRANSPORT.contains(&path.trim_end_matches('/'));
        rest::trim_path(request.uri_mut());
        let response = self.other.clone().call(request).await?;
        if older && response.status() == StatusCode::NOT_FOUND {
            return Ok(plain(StatusCode::GONE, self.no_older_transport()));
        }
        Ok(response.map(Body::Other))
    }

    fn no_older_transport(&self) -> String {
        format!(
            "the HTTP+SSE transport of 2024-11-05 is not served; use Streamable HTTP on {}",
            self.mcp_path
        )
    }
}

fn plain(status: StatusCode, sentence: impl Into<String>) -> Response<Body> {
    let mut sentence = sentence.into();
    sentence.push('\n');
    let mut response = Response::new(Body::Other(sentence.into()));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
