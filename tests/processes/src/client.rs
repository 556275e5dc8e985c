//! The least client that can call a server of either era over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// Talks to one server; a connection a request, so that nothing outlives a killed server.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message.
    pub message: Value,
    /// The body as it came.
    pub body: String,
}

impl Answer {
    /// The JSON-RPC result.
    ///
    /// # Panics
    /// If it is an error.
    pub fn result(&self) -> &Value {
        self.message
            .get("result")
            .unwrap_or_else(|| panic!("no result: {}", self.body))
    }
}

impl Client {
    /// A client of the server on this loopback port.
    pub fn new(port: u16) -> Self {
        Self {
            address: format!("127.0.0.1:{port}"),
        }
    }

    /// One request of the 2026-07-28 era that declares the tasks extension.
    ///
    /// # Errors
    /// The server is not there, or went away before it had answered.
    pub fn modern(&self, method: &str, params: Value) -> std::io::Result<Answer> {
        self.modern_with(method, params, json!({}))
    }

    /// The same with more in its `_meta`.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn modern_with(
        &self,
        method: &str,
        mut params: Value,
        meta: Value,
    ) -> std::io::Result<Answer> {
        let name = params.get("name").or_else(|| params.get("taskId")).cloned();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "processes", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities":
                {"extensions": {"io.modelcontextprotocol/tasks": {}}},
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut params["_meta"], meta) {
            all.extend(more);
        }
        let mut headers = vec![
            ("MCP-Protocol-Version".to_owned(), "2026-07-28".to_owned()),
            ("Mcp-Method".to_owned(), method.to_owned()),
        ];
        if let Some(name) = name.as_ref().and_then(Value::as_str) {
            headers.push(("Mcp-Name".to_owned(), name.to_owned()));
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(&headers, &body.to_string())
            .map(|(answer, _)| answer)
    }

    /// What stands at a path of the REST surface.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn get_json(&self, path: &str) -> std::io::Result<Value> {
        let body = self.get(path, "application/json")?;
        serde_json::from_str(&body).map_err(std::io::Error::other)
    }

    /// What stands at a path of the REST surface, to its end, as text of this media type.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn get(&self, path: &str, accept: &str) -> std::io::Result<String> {
        self.rest("GET", path, accept)
    }

    /// Sends a POST without a body to a path of the REST surface, and returns what it answers.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn post_json(&self, path: &str) -> std::io::Result<Value> {
        let body = self.rest("POST", path, "application/json")?;
        serde_json::from_str(&body).map_err(std::io::Error::other)
    }

    fn rest(&self, method: &str, path: &str, accept: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\nContent-Length: 0\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok(body.to_owned())
    }

    /// Opens a session of the 2025-11-25 era and returns the header that names it.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn legacy_session(&self) -> std::io::Result<Vec<(String, String)>> {
        self.legacy_session_with(json!({}))
    }

    /// The same with a client that declares these capabilities.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn legacy_session_with(
        &self,
        capabilities: Value,
    ) -> std::io::Result<Vec<(String, String)>> {
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": {"name": "processes", "version": "1"}}});
        let (_, headers) = self.post(&[], &body.to_string())?;
        let session = headers
            .into_iter()
            .find(|(name, _)| name == "mcp-session-id");
        let mut session: Vec<_> = session.into_iter().collect();
        session.push(("MCP-Protocol-Version".into(), "2025-11-25".into()));
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.post(&session, &ready.to_string())?;
        Ok(session)
    }

    /// One request of the 2025-11-25 era.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn legacy(
        &self,
        session: &[(String, String)],
        method: &str,
        params: Value,
    ) -> std::io::Result<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(session, &body.to_string())
            .map(|(answer, _)| answer)
    }

    /// Answers a request of the server with a result.
    ///
    /// # Errors
    /// As [`Client::modern`].
    pub fn respond(
        &self,
        session: &[(String, String)],
        id: &Value,
        result: Value,
    ) -> std::io::Result<Answer> {
        let body = json!({"jsonrpc": "2.0", "id": id, "result": result});
        self.post(session, &body.to_string())
            .map(|(answer, _)| answer)
    }

    /// A request of the 2025-11-25 era whose answer is a stream of events.
    ///
    /// # Errors
    /// The server is not there.
    pub fn post_stream(
        &self,
        session: &[(String, String)],
        message: &Value,
    ) -> std::io::Result<Events> {
        self.events("POST", session, &message.to_string())
    }

    /// The stream that broke after this event, from there on.
    ///
    /// # Errors
    /// The server is not there.
    pub fn get_stream(
        &self,
        session: &[(String, String)],
        last_event: &str,
    ) -> std::io::Result<Events> {
        let mut headers = session.to_vec();
        headers.push(("Last-Event-ID".to_owned(), last_event.to_owned()));
        self.events("GET", &headers, "")
    }

    fn events(
        &self,
        method: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> std::io::Result<Events> {
        let stream = self.send(method, headers, body)?;
        Ok(Events {
            reader: BufReader::new(stream),
        })
    }

    fn post(
        &self,
        headers: &[(String, String)],
        body: &str,
    ) -> std::io::Result<(Answer, Vec<(String, String)>)> {
        let mut reader = BufReader::new(self.send("POST", headers, body)?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let gone = || std::io::Error::other("the server went away");
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(gone)?;
        let mut answered = Vec::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(gone());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            answered.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let has = |name: &str, value: &str| {
            answered
                .iter()
                .any(|(n, v)| n == name && v.starts_with(value))
        };
        let body = if has("transfer-encoding", "chunked") {
            read_chunks(&mut reader)?
        } else {
            let mut body = String::new();
            reader.read_to_string(&mut body)?;
            body
        };
        let text = if has("content-type", "text/event-stream") {
            // The response is the last message of its stream.
            body.lines()
                .rev()
                .find_map(|line| line.strip_prefix("data: "))
                .unwrap_or("")
                .to_owned()
        } else {
            body.clone()
        };
        let message = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| gone())?
        };
        Ok((
            Answer {
                status,
                message,
                body,
            },
            answered,
        ))
    }
}

impl Client {
    fn send(
        &self,
        method: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let extra: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        write!(
            stream,
            "{method} /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: \
             application/json, text/event-stream\r\nConnection: close\r\nContent-Length: \
             {}\r\n{extra}\r\n{body}",
            self.address,
            body.len()
        )?;
        Ok(stream)
    }
}

/// A stream of events, as it comes. Dropping it breaks the connection.
///
/// An event's lines are never torn by the chunks they come in, since the server writes each event
/// at once; what else is on the wire is skipped.
pub struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// The next message, with the id of its event.
    ///
    /// # Errors
    /// The stream is over, or nothing came for two minutes.
    pub fn receive(&mut self) -> std::io::Result<(String, Value)> {
        let mut id = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(given) = line.strip_prefix("id:") {
                given.trim().clone_into(&mut id);
            } else if let Some(data) = line.strip_prefix("data:")
                && let Ok(message) = serde_json::from_str(data.trim())
            {
                return Ok((id, message));
            }
        }
    }
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16)
            .map_err(|_| std::io::Error::other("the server went away"))?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk)?;
        if length == 0 {
            return String::from_utf8(body).map_err(std::io::Error::other);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
