//! The sessions that this process serves.
//!
//! An entry is a cache: it is made again from the id by whichever process sees it next. What must
//! outlast the process (the session was ended, its log level, what
//! it has subscribed to) is a record in the store, written on
//! first use and read when an entry is made.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use outlast_core::{Level, Owner, RawJson, Side, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::client::client_record;
use super::following::Following;
use super::inflight::InFlight;
use super::outlet::Outlet;
use super::pending::Pending;
use super::stream::{Events, SseStream, StreamKind};
use super::token::Identity;
use crate::bounds::{Bound, Full};
use crate::seal::Sealer;

/// How long a session id is good.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The store's space for what changes in sessions.
const SPACE: &str = "mcp-session";
/// The record of a session that was ended.
const ENDED: &[u8] = b"ended";
/// How many resources one session may subscribe to.
const MOST_SUBSCRIPTIONS: usize = 1000;
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
    level: AtomicU8,
    /// The resources that the client has subscribed to, each with what follows it.
    subscriptions: Mutex<BTreeMap<String, Option<Following>>>,
    /// Held while the record of the session is changed, so that the last change is the one kept.
    recording: tokio::sync::Mutex<()>,
    streams: Mutex<Streams>,
}

/// What outlasts the process: the record of a session that has not ended.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    level: Option<Level>,
    #[serde(default)]
    subscriptions: Vec<String>,
}

#[derive(Default)]
struct Streams {
    /// Where messages go that belong to no request, the latest last.
    general: Vec<Outlet>,
    /// Event streams that can be resumed, by name.
    named: HashMap<String, Arc<SseStream>>,
}

impl Session {
    pub(crate) fn new(identity: Identity, owner: Owner, client_info: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            key: identity.key_text(),
            client: client_record(client_info, identity.capabilities),
            identity,
            owner,
            in_flight: InFlight::default(),
            pending: Pending::default(),
            level: AtomicU8::new(NO_LEVEL),
            subscriptions: Mutex::default(),
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
        let mut streams = self.streams();
        let now = Instant::now();
        streams.named.retain(|_, stream| !stream.is_forgotten(now));
        streams
            .named
            .insert(events.stream.name().to_owned(), Arc::clone(&events.stream));
        events
    }

    /// Makes a stream known by a name that any instance understands.
    pub(crate) fn rename_stream(&self, stream: &Arc<SseStream>, lasting: String) {
        stream.rename(lasting.clone());
        self.streams().named.insert(lasting, Arc::clone(stream));
    }

    /// Goes on with a stream after the event the client has seen. `None` if it is not known here, or
    /// something was forgotten.
    pub(crate) fn resume_stream(&self, name: &str, after: u64) -> Option<Events> {
        let stream = self.streams().named.get(name).cloned()?;
        stream.resume(after)
    }

    /// Adds a way for messages that belong to no request.
    pub(crate) fn add_general(&self, outlet: Outlet) {
        let mut streams = self.streams();
        streams.general.retain(Outlet::is_open);
        if !streams.general.iter().any(|known| known.is(&outlet)) {
            streams.general.push(outlet);
        }
    }

    /// The way for messages that belong to no request, if one is open.
    pub(crate) fn general(&self) -> Option<Outlet> {
        self.streams()
            .general
            .iter()
            .rev()
            .find(|outlet| outlet.is_open())
            .cloned()
    }

    /// The least level of log messages the client asked for.
    pub(crate) fn level(&self) -> Option<Level> {
        Level::ALL
            .get(usize::from(self.level.load(Ordering::Relaxed)))
            .copied()
    }

    fn set_level(&self, level: Level) {
        let index = Level::ALL.iter().position(|known| *known == level);
        let index = index.and_then(|index| u8::try_from(index).ok());
        self.level
            .store(index.unwrap_or(NO_LEVEL), Ordering::Relaxed);
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

    /// Whether the client has subscribed to this resource.
    pub(crate) fn is_subscribed(&self, uri: &str) -> bool {
        self.subscriptions().contains_key(uri)
    }

    /// Follows again what a session of an earlier process had subscribed to.
    pub(crate) fn follow(&self, uri: &str, follow: impl FnOnce() -> Option<Following>) {
        if let Some(following @ None) = self.subscriptions().get_mut(uri) {
            *following = follow();
        }
    }

    fn end(&self) {
        self.in_flight.cancel_all();
        self.subscriptions().clear();
        let streams = std::mem::take(&mut *self.streams());
        for stream in streams.named.values() {
            stream.close();
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.general().is_none()
    }
}

/// What became of a session id.
pub(crate) enum Lookup {
    /// It is good.
    Found(Arc<Session>),
    /// It is made up, too old, ended, or somebody else's. All the same to the client.
    Unknown,
    /// It is good, and there is no room for it.
    Full(Full),
}

/// The sessions by their ids.
pub(crate) struct Registry {
    bound: Bound,
    sessions: RwLock<HashMap<Box<str>, Arc<Session>>>,
}

impl Registry {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            bound,
            sessions: RwLock::default(),
        }
    }

    /// Enters a session under its id: a sealed one, or whatever a connection calls itself. Sessions of
    /// which nothing is open make room: their next request enters them again.
    pub(crate) fn insert(&self, id: &str, session: &Arc<Session>) -> Result<(), Full> {
        let Bound { all, of_one } = self.bound;
        let mut sessions = self
            .sessions
            .write()
            .expect("nothing panics under this lock");
        let owner = &session.owner;
        let own = |sessions: &HashMap<_, Arc<Session>>| {
            sessions
                .values()
                .filter(|known| known.owner == *owner)
                .count()
        };
        // Of one owner alone there cannot be more than of all.
        if of_one < all && own(&sessions) >= of_one {
            sessions.retain(|_, known| known.owner != *owner || !known.is_idle());
            if own(&sessions) >= of_one {
                return Err(Full::Owner(of_one));
            }
        }
        if sessions.len() >= all {
            sessions.retain(|_, known| !known.is_idle());
            if sessions.len() >= all {
                return Err(Full::All(all));
            }
        }
        sessions.insert(id.into(), Arc::clone(session));
        Ok(())
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions
            .write()
            .expect("nothing panics under this lock")
            .remove(id)
    }

    fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions
            .read()
            .expect("nothing panics under this lock")
            .get(id)
            .cloned()
    }

    /// Looks an id up, and opens it if this process has not seen it.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn lookup(
        &self,
        sealer: &Sealer,
        side: &dyn Side,
        now: Timestamp,
        id: &str,
        owner: &Owner,
    ) -> outlast_core::Result<Lookup> {
        if let Some(session) = self.get(id) {
            return Ok(if session.owner == *owner {
                Lookup::Found(session)
            } else {
                Lookup::Unknown
            });
        }
        let Some(identity) = Identity::open(sealer, id) else {
            return Ok(Lookup::Unknown);
        };
        if !identity.belongs_to(owner) || now.since(identity.created) > LIFETIME {
            return Ok(Lookup::Unknown);
        }
        let session = Session::new(identity, owner.clone(), None);
        match side.record_get(SPACE, &session.key).await? {
            Some(record) if record == ENDED => return Ok(Lookup::Unknown),
            Some(record) => {
                // What cannot be read is worth no more than what was never written.
                let record: Record = serde_json::from_slice(&record).unwrap_or_default();
                if let Some(level) = record.level {
                    session.set_level(level);
                }
                let uris = record.subscriptions.into_iter();
                session.subscriptions().extend(uris.map(|uri| (uri, None)));
            }
            None => {}
        }
        Ok(match self.insert(id, &session) {
            Ok(()) => Lookup::Found(session),
            Err(full) => Lookup::Full(full),
        })
    }

    /// Ends a session for good, on every instance.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn end(
        &self,
        side: &dyn Side,
        id: &str,
        session: &Session,
    ) -> outlast_core::Result<()> {
        let until = session.identity.created + LIFETIME;
        side.record_put(SPACE, &session.key, ENDED.to_vec(), Some(until))
            .await?;
        self.remove(id);
        session.end();
        Ok(())
    }

    /// Sets the least level of log messages.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn set_level(
        &self,
        side: &dyn Side,
        session: &Session,
        level: Level,
    ) -> outlast_core::Result<()> {
        self.record(side, session, || session.set_level(level))
            .await
    }

    /// Subscribes the client to a resource. `false` if it has too many subscriptions already.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn subscribe(
        &self,
        side: &dyn Side,
        session: &Session,
        uri: &str,
        following: Option<Following>,
    ) -> outlast_core::Result<bool> {
        let full = |known: &BTreeMap<String, Option<Following>>| {
            known.len() >= MOST_SUBSCRIPTIONS && !known.contains_key(uri)
        };
        if full(&session.subscriptions()) {
            return Ok(false);
        }
        let change = || {
            session.subscriptions().insert(uri.to_owned(), following);
        };
        self.record(side, session, change).await.map(|()| true)
    }

    /// Ends the client's subscription to a resource, if there is one.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn unsubscribe(
        &self,
        side: &dyn Side,
        session: &Session,
        uri: &str,
    ) -> outlast_core::Result<()> {
        if !session.is_subscribed(uri) {
            return Ok(());
        }
        let change = || {
            session.subscriptions().remove(uri);
        };
        self.record(side, session, change).await
    }

    /// Changes what of a session outlasts the process, and writes it down.
    async fn record(
        &self,
        side: &dyn Side,
        session: &Session,
        change: impl FnOnce(),
    ) -> outlast_core::Result<()> {
        let _recording = session.recording.lock().await;
        change();
        let record = Record {
            level: session.level(),
            subscriptions: session.subscribed(),
        };
        let record = serde_json::to_vec(&record).expect("a record has a JSON form");
        let until = session.identity.created + LIFETIME;
        side.record_put(SPACE, &session.key, record, Some(until))
            .await
    }

    /// All sessions that can be told something unasked.
    pub(crate) fn reachable(&self) -> Vec<Arc<Session>> {
        let sessions = self
            .sessions
            .read()
            .expect("nothing panics under this lock");
        let reachable = |session: &&Arc<Session>| session.general().is_some();
        sessions.values().filter(reachable).cloned().collect()
    }

    /// The open session with this key.
    pub(crate) fn by_key(&self, key: &str) -> Option<Arc<Session>> {
        let sessions = self
            .sessions
            .read()
            .expect("nothing panics under this lock");
        sessions
            .values()
            .find(|session| session.key == key)
            .cloned()
    }

    /// The owner's sessions that can be told something unasked.
    pub(crate) fn listening(&self, owner: &Owner) -> Vec<Arc<Session>> {
        let sessions = self
            .sessions
            .read()
            .expect("nothing panics under this lock");
        let listens =
            |session: &&Arc<Session>| session.owner == *owner && session.general().is_some();
        sessions.values().filter(listens).cloned().collect()
    }

    /// Ends every stream: the server stops.
    pub(crate) fn close_streams(&self) {
        let sessions = self
            .sessions
            .read()
            .expect("nothing panics under this lock");
        for session in sessions.values() {
            for outlet in &session.streams().general {
                if let Outlet::Stream(stream) = outlet {
                    stream.close();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::testing::MemoryStore;

    use super::*;
    use crate::protocol::Capabilities;
    use crate::protocol::Version;

    fn now() -> Timestamp {
        outlast_core::Clock::now(&outlast_core::SystemClock::new())
    }

    fn sealer() -> Sealer {
        Sealer::new([[9; 32]])
    }

    fn identity() -> Identity {
        Identity::new(
            Version::V2025_11_25,
            Capabilities::default(),
            &Owner::local(),
            now(),
        )
    }

    async fn found(registry: &Registry, store: &MemoryStore, id: &str) -> Option<Arc<Session>> {
        match registry
            .lookup(&sealer(), store, now(), id, &Owner::local())
            .await
            .unwrap()
        {
            Lookup::Found(session) => Some(session),
            Lookup::Unknown | Lookup::Full(_) => None,
        }
    }

    fn roomy() -> Registry {
        Registry::new(Bound {
            all: 10,
            of_one: 10,
        })
    }

    #[tokio::test]
    async fn an_id_is_good_in_a_process_that_never_saw_it_until_it_is_ended() {
        let store = MemoryStore::default();
        let id = identity().seal(&sealer());
        let session = found(&roomy(), &store, &id).await.unwrap();
        let registry = roomy();
        registry
            .set_level(&store, &session, Level::Warning)
            .await
            .unwrap();
        let again = found(&registry, &store, &id).await.unwrap();
        assert_eq!(again.level(), Some(Level::Warning));
        registry.end(&store, &id, &again).await.unwrap();
        assert!(found(&registry, &store, &id).await.is_none());
        assert!(found(&roomy(), &store, &id).await.is_none());
    }

    #[tokio::test]
    async fn somebody_elses_id_is_unknown() {
        let store = MemoryStore::default();
        let registry = roomy();
        let id = identity().seal(&sealer());
        found(&registry, &store, &id).await.unwrap();
        let mallory = Owner::new("mallory");
        for registry in [registry, roomy()] {
            let lookup = registry
                .lookup(&sealer(), &store, now(), &id, &mallory)
                .await
                .unwrap();
            assert!(matches!(lookup, Lookup::Unknown));
        }
    }

    #[tokio::test]
    async fn an_old_id_is_unknown() {
        let id = identity().seal(&sealer());
        let later = now() + LIFETIME + Duration::from_secs(1);
        let lookup = roomy()
            .lookup(
                &sealer(),
                &MemoryStore::default(),
                later,
                &id,
                &Owner::local(),
            )
            .await
            .unwrap();
        assert!(matches!(lookup, Lookup::Unknown));
    }
}
