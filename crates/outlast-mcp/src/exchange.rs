//! One HTTP request and its response, which is one JSON message unless something is sent before it.
//!
//! Whoever serves the request sends to the exchange and need not know which of the two it becomes.
//! The first message, or a wait that grows long, opens an event stream: one with ids and memory for
//! a session of the older era, a plain one for a stateless request.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::session::{Events, Session, SseStream, StreamKind};

/// How many messages may wait for a slow reader of a stateless request's stream.
const QUEUE: usize = 1024;

#[derive(Default)]
pub(crate) struct Exchange {
    state: Mutex<State>,
    /// Tells those who wait for the end of the connection.
    gone: Notify,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// See [`Exchange::rename`].
    lasting: Option<String>,
    link: Link,
    /// The stream, until the one who writes the response fetches it.
    pending: Option<Opened>,
    /// The one who writes the response.
    writer: Option<Waker>,
}

/// How messages get to the response.
#[derive(Clone, Default)]
enum Link {
    #[default]
    Closed,
    Session(Arc<SseStream>),
    Plain(mpsc::Sender<Bytes>),
    Gone,
}

/// A response that has become a stream.
pub(crate) enum Opened {
    Session(Events),
    Plain(mpsc::Receiver<Bytes>),
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// From here on a stream of this exchange is one of the session.
    pub(crate) fn belongs_to(&self, session: &Arc<Session>) {
        self.lock().session = Some(Arc::clone(session));
    }

    /// Makes a stream of the response.
    pub(crate) fn open(&self) {
        self.link();
    }

    /// Ends the connection, if its client can resume the stream.
    pub(crate) fn let_go(&self) {
        if self.lock().session.is_some()
            && let Link::Session(stream) = self.link()
        {
            stream.let_go();
        }
    }

    /// Gives a stream of this exchange, now or later, a name that any instance can go on with.
    pub(crate) fn rename(&self, lasting: String) {
        let mut state = self.lock();
        match (&state.link, &state.session) {
            (Link::Session(stream), Some(session)) => session.rename_stream(stream, lasting),
            _ => state.lasting = Some(lasting),
        }
    }

    fn link(&self) -> Link {
        let mut state = self.lock();
        if let Link::Closed = state.link {
            let (link, opened) = match &state.session {
                Some(session) => {
                    let events = session.open_stream(StreamKind::Request);
                    if let Some(lasting) = state.lasting.clone() {
                        session.rename_stream(&events.stream, lasting);
                    }
                    (
                        Link::Session(Arc::clone(&events.stream)),
                        Opened::Session(events),
                    )
                }
                None => {
                    let (sender, receiver) = mpsc::channel(QUEUE);
                    (Link::Plain(sender), Opened::Plain(receiver))
                }
            };
            state.link = link;
            state.pending = Some(opened);
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
        }
        state.link.clone()
    }

    /// Sends a message before the response. Whether somebody reads.
    pub(crate) fn send(&self, message: Bytes) -> bool {
        match self.link() {
            Link::Session(stream) => stream.send(message),
            Link::Plain(sender) => sender.try_send(message).is_ok(),
            Link::Closed | Link::Gone => false,
        }
    }

    /// Whether somebody waits for the response.
    pub(crate) fn is_connected(&self) -> bool {
        let link = self.lock().link.clone();
        match link {
            Link::Closed => true,
            Link::Session(stream) => stream.is_connected(),
            Link::Plain(sender) => !sender.is_closed(),
            Link::Gone => false,
        }
    }

    /// Resolves once nobody waits for the response any more.
    pub(crate) async fn disconnected(&self) {
        loop {
            let gone = self.gone.notified();
            let link = self.lock().link.clone();
            match link {
                Link::Closed => gone.await,
                Link::Session(stream) => return stream.disconnected().await,
                Link::Plain(sender) => return sender.closed().await,
                Link::Gone => return,
            }
        }
    }

    /// The stream to be written, once there is one.
    pub(crate) fn poll_opened(&self, cx: &mut Context<'_>) -> Poll<Opened> {
        let mut state = self.lock();
        match state.pending.take() {
            Some(opened) => Poll::Ready(opened),
            None => {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The stream to be written, if there is one by now.
    pub(crate) fn take_opened(&self) -> Option<Opened> {
        self.lock().pending.take()
    }

    /// The connection ended before the response began.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        if matches!(state.link, Link::Closed) || state.pending.take().is_some() {
            state.link = Link::Gone;
        }
        drop(state);
        self.gone.notify_waiters();
    }
}
