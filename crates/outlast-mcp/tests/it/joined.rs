//! Calls that wait for one run together, and the run asks: each caller that can answer may, the first
//! answer counts, and all of them get the result.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Events, Rig, Session, respond};

/// The call that all make: the key says that it is one.
fn call() -> Value {
    json!({"name": "ask_one", "arguments": {}, "_meta": {"outlast/idempotencyKey": "the-same"}})
}

async fn rig() -> Rig {
    Rig::configured(|config| config.heartbeat = Duration::from_millis(50)).await
}

/// A call of the newer era by a client that answers questions and has no tasks.
async fn modern(rig: &Rig, more: Value) -> Value {
    let mut params = call();
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    let able = json!({"elicitation": {"form": {}}});
    let (status, message) = rig.modern_as(&able, "tools/call", params).await;
    assert_eq!(status, 200, "{message}");
    message["result"].clone()
}

/// The retry of a call that was answered with the question.
fn answered(asked: &Value, confirm: bool) -> Value {
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert!(asked["inputRequests"]["sure"].is_object(), "{asked}");
    json!({"requestState": asked["requestState"],
        "inputResponses": {"sure": {"action": "accept", "content": {"confirm": confirm}}}})
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{result}"))
}

#[tokio::test]
async fn in_the_newer_era_each_is_asked_and_the_first_answer_counts() {
    let rig = rig().await;
    let (one, other) = tokio::join!(modern(&rig, json!({})), modern(&rig, json!({})));
    let first = modern(&rig, answered(&one, true)).await;
    assert!(text(&first).contains("true"), "{first}");
    // Too late to change anything, and served all the same.
    let second = modern(&rig, answered(&other, false)).await;
    assert_eq!(text(&second), text(&first));
    // Who comes after the end gets the result without a question.
    let third = modern(&rig, json!({})).await;
    assert_eq!(text(&third), text(&first));
}

#[tokio::test]
async fn who_cannot_answer_waits_for_who_can() {
    let rig = rig().await;
    let deaf = async {
        let never = json!({"outlast/idempotencyKey": "the-same", "outlast/detachAfterMs": null});
        let params = json!({"name": "ask_one", "arguments": {}, "_meta": never});
        rig.modern_as(&json!({}), "tools/call", params).await.1["result"].clone()
    };
    let able = async {
        let asked = modern(&rig, json!({})).await;
        modern(&rig, answered(&asked, true)).await
    };
    let (deaf, able) = tokio::join!(deaf, able);
    assert_eq!(text(&deaf), text(&able));
}

async fn legacy(session: &Session<'_>) -> Events {
    Events::of(session.response(1, "tools/call", call()).await)
}

#[tokio::test]
async fn in_the_older_era_one_is_asked_at_a_time_and_all_get_the_result() {
    let rig = rig().await;
    let able = json!({"elicitation": {}});
    let one = rig.session("2025-11-25", able.clone()).await;
    let other = rig.session("2025-11-25", able).await;
    let (mut first, mut second) = tokio::join!(legacy(&one), legacy(&other));
    let (session, question) = loop {
        let (session, message) = tokio::select! {
            message = first.message() => (&one, message),
            message = second.message() => (&other, message),
        };
        if message["method"] == "elicitation/create" {
            break (session, message);
        }
    };
    let accept = json!({"action": "accept", "content": {"confirm": true}});
    respond(session, &question, accept).await;
    let mut results = Vec::new();
    for events in [&mut first, &mut second] {
        let result = loop {
            let message = events.message().await;
            assert_ne!(message["method"], "elicitation/create", "it was asked once");
            if message["id"] == 1 && !message["result"].is_null() {
                break message["result"].clone();
            }
        };
        results.push(text(&result).to_owned());
    }
    assert_eq!(results[0], results[1]);
    assert!(results[0].contains("true"), "{results:?}");
}

#[tokio::test]
async fn a_retry_that_leaves_ends_nothing_that_others_wait_for() {
    let able = json!({"elicitation": {"form": {}}});
    for shared in [true, false] {
        let rig = rig().await;
        let retry = async || {
            let mut params = json!({"name": "ask_then_gate", "arguments": {}});
            if shared {
                params["_meta"] = json!({"outlast/idempotencyKey": "the-same"});
            }
            let (_, asked) = rig.modern_as(&able, "tools/call", params.clone()).await;
            for (key, value) in answered(&asked["result"], true).as_object().unwrap() {
                params[key] = value.clone();
            }
            params
        };
        // Two callers of one run, or one that lost its connection and sends its retry again.
        let one = retry().await;
        let other = if shared { retry().await } else { one.clone() };
        let leaves = Events::of(rig.modern_response(&able, "tools/call", one).await);
        let stays = rig.modern_response(&able, "tools/call", other).await;
        drop(leaves);
        // More than a client has that comes back.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        rig.go(1);
        let ended = crate::rig::whole(stays).await.1;
        assert_eq!(text(&ended["result"]), "through the gate", "{shared}");
    }
}
