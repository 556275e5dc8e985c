//! What those who wait for a task are told when the server stops while the task goes on.

use std::time::Duration;

use outlast_core::store::Filter;
use outlast_core::{Owner, Principal};
use serde_json::{Value, json};

use crate::lines::Client;
use crate::rig::{Events, Rig, eventually, whole};
use crate::streams::resume_elsewhere;

/// The id of the one task of the store, once there is one.
pub(crate) async fn stored(rig: &Rig) -> String {
    let principal = Principal::new(Owner::local());
    eventually("a call to be stored", async || {
        let list = rig
            .server
            .handle()
            .list(&principal, Filter::default(), None, 2);
        let tasks = list.await.unwrap().tasks;
        assert!(tasks.len() < 2);
        Some(tasks.first()?.id().to_string())
    })
    .await
}

fn is_handle(message: &Value, id: &str) {
    let result = &message["result"];
    assert_eq!(result["isError"], false, "{message}");
    assert_eq!(result["structuredContent"]["taskId"], id, "{message}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("The work goes on by itself"), "{text}");
    assert!(
        text.contains(&format!(r#"Call task_wait with {{"taskId":"{id}"}}"#)),
        "{text}"
    );
}

#[tokio::test]
async fn a_call_whose_stream_can_be_resumed_is_answered_by_the_next_process() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    stored(&rig).await;
    rig.stop().await;
    let mut last = None;
    while let Some(event) = events.next().await {
        assert!(event.message.is_null(), "{event:?}");
        last = event.id.or(last);
    }
    let next = rig.next().await;
    let mut events = resume_elsewhere(&next.service, &session, &last.unwrap()).await;
    rig.go(1);
    let ended = events.message().await;
    assert_eq!(ended["id"], 8);
    assert_eq!(ended["result"]["content"][0]["text"], "through the gate");
}

#[tokio::test]
async fn whoever_comes_back_in_the_last_moments_waits_on_and_is_told_nothing_untrue() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("gate").await;
    let waits = session.response(8, "tasks/result", json!({"taskId": id}));
    let mut events = Events::of(waits.await);
    let primed = events.next().await.unwrap();
    rig.stop().await;
    assert!(events.next().await.is_none());
    let mut again = session.get(primed.id.as_deref()).await;
    assert!(again.next().await.is_none(), "there is nothing to say here");
}

#[tokio::test]
async fn a_call_that_nobody_can_come_back_for_is_answered_with_its_task() {
    let rig = Rig::new().await;
    let session = rig.session("2025-06-18", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    let call = async { whole(session.response(8, "tools/call", params).await).await };
    let stops = async {
        let id = stored(&rig).await;
        rig.stop().await;
        id
    };
    let ((status, message), id) = tokio::join!(call, stops);
    assert_eq!(status, 200);
    is_handle(&message, &id);
}

#[tokio::test]
async fn a_stateless_call_is_answered_with_its_task() {
    for tool in ["gate", "strict_gate"] {
        let rig = Rig::new().await;
        let capabilities = json!({});
        let params = json!({"name": tool, "arguments": {}});
        let call = rig.modern_as(&capabilities, "tools/call", params);
        let stops = async {
            let id = stored(&rig).await;
            rig.stop().await;
            id
        };
        let ((status, message), id) = tokio::join!(call, stops);
        assert_eq!(status, 200);
        if tool == "gate" {
            is_handle(&message, &id);
            continue;
        }
        // It would not fit the output schema of the tool.
        let result = &message["result"];
        assert_eq!(result["isError"], true, "{message}");
        assert!(result.get("structuredContent").is_none(), "{message}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(&id) && text.contains("goes on"), "{text}");
    }
}

#[tokio::test]
async fn over_lines_a_call_is_answered_with_its_task_and_a_result_that_is_waited_for_not_at_all() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    client
        .send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .await;
    let id = stored(&rig).await;
    let waits = json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/result",
        "params": {"taskId": id}});
    client.send(waits).await;
    // Lines are taken in their order: the wait is under way.
    client.ask(3, "ping", json!({})).await;
    rig.stop().await;
    let (answered, before) = client.answer(1).await;
    assert!(before.is_empty(), "{before:?}");
    is_handle(&answered, &id);
    assert_eq!(client.next().await, None, "and then the connection ends");
}
