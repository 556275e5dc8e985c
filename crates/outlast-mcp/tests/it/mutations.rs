//! Messages that were right once: whatever a stranger changes in them, there is a clear answer and
//! the server goes on.

use outlast_core::testing::{Random, mutate, seed};
use serde_json::{Value, json};

use crate::rig::{Rig, declaring, modern_body, modern_headers, whole};

#[tokio::test]
async fn every_changed_message_gets_an_answer() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = rig.create("quick").await;
    let answer = json!({"action": "accept", "content": {"x": 1}});
    let modern = [
        ("server/discover", json!({})),
        ("tools/list", json!({"cursor": "x"})),
        (
            "tools/call",
            json!({"name": "add", "arguments": {"a": 1, "b": 2}}),
        ),
        (
            "tools/call",
            json!({"name": "ask_first", "arguments": {}, "requestState": "AAAA",
            "inputResponses": {"user_name": answer}}),
        ),
        ("tasks/get", json!({"taskId": id})),
        (
            "tasks/update",
            json!({"taskId": id, "inputResponses": {"k": answer}}),
        ),
        ("tasks/cancel", json!({"taskId": id})),
    ];
    let legacy = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "add", "arguments": {"a": 1}, "task": {"ttl": 1}}}),
        json!({"jsonrpc": "2.0", "id": "x", "method": "tasks/result", "params": {"taskId": id}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "info"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "id": "AQ", "result": answer}),
    ];
    let seed = seed();
    println!("OUTLAST_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..3000 {
        let pick = random.index(modern.len() + legacy.len());
        let (mut bytes, headers) = match modern.get(pick) {
            Some((method, params)) => {
                let body = modern_body(7, &declaring(), method, params.clone());
                let headers = modern_headers(&body);
                (body.to_string().into_bytes(), headers)
            }
            None => {
                let headers = vec![("mcp-session-id", session.id.clone())];
                (
                    legacy[pick - modern.len()].to_string().into_bytes(),
                    headers,
                )
            }
        };
        mutate(&mut random, &mut bytes);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (status, message) = whole(rig.post(&headers, bytes).await).await;
        match status {
            202 => assert_eq!(message, Value::Null, "{text}"),
            200 | 400 | 404 => {
                assert_eq!(message["jsonrpc"], "2.0", "{text}: {message}");
                let answered = message.get("result").is_some() != message.get("error").is_some();
                assert!(answered, "{text}: {message}");
                if let Some(error) = message.get("error") {
                    let said = error["message"].as_str().unwrap();
                    assert!(
                        !said.is_empty() && error["code"] != -32603,
                        "{text}: {message}"
                    );
                }
            }
            _ => panic!("{status} for {text}: {message}"),
        }
    }
}
