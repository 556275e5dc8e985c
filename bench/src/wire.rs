//! The 2026-07-28 requests the loader sends, made once and patched in place.
//!
//! A request is complete bytes, head and body, in which the JSON-RPC id and the
//! task id have a fixed width: between two requests nothing is formatted, only
//! copied. Every request carries all that the revision asks of a client (the
//! `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` headers, `Accept`, and the
//! `_meta` of the caller), because a server is measured with its checks on.

use serde_json::{Value, json};

use crate::http::find;

/// Ids have eight digits, so there is room for 90 ranges of a million.
const FIRST_ID: u64 = 10_000_000;
const IDS_A_RANGE: u64 = 1_000_000;

/// How many connections can be told apart by their ids.
pub(crate) const RANGES: usize = 90;

/// A prepared POST.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    id_at: usize,
    first_id: u64,
    sent: u64,
    task_at: Vec<usize>,
    task_length: usize,
}

impl Request {
    /// `tools/call`; `as_task` declares the tasks extension, which is how a
    /// client of this revision lets a server answer with a task.
    pub(crate) fn call(host: &str, tool: &str, arguments: Value, as_task: bool) -> Self {
        Self::new(
            host,
            "tools/call",
            tool,
            json!({"name": tool, "arguments": arguments}),
            as_task,
        )
    }

    /// `tasks/get` of tasks whose ids look like `sample`.
    pub(crate) fn get(host: &str, sample: &str) -> Self {
        let mut request = Self::new(host, "tasks/get", sample, json!({"taskId": sample}), true);
        let mut from = 0;
        while let Some(at) = find(&request.bytes[from..], sample.as_bytes()) {
            request.task_at.push(from + at);
            from += at + sample.len();
        }
        request.task_length = sample.len();
        request
    }

    /// `subscriptions/listen` for one task.
    pub(crate) fn listen(host: &str, task: &str) -> Self {
        Self::new(
            host,
            "subscriptions/listen",
            "",
            json!({"notifications": {"taskIds": [task]}}),
            true,
        )
    }

    fn new(host: &str, method: &str, name: &str, mut params: Value, tasks: bool) -> Self {
        let capabilities = if tasks {
            json!({"extensions": {"io.modelcontextprotocol/tasks": {}}})
        } else {
            json!({})
        };
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "outlast-bench", "version": env!("CARGO_PKG_VERSION")},
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        });
        let opening = r#"{"jsonrpc":"2.0","id":"#;
        let body = format!(r#"{opening}{FIRST_ID},"method":"{method}","params":{params}}}"#);
        let name = match name {
            "" => String::new(),
            name => format!("Mcp-Name: {name}\r\n"),
        };
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: {method}\r\n{name}Content-Length: {}\r\n\r\n",
            body.len()
        );
        Request {
            id_at: head.len() + opening.len(),
            bytes: [head.as_bytes(), body.as_bytes()].concat(),
            first_id: FIRST_ID,
            sent: 0,
            task_at: Vec::new(),
            task_length: 0,
        }
    }

    /// This request with one more line in its head, given without its end.
    pub(crate) fn with_header(mut self, line: &str) -> Self {
        let at = find(&self.bytes, b"\r\n").expect("a head has lines") + 2;
        let line = format!("{line}\r\n");
        self.bytes.splice(at..at, line.bytes());
        self.id_at += line.len();
        for at in &mut self.task_at {
            *at += line.len();
        }
        self
    }

    /// Gives this copy its own range of ids, so that no two connections ever
    /// have the same id in flight.
    pub(crate) fn number_from(&mut self, range: usize) {
        self.first_id = FIRST_ID + range as u64 * IDS_A_RANGE;
    }

    /// The bytes to send, under the next id.
    pub(crate) fn next(&mut self) -> &[u8] {
        let mut id = self.first_id + self.sent % IDS_A_RANGE;
        self.sent += 1;
        for digit in self.bytes[self.id_at..self.id_at + 8].iter_mut().rev() {
            *digit = b'0' + (id % 10) as u8;
            id /= 10;
        }
        &self.bytes
    }

    /// Puts another task's id in every place where the sample's stood.
    ///
    /// # Panics
    /// If its length is not the sample's: ids of one server have one length.
    pub(crate) fn set_task(&mut self, task: &str) {
        assert_eq!(task.len(), self.task_length, "task ids of one length");
        for at in &self.task_at {
            self.bytes[*at..at + task.len()].copy_from_slice(task.as_bytes());
        }
    }

    /// The id that the last [`Request::next`] sent, as it stands in the bytes.
    pub(crate) fn id_text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[self.id_at..self.id_at + 8]).into_owned()
    }
}

/// A POST of a message of 2025-11-25, within a session or to open one.
pub(crate) fn legacy(host: &str, session: Option<&str>, message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let session = session.map_or_else(String::new, |session| {
        format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n")
    });
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{session}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The value of the first `"taskId":"…"` in a response's body.
pub(crate) fn task_id(body: &[u8]) -> Option<&str> {
    let rest = &body[find(body, br#""taskId":""#)? + 10..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8]) -> Value {
        let at = find(bytes, b"\r\n\r\n").unwrap() + 4;
        serde_json::from_slice(&bytes[at..]).unwrap()
    }

    #[test]
    fn ids_differ_from_request_to_request_and_between_ranges() {
        let mut first = Request::call("h", "add", json!({"a": 2}), false);
        let mut second = first.clone();
        second.number_from(1);
        let ids: Vec<u64> = [
            first.next().to_vec(),
            first.next().to_vec(),
            second.next().to_vec(),
        ]
        .iter()
        .map(|bytes| body(bytes)["id"].as_u64().unwrap())
        .collect();
        assert_eq!(ids, [10_000_000, 10_000_001, 11_000_000]);
        assert_eq!(second.id_text(), "11000000");
    }

    #[test]
    fn a_range_of_ids_wraps_inside_itself() {
        let mut request = Request::call("h", "add", json!({}), false);
        request.number_from(2);
        request.sent = 999_999;
        assert_eq!(body(request.next())["id"], 12_999_999);
        assert_eq!(body(request.next())["id"], 12_000_000);
    }

    #[test]
    fn a_task_id_is_replaced_in_header_and_body() {
        let mut request = Request::get("h", "aaaa-bbbb");
        request.set_task("cccc-dddd");
        let bytes = request.next().to_vec();
        assert!(find(&bytes, b"Mcp-Name: cccc-dddd\r\n").is_some());
        assert_eq!(body(&bytes)["params"]["taskId"], "cccc-dddd");
    }

    #[test]
    fn a_header_moves_what_is_behind_it() {
        let mut request = Request::get("h", "aaaa-bbbb").with_header("Authorization: Bearer t");
        request.set_task("cccc-dddd");
        request.number_from(3);
        let bytes = request.next().to_vec();
        assert!(find(&bytes, b"\r\nAuthorization: Bearer t\r\n").is_some());
        assert!(find(&bytes, b"Mcp-Name: cccc-dddd\r\n").is_some());
        let body = body(&bytes);
        assert_eq!(body["params"]["taskId"], "cccc-dddd");
        assert_eq!(body["id"], 13_000_000);
    }

    #[test]
    fn the_length_is_that_of_the_body() {
        let bytes = Request::call("h", "add", json!({"a": 2}), true)
            .next()
            .to_vec();
        let at = find(&bytes, b"\r\n\r\n").unwrap() + 4;
        let length = crate::http::header(&bytes[..at], b"content-length").unwrap();
        assert_eq!(length, (bytes.len() - at).to_string().as_bytes());
    }

    #[test]
    fn a_task_id_is_found_in_a_response() {
        assert_eq!(
            task_id(br#"{"result":{"taskId":"x-1","status":"working"}}"#),
            Some("x-1")
        );
        assert_eq!(task_id(br#"{"error":{}}"#), None);
    }
}
