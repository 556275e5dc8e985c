//! What is not a message this endpoint takes, and what gets the protocol's error for it.

use http::Method;
use serde_json::{Value, json};

use crate::rig::{Rig, declaring, modern_body, modern_headers, request, whole};

fn code(message: &Value) -> i64 {
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {message}"))
}

#[tokio::test]
async fn bytes_that_are_no_message() {
    let rig = Rig::new().await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{}"#,
        "[".repeat(10_000)
    );
    let cases: &[(&[u8], i64)] = &[
        (b"", -32700),
        (b"{", -32700),
        (b"not json", -32700),
        (b"\xff\xfe", -32700),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"ping"} trailing"#,
            -32700,
        ),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (b"[]", -32600),
        (b"7", -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
        (
            br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            -32600,
        ),
        (br#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (deep.as_bytes(), -32600),
    ];
    for (body, expected) in cases {
        let (status, message) = whole(rig.post(&[], body.to_vec()).await).await;
        let text = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!((status, code(&message)), (400, *expected), "{text}");
        assert!(
            message.get("id").is_none_or(Value::is_number),
            "{text}: {message}"
        );
    }
    let (_, message) = whole(rig.post(&[], r#"{"jsonrpc":"2.0","id":9}"#).await).await;
    assert_eq!(message["id"], 9, "a readable id comes back");
}

#[tokio::test]
async fn a_message_that_is_too_long() {
    let rig = Rig::configured(|config| config.message_limit = 1000).await;
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(2000)}});
    let (status, message) = whole(rig.post(&[], body.to_string()).await).await;
    assert_eq!((status, code(&message)), (413, -32600));
}

#[tokio::test]
async fn headers_of_the_wrong_kind() {
    let rig = Rig::new().await;
    let body = modern_body(1, &declaring(), "server/discover", json!({})).to_string();
    for (header, status) in [
        (("content-type", "text/plain"), 415),
        (("content-type", ""), 415),
        (("content-encoding", "gzip"), 415),
        (("accept", "application/json"), 406),
        (("accept", ""), 406),
        (("host", "evil.example"), 403),
        (("origin", "https://evil.example"), 403),
        (("origin", "null"), 403),
    ] {
        let response = rig.post(&[header], body.clone()).await;
        let (got, message) = whole(response).await;
        assert_eq!(got, status, "{header:?}: {message}");
        assert!(message["error"]["message"].is_string(), "{header:?}");
    }
}

#[tokio::test]
async fn other_http_methods() {
    let rig = Rig::new().await;
    for method in [Method::PUT, Method::PATCH, Method::OPTIONS] {
        let response = rig.send(request(method.clone(), &[], "")).await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST, GET, DELETE");
    }
    // The newer era has no streams of its own and nothing to delete.
    let modern = [("mcp-protocol-version", "2026-07-28")];
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(
            rig.send(request(method.clone(), &modern, ""))
                .await
                .status(),
            405,
            "{method}"
        );
        assert_eq!(
            rig.send(request(method.clone(), &[], "")).await.status(),
            400,
            "{method}"
        );
        let made_up = [("mcp-session-id", "made-up")];
        assert_eq!(rig.send(request(method, &made_up, "")).await.status(), 404);
    }
}

#[tokio::test]
async fn headers_must_repeat_the_body() {
    let rig = Rig::new().await;
    let body = modern_body(
        1,
        &declaring(),
        "tools/call",
        json!({"name": "add", "arguments": {}}),
    );
    let right = modern_headers(&body);
    let with = |name: &str, value: &str| -> Vec<(&'static str, String)> {
        let mut headers = right.clone();
        for header in headers.iter_mut().filter(|(header, _)| *header == name) {
            header.1 = value.to_owned();
        }
        headers
    };
    let send = async |headers: Vec<(&'static str, String)>| {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        whole(rig.post(&headers, body.to_string()).await).await
    };
    for (name, value) in [
        ("mcp-protocol-version", ""),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-method", ""),
        ("mcp-method", "tools/list"),
        ("mcp-method", "Tools/Call"),
        ("mcp-name", ""),
        ("mcp-name", "Add"),
        ("mcp-name", "=?base64?YWRk?"),
        ("mcp-name", "=?base64?***?="),
    ] {
        let (status, message) = send(with(name, value)).await;
        assert_eq!(
            (status, code(&message)),
            (400, -32020),
            "{name}: {value:?}: {message}"
        );
        assert_eq!(message["id"], 1);
    }
    for (name, value) in [("mcp-name", "=?base64?YWRk?="), ("mcp-name", " add ")] {
        let (status, message) = send(with(name, value)).await;
        assert_eq!(status, 200, "{name}: {value:?}: {message}");
    }
}

#[tokio::test]
async fn a_stateless_request_must_say_what_it_is() {
    let rig = Rig::new().await;
    let send = async |meta: Value| {
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
        let version = body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"]
            .as_str()
            .unwrap_or("2026-07-28")
            .to_owned();
        let headers = [
            ("mcp-protocol-version", version.as_str()),
            ("mcp-method", "tools/list"),
        ];
        whole(rig.post(&headers, body.to_string()).await).await
    };
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for meta in [
        json!({}),
        json!({capabilities: {}}),
        json!({version: "2026-07-28"}),
        json!({version: 7, capabilities: {}}),
        json!({version: "2026-07-28", capabilities: []}),
        json!({version: "2026-07-28", capabilities: {"sampling": true}}),
        json!("text"),
    ] {
        let (status, message) = send(meta.clone()).await;
        assert_eq!((status, code(&message)), (400, -32602), "{meta}: {message}");
    }
    for unknown in ["2027-01-01", "2025-11-25"] {
        let (status, message) = send(json!({version: unknown, capabilities: {}})).await;
        assert_eq!((status, code(&message)), (400, -32022), "{message}");
        let data = &message["error"]["data"];
        assert_eq!(data["requested"], unknown);
        assert!(
            data["supported"]
                .as_array()
                .unwrap()
                .contains(&"2026-07-28".into())
        );
    }
    let (status, message) = send(json!({version: "2026-07-28", capabilities: {}})).await;
    assert_eq!(status, 200, "{message}");
}

#[tokio::test]
async fn methods_that_are_not_there() {
    let rig = Rig::new().await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "prompts/list",
        "tasks/result",
        "tasks/list",
        "no/such",
    ] {
        let (status, message) = rig.modern(method, json!({})).await;
        assert_eq!((status, code(&message)), (404, -32601), "{method}");
        assert_eq!(message["id"], 7);
    }
    let session = rig.session("2025-11-25", json!({})).await;
    for method in [
        "server/discover2",
        "tasks/update",
        "subscriptions/listen",
        "prompts/list",
    ] {
        let message = session.call(method, json!({})).await;
        assert_eq!(code(&message), -32601, "{method}");
    }
}

#[tokio::test]
async fn notifications_and_responses_of_the_newer_era() {
    let rig = Rig::new().await;
    let modern = [("mcp-protocol-version", "2026-07-28")];
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/whatever"});
    let (status, body) = whole(rig.post(&modern, notification.to_string()).await).await;
    assert_eq!((status, body), (202, Value::Null));
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    let (status, message) = whole(rig.post(&modern, response.to_string()).await).await;
    assert_eq!((status, code(&message)), (400, -32600));
}

#[tokio::test]
async fn a_header_that_stands_twice_is_refused() {
    let rig = Rig::new().await;
    let body = modern_body(
        7,
        &declaring(),
        "tools/call",
        json!({"name": "speaks", "arguments": {}}),
    );
    let headers = modern_headers(&body);
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (status, _) = whole(rig.post(&headers, body.to_string()).await).await;
    assert_eq!(status, 200);
    for (name, value) in &headers {
        for second in [value, &"tools/list"] {
            let mut twice = headers.clone();
            twice.push((name, second));
            let (status, message) = whole(rig.post(&twice, body.to_string()).await).await;
            assert_eq!((status, code(&message)), (400, -32020), "{name} {second}");
        }
    }
    for (name, own) in [("host", "localhost"), ("origin", "http://localhost")] {
        let mut twice = headers.clone();
        twice.extend([(name, own), (name, "http://evil.example")]);
        let response = rig.post(&twice, body.to_string()).await;
        assert_eq!(response.status(), 400, "{name}");
    }
    // The older era has two of its own.
    let session = rig.session("2025-11-25", json!({})).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let version = ("mcp-protocol-version", "2025-11-25");
    let id = ("mcp-session-id", session.id.as_str());
    assert_eq!(rig.post(&[id, version], ping.clone()).await.status(), 200);
    for twice in [[id, id, version], [id, version, version]] {
        assert_eq!(rig.post(&twice, ping.clone()).await.status(), 400);
    }
}

#[tokio::test]
async fn what_is_refused_for_its_depth_is_answered_by_its_id() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"deep","method":"tools/call","params":{{"name":"add","arguments":{{"a":{deep}}}}}}}"#
    );
    // Any status but 200 would end the whole client of the session.
    for (headers, expected) in [
        (vec![("mcp-session-id", session.id.as_str())], 200),
        (vec![], 400),
    ] {
        let (status, message) = whole(rig.post(&headers, body.clone()).await).await;
        assert_eq!((status, code(&message)), (expected, -32600));
        assert_eq!(message["id"], "deep");
    }
}
