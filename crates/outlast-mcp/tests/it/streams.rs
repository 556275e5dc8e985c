//! Streams of sessions: progress, status, resumption, and what a broken connection does not do.

use std::time::Duration;

use http_body_util::BodyExt as _;
use outlast_core::Owner;
use outlast_core::store::Filter;
use outlast_mcp::http::HttpService;
use serde_json::{Value, json};

use crate::rig::{Events, Rig, Session, eventually, request, respond, send_to, whole};

#[tokio::test]
async fn progress_and_status_of_a_task_go_to_the_open_stream() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let mut events = session.get(None).await;
    let params =
        json!({"name": "steps", "arguments": {}, "task": {}, "_meta": {"progressToken": 42}});
    let id = session.call("tools/call", params).await["result"]["task"]["taskId"].clone();
    let mut last = -1.0;
    for step in 1..=3 {
        rig.go(1);
        let message = loop {
            let message = events.method("notifications/progress").await;
            if message["params"]["progress"].as_f64().unwrap() >= f64::from(step) {
                break message;
            }
        };
        let params = &message["params"];
        assert_eq!(params["progressToken"], 42);
        assert_eq!(params["total"], 4);
        assert_eq!(
            params["_meta"]["io.modelcontextprotocol/related-task"]["taskId"],
            id
        );
        let value = params["progress"].as_f64().unwrap();
        assert!(value > last);
        last = value;
    }
    rig.go(1);
    let status = loop {
        let status = events.method("notifications/tasks/status").await;
        assert_eq!(status["params"]["taskId"], id);
        if status["params"]["status"] != "working" {
            break status;
        }
    };
    assert_eq!(status["params"]["status"], "completed");
    assert!(status["params"].as_object().unwrap().contains_key("ttl"));
}

#[tokio::test]
async fn what_a_task_says_about_itself_is_told_too() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let mut events = session.get(None).await;
    session.create("steps").await;
    for sentence in ["25 % · 1 of 4 · step 1", "50 % · 2 of 4 · step 2"] {
        rig.go(1);
        loop {
            let status = events.method("notifications/tasks/status").await;
            assert_eq!(status["params"]["status"], "working");
            if status["params"]["statusMessage"] == sentence {
                break;
            }
        }
    }
}

#[tokio::test]
async fn another_session_is_not_told_of_progress() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let other = rig.session("2025-11-25", json!({})).await;
    let (mut events, mut silent) = (session.get(None).await, other.get(None).await);
    let params =
        json!({"name": "steps", "arguments": {}, "task": {}, "_meta": {"progressToken": 1}});
    session.call("tools/call", params).await;
    rig.go(4);
    events.method("notifications/tasks/status").await;
    rig.server.stop();
    while let Some(event) = silent.next().await {
        assert!(event.message.is_null(), "{event:?}");
    }
}

#[tokio::test]
async fn a_broken_stream_is_resumed_with_what_was_missed() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "steps", "arguments": {}, "_meta": {"progressToken": 1}});
    rig.go(1);
    let response = session.response(8, "tools/call", params).await;
    let mut events = Events::of(response);
    let primed = events.next().await.unwrap();
    assert!(primed.message.is_null());
    let first = events.next().await.unwrap();
    assert_eq!(first.message["method"], "notifications/progress");
    // The connection breaks; the call goes on without it.
    drop(events);
    rig.go(3);
    let mut resumed = session.get(first.id.as_deref()).await;
    let mut seen = vec![first.message["params"]["progress"].as_f64().unwrap()];
    let result = loop {
        let event = resumed.next().await.expect("the response in the end");
        assert!(event.id.is_some());
        if event.message["id"] == 8 {
            break event;
        }
        seen.push(event.message["params"]["progress"].as_f64().unwrap());
    };
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert_eq!(result.message["result"]["content"][0]["text"], "four steps");
    assert!(resumed.next().await.is_none());
    // From the very first event, everything comes again; from the last, nothing.
    let mut all = session.get(primed.id.as_deref()).await;
    let mut last = Value::Null;
    while let Some(event) = all.next().await {
        last = event.message;
    }
    assert_eq!(last["id"], 8);
    assert!(
        session
            .get(result.id.as_deref())
            .await
            .next()
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_tool_may_end_its_callers_connection_and_the_result_waits() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "lets_go", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params.clone()).await);
    let primed = events.next().await.unwrap();
    assert!(primed.message.is_null());
    assert!(events.next().await.is_none(), "the connection has ended");
    rig.go(1);
    let mut resumed = session.get(primed.id.as_deref()).await;
    let result = resumed.next().await.unwrap().message;
    assert_eq!(
        (&result["id"], &result["result"]["content"][0]["text"]),
        (&json!(8), &json!("welcome back"))
    );
    // Whoever could not come back stays connected.
    rig.go(2);
    let older = rig.session("2025-06-18", json!({})).await;
    let message = older.call("tools/call", params.clone()).await;
    assert_eq!(message["result"]["content"][0]["text"], "welcome back");
    let (_, message) = rig.modern_as(&json!({}), "tools/call", params).await;
    assert_eq!(message["result"]["content"][0]["text"], "welcome back");
}

#[tokio::test]
async fn a_waiting_client_that_leaves_leaves_the_task_alone() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("gate").await;
    let waiting = session.response(8, "tasks/result", json!({"taskId": id}));
    // Given up before anything came.
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(20), waiting)
            .await
            .is_err()
    );
    rig.go(1);
    session.until(&id, "completed").await;
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    assert_eq!(message["result"]["content"][0]["text"], "through the gate");
}

#[tokio::test]
async fn cancelling_the_request_ends_the_wait_and_not_the_task() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("gate").await;
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 8}});
    let waiting = session.response(8, "tasks/result", json!({"taskId": id}));
    let (waited, ()) = tokio::join!(waiting, async {
        // Until the request is in flight, a second one with its id is served.
        eventually("the request to be in flight", async || {
            let second = session
                .response(8, "tasks/cancel", json!({"taskId": "x"}))
                .await;
            (whole(second).await.1["error"]["code"] == -32600).then_some(())
        })
        .await;
        assert_eq!(session.message(&cancelled).await.status(), 202);
    });
    assert_eq!(waited.status(), 202, "no response follows");
    rig.go(1);
    session.until(&id, "completed").await;
}

#[tokio::test]
async fn cancelling_a_waiting_call_stops_it_and_leaving_does_not() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "endless", "arguments": {}, "_meta": {"progressToken": 1}});
    let response = session.response(8, "tools/call", params).await;
    let mut events = Events::of(response);
    events.method("notifications/progress").await;
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 8}});
    session.message(&cancelled).await;
    while let Some(event) = events.next().await {
        assert_ne!(
            event.message["id"], 8,
            "a cancelled request gets no response"
        );
    }
    // One whose caller left, on the other hand, comes to its end.
    let params = json!({"name": "gate", "arguments": {}});
    let left = session.response(9, "tools/call", params);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(20), left)
            .await
            .is_err()
    );
    rig.go(1);
    eventually("the call that was left to pass the gate", async || {
        (rig.steps_left() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_ends_its_session_leaves_its_calls_to_come_to_their_end() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    // The response has become a stream, so the call is served beside its connection.
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let (handle, owner) = (rig.server.handle(), Owner::local());
    let id = eventually("the call to be stored", async || {
        let all = handle.list(&owner, Filter::default(), None, 1).await;
        Some(all.unwrap().tasks.first()?.id().to_string())
    })
    .await;
    let headers = [("mcp-session-id", session.id.as_str())];
    let ended = rig.send(request(http::Method::DELETE, &headers, "")).await;
    assert_eq!(ended.status(), 204);
    while let Some(event) = events.next().await {
        assert!(event.message.is_null(), "{event:?}");
    }
    rig.go(1);
    let task = rig.task(&id, |task| task["status"] != "working").await;
    assert_eq!(task["status"], "completed", "{task}");
}

#[tokio::test]
async fn the_stream_of_a_stored_call_goes_on_at_another_instance() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "ask_one", "arguments": {}, "_meta": {"progressToken": 1}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    // The question makes a task of the call.
    let asked = loop {
        let event = events.next().await.unwrap();
        if event.message["method"] == "elicitation/create" {
            break event;
        }
    };
    drop(events);
    let instance = rig.instance().await;
    let headers = [
        ("mcp-session-id", session.id.as_str()),
        ("last-event-id", asked.id.as_deref().unwrap()),
    ];
    let response = send_to(&instance, request(http::Method::GET, &headers, "")).await;
    let mut events = Events::of(response);
    let again = events.method("elicitation/create").await;
    assert_ne!(again["id"], asked.message["id"]);
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    let body = json!({"jsonrpc": "2.0", "id": again["id"], "result": answer}).to_string();
    let headers = [("mcp-session-id", session.id.as_str())];
    send_to(&instance, request(http::Method::POST, &headers, body)).await;
    let result = loop {
        let event = events.next().await.expect("the response in the end");
        if event.message["id"] == 8 {
            break event;
        }
    };
    let text = result.message["result"]["content"][0]["text"]
        .as_str()
        .unwrap();
    assert!(text.contains("true"), "{text}");
    assert!(events.next().await.is_none());
    // Once more, from where the first connection broke: the same response.
    let headers = [
        ("mcp-session-id", session.id.as_str()),
        ("last-event-id", asked.id.as_deref().unwrap()),
    ];
    let third = rig.instance().await;
    let response = send_to(&third, request(http::Method::GET, &headers, "")).await;
    assert_eq!(
        Events::of(response).message().await["result"],
        result.message["result"]
    );
}

#[tokio::test]
async fn an_idle_stream_shows_that_it_is_alive() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let headers = [("mcp-session-id", session.id.as_str())];
    let response = rig.send(request(http::Method::GET, &headers, "")).await;
    let mut body = response.into_body();
    // Idle time passes at once from here on.
    tokio::time::pause();
    let mut comments = 0;
    while comments < 3 {
        let frame = body.frame().await.expect("the stream stays open").unwrap();
        let text = frame.into_data().unwrap();
        // Only a comment begins like this: no client takes it for an event.
        comments += usize::from(text.starts_with(b":") && text.ends_with(b"\n\n"));
    }
}

/// Goes on, at an instance that knows nothing of it, with a stream that broke after this event.
pub(crate) async fn resume_elsewhere(
    instance: &HttpService,
    session: &Session<'_>,
    event: &str,
) -> Events {
    let headers = [
        ("mcp-session-id", session.id.as_str()),
        ("last-event-id", event),
    ];
    let response = send_to(instance, request(http::Method::GET, &headers, "")).await;
    assert_eq!(response.status(), 200);
    Events::of(response)
}

#[tokio::test]
async fn a_wait_for_a_result_goes_on_at_another_instance() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = session.create("ask_one").await;
    let waits = session.response(8, "tasks/result", json!({"taskId": id}));
    let mut events = Events::of(waits.await);
    let primed = events.next().await.unwrap();
    assert!(primed.message.is_null());
    drop(events);
    let instance = rig.instance().await;
    let mut events = resume_elsewhere(&instance, &session, primed.id.as_deref().unwrap()).await;
    let question = events.method("elicitation/create").await;
    respond(&session, &question, json!({"action": "decline"})).await;
    // Another instance took the answer, so this one withdraws what it had asked.
    let ended = loop {
        let message = events.message().await;
        if message.get("method").is_none() {
            break message;
        }
    };
    assert_eq!(ended["id"], 8, "{ended}");
    let related = &ended["result"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(*related, json!({"taskId": id}));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_stop_leaves_the_result_that_is_waited_for_to_the_next_process() {
    for open in [true, false] {
        let rig = Rig::new().await;
        let session = rig.session("2025-11-25", json!({})).await;
        let id = session.create("gate").await;
        let params = json!({"taskId": id});
        let primed = if open {
            // A long silence has made a stream of the response.
            let waits = session.response(8, "tasks/result", params).await;
            let mut events = Events::of(waits);
            let primed = events.next().await.unwrap();
            rig.server.stop();
            while let Some(event) = events.next().await {
                assert!(event.message.is_null(), "{event:?}");
            }
            primed
        } else {
            let waits = session.response(8, "tasks/result", params);
            let stops = async {
                // The wait is under way once its id is taken.
                eventually("the wait", async || {
                    let again = session.response(8, "tasks/cancel", json!({"taskId": "x"}));
                    let (_, message) = whole(again.await).await;
                    (message["error"]["code"] == -32600).then_some(())
                })
                .await;
                rig.server.stop();
            };
            let (response, ()) = tokio::join!(waits, stops);
            let mut events = Events::of(response);
            let primed = events.next().await.unwrap();
            assert!(primed.message.is_null(), "{primed:?}");
            assert!(events.next().await.is_none());
            primed
        };
        let instance = rig.instance().await;
        let mut events = resume_elsewhere(&instance, &session, primed.id.as_deref().unwrap()).await;
        rig.go(1);
        let ended = loop {
            let message = events.message().await;
            if message.get("id").is_some() {
                break message;
            }
        };
        let text = &ended["result"]["content"][0]["text"];
        assert_eq!(
            (&ended["id"], text),
            (&json!(8), &json!("through the gate")),
            "{ended}"
        );
    }
}

#[tokio::test]
async fn a_client_hears_that_its_call_was_lost_with_the_process() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "interview", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let primed = events.next().await.unwrap();
    let instance = rig.instance().await;
    let mut events = resume_elsewhere(&instance, &session, primed.id.as_deref().unwrap()).await;
    let told = events.next().await.unwrap().message;
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!(8), &json!(-32603))
    );
    assert!(
        events.next().await.is_none(),
        "and nothing else is said there"
    );
    let other = rig.session("2025-11-25", json!({})).await;
    for (session, event) in [
        (&session, "r1a2b3c4d.0"),
        // There the request's id may be that of another request.
        (&other, primed.id.as_deref().unwrap()),
    ] {
        let headers = [
            ("mcp-session-id", session.id.as_str()),
            ("last-event-id", event),
        ];
        let unknown = send_to(&instance, request(http::Method::GET, &headers, "")).await;
        assert_eq!(unknown.status(), 400, "{event}");
    }
}

#[tokio::test]
async fn a_call_that_is_stored_while_its_stream_is_open_can_be_resumed_from_then_on() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let primed = events.next().await.unwrap();
    // Nothing is said but that the stream can be resumed at any instance now.
    let stored = events.next().await.unwrap();
    assert!(primed.message.is_null() && stored.message.is_null());
    assert_ne!(primed.id, stored.id);
    drop(events);
    rig.go(1);
    let instance = rig.instance().await;
    let mut events = resume_elsewhere(&instance, &session, stored.id.as_deref().unwrap()).await;
    let ended = events.next().await.unwrap().message;
    assert_eq!(ended["result"]["content"][0]["text"], "through the gate");
}

#[tokio::test]
async fn a_client_that_is_away_for_a_moment_is_asked_when_it_comes_back() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "lets_go_and_asks", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let primed = events.next().await.unwrap();
    assert!(events.next().await.is_none(), "the connection has ended");
    let mut resumed = session.get(primed.id.as_deref()).await;
    let question = resumed.method("elicitation/create").await;
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    respond(&session, &question, answer).await;
    let ended = resumed.message().await;
    let text = ended["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("true")), "{ended}");
}

#[tokio::test]
async fn nothing_is_left_of_streams_to_which_nobody_comes_back() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    events.next().await.unwrap();
    let stored = events.next().await.unwrap().id.unwrap();
    drop(events);
    let (name, _) = stored.rsplit_once('.').unwrap();
    let instances = [rig.instance().await, rig.instance().await];
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    for instance in &instances {
        for number in [1_000, 2_000, 3_000] {
            let after = format!("{name}.{number}");
            drop(resume_elsewhere(instance, &session, &after).await);
        }
    }
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(200)).await;
    tokio::time::resume();
    // The task still runs, and nobody waits for it.
    eventually("the watchers to leave", async || {
        (alive() <= before).then_some(())
    })
    .await;
}
