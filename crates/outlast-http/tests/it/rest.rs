//! The REST surface on a real socket, with a client nobody here wrote.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use outlast_core::testing::{Fault, FaultyStore, MemoryStore};
use outlast_core::{InputRequest, Level, RawJson, Store, ToolResult};
use outlast_engine::{
    BoxFuture, Cx, Engine, Error, Handler, Result, Retry, TaskSupport, Tool, Tools,
};
use outlast_http::{HttpServer, RestOptions, bind};
use outlast_mcp::{Config, Server};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

type Code = fn(Value, Cx) -> BoxFuture<'static, Result<ToolResult>>;

struct Coded(Code);

impl Handler for Coded {
    fn check(&self, arguments: &RawJson) -> std::result::Result<(), String> {
        let arguments = arguments.to_value();
        let known = ["n", "prompt"];
        match arguments
            .as_object()
            .unwrap()
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            Some(key) => Err(format!("there is no argument {key:?}; allowed: n, prompt")),
            None => Ok(()),
        }
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        (self.0)(arguments.to_value(), cx)
    }
}

/// What it was told; or its own error, or one of the server's.
fn echo(arguments: Value, _cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        match arguments["n"].as_str() {
            Some("error") => Ok(ToolResult::error("no")),
            Some("failed") => Err(Error::protocol(-32000, "no")),
            _ => Ok(ToolResult::text(arguments.to_string())),
        }
    })
}

fn tell(arguments: Value, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        let n = arguments["n"].as_u64().unwrap();
        for i in 1..=n {
            cx.log(Level::Info, format!("line {i}"));
            cx.progress().message(format!("at {i}"));
            cx.step(format!("{i}"), || async { Ok(()) }).await?;
        }
        Ok(ToolResult::text("told"))
    })
}

fn ask(_arguments: Value, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        let params = json!({"message": "How many?", "requestedSchema": {
            "type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}});
        let request = InputRequest::new("count", "elicitation/create", params.into());
        let answer = cx.ask_raw(request).await?;
        Ok(ToolResult::text(format!("{answer:?}")))
    })
}

/// Does as it is told, until it is told to stop.
fn obey(_arguments: Value, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        let mut orders = cx.signals::<RawJson>("INTERVENTION");
        loop {
            let exactly = orders.next().await?;
            let order = exactly.to_value();
            if order["guidance"] == "repeat" {
                cx.progress().message(exactly.as_str());
                continue;
            }
            cx.progress()
                .message(order["guidance"].as_str().unwrap_or("?"));
            if order["guidance"] == "stop" {
                return Ok(ToolResult::text("obeyed"));
            }
        }
    })
}

fn endless(_arguments: Value, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        cx.cancelled().await;
        Ok(ToolResult::text("stopped"))
    })
}

/// Leaves something of every kind behind.
fn make(_arguments: Value, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
    Box::pin(async move {
        cx.step("measure", || async { Ok(7) }).await?;
        cx.partial(json!({"part": 1})).await?;
        cx.partial(json!({"part": 2})).await?;
        let text = "0123456789".repeat(10);
        cx.artifact("out/report ü.html", "text/html", text).await?;
        let child = cx.spawn("echo", json!({"n": 5})).await?;
        child.join().await?;
        if cx.attempt() == 1 {
            return Err(Error::tool("not yet").retry_after(Duration::ZERO));
        }
        Ok(ToolResult::text("made"))
    })
}

pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) client: Client,
    pub(super) engine: Engine,
    pub(super) store: Arc<FaultyStore>,
}

pub(super) async fn rig() -> Rig {
    rig_with(|http| http).await
}

pub(super) async fn rig_with(change: impl FnOnce(HttpServer) -> HttpServer) -> Rig {
    rig_configured(|_| {}, change).await
}

pub(super) async fn rig_configured(
    configure: impl FnOnce(&mut Config),
    change: impl FnOnce(HttpServer) -> HttpServer,
) -> Rig {
    let tool = |name: &str, task, code: Code| Tool {
        task,
        ..Tool::new(name, Arc::new(Coded(code)))
    };
    let tools = [
        tool("echo", TaskSupport::Optional, echo),
        tool("inline", TaskSupport::Forbidden, echo),
        tool("tell", TaskSupport::Optional, tell),
        tool("ask", TaskSupport::Optional, ask),
        tool("obey", TaskSupport::Optional, obey),
        tool("endless", TaskSupport::Required, endless),
        Tool {
            retry: Some(Retry::attempts(2)),
            ..tool("make", TaskSupport::Optional, make)
        },
    ];
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
        .tools(Tools::new(tools).unwrap())
        .start()
        .await
        .unwrap();
    let mut config = Config::new("test", "1");
    configure(&mut config);
    let server = Server::new(engine.handle(), config).await;
    let (listener, address) = bind("127.0.0.1:0").await.unwrap();
    let options = RestOptions {
        title: "test".into(),
        version: "1".into(),
        default_tool: Some("echo".into()),
        ..RestOptions::default()
    };
    let http = change(HttpServer::with_rest(&server.unwrap(), options));
    tokio::spawn(http.serve(listener, std::future::pending()));
    Rig {
        address,
        client: Client::new(),
        engine,
        store,
    }
}

impl Rig {
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.client.post(self.url(path)).json(&body);
        request.send().await.unwrap()
    }

    pub(super) async fn create(&self, body: Value) -> String {
        let created = self.post("/tasks", body).await;
        assert_eq!(created.status(), StatusCode::ACCEPTED);
        let task: Value = created.json().await.unwrap();
        task["taskId"].as_str().unwrap().to_owned()
    }

    pub(super) async fn ended(&self, id: &str) -> Value {
        let answer = self.get(&format!("/tasks/{id}/result?wait=60s")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }
}

/// The messages of a stream that has ended: ids and data.
async fn messages(response: Response) -> Vec<(String, Value)> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    assert!(text.trim_end().ends_with("event: end\ndata: {}"), "{text}");
    let blocks = text.split("\n\n").filter(|block| block.contains("id:"));
    let member = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    blocks
        .map(|block| {
            let data = serde_json::from_str(&member(block, "data:")).unwrap();
            (member(block, "id:"), data)
        })
        .collect()
}

pub(super) async fn problem(response: Response) -> (StatusCode, String) {
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let status = response.status();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    (status, problem["detail"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_task_is_created_watched_and_fetched() {
    let rig = rig().await;
    let body = json!({"tool": "echo", "arguments": {"n": 1}, "labels": {"team": "a"}});
    let created = rig.post("/tasks", body).await;
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let task: Value = created.json().await.unwrap();
    let id = task["taskId"].as_str().unwrap();
    assert_eq!(location, rig.url(&format!("/tasks/{id}")));
    assert_eq!(task["links"]["self"], location);
    assert_eq!(task["labels"], json!({"team": "a"}));
    let ended = rig.ended(id).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["result"]["content"][0]["text"], r#"{"n":1}"#);
    assert_eq!(ended["result"]["isError"], false);
    let shown: Value = rig
        .client
        .get(&location)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["phase"], "finished");
    assert_eq!(shown["arguments"], json!({"n": 1}));
    assert!(shown["ttlMs"].as_u64().unwrap() > 0);
    let page: Value = rig
        .get("/tasks?status=completed&tool=echo")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(page["tasks"][0]["taskId"], id);
    let gone = rig.client.delete(&location).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        rig.client.get(&location).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_body_without_a_tool_is_the_default_tools_call() {
    let rig = rig().await;
    let id = rig.create(json!({"prompt": "write a parser"})).await;
    let ended = rig.ended(&id).await;
    assert_eq!(
        ended["result"]["content"][0]["text"],
        r#"{"prompt":"write a parser"}"#
    );
}

#[tokio::test]
async fn a_trailing_slash_changes_nothing() {
    let rig = rig().await;
    let created = rig.post("/tasks/", json!({"tool": "echo"})).await;
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    for path in [
        "/tasks/?limit=1",
        "/tools/",
        "/health/",
        "/health/live/",
        "/openapi.json/",
        "/metrics/",
        "/events/",
    ] {
        assert_eq!(rig.get(path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_said_in_a_sentence() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "endless"})).await;
    let task = format!("/tasks/{id}");
    let posts = [
        ("/tasks".to_owned(), json!([]), 400, "object"),
        ("/tasks".to_owned(), json!({"tool": 7}), 400, "string"),
        (
            "/tasks".to_owned(),
            json!({"tool": "echo", "colour": 1}),
            400,
            "colour",
        ),
        (
            "/tasks".to_owned(),
            json!({"tool": "nope"}),
            404,
            "GET /tools",
        ),
        (
            "/tasks".to_owned(),
            json!({"tool": "inline"}),
            409,
            "/tools/inline",
        ),
        (
            "/tasks".to_owned(),
            json!({"tool": "echo", "arguments": {"x": 1}}),
            400,
            "allowed: n",
        ),
        (
            "/tasks".to_owned(),
            json!({"tool": "echo", "arguments": []}),
            400,
            "object",
        ),
        (
            "/tasks".to_owned(),
            json!({"tool": "echo", "ttl": "soon"}),
            400,
            "ttl",
        ),
        ("/tools/nope".to_owned(), json!({}), 404, "GET /tools"),
        (
            format!("{task}/input"),
            json!({"inputResponses": {}}),
            400,
            "empty",
        ),
        ("/tasks/none/cancel".to_owned(), json!({}), 404, "none"),
    ];
    for (path, body, status, says) in posts {
        let (found, detail) = problem(rig.post(&path, body.clone()).await).await;
        assert_eq!(found.as_u16(), status, "{path} {body}: {detail}");
        assert!(detail.contains(says), "{path} {body}: {detail}");
    }
    let gets = [
        ("/tasks?colour=1", "colour"),
        ("/tasks?limit=0", "1 to 500"),
        ("/tasks?status=lost", "input_required"),
        ("/tasks?cursor=x", "cursor"),
        (&format!("{task}?wait=1"), "500ms"),
        (&format!("{task}?wait=2h"), "1m"),
        (&format!("{task}/events?after=x"), "number"),
        (&format!("{task}/logs?offset=-1"), "offset"),
    ];
    for (path, says) in gets {
        let (status, detail) = problem(rig.get(path).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {detail}");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let wrong_method = rig
        .client
        .request(Method::PUT, rig.url("/tasks"))
        .send()
        .await;
    let wrong_method = wrong_method.unwrap();
    let allowed = wrong_method.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allowed.contains("POST"), "{allowed}");
    assert_eq!(
        problem(wrong_method).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
    let wrong_type = rig
        .client
        .post(rig.url("/tasks"))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(
        problem(wrong_type).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let running = rig.client.delete(rig.url(&task)).send().await.unwrap();
    assert_eq!(problem(running).await.0, StatusCode::CONFLICT);
    let stranger = rig
        .client
        .get(rig.url("/tasks"))
        .header("host", "evil.example");
    let (status, detail) = problem(stranger.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(detail.contains("evil.example"), "{detail}");
}

#[tokio::test]
async fn a_second_cancel_is_harmless() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "endless"})).await;
    let path = format!("/tasks/{id}/cancel");
    let first = rig.post(&path, json!({"reason": "enough"})).await;
    assert!(first.status().is_success());
    let ended = rig.ended(&id).await;
    assert_eq!(
        (&ended["status"], &ended["reason"]),
        (&json!("cancelled"), &json!("enough"))
    );
    let second = rig.client.post(rig.url(&path)).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(rig.ended(&id).await["reason"], "enough");
}

#[tokio::test]
async fn the_first_answer_that_fits_wins() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "ask"})).await;
    let path = format!("/tasks/{id}");
    let question = loop {
        let task: Value = rig.get(&path).await.json().await.unwrap();
        if task["status"] == "input_required" {
            break task["inputRequests"]["count"].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(question["params"]["message"], "How many?");
    let answer = |content: Value| json!({"inputResponses": {"count": {"action": "accept", "content": content}}});
    let input = format!("{path}/input");
    let (status, detail) = problem(rig.post(&input, answer(json!({"n": "many"}))).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("count"), "{detail}");
    let taken: Value = rig
        .post(&input, answer(json!({"n": 3})))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(taken["accepted"], json!(["count"]));
    let late: Value = rig
        .post(&input, answer(json!({"n": 4})))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(late["ignored"], json!(["count"]));
    let ended = rig.ended(&id).await;
    let text = ended["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("3") && !text.contains("4"), "{text}");
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_resume_without_repeats() {
    let rig = rig().await;
    let id = rig
        .create(json!({"tool": "tell", "arguments": {"n": 50}}))
        .await;
    let path = format!("/tasks/{id}/events");
    let all = messages(rig.get(&path).await).await;
    let numbers: Vec<u64> = all
        .iter()
        .filter_map(|(_, told)| told["seq"].as_u64())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(all[0].1["type"], "TASK_STARTED");
    assert_eq!(all.last().unwrap().1["type"], "TASK_COMPLETED");
    let log: String = all
        .iter()
        .filter_map(|(_, told)| told["text"].as_str())
        .collect();
    let lines: String = (1..=50).map(|i| format!("line {i}\n")).collect();
    assert_eq!(log, lines);
    // From any message on, exactly the rest.
    for at in [0, all.len() / 2, all.len() - 1] {
        let request = rig
            .client
            .get(rig.url(&path))
            .header("last-event-id", &all[at].0);
        let rest = messages(request.send().await.unwrap()).await;
        let told = |messages: &[(String, Value)]| -> Vec<Value> {
            let events = messages.iter().filter(|(_, told)| told["seq"].is_u64());
            events.map(|(_, told)| told.clone()).collect()
        };
        assert_eq!(told(&rest), told(&all[at + 1..]));
        let text = |messages: &[(String, Value)]| -> String {
            messages
                .iter()
                .filter_map(|(_, told)| told["text"].as_str())
                .collect()
        };
        assert_eq!(text(&rest), text(&all[at + 1..]));
    }
}

#[tokio::test]
async fn the_log_is_read_by_offset_in_both_forms() {
    let rig = rig().await;
    let id = rig
        .create(json!({"tool": "tell", "arguments": {"n": 3}}))
        .await;
    rig.ended(&id).await;
    let path = format!("/tasks/{id}/logs");
    let page: Value = rig
        .get(&format!("{path}?offset=7"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(page["chunks"][0]["offset"], 7);
    assert_eq!((&page["next"], &page["end"]), (&json!(21), &json!(21)));
    let plain = rig
        .client
        .get(rig.url(&path))
        .header("accept", "text/plain");
    let plain = plain.send().await.unwrap();
    assert_eq!(plain.headers()["outlast-log-next"], "21");
    assert_eq!(plain.text().await.unwrap(), "line 1\nline 2\nline 3\n");
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let rig = rig().await;
    let list: Value = rig.get("/tools").await.json().await.unwrap();
    let support = |name: &str| {
        let tools = list["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap()["taskSupport"].clone()
    };
    assert_eq!(
        (support("inline"), support("endless")),
        (json!("forbidden"), json!("required"))
    );
    let inline: Value = rig
        .post("/tools/inline", json!({"n": 2}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(inline["content"][0]["text"], r#"{"n":2}"#);
    let waited = rig.post("/tools/echo?wait=60s", json!({})).await;
    assert_eq!(waited.status(), StatusCode::OK);
    let not_waited = rig.post("/tools/endless", json!({})).await;
    assert_eq!(not_waited.status(), StatusCode::ACCEPTED);
    assert_eq!(not_waited.headers()["retry-after"], "1");
}

#[tokio::test]
async fn the_document_names_what_is_there() {
    let rig = rig().await;
    let document: Value = rig.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    // Every path in the document is routed: what it takes is told by another method's refusal.
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(outlast_http::is_taken(path), "MCP could take {path} away");
        let path = path.replace("{id}", "none").replace("{name}", "none");
        let wrong = rig.client.put(rig.url(&path)).send().await.unwrap();
        assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

pub(super) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

/// The next message; `None` once the socket is closed, with its code.
pub(super) async fn heard(socket: &mut Socket) -> std::result::Result<Value, u16> {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => return Err(frame.unwrap().code.into()),
            _ => {}
        }
    }
}

pub(super) async fn say(socket: &mut Socket, what: &str) {
    socket.send(Message::text(what)).await.unwrap();
}

async fn socket(rig: &Rig, id: &str, after: &str) -> Socket {
    socket_at(rig, &format!("/ws/{id}?after={after}")).await
}

pub(super) async fn socket_at(rig: &Rig, path: &str) -> Socket {
    let url = format!("ws://{}{path}", rig.address);
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

/// Listens until a message of this type.
pub(super) async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = heard(socket).await.unwrap();
        if message["type"] == kind {
            return message;
        }
    }
}

/// Whoever still says something when the server has told everything hears the last words all the same.
#[tokio::test]
async fn a_close_arrives_although_the_reader_was_speaking() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "echo"})).await;
    rig.get(&format!("/tasks/{id}?wait=30s")).await;
    for _ in 0..20 {
        let mut socket = socket(&rig, &id, "0").await;
        let code = loop {
            // The server may have said its last word by now, and takes no more; nothing of it may be lost.
            let _ = socket.send(Message::Ping(Vec::new().into())).await;
            match socket.next().await {
                Some(Ok(Message::Close(Some(close)))) => break u16::from(close.code),
                Some(Ok(_)) => {}
                broken => panic!("no close came: {broken:?}"),
            }
        };
        assert_eq!(code, 1000);
    }
}

/// A watcher is not told that a task has ended because the store could not be read for a moment.
#[tokio::test]
async fn a_stream_outlasts_a_store_that_cannot_be_read() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "obey"})).await;
    let mut socket = socket(&rig, &id, "0").await;
    until(&mut socket, "TASK_STARTED").await;
    rig.store.on_next("log_read", Fault::Fail);
    rig.store.on_next("events", Fault::Fail);
    say(
        &mut socket,
        r#"{"type":"INTERVENTION","guidance":"smaller steps"}"#,
    )
    .await;
    loop {
        let progress = until(&mut socket, "PROGRESS").await;
        if progress["progress"]["message"] == "smaller steps" {
            break;
        }
    }
    assert_eq!(rig.store.planned(), 0, "both reads have failed once");
    say(&mut socket, r#"{"type":"INTERVENTION","guidance":"stop"}"#).await;
    until(&mut socket, "TASK_COMPLETED").await;
    assert_eq!(heard(&mut socket).await, Err(1000));
}

#[tokio::test]
async fn what_is_said_to_a_socket_keeps_every_digit() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "obey"})).await;
    let mut socket = socket(&rig, &id, "0").await;
    let said = r#"{"type":"INTERVENTION","guidance":"repeat","id":12345678901234567890123}"#;
    say(&mut socket, said).await;
    loop {
        let progress = until(&mut socket, "PROGRESS").await;
        if progress["progress"]["message"] == said {
            break;
        }
    }
    say(&mut socket, r#"{"type":"INTERVENTION","guidance":"stop"}"#).await;
    until(&mut socket, "TASK_COMPLETED").await;
}

#[tokio::test]
async fn a_socket_carries_both_ways() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "obey"})).await;
    let mut first = socket(&rig, &id, "0").await;
    assert_eq!(heard(&mut first).await.unwrap()["type"], "TASK_STARTED");
    say(&mut first, "{").await;
    assert!(until(&mut first, "ERROR").await["message"].is_string());
    say(&mut first, r#"{"type":"DANCE"}"#).await;
    let error = until(&mut first, "ERROR").await;
    assert!(
        error["message"].as_str().unwrap().contains("INTERVENTION"),
        "{error}"
    );
    say(
        &mut first,
        r#"{"type":"INTERVENTION","guidance":"smaller steps"}"#,
    )
    .await;
    assert_eq!(until(&mut first, "SIGNALLED").await["number"], 1);
    loop {
        let progress = until(&mut first, "PROGRESS").await;
        if progress["progress"]["message"] == "smaller steps" {
            break;
        }
    }
    // A second one, later, hears everything from the start, and what it says counts as well.
    let mut second = socket(&rig, &id, "0").await;
    assert_eq!(heard(&mut second).await.unwrap()["type"], "TASK_STARTED");
    say(&mut second, r#"{"type":"INTERVENTION","guidance":"stop"}"#).await;
    until(&mut second, "TASK_COMPLETED").await;
    assert_eq!(heard(&mut second).await, Err(1000));
    until(&mut first, "TASK_COMPLETED").await;
    let late = rig
        .post(&format!("/tasks/{id}/signals/INTERVENTION"), json!({}))
        .await;
    assert_eq!(problem(late).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_socket_cancels_and_answers() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "ask"})).await;
    let mut asked = socket(&rig, &id, "0").await;
    until(&mut asked, "INPUT_REQUIRED").await;
    say(
        &mut asked,
        r#"{"type":"ANSWER","inputResponses":{"count":{"action":"accept","content":{"n":"x"}}}}"#,
    )
    .await;
    until(&mut asked, "ERROR").await;
    say(
        &mut asked,
        r#"{"type":"ANSWER","inputResponses":{"count":{"action":"decline"}}}"#,
    )
    .await;
    assert_eq!(
        until(&mut asked, "ANSWERED").await["accepted"],
        json!(["count"])
    );
    until(&mut asked, "TASK_COMPLETED").await;
    let id = rig.create(json!({"tool": "endless"})).await;
    let mut running = socket(&rig, &id, "0").await;
    say(&mut running, r#"{"type":"CANCEL","reason":"enough"}"#).await;
    until(&mut running, "TASK_CANCELLED").await;
    assert_eq!(rig.ended(&id).await["reason"], "enough");
}

/// A task that ends while its log and its events are being read.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_comes_after_the_last_line() {
    let rig = rig().await;
    for _ in 0..40 {
        let id = rig
            .create(json!({"tool": "tell", "arguments": {"n": 3}}))
            .await;
        let all = messages(rig.get(&format!("/tasks/{id}/events")).await).await;
        assert_eq!(all.last().unwrap().1["type"], "TASK_COMPLETED");
        let lines = all.iter().filter_map(|(_, told)| told["text"].as_str());
        assert_eq!(lines.collect::<String>(), "line 1\nline 2\nline 3\n");
    }
}

#[tokio::test]
async fn what_failed_is_found_by_its_outcome() {
    let rig = rig().await;
    let mut ids = Vec::new();
    for n in ["well", "error", "failed"] {
        let id = rig
            .create(json!({"tool": "echo", "arguments": {"n": n}}))
            .await;
        rig.ended(&id).await;
        ids.push(id);
    }
    let [well, error, failed] = <[String; 3]>::try_from(ids).unwrap();
    let running = rig.create(json!({"tool": "endless"})).await;
    let shown: Value = rig
        .get(&format!("/tasks/{error}"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&shown["status"], &shown["outcome"], &shown["isError"]),
        (&json!("completed"), &json!("error"), &json!(true))
    );
    let shown: Value = rig
        .get(&format!("/tasks/{running}"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(shown.get("outcome"), None, "it has not ended");
    for (query, expected) in [
        ("outcome=completed", vec![&well]),
        ("outcome=error", vec![&error]),
        ("outcome=error,failed", vec![&failed, &error]),
        ("status=completed", vec![&error, &well]),
        ("status=completed&outcome=error,failed", vec![&error]),
        ("outcome=cancelled", vec![]),
    ] {
        let page: Value = rig
            .get(&format!("/tasks?{query}"))
            .await
            .json()
            .await
            .unwrap();
        let tasks = page["tasks"].as_array().unwrap().iter();
        let found: Vec<_> = tasks.map(|task| task["taskId"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    for query in ["outcome=well", "status=working&outcome=error"] {
        let (status, detail) = problem(rig.get(&format!("/tasks?{query}")).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(detail.contains("error"), "{detail}");
    }
    let stats: Value = rig.get("/stats").await.json().await.unwrap();
    let outcomes = json!({"completed": 1, "error": 1, "failed": 1});
    assert_eq!(stats["outcomes"], outcomes);
    let counts = stats["counts"].as_array().unwrap();
    let open: Vec<_> = counts
        .iter()
        .filter(|one| one.get("outcome").is_none())
        .collect();
    assert_eq!(open.len(), 1, "{counts:?}");
    assert_eq!(open[0]["tool"], "endless");
}

/// By its places it would be read into members, and a task would be cancelled or made by it.
#[tokio::test]
async fn a_list_is_no_body() {
    let rig = rig_with(|http| http).await;
    let id = rig.create(json!({"tool": "endless"})).await;
    for (path, body) in [
        (format!("/tasks/{id}/cancel"), json!([])),
        (format!("/tasks/{id}/cancel"), json!(["enough"])),
        (
            format!("/tasks/{id}/input"),
            json!([{"count": {"action": "decline"}}]),
        ),
        (
            "/tasks".to_owned(),
            json!(["echo", {}, {}, null, "2h", 5, []]),
        ),
    ] {
        let (status, detail) = problem(rig.post(&path, body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(detail.contains("object"), "{detail}");
    }
    let task: Value = rig.get(&format!("/tasks/{id}")).await.json().await.unwrap();
    assert_eq!(task["status"], "working");
}

#[tokio::test]
async fn a_key_that_could_recognize_nothing_is_refused() {
    let rig = rig().await;
    let call = rig.client.post(rig.url("/tools/inline"));
    let call = call.header("idempotency-key", "k").json(&json!({"n": 1}));
    let (status, detail) = problem(call.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("Idempotency-Key"), "{detail}");
}

/// A place that the task has not come to hides nothing of what comes.
#[tokio::test]
async fn whoever_is_ahead_hears_what_comes() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "obey"})).await;
    let mut first = socket(&rig, &id, "0").await;
    until(&mut first, "TASK_STARTED").await;
    let mut ahead = socket(&rig, &id, "999.99999").await;
    // It is answered once the socket stands at its place.
    say(&mut ahead, r#"{"type":"DANCE"}"#).await;
    until(&mut ahead, "ERROR").await;
    say(&mut first, r#"{"type":"INTERVENTION","guidance":"stop"}"#).await;
    let last = until(&mut first, "TASK_COMPLETED").await;
    assert_eq!(until(&mut ahead, "TASK_COMPLETED").await, last);
    assert_eq!(heard(&mut ahead).await, Err(1000));
}

#[tokio::test]
async fn a_message_that_is_too_large_closes_the_socket_with_a_sentence() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "endless"})).await;
    for path in [format!("/ws/{id}"), "/ws".to_owned()] {
        let mut socket = socket_at(&rig, &path).await;
        let large = json!({"type": "INTERVENTION", "text": "x".repeat(5 << 20)});
        say(&mut socket, &large.to_string()).await;
        let close = loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Close(close) => break close.unwrap(),
                _ => continue,
            }
        };
        assert_eq!(u16::from(close.code), 1009);
        assert!(close.reason.contains("1048576"), "{}", close.reason);
    }
}
