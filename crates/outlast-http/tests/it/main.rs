//! The server on a real socket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auth;
mod bounds;
mod dashboard;
mod edges;
mod exposure;
mod lasting;
mod live;
#[path = "../../../outlast-mcp/tests/official/mod.rs"]
mod official;
mod rest;
mod session;
mod stalled;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use outlast_core::testing::MemoryStore;
use outlast_core::{RawJson, Store, ToolResult};
use outlast_engine::{BoxFuture, Cx, Engine, Handler, TaskSupport, Tool, Tools};
use outlast_http::{HttpServer, bind};
use outlast_mcp::{Config, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::official::Conversation;

/// Never ends by itself.
struct Endless;

impl Handler for Endless {
    fn check(&self, _arguments: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(
        &self,
        _arguments: RawJson,
        cx: Cx,
    ) -> BoxFuture<'static, outlast_engine::Result<ToolResult>> {
        Box::pin(async move {
            cx.cancelled().await;
            Ok(ToolResult::text("stopped"))
        })
    }
}

struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _engine: Engine,
}

async fn listening() -> Listening {
    listening_as(|http| http).await
}

async fn listening_as(change: impl FnOnce(HttpServer) -> HttpServer) -> Listening {
    listening_with(|_| {}, change).await
}

async fn listening_with(
    configure: impl FnOnce(&mut Config),
    change: impl FnOnce(HttpServer) -> HttpServer,
) -> Listening {
    let tool = Tool {
        task: TaskSupport::Optional,
        ..Tool::new("endless", Arc::new(Endless))
    };
    serving(tool, configure, change).await
}

async fn serving(
    tool: Tool,
    configure: impl FnOnce(&mut Config),
    change: impl FnOnce(HttpServer) -> HttpServer,
) -> Listening {
    let engine = Engine::builder(Arc::new(MemoryStore::default()) as Arc<dyn Store>)
        .tools(Tools::new([tool]).unwrap())
        .start()
        .await
        .unwrap();
    let mut config = Config::new("test", "1");
    configure(&mut config);
    let server = Server::new(engine.handle(), config).await.unwrap();
    let (listener, address) = bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    let routes = Router::new().route("/hello", get(|| async { "hello" }));
    let http = change(HttpServer::with_routes(&server, routes));
    let served = tokio::spawn(http.serve(listener, stop.clone().cancelled_owned()));
    Listening {
        address,
        stop,
        served,
        _engine: engine,
    }
}

fn discover() -> String {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}})
        .to_string()
}

/// What is read of a response, and what it belongs to.
struct Reader {
    stream: BufReader<TcpStream>,
    conversation: Conversation,
}

async fn post(address: SocketAddr, headers: &str, body: &str) -> (String, Reader) {
    send(address, "POST /mcp", headers, body).await
}

/// Sends a request and reads the head of the response.
async fn send(address: SocketAddr, line: &str, headers: &str, body: &str) -> (String, Reader) {
    let mut conversation = Conversation::default();
    conversation.sends(body.as_bytes());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_line(&mut head));
        assert!(
            read.await.unwrap().unwrap() > 0,
            "the head broke off: {head}"
        );
    }
    let reader = Reader {
        stream,
        conversation,
    };
    (head, reader)
}

/// The body of a response. A message of MCP is held to the official schemas.
async fn body(head: &str, reader: &mut Reader) -> Value {
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0_usize);
    let mut bytes = vec![0; length];
    reader.stream.read_exact(&mut bytes).await.unwrap();
    let Ok(message) = serde_json::from_slice::<Value>(&bytes) else {
        return String::from_utf8_lossy(&bytes).into();
    };
    if message.get("jsonrpc").is_some() {
        reader.conversation.receives(&message);
    }
    message
}

/// Holds what answers a request over another client to the official schemas: a message, or the events of a
/// stream.
fn held(asked: &Value, said: &[u8]) {
    let mut conversation = Conversation::default();
    conversation.sends(asked.to_string().as_bytes());
    let text = std::str::from_utf8(said).unwrap();
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    for message in std::iter::once(text).chain(events) {
        match serde_json::from_str::<Value>(message) {
            Ok(message) if message.get("jsonrpc").is_some() => conversation.receives(&message),
            // A stream as a whole, an empty event, or what is no message of MCP.
            _ => {}
        }
    }
}

#[tokio::test]
async fn mcp_and_other_routes_share_the_port() {
    let server = listening().await;
    let message = discover();
    let headers = "mcp-protocol-version: 2026-07-28\r\nmcp-method: server/discover\r\n";
    let (head, mut reader) = post(server.address, headers, &message).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(
        body(&head, &mut reader).await["result"]["resultType"],
        "complete"
    );
    let (head, mut reader) = send(server.address, "GET /hello", "", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body(&head, &mut reader).await, "hello");
    let (head, _) = send(server.address, "GET /nothing", "", "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[tokio::test]
async fn a_clean_stop_ends_streams_and_lets_those_who_wait_come_back() {
    let server = listening().await;
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}});
    let (head, _reader) = post(server.address, "", &initialize.to_string()).await;
    let session = head
        .lines()
        .find_map(|line| line.strip_prefix("mcp-session-id: "))
        .unwrap();
    let session = format!("mcp-session-id: {session}\r\n");
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "endless", "arguments": {}, "task": {}}});
    let (head, mut reader) = post(server.address, &session, &create.to_string()).await;
    let task = body(&head, &mut reader).await["result"]["task"]["taskId"].clone();
    let result =
        json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/result", "params": {"taskId": task}});
    let result = result.to_string();
    let waiting = post(server.address, &session, &result);
    let stopping = async {
        // The wait must be under way: then a second one with its id is refused.
        loop {
            let cancel = json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/cancel", "params": {"taskId": "x"}});
            let (head, mut reader) = post(server.address, &session, &cancel.to_string()).await;
            if body(&head, &mut reader).await["error"]["code"] == -32600 {
                break;
            }
        }
        server.stop.cancel();
    };
    let ((head, mut reader), ()) = tokio::join!(waiting, stopping);
    // A stream with an id and no response: the client comes back for the result, to the next process.
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(
        Duration::from_secs(30),
        reader.stream.read_to_end(&mut rest),
    );
    read.await.expect("an end in time").unwrap();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("id:") && !rest.contains("jsonrpc"), "{rest}");
    let served = tokio::time::timeout(Duration::from_secs(30), server.served).await;
    served.expect("an end in time").unwrap();
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn half_a_request_disturbs_nobody() {
    let server = listening().await;
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        .await
        .unwrap();
    let mut noise = TcpStream::connect(server.address).await.unwrap();
    noise
        .write_all(b"\x00\x01\x02 nonsense\r\n\r\n")
        .await
        .unwrap();
    drop(half);
    let message = discover();
    let headers = "mcp-protocol-version: 2026-07-28\r\nmcp-method: server/discover\r\n";
    let (head, _) = post(server.address, headers, &message).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}
