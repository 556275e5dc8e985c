//! `tasks/result`, 2025-11-25: waits for the end of a task and returns what the call would have
//! returned.
//!
//! Several clients may wait for one task; each gets the same. Questions of the task travel on the
//! stream of a client that waits. A wait has no time limit: after a few seconds of silence the
//! response becomes a stream with signs of life in it. Ending the request never ends the task, and a server
//! that stops leaves the request without a response.

use crate::context::{Context, PATIENCE, Reply, from_store};
use crate::follow::{self, Followed, Report};
use crate::parting;
use crate::protocol::names::META_RELATED_TASK;
use crate::session::{Outlet, lasting::Subject};
use crate::wire;

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let mut watch = cx
        .server
        .handle
        .watch(cx.principal, id)
        .await
        .map_err(from_store)?;
    if !watch.task().is_finished() {
        if let Outlet::Exchange(exchange) = &cx.outlet {
            exchange.is_about(Subject::ResultOf(id));
        }
        let _waits = follow::attach(cx, watch.task()).await?;
        let report = Report::new(cx, None, None);
        let followed = follow::follow(cx, &mut watch, &report, PATIENCE, None).await?;
        if matches!(followed, Followed::Stopping) {
            return parting::without_response(cx).await;
        }
    }
    let related = format!(r#"{{"taskId":"{id}"}}"#);
    let outcome = watch.task().outcome.as_deref();
    let outcome = outcome.expect("a finished task has an outcome");
    let ours = [(META_RELATED_TASK, &*related)];
    Ok(wire::response(cx.id.get(), outcome, cx.version, &ours))
}
