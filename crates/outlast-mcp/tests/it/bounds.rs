//! How much clients may keep open.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lines::Client;
use crate::rig::{Rig, Session, eventually, request, whole};

/// Asks for the stream of a session: the status, when to come again, and the error.
async fn refused(session: &Session<'_>) -> (StatusCode, bool, Value) {
    let headers = [("mcp-session-id", session.id.as_str())];
    let response = session.rig.send(request(Method::GET, &headers, "")).await;
    let status = response.status();
    let again = response.headers().contains_key("retry-after");
    (status, again, whole(response).await.1)
}

#[tokio::test]
async fn streams_have_a_bound_and_make_room_when_they_end() {
    let rig = Rig::configured(|config| config.max_streams = 2).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let first = session.get(None).await;
    let _second = session.get(None).await;
    let (status, again, message) = refused(&session).await;
    assert_eq!((status, again), (StatusCode::SERVICE_UNAVAILABLE, true));
    let error = &message["error"];
    assert_eq!(error["code"], -32000);
    let sentence = error["message"].as_str().unwrap();
    assert!(sentence.contains("2 streams"), "{sentence}");
    // The other era's streams are of the same kind.
    let listen = json!({"notifications": {"toolsListChanged": true}});
    let (_, message) = rig.modern("subscriptions/listen", listen).await;
    assert_eq!(message["error"]["code"], -32000, "{message}");
    assert!(message["error"]["data"]["retryAfter"].is_u64());
    // Everything else goes on.
    session.call("tools/list", json!({})).await;
    drop(first);
    eventually("room", async || {
        let headers = [("mcp-session-id", session.id.as_str())];
        let response = rig.send(request(Method::GET, &headers, "")).await;
        (response.status() == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_owner_cannot_use_up_all_streams() {
    let rig = Rig::configured(|config| config.max_streams_per_owner = 1).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let _first = session.get(None).await;
    let (status, again, message) = refused(&session).await;
    assert_eq!((status, again), (StatusCode::TOO_MANY_REQUESTS, true));
    let sentence = message["error"]["message"].as_str().unwrap();
    assert!(sentence.contains("one owner"), "{sentence}");
}

#[tokio::test]
async fn sessions_in_use_have_a_bound_and_idle_ones_make_room() {
    let rig = Rig::configured(|config| config.max_sessions = 2).await;
    let first = rig.session("2025-11-25", json!({})).await;
    let second = rig.session("2025-11-25", json!({})).await;
    // Nothing of the first two is open.
    let third = rig.session("2025-11-25", json!({})).await;
    let _streams = (first.get(None).await, third.get(None).await);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}});
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let response = rig.post(&[], initialize.to_string()).await;
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key("mcp-session-id"));
    let (status, message) = whole(response).await;
    assert_eq!((status, &message["error"]["code"]), (503, &json!(-32000)));
    // A session that had to make room is good, and has to wait like any other.
    let (status, message) = whole(second.response(1, "ping", json!({})).await).await;
    assert_eq!((status, &message["id"]), (503, &json!(1)));
    // A connection over lines is told the same.
    let mut client = Client::connect(&rig);
    client.send(initialize).await;
    assert_eq!(client.answer(1).await.0["error"]["code"], -32000);
    drop(_streams);
    eventually("room", async || {
        let (status, _) = whole(second.response(1, "ping", json!({})).await).await;
        (status == 200).then_some(())
    })
    .await;
}
