//! HTTP without a network: REST, event streams and WebSockets of a [`TestServer`], over pipes in this process.
//!
//! Pipes with the real server at their end, and no shortcut to its routes: a socket needs a connection that is
//! upgraded, and whatever stands before the routes (who may come from where, users, limits) is tried as well.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use outlast_core::Principal;
use outlast_mcp::sse::Parser;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{BufReader, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::TestServer;

/// What a pipe holds.
const PIPE: usize = 256 * 1024;

/// The longest event that is read.
const LONGEST_EVENT: usize = 16 * 1024 * 1024;

/// What requests call the server.
const HOST: &str = "localhost";

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body: as JSON if it is some, else as a text.
    pub body: Value,
}

/// One event of a stream.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerEvent {
    /// Its id: what [`TestServer::events_after`] goes on from.
    pub id: Option<String>,
    /// Its name. The last event of a task's stream is named `end`.
    pub name: Option<String>,
    /// Its data: as JSON if it is some, else as a text.
    pub data: Value,
}

/// A stream of server-sent events.
pub struct EventStream {
    body: Incoming,
    /// Kept, for the connection ends with it.
    _connection: SendRequest<Full<Bytes>>,
    parser: Parser,
    read: VecDeque<ServerEvent>,
}

/// A WebSocket.
pub struct Socket(WebSocketStream<DuplexStream>);

impl TestServer {
    /// A connection that speaks MCP with one message a line, like standard input and output, as the
    /// operator's.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let mcp = self.doors.mcp.clone();
        let (near, far) = tokio::io::duplex(PIPE);
        tokio::spawn(async move {
            let (input, output) = tokio::io::split(far);
            let _ = mcp
                .serve_lines(Principal::operator(), BufReader::new(input), output)
                .await;
        });
        near
    }

    /// A connection that speaks HTTP, as one over the network does: MCP, REST, sockets, the dashboard.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect_http(&self) -> DuplexStream {
        let http = self.doors.http.clone();
        let (near, far) = tokio::io::duplex(PIPE);
        tokio::spawn(async move {
            // It ends when the other end is dropped.
            let _ = http.serve_connection(far, None, ()).await;
        });
        near
    }

    /// Sends a request; without a body if that is `null`.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn request<B>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: &B,
    ) -> HttpAnswer
    where
        B: Serialize + ?Sized,
    {
        let (response, _connection) = self.send(method, path, headers, body).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the whole answer").to_bytes();
        HttpAnswer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: value(&body),
        }
    }

    /// `GET` of a path.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.request(Method::GET, path, HeaderMap::new(), &Value::Null)
            .await
    }

    /// `POST` of JSON to a path.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn post<B>(&self, path: &str, body: &B) -> HttpAnswer
    where
        B: Serialize + ?Sized,
    {
        self.request(Method::POST, path, HeaderMap::new(), body)
            .await
    }

    /// The events that a path streams: `/tasks/{id}/events`, `/events`.
    ///
    /// # Panics
    /// If it streams none; the message has the answer's status.
    pub async fn events(&self, path: &str) -> EventStream {
        self.events_after(path, None).await
    }

    /// As [`TestServer::events`], from the one behind the id `after`: the header `Last-Event-ID`.
    ///
    /// # Panics
    /// As [`TestServer::events`].
    pub async fn events_after(&self, path: &str, after: Option<&str>) -> EventStream {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            "text/event-stream".parse().expect("it is plain"),
        );
        if let Some(after) = after {
            let id = after.parse().expect("an id is plain");
            headers.insert("last-event-id", id);
        }
        let (response, connection) = self.send(Method::GET, path, headers, &Value::Null).await;
        assert_eq!(response.status(), 200, "{path} streams no events");
        EventStream {
            body: response.into_body(),
            _connection: connection,
            parser: Parser::new(LONGEST_EVENT),
            read: VecDeque::new(),
        }
    }

    /// A WebSocket at a path: `/ws/{id}?after=…`, `/ws`.
    ///
    /// # Panics
    /// If the server opens none.
    pub async fn socket(&self, path: &str) -> Socket {
        let stream = self.connect_http();
        let opened = tokio_tungstenite::client_async(format!("ws://{HOST}{path}"), stream).await;
        let (socket, _) = opened.unwrap_or_else(|error| panic!("no socket at {path}: {error}"));
        Socket(socket)
    }

    async fn send<B>(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: &B,
    ) -> (http::Response<Incoming>, SendRequest<Full<Bytes>>)
    where
        B: Serialize + ?Sized,
    {
        let stream = self.connect_http();
        let opened = handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.expect("a pipe takes a connection");
        tokio::spawn(connection);
        let body = serde_json::to_value(body).expect("the body has a JSON form");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST);
        let body = match body {
            Value::Null => Bytes::new(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                body.to_string().into()
            }
        };
        let mut request = request.body(Full::new(body)).expect("a method and a path");
        request.headers_mut().extend(headers);
        let response = sender.send_request(request).await;
        (response.expect("the server answers"), sender)
    }
}

fn value(bytes: &[u8]) -> Value {
    let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
    serde_json::from_slice(bytes).unwrap_or_else(|_| text())
}

impl EventStream {
    /// The next event; `None` at the end of the stream. Comments are passed over.
    ///
    /// # Panics
    /// If the stream breaks.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(event);
            }
            let frame = self.body.frame().await?;
            let frame = frame.expect("the stream does not break");
            let mut events = Vec::new();
            let parsed = self.parser.push(frame.data_ref()?, &mut events);
            parsed.expect("an event that can be kept");
            self.read
                .extend(events.into_iter().map(|event| ServerEvent {
                    id: event.id,
                    name: event.kind,
                    data: value(event.data.as_bytes()),
                }));
        }
    }
}

impl Socket {
    /// The next message; `None` once the socket is closed.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(value(text.as_bytes())),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// Sends a message.
    ///
    /// # Panics
    /// If the socket is closed.
    pub async fn send<M: Serialize + ?Sized>(&mut self, message: &M) {
        let text = serde_json::to_string(message).expect("the message has a JSON form");
        let sent = self.0.send(Message::Text(text.into())).await;
        sent.expect("the socket is open");
    }
}
