//! Which scope a message needs: the one table.
//!
//! What only looks needs [`Scope::Read`]; what makes something happen needs [`Scope::Run`]. A method
//! that is not known needs the least, so that it is refused for what it is.

use outlast_core::Scope;

use crate::jsonrpc::{Message, RpcError};

/// What a request of this method needs.
pub(crate) fn of(method: &str) -> Scope {
    match method {
        "tools/call" | "tasks/cancel" | "tasks/update" | "outlast/share" | "outlast/retry"
        | "outlast/signal" | "outlast/delete" => Scope::Run,
        // It concerns everybody's tasks.
        "outlast/pause" | "outlast/schedules" | "outlast/schedule" => Scope::Admin,
        _ => Scope::Read,
    }
}

/// What a notification or a response needs: a response may be the answer to a question of a task.
pub(crate) fn of_other(message: &Message<'_>) -> Scope {
    match message {
        Message::Response(_) => Scope::Run,
        _ => Scope::Read,
    }
}

/// The caller has less than it needs.
pub(crate) fn missing(scope: Scope) -> RpcError {
    RpcError::invalid_request(format!(
        "this needs the scope {scope}, which your credentials do not give"
    ))
}
