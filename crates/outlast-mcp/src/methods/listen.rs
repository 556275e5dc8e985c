//! `subscriptions/listen`, newer era: tells each change of the tasks asked for, until the client goes.
//!
//! The first message says which tasks are listened to; then each is told as it stands, so that no
//! change can fall between the creation of a task and the listening. Ids that are unknown, or
//! somebody else's, are left out without a word.

use std::sync::Arc;

use outlast_core::{Task, TaskStatus, Timestamp};
use outlast_engine::Watch;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use crate::context::{Context, Reply, Transport, missing_tasks};
use crate::jsonrpc::RpcError;
use crate::protocol::names::META_SUBSCRIPTION;
use crate::visible;
use crate::wire::{self, Object};

/// How many tasks one subscription may name.
const MOST: usize = 1000;

#[derive(Deserialize)]
struct Listen<'a> {
    #[serde(borrow)]
    notifications: &'a RawValue,
}

/// The filter. The other members of the specification name lists that do not change here.
#[derive(Deserialize)]
struct Filter {
    #[serde(default, rename = "taskIds")]
    tasks: Option<Vec<String>>,
}

/// What a subscriber can tell apart; a change of anything else is not told.
type Seen = (TaskStatus, Timestamp, usize);

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let Listen { notifications } = cx.params.read()?;
    let filter: Filter = crate::protocol::object(notifications).ok_or_else(|| {
        RpcError::invalid_params(
            r#""notifications" must be an object, its "taskIds" an array of strings"#,
        )
    })?;
    if filter.tasks.is_some() && !cx.capabilities.tasks {
        return Err(missing_tasks());
    }
    let ids = filter.tasks.as_deref().unwrap_or_default();
    if ids.len() > MOST {
        return Err(RpcError::invalid_params(format!(
            "a subscription may name at most {MOST} tasks; open several"
        )));
    }
    let mut watches = Vec::new();
    for id in ids {
        if let Ok(id) = id.parse()
            && !watches.iter().any(|watch: &Watch| watch.task().id() == id)
            && let Ok(watch) = cx.server.handle.watch(cx.principal, id).await
        {
            watches.push(watch);
        }
    }
    cx.outlet
        .send(acknowledgement(cx, filter.tasks.is_some(), &watches));
    let mut changes = JoinSet::new();
    for watch in watches {
        let seen = tell(cx, watch.task(), None);
        if !watch.task().is_finished() {
            changes.spawn(change(watch, seen));
        }
    }
    loop {
        tokio::select! {
            Some(changed) = changes.join_next() => {
                // A task that was deleted has nothing more to tell.
                if let Ok(Some((watch, seen))) = changed {
                    let seen = tell(cx, watch.task(), Some(seen));
                    if !watch.task().is_finished() {
                        changes.spawn(change(watch, seen));
                    }
                }
            }
            () = cx.server.stopping.cancelled() => break,
        }
    }
    if cx.transport == Transport::Lines {
        cx.outlet.send(cancelled(cx));
    }
    Ok(cx.reply_object(|result| {
        result.raw("resultType", r#""complete""#);
        let mut meta = result.object("_meta");
        meta.raw(META_SUBSCRIPTION, cx.id.get())
            .members_of(cx.server.meta.as_str());
    }))
}

async fn change(mut watch: Watch, seen: Seen) -> Option<(Watch, Seen)> {
    watch.changed().await.ok()?;
    Some((watch, seen))
}

/// Tells the task as it stands, unless the subscriber has seen just that.
fn tell(cx: &Context<'_>, task: &Arc<Task>, seen: Option<Seen>) -> Seen {
    let task = visible::to(cx.capabilities, Arc::clone(task));
    let now: Seen = (
        task.status(outlast_core::status::Era::Modern),
        task.state.updated_at,
        task.open_inputs().count(),
    );
    if seen != Some(now) || task.is_finished() {
        cx.outlet.send(task_notification(cx, &task));
    }
    now
}

fn notification(
    cx: &Context<'_>,
    method: &str,
    write: impl FnOnce(&mut Object<'_>, &mut dyn FnMut(&mut Object<'_>)),
) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    {
        let mut message = Object::new(&mut out);
        message.raw("jsonrpc", r#""2.0""#).plain("method", method);
        let mut params = message.object("params");
        write(&mut params, &mut |meta| {
            meta.raw(META_SUBSCRIPTION, cx.id.get());
        });
    }
    out
}

fn acknowledgement(cx: &Context<'_>, with_tasks: bool, watches: &[Watch]) -> Vec<u8> {
    notification(
        cx,
        "notifications/subscriptions/acknowledged",
        |params, tag| {
            tag(&mut params.object("_meta"));
            let mut honoured = params.object("notifications");
            if with_tasks {
                let ids: Vec<String> = watches
                    .iter()
                    .map(|watch| watch.task().id().to_string())
                    .collect();
                let ids = serde_json::to_string(&ids).expect("strings have a JSON form");
                honoured.raw("taskIds", &ids);
            }
        },
    )
}

fn task_notification(cx: &Context<'_>, task: &Task) -> Vec<u8> {
    notification(cx, "notifications/tasks", |params, tag| {
        {
            let mut meta = params.object("_meta");
            tag(&mut meta);
            wire::annotations(&mut meta, task);
        }
        wire::detailed_task(params, task, cx.server.handle.now());
    })
}

fn cancelled(cx: &Context<'_>) -> Vec<u8> {
    notification(cx, "notifications/cancelled", |params, tag| {
        tag(&mut params.object("_meta"));
        params
            .raw("requestId", cx.id.get())
            .plain("reason", "the server is stopping");
    })
}
