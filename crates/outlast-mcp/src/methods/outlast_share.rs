//! `outlast/share`, both eras: shares a task with another owner or a group, or takes that back.
//!
//! No part of the protocol, which knows one requestor for each task; the name is in our own space, so
//! that it collides with nothing. Params: `taskId`; `with`, the name of an owner or `group:NAME`; `may`,
//! `"read"` or `"run"`, or null to take it back. The result says nothing but that it is so.

use std::borrow::Cow;

use outlast_core::status::Era;
use outlast_engine::{Grantee, Right};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;

#[derive(Deserialize)]
struct Share<'a> {
    #[serde(borrow)]
    with: Cow<'a, str>,
    /// Required: whoever leaves it out, or writes it wrongly, takes nothing back.
    #[serde(borrow)]
    may: &'a RawValue,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let Share { with, may } = cx.params.read()?;
    let with: Grantee = with.parse().map_err(RpcError::invalid_params)?;
    let may: Option<Right> = match may.get() {
        "null" => None,
        _ => {
            let text = cx.named("may", Some(may))?;
            Some(text.parse().map_err(RpcError::invalid_params)?)
        }
    };
    let shared = cx.server.handle.share(cx.principal, id, &with, may);
    shared.await.map_err(from_store)?;
    Ok(match cx.version.era() {
        Era::Legacy => cx.reply_object(|_| {}),
        Era::Modern => cx.acknowledge(),
    })
}
