//! The store as its users see it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::limit::{Control, Controls};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode};
use outlast_core::no_worker::Missing;
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, Filter, FinishReply, NoticeSink,
    Page, Reads, Recovered, Report, SchedulePut, Side, Signalled, Stats, Store, StoreInfo,
    SuspendReply, Ticked, ToolVersion,
};
use outlast_core::task::{Awaiting, Lease, NewTask};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::{
    BlobWriter, Blobs, Clock, Error, Event, JournalEntry, JournalKind, LogLine, LogPage, NewSignal,
    Recorded, Result, Schedule, Signal, SystemClock, Task, TaskId, Timestamp,
};
use tokio::sync::oneshot;

use crate::blobs::BlobFiles;
use crate::cache::Cache;
use crate::failure::{self, Failure};
use crate::limit;
use crate::list;
use crate::lock::{self, Lock};
use crate::query;
use crate::readers::Readers;
use crate::schema;
use crate::tally::Tally;
use crate::unit::{Unit, read_task};
use crate::writer::{self, Call, Claims, Front, Parcel, Writer};

/// What an acknowledged write has survived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Synchronous {
    /// `kill -9` and the loss of power: each commit waits for the disk.
    #[default]
    Full,
    /// `kill -9`. A loss of power may take the last moments with it, and damages nothing.
    Normal,
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// The database file. Made if it is missing (0600), with its folder (0700).
    pub path: PathBuf,
    /// The server's name. A store belongs to the first server that opened it.
    pub server_name: String,
    /// What an acknowledged write has survived.
    pub synchronous: Synchronous,
    /// The store's clock.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The store at `path` for the server `server_name`, with the defaults.
    pub fn new(path: impl Into<PathBuf>, server_name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            server_name: server_name.into(),
            synchronous: Synchronous::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("path", &self.path)
            .field("server_name", &self.server_name)
            .field("synchronous", &self.synchronous)
            .finish_non_exhaustive()
    }
}

/// Tasks in a SQLite file.
///
/// A call that is dropped before it returns happens as a whole or not at all; leases that it would
/// have returned are given back. Dropping the store waits until all accepted writes are committed.
pub struct SqliteStore {
    location: String,
    clock: Arc<dyn Clock>,
    cache: Arc<Cache>,
    sink: Arc<OnceLock<Arc<dyn NoticeSink>>>,
    writer: Front,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Readers,
    blobs: BlobFiles,
    tally: Arc<Mutex<Option<Tally>>>,
    lock: std::sync::Weak<Lock>,
    /// The boot in which the store was last used, and the present one.
    boots: [Option<String>; 2],
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a store, making or migrating its file where needed. Blocks for some milliseconds.
    ///
    /// # Errors
    /// A sentence that says what to do: another server has it, it belongs to another server, it is
    /// newer than this program, no database, damaged, on a network file system, or out of reach.
    /// Only the first is retryable: that server may end.
    pub fn open(options: Options) -> Result<Self> {
        let path = lock::prepare_file(&options.path)?;
        let lock = Arc::new(Lock::take(&path)?);
        let conn = schema::open_writer(&path, &options.server_name, options.synchronous)?;
        let known = writer::load(&conn, &path, options.clock.now())?;
        let last_boot =
            schema::get_meta(&conn, "boot").map_err(|error| failure::explain(&path, error))?;
        let readers = Readers::start(&path)?;
        let blobs = BlobFiles::open(&path)?;
        let cache = Arc::new(Cache::default());
        let sink = Arc::new(OnceLock::new());
        let tally = Arc::default();
        let writer = Writer {
            conn,
            path: path.clone(),
            clock: Arc::clone(&options.clock),
            cache: Arc::clone(&cache),
            sink: Arc::clone(&sink),
            known: Some(known),
            tally: Arc::clone(&tally),
            lock: Arc::clone(&lock),
            blobs: blobs.clone(),
            lone: 0,
        };
        let (front, thread) = Front::start(writer)
            .map_err(|error| Error::unavailable("cannot start a thread", error))?;
        Ok(Self {
            location: path.display().to_string(),
            clock: options.clock,
            cache,
            sink,
            writer: front,
            thread: Mutex::new(Some(thread)),
            readers,
            blobs,
            tally,
            lock: Arc::downgrade(&lock),
            boots: [last_boot, lock::boot_id()],
        })
    }

    /// Tells what [`SqliteStore::open`] would refuse, and neither makes nor changes anything. A store that
    /// another server has at present is none of it.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn examine(options: &Options) -> Result<()> {
        match lock::examine_file(&options.path)? {
            Some(path) => schema::examine(&path, &options.server_name),
            None => Ok(()),
        }
    }

    /// Records where this server can be reached; a second server that is refused the store says so.
    ///
    /// # Errors
    /// The lock file cannot be written.
    pub fn set_address(&self, address: &str) -> Result<()> {
        match self.lock.upgrade() {
            Some(lock) => lock.describe(address),
            None => Err(failure::closed()),
        }
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Unit<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        self.send(work, None).await
    }

    /// An operation whose answer carries leases.
    async fn give<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Unit<'_>) -> Result<T, Failure> + Send + 'static,
        leases: fn(&T) -> Vec<Lease>,
    ) -> Result<T> {
        let writer = self.writer.clone();
        self.send(work, Some(Claims { leases, writer })).await
    }

    async fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Unit<'_>) -> Result<T, Failure> + Send + 'static,
        claims: Option<Claims<T>>,
    ) -> Result<T> {
        let (job, answer) = Call::prepare(work, claims);
        if !self.writer.submit(job) {
            return Err(failure::closed());
        }
        let answer = answer.await.map_err(|_| failure::closed())?;
        answer.map(Parcel::open)
    }

    /// Memory would still answer after the store was closed.
    fn check_open(&self) -> Result<()> {
        if self.lock.strong_count() == 0 {
            return Err(failure::closed());
        }
        Ok(())
    }

    fn join_writer(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A writer that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let (done, _) = oneshot::channel();
        // Fails if the store was closed before.
        let _ = self.writer.close(done);
        self.readers.stop();
        self.join_writer();
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "sqlite",
            location: self.location.clone(),
            durable: true,
            shards: 1,
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        assert!(self.sink.set(sink).is_ok(), "a store has one sink");
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        let [last_boot, boot] = self.boots.clone();
        self.write(move |unit| unit.recover(worker, boot.as_deref(), last_boot.as_deref()))
            .await
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        self.give(
            move |unit| unit.create(task, claim.as_ref()),
            |created| created.lease.into_iter().collect(),
        )
        .await
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        let by = by.clone();
        self.give(
            move |unit| unit.claim(&by, limit),
            |claimed| claimed.iter().map(|one| one.lease).collect(),
        )
        .await
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        self.write(move |unit| unit.heartbeat(&leases, length))
            .await
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        let lease = *lease;
        self.write(move |unit| unit.report(&lease, report)).await
    }

    async fn journal_put(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
        recorded: Recorded,
        took: Option<Duration>,
    ) -> Result<JournalEntry> {
        let (lease, name) = (*lease, name.to_owned());
        self.write(move |unit| unit.journal_put(&lease, kind, name, input_hash, recorded, took))
            .await
    }

    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry> {
        let (lease, name) = (*lease, name.to_owned());
        self.write(move |unit| unit.spawn(&lease, name, input_hash, child, detached))
            .await
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        let lease = *lease;
        self.write(move |unit| unit.ask(&lease, questions)).await
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        let lease = *lease;
        self.write(move |unit| unit.suspend(&lease, Vec::new(), awaiting))
            .await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        let lease = *lease;
        self.write(move |unit| unit.suspend(&lease, questions, awaiting))
            .await
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        let (lease, next) = (*lease, next.cloned());
        self.give(
            move |unit| unit.finish(&lease, end, next.as_ref()),
            // What is to be undone stays with its worker, under a lease that the record holds.
            |reply| {
                let next = reply.next.iter().map(|next| next.lease);
                next.chain(reply.task.lease()).collect()
            },
        )
        .await
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        self.write(move |unit| unit.answer(task, answers)).await
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        self.write(move |unit| unit.signal(task, &signal)).await
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        self.write(move |unit| unit.cancel(task, reason, mode))
            .await
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.write(move |unit| unit.delete(task)).await
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        let alive = alive.to_vec();
        self.write(move |unit| unit.tick(&alive, length, budget))
            .await
    }

    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize> {
        self.write(move |unit| unit.note_no_worker(&tasks, missing.as_ref()))
            .await
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        self.write(move |unit| unit.delivery_put(task, taken, end))
            .await
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        self.write(move |unit| unit.schedule_put(expected, schedule, task))
            .await
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.write(move |unit| unit.schedule_delete(&name)).await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.write(move |unit| unit.control(changes)).await
    }

    async fn close(&self) -> Result<()> {
        let (done, closed) = oneshot::channel();
        if self.writer.close(done) {
            // The writer drops `done` only by ending.
            let _ = closed.await;
        }
        self.readers.stop();
        self.join_writer();
        Ok(())
    }
}

#[async_trait]
impl Reads for SqliteStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.check_open()?;
        let found = match self.cache.get(task) {
            Some(found) => Some(found),
            None => {
                let seen = self.cache.generation(task);
                let cache = Arc::clone(&self.cache);
                self.readers
                    .read(move |conn| {
                        let found = read_task(conn, task)?;
                        if let Some(found) = &found {
                            cache.add(found, seen);
                        }
                        Ok(found)
                    })
                    .await?
            }
        };
        Ok(found.filter(|task| !task.is_finished() || !task.is_expired(self.clock.now())))
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Result<Page> {
        let (filter, now) = (filter.clone(), self.clock.now());
        self.readers
            .read(move |conn| list::list(conn, &filter, before, limit, now))
            .await
    }

    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        self.readers.read(crate::ready::versions).await
    }

    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        let version = version.clone();
        self.readers
            .read(move |conn| crate::ready::tasks(conn, &version, skip, limit))
            .await
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.readers
            .read(move |conn| query::events(conn, task, after, limit))
            .await
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.readers
            .read(move |conn| query::journal(conn, task))
            .await
    }

    async fn journal_slice(
        &self,
        task: TaskId,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        self.readers
            .read(move |conn| query::journal_slice(conn, task, skip, limit))
            .await
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let after = after.to_owned();
        self.readers
            .read(move |conn| query::journal_page(conn, task, kind, &after, limit))
            .await
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        let name = name.to_owned();
        self.readers
            .read(move |conn| query::journal_get(conn, task, kind, &name))
            .await
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        let name = name.to_owned();
        self.readers
            .read(move |conn| crate::signal::signals(conn, task, &name, after, limit))
            .await
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.readers
            .read(move |conn| query::log_read(conn, task, offset, limit))
            .await
    }

    async fn controls(&self) -> Result<Controls> {
        self.readers.read(limit::controls).await
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        let name = name.to_owned();
        self.readers
            .read(move |conn| crate::schedule::find(conn, &name))
            .await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.readers.read(crate::schedule::all).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.check_open()?;
        let last = || {
            let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.as_ref().map(Tally::stats)
        };
        match last() {
            Some(stats) => Ok(stats),
            None => self.write(|unit| unit.stats()).await,
        }
    }
}

#[async_trait]
impl Blobs for SqliteStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        self.check_open()?;
        self.blobs.create(task).await
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.check_open()?;
        self.blobs.read(task, blob, offset, limit).await
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        self.check_open()?;
        self.blobs.remove(task, blob).await
    }
}

#[async_trait]
impl Side for SqliteStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        let lease = *lease;
        self.write(move |unit| unit.log_append(&lease, &lines))
            .await
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let (space, key) = (space.to_owned(), key.to_owned());
        self.write(move |unit| unit.record_put(&space, &key, &value, expires_at))
            .await
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        let (space, key) = (space.to_owned(), key.to_owned());
        self.write(move |unit| unit.record_init(&space, &key, value))
            .await
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let (space, key, now) = (space.to_owned(), key.to_owned(), self.clock.now());
        self.readers
            .read(move |conn| query::record_of(conn, &space, &key, now))
            .await
    }
}
