//! The table of methods: the one place that says what exists in which era.
//!
//! A new method is a file in `methods` and a line here.

use outlast_core::status::Era;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::methods::{
    discover, listen, outlast_logs, outlast_share, ping, set_level, tasks_cancel, tasks_get,
    tasks_list, tasks_result, tasks_update, tools_call, tools_list,
};

/// Serves one request. `initialize` is not among them: it makes the session that others run in.
pub(crate) async fn dispatch(method: &str, cx: &Context<'_>) -> Reply {
    let tasks = cx.version.has_legacy_tasks();
    match (cx.version.era(), method) {
        (_, "tools/call") => tools_call::handle(cx).await,
        (_, "tools/list") => tools_list::handle(cx),
        (_, "outlast/logs") => outlast_logs::handle(cx).await,
        (_, "outlast/share") => outlast_share::handle(cx).await,
        (Era::Legacy, "tasks/get") if tasks => tasks_get::legacy(cx).await,
        (Era::Legacy, "tasks/result") if tasks => tasks_result::handle(cx).await,
        (Era::Legacy, "tasks/list") if tasks => tasks_list::handle(cx).await,
        (Era::Legacy, "tasks/cancel") if tasks => tasks_cancel::legacy(cx).await,
        (Era::Legacy, "ping") => ping::handle(cx),
        (Era::Legacy, "logging/setLevel") => set_level::handle(cx).await,
        (Era::Modern, "tasks/get") => tasks_get::modern(cx).await,
        (Era::Modern, "tasks/update") => tasks_update::handle(cx).await,
        (Era::Modern, "tasks/cancel") => tasks_cancel::modern(cx).await,
        (Era::Modern, "server/discover") => discover::handle(cx),
        (Era::Modern, "subscriptions/listen") => listen::handle(cx).await,
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// Whether a request of this method can last, so that it is worth noting that it is in flight.
pub(crate) fn can_last(method: &str) -> bool {
    matches!(
        method,
        "tools/call" | "tasks/result" | "tasks/cancel" | "subscriptions/listen"
    )
}
