//! A server over a memory store, with the tools the tests need, and clients that send raw JSON.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use outlast_core::testing::{Fault, FaultyStore, MemoryStore};
use outlast_core::{Answer, AnswerBy, InputRequest, Principal, RawJson, Store, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, Error, Handler, Result as EngineResult, Serving, StateMap, TaskSupport,
    Tool, Tools,
};
use outlast_mcp::http::{Body, HttpService};
use outlast_mcp::{Config, Helpers, Server};
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::official::Conversation;

/// How long anything that must happen may take on a busy machine.
const GENEROUS: Duration = Duration::from_secs(30);

type Code = Arc<dyn Fn(Value, Cx) -> BoxFuture<'static, EngineResult<ToolResult>> + Send + Sync>;

struct Coded(Code);

impl Handler for Coded {
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        match arguments.to_value().get("n") {
            Some(n) if !n.is_number() => Err("\"n\" must be a number".into()),
            _ => Ok(()),
        }
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, EngineResult<ToolResult>> {
        (self.0)(arguments.to_value(), cx)
    }
}

pub(crate) fn tool<F, Fut>(name: &str, task: TaskSupport, code: F) -> Tool
where
    F: Fn(Value, Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = EngineResult<ToolResult>> + Send + 'static,
{
    let code: Code = Arc::new(move |arguments, cx| Box::pin(code(arguments, cx)));
    Tool {
        task,
        ..Tool::new(name, Arc::new(Coded(code)))
    }
}

/// An elicitation of one member.
pub(crate) fn elicitation(key: &str, member: &str, kind: &str) -> InputRequest {
    let params = json!({"mode": "form", "message": format!("{member}?"), "requestedSchema": {
        "type": "object", "properties": {member: {"type": kind}}, "required": [member]}});
    InputRequest::new(key, "elicitation/create", params.into())
}

fn given(answer: Answer) -> String {
    match answer {
        Answer::Given(raw) => raw.as_str().to_owned(),
        Answer::Expired => "expired".into(),
    }
}

fn tools() -> Tools {
    use TaskSupport::{Forbidden, Optional, Required};
    let with_first = Tool {
        ask_first: Some(Arc::new(|_| {
            Ok(vec![elicitation("user_name", "name", "string")])
        })),
        ..tool("ask_first", Required, |_, cx| async move {
            let answer = cx
                .first_answer("user_name")
                .map(|raw| raw.as_str().to_owned());
            Ok(ToolResult::text(
                answer.unwrap_or_else(|| "nobody asked".into()),
            ))
        })
    };
    let structured = Tool {
        title: Some("Adds".into()),
        description: Some("Adds two numbers.".into()),
        output_schema: Some(json!({"type": "object"}).into()),
        annotations: Some(json!({"readOnlyHint": true}).into()),
        ..tool("add", Forbidden, |arguments, _| async move {
            let sum = arguments["a"].as_i64().unwrap_or(0) + arguments["b"].as_i64().unwrap_or(0);
            let structured = Some(json!({"sum": sum}).into());
            Ok(ToolResult {
                structured,
                ..ToolResult::text(sum.to_string())
            })
        })
    };
    let gate = |name: &str| {
        let code = |_, cx: Cx| async move {
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            gate.0.acquire().await.expect("never closed").forget();
            Ok(ToolResult {
                structured: Some(json!({"through": true}).into()),
                ..ToolResult::text("through the gate")
            })
        };
        Tool {
            output_schema: Some(json!({"type": "object"}).into()),
            ..tool(name, Optional, code)
        }
    };
    let loose = Serving {
        detach: true,
        ..Serving::default()
    };
    Tools::new([
        gate("strict_gate"),
        Tool {
            serving: loose,
            ..gate("loose_gate")
        },
        // Never a task: a step, then two questions one after the other.
        tool("interview", Forbidden, |_, cx| async move {
            let counter = cx.state::<Counter>().expect("the rig puts it there");
            let count = || async { Ok(counter.0.fetch_add(1, Ordering::Relaxed)) };
            let before: u64 = cx.step("count", count).await?;
            let first = cx.ask_raw(elicitation("first", "a", "string")).await?;
            let second = cx.ask_raw(elicitation("second", "b", "string")).await?;
            Ok(ToolResult::text(format!(
                "{before} {} {}",
                given(first),
                given(second)
            )))
        }),
        tool("sample_and_roots", Forbidden, |_, cx| async move {
            let request = |key: &str, method: &str| {
                InputRequest::new(key, method, json!({"maxTokens": 10, "messages": []}).into())
            };
            let questions = vec![
                request("capital", "sampling/createMessage"),
                request("roots", "roots/list"),
            ];
            let answers = cx.ask_all(questions).await?;
            let texts: Vec<String> = answers.into_iter().map(given).collect();
            Ok(ToolResult::text(texts.join(" ")))
        }),
        tool("ask_then_gate", Optional, |_, cx| async move {
            cx.ask_raw(elicitation("sure", "confirm", "boolean"))
                .await?;
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            gate.0.acquire().await.expect("never closed").forget();
            Ok(ToolResult::text("through the gate"))
        }),
        tool("hoards", Forbidden, |_, cx| async move {
            let much: String = cx.step("much", || async { Ok("x".repeat(20_000)) }).await?;
            cx.ask_raw(elicitation("sure", "confirm", "boolean"))
                .await?;
            Ok(ToolResult::text(much))
        }),
        tool("ask_model", Optional, |_, cx| async move {
            let question = InputRequest {
                answer_by: AnswerBy::Model,
                ..elicitation("pick", "colour", "string")
            };
            Ok(ToolResult::text(given(cx.ask_raw(question).await?)))
        }),
        structured,
        with_first,
        tool("quick", Optional, |_, _| async {
            Ok(ToolResult::text("done"))
        }),
        tool("must", Required, |_, _| async {
            Ok(ToolResult::text("done"))
        }),
        // Runs until it is cancelled.
        tool("endless", Optional, |_, cx| async move {
            cx.progress().total(10.0).done(3.0).message("on and on");
            cx.cancelled().await;
            Err(Error::tool("stopped"))
        }),
        // Waits until the test lets it go on.
        tool("gate", Optional, |_, cx| async move {
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            gate.0.acquire().await.expect("never closed").forget();
            Ok(ToolResult::text("through the gate"))
        }),
        tool("lets_go", Optional, |_, cx| async move {
            cx.close_stream();
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            gate.0.acquire().await.expect("never closed").forget();
            Ok(ToolResult::text("welcome back"))
        }),
        tool("gives_out", Optional, |_, cx| async move {
            cx.artifact("plot.txt", "text/plain; charset=utf-8", "größer ".repeat(3))
                .await?;
            let raw: Vec<u8> = (0..=255).collect();
            cx.artifact("dir/raw data", "application/octet-stream", raw)
                .await?;
            cx.artifact("empty", "text/plain", Vec::new()).await?;
            for number in 1..=3 {
                cx.partial(number * 10).await?;
            }
            Ok(ToolResult::text("three things"))
        }),
        tool("gives_out_much", Optional, |_, cx| async move {
            let mib = |many: usize| vec![b'x'; many << 20];
            cx.artifact("four", "application/octet-stream", mib(4))
                .await?;
            let mut five = mib(5);
            five[(5 << 20) - 1] = b'!';
            cx.artifact("five", "application/octet-stream", five)
                .await?;
            let line = "y".repeat(1023);
            for _ in 0..700 {
                cx.info(&line);
            }
            Ok(ToolResult::text("much"))
        }),
        tool("tool_error", Optional, |_, _| async {
            Err(Error::tool("it did not work"))
        }),
        tool("rpc_error", Optional, |_, _| async {
            Err(Error::protocol(-32050, "no such host"))
        }),
        tool("panics", Optional, |_, _| async { panic!("at the disco") }),
        tool("ask_one", Optional, |_, cx| async move {
            let answer = cx
                .ask_raw(elicitation("sure", "confirm", "boolean"))
                .await?;
            Ok(ToolResult::text(given(answer)))
        }),
        tool("roots_task", Optional, |_, cx| async move {
            let question = InputRequest::new("roots", "roots/list", json!({}).into());
            Ok(ToolResult::text(given(cx.ask_raw(question).await?)))
        }),
        tool("has_it_asked_for_roots", Optional, |_, cx| async move {
            let child = cx.spawn("roots_task", json!({})).await?;
            child.join().await
        }),
        tool("has_it_asked", Optional, |_, cx| async move {
            let child = cx.spawn("ask_one", json!({})).await?;
            child.join().await
        }),
        // Never a task: its caller comes back for the question.
        tool("lets_go_and_asks", Forbidden, |_, cx| async move {
            cx.close_stream();
            let answer = cx.ask_raw(elicitation("sure", "confirm", "boolean"));
            Ok(ToolResult::text(given(answer.await?)))
        }),
        // Says more than any queue holds, and then waits.
        tool("chatters", Forbidden, |_, cx| async move {
            for line in 0..3_000 {
                cx.info(format!("{line} {}", "blah ".repeat(20)));
            }
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            gate.0.acquire().await.expect("never closed").forget();
            Ok(ToolResult::text("said"))
        }),
        tool("ask_two", Optional, |_, cx| async move {
            let questions = vec![
                elicitation("one", "a", "string"),
                elicitation("two", "b", "string"),
            ];
            let answers = cx.ask_all(questions).await?;
            let texts: Vec<String> = answers.into_iter().map(given).collect();
            Ok(ToolResult::text(texts.join(" ")))
        }),
        tool("steps", Optional, |_, cx| async move {
            let gate = cx.state::<Gate>().expect("the rig puts it there");
            cx.progress().total(4.0);
            for step in 1..=4_u32 {
                gate.0.acquire().await.expect("never closed").forget();
                cx.progress().done(step).message(format!("step {step}"));
            }
            Ok(ToolResult::text("four steps"))
        }),
        tool("speaks", Forbidden, |_, cx| async move {
            cx.progress().total(2.0).done(1.0);
            cx.info("hello");
            cx.debug("psst");
            tokio::task::yield_now().await;
            Ok(ToolResult::text("spoken"))
        }),
    ])
    .expect("the names differ")
}

/// What holds tools up until the test lets them go on.
pub(crate) struct Gate(tokio::sync::Semaphore);

/// Counts effects.
#[derive(Default)]
struct Counter(AtomicU64);

async fn start(store: Arc<dyn Store>, state: &StateMap) -> Engine {
    Engine::builder(store)
        .tools(tools())
        .state(state.clone())
        .hot_wait(Duration::from_millis(50))
        .cancel_grace(Duration::from_millis(200))
        .start()
        .await
        .unwrap()
}

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) service: HttpService,
    /// Who sends what this rig sends, as a layer that authenticates would have it.
    pub(crate) principal: Option<Principal>,
    store: Arc<FaultyStore>,
    gate: Arc<Gate>,
    state: StateMap,
    memory: Arc<MemoryStore>,
    engine: Mutex<Option<Engine>>,
}

/// The next process over the same store.
pub(crate) struct Next {
    pub(crate) service: HttpService,
    _engine: Engine,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(change).await
    }

    /// A server with a tool of this name.
    pub(crate) async fn with_tool(name: &str, helpers: Helpers) -> outlast_core::Result<Server> {
        let quick = tool(name, TaskSupport::Optional, |_, _| async {
            Ok(ToolResult::text("done"))
        });
        let engine = Engine::builder(Arc::new(MemoryStore::default()) as Arc<dyn Store>)
            .tools(Tools::new([quick]).expect("one tool"))
            .start()
            .await?;
        let config = Config {
            helpers,
            ..Config::new("rig", "1.2.3")
        };
        Server::new(engine.handle(), config).await
    }

    /// Another instance over the same tasks: it knows no session but those it is shown.
    pub(crate) async fn instance(&self) -> HttpService {
        let server = Server::new(self.server.handle().clone(), Config::new("rig", "1.2.3")).await;
        HttpService::new(&server.unwrap())
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut state = StateMap::default();
        state.insert(Gate(tokio::sync::Semaphore::new(0)));
        state.insert(Counter::default());
        let memory = Arc::new(MemoryStore::default());
        let store = Arc::new(FaultyStore::new(Arc::clone(&memory) as Arc<dyn Store>));
        let engine = start(Arc::<FaultyStore>::clone(&store), &state).await;
        let mut config = Config::new("rig", "1.2.3");
        change(&mut config);
        let server = Server::new(engine.handle(), config).await.unwrap();
        let service = HttpService::new(&server);
        let gate = state.get::<Gate>().expect("put there above");
        Self {
            server,
            service,
            principal: None,
            store,
            gate,
            state,
            memory,
            engine: Mutex::new(Some(engine)),
        }
    }

    /// Stops the server as a process does that is told to, with no grace for what runs.
    pub(crate) async fn stop(&self) {
        let engine = self.engine.lock().unwrap().take();
        let engine = engine.expect("it is stopped once");
        drop(engine.stop(Duration::ZERO).await);
        self.server.stop();
    }

    /// Starts the process that follows.
    pub(crate) async fn next(&self) -> Next {
        let engine = start(Arc::new(self.memory.successor()), &self.state).await;
        let server = Server::new(engine.handle(), Config::new("rig", "1.2.3")).await;
        Next {
            service: HttpService::new(&server.unwrap()),
            _engine: engine,
        }
    }

    /// Lets tools that wait go on by `steps`.
    pub(crate) fn go(&self, steps: usize) {
        self.gate.0.add_permits(steps);
    }

    /// The next so many calls of this method of the store fail.
    pub(crate) fn fails(&self, method: &'static str, times: usize) {
        for _ in 0..times {
            self.store.on_next(method, Fault::Fail);
        }
    }

    /// How many of these failures have not happened yet.
    pub(crate) fn faults_left(&self) -> usize {
        self.store.planned()
    }

    /// Waits until the store has failed as often as it was told to.
    pub(crate) async fn has_failed(&self) {
        eventually("the store to have failed", async || {
            (self.faults_left() == 0).then_some(())
        })
        .await;
    }

    /// How many of these steps nobody has taken yet.
    pub(crate) fn steps_left(&self) -> usize {
        self.gate.0.available_permits()
    }

    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Response<Body> {
        if let Some(principal) = &self.principal {
            request.extensions_mut().insert(principal.clone());
        }
        send_to(&self.service, request).await
    }

    /// A POST with the headers every client sends, and these.
    pub(crate) async fn post(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        self.send(request(Method::POST, headers, body)).await
    }

    /// A stateless request: status and message.
    pub(crate) async fn modern(&self, method: &str, params: Value) -> (u16, Value) {
        self.modern_as(&declaring(), method, params).await
    }

    /// The same from a client with these capabilities.
    pub(crate) async fn modern_as(
        &self,
        capabilities: &Value,
        method: &str,
        params: Value,
    ) -> (u16, Value) {
        let response = self.modern_response(capabilities, method, params).await;
        whole(response).await
    }

    pub(crate) async fn modern_response(
        &self,
        capabilities: &Value,
        method: &str,
        params: Value,
    ) -> Response<Body> {
        let body = modern_body(7, capabilities, method, params);
        let headers = modern_headers(&body);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.post(&headers, body.to_string()).await
    }

    /// Creates a task as a stateless client and returns its id.
    pub(crate) async fn create(&self, tool: &str) -> String {
        let (status, message) = self
            .modern("tools/call", json!({"name": tool, "arguments": {}}))
            .await;
        assert_eq!(status, 200, "{message}");
        assert_eq!(message["result"]["resultType"], "task", "{message}");
        message["result"]["taskId"].as_str().unwrap().to_owned()
    }

    /// Polls a task until it is as wanted.
    pub(crate) async fn task(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the task to be as wanted", async || {
            let (_, message) = self.modern("tasks/get", json!({"taskId": id})).await;
            let task = message["result"].clone();
            wanted(&task).then_some(task)
        })
        .await
    }

    /// Opens a session of the older era.
    pub(crate) async fn session(&self, version: &str, capabilities: Value) -> Session<'_> {
        let session = self.handshake(version, capabilities).await;
        session.say_initialized().await;
        session
    }

    /// A session whose client has not said yet that it is initialized.
    pub(crate) async fn handshake(&self, version: &str, capabilities: Value) -> Session<'_> {
        let params = json!({"protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "0"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let response = self.post(&[], body.to_string()).await;
        let id = response.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let (_, initialized) = whole(response).await;
        let initialized = initialized["result"].clone();
        Session {
            rig: self,
            id,
            initialized,
            requests: AtomicU64::new(100),
        }
    }
}

/// A session of the older era.
pub(crate) struct Session<'r> {
    pub(crate) rig: &'r Rig,
    pub(crate) id: String,
    pub(crate) initialized: Value,
    requests: AtomicU64,
}

impl Session<'_> {
    pub(crate) async fn response(&self, id: u64, method: &str, params: Value) -> Response<Body> {
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.message(&body).await
    }

    /// Says that the handshake is over.
    pub(crate) async fn say_initialized(&self) {
        let noted = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let (status, body) = whole(self.message(&noted).await).await;
        assert_eq!((status, body), (202, Value::Null));
    }

    pub(crate) async fn message(&self, body: &Value) -> Response<Body> {
        self.rig
            .post(&[("mcp-session-id", &self.id)], body.to_string())
            .await
    }

    /// A request: the message that answers it, which must come with status 200.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let id = self.requests.fetch_add(1, Ordering::Relaxed);
        let (status, message) = whole(self.response(id, method, params).await).await;
        assert_eq!(status, 200, "{message}");
        message
    }

    /// Creates a task and returns its id.
    pub(crate) async fn create(&self, tool: &str) -> String {
        let params = json!({"name": tool, "arguments": {}, "task": {}});
        let message = self.call("tools/call", params).await;
        message["result"]["task"]["taskId"]
            .as_str()
            .unwrap_or_else(|| panic!("{message}"))
            .into()
    }

    pub(crate) async fn get(&self, last_event: Option<&str>) -> Events {
        let mut headers = vec![("mcp-session-id", self.id.as_str())];
        headers.extend(last_event.map(|id| ("last-event-id", id)));
        let response = self.rig.send(request(Method::GET, &headers, "")).await;
        assert_eq!(response.status(), 200);
        Events::of(response)
    }

    /// Waits until a task has this status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        eventually(status, async || {
            let task = self.call("tasks/get", json!({"taskId": id})).await["result"].clone();
            (task["status"] == status).then_some(task)
        })
        .await
    }
}

/// Sends the response to a question.
pub(crate) async fn respond(session: &Session<'_>, question: &Value, result: Value) {
    let body = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
    let (status, body) = whole(session.message(&body).await).await;
    assert_eq!((status, body), (202, Value::Null));
}

/// The events of a response, as they come.
pub(crate) struct Events {
    body: Body,
    text: String,
    conversation: Conversation,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    /// `Null` for an empty one.
    pub(crate) message: Value,
}

impl Events {
    pub(crate) fn of(mut response: Response<Body>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            conversation: conversation(&mut response),
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with(':') {
                    continue;
                }
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                };
                let id = field("id").map(|id| id.trim().to_owned());
                let data = field("data").unwrap_or_default().trim();
                if data.is_empty() {
                    let message = Value::Null;
                    return Some(Event { id, message });
                }
                let message = serde_json::from_str(data).unwrap();
                self.conversation.receives(&message);
                return Some(Event { id, message });
            }
            let frame = tokio::time::timeout(GENEROUS, self.body.frame());
            let frame = frame.await.expect("an event in time")?.unwrap();
            self.text
                .push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// The next message that is not empty.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("a message before the end");
            if !event.message.is_null() {
                return event.message;
            }
        }
    }

    /// The next message with this method.
    pub(crate) async fn method(&mut self, method: &str) -> Value {
        loop {
            let message = self.message().await;
            if message["method"] == method {
                return message;
            }
        }
    }
}

/// Sends a request. Whatever is read of the response is held to the official schemas.
pub(crate) async fn send_to(
    service: &HttpService,
    request: Request<Full<Bytes>>,
) -> Response<Body> {
    let mut conversation = Conversation::default();
    let sent = request.body().clone().collect().await;
    conversation.sends(&sent.expect("bytes that are there").to_bytes());
    let response = service.clone().call(request);
    let mut response = tokio::time::timeout(GENEROUS, response)
        .await
        .expect("an answer in time")
        .unwrap();
    response.extensions_mut().insert(conversation);
    response
}

/// What a response belongs to.
fn conversation(response: &mut Response<Body>) -> Conversation {
    let conversation = response.extensions_mut().remove();
    conversation.expect("every response is of `send_to`")
}

pub(crate) fn request(
    method: Method,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri("/mcp");
    let usual = [
        ("host", "localhost"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    for (name, value) in usual {
        if headers
            .iter()
            .all(|(other, _)| !other.eq_ignore_ascii_case(name))
        {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// What a client of the newer era declares that can do everything.
pub(crate) fn declaring() -> Value {
    json!({"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}})
}

pub(crate) fn modern_body(id: u64, capabilities: &Value, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// The headers that repeat a body.
pub(crate) fn modern_headers(body: &Value) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("mcp-protocol-version", "2026-07-28".to_owned()),
        (
            "mcp-method",
            body["method"].as_str().unwrap_or_default().to_owned(),
        ),
    ];
    let name = body["params"]["name"]
        .as_str()
        .or_else(|| body["params"]["uri"].as_str())
        .or_else(|| body["params"]["taskId"].as_str());
    headers.extend(name.map(|name| ("mcp-name", header_value(name))));
    headers
}

/// A text as a header says it: in Base64 unless it is plain, visible ASCII (2026-07-28, transports).
fn header_value(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && !text.starts_with("=?base64?") {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}

/// Status and message of a response. Of a stream, the last message.
pub(crate) async fn whole(mut response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let streams = response
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream");
    if streams {
        let mut events = Events::of(response);
        let mut last = Value::Null;
        while let Some(event) = events.next().await {
            last = event.message;
        }
        return (status, last);
    }
    let conversation = conversation(&mut response);
    let body = tokio::time::timeout(GENEROUS, response.into_body().collect()).await;
    let body = body.expect("a body in time").unwrap().to_bytes();
    if body.is_empty() {
        return (status, Value::Null);
    }
    let message = serde_json::from_slice(&body).unwrap();
    conversation.receives(&message);
    (status, message)
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + GENEROUS;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "gave up waiting for {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
