//! Which scope a message needs: the one table.
//!
//! What only looks needs [`Scope::Read`]; what makes something happen needs [`Scope::Run`]. A method
//! that is not known needs the least, so that it is refused for what it is.

use outlast_core::{Principal, Scope};

use crate::helpers::{Helper, Helpers};
use crate::jsonrpc::{Message, Request, RpcError, string};
use crate::protocol::Params;
use crate::server::Inner;

/// What a request of this method needs.
fn of(method: &str) -> Scope {
    match method {
        "tools/call" | "tasks/cancel" | "tasks/update" | "outlast/share" | "outlast/retry"
        | "outlast/signal" | "outlast/delete" | "outlast/resend" => Scope::Run,
        // It concerns everybody's tasks.
        "outlast/pause" | "outlast/schedules" | "outlast/schedule" => Scope::Admin,
        _ => Scope::Read,
    }
}

/// What a request needs that its sender lacks.
pub(crate) fn lacks(
    server: &Inner,
    principal: &Principal,
    request: &Request<'_>,
    params: Option<&Params<'_>>,
) -> Option<Scope> {
    let needs = of(&request.method);
    let may = principal.may(needs)
        || (principal.may(Scope::Read) && only_looks(server, &request.method, params));
    (!may).then_some(needs)
}

/// Whether a request calls a helper tool that only looks.
fn only_looks(server: &Inner, method: &str, params: Option<&Params<'_>>) -> bool {
    let name = params.filter(|_| method == "tools/call");
    let name = name.and_then(|params| string(params.name?));
    name.is_some_and(|name| {
        let helper = Helper::named(&name).filter(|_| server.config.helpers != Helpers::Never);
        helper.is_some_and(Helper::only_looks) && server.offer().tools.get(&name).is_none()
    })
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
