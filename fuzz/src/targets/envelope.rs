//! The JSON-RPC envelope alone: what is read as a message is JSON, and its parts are parts of it.

use outlast_mcp::jsonrpc::Message;
use serde_json::Value;

pub(super) fn try_one(input: &[u8]) -> Result<String, String> {
    let message = match Message::parse(input) {
        Ok(message) => message,
        Err(malformed) => return Ok(format!("{malformed:?}").chars().take(60).collect()),
    };
    if serde_json::from_slice::<Value>(input).is_err() {
        return Err("read a message from what is no JSON".into());
    }
    Ok(match message {
        Message::Request(request) => {
            format!("request {} {}", request.method, request.params.is_some())
        }
        Message::Notification(notification) => format!("notification {}", notification.method),
        Message::Response(_) => "response".into(),
    })
}
