//! What every request passes before it reaches a route, in this order: may it come from there (`Host`,
//! `Origin`), is it a browser's question what it may ask, is it about the browser's session, does it read
//! the public metadata, who sends it. A request to MCP from no page, on a server without users or from somebody who is known without
//! waiting, goes there directly: it is the path that must be fast, and MCP looks at `Host` itself.

use std::any::Any;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::IntoResponse as _;
use axum::{BoxError, Router};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use outlast_core::Principal;
use outlast_mcp::Server;
use outlast_mcp::http::{Guard, HttpFuture, HttpService, NeedsScope};
use tower_service::Service as _;

use crate::auth::{Gate, Standing};
use crate::body::Body;
use crate::cors;
use crate::rest::{self, session};
use crate::serve::TAKING_PATIENCE;
use crate::unread::Unread;

/// Where the older transport of 2024-11-05 had its streams and took its messages.
const OLDER_TRANSPORT: [&str; 3] = ["/sse", "/messages", "/message"];

/// What anybody may see on a server with users: whether it is alive and can work, for probes have no tokens; and
/// the dashboard's page, which has nothing in it before somebody's token has fetched it.
fn is_public(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    matches!(path, "" | "/health/live" | "/health/ready") || path.starts_with("/dashboard/")
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
    /// Sessions of browsers, where there is a surface for people.
    pub(crate) sessions: Option<Sessions>,
}

/// What sessions of browsers need.
pub(crate) struct Sessions {
    pub(crate) server: Server,
    pub(crate) public_url: Option<String>,
}

/// The front for one connection.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) front: Front,
    pub(crate) peer: Option<IpAddr>,
    /// Who is at the other end, if the kernel said so.
    pub(crate) principal: Option<Principal>,
    /// What is kept as long as the connection, also as one that has become a socket.
    pub(crate) kept: Option<Kept>,
}

/// Something that lasts as long as a connection.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

type Answered = Result<Response<Body>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Entrance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.answer(request)
    }
}

impl Entrance {
    /// Serves a request. Nothing happens before the future is polled.
    pub(crate) fn answer<B>(&self, mut request: Request<B>) -> Answering
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_http2 = request.version() == Version::HTTP_2;
        let routes = &self.front.0;
        let known = self.principal.as_ref();
        if let Some(principal) = known {
            request.extensions_mut().insert(principal.clone());
        }
        if let Some(kept) = &self.kept
            && request.headers().contains_key(UPGRADE)
        {
            request.extensions_mut().insert(Arc::clone(kept));
        }
        let gate = routes.gate.as_ref().filter(|_| known.is_none());
        let open = gate.is_none();
        if routes.is_mcp(request.uri().path()) && !request.headers().contains_key(ORIGIN) {
            let Some(gate) = gate else {
                return Answering {
                    inner: Inner::Mcp(routes.mcp.clone().call(request)),
                    is_http2,
                };
            };
            let (mut parts, body) = request.into_parts();
            if let Some(host) = parts.headers.get(HOST).cloned()
                && let Some(principal) = gate.knows(&parts, self.peer)
            {
                parts.extensions.insert(principal);
                let request = Request::from_parts(parts, body);
                return Answering {
                    inner: Inner::Known {
                        answer: routes.mcp.clone().call(request),
                        routes: Arc::clone(routes),
                        host,
                    },
                    is_http2,
                };
            }
            request = Request::from_parts(parts, body);
        }
        let entrance = self.clone();
        Answering {
            inner: Inner::Other(Box::pin(async move { entrance.serve(request, open).await })),
            is_http2,
        }
    }
}

/// The response to come.
#[must_use = "nothing happens before it is polled"]
pub struct Answering {
    inner: Inner,
    is_http2: bool,
}

/// MCP's own stands in it unboxed.
enum Inner {
    Mcp(HttpFuture),
    /// The same for somebody whom the gate knows, who may yet lack a scope; with the `Host` that was asked.
    Known {
        answer: HttpFuture,
        routes: Arc<Routes>,
        host: HeaderValue,
    },
    Other(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

impl Future for Answering {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let this = self.get_mut();
        let answered = match &mut this.inner {
            Inner::Mcp(answer) => Pin::new(answer)
                .poll(cx)
                .map(|answer| Ok(answer?.map(Body::Mcp))),
            Inner::Known {
                answer,
                routes,
                host,
            } => Pin::new(answer).poll(cx).map(|answer| {
                let mut response = answer?.map(Body::Mcp);
                routes.name_scope(&mut response, Some(host), None);
                Ok(response)
            }),
            Inner::Other(answer) => answer.as_mut().poll(cx),
        };
        match answered {
            Poll::Ready(Ok(response)) if this.is_http2 && is_stream(&response) => {
                let unread = |body| Body::Unread(Box::new(Unread::new(body, TAKING_PATIENCE)));
                Poll::Ready(Ok(response.map(unread)))
            }
            answered => answered,
        }
    }
}

impl Entrance {
    async fn serve<B>(self, request: Request<B>, open: bool) -> Answered
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let routes = Arc::clone(&self.front.0);
        let (mut parts, body) = request.into_parts();
        if let Err(problem) = routes.allows(&parts) {
            return Ok(rest::refused(problem).map(Body::Other));
        }
        let origin = parts.headers.get(ORIGIN).cloned();
        let mut response = if cors::is_preflight(&parts) {
            cors::preflight(&parts)
        } else if let Some(sessions) = routes.sessions_at(parts.uri.path()) {
            self.session(sessions, parts, body).await
        } else {
            let path = parts.uri.path();
            let public = is_public(path) && !routes.is_mcp(path);
            let gate = routes.gate.as_ref().filter(|_| !open && !public);
            let metadata = gate.and_then(|gate| gate.metadata(&parts, &routes.mcp_path));
            match (metadata, gate) {
                (Some(metadata), _) => metadata,
                (None, None) => routes.route(Request::from_parts(parts, body)).await?,
                (None, Some(gate)) => {
                    if let Err(refusal) = routes.unpack_session(&mut parts).await {
                        return Ok(refusal.map(Body::Other));
                    }
                    match gate.admit(&mut parts, self.peer, &routes.mcp_path).await {
                        Err(refusal) => *refusal,
                        Ok(()) => {
                            // What a challenge names, needed only if a scope was missing.
                            let host = parts.headers.get(HOST).cloned();
                            let uri = parts.uri.clone();
                            let standing = parts.extensions.get::<Standing>().cloned();
                            let request = Request::from_parts(parts, body);
                            let mut response = routes.route(request).await?;
                            routes.name_scope(&mut response, host.as_ref(), Some(uri));
                            match standing.filter(|_| is_stream(&response)) {
                                Some(standing) => response.map(|body| body.until(standing.lost())),
                                None => response,
                            }
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

impl Entrance {
    /// Serves `/session`: the one route that those who have not passed the gate may use to pass it.
    async fn session<B>(&self, sessions: &Sessions, mut parts: Parts, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let routes = &self.front.0;
        let public_url = sessions.public_url.as_deref();
        let gate = routes.gate.as_ref().filter(|_| self.principal.is_none());
        let foreign =
            parts.headers.contains_key(ORIGIN) && !session::is_own_page(&parts, public_url);
        let answer = match (parts.method.clone(), gate) {
            (Method::GET, None) => {
                let local = self.principal.clone().unwrap_or_else(Principal::local);
                session::show(routes.gate.is_some(), Some(&local))
            }
            (Method::GET, Some(gate)) => match routes.unpack_session(&mut parts).await {
                Err(refusal) => *refusal,
                Ok(()) => {
                    let admitted = gate.admit(&mut parts, self.peer, &routes.mcp_path).await;
                    let who = parts.extensions.get().filter(|_| admitted.is_ok());
                    session::show(true, who)
                }
            },
            (Method::POST | Method::DELETE, _) if foreign => session::foreign(),
            (Method::POST, None) => session::no_users(),
            (Method::POST, Some(gate)) => {
                let body = axum::body::Body::new(body);
                let body = axum::body::to_bytes(body, session::LONGEST_BODY);
                // Nobody knows who it is yet.
                let body = match tokio::time::timeout(session::PATIENCE, body).await {
                    Ok(Ok(body)) => body,
                    Ok(Err(_)) => return session::too_large().map(Body::Other),
                    Err(_) => return session::too_slow().map(Body::Other),
                };
                let asked = match session::read(&body) {
                    Ok(asked) => asked,
                    Err(problem) => return problem.into_response().map(Body::Other),
                };
                asked.show_to_gate(&mut parts);
                if let Err(refusal) = gate.admit(&mut parts, self.peer, &routes.mcp_path).await {
                    return *refusal;
                }
                let who = parts.extensions.get().cloned();
                let who = who.unwrap_or_else(Principal::local);
                session::sign_in(&sessions.server, &asked, &who, &parts.headers, public_url)
            }
            (Method::DELETE, _) => {
                session::sign_out(&sessions.server, &parts.headers, public_url).await
            }
            (method, _) => session::wrong_method(&method),
        };
        answer.map(Body::Other)
    }
}

impl Routes {
    /// Whether a request may come from where it does. The dashboard is a page of this server: `Host`, which
    /// no page can choose, has named an allowed one by the time it is asked what the page's is.
    fn allows(&self, parts: &Parts) -> Result<(), String> {
        self.guard.check_host(parts)?;
        match &self.sessions {
            Some(sessions) if session::is_own_page(parts, sessions.public_url.as_deref()) => Ok(()),
            _ => self.guard.check_origin(parts),
        }
    }

    /// Challenges whoever would have needed another scope. `host` and `uri` are those of the request.
    fn name_scope(
        &self,
        response: &mut Response<Body>,
        host: Option<&HeaderValue>,
        uri: Option<Uri>,
    ) {
        let Some(NeedsScope(scope)) = response.extensions_mut().remove() else {
            return;
        };
        let Some(gate) = &self.gate else { return };
        let mut head = Request::new(());
        *head.uri_mut() = uri.unwrap_or_default();
        if let Some(host) = host {
            head.headers_mut().insert(HOST, host.clone());
        }
        let (head, ()) = head.into_parts();
        let error = ("insufficient_scope", "the token does not give it");
        gate.challenge(response, &head, &self.mcp_path, Some(error), scope);
    }

    /// The sessions, if they are what is at this path.
    fn sessions_at(&self, path: &str) -> Option<&Sessions> {
        let here = path.strip_suffix('/').unwrap_or(path) == session::PATH && !self.is_mcp(path);
        self.sessions.as_ref().filter(|_| here)
    }

    /// See [`session::unpack`]. MCP takes no cookie.
    async fn unpack_session(&self, parts: &mut Parts) -> Result<(), Box<axum::response::Response>> {
        match &self.sessions {
            Some(sessions) if !self.is_mcp(parts.uri.path()) => {
                let public_url = sessions.public_url.as_deref();
                session::unpack(&sessions.server, parts, public_url).await
            }
            _ => Ok(()),
        }
    }

    fn is_mcp(&self, path: &str) -> bool {
        path.strip_prefix(&*self.mcp_path)
            .is_some_and(|rest| rest.is_empty() || rest == "/")
    }

    async fn route<B>(&self, mut request: Request<B>) -> Answered
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
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

/// Whether it goes on until somebody ends it.
fn is_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
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
