//! One JSON message a line: standard input and output, sockets, and pipes within a process.
//!
//! Both eras may be used on one connection, in any order. A line that cannot be read gets the
//! protocol's error and the connection goes on. The end of the input ends the connection and what
//! waits on it; it ends no task.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use outlast_core::Principal;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::{Again, Context, Transport};
use crate::jsonrpc::{
    Message, Request, RequestId, RpcError, batch, batch_response, error_response, notification,
    one_line, outer_id,
};
use crate::methods::initialize;
use crate::protocol::names::INITIALIZED;
use crate::protocol::{Capabilities, ModernMeta, Params, Version};
use crate::relay::{self, ToRelay, ToServer};
use crate::scope;
use crate::serve;
use crate::server::{Inner, Server};
use crate::session::{
    Identity, InFlight, Introduction, MOST_IN_FLIGHT, Outlet, PROMPTS, RESOURCE_UPDATED, RESOURCES,
    Session, TOOLS, withdrawn,
};

/// How many messages may wait for a slow reader before a sender has to wait.
const QUEUE: usize = 1024;

/// How many requests are worked on, or wait for their answers to be written, before the next is read.
const MOST_WORKING: usize = 2 * MOST_IN_FLIGHT;

/// How much is kept of a line that is too long.
const BEGINNING: usize = 4 * 1024;

/// How long requests in flight may take after the end of the input, so that a script may write its
/// requests, close its end and read the answers.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

impl Server {
    /// Serves one connection of this principal until its input ends, the output breaks, or the server
    /// stops. An [`outlast_core::Owner`] will do for one that may run.
    ///
    /// # Errors
    /// The input or the output failed.
    ///
    /// # Cancel safety
    /// Dropping it ends the connection like the end of its input, without last answers.
    pub async fn serve_lines<R, W>(
        &self,
        principal: impl Into<Principal>,
        input: R,
        output: W,
    ) -> io::Result<()>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_connection(principal.into(), input, output, false)
            .await
    }

    /// As [`Server::serve_lines`], for a connection whose other end is a relay that goes on with the next
    /// process of this server when this one ends: what the two must tell each other for that goes between
    /// the messages, see [`crate::relay`]. When the server stops, requests that another process can go on
    /// with are left without an answer.
    ///
    /// # Errors
    /// The input or the output failed.
    ///
    /// # Cancel safety
    /// That of [`Server::serve_lines`].
    pub async fn serve_relayed<R, W>(
        &self,
        principal: impl Into<Principal>,
        input: R,
        output: W,
    ) -> io::Result<()>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_connection(principal.into(), input, output, true)
            .await
    }

    async fn serve_connection<R, W>(
        &self,
        principal: Principal,
        input: R,
        output: W,
        relayed: bool,
    ) -> io::Result<()>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let done = CancellationToken::new();
        let writer = tokio::spawn(write(output, receiver, done.clone()));
        let mut connection = Connection {
            server: Arc::clone(&self.0),
            principal,
            sender,
            relayed,
            session: None,
            before: None,
            asked: Vec::new(),
            missed: false,
            in_flight: InFlight::default(),
            working: JoinSet::new(),
        };
        let read = tokio::select! {
            read = connection.read(input) => read,
            () = self.0.stopping.cancelled() => Ok(()),
        };
        connection.end().await;
        drop(connection);
        // Couriers of unfinished tasks still hold ways to this client.
        done.cancel();
        writer.await.map_err(io::Error::other)??;
        read
    }
}

/// Writes messages until `done`, and then those that were sent before.
async fn write<W: AsyncWrite + Unpin>(
    output: W,
    mut messages: mpsc::Receiver<Bytes>,
    done: CancellationToken,
) -> io::Result<()> {
    let mut output = tokio::io::BufWriter::with_capacity(32 * 1024, output);
    loop {
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            () = done.cancelled(), if !messages.is_closed() => {
                // From here on every way to this client is closed.
                messages.close();
                continue;
            }
        };
        let Some(message) = message else { break };
        output.write_all(&message).await?;
        if !message.ends_with(b"\n") {
            output.write_all(b"\n").await?;
        }
        if messages.is_empty() {
            output.flush().await?;
        }
    }
    output.flush().await
}

struct Connection {
    server: Arc<Inner>,
    principal: Principal,
    sender: mpsc::Sender<Bytes>,
    /// The other end is a relay.
    relayed: bool,
    /// Once the older era's handshake was made.
    session: Option<Arc<Session>>,
    /// What the client had with an earlier process, as its relay says.
    before: Option<Identity>,
    /// What the earlier process has asked the client and has not been answered.
    asked: Vec<RequestId>,
    /// The client has not been told of what may have changed since that process ended.
    missed: bool,
    in_flight: InFlight,
    working: JoinSet<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.server.sessions.remove(&session.key);
        }
    }
}

impl Connection {
    async fn read<R: AsyncBufRead + Unpin>(&mut self, mut input: R) -> io::Result<()> {
        let limit = self.server.config.message_limit;
        let mut line = Vec::new();
        loop {
            line.clear();
            match next_line(&mut input, &mut line, limit).await? {
                Line::End => return Ok(()),
                Line::TooLong => {
                    let error = RpcError::invalid_request(format!(
                        "the message is longer than {limit} bytes"
                    ));
                    let id = outer_id(beginning(&line)).map(RawValue::get);
                    self.send(error_response(id, &error)).await;
                }
                Line::Read => {
                    if !line.trim_ascii().is_empty() {
                        self.take(std::mem::take(&mut line)).await;
                    }
                }
            }
            while self.working.try_join_next().is_some() {}
            // A peer that writes and never reads is read no further: requests that wait for a change are
            // fewer, so what is above them waits to be written.
            while self.working.len() >= MOST_WORKING && !self.sender.is_closed() {
                tokio::select! {
                    _ = self.working.join_next() => {}
                    () = self.sender.closed() => {}
                }
            }
            if self.sender.is_closed() {
                // Nobody reads the answers.
                return Ok(());
            }
        }
    }

    /// Takes one message. What can be answered at once is, before the next line is read; the rest
    /// goes on beside it.
    async fn take(&mut self, line: Vec<u8>) {
        if self.relayed && relay::is_own(&line) {
            return self.hear(&line).await;
        }
        let message = match Message::parse(&line) {
            Ok(message) => message,
            Err(malformed) => {
                let batches = self.session.as_ref();
                if batches.is_some_and(|session| session.identity.version.has_batches())
                    && batch(&line).is_some()
                {
                    if self.is_in_handshake() {
                        self.end_handshake().await;
                    }
                    return self.serve(line).await;
                }
                let id = malformed.id.map(RawValue::get);
                let response = error_response(id, &malformed.error);
                return self.send(response).await;
            }
        };
        match &message {
            Message::Notification(notification) => {
                if notification.method == INITIALIZED {
                    self.end_handshake().await;
                }
                let _ = serve::notified(notification, Some(&self.in_flight));
            }
            Message::Response(response) => {
                if let Some(session) = &self.session {
                    // An answer that was not taken is asked for again; nothing else can be said here.
                    let _ =
                        serve::responded(&self.server, &self.principal, session, response).await;
                }
            }
            Message::Request(request) => {
                if is_handshake(request) {
                    let response = self.initialize(request).await;
                    return self.send(response).await;
                }
                if self.is_in_handshake() && ends_handshake(request) {
                    self.end_handshake().await;
                }
                drop(message);
                self.serve(line).await;
            }
        }
    }

    /// Takes what the relay says.
    async fn hear(&mut self, line: &[u8]) {
        match relay::read(line) {
            Some(ToServer::Session { id, asked }) if self.session.is_none() => {
                let now = self.server.handle.now();
                let (sealer, owner) = (&self.server.sealer, self.principal.owner());
                self.before = self.server.sessions.had(sealer, now, &id, owner);
                self.asked = asked.into_iter().filter_map(RequestId::from_json).collect();
            }
            Some(ToServer::Again {
                task_id,
                progress,
                request,
            }) => {
                let task = task_id;
                let again = Again { task, progress };
                let request = request.get().as_bytes().to_vec();
                self.serve_request(request, Some(again)).await;
            }
            Some(ToServer::Session { .. }) | None => {}
        }
    }

    /// Whether the handshake has begun and is not over.
    fn is_in_handshake(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| !session.is_initialized())
    }

    /// Done before the next line is served: a task that this session creates is not among those that wait
    /// for its stream, and speaks after its response.
    async fn end_handshake(&mut self) {
        let Some(session) = self.session.clone() else {
            return;
        };
        if std::mem::take(&mut self.missed) {
            self.tell_missed(&session).await;
        }
        serve::initialized(&self.server, &session).await;
    }

    /// Brings a client up to date whose session an earlier process had: what it was asked is still asked,
    /// or is withdrawn, and of what it follows anything may have changed.
    async fn tell_missed(&mut self, session: &Arc<Session>) {
        for id in std::mem::take(&mut self.asked) {
            let couriers = &self.server.couriers;
            let known = couriers.was_asked(&self.server, &self.principal, session, &id);
            if !known.await {
                self.send(withdrawn(&id, None)).await;
            }
        }
        let offer = self.server.offer();
        let lists = [
            (true, TOOLS),
            (offer.has_prompts, PROMPTS),
            (offer.has_resources, RESOURCES),
        ];
        for (_, method) in lists.into_iter().filter(|(offered, _)| *offered) {
            self.send(notification(method, &serde_json::json!({})))
                .await;
        }
        for uri in session.subscribed() {
            let params = serde_json::json!({ "uri": uri });
            self.send(notification(RESOURCE_UPDATED, &params)).await;
        }
    }

    /// The way to the client.
    fn outlet(&self) -> Outlet {
        outlet(&self.sender, self.relayed)
    }

    async fn send(&self, mut message: Vec<u8>) {
        one_line(&mut message);
        // The writer is gone only if the output broke; then nobody can be told.
        let _ = self.sender.send(message.into()).await;
    }

    async fn initialize(&mut self, request: &Request<'_>) -> Vec<u8> {
        let id = request.id;
        let before = self.before.as_ref().map(|before| before.key);
        if self.session.is_some() {
            let error = RpcError::invalid_request("this connection is already initialized");
            return error_response(Some(id.get()), &error);
        }
        let made = Params::parse(request.params).and_then(|params| {
            let (principal, before) = (&self.principal, self.before.take());
            let lines = Transport::Lines;
            initialize::handle(&self.server, id, &params, principal, lines, before)
        });
        match made {
            Ok((response, session)) => {
                session.add_general(self.outlet(), self.principal.clone());
                if let Err(full) = self.server.sessions.insert(&session.key, &session) {
                    return error_response(Some(id.get()), &full.into_error("sessions"));
                }
                if before.is_some_and(|key| key == session.identity.key) {
                    self.catch_up(&session).await;
                }
                if self.relayed {
                    let id = session.identity.seal(&self.server.sealer);
                    self.send(relay::line(&ToRelay::Session(id.into()))).await;
                }
                self.session = Some(session);
                response
            }
            Err(error) => error_response(Some(id.get()), &error),
        }
    }

    /// Goes on with the session that the client had with an earlier process.
    async fn catch_up(&mut self, session: &Arc<Session>) {
        self.missed = true;
        let side = self.server.side();
        if let Err(error) = self.server.sessions.catch_up(side, session).await {
            // It is read again in a moment, as any session with a stream is.
            tracing::warn!(%error, "cannot read what a client had subscribed to");
        }
        let followed = &self.server.followed;
        followed.resume(&self.server, session, &self.principal);
    }

    /// Serves a line that holds a request or a batch.
    async fn serve(&mut self, line: Vec<u8>) {
        self.serve_request(line, None).await;
    }

    async fn serve_request(&mut self, line: Vec<u8>, again: Option<Again>) {
        let peer = Peer {
            server: Arc::clone(&self.server),
            principal: self.principal.clone(),
            session: self.session.clone(),
            in_flight: self.in_flight.clone(),
            sender: self.sender.clone(),
            outlet: self.outlet(),
            again,
        };
        let mut work = Box::pin(async move { peer.serve(&line).await });
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx))).await;
        if first.is_pending() {
            self.working.spawn(work);
        }
    }

    /// The input has ended: the last answers, then nothing more is waited for.
    async fn end(&mut self) {
        let last = async { while self.working.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_ANSWERS, last).await;
        // Dropping a call leaves it to the rules of its era; see `tools/call`.
        self.working.shutdown().await;
    }
}

fn is_handshake(request: &Request<'_>) -> bool {
    request.method == "initialize" && {
        let params = Params::parse(request.params).unwrap_or_default();
        ModernMeta::parse(params.meta).is_ok_and(|meta| meta.version.is_none())
    }
}

/// Whether a request of a client in the handshake shows that it is over: stateless ones have no part in it.
fn ends_handshake(request: &Request<'_>) -> bool {
    serve::ends_handshake(&request.method) && {
        let params = Params::parse(request.params).unwrap_or_default();
        ModernMeta::parse(params.meta).is_ok_and(|meta| meta.version.is_none())
    }
}

/// What a request on this connection needs to be served beside the others.
struct Peer {
    server: Arc<Inner>,
    principal: Principal,
    session: Option<Arc<Session>>,
    in_flight: InFlight,
    sender: mpsc::Sender<Bytes>,
    outlet: Outlet,
    again: Option<Again>,
}

impl Peer {
    async fn serve(&self, line: &[u8]) {
        // Dropped after the response has been sent.
        let mut introduces = Vec::new();
        let response = match batch(line) {
            None => self.message(line, &mut introduces).await,
            Some(messages) => {
                let mut responses = Vec::new();
                for message in messages {
                    let message = message.get().as_bytes();
                    responses.extend(self.message(message, &mut introduces).await);
                }
                batch_response(&responses)
            }
        };
        if let Some(mut response) = response {
            one_line(&mut response);
            let _ = self.sender.send(response.into()).await;
        }
    }

    async fn message(&self, message: &[u8], introduces: &mut Vec<Introduction>) -> Option<Vec<u8>> {
        let request = match Message::parse(message) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Notification(notification)) => {
                let _ = serve::notified(&notification, Some(&self.in_flight));
                return None;
            }
            Ok(Message::Response(response)) => {
                if let Some(session) = &self.session {
                    let _ =
                        serve::responded(&self.server, &self.principal, session, &response).await;
                }
                return None;
            }
            Err(malformed) => {
                let id = malformed.id.map(RawValue::get);
                return Some(error_response(id, &malformed.error));
            }
        };
        let id = request.id.get();
        match understand(self, &request) {
            Ok(cx) => {
                let answer = serve::answer(&request.method, cx, Some(&self.in_flight)).await;
                let (response, introduction) = answer.into_response(id)?;
                introduces.extend(introduction);
                Some(response)
            }
            Err(error) => Some(error_response(Some(id), &error)),
        }
    }
}

fn outlet(sender: &mpsc::Sender<Bytes>, relayed: bool) -> Outlet {
    let sender = sender.clone();
    if relayed {
        Outlet::Relayed(sender)
    } else {
        Outlet::Lines(sender)
    }
}

fn understand<'a>(peer: &'a Peer, request: &'a Request<'a>) -> Result<Context<'a>, RpcError> {
    let (server, principal) = (&peer.server, &peer.principal);
    let params = Params::parse(request.params);
    if let Some(needs) = scope::lacks(server, principal, request, params.as_ref().ok()) {
        return Err(scope::missing(needs));
    }
    let params = params?;
    let meta = ModernMeta::parse(params.meta)?;
    let modern = meta.version.is_some() || request.method == "server/discover";
    let (version, capabilities, session) = match &peer.session {
        _ if modern => {
            let (version, capabilities) = serve::declared(&meta)?;
            (version, capabilities, None)
        }
        Some(session) => (
            session.identity.version,
            session.identity.capabilities,
            Some(session),
        ),
        // The one request that may come before the handshake (2025-11-25 lifecycle, "Initialization").
        None if request.method == "ping" => (Version::LATEST_LEGACY, Capabilities::default(), None),
        None => {
            return Err(RpcError::invalid_params(
                "call initialize first, or send stateless requests of 2026-07-28 with \"_meta\"",
            ));
        }
    };
    Ok(Context {
        server,
        id: request.id,
        params,
        meta,
        version,
        capabilities,
        principal,
        owner: principal.owner(),
        transport: Transport::Lines,
        traceparent: None,
        session,
        outlet: peer.outlet.clone(),
        flight: None,
        introduced: OnceLock::new(),
        again: peer.again,
    })
}

enum Line {
    Read,
    TooLong,
    End,
}

/// The text that a message begins with which was cut off anywhere.
fn beginning(bytes: &[u8]) -> &str {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error.valid_up_to(),
    };
    std::str::from_utf8(&bytes[..valid]).unwrap_or_default()
}

/// Reads a line into `line`. One that is too long is read to its end and forgotten, but for a beginning in
/// which its id may be found.
async fn next_line<R: AsyncBufRead + Unpin>(
    input: &mut R,
    line: &mut Vec<u8>,
    limit: usize,
) -> io::Result<Line> {
    let mut too_long = false;
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(match (too_long, line.is_empty()) {
                (true, _) => Line::TooLong,
                (false, true) => Line::End,
                // A last line without its line break is a line.
                (false, false) => Line::Read,
            });
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        if !too_long {
            too_long = line.len() + piece.len() > limit;
            line.extend_from_slice(piece);
            if too_long {
                line.truncate(BEGINNING);
                line.shrink_to_fit();
            }
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Read });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_lines_are_skipped_to_their_end() {
        let text = b"short\n0123456789\nnext\nlast";
        let mut input = tokio::io::BufReader::with_capacity(4, &text[..]);
        let mut seen = Vec::new();
        loop {
            let mut line = Vec::new();
            match next_line(&mut input, &mut line, 6).await.unwrap() {
                Line::Read => seen.push(String::from_utf8(line).unwrap()),
                Line::TooLong => seen.push("(too long)".into()),
                Line::End => break,
            }
        }
        assert_eq!(seen, ["short", "(too long)", "next", "last"]);
    }
}
