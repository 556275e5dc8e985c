//! Clients that go away in the middle: at every byte of a request, and while they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_core::{RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Handler, Tool};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Listening, body, post, serving};

/// Counts its runs.
struct Counting(Arc<AtomicUsize>);

impl Handler for Counting {
    fn check(&self, _arguments: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(
        &self,
        _arguments: RawJson,
        _cx: Cx,
    ) -> BoxFuture<'static, outlast_engine::Result<ToolResult>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(ToolResult::text("counted")) })
    }
}

async fn counting() -> (Listening, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let tool = Tool::new("count", Arc::new(Counting(Arc::clone(&ran))));
    (serving(tool, |_| {}, |http| http).await, ran)
}

const HEADERS: &str =
    "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: count\r\n";

fn call() -> String {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"name": "count", "arguments": {}, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

#[tokio::test]
async fn a_request_that_breaks_off_at_any_byte_runs_nothing() {
    let (server, ran) = counting().await;
    let body_text = call();
    let whole = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{HEADERS}content-length: {}\r\n\r\n{body_text}",
        body_text.len()
    );
    for cut in 0..whole.len() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&whole.as_bytes()[..cut]).await.unwrap();
        // Half of the connections stay open for the answer, which is none or a refusal.
        if cut % 2 == 0 {
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // A reset is an end as well.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
                "{cut}: {answer}"
            );
        }
    }
    // The server goes on, and this is the first run.
    let (head, mut reader) = post(server.address, HEADERS, &body_text).await;
    let answer = body(&head, &mut reader).await;
    assert_eq!(
        answer["result"]["content"][0]["text"], "counted",
        "{answer}"
    );
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn whoever_does_not_wait_for_the_answer_disturbs_nobody() {
    let (server, ran) = counting().await;
    for _ in 0..50 {
        let (stream, text) = (TcpStream::connect(server.address), call());
        let mut stream = stream.await.unwrap();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\n{HEADERS}content-length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
    }
    let before = ran.load(Ordering::Relaxed);
    let (head, mut reader) = post(server.address, HEADERS, &call()).await;
    let answer = body(&head, &mut reader).await;
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(ran.load(Ordering::Relaxed) > before);
}
