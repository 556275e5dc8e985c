//! `tasks/cancel`, both eras.
//!
//! 2025-11-25: the answer is the task and must say `cancelled`, so the worker gets two seconds and
//! is then written off; a task that had ended is an error. 2026-07-28: the answer is only that the
//! request was heard, also for a task that had ended.

use std::time::Duration;

use outlast_core::store::CancelReply;
use outlast_engine::CancelBy;

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;
use crate::wire;

/// How long a worker may take to stop before its task is cancelled over its head.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn legacy(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let cancel = cx
        .server
        .handle
        .cancel(cx.principal, id, None, CancelBy::Wait(PATIENCE));
    let task = match cancel.await.map_err(from_store)? {
        CancelReply::Cancelled(task) | CancelReply::Requested(task) => task,
        CancelReply::AlreadyFinished(task) => {
            let status = task.status(outlast_core::status::Era::Legacy).as_str();
            return Err(RpcError::invalid_params(format!(
                "task {id} cannot be cancelled: it is already {status}"
            )));
        }
    };
    let now = cx.server.handle.now();
    Ok(cx.reply_object(|result| wire::legacy_members(result, &task, now)))
}

pub(crate) async fn modern(cx: &Context<'_>) -> Reply {
    cx.require_tasks()?;
    let id = cx.task_id()?;
    let cancel = cx
        .server
        .handle
        .cancel(cx.principal, id, None, CancelBy::Request);
    cancel.await.map_err(from_store)?;
    Ok(cx.acknowledge())
}
