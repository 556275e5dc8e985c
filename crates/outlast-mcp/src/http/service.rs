//! The service: one request in, one response out, whichever of the two forms it takes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use outlast_core::{Principal, Scope};

use super::body::Body;
use super::guard::Guard;
use super::{get, post};
use crate::bounds::{AGAIN, Full};
use crate::exchange::{Exchange, Opened};
use crate::jsonrpc::{RpcError, error_response};
use crate::scope;
use crate::server::{Inner, Server};

/// Serves a request to its end.
pub(crate) type Handler = Pin<Box<dyn Future<Output = Done> + Send>>;

/// A request served.
pub(crate) struct Done {
    pub(super) status: StatusCode,
    /// The id of a session that has just been opened.
    pub(super) session: Option<String>,
    /// One message, or nothing.
    pub(super) message: Vec<u8>,
    /// Instead of a message: a stream of a session.
    pub(super) stream: Option<Body>,
    /// What the caller would have needed.
    pub(super) needs: Option<Scope>,
    /// When to come again, in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Done {
    pub(super) fn message(status: StatusCode, message: Vec<u8>) -> Self {
        Self {
            status,
            session: None,
            message,
            stream: None,
            needs: None,
            retry_after: None,
        }
    }

    /// There is no room for this; `things` are what there are too many of.
    pub(super) fn full(id: Option<&str>, full: Full, things: &str) -> Self {
        Self {
            retry_after: Some(AGAIN),
            ..Self::error(full.status(), id, &full.into_error(things))
        }
    }

    /// Another server of the store has what is asked for; whoever comes again may come to that one.
    pub(super) fn elsewhere() -> Self {
        let error = RpcError::internal("another server has this stream; try again");
        Self {
            retry_after: Some(1),
            ..Self::error(StatusCode::SERVICE_UNAVAILABLE, None, &error)
        }
    }

    /// The caller may not do this.
    pub(super) fn forbidden(id: Option<&str>, needs: Scope) -> Self {
        Self {
            needs: Some(needs),
            ..Self::error(StatusCode::FORBIDDEN, id, &scope::missing(needs))
        }
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self::message(status, Vec::new())
    }

    pub(super) fn error(status: StatusCode, id: Option<&str>, error: &RpcError) -> Self {
        Self::message(status, error_response(id, error))
    }

    pub(crate) fn into_message(self) -> Bytes {
        self.message.into()
    }
}

/// What the principal of a refused request would have needed; an extension of its response (status
/// 403), for whoever writes the challenge (RFC 6750, section 3.1: `insufficient_scope`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeedsScope(pub Scope);

/// MCP over Streamable HTTP, as a tower service. Mount it on one path; it looks at methods and
/// headers, not at the path.
///
/// Who calls is said by an extension of the request, a [`Principal`], which whatever authenticates
/// puts there before. Without one the caller is [`Principal::local`]: a server without users.
///
/// Cheap to clone. A response's future or body that is dropped tells the server that the client is
/// gone.
#[derive(Clone)]
pub struct HttpService(Arc<Shared>);

struct Shared {
    server: Arc<Inner>,
    guard: Guard,
}

impl HttpService {
    /// The service of a server.
    pub fn new(server: &Server) -> Self {
        let guard = Guard::new(server.config());
        Self(Arc::new(Shared {
            server: Arc::clone(&server.0),
            guard,
        }))
    }
}

impl<B> tower_service::Service<Request<B>> for HttpService
where
    B: http_body::Body + Send + 'static,
    B::Data: Buf + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = HttpFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> HttpFuture {
        let (mut parts, body) = request.into_parts();
        if let Some(name) = super::headers::repeated(&parts.headers) {
            let problem = format!("the header {name} stands there more than once");
            let error = RpcError::invalid_request(problem);
            return HttpFuture::ready(Done::error(StatusCode::BAD_REQUEST, None, &error));
        }
        if let Err(problem) = self.0.guard.check(&parts) {
            let error = RpcError::invalid_request(problem);
            return HttpFuture::ready(Done::error(StatusCode::FORBIDDEN, None, &error));
        }
        let server = Arc::clone(&self.0.server);
        let principal = parts.extensions.remove();
        let principal = principal.unwrap_or_else(Principal::local);
        let exchange = Arc::<Exchange>::default();
        let handler: Handler = match parts.method {
            Method::POST => Box::pin(post::handle(
                server,
                principal,
                parts,
                body,
                Arc::clone(&exchange),
            )),
            Method::GET => Box::pin(get::open(server, principal, parts)),
            Method::DELETE => Box::pin(get::end(server, principal, parts)),
            _ => return HttpFuture::ready(Done::empty(StatusCode::METHOD_NOT_ALLOWED)),
        };
        HttpFuture {
            state: State::Working { handler, exchange },
        }
    }
}

/// The response to come.
#[must_use = "nothing happens before it is polled"]
pub struct HttpFuture {
    state: State,
}

enum State {
    Ready(Option<Done>),
    Working {
        handler: Handler,
        exchange: Arc<Exchange>,
    },
}

impl HttpFuture {
    fn ready(done: Done) -> Self {
        Self {
            state: State::Ready(Some(done)),
        }
    }
}

impl Future for HttpFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (handler, exchange) = match &mut self.state {
            State::Ready(done) => {
                let done = done.take().expect("not polled after its end");
                return Poll::Ready(Ok(response(done)));
            }
            State::Working { handler, exchange } => (handler, exchange),
        };
        if let Poll::Ready(done) = handler.as_mut().poll(cx) {
            let opened = exchange.take_opened();
            self.state = State::Ready(None);
            return Poll::Ready(Ok(match opened {
                None => response(done),
                Some(opened) => streaming(opened, Box::pin(std::future::ready(done))),
            }));
        }
        let opened = std::task::ready!(exchange.poll_opened(cx));
        let State::Working { handler, .. } = std::mem::replace(&mut self.state, State::Ready(None))
        else {
            unreachable!("seen above");
        };
        Poll::Ready(Ok(streaming(opened, handler)))
    }
}

impl Drop for HttpFuture {
    fn drop(&mut self) {
        if let State::Working { exchange, .. } = &self.state {
            exchange.abandon();
        }
    }
}

fn response(done: Done) -> Response<Body> {
    if let Some(body) = done.stream {
        return event_stream(body);
    }
    let mut response = Response::new(Body::full(done.message));
    *response.status_mut() = done.status;
    let has_body = !http_body::Body::is_end_stream(response.body());
    if let Some(needs) = done.needs {
        response.extensions_mut().insert(NeedsScope(needs));
    }
    let headers = response.headers_mut();
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(session) = done.session {
        let session = HeaderValue::from_str(&session).expect("a sealed text is visible ASCII");
        headers.insert(super::headers::SESSION.clone(), session);
    }
    if let Some(seconds) = done.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if done.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    }
    response
}

/// A response that became a stream before its message was there.
fn streaming(opened: Opened, handler: Handler) -> Response<Body> {
    match opened {
        // A request of a session goes on without its reader, who may come back for the rest.
        Opened::Session(events) => {
            let stream = Arc::clone(&events.stream);
            tokio::spawn(async move {
                let message = handler.await.into_message();
                if message.is_empty() {
                    stream.close()
                } else {
                    stream.finish(message)
                }
            });
            event_stream(Body::session(events))
        }
        // A stateless request is served by being read and ends by not being read.
        Opened::Plain(messages) => event_stream(Body::request(messages, handler)),
    }
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
