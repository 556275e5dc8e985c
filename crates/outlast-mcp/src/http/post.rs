//! `POST`: one message in.

use std::sync::{Arc, OnceLock};

use bytes::Buf;
use http::StatusCode;
use http::request::Parts;
use outlast_core::status::Era;
use outlast_core::{Owner, Principal};
use outlast_engine::trace::TRACEPARENT;
use serde_json::value::RawValue;

use super::headers;
use super::read::{self, Unread};
use super::service::Done;
use crate::bounds::Full;
use crate::context::{Context, Transport, from_store};
use crate::exchange::Exchange;
use crate::jsonrpc::{Message, Request, RpcError, batch, batch_response, code, string};
use crate::methods::initialize;
use crate::protocol::names::INITIALIZED;
use crate::protocol::{Capabilities, ModernMeta, Params, Version, usual};
use crate::scope;
use crate::serve::{self, Answer};
use crate::server::Inner;
use crate::session::{Lookup, Outlet, Session, elsewhere};

pub(super) async fn handle<B>(
    server: Arc<Inner>,
    principal: Principal,
    parts: Parts,
    body: B,
    exchange: Arc<Exchange>,
) -> Done
where
    B: http_body::Body,
    B::Data: Buf,
{
    if !headers::is_json(&parts.headers) {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON; send Content-Type: application/json",
        );
    }
    if !headers::is_plain(&parts.headers) {
        return refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must not be compressed; send it without Content-Encoding",
        );
    }
    if !headers::accepts(&parts.headers, &["application/json", "text/event-stream"]) {
        return refused(
            StatusCode::NOT_ACCEPTABLE,
            "send Accept: application/json, text/event-stream",
        );
    }
    let limit = server.config.message_limit;
    let body = match read::whole(body, limit).await {
        Ok(body) => body,
        Err(Unread::TooLong) => {
            return refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the message is longer than {limit} bytes"),
            );
        }
        Err(Unread::TooSlow) => {
            return refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        }
        Err(Unread::Broken) => {
            return refused(
                StatusCode::BAD_REQUEST,
                "the body could not be read to its end",
            );
        }
    };
    let post = Post {
        server: &server,
        principal: &principal,
        owner: principal.owner(),
        parts: &parts,
        exchange: &exchange,
    };
    if let Some((request, params)) = usual::request(&body) {
        return post.request(&request, Ok(params)).await;
    }
    match Message::parse(&body) {
        Ok(Message::Request(request)) => {
            let params = Params::parse(request.params);
            Box::pin(post.request(&request, params)).await
        }
        Ok(message) => Box::pin(post.other(&message)).await,
        Err(malformed) => {
            if let Some(messages) = Box::pin(post.takes_batches())
                .await
                .then(|| batch(&body))
                .flatten()
            {
                // Rare and large: kept out of the future that every request is.
                return Box::pin(post.batch(&messages)).await;
            }
            let id = malformed.id.map(RawValue::get);
            // In a session a request is answered by its id, and any status but 200 may end the client of all
            // the others.
            let in_session = parts.headers.contains_key(&headers::SESSION);
            let status = match id {
                Some(_) if in_session => StatusCode::OK,
                _ => StatusCode::BAD_REQUEST,
            };
            Done::error(status, id, &malformed.error)
        }
    }
}

fn refused(status: StatusCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Done {
    Done::error(status, None, &RpcError::invalid_request(message))
}

/// What a message came with.
struct Post<'a> {
    server: &'a Arc<Inner>,
    principal: &'a Principal,
    owner: &'a Owner,
    parts: &'a Parts,
    exchange: &'a Arc<Exchange>,
}

impl Post<'_> {
    async fn request(&self, request: &Request<'_>, params: Result<Params<'_>, RpcError>) -> Done {
        let id = request.id.get();
        let read = params.as_ref().ok();
        if let Some(needs) = scope::lacks(self.server, self.principal, request, read) {
            return Done::forbidden(Some(id), needs);
        }
        let understood = params.and_then(|params| {
            let meta = ModernMeta::parse(params.meta)?;
            Ok((params, meta))
        });
        let (params, meta) = match understood {
            Ok(understood) => understood,
            Err(error) => {
                let status = if self.header_is_modern() {
                    StatusCode::BAD_REQUEST
                } else {
                    StatusCode::OK
                };
                return Done::error(status, Some(id), &error);
            }
        };
        let modern = meta.version.is_some()
            || self.header_is_modern()
            || request.method == "server/discover";
        if modern {
            self.modern(request, params, meta).await
        } else if request.method == "initialize" {
            self.initialize(request, &params)
        } else {
            Box::pin(self.legacy(request, params, meta)).await
        }
    }

    /// Dates in this form are ordered like their texts.
    fn header_is_modern(&self) -> bool {
        let version = self.parts.headers.get(&headers::VERSION);
        version
            .is_some_and(|version| version.as_bytes() >= Version::V2026_07_28.as_str().as_bytes())
    }

    async fn modern(
        &self,
        request: &Request<'_>,
        params: Params<'_>,
        meta: ModernMeta<'_>,
    ) -> Done {
        let id = request.id.get();
        let declared = headers::check(&self.parts.headers, &request.method, &params, &meta)
            .and_then(|()| self.check_params(request, &params))
            .and_then(|()| serve::declared(&meta));
        let (version, capabilities) = match declared {
            Ok(declared) => declared,
            Err(error) => return Done::error(StatusCode::BAD_REQUEST, Some(id), &error),
        };
        let cx = self.context(request, params, meta, version, capabilities, None);
        match serve::answer(&request.method, cx, None).await {
            Answer::Result(response, _) => Done::message(StatusCode::OK, response),
            Answer::Error(error) => Done::error(modern_status(error.code), Some(id), &error),
            Answer::Nothing => Done::empty(StatusCode::ACCEPTED),
        }
    }

    fn check_params(&self, request: &Request<'_>, params: &Params<'_>) -> Result<(), RpcError> {
        if request.method != "tools/call" {
            return Ok(());
        }
        let offer = self.server.offer();
        if offer.param_headers().is_empty() {
            return Ok(());
        }
        let Some(tool) = params.name.and_then(string) else {
            return Ok(());
        };
        let arguments = params.arguments.filter(|raw| raw.get() != "null");
        offer
            .param_headers()
            .check(&self.parts.headers, &tool, arguments)
    }

    fn initialize(&self, request: &Request<'_>, params: &Params<'_>) -> Done {
        let made = initialize::handle(
            self.server,
            request.id,
            params,
            self.principal,
            Transport::Http,
            None,
        );
        match made {
            Ok((response, session)) => {
                let id = session.identity.seal(&self.server.sealer);
                if let Err(full) = self.server.sessions.insert(&id, &session) {
                    return Done::full(Some(request.id.get()), full, "sessions");
                }
                Done {
                    session: Some(id),
                    ..Done::message(StatusCode::OK, response)
                }
            }
            Err(error) => Done::error(StatusCode::OK, Some(request.id.get()), &error),
        }
    }

    async fn legacy(
        &self,
        request: &Request<'_>,
        params: Params<'_>,
        meta: ModernMeta<'_>,
    ) -> Done {
        let id = request.id.get();
        let session = match find_session(self.server, self.owner, self.parts).await {
            Ok(session) => session,
            Err(refusal) => return refusal.into_done(Some(id)),
        };
        if !session.is_initialized() && serve::ends_handshake(&request.method) {
            self.end_handshake(&session);
        }
        self.exchange.belongs_to(self.server, &session, id);
        let version = session.identity.version;
        let capabilities = session.identity.capabilities;
        let cx = self.context(request, params, meta, version, capabilities, Some(&session));
        match serve::answer(&request.method, cx, Some(&session.in_flight)).await {
            Answer::Nothing => Done::empty(StatusCode::ACCEPTED),
            answer => {
                let (response, _) = answer.into_response(id).expect("the other case is above");
                Done::message(StatusCode::OK, response)
            }
        }
    }

    /// Brings the client what has waited for the end of its handshake, beside whatever this message is.
    fn end_handshake(&self, session: &Arc<Session>) {
        let (server, session) = (Arc::clone(self.server), Arc::clone(session));
        tokio::spawn(async move { serve::initialized(&server, &session).await });
    }

    /// Whether the session's version knows batches.
    async fn takes_batches(&self) -> bool {
        self.parts.headers.contains_key(&headers::SESSION)
            && find_session(self.server, self.owner, self.parts)
                .await
                .is_ok_and(|session| session.identity.version.has_batches())
    }

    /// Serves the messages of a batch one after the other.
    async fn batch(&self, messages: &[&RawValue]) -> Done {
        let mut responses = Vec::new();
        for message in messages {
            let done = match Message::parse(message.get().as_bytes()) {
                Ok(Message::Request(request)) => {
                    let params = Params::parse(request.params);
                    self.request(&request, params).await
                }
                Ok(message) => self.other(&message).await,
                Err(malformed) => {
                    let id = malformed.id.map(RawValue::get);
                    Done::error(StatusCode::OK, id, &malformed.error)
                }
            };
            if !done.message.is_empty() {
                responses.push(done.message);
            }
        }
        match batch_response(&responses) {
            Some(response) => Done::message(StatusCode::OK, response),
            None => Done::empty(StatusCode::ACCEPTED),
        }
    }

    fn traceparent(&self) -> Option<&str> {
        self.parts.headers.get(TRACEPARENT)?.to_str().ok()
    }

    fn context<'c>(
        &'c self,
        request: &'c Request<'_>,
        params: Params<'c>,
        meta: ModernMeta<'c>,
        version: Version,
        capabilities: Capabilities,
        session: Option<&'c Arc<Session>>,
    ) -> Context<'c> {
        Context {
            server: self.server,
            id: request.id,
            params,
            meta,
            version,
            capabilities,
            principal: self.principal,
            owner: self.owner,
            transport: Transport::Http,
            traceparent: self.traceparent(),
            session,
            outlet: Outlet::Exchange(Arc::clone(self.exchange)),
            flight: None,
            introduced: OnceLock::new(),
            again: None,
        }
    }

    /// A notification or a response.
    async fn other(&self, message: &Message<'_>) -> Done {
        let needs = scope::of_other(message);
        if !self.principal.may(needs) {
            return Done::forbidden(None, needs);
        }
        let has_session = self.parts.headers.contains_key(&headers::SESSION);
        let modern = self.header_is_modern() || (!has_session && declares_version(message));
        if modern {
            return match message {
                // This revision defines none over HTTP; those that come change nothing.
                Message::Notification(_) => Done::empty(StatusCode::ACCEPTED),
                _ => refused(
                    StatusCode::BAD_REQUEST,
                    "this version sends no requests to clients, so it takes no responses",
                ),
            };
        }
        let session = match find_session(self.server, self.owner, self.parts).await {
            Ok(session) => session,
            Err(refusal) => return refusal.into_done(None),
        };
        match message {
            Message::Notification(notification) if notification.method == INITIALIZED => {
                if session.is_initialized() {
                    let (side, sessions) = (self.server.side(), &self.server.sessions);
                    if let Err(error) = sessions.note_initialized(side, &session).await {
                        // Its next request to the other instance tells that one.
                        tracing::warn!(%error, "cannot write down that a session is initialized");
                    }
                } else {
                    self.end_handshake(&session);
                }
            }
            Message::Notification(notification) => {
                let not_here = serve::notified(notification, Some(&session.in_flight));
                if let Some(id) = not_here.filter(|_| self.server.config.shared) {
                    let (side, now) = (self.server.side(), self.server.handle.now());
                    let left = elsewhere::leave_cancellation(side, now, &session, &id);
                    if let Err(error) = left.await {
                        let status = StatusCode::INTERNAL_SERVER_ERROR;
                        return Done::error(status, None, &from_store(error));
                    }
                }
            }
            Message::Response(response) => {
                let taken = serve::responded(self.server, self.principal, &session, response);
                if let Err(error) = taken.await {
                    // "If the server cannot accept the input" (2025-11-25 transports).
                    let status = match error.code {
                        code::INVALID_PARAMS => StatusCode::FORBIDDEN,
                        _ => StatusCode::INTERNAL_SERVER_ERROR,
                    };
                    return Done::error(status, None, &error);
                }
            }
            Message::Request(_) => unreachable!("requests are served elsewhere"),
        }
        Done::empty(StatusCode::ACCEPTED)
    }
}

fn declares_version(message: &Message<'_>) -> bool {
    let Message::Notification(notification) = message else {
        return false;
    };
    let Ok(params) = Params::parse(notification.params) else {
        return false;
    };
    ModernMeta::parse(params.meta).is_ok_and(|meta| meta.version.is_some())
}

/// The HTTP status that goes with an error in the newer era: one table.
fn modern_status(error: i64) -> StatusCode {
    match error {
        code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        code::HEADER_MISMATCH
        | code::MISSING_CAPABILITY
        | code::UNSUPPORTED_VERSION
        | code::INVALID_REQUEST
        | code::PARSE_ERROR => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Why there is no session for a request.
pub(super) struct Refusal {
    status: StatusCode,
    error: RpcError,
    full: Option<Full>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self {
            status,
            error: RpcError::invalid_request(message),
            full: None,
        }
    }

    pub(super) fn into_done(self, id: Option<&str>) -> Done {
        if let Some(full) = self.full {
            return Done::full(id, full, "sessions");
        }
        Done::error(self.status, id, &self.error)
    }
}

/// The session a request of the older era belongs to.
pub(super) async fn find_session(
    server: &Arc<Inner>,
    owner: &Owner,
    parts: &Parts,
) -> Result<Arc<Session>, Refusal> {
    let once = |name| {
        let value = headers::only(&parts.headers, name);
        value.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.message.clone()))
    };
    let Some(id) = once(&headers::SESSION)? else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the header Mcp-Session-Id is missing; call initialize first, or send stateless \
             requests of 2026-07-28",
        ));
    };
    if let Some(version) = once(&headers::VERSION)? {
        let version = version.to_str().ok().and_then(Version::parse);
        if version.is_none_or(|version| version.era() != Era::Legacy) {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "the header MCP-Protocol-Version names a version that is not spoken in a session",
            ));
        }
    }
    let unknown = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "this session is unknown or has ended; call initialize",
        )
    };
    let id = id.to_str().map_err(|_| unknown())?;
    let store = server.side();
    let found = server
        .sessions
        .lookup(&server.sealer, store, server.handle.now(), id, owner)
        .await;
    match found {
        Ok(Lookup::Found(session)) => Ok(session),
        Ok(Lookup::Unknown) => Err(unknown()),
        Ok(Lookup::Full(full)) => Err(Refusal {
            status: full.status(),
            error: full.into_error("sessions"),
            full: Some(full),
        }),
        Err(error) => Err(Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            error: from_store(error),
            full: None,
        }),
    }
}
