//! Names of streams that say, to whoever is given one, what was to be sent there.
//!
//! The stream of a request is answered once, and a client that loses it asks for the rest by the id of
//! the last event. So these ids say, sealed, which request is to be answered, and from which task the
//! response can be written if there is one: a client that comes back gets it from here, from another
//! instance, and after a restart. Where it can be written no more, because the call was in the memory of
//! a process that is gone, the client is told so: one that hears nothing waits for ever.
//!
//! A name belongs to its session, as the ids of events do (2025-11-25 transports, "Resumability and
//! Redelivery"): in another one, also of the same owner, the request's id may be that of another request.

use std::sync::Arc;

use outlast_core::{Error, Principal, Scope, TaskId};
use outlast_engine::{Right, Watch};
use tokio::time::Instant;

use super::couriers::Waiter;
use super::live::Session;
use super::outlet::Outlet;
use super::stream::{Events, KEEP_FOR, SseStream};
use super::token::Identity;
use crate::jsonrpc::{RpcError, error_response};
use crate::protocol::names::META_RELATED_TASK;
use crate::seal::{Purpose, Sealer};
use crate::server::Inner;
use crate::wire;

/// Marks the names of such streams.
const MARK: char = 's';

/// What the response to a request can be written from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// From the memory of this process, the one that serves it.
    Memory([u8; 8]),
    /// From the task that the call is stored as.
    Call(TaskId),
    /// From the task whose result was asked for.
    ResultOf(TaskId),
}

/// The name of the stream of a request of a session.
pub(crate) fn name(sealer: &Sealer, session: &Identity, subject: Subject, request: &str) -> String {
    let mut plain = Vec::with_capacity(25 + request.len());
    plain.extend_from_slice(&session.key);
    match subject {
        Subject::Memory(instance) => {
            plain.push(b'm');
            plain.extend_from_slice(&instance);
        }
        Subject::Call(task) => {
            plain.push(b'c');
            plain.extend_from_slice(task.as_bytes());
        }
        Subject::ResultOf(task) => {
            plain.push(b'r');
            plain.extend_from_slice(task.as_bytes());
        }
    }
    plain.extend_from_slice(request.as_bytes());
    format!("{MARK}{}", sealer.seal(Purpose::Stream, &plain))
}

fn read(sealer: &Sealer, session: &Identity, name: &str) -> Option<(Subject, String)> {
    let plain = sealer.open(Purpose::Stream, name.strip_prefix(MARK)?)?;
    let plain = plain.strip_prefix(&session.key)?;
    let (kind, rest) = plain.split_first()?;
    let task = rest.split_first_chunk::<16>();
    let task = task.map(|(task, request)| (TaskId::from_bytes(*task), request));
    let (subject, request) = match kind {
        b'm' => {
            let (instance, request) = rest.split_first_chunk::<8>()?;
            (Subject::Memory(*instance), request)
        }
        b'c' => task.map(|(task, request)| (Subject::Call(task), request))?,
        b'r' => task.map(|(task, request)| (Subject::ResultOf(task), request))?,
        _ => return None,
    };
    Some((subject, String::from_utf8(request.to_vec()).ok()?))
}

/// What becomes of a stream that this process does not know.
pub(crate) enum Resumption {
    /// It goes on here.
    Here(Events),
    /// Another server of the store has it, and lives.
    Elsewhere,
    /// Its name says nothing in this session.
    Unknown,
}

/// Goes on with a stream that this process does not know, for this principal.
///
/// # Errors
/// The store failed.
pub(crate) async fn resume(
    server: &Arc<Inner>,
    principal: &Principal,
    session: &Arc<Session>,
    stream: &str,
    after: u64,
) -> outlast_core::Result<Resumption> {
    let Some((subject, request)) = read(&server.sealer, &session.identity, stream) else {
        return Ok(Resumption::Unknown);
    };
    let watch = match subject {
        Subject::Memory(instance) => {
            let side = server.side();
            if server.config.shared && server.instance.lives(side, &instance).await? {
                return Ok(Resumption::Elsewhere);
            }
            None
        }
        Subject::Call(task) | Subject::ResultOf(task) => {
            match server.handle.watch(principal, task).await {
                Ok(watch) => Some(watch),
                Err(Error::NotFound(_)) => None,
                Err(error) => return Err(error),
            }
        }
    };
    let events = SseStream::continued(stream.to_owned(), after);
    let Some(watch) = watch else {
        let lost = RpcError::internal(
            "the response was lost with the process that was to send it; whether the work was done \
             is unknown",
        );
        let lost = error_response(Some(&request), &lost);
        events.stream.finish(lost.into());
        return Ok(Resumption::Here(events));
    };
    let may = server.handle.right(principal, watch.task()).await?;
    let waiter = Waiter {
        outlet: Outlet::Stream(Arc::clone(&events.stream)),
        session: Arc::clone(session),
        may_answer: may == Some(Right::Run) && principal.may(Scope::Run),
    };
    session.rename_stream(&events.stream, stream.to_owned());
    let resumed = Resumed {
        stream: Arc::clone(&events.stream),
        name: stream.to_owned(),
        subject,
        request,
        watch,
    };
    tokio::spawn(resumed.serve(Arc::clone(server), waiter));
    Ok(Resumption::Here(events))
}

/// A stream that is to end with the response to a request.
struct Resumed {
    stream: Arc<SseStream>,
    name: String,
    subject: Subject,
    request: String,
    watch: Watch,
}

impl Resumed {
    /// Sends what the task has to say, and the response when it has ended. Gives up when the client has
    /// not come back for as long as streams are kept.
    async fn serve(mut self, server: Arc<Inner>, waiter: Waiter) {
        let session = Arc::clone(&waiter.session);
        let task = Arc::clone(self.watch.task());
        let _attached = server
            .couriers
            .attach(&server, &task.spec.owner, task.id(), waiter);
        let stream = Arc::clone(&self.stream);
        let mut forgotten = std::pin::pin!(async {
            loop {
                stream.disconnected().await;
                tokio::time::sleep(KEEP_FOR).await;
                if stream.is_forgotten(Instant::now()) {
                    return;
                }
            }
        });
        loop {
            if let Some(response) = self.response(&session) {
                return self.stream.finish(response.into());
            }
            tokio::select! {
                changed = self.watch.changed() => if let Err(error) = changed {
                    let error = match error {
                        Error::NotFound(_) => {
                            RpcError::internal("the task was deleted before it ended")
                        }
                        error => crate::context::from_store(error),
                    };
                    let response = error_response(Some(&self.request), &error);
                    return self.stream.finish(response.into());
                },
                () = &mut forgotten => {
                    // Whoever comes later begins anew, and whoever comes just now comes again.
                    session.forget_stream(&self.name);
                    return self.stream.close();
                }
                // The next process goes on.
                () = server.stopping.cancelled() => return self.stream.close(),
            }
        }
    }

    fn response(&self, session: &Session) -> Option<Vec<u8>> {
        let outcome = self.watch.task().outcome.as_deref()?;
        let related = format!(r#"{{"taskId":"{}"}}"#, self.watch.task().id());
        let related = [(META_RELATED_TASK, &*related)];
        let ours = match self.subject {
            Subject::ResultOf(_) => &related[..],
            Subject::Call(_) | Subject::Memory(_) => &[],
        };
        let version = session.identity.version;
        Some(wire::response(&self.request, outcome, version, ours))
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::{Owner, Timestamp};

    use super::*;
    use crate::protocol::{Capabilities, Version};

    #[test]
    fn a_name_gives_back_what_it_was_made_of() {
        let sealer = Sealer::new([[5; 32]]);
        let task = TaskId::random();
        let session = || {
            let now = Timestamp::from_millis(1);
            let capabilities = Capabilities::default();
            Identity::new(Version::LATEST_LEGACY, capabilities, &Owner::local(), now)
        };
        let (own, other) = (session(), session());
        for subject in [
            Subject::Memory([7; 8]),
            Subject::Call(task),
            Subject::ResultOf(task),
        ] {
            for request in [r#""a.b""#, "7"] {
                let name = name(&sealer, &own, subject, request);
                assert!(
                    !name.contains('.'),
                    "the number of an event is set off with a dot"
                );
                let said = Some((subject, request.to_owned()));
                assert_eq!(read(&sealer, &own, &name), said);
                assert_eq!(read(&sealer, &other, &name), None);
            }
        }
        assert_eq!(read(&sealer, &own, "r0000"), None);
    }
}
