//! `outlast/schedules` and `outlast/schedule`, both eras: shows schedules, and changes one.
//!
//! No part of the protocol; the names are in our own space, so that they collide with nothing. The first
//! takes no params and says all of them in `schedules`. The second takes `name` and `action`, one of
//! `show`, `pause`, `resume`, `run` and `remove`; it says the schedule as it is then in `schedule`, and
//! after `run` the id of the task in `taskId`. Both concern everybody's tasks.

use std::borrow::Cow;

use outlast_core::status::Era;
use outlast_engine::schedule_view;
use serde::Deserialize;
use serde_json::Value;

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
}

pub(crate) async fn list(cx: &Context<'_>) -> Reply {
    let schedules = cx.server.handle.schedules().list().await;
    let schedules: Vec<_> = schedules
        .map_err(from_store)?
        .iter()
        .map(schedule_view)
        .collect();
    Ok(reply(cx, &[("schedules", Value::Array(schedules))]))
}

pub(crate) async fn change(cx: &Context<'_>) -> Reply {
    let Change { name, action } = cx.params.read()?;
    let schedules = cx.server.handle.schedules();
    let mut task = None;
    let found = match action.as_ref() {
        "show" => schedules.get(&name).await,
        "pause" => schedules.pause(&name).await,
        "resume" => schedules.resume(&name).await,
        "run" => {
            task = Some(schedules.run(&name).await.map_err(from_store)?);
            schedules.get(&name).await
        }
        "remove" => {
            let found = schedules.get(&name).await.map_err(from_store)?;
            schedules.remove(&name).await.map(|()| found)
        }
        other => {
            return Err(RpcError::invalid_params(format!(
                "the action {other:?} is unknown; allowed: show, pause, resume, run, remove"
            )));
        }
    };
    let mut said = vec![("schedule", schedule_view(&found.map_err(from_store)?))];
    said.extend(task.map(|task| ("taskId", Value::from(task.id().to_string()))));
    Ok(reply(cx, &said))
}

fn reply(cx: &Context<'_>, members: &[(&str, Value)]) -> Vec<u8> {
    cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        for (name, value) in members {
            result.raw(name, &value.to_string());
        }
    })
}
