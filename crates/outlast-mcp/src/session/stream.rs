//! A stream of server-sent events to a client of the older era.
//!
//! Each event has an id `stream.number`. The latest events are kept for a while after they were
//! sent, 64 KiB a stream and a minute after it broke off, so that a client that lost the connection
//! gets what it missed, once, and in order (2025-11-25 transports, "Resumability and Redelivery").

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

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
    /// The name that any instance understands, once what the stream carries is stored.
    lasting: OnceLock<String>,
    state: Mutex<State>,
}

struct State {
    next: u64,
    live: Option<mpsc::Sender<Event>>,
    kept: VecDeque<Event>,
    kept_bytes: usize,
    /// The last event has been written; nothing follows.
    done: bool,
    broken_since: Option<Instant>,
}

impl SseStream {
    /// A new stream and what its connection sends. With `prime`, the first event is empty and gives
    /// the client an id to resume from.
    pub(crate) fn open(kind: StreamKind, prime: bool) -> Events {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let stream = Arc::new(Self {
            name: format!("{}{:08x}", kind.letter(), u32::from_be_bytes(random())),
            lasting: OnceLock::new(),
            state: Mutex::new(State {
                next: 0,
                live: Some(sender),
                kept: VecDeque::new(),
                kept_bytes: 0,
                done: false,
                broken_since: None,
            }),
        });
        if prime {
            stream.send(Bytes::new());
        }
        Events { receiver, stream }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name in the ids of events that are sent now.
    pub(crate) fn event_name(&self) -> &str {
        self.lasting.get().unwrap_or(&self.name)
    }

    /// From here on events carry this name.
    pub(crate) fn rename(&self, lasting: String) {
        let _ = self.lasting.set(lasting);
    }

    /// Goes on with a stream of another process after the event the client has seen last.
    pub(crate) fn continued(lasting: String, after: u64) -> Events {
        let events = Self::open(StreamKind::Request, false);
        events.stream.rename(lasting);
        events.stream.lock().next = after.saturating_add(1);
        events
    }

    pub(crate) fn is_general(&self) -> bool {
        self.name.starts_with(StreamKind::General.letter())
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
            .is_some_and(|live| live.try_send(event).is_ok());
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
            .is_some_and(|live| !live.is_closed())
    }

    /// Resolves once no connection reads it any more.
    pub(crate) async fn disconnected(&self) {
        let live = self.lock().live.clone();
        if let Some(live) = live {
            live.closed().await;
        }
    }

    /// Connects a client that has seen the events up to `after`; an older connection ends. `None` if
    /// something after it has been forgotten.
    pub(crate) fn resume(self: &Arc<Self>, after: u64) -> Option<Events> {
        let mut state = self.lock();
        let oldest = state.kept.front().map_or(state.next, |event| event.number);
        if after.saturating_add(1) < oldest || after >= state.next {
            return None;
        }
        let missed: Vec<Event> = state
            .kept
            .iter()
            .filter(|event| event.number > after)
            .cloned()
            .collect();
        let (sender, receiver) = mpsc::channel(QUEUE.max(missed.len()));
        for event in missed {
            sender
                .try_send(event)
                .expect("there is room for all that is kept");
        }
        state.live = (!state.done).then_some(sender);
        state.broken_since = state.done.then(Instant::now);
        Some(Events {
            receiver,
            stream: Arc::clone(self),
        })
    }

    /// Whether nobody can want it any more.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.live.as_ref().is_some_and(|live| !live.is_closed()) {
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
        self.live = None;
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
        let mut second = stream.resume(1).unwrap();
        assert_eq!(numbers(&mut second), [2, 3]);
        assert!(
            second.receiver.recv().await.is_none(),
            "nothing follows the last event"
        );
        assert_eq!(numbers(&mut stream.resume(3).unwrap()), [0_u64; 0]);
        assert!(stream.resume(4).is_none(), "an id from nowhere");
    }

    #[tokio::test]
    async fn what_was_forgotten_cannot_be_resumed() {
        let events = SseStream::open(StreamKind::General, false);
        let big = Bytes::from(vec![b'x'; KEEP_BYTES / 2 + 1]);
        for _ in 0..3 {
            events.stream.send(big.clone());
        }
        assert!(events.stream.resume(0).is_none());
        assert!(events.stream.resume(1).is_some());
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
