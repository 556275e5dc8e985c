//! Tokens that travel through clients: a changed one is never taken for what it was changed from.
//!
//! An input says which token, and the seed of the change: `session 17`. The tokens themselves differ
//! from server to server, so no corpus could hold them.

use http::Method;
use outlast_core::testing::{Random, mutate};
use serde_json::json;

use crate::bench::{Bench, judged, request, whole};

pub(super) async fn try_one(bench: &Bench, input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    let (which, seed) = text.split_once(' ').unwrap_or((&text, ""));
    let seed = seed.bytes().fold(1_u64, |seed, byte| {
        seed.wrapping_mul(131).wrapping_add(u64::from(byte))
    });
    let token = match which {
        "session" => &bench.session,
        "state" => &bench.state,
        _ => return Ok("no token".into()),
    };
    let mut changed = token.clone().into_bytes();
    mutate(&mut Random::new(seed), &mut changed);
    let changed = String::from_utf8_lossy(&changed).into_owned();
    // White space around a header's value is not part of it.
    if changed.trim() == token {
        return Ok("unchanged".into());
    }
    let message = match which {
        "session" => {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
            let Some(request) = request(
                Method::POST,
                &[("mcp-session-id".into(), changed.clone())],
                body.into(),
            ) else {
                return Ok("no header".into());
            };
            let (status, message) = whole(bench.send(request).await).await;
            judged(status, &message)?;
            message
        }
        _ => {
            let answers = json!({"who": {"action": "accept", "content": {"name": "Ada"}}});
            let params = json!({"name": "asks_first", "arguments": {}, "requestState": changed,
                "inputResponses": answers});
            bench.modern("tools/call", params).await
        }
    };
    if message.get("result").is_some() {
        return Err(format!(
            "a changed {which} was accepted: {changed:?} instead of {token:?}: {message}"
        ));
    }
    Ok(format!("{which} {}", message["error"]["code"]))
}
