//! Streams that only listen have one bound, of whatever protocol they are.

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite;

use crate::rest::{Rig, heard, problem, rig_configured, socket_at};

/// The status that a socket is refused with; `None` if it is opened.
async fn refused(rig: &Rig, path: &str) -> Option<(StatusCode, bool)> {
    let url = rig.url(path).replacen("http", "ws", 1);
    match tokio_tungstenite::connect_async(url).await {
        Ok(_) => None,
        Err(tungstenite::Error::Http(response)) => {
            let again = response.headers().contains_key("retry-after");
            let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
            Some((status, again))
        }
        Err(other) => panic!("{other}"),
    }
}

/// Asks until there is room.
async fn let_in(rig: &Rig, path: &str) -> Response {
    loop {
        let response = rig.get(path).await;
        if response.status() == StatusCode::OK {
            return response;
        }
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_and_sockets_are_counted_together_and_make_room_when_they_end() {
    let rig = rig_configured(|config| config.max_streams = 2, |http| http).await;
    let id = rig.create(json!({"tool": "endless"})).await;
    let task_events = format!("/tasks/{id}/events");
    let stream = rig.get("/events").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let mut socket = socket_at(&rig, &format!("/ws/{id}")).await;
    heard(&mut socket).await.unwrap();
    for path in ["/events", &task_events] {
        let response = rig.get(path).await;
        assert_eq!(response.headers()["retry-after"], "5");
        let (status, detail) = problem(response).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(detail.contains("2 streams open"), "{detail}");
    }
    for path in ["/ws", &format!("/ws/{id}")] {
        let refused = refused(&rig, path).await;
        assert_eq!(
            refused,
            Some((StatusCode::SERVICE_UNAVAILABLE, true)),
            "{path}"
        );
    }
    // Those of MCP are of the same kind.
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"_meta": meta, "notifications": {"toolsListChanged": true}});
    let listen =
        json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
    let request = rig.client.post(rig.url("/mcp")).json(&listen);
    let request = request
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "subscriptions/listen");
    let answer = request.send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(
        text.contains("-32000") && text.contains("2 streams open"),
        "{text}"
    );
    // Everything else goes on.
    assert_eq!(
        rig.get(&format!("/tasks/{id}")).await.status(),
        StatusCode::OK
    );
    drop(stream);
    let mut events = let_in(&rig, &task_events).await.bytes_stream();
    assert!(events.next().await.unwrap().is_ok());
    drop(socket);
    let_in(&rig, "/events").await;
}

#[tokio::test]
async fn one_owner_is_told_that_the_bound_is_its_own() {
    let rig = rig_configured(|config| config.max_streams_per_owner = 1, |http| http).await;
    let _stream = rig.get("/events").await;
    let (status, detail) = problem(rig.get("/events").await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(detail.contains("one owner"), "{detail}");
}
