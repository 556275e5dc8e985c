//! `resources/subscribe` and `resources/unsubscribe`, older era: which resources the client wants to
//! be told of.
//!
//! What is subscribed to is kept with the session, so that a client that reconnects, to whichever
//! process, need not say it again. Subscribing twice is subscribing once.

use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;
use crate::methods::lists::require;
use crate::methods::resources_read::not_found;
use crate::offer::task_of;
use crate::session::Change;

pub(crate) async fn subscribe(cx: &Context<'_>) -> Reply {
    let uri = uri(cx, "resources/subscribe")?;
    if !exists(cx, &uri).await? {
        return Err(not_found(cx, &uri));
    }
    if let Some(session) = cx.session {
        let following = cx.server.followed.follow(cx.server, cx.principal, &uri);
        let sessions = &cx.server.sessions;
        let change = sessions
            .subscribe(cx.server.side(), session, &uri, following)
            .await;
        made(change)?;
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}

pub(crate) async fn unsubscribe(cx: &Context<'_>) -> Reply {
    let uri = uri(cx, "resources/unsubscribe")?;
    if let Some(session) = cx.session {
        let sessions = &cx.server.sessions;
        made(sessions.unsubscribe(cx.server.side(), session, &uri).await)?;
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}

/// Refuses a request that would change a session and did not.
pub(crate) fn made(change: outlast_core::Result<Change>) -> Result<(), RpcError> {
    match change.map_err(from_store)? {
        Change::Made => Ok(()),
        Change::Ended => Err(RpcError::invalid_request(
            "this session has ended; call initialize",
        )),
        Change::Full => Err(RpcError::invalid_params(
            "this session has as many subscriptions as one may have; unsubscribe from some",
        )),
    }
}

fn uri(cx: &Context<'_>, method: &str) -> Result<String, RpcError> {
    require(cx.server.offer().has_resources, method)?;
    Ok(cx.named("uri", cx.params.uri)?.into_owned())
}

/// Whether there is such a resource for this caller, as far as that is known without reading it.
pub(crate) async fn exists(cx: &Context<'_>, uri: &str) -> Result<bool, RpcError> {
    let found = cx.server.offer().resources.find(uri);
    if found.map_err(RpcError::invalid_params)?.is_none() {
        return Ok(false);
    }
    match task_of(uri) {
        None => Ok(!uri.starts_with("outlast://tasks/")),
        Some(task) => match cx.server.handle.get(cx.principal, task).await {
            Ok(_) => Ok(true),
            Err(outlast_core::Error::NotFound(_)) => Ok(false),
            Err(error) => Err(from_store(error)),
        },
    }
}
