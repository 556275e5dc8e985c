//! Bad parameters, for every method of both eras, from one table: what is missing, of another type or
//! unknown is refused with the right code in a message that stays readable, and nothing has run by then.

mod offer;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_core::schedule::NewSchedule;
use outlast_core::{Owner, Principal, Scope};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use self::offer::rig;
use self::table::{Method, methods};
use crate::rig::{Rig, Session, declaring, modern_body, modern_headers, whole};

/// A client of one era.
enum Caller<'r> {
    Legacy(Session<'r>),
    Modern(&'r Rig),
}

impl Caller<'_> {
    async fn ask(&self, method: &str, params: Value) -> (u16, Value) {
        match self {
            // A session takes an id once at a time, and here one request follows the other.
            Self::Legacy(session) => whole(session.response(1, method, params).await).await,
            Self::Modern(rig) => rig.modern(method, params).await,
        }
    }

    fn serves(&self, method: &Method) -> bool {
        match self {
            Self::Legacy(_) => method.legacy,
            Self::Modern(_) => method.modern,
        }
    }

    /// Status and code for a method that this era does not have.
    fn elsewhere(&self, method: &Method) -> (u16, i64) {
        match self {
            // Whoever asks for it speaks the newer era, and has said nothing of what that wants.
            Self::Legacy(_) if method.name == "server/discover" => (400, -32602),
            Self::Legacy(_) => (200, -32601),
            Self::Modern(_) => (404, -32601),
        }
    }

    /// Whether an error is one that this era has for parameters that do not fit.
    fn refuses(&self, method: &Method, error: &Value) -> bool {
        let no_such_resource = method.name.starts_with("resources/") && error["code"] == -32002;
        error["code"] == -32602 || (no_such_resource && matches!(self, Self::Legacy(_)))
    }
}

/// The rig whose caller is an administrator, and who can therefore do everything there is.
async fn administered() -> (Rig, Arc<AtomicUsize>) {
    let (mut rig, ran) = rig().await;
    let administrator = Principal::new(Owner::new("root"));
    rig.principal = Some(administrator.with_scope(Some(Scope::Admin)));
    let nightly = NewSchedule {
        name: "nightly".into(),
        tool: "quick".into(),
        ..NewSchedule::cron("0 3 1 1 *")
    };
    let schedules = rig.server.handle().schedules();
    schedules.put(nightly).await.unwrap();
    (rig, ran)
}

#[tokio::test]
async fn every_method_refuses_parameters_that_do_not_fit() {
    let (rig, ran) = administered().await;
    let ended = rig.create("quick").await;
    rig.task(&ended, |task| task["status"] == "completed").await;
    let running = rig.create("endless").await;
    let callers = [
        Caller::Legacy(rig.session("2025-11-25", json!({"elicitation": {}})).await),
        Caller::Modern(&rig),
    ];
    for caller in &callers {
        for method in methods(&running, &ended) {
            let name = method.name;
            if !caller.serves(&method) {
                let (status, message) = caller.ask(name, method.good.clone()).await;
                let code = message["error"]["code"].as_i64().unwrap_or_default();
                assert_eq!(
                    (status, code),
                    caller.elsewhere(&method),
                    "{name}: {message}"
                );
                continue;
            }
            for params in method.bad() {
                let (status, message) = caller.ask(name, params.clone()).await;
                let error = &message["error"];
                assert!(
                    caller.refuses(&method, error),
                    "{name} took {params}: {message}"
                );
                assert!(!error["message"].as_str().unwrap().is_empty());
                assert_eq!(status, 200, "{name} with {params}: {message}");
                assert!(!message["id"].is_null(), "{name} with {params}: {message}");
            }
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
    let task = rig.task(&running, |_| true).await;
    assert_eq!(task["status"], "working", "nothing has touched the task");
    // The table's good parameters are good, whatever unknown members stand beside them.
    for caller in &callers {
        for method in methods(&running, &ended) {
            // The first lasts; the second ends the task, below.
            let apart = ["subscriptions/listen", "tasks/cancel"].contains(&method.name);
            if apart || !caller.serves(&method) {
                continue;
            }
            let mut params = method.good;
            params["unheardOf"] = json!({"deep": [1, null]});
            let (status, message) = caller.ask(method.name, params).await;
            assert_eq!(status, 200, "{}: {message}", method.name);
            assert!(message["error"].is_null(), "{}: {message}", method.name);
        }
    }
    let (_, message) = rig.modern("tasks/cancel", json!({"taskId": running})).await;
    assert!(message["error"].is_null(), "{message}");
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused() {
    let (rig, ran) = administered().await;
    let session = rig.session("2025-11-25", json!({})).await;
    for method in methods("x", "y") {
        for (member, ..) in method.members {
            let value = &method.good[member];
            if value.is_null() {
                continue;
            }
            let twice = |body: &Value| {
                let once = format!("{}:{value}", json!(member));
                let body = body.to_string();
                assert_eq!(body.matches(&once).count(), 1, "{body}");
                body.replace(&once, &format!("{once},{once}"))
            };
            if method.legacy {
                let body = json!({"jsonrpc": "2.0", "id": 3, "method": method.name,
                    "params": method.good});
                let headers = [("mcp-session-id", session.id.as_str())];
                let (status, message) = whole(rig.post(&headers, twice(&body)).await).await;
                let code = &message["error"]["code"];
                assert_eq!((status, code), (200, &json!(-32602)), "{member}: {message}");
            }
            if method.modern {
                let body = modern_body(3, &declaring(), method.name, method.good.clone());
                let headers = modern_headers(&body);
                let headers: Vec<(&str, &str)> = headers
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                let (status, message) = whole(rig.post(&headers, twice(&body)).await).await;
                let code = &message["error"]["code"];
                assert_eq!(code, &json!(-32602), "{} {member}: {message}", method.name);
                assert!(matches!(status, 200 | 400), "{member}: {status} {message}");
            }
        }
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0, "nothing has run");
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
    let (rig, ran) = administered().await;
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
    let (rig, ran) = administered().await;
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

/// Handshakes: what a client says of itself, with one member missing, or of another kind.
fn bad_handshakes() -> Vec<Value> {
    let good = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "test", "version": "0"}});
    let mut bad = vec![json!([]), json!("text"), json!(7), Value::Null];
    for member in ["protocolVersion", "capabilities", "clientInfo"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(member);
        bad.push(without);
        for value in [json!(null), json!(7), json!(true), json!([]), json!(["x"])] {
            let mut wrong = good.clone();
            wrong[member] = value;
            bad.push(wrong);
        }
    }
    for (member, value) in [
        ("protocolVersion", json!({})),
        ("capabilities", json!("all")),
        ("capabilities", json!({"elicitation": true})),
        ("capabilities", json!({"elicitation": []})),
        ("clientInfo", json!("test")),
        ("clientInfo", json!({"name": "test"})),
        ("clientInfo", json!({"version": "0"})),
        ("clientInfo", json!({"name": 7, "version": "0"})),
        ("clientInfo", json!({"name": "test", "version": null})),
    ] {
        let mut wrong = good.clone();
        wrong[member] = value;
        bad.push(wrong);
    }
    bad
}

#[tokio::test]
async fn a_handshake_that_does_not_fit_opens_no_session() {
    let (rig, _) = rig().await;
    for params in bad_handshakes() {
        let body = json!({"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": params});
        let response = rig.post(&[], body.to_string()).await;
        let session = response.headers().get("mcp-session-id").cloned();
        let (status, message) = whole(response).await;
        let code = &message["error"]["code"];
        assert_eq!((status, code), (200, &json!(-32602)), "{params}: {message}");
        assert_eq!((session, &message["id"]), (None, &json!(3)), "{params}");
    }
    // On a connection that has lines the next one may do better.
    let mut lines = Vec::new();
    let bad = bad_handshakes();
    for (id, params) in bad.iter().enumerate() {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": params});
        lines.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let good = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "unheardOf": [1],
        "clientInfo": {"name": "test", "version": "0", "unheardOf": {}}});
    let line = json!({"jsonrpc": "2.0", "id": "good", "method": "initialize", "params": good});
    lines.extend_from_slice(format!("{line}\n").as_bytes());
    let (their_output, mut output) = tokio::io::duplex(1 << 20);
    let served = rig
        .server
        .serve_lines(Owner::local(), lines.as_slice(), their_output);
    served.await.unwrap();
    let mut said = String::new();
    output.read_to_string(&mut said).await.unwrap();
    let said: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(said.len(), bad.len() + 1);
    for message in &said {
        if message["id"] == "good" {
            assert_eq!(
                message["result"]["protocolVersion"], "2025-11-25",
                "{message}"
            );
        } else {
            assert_eq!(message["error"]["code"], -32602, "{message}");
        }
    }
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
