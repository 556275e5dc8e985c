//! `outlast/signal`, both eras: sends a signal into a task.
//!
//! No part of the protocol; the name is in our own space, so that it collides with nothing. Params:
//! `taskId`; `name`, what the tool reads it by; `payload`, any JSON; `id`, by which a repeated signal is
//! recognized, if there is one. The result says its `number` among those of its name, and whether it was
//! `repeated`.

use std::borrow::Cow;

use outlast_core::status::Era;
use outlast_core::{NewSignal, RawJson};
use serde::Deserialize;

use crate::context::{Context, Reply, from_store};

#[derive(Deserialize)]
struct Signal<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    payload: Option<RawJson>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let task = cx.task_id()?;
    let Signal { name, payload, id } = cx.params.read()?;
    let payload = payload.unwrap_or_else(|| RawJson::parse("null").expect("a constant"));
    let signal = NewSignal {
        id: id.map(Cow::into_owned),
        ..NewSignal::new(name, payload)
    };
    let taken = cx.server.handle.signal(cx.principal, task, signal).await;
    let taken = taken.map_err(from_store)?;
    Ok(cx.reply_object(|result| {
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
            result.raw("_meta", cx.server.meta.as_str());
        }
        result
            .value("number", taken.number)
            .value("repeated", taken.repeated);
    }))
}
