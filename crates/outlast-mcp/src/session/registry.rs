//! The sessions that this process serves.
//!
//! An entry is a cache: it is made again from the id by whichever process sees it next. What must
//! outlast the process (its log level, what it has subscribed to) is a record in the store, written on
//! first use, read when an entry is made, and read again by the first request that comes when it was
//! last read [`FRESH`] ago: another instance may have changed it. That a session was ended is a record of
//! its own, which nothing ever replaces. An instance that still holds the session learns of it within
//! [`FRESH`] of the next request, or without one if it has a stream open (see [`sweep`]).

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use outlast_core::{Level, Owner, Side, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::claims::SIGN;
use super::elsewhere;
use super::following::Following;
use super::index::Index;
use super::live::Session;
use super::stream::KEEP_FOR;
use super::token::Identity;
use crate::bounds::{Bound, Full};
use crate::seal::Sealer;
use crate::serve;
use crate::server::Inner;

/// How long a session id is good.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The store's space for what changes in sessions.
const SPACE: &str = "mcp-session";
/// The store's space for sessions that were ended.
const ENDED: &str = "mcp-session-ended";
/// How long what was read of a session is taken for what the store holds.
const FRESH: Duration = SIGN;
/// How many sessions are read again each time without a request of theirs.
const MOST_AT_ONCE: usize = 500;
/// How many resources one session may subscribe to.
const MOST_SUBSCRIPTIONS: usize = 1000;

/// What outlasts the process: the record of a session that has not ended.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) level: Option<Level>,
    #[serde(default)]
    pub(super) subscriptions: BTreeSet<String>,
    /// An instance that did not make the session was told that the handshake is over.
    #[serde(default)]
    pub(super) initialized: bool,
}

/// What the store holds of a session.
enum Kept {
    Ended,
    Open(Record),
}

/// What became of a change to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Made,
    /// Another instance ended the session while this request was under way.
    Ended,
    /// It has as many subscriptions as one may have.
    Full,
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
            let good = session.owner == *owner
                && now.since(session.identity.created) <= LIFETIME
                && self.refresh(side, &session).await;
            return Ok(if good {
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
        // It was begun in another process, and what the client has said to that is not known here.
        session.set_initialized();
        match kept(side, &session.key).await? {
            Kept::Ended => return Ok(Lookup::Unknown),
            Kept::Open(record) => session.take_over(record),
        }
        Ok(match self.insert(id, &session) {
            Ok(session) => Lookup::Found(session),
            Err(full) => Lookup::Full(full),
        })
    }

    /// The session that a client behind a relay had with an earlier process, if the id is that of one which
    /// this owner may still have and nobody else has.
    pub(crate) fn had(
        &self,
        sealer: &Sealer,
        now: Timestamp,
        id: &str,
        owner: &Owner,
    ) -> Option<Identity> {
        let identity = Identity::open(sealer, id)?;
        let good = identity.belongs_to(owner) && now.since(identity.created) <= LIFETIME;
        (good && self.by_key(&identity.key_text()).is_none()).then_some(identity)
    }

    /// Goes by what the store holds of a session that an earlier process had.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn catch_up(
        &self,
        side: &dyn Side,
        session: &Session,
    ) -> outlast_core::Result<()> {
        let _recording = session.recording.lock().await;
        if let Kept::Open(record) = kept(side, &session.key).await? {
            session.take_over(record);
        }
        Ok(())
    }

    /// Reads a session again if that is due. `false` if it was ended by another instance: then it is
    /// ended here too. A store that cannot be read ends nothing, and is asked again when the next read is
    /// due: that a session is open lets nobody in who is not let in anyway.
    async fn refresh(&self, side: &dyn Side, session: &Session) -> bool {
        // Whoever changes the record reads it, and one reader is enough.
        let Ok(_recording) = session.recording.try_lock() else {
            return true;
        };
        if !session.is_stale(FRESH) {
            return true;
        }
        match kept(side, &session.key).await {
            Ok(Kept::Ended) => {
                self.has_ended(session);
                return false;
            }
            Ok(Kept::Open(record)) => session.take_over(record),
            Err(error) => {
                session.was_read();
                tracing::warn!(%error, "cannot read a session again; going on with what is known");
            }
        }
        true
    }

    /// Takes a session out, with everything that is open of it.
    fn has_ended(&self, session: &Session) {
        self.write().remove_key(&session.key);
        session.end();
    }

    /// Ends a session for good: here at once, on other instances when they read it again.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn end(&self, side: &dyn Side, session: &Session) -> outlast_core::Result<()> {
        let until = session.identity.created + LIFETIME;
        side.record_put(ENDED, &session.key, Vec::new(), Some(until))
            .await?;
        self.has_ended(session);
        Ok(())
    }

    /// Writes down that the client has said to this instance that the handshake is over, which was made by
    /// another one: that one may have the stream.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn note_initialized(
        &self,
        side: &dyn Side,
        session: &Session,
    ) -> outlast_core::Result<Change> {
        self.change(side, session, |record| {
            record.initialized = true;
            Change::Made
        })
        .await
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
    ) -> outlast_core::Result<Change> {
        self.change(side, session, |record| {
            record.level = Some(level);
            Change::Made
        })
        .await
    }

    /// Subscribes the client to a resource.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn subscribe(
        &self,
        side: &dyn Side,
        session: &Session,
        uri: &str,
        following: Option<Following>,
    ) -> outlast_core::Result<Change> {
        let change = |record: &mut Record| {
            let known = record.subscriptions.contains(uri);
            if !known && record.subscriptions.len() >= MOST_SUBSCRIPTIONS {
                return Change::Full;
            }
            record.subscriptions.insert(uri.to_owned());
            Change::Made
        };
        let change = self.change(side, session, change).await?;
        if change == Change::Made {
            session.follow(uri, || following);
        }
        Ok(change)
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
    ) -> outlast_core::Result<Change> {
        self.change(side, session, |record| {
            record.subscriptions.remove(uri);
            Change::Made
        })
        .await
    }

    /// Changes what of a session outlasts the process: reads what the store holds, which another instance
    /// may have written, writes it down changed, and goes by that from then on. Of changes that two
    /// instances make in the same moment the later one is kept; a client sends its requests one after
    /// the other where that matters.
    async fn change(
        &self,
        side: &dyn Side,
        session: &Session,
        change: impl FnOnce(&mut Record) -> Change,
    ) -> outlast_core::Result<Change> {
        let _recording = session.recording.lock().await;
        let mut record = match kept(side, &session.key).await? {
            Kept::Ended => {
                self.has_ended(session);
                return Ok(Change::Ended);
            }
            Kept::Open(record) => record,
        };
        let before = record.clone();
        let change = change(&mut record);
        if record != before {
            let bytes = serde_json::to_vec(&record).expect("a record has a JSON form");
            let until = session.identity.created + LIFETIME;
            side.record_put(SPACE, &session.key, bytes, Some(until))
                .await?;
        }
        session.take_over(record);
        Ok(change)
    }

    /// Reads again the sessions that can be told something unasked, those first that were read longest
    /// ago: what they have subscribed to elsewhere is told here, and their streams end where the session
    /// has ended. Returns those that are open, and were read.
    async fn refresh_listening(&self, side: &dyn Side) -> Vec<Arc<Session>> {
        let mut stale = self.reachable();
        stale.retain(|session| session.is_stale(FRESH));
        stale.sort_by_key(|session| session.read_at());
        stale.truncate(MOST_AT_ONCE);
        let mut open = Vec::with_capacity(stale.len());
        for session in stale {
            if self.refresh(side, &session).await {
                open.push(session);
            }
        }
        open
    }

    /// Writes down that this server lives, and looks what the others of its store were told that is for this
    /// one. What fails now is done the next time.
    async fn meet_others(&self, server: &Inner) {
        let (side, now) = (server.side(), server.handle.now());
        if let Err(error) = server.instance.sign(side, now).await {
            tracing::warn!(%error, "cannot tell the other servers of the store that this one lives");
        }
        let sessions: Vec<_> = self.read().all().cloned().collect();
        let in_flight = sessions.iter().flat_map(|session| {
            let ids = session.in_flight.ids().into_iter();
            ids.map(move |id| (session, id))
        });
        for (session, id) in in_flight.take(MOST_AT_ONCE) {
            match elsewhere::is_cancelled(side, now, session, &id).await {
                Ok(true) => {
                    session.in_flight.cancel(&id);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot see whether a request was cancelled; looking again");
                    return;
                }
            }
        }
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

/// Looks after sessions from time to time, until the server ends: forgets streams, and reads again what
/// other instances may have changed of sessions that have a stream open here.
pub(crate) fn sweep(server: &Arc<Inner>) -> impl Future<Output = ()> + use<> {
    let stopping = server.stopping.clone();
    let server = Arc::downgrade(server);
    async move {
        let mut forgotten = Instant::now();
        let ended = server.clone();
        while stopping
            .run_until_cancelled(tokio::time::sleep(FRESH))
            .await
            .is_some()
        {
            let Some(server) = server.upgrade() else {
                return;
            };
            let now = Instant::now();
            if now.duration_since(forgotten) >= KEEP_FOR {
                forgotten = now;
                server.sessions.sweep(now);
            }
            if server.config.shared {
                server.sessions.meet_others(&server).await;
            }
            for session in server.sessions.refresh_listening(server.side()).await {
                if session.is_initialized_elsewhere() {
                    serve::initialized(&server, &session).await;
                }
                if let Some(reader) = session.reader() {
                    server.followed.resume(&server, &session, &reader);
                }
            }
        }
        if let Some(server) = ended.upgrade().filter(|server| server.config.shared) {
            let now = server.handle.now();
            if let Err(error) = server.instance.sign_off(server.side(), now).await {
                tracing::debug!(%error, "the other servers of the store learn late that this one has ended");
            }
        }
    }
}

/// What the store holds of the session with this key.
async fn kept(side: &dyn Side, key: &str) -> outlast_core::Result<Kept> {
    // In this order: whoever ends a session writes that after all else.
    let record = side.record_get(SPACE, key).await?;
    if side.record_get(ENDED, key).await?.is_some() {
        return Ok(Kept::Ended);
    }
    // What cannot be read is worth no more than what was never written.
    let record = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(Kept::Open(record.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use outlast_core::Principal;
    use outlast_core::testing::{Fault, FaultyStore, MemoryStore};

    use super::super::outlet::Outlet;
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
        registry.end(&store, &again).await.unwrap();
        assert!(found(&registry, &store, &id).await.is_none());
        assert!(found(&roomy(), &store, &id).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_that_knows_a_session_learns_that_another_ended_it() {
        let store = MemoryStore::default();
        let id = identity().seal(&sealer());
        let (one, other) = (roomy(), roomy());
        let here = found(&one, &store, &id).await.unwrap();
        let there = found(&other, &store, &id).await.unwrap();
        let stream = there.open_stream(StreamKind::General);
        one.end(&store, &here).await.unwrap();
        assert!(found(&other, &store, &id).await.is_some(), "still fresh");
        // Whatever the other one writes by then brings the session back nowhere.
        let late = other.set_level(&store, &there, Level::Warning).await;
        assert_eq!(late.unwrap(), Change::Ended);
        for registry in [&one, &other, &roomy()] {
            assert!(found(registry, &store, &id).await.is_none());
        }
        assert!(!stream.stream.is_connected(), "its streams have ended");
        // The same where nothing is written, as soon as it is read again.
        let id = identity().seal(&sealer());
        let here = found(&one, &store, &id).await.unwrap();
        found(&other, &store, &id).await.unwrap();
        one.end(&store, &here).await.unwrap();
        tokio::time::advance(FRESH).await;
        assert!(found(&other, &store, &id).await.is_none());
        assert!(other.by_key(&here.key).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_session_asks_of_two_instances_counts_for_both() {
        let store = MemoryStore::default();
        let id = identity().seal(&sealer());
        let (one, other) = (roomy(), roomy());
        let here = found(&one, &store, &id).await.unwrap();
        let there = found(&other, &store, &id).await.unwrap();
        let subscribe = async |registry: &Registry, session: &Session, uri: &str| {
            let change = registry.subscribe(&store, session, uri, None).await;
            assert_eq!(change.unwrap(), Change::Made);
        };
        subscribe(&one, &here, "x://1").await;
        subscribe(&other, &there, "x://2").await;
        assert_eq!(there.subscribed(), ["x://1", "x://2"]);
        let change = other.unsubscribe(&store, &there, "x://1").await;
        assert_eq!(change.unwrap(), Change::Made);
        other.set_level(&store, &there, Level::Error).await.unwrap();
        tokio::time::advance(FRESH).await;
        found(&one, &store, &id).await.unwrap();
        assert_eq!(here.subscribed(), ["x://2"]);
        assert_eq!(here.level(), Some(Level::Error));
    }

    #[tokio::test(start_paused = true)]
    async fn the_instance_that_made_a_session_learns_that_its_handshake_is_over() {
        let store = MemoryStore::default();
        let identity = identity();
        let id = identity.seal(&sealer());
        let (one, other) = (roomy(), roomy());
        let here = Session::new(identity, Owner::local(), None);
        let here = one.insert(&id, &here).unwrap();
        let stream = here.open_stream(StreamKind::General);
        here.add_general(
            Outlet::Stream(Arc::clone(&stream.stream)),
            Principal::local(),
        );
        assert!(here.general().is_some() && here.general_for_questions().is_none());
        let there = found(&other, &store, &id).await.unwrap();
        assert!(there.is_initialized(), "begun elsewhere");
        let noted = other.note_initialized(&store, &there).await.unwrap();
        assert_eq!(noted, Change::Made);
        assert!(!here.is_initialized_elsewhere());
        tokio::time::advance(FRESH).await;
        found(&one, &store, &id).await.unwrap();
        assert!(here.is_initialized_elsewhere());
        assert!(here.set_initialized() && !here.set_initialized());
        assert!(here.general_for_questions().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_ends_no_session_that_is_known() {
        let store = FaultyStore::new(Arc::new(MemoryStore::default()));
        let registry = roomy();
        let id = identity().seal(&sealer());
        found(&registry, &store, &id).await.unwrap();
        tokio::time::advance(FRESH).await;
        store.on_next("record_get", Fault::Fail);
        assert!(found(&registry, &store, &id).await.is_some());
        assert_eq!(store.planned(), 0, "it was asked");
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
