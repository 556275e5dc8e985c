//! `outlast/retry`, both eras: makes the call of a task that has ended once more.
//!
//! No part of the protocol; the name is in our own space, so that it collides with nothing. Params:
//! `taskId`. The result says the id of the new task in `taskId`.

use outlast_core::status::Era;

use crate::context::{Context, Reply, from_store};

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let task = cx.server.handle.retry(cx.principal, id).await;
    let task = task.map_err(from_store)?;
    Ok(cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        result.plain("taskId", task.id());
    }))
}
