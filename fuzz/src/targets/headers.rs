//! Headers: an input is a method and a body's name, then one header a line, as in
//!
//! ```text
//! POST discover
//! mcp-protocol-version: 2026-07-28
//! ```

use http::Method;
use serde_json::json;

use crate::bench::{Bench, MODERN, VERSION_KEY, judged, request, whole};

pub(super) async fn try_one(bench: &Bench, input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(&bench.filled(input)).into_owned();
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default();
    let (method, body) = first.split_once(' ').unwrap_or((first, ""));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return Ok("no method".into());
    };
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim_start().to_owned()))
        .collect();
    let meta = json!({VERSION_KEY: MODERN, "io.modelcontextprotocol/clientCapabilities": {}});
    let body = match body {
        "discover" => {
            json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}})
        }
        "call" => json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "inline", "arguments": {}, "_meta": meta}}),
        "ping" => json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}),
        _ => json!(null),
    };
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let Some(request) = request(method, &headers, body) else {
        return Ok("no header".into());
    };
    let (status, message) = whole(bench.send(request).await).await;
    judged(status, &message)
}
