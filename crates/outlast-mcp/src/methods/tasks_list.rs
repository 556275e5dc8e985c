//! `tasks/list`, 2025-11-25: the caller's tasks, the latest first.
//!
//! Offered only where requestors can be told apart; over HTTP without users every client is the same
//! principal, and one would see the ids of all (2025-11-25 tasks, "Task Isolation and Access
//! Control").

use std::borrow::Cow;

use outlast_core::Principal;
use outlast_core::store::Filter;
use serde::Deserialize;

use crate::context::{Context, Reply, Transport, from_store};
use crate::jsonrpc::RpcError;
use crate::offer::unknown_cursor;
use crate::wire::{self, Object};

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

/// Whether this caller may list over this transport.
pub(crate) fn is_offered(transport: Transport, principal: &Principal) -> bool {
    transport == Transport::Lines || principal.is_authenticated()
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    if !is_offered(cx.transport, cx.principal) {
        return Err(RpcError::method_not_found("tasks/list"));
    }
    let List { cursor } = cx.params.read()?;
    let before = cursor.map(|cursor| position(cx, &cursor)).transpose()?;
    let limit = cx.server.config.page_size.max(1);
    let page = cx
        .server
        .handle
        .list(cx.principal, Filter::default(), before, limit)
        .await
        .map_err(from_store)?;
    let now = cx.server.handle.now();
    Ok(cx.reply_object(|result| {
        let list = result.buffer("tasks");
        list.push(b'[');
        for (index, task) in page.tasks.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            let mut object = Object::new(list);
            wire::legacy_members(&mut object, task, now);
            wire::annotations(&mut object.object("_meta"), task);
        }
        list.push(b']');
        if let Some(next) = page.next {
            result.plain("nextCursor", cx.server.seal_cursor(next));
        }
    }))
}

/// The position that a cursor of this server names.
pub(crate) fn position(cx: &Context<'_>, cursor: &str) -> Result<u64, RpcError> {
    cx.server.open_cursor(cursor).ok_or_else(unknown_cursor)
}
