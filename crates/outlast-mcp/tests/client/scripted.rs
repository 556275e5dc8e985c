//! The client against servers that misbehave on purpose: what is repeated and what is not, what is
//! sent in which era, and what becomes of answers that are none.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::TaskStatus;
use outlast_mcp::client::{Client, ClientError, Protocol, Question, Reply, Root, Target};
use outlast_mcp::protocol::Version;
use serde_json::{Value, json};

use crate::wire::{Say, Seen, count, eventually, last, serve};

/// A server of the older era, apart from what `script` says.
fn legacy(seen: &Seen, script: impl FnOnce(&Seen) -> Say) -> Say {
    match seen.method() {
        "server/discover" => Say::Text(400, "text/plain", "no session".into()),
        "initialize" => seen.initialized("s1"),
        "notifications/initialized" => Say::Status(202),
        "GET" if seen.header("last-event-id").is_none() => Say::Status(405),
        "DELETE" => Say::Status(200),
        _ => script(seen),
    }
}

/// A server of the newer era, apart from what `script` says.
fn modern(seen: &Seen, script: impl FnOnce(&Seen) -> Say) -> Say {
    match seen.method() {
        "server/discover" => seen.discovered(),
        _ => script(seen),
    }
}

/// Both eras.
const BOTH: [fn(&Seen, Script) -> Say; 2] = [
    |seen, script| legacy(seen, script),
    |seen, script| modern(seen, script),
];

type Script = fn(&Seen) -> Say;

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn task(status: &str) -> Value {
    json!({"taskId": "t1", "status": status, "createdAt": "2026-01-01T00:00:00Z",
           "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttl": null, "ttlMs": null})
}

async fn connect(url: &str) -> Client {
    Client::connect(Target::url(url)).await.unwrap()
}

#[tokio::test]
async fn a_session_has_its_headers_and_its_end() {
    let (url, record) = serve(|seen| legacy(seen, |seen| seen.result(json!({"tools": []})))).await;
    let client = connect(&url).await;
    let info = client.server().await.unwrap();
    assert_eq!(
        (info.name.as_str(), info.protocol, info.tasks),
        ("scripted", Version::V2025_11_25, true)
    );
    client.list_tools().await.unwrap();
    let seen = last(&record, "tools/list");
    assert_eq!(seen.header("mcp-session-id"), Some("s1"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(
        seen.header("accept"),
        Some("application/json, text/event-stream")
    );
    assert!(seen.header("mcp-method").is_none() && seen.body["params"]["_meta"].is_null());
    client.close().await;
    assert_eq!(last(&record, "DELETE").header("mcp-session-id"), Some("s1"));
}

#[tokio::test]
async fn a_request_of_the_newer_era_says_what_it_is() {
    let (url, record) = serve(|seen| {
        modern(seen, |seen| match seen.method() {
            "tools/call" => seen.result(json!({"resultType": "complete", "content": []})),
            _ => seen.result(task("working")),
        })
    })
    .await;
    let client = connect(&url).await;
    client.call("größe", json!({"n": 1})).await.unwrap();
    let seen = last(&record, "tools/call");
    assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-name"), Some("=?base64?Z3LDtsOfZQ==?="));
    let meta = &seen.body["params"]["_meta"];
    assert_eq!(
        meta["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    // Who waits for the result does not want a task instead, nor to be sent away.
    assert_eq!(
        meta["io.modelcontextprotocol/clientCapabilities"],
        json!({})
    );
    assert!(
        meta.as_object()
            .unwrap()
            .contains_key("outlast/detachAfterMs")
    );
    assert!(meta["outlast/detachAfterMs"].is_null());
    client.task("t1").status().await.unwrap();
    let seen = last(&record, "tasks/get");
    assert_eq!(seen.header("mcp-name"), Some("t1"));
    let capabilities = &seen.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert_eq!(
        capabilities["extensions"],
        json!({"io.modelcontextprotocol/tasks": {}})
    );
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_never_repeated() {
    for era in BOTH {
        for say in [
            (|_: &Seen| Say::HangUp) as Script,
            |_| Say::Events("data: {\"jsonrpc\":\"2.0\",\"met".into()),
            |_| Say::Events(": nothing\n\n".into()),
        ] {
            let (url, record) = serve(move |seen| era(seen, say)).await;
            let client = connect(&url).await;
            let lost = client.call("pay", ()).await;
            assert!(matches!(lost, Err(ClientError::Lost { .. })), "{lost:?}");
            assert_eq!(count(&record, "tools/call"), 1);
        }
    }
}

#[tokio::test]
async fn looking_at_a_task_is_repeated_until_it_works() {
    let (tries, script) = counter(|n, seen| match n {
        0 => Say::HangUp,
        1 => Say::Text(503, "text/plain", "starting".into()),
        2 => Say::Events(": broken\n\n".into()),
        _ => seen.result(task("completed")),
    });
    let (url, _) = serve(move |seen| legacy(seen, &script)).await;
    let client = connect(&url).await;
    assert_eq!(
        client.task("t1").status().await.unwrap().status,
        TaskStatus::Completed
    );
    assert_eq!(tries.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn patience_ends() {
    let (url, _) = serve(|seen| legacy(seen, |_| Say::HangUp)).await;
    let target = Target::url(url);
    let client = Client::builder(target)
        .patience(Duration::from_millis(300))
        .connect()
        .await
        .unwrap();
    let error = client.task("t1").status().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Lost { .. }) && error.is_retryable(),
        "{error:?}"
    );
}

/// A script that is told how often it was asked before.
fn counter(
    script: impl Fn(usize, &Seen) -> Say + Send + Sync + 'static,
) -> (
    Arc<AtomicUsize>,
    impl Fn(&Seen) -> Say + Send + Sync + 'static,
) {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    (count, move |seen: &Seen| {
        script(counting.fetch_add(1, Ordering::SeqCst), seen)
    })
}

#[tokio::test]
async fn a_server_that_forgot_the_session_gets_a_new_one_and_the_call_once() {
    let (_, script) = counter(|n, seen| match n {
        0 => Say::Status(404),
        _ => seen.result(text("done")),
    });
    let (url, record) = serve(move |seen| legacy(seen, &script)).await;
    let client = connect(&url).await;
    assert_eq!(client.call("work", ()).await.unwrap().text(), "done");
    assert_eq!(
        (count(&record, "initialize"), count(&record, "tools/call")),
        (2, 2)
    );
    // Its era was remembered.
    assert_eq!(count(&record, "server/discover"), 1);
}

#[tokio::test]
async fn a_broken_stream_of_the_older_era_is_taken_up_where_it_was_left() {
    let call_id = Arc::new(Mutex::new(Value::Null));
    let (url, record) = serve(move |seen| {
        legacy(seen, |seen| match seen.method() {
            "tools/call" => {
                *call_id.lock().unwrap() = seen.body["id"].clone();
                let token = &seen.body["params"]["_meta"]["progressToken"];
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                      "params": {"progressToken": token, "progress": 1, "total": 2}});
                Say::Events(format!("id: a.1\nretry: 10\ndata:\n\nid: a.2\ndata: {progress}\n\nid: a.3\ndata: {{\"cut"))
            }
            _ => {
                assert_eq!(seen.header("last-event-id"), Some("a.2"));
                let id = call_id.lock().unwrap().clone();
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": text("whole")});
                Say::Events(format!("id: a.3\ndata: {answer}\n\n"))
            }
        })
    })
    .await;
    let client = connect(&url).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let result = client
        .call("work", ())
        .on_progress(move |progress| sink.lock().unwrap().push(progress.done));
    assert_eq!(result.await.unwrap().text(), "whole");
    assert_eq!(*seen.lock().unwrap(), [1.0]);
    assert_eq!(count(&record, "tools/call"), 1);
}

#[tokio::test]
async fn giving_up_a_call_of_the_older_era_is_said() {
    let (url, record) = serve(|seen| {
        legacy(seen, |seen| match seen.method() {
            "tools/call" => Say::OpenEvents(": wait\n\n".into()),
            _ => Say::Status(202),
        })
    })
    .await;
    let client = connect(&url).await;
    let call = tokio::spawn(client.call("work", ()).into_future());
    eventually("the call arrives", || count(&record, "tools/call") == 1).await;
    call.abort();
    eventually("the server is told", || {
        count(&record, "notifications/cancelled") == 1
    })
    .await;
    let id = last(&record, "tools/call").body["id"].clone();
    assert_eq!(
        last(&record, "notifications/cancelled").body["params"]["requestId"],
        id
    );
}

#[tokio::test]
async fn new_roots_are_told_to_a_session() {
    let (url, record) = serve(|seen| legacy(seen, |_| Say::Status(202))).await;
    let client = Client::builder(Target::url(&url)).roots([Root::new("file:///a")]);
    let client = client.connect().await.unwrap();
    let declared = &last(&record, "initialize").body["params"]["capabilities"];
    assert_eq!(declared, &json!({"roots": {"listChanged": true}}));
    client.set_roots([Root::new("file:///b")]).await.unwrap();
    last(&record, "notifications/roots/list_changed");
    // A client of which the server was told that it has none cannot have any later.
    let without = connect(&url).await;
    let refused = without.set_roots([]).await;
    assert!(
        matches!(&refused, Err(ClientError::Unsupported(why)) if why.contains(".roots(")),
        "{refused:?}"
    );
}

fn says_yes() -> impl outlast_mcp::client::Answerer {
    |question: Question| async move {
        assert_eq!(question.message, "sure?");
        Reply::accept(&json!({"sure": true})).unwrap()
    }
}

#[tokio::test]
async fn a_question_in_place_of_a_result_is_answered_in_the_next_round() {
    let (_, script) = counter(|n, seen| {
        match n {
        0 => seen.result(json!({
            "resultType": "input_required", "requestState": "opaque",
            "inputRequests": {"k": {"method": "elicitation/create",
                "params": {"message": "sure?", "requestedSchema": {"type": "object", "properties": {}}}}},
        })),
        _ => {
            let params = &seen.body["params"];
            assert_eq!(params["requestState"], "opaque");
            assert_eq!(params["inputResponses"], json!({"k": {"action": "accept", "content": {"sure": true}}}));
            assert_eq!(params["arguments"], json!({"n": 1}));
            seen.result(text("deleted"))
        }
    }
    });
    let (url, _) = serve(move |seen| modern(seen, &script)).await;
    let client = Client::builder(Target::url(&url))
        .on_question(says_yes())
        .connect()
        .await
        .unwrap();
    assert_eq!(
        client.call("delete", json!({"n": 1})).await.unwrap().text(),
        "deleted"
    );
}

#[tokio::test]
async fn a_question_in_the_state_of_a_task_is_asked_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (looks, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let script = {
        let (looks, answered) = (Arc::clone(&looks), Arc::clone(&answered));
        move |seen: &Seen| match seen.method() {
            "tasks/get" => {
                let look = looks.fetch_add(1, Ordering::SeqCst);
                let mut state = task("input_required");
                state["resultType"] = "complete".into();
                // The state goes on showing the question for a while after the answer.
                if answered.load(Ordering::SeqCst) > 0 && look > 4 {
                    state["status"] = "completed".into();
                    state["result"] = text("ok");
                } else {
                    state["inputRequests"] = json!({"k": {"method": "elicitation/create",
                        "params": {"message": "sure?"}}});
                }
                seen.result(state)
            }
            "tasks/update" => {
                let responses = &seen.body["params"]["inputResponses"];
                assert_eq!(responses["k"]["content"], json!({"sure": true}));
                answered.fetch_add(1, Ordering::SeqCst);
                seen.result(json!({"resultType": "complete"}))
            }
            _ => seen.error(404, -32601, Value::Null),
        }
    };
    let (url, _) = serve(move |seen| modern(seen, &script)).await;
    let asking = Arc::clone(&asked);
    let client = Client::builder(Target::url(&url))
        .on_question(move |question: Question| {
            assert_eq!(question.task_id.as_deref(), Some("t1"));
            asking.fetch_add(1, Ordering::SeqCst);
            async { Reply::accept(&json!({"sure": true})).unwrap() }
        })
        .connect()
        .await
        .unwrap();
    assert_eq!(client.task("t1").result().await.unwrap().text(), "ok");
    assert_eq!(
        (
            asked.load(Ordering::SeqCst),
            answered.load(Ordering::SeqCst)
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_question_on_the_stream_of_a_session_is_answered() {
    let answered = Arc::new(Mutex::new(Value::Null));
    let answer = Arc::clone(&answered);
    let (url, _) = serve(move |seen| {
        if seen.verb == "GET" {
            let question = json!({"jsonrpc": "2.0", "id": "q/1", "method": "elicitation/create",
                "params": {"message": "sure?", "requestedSchema": {}}});
            return Say::OpenEvents(format!("data: {question}\n\n"));
        }
        legacy(seen, |seen| match seen.method() {
            "tasks/get" => {
                let done = !answer.lock().unwrap().is_null();
                seen.result(task(if done { "completed" } else { "input_required" }))
            }
            "tasks/result" if answer.lock().unwrap().is_null() => {
                seen.error(200, -32602, Value::Null)
            }
            "tasks/result" => seen.result(text("ok")),
            _ => {
                *answer.lock().unwrap() = seen.body.clone();
                Say::Status(202)
            }
        })
    })
    .await;
    let client = Client::builder(Target::url(&url))
        .on_question(says_yes())
        .connect()
        .await
        .unwrap();
    assert_eq!(client.task("t1").result().await.unwrap().text(), "ok");
    let answered = answered.lock().unwrap();
    assert_eq!(
        (&answered["id"], &answered["result"]["action"]),
        (&json!("q/1"), &json!("accept"))
    );
}

#[tokio::test]
async fn a_tool_that_runs_as_a_task_only_is_run_as_one() {
    let data =
        json!({"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let (url, record) = serve(move |seen| {
        modern(seen, |seen| match seen.method() {
            "tools/call" => {
                let meta = &seen.body["params"]["_meta"];
                let capabilities = &meta["io.modelcontextprotocol/clientCapabilities"];
                if capabilities["extensions"].is_null() {
                    return seen.error(400, -32021, data.clone());
                }
                let mut created = task("working");
                created["resultType"] = "task".into();
                seen.result(created)
            }
            "tasks/get" => {
                let mut done = task("completed");
                done["result"] = text("long work");
                seen.result(done)
            }
            _ => seen.error(404, -32601, Value::Null),
        })
    })
    .await;
    let client = connect(&url).await;
    assert_eq!(client.call("long", ()).await.unwrap().text(), "long work");
    assert_eq!(count(&record, "tools/call"), 2);
}

#[tokio::test]
async fn a_server_that_runs_a_task_at_once_loses_nothing() {
    for version in BOTH {
        let (url, _) = serve(move |seen| version(seen, |seen| seen.result(text("at once")))).await;
        let client = connect(&url).await;
        match client.call_task("quick", ()).await {
            Err(ClientError::AnsweredAtOnce(result)) => assert_eq!(result.text(), "at once"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn arguments_are_repeated_in_headers_where_the_tool_says_so() {
    let (url, record) = serve(|seen| {
        modern(seen, |seen| match seen.method() {
            "tools/list" => seen.result(json!({"tools": [
                {"name": "sql", "inputSchema": {"type": "object", "properties": {
                    "region": {"type": "string", "x-mcp-header": "Region"}}}},
                {"name": "broken", "inputSchema": {"type": "object", "properties": {
                    "x": {"type": "number", "x-mcp-header": "X"}}}},
            ]})),
            "tools/call" if seen.header("mcp-param-region").is_none() => {
                seen.error(400, -32020, Value::Null)
            }
            _ => seen.result(text("ok")),
        })
    })
    .await;
    let client = connect(&url).await;
    assert_eq!(
        client
            .call("sql", json!({"region": "eu"}))
            .await
            .unwrap()
            .text(),
        "ok"
    );
    assert_eq!(
        last(&record, "tools/call").header("mcp-param-region"),
        Some("eu")
    );
    let names: Vec<_> = client
        .list_tools()
        .await
        .unwrap()
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    assert_eq!(names, ["sql"]);
}

#[tokio::test]
async fn news_of_a_subscribed_task_makes_the_client_look() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&looks);
    let (url, record) = serve(move |seen| {
        modern(seen, |seen| match seen.method() {
            "subscriptions/listen" => {
                assert_eq!(seen.body["params"]["notifications"], json!({"taskIds": ["t1"]}));
                let news = json!({"jsonrpc": "2.0", "method": "notifications/tasks", "params": task("completed")});
                Say::OpenEvents(format!("data: {news}\n\n"))
            }
            _ => {
                counting.fetch_add(1, Ordering::SeqCst);
                let mut state = task("working");
                // Without the news the next look would be in an hour.
                state["pollIntervalMs"] = 3_600_000.into();
                seen.result(state)
            }
        })
    })
    .await;
    let client = connect(&url).await;
    let handle = client.task("t1");
    let waiting = tokio::spawn(async move { handle.wait().await });
    eventually("the client subscribes", || {
        count(&record, "subscriptions/listen") == 1
    })
    .await;
    let before = looks.load(Ordering::SeqCst);
    eventually("the news is looked into", || {
        looks.load(Ordering::SeqCst) > before
    })
    .await;
    waiting.abort();
}

#[tokio::test]
async fn what_is_no_server_is_said() {
    let pages: [(Script, &str); 6] = [
        (
            |_| Say::Text(200, "text/html", "<html>".into()),
            "text/html",
        ),
        (|_| Say::Status(404), "often /mcp"),
        (
            |_| Say::Text(200, "application/json", "{".into()),
            "not JSON",
        ),
        (
            |_| Say::Json(200, json!({"jsonrpc": "2.0", "id": 12345, "result": {}})),
            "not the answer",
        ),
        (|_| Say::Status(200), "without a body"),
        (
            |seen| seen.result(json!({"protocolVersion": "1999-01-01"})),
            "1999-01-01",
        ),
    ];
    for (script, part) in pages {
        let (url, _) = serve(script).await;
        let error = Client::connect(Target::url(&url)).await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let (url, _) = serve(|_| Say::Status(401)).await;
    let error = Client::connect(Target::url(&url)).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unauthorized { status: 401, .. }),
        "{error:?}"
    );
    // What a server says of it is passed on.
    let (url, _) = serve(|_| {
        let said = r#"{"title": "no", "detail": "this needs the scope tasks:admin"}"#;
        Say::Text(403, "application/problem+json", said.into())
    })
    .await;
    let error = Client::connect(Target::url(&url)).await.unwrap_err();
    assert!(matches!(error, ClientError::Forbidden { .. }), "{error:?}");
    assert!(
        error.to_string().contains("the scope tasks:admin"),
        "{error}"
    );
    let error = Client::connect(Target::url("http://127.0.0.1:1/mcp"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    let error = Client::connect(Target::url("http://")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn answers_that_make_no_sense_are_refused() {
    let answers: [(&str, Script); 3] = [
        ("a list that is none", |seen| {
            seen.result(json!({"tools": 3}))
        }),
        ("a tool without a name", |seen| {
            seen.result(json!({"tools": [{}]}))
        }),
        ("a list without an end", |seen| {
            seen.result(json!({"tools": [], "nextCursor": "again"}))
        }),
    ];
    for (what, script) in answers {
        let (url, _) = serve(move |seen| modern(seen, script)).await;
        let error = connect(&url).await.list_tools().await.unwrap_err();
        assert!(
            matches!(error, ClientError::Protocol { .. }),
            "{what}: {error:?}"
        );
    }
    let (url, _) = serve(|seen| modern(seen, |seen| seen.result(task("completed")))).await;
    let error = connect(&url).await.task("t1").result().await.unwrap_err();
    assert!(error.to_string().contains("without a result"), "{error}");
}

#[tokio::test]
async fn a_server_that_names_an_older_version_gets_the_handshake() {
    let (url, _) = serve(|seen| match seen.method() {
        "server/discover" => seen.error(
            400,
            -32022,
            json!({"supported": ["2025-11-25"], "requested": "2026-07-28"}),
        ),
        _ => legacy(seen, |seen| seen.result(json!({}))),
    })
    .await;
    assert_eq!(
        connect(&url).await.server().await.unwrap().protocol,
        Version::V2025_11_25
    );
    let pinned = Client::builder(Target::url(&url))
        .protocol(Protocol::Modern)
        .connect()
        .await;
    assert!(
        matches!(pinned, Err(ClientError::Protocol { .. })),
        "{pinned:?}"
    );
}

#[tokio::test]
async fn a_stream_server_that_ends_at_an_unknown_request_is_started_again() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let dials = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&dials);
    let target = Target::dial("scripted", move || {
        counting.fetch_add(1, Ordering::SeqCst);
        async {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let (read, mut write) = tokio::io::split(theirs);
                let mut lines = BufReader::new(read).lines();
                while let Some(line) = lines.next_line().await.unwrap() {
                    let message: Value = serde_json::from_str(&line).unwrap();
                    let result = match message["method"].as_str().unwrap() {
                        "server/discover" => return,
                        "initialize" => json!({"protocolVersion": "2024-11-05", "capabilities": {},
                                               "serverInfo": {"name": "old", "version": "1"}}),
                        "tools/call" => text("old"),
                        _ => continue,
                    };
                    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
                    write
                        .write_all(format!("{answer}\n").as_bytes())
                        .await
                        .unwrap();
                }
            });
            Ok(ours)
        }
    });
    let client = Client::connect(target).await.unwrap();
    assert_eq!(dials.load(Ordering::SeqCst), 2);
    let info = client.server().await.unwrap();
    assert_eq!((info.protocol, info.tasks), (Version::V2024_11_05, false));
    assert_eq!(client.call("x", ()).await.unwrap().text(), "old");
    assert!(matches!(
        client.call_task("x", ()).await,
        Err(ClientError::Unsupported(_))
    ));
}

/// A server of the newer era that takes longer to start than a client waits for its first answer.
#[tokio::test(start_paused = true)]
async fn a_stream_server_that_is_slow_to_start_is_not_taken_for_an_older_one() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(theirs);
        let mut lines = BufReader::new(read).lines();
        tokio::time::sleep(Duration::from_secs(15)).await;
        while let Some(line) = lines.next_line().await.unwrap() {
            let message: Value = serde_json::from_str(&line).unwrap();
            let (id, refused) = (
                &message["id"],
                json!({"code": -32022, "message": "no handshake"}),
            );
            let answer = match message["method"].as_str().unwrap() {
                "server/discover" => json!({"jsonrpc": "2.0", "id": id, "result": {
                    "resultType": "complete", "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private",
                    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "slow", "version": "1"}}}}),
                "initialize" => json!({"jsonrpc": "2.0", "id": id, "error": refused}),
                _ => continue,
            };
            let answer = format!("{answer}\n");
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::connect(Target::stream(ours)).await.unwrap();
    let info = client.server().await.unwrap();
    assert_eq!(info.protocol, Version::V2026_07_28);
}
