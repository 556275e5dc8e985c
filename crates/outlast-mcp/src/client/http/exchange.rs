//! Requests and their answers: in the body, or in a stream that is taken up again where it broke.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use outlast_core::Era;
use reqwest::{Response, StatusCode, Url};

use super::super::backoff::Backoff;
use super::super::inbox::{self, Inbox};
use super::super::link::{Answer, LinkError, MAX_MESSAGE};
use super::response::{body, chain, media_type, status_error, transport};
use crate::jsonrpc::Message;
use crate::protocol::Version;
use crate::protocol::names::{HEADER_SESSION, HEADER_VERSION};
use crate::sse::Parser;

const BOTH: &str = "application/json, text/event-stream";
pub(super) const EVENTS: &str = "text/event-stream";

/// How long a broken stream of the older era is tried to be taken up again.
const RESUME_FOR: Duration = Duration::from_secs(60);

/// What the parts of a connection share.
pub(super) struct Shared {
    pub(super) client: reqwest::Client,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) inbox: Arc<Inbox>,
    pub(super) mode: Mutex<Mode>,
}

/// What the headers of a request say, which is settled by the handshake.
#[derive(Clone)]
pub(super) struct Mode {
    pub(super) version: Option<Version>,
    pub(super) session: Option<HeaderValue>,
}

impl Mode {
    pub(super) fn is_modern(&self) -> bool {
        self.version
            .is_some_and(|version| version.era() == Era::Modern)
    }
}

/// How reading a stream ended.
pub(super) enum Read {
    /// With the answer that was waited for.
    Answer(Answer),
    /// Before it.
    End {
        last_id: Option<String>,
        retry: Option<Duration>,
        reason: String,
    },
}

impl Shared {
    pub(super) fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, mode: &Mode) -> reqwest::RequestBuilder {
        self.with_headers(self.client.post(self.url.clone()), mode)
            .header(ACCEPT, BOTH)
            .header(CONTENT_TYPE, "application/json")
    }

    pub(super) fn with_headers(
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

    pub(super) async fn send_only(&self, body: Vec<u8>, mode: &Mode) -> Result<(), LinkError> {
        let response = self.post(mode).body(body).send().await.map_err(transport)?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(self.refusal(response, mode).await)
    }

    pub(super) async fn exchange(
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
    pub(super) async fn read(
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
            StatusCode::UNAUTHORIZED => LinkError::Unauthorized(status.as_u16()),
            StatusCode::FORBIDDEN => {
                let said = body(response, 64 * 1024).await.unwrap_or_default();
                LinkError::Forbidden(why_not(&said))
            }
            StatusCode::NOT_FOUND if mode.session.is_some() => LinkError::SessionGone,
            _ => match body(response, 64 * 1024).await {
                Ok(body) => status_error(status, &body),
                Err(_) => status_error(status, b""),
            },
        }
    }
}

/// What a server says of a request that whoever sent it may not make: a problem document (RFC 9457), an error
/// of OAuth (RFC 6750) or of the protocol, or a text.
fn why_not(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let places = ["/detail", "/error_description", "/error/message", "/title"];
    let said = places
        .iter()
        .find_map(|place| document.pointer(place)?.as_str());
    let text = String::from_utf8_lossy(body);
    let said = said.unwrap_or(&text).trim();
    if said.is_empty() {
        "it does not say why".to_owned()
    } else {
        said.chars().take(1000).collect()
    }
}
