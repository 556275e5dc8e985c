//! A session while this process serves it: its streams, its requests in flight, what it has asked for.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outlast_core::{Level, Owner, Principal, RawJson, Scope};
use tokio::time::Instant;

use super::client::client_record;
use super::following::Following;
use super::inflight::InFlight;
use super::outlet::Outlet;
use super::pending::Pending;
use super::registry::Record;
use super::stream::{Events, SseStream, StreamKind};
use super::token::Identity;
use crate::offer::is_told_by;

/// No level was asked for.
const NO_LEVEL: u8 = u8::MAX;

/// A session, or a connection over lines, of the older era.
pub(crate) struct Session {
    pub(crate) identity: Identity,
    /// [`Identity::key_text`].
    pub(crate) key: String,
    pub(crate) owner: Owner,
    /// What is recorded of the client with each task.
    pub(crate) client: RawJson,
    pub(crate) in_flight: InFlight,
    pub(crate) pending: Pending,
    /// The client may be sent requests.
    initialized: AtomicBool,
    /// Another instance was told that it may, as far as the store says.
    initialized_elsewhere: AtomicBool,
    level: AtomicU8,
    /// The resources that the client has subscribed to, each with what follows it.
    subscriptions: Mutex<BTreeMap<String, Option<Following>>>,
    /// When the store was last asked what it holds of the session.
    read_at: Mutex<Instant>,
    /// Held while the record of the session is read and changed, so that the last change is the one kept.
    pub(super) recording: tokio::sync::Mutex<()>,
    streams: Mutex<Streams>,
}

/// A way for messages that belong to no request.
struct General {
    outlet: Outlet,
    /// Who reads there.
    reader: Principal,
}

#[derive(Default)]
struct Streams {
    /// Where messages go that belong to no request, the latest last.
    general: Vec<General>,
    /// Event streams that can be resumed, by name.
    named: HashMap<String, Arc<SseStream>>,
}

impl Session {
    /// A session whose handshake is not over.
    pub(crate) fn new(identity: Identity, owner: Owner, client_info: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            key: identity.key_text(),
            client: client_record(client_info, identity.capabilities),
            identity,
            owner,
            in_flight: InFlight::default(),
            pending: Pending::default(),
            initialized: AtomicBool::new(false),
            initialized_elsewhere: AtomicBool::new(false),
            level: AtomicU8::new(NO_LEVEL),
            subscriptions: Mutex::default(),
            read_at: Mutex::new(Instant::now()),
            recording: tokio::sync::Mutex::default(),
            streams: Mutex::default(),
        })
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().expect("nothing panics under this lock")
    }

    /// A new event stream of this session.
    pub(crate) fn open_stream(&self, kind: StreamKind) -> Events {
        let events = SseStream::open(kind, self.identity.version.has_priming_event());
        self.streams()
            .named
            .insert(events.stream.name().to_owned(), Arc::clone(&events.stream));
        events
    }

    /// Forgets the streams that nobody will come back to.
    pub(super) fn forget_streams(&self, now: Instant) {
        let mut streams = self.streams();
        streams.named.retain(|_, stream| !stream.is_forgotten(now));
    }

    /// Makes a stream known by a name that any instance understands.
    pub(crate) fn rename_stream(&self, stream: &Arc<SseStream>, lasting: String) {
        stream.rename(&lasting);
        self.streams().named.insert(lasting, Arc::clone(stream));
    }

    /// Nothing more will be sent on the stream with this name.
    pub(crate) fn forget_stream(&self, name: &str) {
        self.streams().named.remove(name);
    }

    /// Goes on with a stream after the event the client has seen. `None` if it is not known here.
    pub(crate) fn resume_stream(&self, name: &str, after: u64) -> Option<Events> {
        let stream = self.streams().named.get(name).cloned()?;
        Some(stream.resume(after))
    }

    /// Adds a way for messages that belong to no request, on which `reader` reads.
    pub(crate) fn add_general(&self, outlet: Outlet, reader: Principal) {
        let mut streams = self.streams();
        let general = &mut streams.general;
        general.retain(|known| known.outlet.is_open() && !known.outlet.is(&outlet));
        general.push(General { outlet, reader });
    }

    /// The way for messages that belong to no request, if one is open.
    pub(crate) fn general(&self) -> Option<Outlet> {
        self.way(|_| true).map(|(outlet, _)| outlet)
    }

    /// Who reads what belongs to no request, if somebody does.
    pub(super) fn reader(&self) -> Option<Principal> {
        self.way(|_| true).map(|(_, reader)| reader)
    }

    /// Whether the handshake is over: the client has said that it is, or has sent a request of its own.
    /// Before that it is sent no request (2025-11-25 lifecycle, "Initialization").
    pub(crate) fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// The handshake is over. `false` if it was before.
    pub(crate) fn set_initialized(&self) -> bool {
        !self.is_initialized() && !self.initialized.swap(true, Ordering::AcqRel)
    }

    /// Whether another instance was told that the handshake is over.
    pub(super) fn is_initialized_elsewhere(&self) -> bool {
        self.initialized_elsewhere.load(Ordering::Acquire)
    }

    /// The way for questions, if one is open and the handshake is over. The answers of whoever reads
    /// elsewhere would be refused.
    pub(crate) fn general_for_questions(&self) -> Option<Outlet> {
        if !self.is_initialized() {
            return None;
        }
        let way = self.way(|general| general.reader.may(Scope::Run));
        way.map(|(outlet, _)| outlet)
    }

    fn way(&self, fits: impl Fn(&General) -> bool) -> Option<(Outlet, Principal)> {
        let streams = self.streams();
        let mut latest_first = streams.general.iter().rev();
        let way = latest_first.find(|general| fits(general) && general.outlet.is_open());
        way.map(|general| (general.outlet.clone(), general.reader.clone()))
    }

    /// The least level of log messages the client asked for.
    pub(crate) fn level(&self) -> Option<Level> {
        Level::ALL
            .get(usize::from(self.level.load(Ordering::Relaxed)))
            .copied()
    }

    /// Goes by what the store holds of the session: it was read or written this moment.
    pub(super) fn take_over(&self, record: Record) {
        let Record {
            level,
            subscriptions,
            initialized,
        } = record;
        self.initialized_elsewhere
            .store(initialized, Ordering::Release);
        let index = Level::ALL.iter().position(|known| Some(*known) == level);
        let index = index.and_then(|index| u8::try_from(index).ok());
        self.level
            .store(index.unwrap_or(NO_LEVEL), Ordering::Relaxed);
        let mut known = self.subscriptions();
        known.retain(|uri, _| subscriptions.contains(uri));
        for uri in subscriptions {
            known.entry(uri).or_default();
        }
        self.was_read();
    }

    /// The store was asked this moment.
    pub(super) fn was_read(&self) {
        let mut read_at = self.read_at.lock().expect("nothing panics under this lock");
        *read_at = Instant::now();
    }

    /// When the store was last asked what it holds of the session.
    pub(super) fn read_at(&self) -> Instant {
        *self.read_at.lock().expect("nothing panics under this lock")
    }

    /// Whether that was `fresh` ago or longer.
    pub(super) fn is_stale(&self, fresh: Duration) -> bool {
        self.read_at().elapsed() >= fresh
    }

    fn subscriptions(&self) -> MutexGuard<'_, BTreeMap<String, Option<Following>>> {
        self.subscriptions
            .lock()
            .expect("nothing panics under this lock")
    }

    /// The resources that the client has subscribed to.
    pub(crate) fn subscribed(&self) -> Vec<String> {
        self.subscriptions().keys().cloned().collect()
    }

    /// What the client has subscribed to that changes with this resource.
    pub(crate) fn subscribed_to(&self, updated: &str) -> Vec<String> {
        let subscriptions = self.subscriptions();
        let from = (Bound::Included(updated), Bound::Unbounded);
        let near = subscriptions.range::<str, _>(from);
        let near = near.take_while(|(asked, _)| asked.starts_with(updated));
        near.filter(|(asked, _)| is_told_by(asked, updated))
            .map(|(asked, _)| asked.clone())
            .collect()
    }

    /// Follows again what a session of an earlier process had subscribed to.
    pub(crate) fn follow(&self, uri: &str, follow: impl FnOnce() -> Option<Following>) {
        if let Some(following @ None) = self.subscriptions().get_mut(uri) {
            *following = follow();
        }
    }

    pub(super) fn end(&self) {
        self.in_flight.end_all();
        self.subscriptions().clear();
        let streams = std::mem::take(&mut *self.streams());
        for stream in streams.named.values() {
            stream.close();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.general().is_none()
    }

    /// Ends the streams on which nothing but what is unasked goes: the server stops.
    pub(super) fn close_general(&self) {
        for General { outlet, .. } in &self.streams().general {
            if let Outlet::Stream(stream) = outlet {
                stream.close();
            }
        }
    }
}
