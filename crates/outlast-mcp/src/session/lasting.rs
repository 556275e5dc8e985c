//! Streams that outlive their process.
//!
//! The stream of a synchronous call has nothing in memory that matters once the call is stored as a
//! task: the response can be written from the record by whoever holds it. So from then on the ids of
//! its events carry a name that says, sealed, which task and which request it belongs to; a client
//! that resumes it, here or on another instance or after a restart, gets the response.

use std::sync::Arc;

use outlast_core::TaskId;

use super::live::Session;
use super::outlet::Outlet;
use super::stream::{Events, SseStream};
use crate::jsonrpc::RpcError;
use crate::jsonrpc::error_response;
use crate::seal::{Purpose, Sealer};
use crate::server::Inner;
use crate::wire;

/// Marks the names of such streams.
const MARK: char = 's';

/// The name of the stream of a request whose call is stored as this task.
pub(crate) fn name(sealer: &Sealer, task: TaskId, request: &str) -> String {
    let mut plain = task.as_bytes().to_vec();
    plain.extend_from_slice(request.as_bytes());
    format!("{MARK}{}", sealer.seal(Purpose::Stream, &plain))
}

fn read(sealer: &Sealer, name: &str) -> Option<(TaskId, String)> {
    let plain = sealer.open(Purpose::Stream, name.strip_prefix(MARK)?)?;
    let (task, request) = plain.split_first_chunk::<16>()?;
    Some((
        TaskId::from_bytes(*task),
        String::from_utf8(request.to_vec()).ok()?,
    ))
}

/// Goes on with a stream that this process does not know. `None` if the name says nothing, or the
/// task is gone.
pub(crate) async fn resume(
    server: &Arc<Inner>,
    session: &Arc<Session>,
    stream: &str,
    after: u64,
) -> Option<Events> {
    let (task, request) = read(&server.sealer, stream)?;
    let mut watch = server.handle.watch(&session.owner, task).await.ok()?;
    let events = SseStream::continued(stream.to_owned(), after);
    session.rename_stream(&events.stream, stream.to_owned());
    let (server, session) = (Arc::clone(server), Arc::clone(session));
    let stream = Arc::clone(&events.stream);
    tokio::spawn(async move {
        let outlet = Outlet::Stream(Arc::clone(&stream));
        let _attached = server.couriers.attach(&server, &session, task, &outlet);
        let version = session.identity.version;
        loop {
            if let Some(outcome) = watch.task().outcome.as_deref() {
                let response = wire::response(&request, outcome, version, &[]);
                return stream.finish(response.into());
            }
            tokio::select! {
                changed = watch.changed() => if changed.is_err() {
                    let error = RpcError::internal("the call was deleted before it ended");
                    return stream.finish(error_response(Some(&request), &error).into());
                },
                // The next process goes on.
                () = server.stopping.cancelled() => return stream.close(),
            }
        }
    });
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_back_what_it_was_made_of() {
        let sealer = Sealer::new([[5; 32]]);
        let task = TaskId::random();
        let name = name(&sealer, task, r#""a.b""#);
        assert!(
            !name.contains('.'),
            "the number of an event is set off with a dot"
        );
        assert_eq!(read(&sealer, &name).unwrap(), (task, r#""a.b""#.to_owned()));
        assert_eq!(read(&sealer, "r0000"), None);
    }
}
