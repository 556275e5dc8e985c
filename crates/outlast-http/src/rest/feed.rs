//! Everything a task tells, from any point on, in order: its events and its log.
//!
//! A feed reads the store and is woken by notices, so nothing is kept for a reader and a slow one
//! costs nobody but itself: it reads when it has room, and always from where it stands.

use std::collections::VecDeque;

use outlast_core::{Error, Event, EventKind, LogChunk, Principal, TaskId};
use outlast_engine::Watch;
use outlast_mcp::Server;

use super::event::{EventView, LogView, Told};
use super::logs::Chunk;

/// How many events are read at once.
const EVENTS: usize = 100;

/// How many bytes of log are read at once.
const LOG: usize = 64 * 1024;

/// A place in a feed, written `seq.offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    /// The number of the last event seen.
    pub(super) event: u64,
    /// The offset of the next byte of the log.
    pub(super) log: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.event, self.log)
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (event, log) = text.split_once('.').unwrap_or((text, "0"));
        match (event.parse(), log.parse()) {
            (Ok(event), Ok(log)) => Ok(Self { event, log }),
            _ => Err(format!(
                "{text:?} is no place in a stream of events; give the number of the last event seen, \
                 or the id of the last message as it came"
            )),
        }
    }
}

/// One reader of one task.
pub(super) struct Feed {
    server: Server,
    who: Principal,
    watch: Watch,
    place: Place,
    read: VecDeque<(Place, Told)>,
    end: Option<End>,
}

/// Why nothing more is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything was.
    Over,
    /// The server stops.
    Stopping,
}

impl End {
    /// A store that cannot be reached is waited for, until the server stops; every other error is of a
    /// task that has been deleted or is no longer shared.
    fn of(error: &Error) -> Self {
        if error.is_retryable() {
            Self::Stopping
        } else {
            Self::Over
        }
    }
}

impl Feed {
    /// Begins after `place`, or after what there is of the task if that is less: whoever names a place that
    /// the task has not come to, or that a store has lost, misses nothing of what comes.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub(super) async fn new(
        server: &Server,
        who: Principal,
        id: TaskId,
        place: Place,
    ) -> Result<Self, Error> {
        let watch = server.handle().watch(&who, id).await?;
        Ok(Self {
            place: reached(server, &who, &watch, place).await?,
            watch,
            server: server.clone(),
            who,
            read: VecDeque::new(),
            end: None,
        })
    }

    /// The next thing told and the place after it; `None` after the last of a task that has ended or
    /// was deleted, and when the server stops. A store that cannot be reached is waited for.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub(super) async fn next(&mut self) -> Option<(Place, Told)> {
        loop {
            if let Some(told) = self.read.pop_front() {
                return Some(told);
            }
            if self.end.is_some() {
                return None;
            }
            // Looked at before reading: what ended by now has told everything it will ever tell.
            let task = self.watch.task();
            let over = task.is_finished() && !task.state.cleanup.is_open();
            self.end = match self.read_on().await {
                Ok(()) if !self.read.is_empty() => continue,
                Ok(()) if over => Some(End::Over),
                Ok(()) => self.changed().await,
                Err(error) => Some(End::of(&error)),
            };
        }
    }

    /// Whether everything was told that ever will be.
    pub(super) fn is_over(&self) -> bool {
        self.end == Some(End::Over)
    }

    async fn changed(&mut self) -> Option<End> {
        tokio::select! {
            changed = self.watch.changed() => changed.err().map(|error| End::of(&error)),
            () = self.server.stopping() => Some(End::Stopping),
        }
    }

    /// Reads on in the order in which things happened.
    ///
    /// Log and events are read one after the other while the task goes on, so either may know of
    /// something that the other was read too early for. Events that came after the last piece of log
    /// wait unless the record had them before the log was read: a last event is never told before the
    /// last line.
    async fn read_on(&mut self) -> Result<(), Error> {
        let id = self.watch.task().id();
        // The number of an event is the version that it made.
        let known = self.watch.task().state.version;
        let (who, place) = (&self.who, self.place);
        let handle = self.server.handle();
        let read = || async move {
            let log = handle.log(who, id, place.log, LOG).await?;
            let events = handle.events(who, id, place.event, EVENTS).await?;
            Ok((log, events))
        };
        let (log, events) = handle.patiently(read).await?;
        let more = events.len() == EVENTS;
        let mut events = events.into_iter().peekable();
        let name = id.to_string();
        for chunk in &log.chunks {
            while let Some(event) = events.next_if(|event| comes_first(event, chunk)) {
                self.tell(&event);
            }
            if more && events.peek().is_none() {
                return Ok(());
            }
            self.place.log = chunk.end();
            let told = Told::Log(LogView::of(name.clone(), Chunk::of(chunk)));
            self.read.push_back((self.place, told));
        }
        if log.next >= log.end {
            while let Some(event) = events.next_if(|event| event.number <= known) {
                self.tell(&event);
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: &Event) {
        self.place.event = event.number;
        let told = Told::Event(EventView::of(event));
        self.read.push_back((self.place, told));
    }
}

/// `place`, or where the task is if it has not come so far.
async fn reached(
    server: &Server,
    who: &Principal,
    watch: &Watch,
    place: Place,
) -> Result<Place, Error> {
    let (handle, id) = (server.handle(), watch.task().id());
    // The number of an event is the version that it made.
    let mut event = place.event;
    if event > watch.task().state.version {
        // What is watched may be older than what the reader was told elsewhere.
        event = event.min(handle.get(who, id).await?.state.version);
    }
    let log = match place.log {
        0 => 0,
        offset => offset.min(handle.log(who, id, offset, 1).await?.end),
    };
    Ok(Place { event, log })
}

/// Within one millisecond a task begins before its first line and ends after its last.
fn comes_first(event: &Event, chunk: &LogChunk) -> bool {
    let ends = matches!(event.kind, EventKind::Finished { .. });
    event.at < chunk.at || (event.at == chunk.at && !ends)
}
