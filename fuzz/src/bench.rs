//! The server under the targets: in memory, with a few quick tools, a task that has ended and one
//! that asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use outlast_core::testing::MemoryStore;
use outlast_core::{InputRequest, RawJson, Store, ToolResult};
use outlast_engine::{BoxFuture, Cx, Engine, Handler, Result, TaskSupport, Tool, Tools};
use outlast_mcp::http::{Body, HttpService};
use outlast_mcp::{Config, Server};
use serde_json::{Value, json};
use tower_service::Service as _;

/// What a stream of events may take to say its first word.
const FIRST_WORD: Duration = Duration::from_millis(20);

pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const MODERN: &str = "2026-07-28";
pub(crate) const LEGACY: &str = "2025-11-25";

struct Echo;

impl Handler for Echo {
    fn check(&self, arguments: &RawJson) -> std::result::Result<(), String> {
        match arguments.to_value().get("n") {
            Some(n) if !n.is_number() => Err("\"n\" must be a number".into()),
            _ => Ok(()),
        }
    }

    fn call(&self, arguments: RawJson, _cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin(async move {
            Ok(ToolResult {
                structured: Some(arguments),
                ..ToolResult::text("done")
            })
        })
    }
}

struct Asks;

fn question() -> InputRequest {
    let schema =
        json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    let params = json!({"mode": "form", "message": "Who?", "requestedSchema": schema});
    InputRequest::new("who", "elicitation/create", params.into())
}

impl Handler for Asks {
    fn check(&self, _arguments: &RawJson) -> std::result::Result<(), String> {
        Ok(())
    }

    fn call(&self, _arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        Box::pin(async move {
            let answer = cx.ask_raw(question()).await?;
            Ok(ToolResult::text(format!("{answer:?}")))
        })
    }
}

/// A server and what a stranger may know about it.
pub(crate) struct Bench {
    pub(crate) server: Server,
    service: HttpService,
    /// A session of the older era.
    pub(crate) session: String,
    /// A task that has ended.
    pub(crate) task: String,
    /// A task with an open question, whose key is `who`.
    pub(crate) asking: String,
    /// The state of a call that waits for answers before its task exists.
    pub(crate) state: String,
    /// The second page of the tools.
    pub(crate) cursor: String,
    _engine: Engine,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let tools = [
            Tool {
                task: TaskSupport::Optional,
                ..Tool::new("echo", Arc::new(Echo))
            },
            Tool {
                task: TaskSupport::Forbidden,
                ..Tool::new("inline", Arc::new(Echo))
            },
            Tool {
                task: TaskSupport::Required,
                ..Tool::new("asks", Arc::new(Asks))
            },
            Tool {
                task: TaskSupport::Required,
                ask_first: Some(Arc::new(|_| Ok(vec![question()]))),
                ..Tool::new("asks_first", Arc::new(Echo))
            },
        ];
        let engine = Engine::builder(Arc::new(MemoryStore::default()) as Arc<dyn Store>)
            .tools(Tools::new(tools).expect("the names differ"))
            .start()
            .await
            .expect("an engine over memory starts");
        let config = Config {
            page_size: 2,
            ..Config::new("fuzz", "0")
        };
        let server = Server::new(engine.handle(), config)
            .await
            .expect("a server over memory starts");
        let mut bench = Self {
            service: HttpService::new(&server),
            server,
            session: String::new(),
            task: String::new(),
            asking: String::new(),
            state: String::new(),
            cursor: String::new(),
            _engine: engine,
        };
        bench.session = bench.open_session().await;
        let string = |value: &Value, pointer: &str| {
            let text = value.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_else(|| panic!("no {pointer} in {value}"))
                .to_owned()
        };
        let created = bench
            .modern("tools/call", json!({"name": "echo", "arguments": {}}))
            .await;
        bench.task = string(&created, "/result/taskId");
        let asking = bench
            .modern("tools/call", json!({"name": "asks", "arguments": {}}))
            .await;
        bench.asking = string(&asking, "/result/taskId");
        let first = bench
            .modern("tools/call", json!({"name": "asks_first", "arguments": {}}))
            .await;
        bench.state = string(&first, "/result/requestState");
        let page = bench.modern("tools/list", json!({})).await;
        bench.cursor = string(&page, "/result/nextCursor");
        bench
    }

    async fn open_session(&self) -> String {
        let params = json!({"protocolVersion": LEGACY, "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "fuzz", "version": "0"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let request = request(Method::POST, &[], body.to_string().into_bytes())
            .expect("these headers are right");
        let response = self.send(request).await;
        let id = response
            .headers()
            .get("mcp-session-id")
            .expect("a session was opened");
        id.to_str().expect("an id is visible ASCII").to_owned()
    }

    /// A right request of 2026-07-28 and its answer.
    pub(crate) async fn modern(&self, method: &str, mut params: Value) -> Value {
        params["_meta"] = json!({
            VERSION_KEY: MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}},
                "extensions": {"io.modelcontextprotocol/tasks": {}}},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let headers = headers_of(&body);
        let request = request(Method::POST, &headers, body.to_string().into_bytes())
            .expect("a right request");
        whole(self.send(request).await).await.1
    }

    /// Puts what only this server knows where an input says so.
    pub(crate) fn filled(&self, input: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(input) else {
            return input.to_owned();
        };
        text.replace("$TASK", &self.task)
            .replace("$ASKING", &self.asking)
            .replace("$SESSION", &self.session)
            .replace("$STATE", &self.state)
            .replace("$CURSOR", &self.cursor)
            .into_bytes()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        let Ok(response) = self.service.clone().call(request).await;
        response
    }
}

/// A request with the headers that every client sends, and these; nothing if no client could send
/// them.
pub(crate) fn request(
    method: Method,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri("/mcp")
        .header("host", "localhost");
    let given = |name: &str| {
        headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    if !given("content-type") {
        request = request.header("content-type", "application/json");
    }
    if !given("accept") {
        request = request.header("accept", "application/json, text/event-stream");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Full::from(body)).ok()
}

/// What a client of the era that the body belongs to repeats in its headers.
pub(crate) fn headers_of(body: &Value) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: Option<&str>| {
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())))
    };
    let params = &body["params"];
    add(
        "mcp-protocol-version",
        params["_meta"][VERSION_KEY].as_str(),
    );
    add("mcp-method", body["method"].as_str());
    let name = ["name", "taskId", "uri"]
        .iter()
        .find_map(|key| params[*key].as_str());
    add("mcp-name", name);
    headers
}

/// Status and message. A stream is followed to its first word only, for it may never end.
pub(crate) async fn whole(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let stream = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    let mut body = response.into_body();
    if stream {
        let _ = tokio::time::timeout(FIRST_WORD, body.frame()).await;
        return (status, json!("stream"));
    }
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => panic!("a body broke: {error}"),
    };
    let message = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or(json!("not JSON"))
    };
    (status, message)
}

/// The kind of an answer, or which rule it breaks. What differs from request to request is left out.
pub(crate) fn judged(status: u16, message: &Value) -> std::result::Result<String, String> {
    let say = |problem: &str| Err(format!("{problem}: {status} {message}"));
    match status {
        200 if *message == json!("stream") => return Ok("stream".into()),
        202 | 204 | 405 if message.is_null() => return Ok(format!("{status}")),
        200 | 400 | 403 | 404 | 405 | 406 | 409 | 413 | 415 => {}
        _ => return say("an unexpected status"),
    }
    if message.is_array() {
        return Ok(format!("{status} batch"));
    }
    if message["jsonrpc"] != "2.0" {
        return say("not a JSON-RPC message");
    }
    match (message.get("result"), message.get("error")) {
        (Some(result), None) => {
            let keys: Vec<&str> = result
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.as_str())
                .collect();
            Ok(format!(
                "{status} {} {} {}",
                keys.join(","),
                result["status"],
                result["isError"]
            ))
        }
        (None, Some(error)) => {
            let text = error["message"].as_str().unwrap_or_default();
            if text.is_empty() {
                return say("an error that says nothing");
            }
            if error["code"] == -32603 {
                return say("an internal error");
            }
            // Quoted parts and numbers are the stranger's own.
            let general: String = text.split('"').step_by(2).collect();
            let general: String = general
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(60)
                .collect();
            Ok(format!("{status} {} {general}", error["code"]))
        }
        _ => say("neither a result nor an error"),
    }
}
