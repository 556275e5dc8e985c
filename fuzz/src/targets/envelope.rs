//! The JSON-RPC envelope alone: what is read as a message is JSON, and its parts are parts of it.

use outlast_mcp::jsonrpc::Message;
use serde::de::IgnoredAny;

pub(super) fn try_one(input: &[u8]) -> Result<String, String> {
    let message = match Message::parse(input) {
        Ok(message) => message,
        Err(malformed) => return Ok(format!("{malformed:?}").chars().take(60).collect()),
    };
    if serde_json::from_slice::<IgnoredAny>(input).is_err() {
        return Err("read a message from what is no JSON".into());
    }
    Ok(match message {
        Message::Request(request) => {
            format!("request, parameters {}", request.params.is_some())
        }
        Message::Notification(notification) => {
            format!("notification, parameters {}", notification.params.is_some())
        }
        Message::Response(_) => "response".into(),
    })
}
