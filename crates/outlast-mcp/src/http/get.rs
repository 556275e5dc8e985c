//! `GET` and `DELETE`: the stream of a session, and its end. Older era only.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use outlast_core::{Principal, Scope};

use super::body::Body;
use super::headers;
use super::post::find_session;
use super::service::Done;
use crate::context::from_store;
use crate::jsonrpc::RpcError;
use crate::protocol::Version;
use crate::server::Inner;
use crate::session::lasting::{self, Resumption};
use crate::session::{Outlet, SseStream, StreamKind};

/// Opens the stream of a session, or goes on with one that broke off.
pub(super) async fn open(server: Arc<Inner>, principal: Principal, parts: Parts) -> Done {
    if is_modern(&parts) {
        return Done::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !headers::accepts(&parts.headers, &["text/event-stream"]) {
        let error = RpcError::invalid_request("send Accept: text/event-stream");
        return Done::error(StatusCode::NOT_ACCEPTABLE, None, &error);
    }
    if !principal.may(Scope::Read) {
        return Done::forbidden(None, Scope::Read);
    }
    let owner = principal.owner();
    let session = match find_session(&server, owner, &parts).await {
        Ok(session) => session,
        Err(refusal) => return refusal.into_done(None),
    };
    let place = match server.streams.enter(owner) {
        Ok(place) => place,
        Err(full) => return Done::full(None, full, "streams"),
    };
    let resumed = match last_event(&parts) {
        None => None,
        Some((name, after)) => match session.resume_stream(name, after) {
            None => match lasting::resume(&server, &principal, &session, name, after).await {
                Ok(Resumption::Here(events)) => Some(events),
                Ok(Resumption::Elsewhere) => return Done::elsewhere(),
                // On another stream its client would wait for the response for ever.
                Ok(Resumption::Unknown) if !SseStream::names_general(name) => {
                    let error = RpcError::invalid_request(
                        "Last-Event-ID names no stream of this server; make the request again",
                    );
                    return Done::error(StatusCode::BAD_REQUEST, None, &error);
                }
                Ok(Resumption::Unknown) => None,
                Err(error) => {
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    return Done::error(status, None, &from_store(error));
                }
            },
            resumed => resumed,
        },
    };
    // What belongs to no request begins anew: the client finds the rest by asking for its tasks.
    let events = resumed.unwrap_or_else(|| session.open_stream(StreamKind::General));
    if events.stream.is_general() {
        let outlet = Outlet::Stream(Arc::clone(&events.stream));
        session.add_general(outlet, principal.clone());
        server.followed.resume(&server, &session, &principal);
        let (server, owner) = (Arc::clone(&server), owner.clone());
        tokio::spawn(async move { server.couriers.opened(&server, &owner).await });
    }
    Done {
        stream: Some(Body::counted(events, place)),
        ..Done::empty(StatusCode::OK)
    }
}

/// Ends a session.
pub(super) async fn end(server: Arc<Inner>, principal: Principal, parts: Parts) -> Done {
    if is_modern(&parts) {
        return Done::empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !principal.may(Scope::Read) {
        return Done::forbidden(None, Scope::Read);
    }
    let owner = principal.owner();
    let session = match find_session(&server, owner, &parts).await {
        Ok(session) => session,
        Err(refusal) => return refusal.into_done(None),
    };
    match server.sessions.end(server.side(), &session).await {
        Ok(()) => Done::empty(StatusCode::NO_CONTENT),
        Err(error) => Done::error(StatusCode::INTERNAL_SERVER_ERROR, None, &from_store(error)),
    }
}

fn is_modern(parts: &Parts) -> bool {
    let version = parts.headers.get(&headers::VERSION);
    version.is_some_and(|version| version.as_bytes() >= Version::V2026_07_28.as_str().as_bytes())
}

/// The stream and the number in `Last-Event-ID`.
fn last_event(parts: &Parts) -> Option<(&str, u64)> {
    let id = parts.headers.get("last-event-id")?.to_str().ok()?;
    let (name, number) = id.rsplit_once('.')?;
    Some((name, number.parse().ok()?))
}
