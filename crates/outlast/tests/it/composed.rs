//! Servers in servers, what lives as long as they run, and layers around their tools.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use outlast::engine::BoxFuture;
use outlast::layer::{CallError, Layer, Service, ToolCall};
use outlast::prelude::*;
use outlast::{RawJson, ToolResult};
use serde_json::{Value, json};

use crate::rig::{PATIENCE, Rig, settings};

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A pool, and whose it is.
struct Pool {
    name: &'static str,
}

/// Who is asked.
#[tool]
async fn who(pool: State<Pool>) -> &'static str {
    pool.name
}

/// Asks another tool of the same server.
#[tool(task)]
async fn asks(cx: Cx) -> Result<String> {
    cx.spawn("who_as_task", json!({})).await?.join_as().await
}

#[tool(task)]
async fn who_as_task(pool: State<Pool>) -> String {
    pool.name.to_owned()
}

#[prompt]
async fn hello(pool: State<Pool>) -> String {
    format!("Hello {}", pool.name)
}

#[resource("pools://mine")]
async fn mine(pool: State<Pool>) -> &'static str {
    pool.name
}

#[resource("pools://of/{name}{?n}")]
async fn of(name: String, n: Option<u32>, pool: State<Pool>) -> String {
    format!("{name} {n:?} {}", pool.name)
}

fn part(name: &'static str) -> Server {
    Server::new(name)
        .state(Pool { name })
        .tools([who(), asks(), who_as_task()])
        .prompt(hello)
        .resource(mine)
        .resource(of)
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text: {result}"))
}

#[tokio::test]
async fn mounted_servers_keep_their_names_and_state() {
    let nested = part("left").mount("deep", Server::new("deep").tool(who));
    let server = part("whole").mount("l", nested).mount("r", part("right"));
    let mut rig = Rig::start(server).await;
    for (tool, whose) in [
        ("who", "whole"),
        ("l_who", "left"),
        ("r_who", "right"),
        // It has no state of its own, so it sees that of the server around it.
        ("l_deep_who", "left"),
    ] {
        assert_eq!(text(&rig.call(tool, json!({})).await), whose, "{tool}");
    }
    for (tool, whose) in [("asks", "whole"), ("l_asks", "left"), ("r_asks", "right")] {
        let task = rig.ended_task(tool, json!({})).await;
        assert_eq!(text(&task["result"]), whose, "{tool}: {task}");
    }
    let got = rig.request("prompts/get", json!({"name": "r_hello"})).await;
    let said = &got["result"]["messages"][0]["content"]["text"];
    assert_eq!(said, "Hello right", "{got}");
    for (uri, contents) in [
        ("pools://mine", "whole"),
        ("pools://l/mine", "left"),
        ("pools://r/of/x?n=3", "x Some(3) right"),
    ] {
        let read = rig.request("resources/read", json!({"uri": uri})).await;
        assert_eq!(read["result"]["contents"][0]["text"], contents, "{read}");
        assert_eq!(read["result"]["contents"][0]["uri"], uri);
    }
    let listed = rig.request("resources/templates/list", json!({})).await;
    let templates = listed["result"]["resourceTemplates"].as_array().unwrap();
    let is_there = |uri: &str| templates.iter().any(|one| one["uriTemplate"] == uri);
    assert!(is_there("pools://r/of/{name}{?n}"), "{listed}");
    rig.server.shutdown(Duration::ZERO).await.unwrap();
}

async fn refused(server: Server) -> String {
    let folder = tempfile::tempdir().unwrap();
    match server.start(settings(&folder)).await {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_cannot_be_mounted_is_said_at_the_start() {
    let twice = part("a").mount("x", part("b")).mount("x", part("c"));
    let error = refused(twice).await;
    assert!(error.contains("\"x_who\""), "{error}");
    let error = refused(part("a").mount("", part("b"))).await;
    assert!(error.contains("\"who\""), "{error}");
    let error = refused(part("a").mount("x y", part("b"))).await;
    assert!(
        error.contains("\"x y\"") && error.contains("letters"),
        "{error}"
    );
    let stateless = Server::new("a").mount("b", Server::new("b").tool(who));
    let error = refused(stateless).await;
    assert!(
        error.contains("State<") && error.contains("Pool"),
        "{error}"
    );
    let mail = outlast::Resource::new("mailto:x", "mail", |_| async { Ok("x") });
    let error = refused(Server::new("a").mount("b", Server::new("b").resource(mail))).await;
    assert!(error.contains("mailto:x"), "{error}");
    let mut with_users = Server::new("b");
    let mut own = Settings::default();
    own.auth.tokens = Some("tokens".into());
    with_users = with_users.settings(own);
    let error = refused(Server::new("a").mount("b", with_users)).await;
    assert!(
        error.contains("\"b\"") && error.contains("outermost"),
        "{error}"
    );
}

#[tokio::test]
async fn tags_hold_for_what_is_inside() {
    let inner = Server::new("in")
        .state(Pool { name: "in" })
        .tools([who().tag("read"), who_as_task().tag("write")]);
    let server = Server::new("out")
        .mount("in", inner)
        .exclude_tags(["write"]);
    let mut rig = Rig::start(server).await;
    assert_eq!(text(&rig.call("in_who", json!({})).await), "in");
    let list = rig.request("tools/list", json!({})).await;
    assert!(!list.to_string().contains("in_who_as_task"), "{list}");
}

fn noted(diary: &Diary, name: &'static str) -> Server {
    let (starts, ends) = (diary.clone(), diary.clone());
    Server::new(name).lifespan(
        move || {
            starts.note(format!("start {name}"));
            async move { Ok(Pool { name }) }
        },
        move |pool| {
            ends.note(format!("stop {}", pool.name));
            async {}
        },
    )
}

/// Says when it is dropped.
struct Noted(Diary);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.note("handler gone");
    }
}

/// Waits for ever.
#[tool(task)]
async fn waits(diary: State<Diary>, cx: Cx) -> Result<()> {
    let _noted = Noted(Diary::clone(&diary));
    cx.step("wait", || async {
        diary.note("handler there");
        std::future::pending::<Result<()>>().await
    })
    .await
}

#[tokio::test]
async fn a_lifespan_begins_before_and_ends_after_every_handler() {
    let diary = Diary::default();
    let inner = noted(&diary, "inner").tool(who);
    let server = noted(&diary, "outer")
        .state(diary.clone())
        .tools([who(), waits()])
        .mount("in", inner);
    let mut rig = Rig::start(server).await;
    assert_eq!(text(&rig.call("who", json!({})).await), "outer");
    assert_eq!(text(&rig.call("in_who", json!({})).await), "inner");
    rig.call("waits", json!({})).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !diary.all().iter().any(|note| note == "handler there") {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", diary.all());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.server.shutdown(Duration::ZERO).await.unwrap();
    let expected = [
        "start outer",
        "start inner",
        "handler there",
        "handler gone",
        "stop inner",
        "stop outer",
    ];
    assert_eq!(diary.all(), expected);
}

#[tokio::test]
async fn a_lifespan_that_does_not_start_takes_down_those_before_it() {
    let diary = Diary::default();
    let server = noted(&diary, "first")
        .lifespan(
            || async { Err::<u8, _>(Error::tool("no database")) },
            |_| async {},
        )
        .tool(who);
    let error = refused(server).await;
    assert!(
        error.contains("no database") && error.contains("u8"),
        "{error}"
    );
    assert_eq!(diary.all(), ["start first", "stop first"]);
    // What cannot run at all starts nothing.
    let diary = Diary::default();
    refused(noted(&diary, "x").tools([who(), who()])).await;
    assert!(diary.all().is_empty());
}

/// Notes what passes, refuses what it is told to, and adds to the arguments.
#[derive(Clone)]
struct Watch(&'static str, Diary);

#[derive(Clone)]
struct Watched<S>(S, Watch);

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched(inner, self.clone())
    }
}

impl<S> Service<ToolCall> for Watched<S>
where
    S: Service<ToolCall, Response = ToolResult>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    type Response = ToolResult;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<ToolResult, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut call: ToolCall) -> Self::Future {
        let Watch(name, diary) = self.1.clone();
        let what = format!("{name}: {} of {}", call.tool(), call.cx().owner().as_str());
        let mut arguments = call.arguments.to_value();
        if arguments["refuse"] == name {
            return Box::pin(async { Err("not today".into()) });
        }
        arguments["path"] = format!("{}{name}", arguments["path"].as_str().unwrap_or("")).into();
        call.arguments = RawJson::from(arguments);
        let ending = self.0.call(call);
        Box::pin(async move {
            let ending = ending.await.map_err(Into::into);
            diary.note(format!(
                "{what} {}",
                if ending.is_ok() { "ended" } else { "failed" }
            ));
            ending
        })
    }
}

/// Says how it was reached.
#[tool]
async fn echo(path: String, refuse: Option<String>) -> Result<String> {
    match refuse.as_deref() {
        Some("code") => Err(Error::protocol(-32050, "with a code")),
        _ => Ok(path),
    }
}

#[tool(task)]
async fn echo_task(path: String) -> String {
    path
}

#[tokio::test]
async fn layers_see_every_call_however_it_is_served() {
    let diary = Diary::default();
    let inner = Server::new("in")
        .tools([echo(), echo_task()])
        .layer(Watch("c", diary.clone()));
    let server = Server::new("out")
        .tool(echo)
        .mount("in", inner)
        .layer(Watch("a", diary.clone()))
        .layer(Watch("b", diary.clone()));
    let mut rig = Rig::start(server).await;
    let start = || json!({"path": ""});
    // The last one that was added is outside, and the outer server is outside of the inner.
    assert_eq!(text(&rig.call("echo", start()).await), "ba");
    assert_eq!(text(&rig.call("in_echo", start()).await), "bac");
    let task = rig.ended_task("in_echo_task", start()).await;
    assert_eq!(text(&task["result"]), "bac");
    let expected = [
        "a: echo of local ended",
        "b: echo of local ended",
        "c: in_echo of local ended",
        "a: in_echo of local ended",
        "b: in_echo of local ended",
        "c: in_echo_task of local ended",
        "a: in_echo_task of local ended",
        "b: in_echo_task of local ended",
    ];
    assert_eq!(diary.all(), expected);
    let refused = rig
        .call("in_echo", json!({"path": "", "refuse": "a"}))
        .await;
    assert_eq!(
        (&refused["isError"], text(&refused)),
        (&json!(true), "not today")
    );
    // The handler's own errors come through as what they are, also through errors of other types.
    let params = json!({"name": "in_echo", "arguments": {"path": "", "refuse": "code"}});
    let failed = rig.request("tools/call", params).await;
    assert_eq!(failed["error"]["code"], -32050, "{failed}");
    // Arguments are checked before any layer sees them.
    let wrong = rig.call("echo", json!({"path": 7})).await;
    assert_eq!(wrong["isError"], true);
    assert_eq!(diary.all().last().unwrap(), "b: in_echo of local failed");
    drop(CallError(Error::tool("x")));
}
