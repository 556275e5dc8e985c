//! `subscriptions/listen`, newer era: tells each change of what was asked for, until the client goes:
//! of the lists, of resources, of tasks.
//!
//! The first message says what of it is told; then each task is told as it stands, so that no change
//! can fall between the creation of a task and the listening. Ids and URIs that are unknown, or
//! somebody else's, are left out without a word. Behind a relay a subscription outlives the server: the next
//! one is asked for it again, and tells each list and resource once, for it may have changed meanwhile.

use std::sync::Arc;

use outlast_core::{Task, TaskStatus, Timestamp};
use outlast_engine::Watch;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::context::{Context, Reply, Transport, missing_tasks};
use crate::jsonrpc::RpcError;
use crate::methods::subscribe::exists;
use crate::offer::is_told_by;
use crate::parting;
use crate::protocol::names::META_SUBSCRIPTION;
use crate::session::{
    Following, Outlet, PROMPTS, RESOURCE_UPDATED, RESOURCES, TOOLS, changed_lists,
};
use crate::visible;
use crate::wire::{self, Object};

/// How many tasks, and how many resources, one subscription may name.
const MOST: usize = 1000;

#[derive(Deserialize)]
struct Listen<'a> {
    #[serde(borrow)]
    notifications: &'a RawValue,
}

/// What is asked for. A kind that is not asked for is never sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    tools_list_changed: bool,
    #[serde(default)]
    prompts_list_changed: bool,
    #[serde(default)]
    resources_list_changed: bool,
    #[serde(default)]
    resource_subscriptions: Option<Vec<String>>,
    #[serde(default)]
    task_ids: Option<Vec<String>>,
}

/// What was asked for and can be had.
struct Honoured {
    /// The methods of the notifications about lists.
    lists: Vec<&'static str>,
    /// In the order in which they were asked for. `None` if none were asked for.
    resources: Option<Vec<String>>,
    /// Keeps the tasks among the resources followed.
    _following: Vec<Following>,
    /// Whether tasks were asked for.
    tasks: bool,
    watches: Vec<Watch>,
}

/// What a subscriber can tell apart; a change of anything else is not told.
type Seen = (TaskStatus, Timestamp, usize);

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let place = cx.server.streams.enter(cx.owner);
    let _place = place.map_err(|full| full.into_error("streams"))?;
    // Before anything is looked at: what changes from here on is told.
    let mut offer = cx.server.catalog.follow();
    let mut updates = cx.server.catalog.follow_updates();
    let mut told = offer.borrow_and_update().revisions;
    let honoured = honour(cx).await?;
    cx.outlet.send(acknowledgement(cx, &honoured));
    let Honoured {
        lists,
        resources,
        _following,
        watches,
        ..
    } = honoured;
    let resources = resources.unwrap_or_default();
    if cx.again.is_some() {
        // What has changed since the last process of the server ended, nobody knows.
        for method in &lists {
            cx.outlet.send(list_changed(cx, method));
        }
        for uri in &resources {
            cx.outlet.send(resource_updated(cx, uri));
        }
    }
    let mut changes = JoinSet::new();
    for watch in watches {
        let seen = tell(cx, watch.task(), None)?;
        if !watch.task().is_finished() {
            changes.spawn(change(watch, seen));
        }
    }
    loop {
        tokio::select! {
            Some(changed) = changes.join_next() => {
                // A task that was deleted has nothing more to tell.
                if let Ok(Some((watch, seen))) = changed {
                    let seen = tell(cx, watch.task(), Some(seen))?;
                    if !watch.task().is_finished() {
                        changes.spawn(change(watch, seen));
                    }
                }
            }
            Ok(()) = offer.changed(), if !lists.is_empty() => {
                let now = offer.borrow_and_update().revisions;
                for method in changed_lists(told, now).filter(|method| lists.contains(method)) {
                    cx.outlet.send(list_changed(cx, method));
                }
                told = now;
            }
            updated = updates.recv(), if !resources.is_empty() => match updated {
                Ok(updated) if updated.is_for(cx.owner) => {
                    let told = |asked: &&String| is_told_by(asked, &updated.uri);
                    for asked in resources.iter().filter(told) {
                        cx.outlet.send(resource_updated(cx, asked));
                    }
                }
                Ok(_) => {}
                // Too many to know which.
                Err(RecvError::Lagged(_)) => {
                    for uri in &resources {
                        cx.outlet.send(resource_updated(cx, uri));
                    }
                }
                Err(RecvError::Closed) => break,
            },
            () = cx.server.stopping.cancelled() => break,
        }
    }
    if let Outlet::Relayed(_) = cx.outlet {
        return parting::without_response(cx).await;
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

async fn honour(cx: &Context<'_>) -> Result<Honoured, RpcError> {
    let Listen { notifications } = cx.params.read()?;
    let filter: Filter = crate::protocol::object(notifications).ok_or_else(|| {
        RpcError::invalid_params(
            r#""notifications" must be an object; its "taskIds" and "resourceSubscriptions" are arrays of strings, the rest true or false"#,
        )
    })?;
    if filter.task_ids.is_some() && !cx.capabilities.tasks {
        return Err(missing_tasks());
    }
    let ids = filter.task_ids.as_deref().unwrap_or_default();
    let uris = filter.resource_subscriptions.as_deref().unwrap_or_default();
    if ids.len().max(uris.len()) > MOST {
        return Err(RpcError::invalid_params(format!(
            "a subscription may name at most {MOST} tasks and as many resources; open several"
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
    let mut resources: Vec<String> = Vec::new();
    let mut following = Vec::new();
    for uri in uris {
        if !resources.contains(uri) && matches!(exists(cx, uri).await, Ok(true)) {
            following.extend(cx.server.followed.follow(cx.server, cx.principal, uri));
            resources.push(uri.clone());
        }
    }
    let offer = cx.server.offer();
    let asked = [
        (filter.tools_list_changed, TOOLS),
        (filter.prompts_list_changed && offer.has_prompts, PROMPTS),
        (
            filter.resources_list_changed && offer.has_resources,
            RESOURCES,
        ),
    ];
    Ok(Honoured {
        lists: asked
            .into_iter()
            .filter_map(|(asked, method)| asked.then_some(method))
            .collect(),
        resources: filter.resource_subscriptions.is_some().then_some(resources),
        _following: following,
        tasks: filter.task_ids.is_some(),
        watches,
    })
}

async fn change(mut watch: Watch, seen: Seen) -> Option<(Watch, Seen)> {
    watch.changed().await.ok()?;
    Some((watch, seen))
}

/// Tells the task as it stands, unless the subscriber has seen just that.
///
/// # Errors
/// The subscriber reads too slowly. It may have been the last thing to tell, after which an open
/// subscription would say nothing for ever; one that listens anew is told how each task stands.
fn tell(cx: &Context<'_>, task: &Arc<Task>, seen: Option<Seen>) -> Result<Seen, RpcError> {
    let task = visible::to(cx.capabilities, Arc::clone(task));
    let now: Seen = (
        task.status(outlast_core::status::Era::Modern),
        task.state.updated_at,
        task.open_inputs().count(),
    );
    let news = seen != Some(now) || task.is_finished();
    if news && !cx.outlet.send(task_notification(cx, &task)) {
        return Err(RpcError::internal(
            "a change of a task could not be told, because the stream is read too slowly; listen again",
        ));
    }
    Ok(now)
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

fn acknowledgement(cx: &Context<'_>, honoured: &Honoured) -> Vec<u8> {
    let list = |texts: &[String]| serde_json::to_string(texts).expect("strings have a JSON form");
    notification(
        cx,
        "notifications/subscriptions/acknowledged",
        |params, tag| {
            tag(&mut params.object("_meta"));
            let mut kinds = params.object("notifications");
            let names = [
                (TOOLS, "toolsListChanged"),
                (PROMPTS, "promptsListChanged"),
                (RESOURCES, "resourcesListChanged"),
            ];
            for (method, name) in names {
                if honoured.lists.contains(&method) {
                    kinds.value(name, true);
                }
            }
            if let Some(uris) = &honoured.resources {
                kinds.raw("resourceSubscriptions", &list(uris));
            }
            if honoured.tasks {
                let ids = honoured
                    .watches
                    .iter()
                    .map(|watch| watch.task().id().to_string());
                kinds.raw("taskIds", &list(&ids.collect::<Vec<_>>()));
            }
        },
    )
}

fn list_changed(cx: &Context<'_>, method: &str) -> Vec<u8> {
    notification(cx, method, |params, tag| tag(&mut params.object("_meta")))
}

fn resource_updated(cx: &Context<'_>, uri: &str) -> Vec<u8> {
    notification(cx, RESOURCE_UPDATED, |params, tag| {
        tag(&mut params.object("_meta"));
        params.text("uri", uri);
    })
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
