//! A store that cannot be reached for a moment: nobody's work is ended by it, and nobody is told wrong.

use std::time::Duration;

use outlast_engine::DetachAfter;
use serde_json::{Value, json};

use crate::rig::{Rig, respond};

/// A client of the newer era that waits for its calls.
fn plain() -> Value {
    json!({"elicitation": {}})
}

async fn call(rig: &Rig, params: Value) -> Value {
    let (_, message) = rig.modern_as(&plain(), "tools/call", params).await;
    message
}

#[tokio::test]
async fn a_call_goes_on_while_its_record_cannot_be_read() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    rig.fails("get", 3);
    let called = call(&rig, json!({"name": "gate", "arguments": {}}));
    let (message, ()) = tokio::join!(called, async {
        // The first reads come when the call has been stored.
        rig.has_failed().await;
        rig.go(1);
    });
    let text = &message["result"]["content"][0]["text"];
    assert_eq!(*text, "through the gate", "{message}");
}

#[tokio::test]
async fn a_question_is_put_to_the_caller_once_the_store_can_be_read_again() {
    let rig = Rig::new().await;
    rig.fails("get", 1);
    let message = call(&rig, json!({"name": "ask_one", "arguments": {}})).await;
    assert_eq!(rig.faults_left(), 0);
    assert_eq!(
        message["result"]["resultType"], "input_required",
        "{message}"
    );
}

#[tokio::test]
async fn answers_that_came_with_a_call_are_kept_until_the_store_takes_them() {
    let rig = Rig::new().await;
    rig.fails("answer", 1);
    let answer = json!({"sure": {"action": "accept", "content": {"confirm": true}}});
    let params = json!({"name": "ask_one", "arguments": {}, "inputResponses": answer});
    let message = call(&rig, params).await;
    assert_eq!(rig.faults_left(), 0);
    let text = message["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("true")), "{message}");
}

#[tokio::test]
async fn an_answer_that_the_store_did_not_take_may_be_given_again() {
    let rig = Rig::new().await;
    let message = call(&rig, json!({"name": "ask_one", "arguments": {}})).await;
    let state = message["result"]["requestState"].clone();
    let answer = json!({"sure": {"action": "accept", "content": {"confirm": true}}});
    let params = json!({"name": "ask_one", "arguments": {}, "inputResponses": answer,
        "requestState": state});
    rig.fails("answer", 1);
    let message = call(&rig, params.clone()).await;
    assert_eq!(rig.faults_left(), 0);
    assert_eq!(message["error"]["code"], -32603, "{message}");
    let message = call(&rig, params).await;
    let text = message["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("true")), "{message}");
}

#[tokio::test]
async fn a_call_that_was_detached_says_so_though_its_record_cannot_be_read() {
    let rig = Rig::configured(|config| {
        config.detach_after = DetachAfter::After(Duration::from_millis(20));
    })
    .await;
    rig.fails("get", 1);
    let message = call(&rig, json!({"name": "gate", "arguments": {}})).await;
    assert_eq!(rig.faults_left(), 0);
    let told = &message["result"]["structuredContent"];
    assert_eq!(told["status"], "working", "{message}");
    let id = told["taskId"].as_str().unwrap();
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(id) && text.contains("task_wait"), "{message}");
    rig.go(1);
    rig.task(id, |task| task["status"] == "completed").await;
}

#[tokio::test]
async fn an_answer_that_the_store_did_not_take_is_asked_for_again() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let id = session.create("ask_one").await;
    let question = events.method("elicitation/create").await;
    rig.fails("answer", 1);
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    let body = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
    assert_eq!(session.message(&body).await.status(), 500);
    let again = events.method("elicitation/create").await;
    assert_ne!(again["id"], question["id"]);
    respond(&session, &again, answer).await;
    session.until(&id, "completed").await;
}
