//! `tools/list`, both eras.

use std::borrow::Cow;

use serde::Deserialize;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

pub(crate) fn handle(cx: &Context<'_>) -> Reply {
    let List { cursor } = cx.params.read()?;
    let page = cx.server.listing.page(cx.version, cursor.as_deref());
    let page = page.ok_or_else(unknown_cursor)?;
    Ok(cx.reply(page.len(), |out| out.extend_from_slice(page.as_bytes())))
}

/// The cursor was not given out by this list.
pub(crate) fn unknown_cursor() -> RpcError {
    RpcError::invalid_params("unknown cursor; begin again without one")
}
