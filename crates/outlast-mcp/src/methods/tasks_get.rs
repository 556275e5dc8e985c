//! `tasks/get`, both eras: a task as it stands, read and nothing else.

use std::sync::Arc;

use outlast_core::Task;

use crate::context::{Context, Reply, from_store};
use crate::visible;
use crate::wire;

/// 2025-11-25: flat, without the result.
pub(crate) async fn legacy(cx: &Context<'_>) -> Reply {
    let task = find(cx).await?;
    let reply_to = task.spec.reply_to.as_ref();
    if let (Some(session), Some(reply_to)) = (cx.session, reply_to)
        && session.key == reply_to.session
    {
        cx.server.couriers.known(task.id());
    }
    let now = cx.server.handle.now();
    Ok(cx.reply_object(|result| {
        wire::legacy_members(result, &task, now);
        wire::annotations(&mut result.object("_meta"), &task);
    }))
}

/// 2026-07-28: with the open questions, the result or the error inside.
pub(crate) async fn modern(cx: &Context<'_>) -> Reply {
    cx.require_tasks()?;
    let task = find(cx).await?;
    let task = visible::to(cx.capabilities, task);
    // What has ended does not change with time, and the clock need not be asked.
    let now = match task.state.finished_at {
        Some(finished) => finished,
        None => cx.server.handle.now(),
    };
    Ok(cx.reply(1024, |out| {
        let mut result = wire::Object::new(out);
        result.raw("resultType", r#""complete""#);
        wire::detailed_task(&mut result, &task, now);
        let mut meta = result.object("_meta");
        meta.members_of(cx.server.meta.as_str());
        wire::annotations(&mut meta, &task);
    }))
}

async fn find(cx: &Context<'_>) -> Result<Arc<Task>, crate::jsonrpc::RpcError> {
    let id = cx.task_id()?;
    cx.server
        .handle
        .get(cx.principal, id)
        .await
        .map_err(from_store)
}
