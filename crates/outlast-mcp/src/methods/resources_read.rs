//! `resources/read`, both eras: the contents of a URI, whose code may ask its caller.
//!
//! An unknown one is -32002 up to 2025-11-25 and -32602 since (2026-07-28 resources, "Error
//! Handling"); both say which.

use std::sync::Arc;

use outlast_core::RawJson;
use outlast_core::status::Era;

use crate::context::{Context, Reply};
use crate::jsonrpc::{RpcError, code};
use crate::methods::rounds::{self, Ended, Named};
use crate::offer::ReadRequest;
use crate::wire::{self, Object};

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    super::lists::require(offer.has_resources, "resources/read")?;
    let uri = cx.named("uri", cx.params.uri)?;
    let found = offer.resources.find(&uri);
    let found = found.map_err(|problem| with_uri(RpcError::invalid_params(problem), &uri))?;
    let found = found.ok_or_else(|| not_found(cx, &uri))?;
    let asked = ReadRequest {
        uri: uri.clone().into_owned(),
        variables: found.variables,
    };
    let named = Named {
        method: "resources/read",
        name: &uri,
        arguments: RawJson::empty_object(),
    };
    let handler = Arc::clone(&found.handler);
    let contents = rounds::run(cx, named, move |request| handler.read(asked, request)).await?;
    let contents = match contents {
        Ended::With(contents) => contents.ok_or_else(|| not_found(cx, &uri))?,
        Ended::Asking(reply) => return Ok(reply),
    };
    Ok(cx.reply(1024, |out| {
        let mut result = Object::new(out);
        let mime_type = found.mime_type.as_deref();
        wire::resource_contents(result.buffer("contents"), &uri, mime_type, &contents);
        if cx.version.era() == Era::Modern {
            result
                .raw("resultType", r#""complete""#)
                .value("ttlMs", found.caching.ttl.as_millis())
                .plain("cacheScope", found.caching.scope.as_str())
                .raw("_meta", cx.server.meta.as_str());
        }
    }))
}

/// There is no such resource for this caller.
pub(crate) fn not_found(cx: &Context<'_>, uri: &str) -> RpcError {
    let code = match cx.version.era() {
        Era::Legacy => code::RESOURCE_NOT_FOUND,
        Era::Modern => code::INVALID_PARAMS,
    };
    with_uri(
        RpcError::new(code, format!("resource {uri:?} not found")),
        uri,
    )
}

fn with_uri(error: RpcError, uri: &str) -> RpcError {
    let data = serde_json::json!({ "uri": uri });
    error.with_data(RawJson::from(data))
}
