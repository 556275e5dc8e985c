//! What becomes of a request that waits for a task when the server stops and the task goes on.
//!
//! To most clients an error is what became of the work, and the next process has the true answer. So a
//! client of 2025-11-25 over HTTP is left without a response, which it comes back for by the id of the
//! last event (2025-11-25 transports, "Resumability and Redelivery"); and so is whoever waits in
//! `tasks/result`, whose only answer is that of the task (2025-11-25 tasks, "Result Retrieval"): over
//! lines the connection ends with it. Behind a relay whatever lasts is left so, for the next process is asked for
//! it. Everybody else has called a tool and could not come back: the result
//! of that call names the task, as that of a call does which has taken too long.

use outlast_core::{TaskId, ToolResult};
use outlast_engine::Tool;

use crate::context::{Context, Reply};
use crate::methods::tools_call::{detached, result};
use crate::session::Outlet;

/// Answers a call of this tool whose task goes on.
pub(crate) async fn of_call(cx: &Context<'_>, tool: &Tool, id: TaskId) -> Reply {
    let comes_back = match &cx.outlet {
        Outlet::Exchange(_) => cx.session.is_some() && cx.version.has_priming_event(),
        Outlet::Relayed(_) => true,
        Outlet::Lines(_) | Outlet::Stream(_) => false,
    };
    if comes_back {
        return without_response(cx).await;
    }
    let reads = |told: ToolResult| {
        if tool.may_detach() {
            return told;
        }
        // Nothing but the tool's own data fits its output schema, and no error is held against it.
        ToolResult {
            structured: None,
            is_error: true,
            ..told
        }
    };
    detached(cx, id, |told| result(cx, &reads(told))).await
}

/// Ends the request without a response. Its stream, which is opened if it was not, goes on for whoever
/// resumes it, here or in the next process.
pub(crate) async fn without_response<T>(cx: &Context<'_>) -> T {
    if let Outlet::Exchange(exchange) = &cx.outlet {
        exchange.hand_on();
    }
    let flight = cx.flight.expect("whatever waits for a task is in flight");
    flight.end();
    // From here on it is not polled.
    std::future::pending().await
}
