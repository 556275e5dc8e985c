//! A server that says what a test makes it say: HTTP/1.1 by hand, so that it can break off anywhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) verb: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Seen {
    /// The method of the message, or the verb of a request without one.
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or(&self.verb)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A response with this result.
    pub(crate) fn result(&self, result: Value) -> Say {
        Say::Json(
            200,
            json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result}),
        )
    }

    /// An error response.
    pub(crate) fn error(&self, status: u16, code: i64, data: Value) -> Say {
        let error = json!({"code": code, "message": "refused", "data": data});
        Say::Json(
            status,
            json!({"jsonrpc": "2.0", "id": self.body["id"], "error": error}),
        )
    }

    /// What a server of the older era says to the handshake.
    pub(crate) fn initialized(&self, session: &str) -> Say {
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}, "cancel": {}}},
            "serverInfo": {"name": "scripted", "version": "1"},
        });
        let body = json!({"jsonrpc": "2.0", "id": self.body["id"], "result": result});
        Say::InSession(session.to_owned(), body)
    }

    /// What a server of the newer era says to `server/discover`.
    pub(crate) fn discovered(&self) -> Say {
        self.result(json!({
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "2"}},
        }))
    }
}

/// What the server does.
pub(crate) enum Say {
    /// A JSON body.
    Json(u16, Value),
    /// A JSON body that opens a session.
    InSession(String, Value),
    /// Another body.
    Text(u16, &'static str, String),
    /// No body.
    Status(u16),
    /// Lines of an event stream, which then ends.
    Events(String),
    /// Lines of an event stream that stays open.
    OpenEvents(String),
    /// The connection is closed without a word.
    HangUp,
}

/// The requests that came so far.
pub(crate) type Record = Arc<Mutex<Vec<Seen>>>;

/// Serves until the test ends.
pub(crate) async fn serve(
    script: impl Fn(&Seen) -> Say + Send + Sync + 'static,
) -> (String, Record) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let record = Record::default();
    let (seen, script) = (Arc::clone(&record), Arc::new(script));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
            tokio::spawn(async move {
                // A client that goes away ends its connection only.
                let _ = connection(stream, &seen, &*script).await;
            });
        }
    });
    (url, record)
}

async fn connection(
    stream: TcpStream,
    record: &Record,
    script: &(impl Fn(&Seen) -> Say + ?Sized),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split(' ').next().unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let seen = Seen {
            verb,
            headers,
            body,
        };
        let say = script(&seen);
        record.lock().unwrap().push(seen);
        let (status, kind, extra, body, open) = match say {
            Say::HangUp => return Ok(()),
            Say::Json(status, body) => (
                status,
                "application/json",
                String::new(),
                body.to_string(),
                None,
            ),
            Say::InSession(id, body) => (
                200,
                "application/json",
                format!("Mcp-Session-Id: {id}\r\n"),
                body.to_string(),
                None,
            ),
            Say::Text(status, kind, body) => (status, kind, String::new(), body, None),
            Say::Status(status) => (status, "", String::new(), String::new(), None),
            Say::Events(body) => (200, "text/event-stream", String::new(), body, Some(false)),
            Say::OpenEvents(body) => (200, "text/event-stream", String::new(), body, Some(true)),
        };
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {kind}\r\n")
        };
        let length = match open {
            None => format!("Content-Length: {}\r\n", body.len()),
            Some(_) => "Connection: close\r\n".to_owned(),
        };
        let head = format!("HTTP/1.1 {status} X\r\n{kind}{extra}{length}\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.flush().await?;
        match open {
            None => {}
            Some(false) => return Ok(()),
            // Until the client closes it.
            Some(true) => {
                stream.read_to_end(&mut Vec::new()).await?;
                return Ok(());
            }
        }
    }
}

/// How many requests of this method came.
pub(crate) fn count(record: &Record, method: &str) -> usize {
    record
        .lock()
        .unwrap()
        .iter()
        .filter(|seen| seen.method() == method)
        .count()
}

/// The last request of this method.
pub(crate) fn last(record: &Record, method: &str) -> Seen {
    let record = record.lock().unwrap();
    record
        .iter()
        .rev()
        .find(|seen| seen.method() == method)
        .expect("it came")
        .clone()
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !check() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
