//! Bad parameters, for every method of both eras, from one table: what is missing, of another type or
//! unknown is refused with the right code in a message that stays readable, and nothing has run by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_core::{Owner, ToolResult};
use outlast_engine::{BoxFuture, Result as EngineResult, TaskSupport};
use outlast_mcp::offer::{
    CompletionRequest, Prompt, PromptArgument, PromptHandler, PromptMessages, ReadRequest,
    RequestCx, Resource, ResourceContents, ResourceHandler,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use crate::rig::{Rig, declaring, modern_body, modern_headers, tool, whole};

/// What a member of the parameters is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    /// Names something that there may not be.
    Name,
    Object,
    Whole,
}
use Kind::{Name, Object, Text, Whole};

/// A member: what it is called, what it is, and whether the method cannot do without it.
type Member = (&'static str, Kind, bool);

/// A method of one or both eras, and parameters that it takes.
struct Method {
    name: &'static str,
    legacy: bool,
    modern: bool,
    members: &'static [Member],
    good: Value,
}

fn both(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        name,
        legacy: true,
        modern: true,
        members,
        good,
    }
}

fn legacy(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        modern: false,
        ..both(name, members, good)
    }
}

fn modern(name: &'static str, members: &'static [Member], good: Value) -> Method {
    Method {
        legacy: false,
        ..both(name, members, good)
    }
}

const CURSOR: &[Member] = &[("cursor", Text, false)];
const TASK: &[Member] = &[("taskId", Name, true)];
const URI: &[Member] = &[("uri", Name, true)];
const CALL: &[Member] = &[("name", Name, true), ("arguments", Object, false)];

/// Every method that needs no administrator. `running` is a task that has not ended, `ended` one that has.
fn methods(running: &str, ended: &str) -> Vec<Method> {
    let none = || json!({});
    let reference = json!({"ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "who", "value": "a"}});
    vec![
        both("tools/list", CURSOR, none()),
        both("prompts/list", CURSOR, none()),
        both("resources/list", CURSOR, none()),
        both("resources/templates/list", CURSOR, none()),
        both(
            "tools/call",
            CALL,
            json!({"name": "counts", "arguments": {}}),
        ),
        both(
            "prompts/get",
            CALL,
            json!({"name": "greet", "arguments": {"who": "x"}}),
        ),
        both("resources/read", URI, json!({"uri": "plain://one"})),
        both(
            "completion/complete",
            &[
                ("ref", Object, true),
                ("argument", Object, true),
                ("context", Object, false),
            ],
            reference,
        ),
        both("tasks/get", TASK, json!({"taskId": ended})),
        both("tasks/cancel", TASK, json!({"taskId": running})),
        both(
            "outlast/logs",
            &[
                ("taskId", Name, true),
                ("offset", Whole, false),
                ("limit", Whole, false),
            ],
            json!({"taskId": ended, "offset": 0, "limit": 10}),
        ),
        both(
            "outlast/signal",
            &[
                ("taskId", Name, true),
                ("name", Text, true),
                ("id", Text, false),
            ],
            json!({"taskId": running, "name": "hint"}),
        ),
        both(
            "outlast/share",
            &[
                ("taskId", Name, true),
                ("with", Text, true),
                ("may", Text, false),
            ],
            json!({"taskId": ended, "with": "user:bob", "may": "read"}),
        ),
        both("outlast/retry", TASK, json!({"taskId": ended})),
        legacy("ping", &[], none()),
        legacy(
            "logging/setLevel",
            &[("level", Text, true)],
            json!({"level": "info"}),
        ),
        legacy("resources/subscribe", URI, json!({"uri": "plain://one"})),
        // To end what was never begun is no mistake.
        legacy(
            "resources/unsubscribe",
            &[("uri", Text, true)],
            json!({"uri": "plain://one"}),
        ),
        legacy("tasks/result", TASK, json!({"taskId": ended})),
        modern("server/discover", &[], none()),
        modern(
            "tasks/update",
            &[("taskId", Name, true), ("inputResponses", Object, false)],
            json!({"taskId": running, "inputResponses": {}}),
        ),
        modern(
            "subscriptions/listen",
            &[("notifications", Object, true)],
            json!({"notifications": {"taskIds": [ended]}}),
        ),
    ]
}

/// Counts what has run.
struct Plain(Arc<AtomicUsize>);

impl PromptHandler for Plain {
    fn get(
        &self,
        _arguments: BTreeMap<String, String>,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<PromptMessages>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            Ok(PromptMessages {
                description: None,
                messages: json!([]).into(),
                meta: None,
            })
        })
    }

    fn complete(
        &self,
        _request: CompletionRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Vec<String>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl ResourceHandler for Plain {
    fn read(
        &self,
        _request: ReadRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Option<Vec<ResourceContents>>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Some(vec![ResourceContents::text("plain")])) })
    }
}

/// A rig with something of every kind, and how often anything of it has run.
async fn rig() -> (Rig, Arc<AtomicUsize>) {
    let rig = Rig::new().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let change = rig.server.catalog().change(|offer| {
        let counter = Arc::clone(&ran);
        offer.add_tool(tool("counts", TaskSupport::Forbidden, move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(ToolResult::text("counted")) }
        }))?;
        let who = PromptArgument {
            name: "who".into(),
            required: true,
            ..PromptArgument::default()
        };
        offer.add_prompt(Prompt {
            arguments: vec![who],
            completes: true,
            ..Prompt::new("greet", Arc::new(Plain(Arc::clone(&ran))))
        })?;
        let plain = Arc::new(Plain(Arc::clone(&ran)));
        offer.add_resource(Resource::new("plain://one", "one", plain))
    });
    change.unwrap();
    (rig, ran)
}

#[tokio::test]
async fn what_only_administrators_may_is_refused_before_it_is_read() {
    let (rig, _) = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    for name in ["outlast/pause", "outlast/schedules", "outlast/schedule"] {
        for params in [
            json!({}),
            json!({"paused": true, "name": "x", "action": "run"}),
        ] {
            let (status, message) = rig.modern(name, params.clone()).await;
            assert_eq!(
                (status, &message["error"]["code"]),
                (403, &json!(-32600)),
                "{name}"
            );
            let (status, message) = whole(session.response(1, name, params).await).await;
            assert_eq!(
                (status, &message["error"]["code"]),
                (403, &json!(-32600)),
                "{name}"
            );
            let said = message["error"]["message"].as_str().unwrap();
            assert!(said.contains("tasks:admin"), "{said}");
        }
    }
}

#[tokio::test]
async fn parameters_are_an_object_or_absent() {
    let (rig, ran) = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    for method in methods("x", "y") {
        let name = method.name;
        for params in [
            json!([]),
            json!(["a"]),
            json!("text"),
            json!(7),
            json!(true),
            Value::Null,
        ] {
            let body = json!({"jsonrpc": "2.0", "id": 3, "method": name, "params": params});
            if method.legacy {
                let (status, message) = whole(session.message(&body).await).await;
                let code = &message["error"]["code"];
                assert_eq!(
                    (status, code),
                    (200, &json!(-32602)),
                    "{name} {params}: {message}"
                );
            }
            // Without a word about itself it is no request of the newer era.
            let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", name)];
            let (status, message) = whole(rig.post(&headers, body.to_string()).await).await;
            let code = &message["error"]["code"];
            assert_eq!(
                (status, code),
                (400, &json!(-32602)),
                "{name} {params}: {message}"
            );
            assert_eq!(message["id"], 3);
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
}

/// Replaces the value of `member` by this text, which need not be JSON.
fn with_text(body: &Value, member: &str, text: &str) -> String {
    let mut body = body.clone();
    body["params"][member] = "MARK".into();
    body.to_string().replace("\"MARK\"", text)
}

#[tokio::test]
async fn numbers_texts_and_nesting_beyond_measure() {
    let (rig, ran) = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let deeper = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let digits = "9".repeat(400);
    let texts = [
        // No double holds them.
        "1e400",
        "-1e400",
        digits.as_str(),
        // Half of a pair of surrogates; a control character; no UTF-8 escape at all.
        r#""\ud800""#,
        "\"\u{1}\"",
        r#""\x41""#,
        // Not JSON.
        "NaN",
        "01",
        "'x'",
        "",
        deep.as_str(),
        deeper.as_str(),
    ];
    for method in methods("x", "y") {
        for (member, ..) in method.members {
            for text in texts {
                let mut bodies = Vec::new();
                if method.legacy {
                    let body = json!({"jsonrpc": "2.0", "id": 3, "method": method.name,
                        "params": method.good});
                    let headers = vec![("mcp-session-id", session.id.clone())];
                    bodies.push((headers, body));
                }
                if method.modern {
                    let body = modern_body(3, &declaring(), method.name, method.good.clone());
                    bodies.push((modern_headers(&body), body));
                }
                for (headers, body) in bodies {
                    let headers: Vec<(&str, &str)> = headers
                        .iter()
                        .map(|(name, value)| (*name, value.as_str()))
                        .collect();
                    let raw = with_text(&body, member, text);
                    let shown = &raw[..raw.len().min(300)];
                    let (status, message) = whole(rig.post(&headers, raw.clone()).await).await;
                    let code = message["error"]["code"].as_i64();
                    let code = code.unwrap_or_else(|| panic!("{shown} was taken: {message}"));
                    assert!(
                        matches!(code, -32700 | -32600 | -32602 | -32020 | -32002 | -32601),
                        "{shown}: {message}"
                    );
                    assert!(
                        matches!(status, 200 | 400 | 404),
                        "{status} {shown}: {message}"
                    );
                }
            }
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
}

#[tokio::test]
async fn a_call_with_a_header_or_metadata_that_does_not_fit_never_runs() {
    let (rig, ran) = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let call = |more: Value| {
        let mut params = json!({"name": "counts", "arguments": {}});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        params
    };
    for more in [
        json!({"_meta": 7}),
        json!({"_meta": []}),
        json!({"_meta": "x"}),
        json!({"_meta": {"progressToken": {}}}),
        json!({"_meta": {"progressToken": []}}),
        json!({"_meta": {"progressToken": true}}),
        json!({"task": 7}),
        json!({"task": null}),
        json!({"task": []}),
        json!({"task": {"ttl": "x"}}),
        json!({"task": {"ttl": -1}}),
        json!({"task": {"ttl": []}}),
    ] {
        let message = session.call("tools/call", call(more.clone())).await;
        let code = message["error"]["code"].as_i64();
        // A tool that is never a task says so, whatever else the wish is.
        assert!(matches!(code, Some(-32602 | -32601)), "{more}: {message}");
    }
    for meta in [
        json!({"progressToken": {}}),
        json!({"io.modelcontextprotocol/logLevel": "loud"}),
        json!({"io.modelcontextprotocol/logLevel": 7}),
    ] {
        let (_, message) = rig.modern("tools/call", call(json!({"_meta": meta}))).await;
        assert_eq!(message["error"]["code"], -32602, "{meta}: {message}");
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
}

#[tokio::test]
async fn a_line_that_breaks_off_at_any_byte_runs_nothing() {
    let (rig, ran) = rig().await;
    let params = json!({"name": "counts", "arguments": {"text": "größer"}});
    let line = modern_body(1, &declaring(), "tools/call", params).to_string();
    for cut in 0..line.len() {
        let (mut input, their_input) = tokio::io::duplex(64 * 1024);
        let (their_output, mut output) = tokio::io::duplex(64 * 1024);
        input.write_all(&line.as_bytes()[..cut]).await.unwrap();
        drop(input);
        let reader = BufReader::new(their_input);
        let served = rig.server.serve_lines(Owner::local(), reader, their_output);
        served.await.unwrap();
        let mut said = String::new();
        output.read_to_string(&mut said).await.unwrap();
        for message in said.lines() {
            let message: Value = serde_json::from_str(message).unwrap();
            let code = message["error"]["code"].as_i64();
            assert!(matches!(code, Some(-32700 | -32600)), "{cut}: {message}");
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
}
