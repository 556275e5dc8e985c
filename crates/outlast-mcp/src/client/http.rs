//! A connection over Streamable HTTP, in the form of either era.
//!
//! 2026-07-28: every request stands alone, says in headers what it is, and is cancelled by closing
//! its stream. 2025-11-25: requests belong to a session; a stream that broke before its answer is
//! taken up again where it was left, which repeats nothing; a second stream, opened with GET, brings
//! what the server sends by itself. A request whose answer is lost is never sent again here: whether
//! that is safe is the caller's knowledge.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use outlast_core::Era;
use reqwest::{Response, StatusCode, Url};

use super::backoff::Backoff;
use super::headers;
use super::inbox::{self, Inbox};
use super::lines::cancelled;
use super::link::{Answer, Background, LinkError, MAX_MESSAGE, Outgoing};
use crate::jsonrpc::{Message, code};
use crate::protocol::Version;
use crate::protocol::names::{HEADER_METHOD, HEADER_NAME, HEADER_SESSION, HEADER_VERSION};
use crate::sse::Parser;

const BOTH: &str = "application/json, text/event-stream";
const EVENTS: &str = "text/event-stream";

/// How long the setting up of a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a broken stream of the older era is tried to be taken up again.
const RESUME_FOR: Duration = Duration::from_secs(60);
/// How much of a body that is not the protocol is shown.
const SNIPPET: usize = 300;

/// A connection over HTTP.
pub(super) struct Http {
    shared: Arc<Shared>,
    /// The stream for what the server sends by itself.
    standing: Mutex<Option<Background>>,
}

struct Shared {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    inbox: Arc<Inbox>,
    mode: Mutex<Mode>,
}

/// What the headers of a request say, which is settled by the handshake.
#[derive(Clone)]
struct Mode {
    version: Option<Version>,
    session: Option<HeaderValue>,
}

impl Mode {
    fn is_modern(&self) -> bool {
        self.version
            .is_some_and(|version| version.era() == Era::Modern)
    }
}

/// How reading a stream ended.
enum Read {
    /// With the answer that was waited for.
    Answer(Answer),
    /// Before it.
    End {
        last_id: Option<String>,
        retry: Option<Duration>,
        reason: String,
    },
}

impl Http {
    /// A connection to `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// The address is none; the text says why.
    pub(super) fn new(url: &str, headers: HeaderMap, inbox: Arc<Inbox>) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("{url:?} is no address: {error}"))?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30));
        if is_loopback(&url) {
            // A proxy for the world outside cannot know what is on this machine.
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| format!("HTTP cannot be set up: {error}"))?;
        let mode = Mutex::new(Mode {
            version: None,
            session: None,
        });
        let shared = Arc::new(Shared {
            client,
            url,
            headers,
            inbox,
            mode,
        });
        Ok(Self {
            shared,
            standing: Mutex::new(None),
        })
    }

    /// Speaks this version from now on. `None` for the handshake, which has none yet.
    pub(super) fn set_version(&self, version: Option<Version>) {
        let mut mode = self.shared.mode();
        mode.version = version;
        if version.is_none() {
            mode.session = None;
        }
    }

    /// Opens the stream for what the server sends by itself (2025-11-25 "Listening for Messages").
    /// A server without one says so, and that is all.
    pub(super) fn listen(&self) {
        let stream = Background::spawn(standing_stream(Arc::clone(&self.shared)));
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    pub(super) async fn request(&self, outgoing: Outgoing<'_>) -> Result<Answer, LinkError> {
        let shared = &self.shared;
        let mode = shared.mode().clone();
        let id = outgoing.id.to_string();
        let mut post = shared.post(&mode);
        if mode.is_modern() {
            post = post.header(HEADER_METHOD, outgoing.method);
            if let Some(name) = outgoing.name {
                post = post.header(HEADER_NAME, headers::value(name));
            }
            for (name, value) in outgoing.headers {
                post = post.header(name, value);
            }
        }
        let mut waiting = Waiting {
            shared,
            mode: mode.clone(),
            id: &id,
            // The newer era is told by the end of the stream.
            cancel: outgoing.cancel && !mode.is_modern(),
        };
        let answer = shared.exchange(post.body(outgoing.body), &mode, &id).await;
        waiting.cancel = false;
        answer
    }

    pub(super) async fn notify(&self, body: Vec<u8>) -> Result<(), LinkError> {
        let mode = self.shared.mode().clone();
        self.shared.send_only(body, &mode).await
    }

    /// Ends the session, if there is one.
    pub(super) async fn close(&self) {
        drop(
            self.standing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let mode = self.shared.mode().clone();
        if mode.session.is_some() {
            let delete = self
                .shared
                .with_headers(self.shared.client.delete(self.shared.url.clone()), &mode);
            // A courtesy: the server may not offer it, and sessions end by themselves.
            let _ = delete.timeout(Duration::from_secs(2)).send().await;
        }
    }
}

/// A request that waits. Dropped before its answer in the older era it tells the server, for which
/// a closed connection means nothing.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    mode: Mode,
    id: &'a str,
    cancel: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.cancel {
            return;
        }
        // A value may be dropped where no runtime is left to send anything.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (shared, mode, body) = (
            Arc::clone(self.shared),
            self.mode.clone(),
            cancelled(self.id),
        );
        runtime.spawn(async move {
            let sent = tokio::time::timeout(CONNECT_TIMEOUT, shared.send_only(body, &mode)).await;
            tracing::trace!(sent = sent.is_ok(), "told the server that nobody waits");
        });
    }
}

impl Shared {
    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, mode: &Mode) -> reqwest::RequestBuilder {
        self.with_headers(self.client.post(self.url.clone()), mode)
            .header(ACCEPT, BOTH)
            .header(CONTENT_TYPE, "application/json")
    }

    fn with_headers(
        &self,
        request: reqwest::RequestBuilder,
        mode: &Mode,
    ) -> reqwest::RequestBuilder {
        let mut request = request.headers(self.headers.clone());
        if let Some(version) = mode.version {
            request = request.header(HEADER_VERSION, version.as_str());
        }
        if let Some(session) = &mode.session {
            request = request.header(HEADER_SESSION, session.clone());
        }
        request
    }

    async fn send_only(&self, body: Vec<u8>, mode: &Mode) -> Result<(), LinkError> {
        let response = self.post(mode).body(body).send().await.map_err(transport)?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refusal(response, mode).await)
    }

    async fn exchange(
        self: &Arc<Self>,
        post: reqwest::RequestBuilder,
        mode: &Mode,
        id: &str,
    ) -> Result<Answer, LinkError> {
        let response = post.send().await.map_err(transport)?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || (status == StatusCode::NOT_FOUND && mode.session.is_some())
        {
            return Err(self.refusal(response, mode).await);
        }
        if mode.version.is_none()
            && let Some(session) = response.headers().get(HEADER_SESSION)
        {
            self.mode().session = Some(session.clone());
        }
        match media_type(&response) {
            "text/event-stream" if status.is_success() => {
                self.stream_with_answer(response, mode, id).await
            }
            "application/json" => {
                let body = body(response, MAX_MESSAGE).await?;
                match Message::parse(&body) {
                    Ok(Message::Response(answer))
                        if answer.id.is_none_or(|other| other.get() == id) =>
                    {
                        Ok(answer.owned())
                    }
                    _ if !status.is_success() => Err(status_error(status, &body)),
                    Ok(_) => Err(LinkError::Protocol(
                        "the body is not the answer to the request".into(),
                    )),
                    Err(malformed) => {
                        Err(LinkError::Protocol(malformed.error.message.into_owned()))
                    }
                }
            }
            _ if !status.is_success() => Err(self.refusal(response, mode).await),
            "" => Err(LinkError::Protocol(format!("HTTP {status} without a body"))),
            other => Err(LinkError::Protocol(format!(
                "the body is of type {other:?}"
            ))),
        }
    }

    /// Reads the stream that a request was answered with, and takes it up again if it breaks and the
    /// server gave its events numbers.
    async fn stream_with_answer(
        self: &Arc<Self>,
        response: Response,
        mode: &Mode,
        id: &str,
    ) -> Result<Answer, LinkError> {
        let mut last_id = None;
        let mut backoff = Backoff::new(RESUME_FOR);
        let mut response = Some(response);
        loop {
            let reason = match response.take() {
                Some(open) => match self.read(open, mode, Some(id), last_id.clone()).await? {
                    Read::Answer(answer) => return Ok(answer),
                    Read::End {
                        last_id: seen,
                        retry,
                        reason,
                    } => {
                        if seen != last_id {
                            // It went on for a while: the patience starts anew.
                            backoff = Backoff::new(RESUME_FOR);
                        }
                        last_id = seen;
                        backoff.at_least(retry);
                        reason
                    }
                },
                None => String::from("the stream cannot be taken up again"),
            };
            let Some(seen) = last_id
                .as_deref()
                .filter(|id| !id.is_empty() && !mode.is_modern())
            else {
                return Err(LinkError::Lost(reason));
            };
            if !backoff.pause().await {
                return Err(LinkError::Lost(reason));
            }
            let get = self
                .with_headers(self.client.get(self.url.clone()), mode)
                .header(ACCEPT, EVENTS)
                .header("last-event-id", seen);
            match get.send().await {
                Ok(again) if again.status().is_success() && media_type(&again) == EVENTS => {
                    response = Some(again);
                }
                Ok(again) if again.status().is_server_error() => {}
                // The stream is not kept, or the session is gone: the answer will not come.
                Ok(_) => return Err(LinkError::Lost(reason)),
                Err(error) => tracing::debug!(%error, "a stream cannot be taken up again yet"),
            }
        }
    }

    /// Reads a stream up to the answer to `wanted`, or to its end.
    async fn read(
        self: &Arc<Self>,
        mut response: Response,
        mode: &Mode,
        wanted: Option<&str>,
        last_id: Option<String>,
    ) -> Result<Read, LinkError> {
        let mut parser = Parser::new(MAX_MESSAGE);
        let mut events = Vec::new();
        let reason = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => parser
                    .push(&chunk, &mut events)
                    .map_err(|error| LinkError::Protocol(error.to_string()))?,
                Ok(None) => break "the server ended the stream before the answer".to_owned(),
                Err(error) => break chain(&error),
            }
            for event in events.drain(..) {
                let other = event.kind.as_deref().is_some_and(|kind| kind != "message");
                if other || event.data.is_empty() {
                    continue;
                }
                if let Some(answer) = self.take(event.data.as_bytes(), mode, wanted) {
                    return Ok(Read::Answer(answer));
                }
            }
        };
        let last_id = parser.last_id().map(str::to_owned).or(last_id);
        Ok(Read::End {
            last_id,
            retry: parser.retry(),
            reason,
        })
    }

    /// Takes a message of a stream. Gives back the answer that was waited for.
    fn take(self: &Arc<Self>, bytes: &[u8], mode: &Mode, wanted: Option<&str>) -> Option<Answer> {
        match Message::parse(bytes) {
            Ok(Message::Response(response)) => {
                let ours = match (response.id, wanted) {
                    (Some(id), Some(wanted)) => id.get() == wanted,
                    // An error to which the server could not name the request.
                    (None, Some(_)) => true,
                    (_, None) => false,
                };
                ours.then(|| response.owned())
            }
            Ok(Message::Notification(notification)) => {
                self.inbox.notify(&notification);
                None
            }
            Ok(Message::Request(request)) => {
                let (id, request) = inbox::owned(&request);
                let (shared, mode) = (Arc::clone(self), mode.clone());
                tokio::spawn(async move {
                    let response = Arc::clone(&shared.inbox).respond(id, request).await;
                    if let Err(error) = shared.send_only(response, &mode).await {
                        tracing::debug!(?error, "an answer could not be delivered");
                    }
                });
                None
            }
            Err(malformed) => {
                tracing::debug!(error = %malformed.error, "an event of the server is no message");
                None
            }
        }
    }

    /// What a response that carries no message means.
    async fn refusal(&self, response: Response, mode: &Mode) -> LinkError {
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                LinkError::Unauthorized(status.as_u16())
            }
            StatusCode::NOT_FOUND if mode.session.is_some() => LinkError::SessionGone,
            _ => match body(response, 64 * 1024).await {
                Ok(body) => status_error(status, &body),
                Err(_) => status_error(status, b""),
            },
        }
    }
}

/// Keeps the stream open for what the server sends by itself, for as long as the session lasts.
async fn standing_stream(shared: Arc<Shared>) {
    let mut last_id: Option<String> = None;
    let mut backoff = Backoff::endless();
    loop {
        let mode = shared.mode().clone();
        let mut get = shared
            .with_headers(shared.client.get(shared.url.clone()), &mode)
            .header(ACCEPT, EVENTS);
        if let Some(id) = last_id.as_deref().filter(|id| !id.is_empty()) {
            get = get.header("last-event-id", id);
        }
        match get.send().await {
            Ok(response) if response.status().is_success() && media_type(&response) == EVENTS => {
                backoff = Backoff::endless();
                match shared.read(response, &mode, None, last_id.clone()).await {
                    Ok(Read::End {
                        last_id: seen,
                        retry,
                        ..
                    }) => {
                        last_id = seen;
                        backoff.at_least(retry);
                    }
                    Ok(Read::Answer(_)) => {}
                    Err(error) => tracing::debug!(?error, "the stream of the server is broken"),
                }
            }
            // A server in trouble, or in the middle of a restart.
            Ok(response) if response.status().is_server_error() => {}
            // Not offered, or the session is gone; a new session opens its own.
            Ok(_) => return,
            Err(error) => tracing::trace!(%error, "the stream of the server cannot be opened yet"),
        }
        backoff.pause().await;
    }
}

/// The parsed headers of the caller's own.
///
/// # Errors
/// A name or a value is not valid; the text says which.
pub(super) fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("{name:?} is no name of an HTTP header"))?;
        let mut text = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the value of the HTTP header {name:?} is not valid"))?;
        text.set_sensitive(true);
        map.append(key, text);
    }
    Ok(map)
}

fn media_type(response: &Response) -> &str {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
}

async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, LinkError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(LinkError::Lost(chain(&error))),
        }
        if body.len() > limit {
            return Err(LinkError::Protocol(format!(
                "the answer has more than {limit} bytes"
            )));
        }
    }
}

fn status_error(status: StatusCode, body: &[u8]) -> LinkError {
    let text = String::from_utf8_lossy(body);
    let body = text.trim().chars().take(SNIPPET).collect();
    LinkError::Status {
        status: status.as_u16(),
        body,
    }
}

fn transport(error: reqwest::Error) -> LinkError {
    let reason = chain(&error);
    if error.is_connect() || error.is_builder() {
        LinkError::Unreachable(reason)
    } else {
        LinkError::Lost(reason)
    }
}

/// The innermost reason, which is the one that says something.
fn chain(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// Whether an answer to a request of the newer era comes from a server that knows it (2026-07-28
/// "Backward Compatibility"); any other error means an older server.
pub(super) fn is_modern_error(error: &crate::jsonrpc::RpcError) -> bool {
    matches!(
        error.code,
        code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION
    )
}
