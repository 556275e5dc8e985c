//! `outlast/webhooks` and `outlast/resend`, both eras: what has become of telling others of a task, and telling
//! them again.
//!
//! No part of the protocol; the names are in our own space, so that they collide with nothing. Both take
//! `taskId`; `outlast/resend` takes `delivery` besides, the id of one. The results have the `deliveries` of the
//! task, as they are then.

use std::borrow::Cow;

use outlast_core::Task;
use outlast_core::status::Era;
use outlast_core::webhook::{Delivery, DeliveryState, Receiver};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;

#[derive(Deserialize)]
struct Resend<'a> {
    #[serde(borrow)]
    delivery: Cow<'a, str>,
}

/// `outlast/webhooks`.
pub(crate) async fn list(cx: &Context<'_>) -> Reply {
    answer(cx).await
}

/// `outlast/resend`.
pub(crate) async fn resend(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let Resend { delivery } = cx.params.read()?;
    let sent = cx.server.handle.resend(cx.principal, id, &delivery).await;
    if !sent.map_err(from_store)? {
        return Err(RpcError::invalid_params(format!(
            "the task {id} has no delivery {delivery:?}"
        )));
    }
    answer(cx).await
}

async fn answer(cx: &Context<'_>) -> Reply {
    let task = cx.server.handle.get(cx.principal, cx.task_id()?).await;
    let task = task.map_err(from_store)?;
    let deliveries = task.state.deliveries.iter().map(|one| view(&task, one));
    let deliveries: Value = deliveries.collect();
    Ok(cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        result.raw("deliveries", &deliveries.to_string());
    }))
}

fn view(task: &Task, delivery: &Delivery) -> Value {
    let to = match task
        .spec
        .webhooks
        .get(delivery.webhook)
        .map(|hook| &hook.to)
    {
        Some(Receiver::Server(name)) => name.as_str(),
        Some(Receiver::Call { origin, .. }) => origin.as_str(),
        None => "",
    };
    let (state, next) = match delivery.state {
        DeliveryState::Pending { next_at } => ("pending", Some(next_at.to_string())),
        DeliveryState::Delivered => ("delivered", None),
        DeliveryState::Failed => ("failed", None),
    };
    let last = delivery.latest.last();
    json!({
        "id": delivery.id(task.id()),
        "to": to,
        "event": delivery.event,
        "at": delivery.at.to_string(),
        "state": state,
        "attempts": delivery.attempts,
        "nextAttemptAt": next,
        "status": last.and_then(|last| last.status),
        "error": last.and_then(|last| last.error.as_deref()),
    })
}
