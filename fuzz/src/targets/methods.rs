//! Every method's parameters, in both eras: an input is the body of a POST. A body that says its
//! version is one of 2026-07-28 and gets the headers that belong to it; any other belongs to an open
//! session.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::bench::{Bench, LEGACY, VERSION_KEY, headers_of, judged, request, whole};

/// What a request that is meant to last may take before it is given up.
const LASTING: Duration = Duration::from_millis(20);

pub(super) async fn try_one(bench: &Bench, input: &[u8]) -> Result<String, String> {
    let body = bench.filled(input);
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = parsed["method"].as_str().unwrap_or_default();
    let headers = if parsed["params"]["_meta"][VERSION_KEY].is_string() {
        headers_of(&parsed)
    } else {
        vec![
            ("mcp-session-id".to_owned(), bench.session.clone()),
            ("mcp-protocol-version".to_owned(), LEGACY.to_owned()),
        ]
    };
    let Some(request) = request(Method::POST, &headers, body) else {
        return Ok("no header".into());
    };
    let answer = async { whole(bench.send(request).await).await };
    // A result that is not there yet is waited for, by the specification.
    if matches!(method, "tasks/result" | "subscriptions/listen") {
        return match tokio::time::timeout(LASTING, answer).await {
            Ok((status, message)) => {
                judged(status, &message).map(|kind| format!("{method} {kind}"))
            }
            Err(_) => Ok(format!("{method} lasts")),
        };
    }
    let (status, message) = answer.await;
    judged(status, &message).map(|kind| format!("{method} {kind}"))
}
