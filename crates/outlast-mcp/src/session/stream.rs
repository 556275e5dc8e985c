//! A stream of server-sent events to a client of the older era.
//!
//! Each event has an id `stream.number`. The latest events are kept for a while after they were
//! sent, 64 KiB a stream and a minute after it broke off, so that a client that lost the connection
//! gets what it missed, once, and in order (2025-11-25 transports, "Resumability and Redelivery").

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::seal::random;

/// How much of a stream is kept.
const KEEP_BYTES: usize = 64 * 1024;
/// How long a stream is kept after its connection ended.
pub(crate) const KEEP_FOR: Duration = Duration::from_secs(60);
/// How many events may wait for a slow connection before it is given up.
const QUEUE: usize = 1024;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamKind {
    /// The response to one request.
    Request,
    /// Whatever belongs to no request.
    General,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its number in the stream; the id is written from it.
    pub(crate) number: u64,
    /// A message, or nothing: an empty event that only carries its id.
    pub(crate) data: Bytes,
}

/// The events that a connection is to send.
pub(crate) struct Events {
    pub(crate) receiver: mpsc::Receiver<Event>,
    pub(crate) stream: Arc<SseStream>,
    _gone: DropGuard,
}

impl StreamKind {
    fn letter(self) -> char {
        match self {
            Self::Request => 'r',
            Self::General => 'g',
        }
    }
}

/// One stream, connected or not.
pub(crate) struct SseStream {
    /// Unique within the session, over restarts too.
    name: String,
    /// The name that any instance understands, if there is one.
    lasting: Mutex<Option<Arc<str>>>,
    state: Mutex<State>,
    /// Tells those who wait for a client to come back.
    back: Notify,
}

struct State {
    next: u64,
    live: Option<Live>,
    kept: VecDeque<Event>,
    kept_bytes: usize,
    /// How often a client came back for more than was kept.
    gaps: u32,
    /// The last event has been written; nothing follows.
    done: bool,
    broken_since: Option<Instant>,
}

/// The connection that reads a stream.
struct Live {
    /// The only one there is, so that dropping it ends the connection after what it still has to send.
    sender: mpsc::Sender<Event>,
    /// Nobody reads any more, or nothing more is sent.
    gone: CancellationToken,
}

impl Live {
    /// A connection with room for so many events, and what ends it when it is dropped.
    fn new(room: usize) -> (Self, mpsc::Receiver<Event>, DropGuard) {
        let (sender, receiver) = mpsc::channel(room);
        let gone = CancellationToken::new();
        let guard = gone.clone().drop_guard();
        (Self { sender, gone }, receiver, guard)
    }
}

impl SseStream {
    /// A new stream and what its connection sends. With `prime`, the first event is empty and gives
    /// the client an id to resume from.
    pub(crate) fn open(kind: StreamKind, prime: bool) -> Events {
        let (live, receiver, gone) = Live::new(QUEUE);
        let stream = Arc::new(Self {
            name: format!("{}{:08x}", kind.letter(), u32::from_be_bytes(random())),
            lasting: Mutex::default(),
            state: Mutex::new(State {
                next: 0,
                live: Some(live),
                kept: VecDeque::new(),
                kept_bytes: 0,
                gaps: 0,
                done: false,
                broken_since: None,
            }),
            back: Notify::new(),
        });
        if prime {
            stream.send(Bytes::new());
        }
        Events {
            receiver,
            stream,
            _gone: gone,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name in the ids of events that are sent now.
    pub(crate) fn event_name(&self) -> Arc<str> {
        let lasting = self.lasting();
        lasting.clone().unwrap_or_else(|| self.name.as_str().into())
    }

    /// From here on events carry this name.
    pub(crate) fn rename(&self, lasting: &str) {
        *self.lasting() = Some(lasting.into());
    }

    fn lasting(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.lasting.lock().expect("nothing panics under this lock")
    }

    /// Whether this is the name of a stream for what belongs to no request.
    pub(crate) fn names_general(name: &str) -> bool {
        name.starts_with(StreamKind::General.letter())
    }

    /// Goes on with a stream of another process after the event the client has seen last.
    pub(crate) fn continued(lasting: String, after: u64) -> Events {
        let events = Self::open(StreamKind::Request, false);
        events.stream.rename(&lasting);
        events.stream.lock().next = after.saturating_add(1);
        events
    }

    pub(crate) fn is_general(&self) -> bool {
        Self::names_general(&self.name)
    }

    /// Sends a message, and keeps it for a client that is away. Whether a connection took it.
    pub(crate) fn send(&self, data: Bytes) -> bool {
        let mut state = self.lock();
        let event = Event {
            number: state.next,
            data,
        };
        state.next += 1;
        state.keep(event.clone());
        let taken = state
            .live
            .as_ref()
            .is_some_and(|live| live.sender.try_send(event).is_ok());
        if !taken {
            // Either the connection is gone, or it is so slow that it must come back and resume.
            state.disconnect();
        }
        taken
    }

    /// Sends the last message.
    pub(crate) fn finish(&self, data: Bytes) {
        self.send(data);
        self.close();
    }

    /// Nothing follows; a connection ends after what it still has to send.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.done = true;
        state.disconnect();
    }

    /// Ends the connection after what it still has to send; what follows is kept for the next one.
    pub(crate) fn let_go(&self) {
        self.lock().disconnect();
    }

    /// Whether a connection reads it.
    pub(crate) fn is_connected(&self) -> bool {
        self.lock()
            .live
            .as_ref()
            .is_some_and(|live| !live.gone.is_cancelled())
    }

    /// Resolves once no connection reads it any more.
    pub(crate) async fn disconnected(&self) {
        let gone = self.lock().live.as_ref().map(|live| live.gone.clone());
        if let Some(gone) = gone {
            gone.cancelled().await;
        }
    }

    /// Resolves once a connection reads it.
    pub(crate) async fn returned(&self) {
        let mut back = std::pin::pin!(self.back.notified());
        back.as_mut().enable();
        if !self.is_connected() {
            back.await;
        }
    }

    /// Whether its client may come back for what it has missed.
    pub(crate) fn may_return(&self) -> bool {
        let state = self.lock();
        let broken = state.broken_since.map(|since| since.elapsed());
        !state.done && broken.is_none_or(|broken| broken <= KEEP_FOR)
    }

    /// How often a client came back and did not get all that it had missed.
    pub(crate) fn gaps(&self) -> u32 {
        self.lock().gaps
    }

    /// Connects a client that has seen the events up to `after`; an older connection ends. What has been
    /// forgotten by now is left out: the last event, which is the one that matters, never is.
    pub(crate) fn resume(self: &Arc<Self>, after: u64) -> Events {
        let mut state = self.lock();
        let missed: Vec<Event> = state
            .kept
            .iter()
            .filter(|event| event.number > after)
            .cloned()
            .collect();
        let all = state.next.saturating_sub(after.saturating_add(1));
        if (missed.len() as u64) < all {
            state.gaps += 1;
        }
        let (live, receiver, gone) = Live::new(QUEUE.max(missed.len()));
        for event in missed {
            live.sender
                .try_send(event)
                .expect("there is room for all that is kept");
        }
        state.disconnect();
        if !state.done {
            state.live = Some(live);
            state.broken_since = None;
        }
        drop(state);
        self.back.notify_waiters();
        Events {
            receiver,
            stream: Arc::clone(self),
            _gone: gone,
        }
    }

    /// Whether nobody can want it any more.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state
            .live
            .as_ref()
            .is_some_and(|live| !live.gone.is_cancelled())
        {
            return false;
        }
        let since = *state.broken_since.get_or_insert(now);
        now.duration_since(since) > KEEP_FOR
    }
}

impl State {
    fn keep(&mut self, event: Event) {
        self.kept_bytes += event.data.len();
        self.kept.push_back(event);
        while self.kept_bytes > KEEP_BYTES && self.kept.len() > 1 {
            let oldest = self.kept.pop_front().expect("more than one is kept");
            self.kept_bytes -= oldest.data.len();
        }
    }

    fn disconnect(&mut self) {
        if let Some(live) = self.live.take() {
            live.gone.cancel();
        }
        self.broken_since.get_or_insert_with(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(events: &mut Events) -> Vec<u64> {
        std::iter::from_fn(|| events.receiver.try_recv().ok())
            .map(|event| event.number)
            .collect()
    }

    #[tokio::test]
    async fn a_client_gets_what_it_missed_once() {
        let mut first = SseStream::open(StreamKind::Request, true);
        let stream = Arc::clone(&first.stream);
        assert!(stream.send("a".into()));
        assert_eq!(numbers(&mut first), [0, 1]);
        drop(first);
        stream.disconnected().await;
        assert!(!stream.send("b".into()));
        stream.finish("c".into());
        let mut second = stream.resume(1);
        assert_eq!(numbers(&mut second), [2, 3]);
        assert!(
            second.receiver.recv().await.is_none(),
            "nothing follows the last event"
        );
        for (seen, missed) in [(3, &[][..]), (2, &[3]), (400, &[])] {
            assert_eq!(numbers(&mut stream.resume(seen)), missed, "after {seen}");
        }
    }

    #[tokio::test]
    async fn what_was_forgotten_is_left_out() {
        let events = SseStream::open(StreamKind::Request, false);
        let big = Bytes::from(vec![b'x'; KEEP_BYTES / 2 + 1]);
        for _ in 0..3 {
            events.stream.send(big.clone());
        }
        assert_eq!(numbers(&mut events.stream.resume(0)), [2]);
    }

    #[tokio::test]
    async fn a_connection_ends_though_somebody_waits_for_that() {
        type End = fn(&Arc<SseStream>) -> Option<Events>;
        let ends: [End; 3] = [
            |stream| {
                stream.let_go();
                None
            },
            |stream| {
                stream.close();
                None
            },
            |stream| Some(stream.resume(0)),
        ];
        for end in ends {
            let mut events = SseStream::open(StreamKind::General, true);
            let stream = Arc::clone(&events.stream);
            let mut waits = std::pin::pin!(stream.disconnected());
            let waited = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(waits.as_mut().poll(cx).is_ready())
            });
            assert!(!waited.await);
            let _next = end(&stream);
            assert_eq!(events.receiver.recv().await.unwrap().number, 0);
            let ended = tokio::time::timeout(Duration::from_secs(30), events.receiver.recv());
            assert!(ended.await.expect("the connection ends").is_none());
            waits.await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_stream_is_kept_for_a_while() {
        let events = SseStream::open(StreamKind::General, false);
        let stream = Arc::clone(&events.stream);
        assert!(!stream.is_forgotten(Instant::now()));
        drop(events);
        assert!(!stream.is_forgotten(Instant::now()));
        tokio::time::advance(KEEP_FOR * 2).await;
        assert!(stream.is_forgotten(Instant::now()));
    }
}
