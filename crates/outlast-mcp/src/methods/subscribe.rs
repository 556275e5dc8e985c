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

pub(crate) async fn subscribe(cx: &Context<'_>) -> Reply {
    let uri = uri(cx, "resources/subscribe")?;
    if !exists(cx, &uri).await? {
        return Err(not_found(cx, &uri));
    }
    if let Some(session) = cx.session {
        let following = cx.server.followed.follow(cx.server, cx.principal, &uri);
        let sessions = &cx.server.sessions;
        let room = sessions
            .subscribe(cx.server.side(), session, &uri, following)
            .await
            .map_err(from_store)?;
        if !room {
            return Err(RpcError::invalid_params(
                "this session has as many subscriptions as one may have; unsubscribe from some",
            ));
        }
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}

pub(crate) async fn unsubscribe(cx: &Context<'_>) -> Reply {
    let uri = uri(cx, "resources/unsubscribe")?;
    if let Some(session) = cx.session {
        let sessions = &cx.server.sessions;
        sessions
            .unsubscribe(cx.server.side(), session, &uri)
            .await
            .map_err(from_store)?;
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
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
