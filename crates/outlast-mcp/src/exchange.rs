//! One HTTP request and its response, which is one JSON message unless something is sent before it.
//!
//! Whoever serves the request sends to the exchange and need not know which of the two it becomes.
//! The first message, or a wait that grows long, opens an event stream: one with ids and memory for
//! a session of the older era, a plain one for a stateless request.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::server::Inner;
use crate::session::lasting::{self, Subject};
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
    /// See [`Exchange::belongs_to`].
    whose: Option<Whose>,
    link: Link,
    /// The stream, until the one who writes the response fetches it.
    pending: Option<Opened>,
    /// The one who writes the response.
    writer: Option<Waker>,
}

/// The request of a session that is answered here.
struct Whose {
    server: Arc<Inner>,
    session: Arc<Session>,
    request: Box<str>,
    subject: Subject,
}

impl Whose {
    /// Names a stream so that whoever is asked to go on with it knows what was to be sent.
    fn name(&self, stream: &Arc<SseStream>) {
        let session = &self.session.identity;
        let name = lasting::name(&self.server.sealer, session, self.subject, &self.request);
        self.session.rename_stream(stream, name);
    }
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

    /// From here on a stream of this exchange is one of the session, for the request with this id.
    pub(crate) fn belongs_to(&self, server: &Arc<Inner>, session: &Arc<Session>, request: &str) {
        self.lock().whose = Some(Whose {
            server: Arc::clone(server),
            session: Arc::clone(session),
            request: request.into(),
            subject: Subject::Memory(server.instance.id()),
        });
    }

    /// Makes a stream of the response.
    pub(crate) fn open(&self) {
        self.link();
    }

    /// Ends the connection, if its client can resume the stream.
    pub(crate) fn let_go(&self) {
        if self.lock().whose.is_some()
            && let Link::Session(stream) = self.link()
        {
            stream.let_go();
        }
    }

    /// The stream is to end here without a response, and whoever comes back for that begins with what the
    /// stream's name says.
    pub(crate) fn hand_on(&self) {
        if let Link::Session(stream) = self.link()
            && let Some(whose) = &self.lock().whose
        {
            whose.session.forget_stream(&stream.event_name());
        }
    }

    /// From here on the response can be written from this.
    pub(crate) fn is_about(&self, subject: Subject) {
        let mut state = self.lock();
        let State { whose, link, .. } = &mut *state;
        let Some(whose) = whose else { return };
        whose.subject = subject;
        if let Link::Session(stream) = link {
            whose.name(stream);
            // At once, for a client that loses the connection now comes back with the last name it has.
            if whose.session.identity.version.has_priming_event() {
                stream.send(Bytes::new());
            }
        }
    }

    fn link(&self) -> Link {
        let mut state = self.lock();
        if let Link::Closed = state.link {
            let (link, opened) = match &state.whose {
                Some(whose) => {
                    let events = whose.session.open_stream(StreamKind::Request);
                    whose.name(&events.stream);
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

    /// The stream that the response has become, where its client can come back for it.
    pub(crate) fn stream(&self) -> Option<Arc<SseStream>> {
        match &self.lock().link {
            Link::Session(stream) => Some(Arc::clone(stream)),
            _ => None,
        }
    }

    /// Whether what is sent is kept for a client that comes back.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.lock().link, Link::Session(_))
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
