//! A connection over Streamable HTTP, in the form of either era.
//!
//! 2026-07-28: every request stands alone, says in headers what it is, and is cancelled by closing
//! its stream. 2025-11-25: requests belong to a session; a stream that broke before its answer is
//! taken up again where it was left, which repeats nothing; a second stream, opened with GET, brings
//! what the server sends by itself. A request whose answer is lost is never sent again here: whether
//! that is safe is the caller's knowledge.

mod exchange;
mod response;
mod standing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use self::exchange::{Mode, Shared};
use self::standing::standing_stream;
use super::headers;
use super::inbox::Inbox;
use super::lines::cancelled;
use super::link::{Answer, Background, LinkError, Outgoing};
use crate::jsonrpc::code;
use crate::protocol::Version;
use crate::protocol::names::{HEADER_METHOD, HEADER_NAME};

/// How long the setting up of a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection over HTTP.
pub(super) struct Http {
    shared: Arc<Shared>,
    /// The stream for what the server sends by itself.
    standing: Mutex<Option<Background>>,
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
