//! `outlast/pause`, both eras: stops and allows the claiming of tasks, of one tool or of all.
//!
//! No part of the protocol; the name is in our own space, so that it collides with nothing. Params:
//! `tool`, a name, or absent for all of the server; `paused`, whether its tasks are to wait. The result
//! says in `paused` what is paused then: names of tools, and `*` for all.

use std::borrow::Cow;

use outlast_core::limit::Queue;
use outlast_core::status::Era;
use serde::Deserialize;

use crate::context::{Context, Reply, from_store};

#[derive(Deserialize)]
struct Pause<'a> {
    #[serde(borrow, default)]
    tool: Option<Cow<'a, str>>,
    paused: bool,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let Pause { tool, paused } = cx.params.read()?;
    let queue = tool.map_or(Queue::All, |tool| Queue::Tool(tool.into_owned()));
    let handle = &cx.server.handle;
    let controls = if paused {
        handle.pause(queue).await
    } else {
        handle.resume(queue).await
    };
    let controls = controls.map_err(from_store)?;
    let names: Vec<&str> = controls
        .paused
        .iter()
        .map(|queue| match queue {
            Queue::All => "*",
            Queue::Tool(name) => name,
        })
        .collect();
    let names = serde_json::to_string(&names).expect("a list of strings has a JSON form");
    Ok(cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        result.raw("paused", &names);
    }))
}
