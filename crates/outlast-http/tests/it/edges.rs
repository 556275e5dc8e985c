//! Connections that break at every byte, in both directions, and HTTP/2.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Counts its runs.
struct Counted(Arc<AtomicUsize>);

impl Handler for Counted {
    fn check(&self, _arguments: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(
        &self,
        _arguments: RawJson,
        _cx: Cx,
    ) -> BoxFuture<'static, outlast_engine::Result<ToolResult>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(ToolResult::text("counted")) })
    }
}

async fn counting() -> (Listening, Arc<AtomicUsize>) {
    let runs = Arc::<AtomicUsize>::default();
    let tool = Tool {
        task: TaskSupport::Required,
        ..Tool::new("counted", Arc::new(Counted(Arc::clone(&runs))))
    };
    (serving(tool, |_| {}, |http| http).await, runs)
}

/// A whole request that makes a task of the tool.
fn request() -> Vec<u8> {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "counted", "arguments": {}, "_meta": meta}})
    .to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: counted\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// Leaves: in an orderly way, or as a client does whose machine lost its power.
fn leave(stream: TcpStream, at: usize) {
    if at % 2 == 1 {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
}

async fn still_answers(server: &Listening) {
    let headers = "mcp-protocol-version: 2026-07-28\r\nmcp-method: server/discover\r\n";
    let (head, _) = post(server.address, headers, &discover()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn a_request_that_breaks_off_at_any_byte_runs_nothing() {
    let (server, runs) = counting().await;
    let request = request();
    for cut in 0..request.len() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&request[..cut]).await.unwrap();
        if cut % 3 != 0 {
            leave(stream, cut);
            continue;
        }
        // Some say that nothing more comes, and stay for the answer: none, or a refusal.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{cut}: {answer}");
    }
    still_answers(&server).await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    // The same bytes, whole, do run.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    outlast_core::testing::eventually("the whole request to run", async || {
        (runs.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_to_its_end_loses_no_task() {
    let (server, runs) = counting().await;
    let request = request();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut whole = vec![0; 4096];
    let mut length = 0;
    // The body is JSON on one line, so the response is over with its last brace.
    while !whole[..length].ends_with(b"}}") {
        length += stream.read(&mut whole[length..]).await.unwrap();
    }
    for cut in 0..length {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&request).await.unwrap();
        // At least one byte: the request has been served by then.
        stream.read_exact(&mut whole[..=cut]).await.unwrap();
        leave(stream, cut);
    }
    still_answers(&server).await;
    outlast_core::testing::eventually("every task to run", async || {
        (runs.load(Ordering::SeqCst) == length + 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_http2_connection_carries_streams_and_answers() {
    let server = listening().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let asking = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let post = |body: &Value| {
        client
            .post(format!("http://{}/mcp", server.address))
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", body["method"].as_str().unwrap())
            .json(body)
            .send()
    };
    let listen = json!({"notifications": {"toolsListChanged": true}, "_meta": meta});
    let listen = asking("subscriptions/listen", listen);
    let mut stream = post(&listen).await.unwrap();
    assert_eq!(stream.version(), reqwest::Version::HTTP_2);
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.windows(12).any(|w| w == b"acknowledged"), "{first:?}");
    // Beside the open stream, on the same connection.
    let discover = asking("server/discover", json!({"_meta": meta}));
    let answer = post(&discover).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = answer.bytes().await.unwrap();
    held(&discover, &answer);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["id"], 7);
    // A clean stop ends the stream with its result.
    server.stop.cancel();
    let mut rest = first.to_vec();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    let rest = String::from_utf8(rest).unwrap();
    held(&listen, rest.as_bytes());
    assert!(rest.contains(r#""result""#), "{rest}");
    server.served.await.unwrap();
}
