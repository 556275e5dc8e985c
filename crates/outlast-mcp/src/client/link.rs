//! One connection, whatever it runs over: requests out, their answers back.

use outlast_core::RawJson;
use tokio::task::JoinHandle;

use super::http::Http;
use super::lines::Lines;
use crate::jsonrpc::RpcError;

/// The largest message taken from a server. Results come whole, so it is generous; it is there so
/// that a broken server cannot fill the memory.
pub(super) const MAX_MESSAGE: usize = 256 * 1024 * 1024;

/// A request on its way.
pub(super) struct Outgoing<'a> {
    pub(super) id: i64,
    pub(super) method: &'a str,
    /// The whole message.
    pub(super) body: Vec<u8>,
    /// What the request is about, which the newer era repeats in a header.
    pub(super) name: Option<&'a str>,
    /// Arguments that the newer era repeats in headers.
    pub(super) headers: &'a [(String, String)],
    /// Whether the server is told when nobody waits for the answer any more.
    pub(super) cancel: bool,
}

/// What the server answered.
pub(super) type Answer = Result<RawJson, RpcError>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum LinkError {
    /// The request never left.
    Unreachable(String),
    /// The request left, and the connection ended.
    Lost(String),
    /// The server no longer knows the session, and did nothing.
    SessionGone,
    /// 401.
    Unauthorized(u16),
    /// 403, with what the server says of it.
    Forbidden(String),
    /// Another HTTP status without a message of the protocol.
    Status { status: u16, body: String },
    /// The server is of the newer era and takes no handshake.
    Newer(String),
    /// What came is not the protocol.
    Protocol(String),
    /// No answer in time.
    Timeout,
}

/// A connection.
pub(super) enum Link {
    /// A stream with a message a line.
    Lines(Lines),
    /// Streamable HTTP.
    Http(Http),
}

impl Link {
    /// Sends a request and waits for its answer. A dropped call tells the server, if it is to be
    /// told.
    pub(super) async fn request(&self, outgoing: Outgoing<'_>) -> Result<Answer, LinkError> {
        match self {
            Self::Lines(lines) => lines.request(outgoing).await,
            Self::Http(http) => http.request(outgoing).await,
        }
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, body: Vec<u8>) -> Result<(), LinkError> {
        match self {
            Self::Lines(lines) => lines.send(body).await,
            Self::Http(http) => http.notify(body).await,
        }
    }

    /// Why nothing can be sent any more, if so.
    pub(super) fn closed(&self) -> Option<String> {
        match self {
            Self::Lines(lines) => lines.closed(),
            Self::Http(_) => None,
        }
    }

    /// Ends it in good order.
    pub(super) async fn close(&self) {
        match self {
            Self::Lines(lines) => lines.close().await,
            Self::Http(http) => http.close().await,
        }
    }
}

/// A task in the background that ends with its owner.
pub(super) struct Background(JoinHandle<()>);

impl Background {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
