//! What `#[tool]` and a call say about when tasks run, over the wire.

use std::sync::atomic::{AtomicUsize, Ordering};

use outlast::prelude::*;
use outlast::{Order, Per};
use serde_json::{Value, json};

use crate::rig::Rig;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Fails if another one of its session runs.
#[tool(
    task,
    priority = -3,
    max_running = 10,
    limit_key = "session",
    rate = "1000/s",
    max_queued_per_owner = 100,
    key_window = "1h"
)]
async fn alone(session: String, piece: u32) -> Result<String> {
    if RUNNING.fetch_add(1, Ordering::SeqCst) > 0 {
        return Err(Error::tool("two at a time"));
    }
    tokio::task::yield_now().await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    Ok(format!("{session} {piece}"))
}

/// A call that asks for a task, with these members in its `_meta`.
async fn create(rig: &mut Rig, piece: u32, meta: &Value) -> Value {
    let params = json!({
        "name": "alone",
        "arguments": {"session": "a", "piece": piece},
        "_meta": meta,
    });
    rig.request("tools/call", params).await
}

#[tokio::test]
async fn pieces_of_a_session_run_one_by_one() {
    let mut rig = Rig::start(Server::new("t").tool(alone)).await;
    let mut ids = Vec::new();
    for piece in 0..8 {
        let reply = create(&mut rig, piece, &json!({"outlast/priority": piece})).await;
        ids.push(reply["result"]["taskId"].as_str().unwrap().to_owned());
    }
    for (piece, id) in ids.iter().enumerate() {
        let task = rig.ended(id).await;
        assert_eq!(task["result"]["content"][0]["text"], format!("a {piece}"));
    }
}

#[tokio::test]
async fn a_call_names_itself_and_its_priority() {
    let mut rig = Rig::start(Server::new("t").tool(alone)).await;
    let key = json!({"outlast/idempotencyKey": "k"});
    let first = create(&mut rig, 1, &key).await;
    let again = create(&mut rig, 1, &key).await;
    assert_eq!(first["result"]["taskId"], again["result"]["taskId"]);
    for (piece, meta, told) in [
        (2, key, "was used for task"),
        (1, json!({"outlast/idempotencyKey": 7}), "must be a string"),
        (1, json!({"outlast/priority": 101}), "101 is out of range"),
        (
            1,
            json!({"outlast/priority": "high"}),
            "must be a whole number",
        ),
    ] {
        let refused = create(&mut rig, piece, &meta).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
    }
}

#[tokio::test]
async fn a_tool_is_paused_and_resumed() {
    let mut rig = Rig::start(Server::new("t").tool(alone)).await;
    let paused = |paused: bool| json!({"tool": "alone", "paused": paused});
    let reply = rig.request("outlast/pause", paused(true)).await;
    assert_eq!(reply["result"]["paused"], json!(["alone"]), "{reply}");
    let reply = create(&mut rig, 1, &json!({})).await;
    let id = reply["result"]["taskId"].as_str().unwrap().to_owned();
    assert_eq!(reply["result"]["status"], "working");
    let reply = rig.request("outlast/pause", paused(false)).await;
    assert_eq!(reply["result"]["paused"], json!([]));
    rig.ended(&id).await;
    let wrong = json!({"tool": "nobody", "paused": true});
    let reply = rig.request("outlast/pause", wrong).await;
    assert_eq!(reply["error"]["code"], -32602, "{reply}");
}

/// Runs until it is cancelled.
#[tool(task)]
async fn forever(cx: Cx) -> Result<String> {
    cx.cancelled().await;
    Err(cx.cancelled_error())
}

/// What one owner may have holds for all tools together, and a call that is refused is an error of the
/// request, whether its caller waits or not.
#[tokio::test]
async fn an_owner_who_has_enough_is_told_when_to_come_back() {
    let order = Order::new()
        .max_running_per(1, Per::Owner)
        .max_queued_per(0, Per::Owner);
    let server = Server::new("t").tool(alone).tool(forever).order(order);
    let mut rig = Rig::start(server).await;
    let running = rig.call("forever", json!({})).await;
    let synchronous = json!({"io.modelcontextprotocol/clientCapabilities": {}});
    for meta in [json!({}), synchronous] {
        let refused = create(&mut rig, 1, &meta).await;
        assert_eq!(refused["error"]["code"], -32000, "{refused}");
        let data = &refused["error"]["data"];
        assert!(data["retryAfter"].as_u64() >= Some(1), "{refused}");
    }
    let id = running["taskId"].as_str().unwrap();
    rig.request("tasks/cancel", json!({"taskId": id})).await;
    rig.ended(id).await;
    let reply = create(&mut rig, 1, &json!({})).await;
    rig.ended(reply["result"]["taskId"].as_str().unwrap()).await;
}
