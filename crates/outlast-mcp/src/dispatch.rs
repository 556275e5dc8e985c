//! The table of methods: the one place that says what exists in which era.
//!
//! A new method is a file in `methods` and a line here.

use outlast_core::status::Era;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::methods::{
    complete, discover, listen, lists, outlast_logs, outlast_overview, outlast_pause,
    outlast_retry, outlast_schedules, outlast_share, outlast_signal, outlast_tasks,
    outlast_webhooks, ping, prompts_get, resources_read, set_level, subscribe, tasks_cancel,
    tasks_get, tasks_list, tasks_result, tasks_update, tools_call,
};

/// Serves one request. `initialize` is not among them: it makes the session that others run in. What must
/// be fast, a call and a poll, stands in the future itself; the others would only make it large.
pub(crate) async fn dispatch(method: &str, cx: &Context<'_>) -> Reply {
    cx.server.requests.note(cx.version.era(), method);
    let tasks = cx.version.has_legacy_tasks();
    match (cx.version.era(), method) {
        (_, "tools/call") => tools_call::handle(cx).await,
        (_, "tools/list") => lists::tools(cx),
        (_, "prompts/list") => lists::prompts(cx),
        (_, "prompts/get") => Box::pin(prompts_get::handle(cx)).await,
        (_, "resources/list") => lists::resources(cx),
        (_, "resources/templates/list") => lists::resource_templates(cx),
        (_, "resources/read") => Box::pin(resources_read::handle(cx)).await,
        (_, "completion/complete") => Box::pin(complete::handle(cx)).await,
        (_, "outlast/logs") => Box::pin(outlast_logs::handle(cx)).await,
        (_, "outlast/overview") => Box::pin(outlast_overview::handle(cx)).await,
        (_, "outlast/tasks") => Box::pin(outlast_tasks::list(cx)).await,
        (_, "outlast/delete") => Box::pin(outlast_tasks::delete(cx)).await,
        (_, "outlast/pause") => Box::pin(outlast_pause::handle(cx)).await,
        (_, "outlast/retry") => Box::pin(outlast_retry::handle(cx)).await,
        (_, "outlast/signal") => Box::pin(outlast_signal::handle(cx)).await,
        (_, "outlast/webhooks") => Box::pin(outlast_webhooks::list(cx)).await,
        (_, "outlast/resend") => Box::pin(outlast_webhooks::resend(cx)).await,
        (_, "outlast/schedules") => Box::pin(outlast_schedules::list(cx)).await,
        (_, "outlast/schedule") => Box::pin(outlast_schedules::change(cx)).await,
        (_, "outlast/share") => Box::pin(outlast_share::handle(cx)).await,
        (Era::Legacy, "tasks/get") if tasks => Box::pin(tasks_get::legacy(cx)).await,
        (Era::Legacy, "tasks/result") if tasks => Box::pin(tasks_result::handle(cx)).await,
        (Era::Legacy, "tasks/list") if tasks => Box::pin(tasks_list::handle(cx)).await,
        (Era::Legacy, "tasks/cancel") if tasks => Box::pin(tasks_cancel::legacy(cx)).await,
        (Era::Legacy, "ping") => ping::handle(cx),
        (Era::Legacy, "resources/subscribe") => Box::pin(subscribe::subscribe(cx)).await,
        (Era::Legacy, "resources/unsubscribe") => Box::pin(subscribe::unsubscribe(cx)).await,
        (Era::Legacy, "logging/setLevel") => Box::pin(set_level::handle(cx)).await,
        (Era::Modern, "tasks/get") => tasks_get::modern(cx).await,
        (Era::Modern, "tasks/update") => Box::pin(tasks_update::handle(cx)).await,
        (Era::Modern, "tasks/cancel") => Box::pin(tasks_cancel::modern(cx)).await,
        (Era::Modern, "server/discover") => discover::handle(cx),
        (Era::Modern, "subscriptions/listen") => Box::pin(listen::handle(cx)).await,
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// Whether a request of this method can last, so that it is worth noting that it is in flight.
pub(crate) fn can_last(method: &str) -> bool {
    matches!(
        method,
        "tools/call"
            | "prompts/get"
            | "resources/read"
            | "tasks/result"
            | "tasks/cancel"
            | "subscriptions/listen"
    )
}
