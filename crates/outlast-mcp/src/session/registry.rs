//! The sessions that this process serves.
//!
//! An entry is a cache: it is made again from the id by whichever process sees it next. What must
//! outlast the process (the session was ended, its log level, what
//! it has subscribed to) is a record in the store, written on
//! first use and read when an entry is made.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use outlast_core::{Level, Owner, Side, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::following::Following;
use super::index::Index;
use super::live::Session;
use super::stream::KEEP_FOR;
use super::token::Identity;
use crate::bounds::{Bound, Full};
use crate::seal::Sealer;
use crate::server::Inner;

/// How long a session id is good.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The store's space for what changes in sessions.
const SPACE: &str = "mcp-session";
/// The record of a session that was ended.
const ENDED: &[u8] = b"ended";
/// How many resources one session may subscribe to.
const MOST_SUBSCRIPTIONS: usize = 1000;
/// What outlasts the process: the record of a session that has not ended.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    level: Option<Level>,
    #[serde(default)]
    subscriptions: Vec<String>,
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

/// The sessions.
pub(crate) struct Registry {
    bound: Bound,
    index: RwLock<Index>,
}

impl Registry {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            bound,
            index: RwLock::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect("nothing panics under this lock")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect("nothing panics under this lock")
    }

    /// Enters a session under its id: a sealed one, or whatever a connection calls itself. Returns the
    /// one that has this id from now on, which is another if somebody was quicker: the streams and
    /// requests of a session must meet in one place. Sessions of which nothing is open make room: their
    /// next request enters them again.
    pub(crate) fn insert(&self, id: &str, session: &Arc<Session>) -> Result<Arc<Session>, Full> {
        let Bound { all, of_one } = self.bound;
        let mut index = self.write();
        if let Some(known) = index.get(id) {
            return Ok(known);
        }
        let owner = &session.owner;
        // Of one owner alone there cannot be more than of all.
        if of_one < all && index.count_of(owner) >= of_one {
            index.remove_idle(Some(owner));
            if index.count_of(owner) >= of_one {
                return Err(Full::Owner(of_one));
            }
        }
        if index.count() >= all {
            index.remove_idle(None);
            if index.count() >= all {
                return Err(Full::All(all));
            }
        }
        index.insert(id, session);
        Ok(Arc::clone(session))
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<Session>> {
        self.write().remove(id)
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
        let known = self.read().get(id);
        if let Some(session) = known {
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
            Ok(session) => Lookup::Found(session),
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
        let index = self.read();
        let reachable = |session: &&Arc<Session>| session.general().is_some();
        index.all().filter(reachable).cloned().collect()
    }

    /// The open session with this key.
    pub(crate) fn by_key(&self, key: &str) -> Option<Arc<Session>> {
        self.read().by_key(key)
    }

    /// The owner's sessions that can be told something unasked.
    pub(crate) fn listening(&self, owner: &Owner) -> Vec<Arc<Session>> {
        let index = self.read();
        let listens = |session: &&Arc<Session>| session.general().is_some();
        index.of(owner).filter(listens).cloned().collect()
    }

    /// Forgets the streams that nobody will come back to, with what they have kept.
    fn sweep(&self, now: Instant) {
        for session in self.read().all() {
            session.forget_streams(now);
        }
    }

    /// Ends every stream: the server stops.
    pub(crate) fn close_streams(&self) {
        self.read()
            .all()
            .for_each(|session| session.close_general());
    }
}

/// Forgets streams from time to time, until the server ends.
pub(crate) fn sweep(server: &Arc<Inner>) -> impl Future<Output = ()> + use<> {
    let stopping = server.stopping.clone();
    let server = Arc::downgrade(server);
    async move {
        while stopping
            .run_until_cancelled(tokio::time::sleep(KEEP_FOR))
            .await
            .is_some()
        {
            let Some(server) = server.upgrade() else {
                return;
            };
            server.sessions.sweep(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::testing::{Fault, FaultyStore, MemoryStore};

    use super::super::stream::StreamKind;
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

    async fn found(registry: &Registry, store: &dyn Side, id: &str) -> Option<Arc<Session>> {
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
    async fn who_looks_for_a_session_at_once_finds_one() {
        let store = FaultyStore::new(Arc::new(MemoryStore::default()));
        let registry = roomy();
        let id = identity().seal(&sealer());
        // Both read before either enters what it has read.
        store.on_next("record_get", Fault::Delay);
        store.on_next("record_get", Fault::Delay);
        let (one, other, ()) = tokio::join!(
            found(&registry, &store, &id),
            found(&registry, &store, &id),
            async { store.release() }
        );
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_streams_have_kept_is_forgotten_after_a_while() {
        let registry = roomy();
        let id = identity().seal(&sealer());
        let session = found(&registry, &MemoryStore::default(), &id)
            .await
            .unwrap();
        let events = session.open_stream(StreamKind::Request);
        let open = session.open_stream(StreamKind::General);
        events.stream.finish("a long result".into());
        let finished = Arc::downgrade(&events.stream);
        drop(events);
        registry.sweep(Instant::now());
        assert!(finished.upgrade().is_some(), "its client may come back");
        tokio::time::advance(KEEP_FOR * 2).await;
        registry.sweep(Instant::now());
        assert!(finished.upgrade().is_none());
        assert!(session.resume_stream(open.stream.name(), 0).is_some());
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
