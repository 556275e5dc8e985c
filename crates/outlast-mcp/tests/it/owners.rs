//! A server that tells its users apart: what belongs to one does not exist for another.

use std::sync::Arc;

use http::Method;
use outlast_core::Owner;
use outlast_mcp::http::HttpService;
use serde_json::{Value, json};

use crate::rig::{Rig, declaring, modern_body, modern_headers, request, send_to, whole};

/// Whoever a header names: a stand-in for a checked token.
fn by_header(rig: &Rig) -> HttpService {
    let owner_of = |parts: &http::request::Parts| {
        let name = parts
            .headers
            .get("x-user")
            .and_then(|name| name.to_str().ok());
        Owner::new(name.unwrap_or("nobody"))
    };
    HttpService::with_owners(&rig.server, Arc::new(owner_of))
}

async fn modern(service: &HttpService, user: &str, method: &str, params: Value) -> Value {
    let body = modern_body(1, &declaring(), method, params);
    let headers = modern_headers(&body);
    let mut headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.push(("x-user", user));
    let request = request(Method::POST, &headers, body.to_string());
    whole(send_to(service, request).await).await.1
}

#[tokio::test]
async fn anothers_task_cannot_be_told_from_one_that_never_was() {
    let rig = Rig::new().await;
    let service = by_header(&rig);
    let call = json!({"name": "ask_one", "arguments": {}});
    let message = modern(&service, "alice", "tools/call", call).await;
    let id = message["result"]["taskId"].as_str().unwrap();
    let unknown = "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f";
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let foreign = modern(&service, "bob", method, json!({"taskId": id})).await;
        let never = modern(&service, "bob", method, json!({"taskId": unknown})).await;
        let said = foreign["error"]["message"].as_str().unwrap();
        assert_eq!(
            said.replace(id, unknown),
            never["error"]["message"],
            "{method}"
        );
        assert_eq!(foreign["error"]["code"], -32602);
    }
    let message = modern(&service, "alice", "tasks/get", json!({"taskId": id})).await;
    assert_eq!(message["result"]["taskId"], id);
    // The state of a call that asks first is no other's either.
    let call = json!({"name": "ask_first", "arguments": {}});
    let asked = modern(&service, "alice", "tools/call", call.clone()).await;
    let mut answered = call;
    answered["requestState"] = asked["result"]["requestState"].clone();
    answered["inputResponses"] =
        json!({"user_name": {"action": "accept", "content": {"name": "x"}}});
    let message = modern(&service, "bob", "tools/call", answered).await;
    assert_eq!(message["error"]["code"], -32602);
}

#[tokio::test]
async fn a_session_belongs_to_who_opened_it() {
    let rig = Rig::new().await;
    let service = by_header(&rig);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let opened = send_to(
        &service,
        request(Method::POST, &[("x-user", "alice")], body.to_string()),
    )
    .await;
    let id = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    for (user, status) in [("alice", 200), ("bob", 404), ("alice", 200)] {
        let headers = [("mcp-session-id", id.as_str()), ("x-user", user)];
        let response = send_to(&service, request(Method::POST, &headers, ping.clone())).await;
        assert_eq!(response.status(), status, "{user}");
    }
    let headers = [("mcp-session-id", id.as_str()), ("x-user", "bob")];
    assert_eq!(
        send_to(&service, request(Method::DELETE, &headers, ""))
            .await
            .status(),
        404
    );
    assert_eq!(
        send_to(&service, request(Method::GET, &headers, ""))
            .await
            .status(),
        404
    );
}
