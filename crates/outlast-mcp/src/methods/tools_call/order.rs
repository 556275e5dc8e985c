//! What a call says about its place among others, in `_meta`: `outlast/priority`, a number;
//! `outlast/idempotencyKey`, a string; `outlast/after`, a list of tasks, each an id or
//! `{"taskId": …, "needs": "success" | "any_end"}`; `outlast/delayMs`, a number; `outlast/runAt`, RFC 3339;
//! `outlast/labels`, an object of strings; `outlast/webhooks`, a list of `{"url": …, "secret": …,
//! "events": […]}`.

use std::collections::BTreeMap;
use std::time::Duration;

use outlast_core::machine::{Dependency, Needs};
use outlast_core::{RawJson, TaskId, Timestamp, label};
use outlast_engine::{NewCall, NewWebhook, TaskSupport, check_priority, trace};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::jsonrpc::{RpcError, string};
use crate::protocol::names::META_WEBHOOKS;

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 256;

/// The `_meta` of a call as it may be stored: addresses and keys of webhooks are kept sealed, elsewhere. The
/// trace context of the header is in it unless it has one of its own (SEP-414).
pub(super) fn storable(cx: &Context<'_>, meta: Option<RawJson>) -> Option<RawJson> {
    let meta = trace::meta_with(meta, cx.traceparent);
    if cx.meta.webhooks.is_none() {
        return meta;
    }
    meta.map(|meta| {
        let mut value = meta.to_value();
        if let Some(members) = value.as_object_mut() {
            members.remove(META_WEBHOOKS);
        }
        value.into()
    })
}

/// The longest that a call may be put off.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Deserialize)]
#[serde(untagged)]
enum Edge {
    Id(TaskId),
    Said {
        #[serde(rename = "taskId")]
        task: TaskId,
        #[serde(default)]
        needs: Needs,
    },
}

/// Reads all of it into the call.
///
/// # Errors
/// A value is of another type or out of range; or the tool is never a task, so that nothing of it could
/// be found again.
pub(super) fn read(cx: &Context<'_>, new: &mut NewCall) -> Result<(), RpcError> {
    if let Some(raw) = cx.meta.priority {
        let number: i64 = raw.get().parse().map_err(|_| {
            RpcError::invalid_params(format!(
                r#""outlast/priority" must be a whole number, and {} is none"#,
                raw.get()
            ))
        })?;
        new.priority = check_priority(number).map_err(RpcError::invalid_params)?;
    }
    if let Some(raw) = cx.meta.idempotency_key {
        let key = string(raw).filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
        let key = key.ok_or_else(|| {
            RpcError::invalid_params(format!(
                r#""outlast/idempotencyKey" must be a string of 1 to {LONGEST_KEY} bytes"#
            ))
        })?;
        if new.tool.task == TaskSupport::Forbidden {
            return Err(RpcError::invalid_params(format!(
                "the tool {:?} is never a task, so a repeated call cannot be recognized; leave \
                 \"outlast/idempotencyKey\" out",
                new.tool.name
            )));
        }
        new.key = Some(key.into_owned());
    }
    if let Some(raw) = cx.meta.after {
        let edges: Vec<Edge> = read_as(raw, "outlast/after", "a list of task ids")?;
        let edges = edges.into_iter().map(|edge| match edge {
            Edge::Id(task) => Dependency::success(task),
            Edge::Said { task, needs } => Dependency { task, needs },
        });
        new.after = edges.collect();
    }
    if let Some(raw) = cx.meta.delay {
        let wanted = "a whole number of milliseconds, at most a year";
        let delay = Duration::from_millis(read_as(raw, "outlast/delayMs", wanted)?);
        if delay > LONGEST_DELAY {
            return Err(wrong("outlast/delayMs", wanted));
        }
        new.delay = Some(delay);
    }
    if let Some(raw) = cx.meta.run_at {
        let wanted = "a moment with an offset, as \"2026-12-01T07:00:00Z\"";
        let text: String = read_as(raw, "outlast/runAt", wanted)?;
        let run_at: Timestamp = text.parse().map_err(|_| wrong("outlast/runAt", wanted))?;
        if run_at.since(cx.server.handle.now()) > LONGEST_DELAY {
            return Err(wrong("outlast/runAt", "at most a year away"));
        }
        new.run_at = Some(run_at);
    }
    if let Some(raw) = cx.meta.labels {
        let labels: BTreeMap<String, String> =
            read_as(raw, "outlast/labels", "an object of strings")?;
        label::check(&labels).map_err(RpcError::invalid_params)?;
        new.labels = labels;
    }
    if let Some(raw) = cx.meta.webhooks {
        let webhooks: Vec<NewWebhook> = serde_json::from_str(raw.get()).map_err(|why| {
            RpcError::invalid_params(format!(
                "{META_WEBHOOKS:?} must be a list of objects with url, secret and events: {why}"
            ))
        })?;
        if new.tool.task == TaskSupport::Forbidden {
            return Err(RpcError::invalid_params(format!(
                "the tool {:?} is never a task, of which nobody could be told; leave {META_WEBHOOKS:?} out",
                new.tool.name
            )));
        }
        let admitted = cx.server.handle.admit_webhooks(webhooks);
        new.webhooks = admitted.map_err(|why| RpcError::invalid_params(why.to_string()))?;
    }
    let later = new.delay.is_some() || new.run_at.is_some() || !new.after.is_empty();
    if later && new.tool.task == TaskSupport::Forbidden {
        return Err(RpcError::invalid_params(format!(
            "the tool {:?} is never a task, so it cannot be called for later; leave \
             \"outlast/after\", \"outlast/delayMs\" and \"outlast/runAt\" out",
            new.tool.name
        )));
    }
    Ok(())
}

fn read_as<T: DeserializeOwned>(raw: &RawValue, key: &str, wanted: &str) -> Result<T, RpcError> {
    serde_json::from_str(raw.get()).map_err(|_| wrong(key, wanted))
}

fn wrong(key: &str, wanted: &str) -> RpcError {
    RpcError::invalid_params(format!("{key:?} must be {wanted}"))
}
