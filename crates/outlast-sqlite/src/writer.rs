//! The writer: takes what is queued, commits it together, and then replies. It has a thread of its own.
//!
//! Whoever comes while nothing is queued or under way, and while the disk is quick, commits in his own thread
//! ([`Front`]): to wake another one and to be woken by it costs more than the commit. All others queue.
//!
//! A batch is what stands in the queue when the writer looks, and never waited for. Its operations
//! run one after the other in one transaction. An operation that is refused is an answer and does not
//! disturb its neighbours; trouble with the disk or the file rolls the batch back, every operation of
//! it gets that error, and nothing of it is ever visible. After the commit come, in this order: the
//! cache, the replies, the notices.
//!
//! A caller may go away while its operation waits, or before it looks at the reply. If the operation
//! gave it leases, nobody would ever use them; so the reply travels in a [`Parcel`] that hands those
//! tasks back unless it is opened.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use outlast_core::machine::AttemptEnd;
use outlast_core::store::NoticeSink;
use outlast_core::task::Lease;
use outlast_core::{Clock, Error, Result, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::blobs::BlobFiles;
use crate::cache::Cache;
use crate::failure::Failure;
use crate::lock::Lock;
use crate::tally::{Counting, Tally};
use crate::unit::{Known, Unit};

/// The most operations that share a commit.
const BATCH: usize = 256;

/// How long a commit may hold up the thread of whoever calls, which has others to serve.
const QUICK: Duration = Duration::from_millis(1);

/// After how many lone operations in a row the next one is taken to be alone, too. Where several callers
/// meet, a thread that commits gathers nothing meanwhile, and their operations would share fewer commits.
const LONE: u32 = 16;

/// From how many pages on the log is moved into the file.
const LOG: usize = 4000;

/// What the writer's thread is sent.
enum Message {
    /// An operation.
    Job(Box<dyn Job>),
    /// Move the log into the file.
    Tidy,
    /// Commit what was sent before and end.
    Close(oneshot::Sender<()>),
}

/// The way to the writer. Operations are done in the order in which they are submitted.
#[derive(Clone)]
pub(crate) struct Front {
    queue: Sender<Message>,
    desk: Arc<Desk>,
}

/// What the thread shares with those who commit in theirs.
struct Desk {
    /// What was sent to the thread and is not done. Counted before it is sent, and looked at by nobody but the
    /// holder of the lock: if there is none, nobody is overtaken.
    waiting: AtomicUsize,
    /// None once it is closed.
    writer: Mutex<Option<Writer>>,
}

impl Front {
    /// Puts a writer to work in a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(writer: Writer) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (queue, messages) = channel();
        let desk = Arc::new(Desk {
            waiting: AtomicUsize::new(0),
            writer: Mutex::new(Some(writer)),
        });
        let served = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("outlast-writer".into())
            .spawn(move || served.serve(&messages))?;
        Ok((Self { queue, desk }, thread))
    }

    /// Has an operation done, here and now or by the thread. `false` if the store is closed.
    pub(crate) fn submit(&self, job: Box<dyn Job>) -> bool {
        match self.desk.here(job) {
            Ok(is_overdue) => {
                if is_overdue {
                    // A closed store has been tidied.
                    self.queue(Message::Tidy);
                }
                true
            }
            Err(job) => self.queue(Message::Job(job)),
        }
    }

    /// Has something done by the thread. `false` if the store is closed.
    fn queue(&self, message: Message) -> bool {
        self.desk.waiting.fetch_add(1, Ordering::AcqRel);
        self.queue.send(message).is_ok()
    }

    /// Has what was submitted before committed, and the thread ended, which drops `done`. `false` if the store
    /// is closed.
    pub(crate) fn close(&self, done: oneshot::Sender<()>) -> bool {
        self.queue.send(Message::Close(done)).is_ok()
    }
}

/// One operation on its way through the writer.
pub(crate) trait Job: Send {
    /// Runs it inside the unit.
    ///
    /// # Errors
    /// The transaction cannot be trusted any more. What is only refused is kept as the answer.
    fn apply(&mut self, unit: &mut Unit<'_>) -> Result<(), Failure>;

    /// Replies: what came of it, or the failure of the whole batch.
    fn reply(self: Box<Self>, failed: Option<Error>);
}

/// An operation that returns a `T`.
pub(crate) struct Call<T, W> {
    work: Option<W>,
    answer: Option<Result<T>>,
    reply: oneshot::Sender<Result<Parcel<T>>>,
    claims: Option<Claims<T>>,
}

/// Which leases a reply carries, and where they go if nobody takes them.
pub(crate) struct Claims<T> {
    pub(crate) leases: fn(&T) -> Vec<Lease>,
    pub(crate) writer: Front,
}

/// A reply on its way to the caller.
pub(crate) struct Parcel<T> {
    value: Option<T>,
    claims: Option<Claims<T>>,
}

impl<T> Parcel<T> {
    /// The reply; what it carries is the caller's from now on.
    pub(crate) fn open(mut self) -> T {
        self.value.take().expect("opened once")
    }
}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        let (Some(value), Some(claims)) = (&self.value, &self.claims) else {
            return;
        };
        for lease in (claims.leases)(value) {
            let release = move |unit: &mut Unit<'_>| unit.finish(&lease, AttemptEnd::Release, None);
            let (job, _nobody_waits) = Call::prepare(release, None);
            // A closed store has nothing to give back: the next process takes it.
            // Never here and now: whoever drops this may be at the desk.
            claims.writer.queue(Message::Job(job));
        }
    }
}

impl<T, W> Call<T, W>
where
    T: Send + 'static,
    W: FnOnce(&mut Unit<'_>) -> Result<T, Failure> + Send + 'static,
{
    /// The operation `work`, and where its answer will arrive.
    pub(crate) fn prepare(
        work: W,
        claims: Option<Claims<T>>,
    ) -> (Box<dyn Job>, oneshot::Receiver<Result<Parcel<T>>>) {
        let (reply, answer) = oneshot::channel();
        let call = Self {
            work: Some(work),
            answer: None,
            reply,
            claims,
        };
        (Box::new(call), answer)
    }
}

impl<T, W> Job for Call<T, W>
where
    T: Send + 'static,
    W: FnOnce(&mut Unit<'_>) -> Result<T, Failure> + Send + 'static,
{
    fn apply(&mut self, unit: &mut Unit<'_>) -> Result<(), Failure> {
        let work = self.work.take().expect("applied once");
        unit.begin_operation();
        match work(unit) {
            Ok(value) => self.answer = Some(Ok(value)),
            Err(Failure::Told(error) | Failure::Unreadable(error))
                if !(unit.written && is_trouble(&error)) =>
            {
                self.answer = Some(Err(error));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn reply(self: Box<Self>, failed: Option<Error>) {
        let answer = match failed {
            Some(error) => Err(error),
            None => self.answer.expect("applied before"),
        };
        let claims = self.claims;
        // A caller who has gone leaves the parcel unopened.
        let _ = self.reply.send(answer.map(|value| Parcel {
            value: Some(value),
            claims,
        }));
    }
}

/// Whether an error may have come after something was written.
fn is_trouble(error: &Error) -> bool {
    matches!(error, Error::Store { .. } | Error::Invalid(_))
}

/// The thread's state.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) sink: Arc<OnceLock<Arc<dyn NoticeSink>>>,
    /// `None` after a failure, until the next batch reads it again.
    pub(crate) known: Option<Known>,
    /// The counts at the last commit, where somebody has asked for them.
    pub(crate) tally: Arc<Mutex<Option<Tally>>>,
    /// Held as long as this thread may write.
    pub(crate) lock: Arc<Lock>,
    /// The files that go with deleted records.
    pub(crate) blobs: BlobFiles,
    /// How many batches in a row were a single operation and its commit quick.
    pub(crate) lone: u32,
}

impl Desk {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does an operation in this thread and says whether the log is overdue; or gives it back.
    fn here(&self, job: Box<dyn Job>) -> Result<bool, Box<dyn Job>> {
        let mut desk = match self.writer.try_lock() {
            Ok(desk) => desk,
            Err(TryLockError::Poisoned(desk)) => desk.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(job),
        };
        let idle = self.waiting.load(Ordering::Acquire) == 0;
        match desk.as_mut() {
            Some(writer) if idle && writer.lone >= LONE => {
                writer.batch(&mut VecDeque::from([job]));
                Ok(pages::are_many())
            }
            _ => Err(job),
        }
    }

    /// Serves the queue until it is closed or nobody can send any more.
    fn serve(&self, queue: &Receiver<Message>) {
        let mut jobs = VecDeque::new();
        let closed = loop {
            if jobs.is_empty() {
                match queue.recv() {
                    Ok(Message::Job(job)) => jobs.push_back(job),
                    Ok(Message::Tidy) => self.tidy_now(),
                    Ok(Message::Close(done)) => break Some(done),
                    Err(_) => break None,
                }
            }
            let mut close = None;
            while jobs.len() < BATCH && close.is_none() {
                match queue.try_recv() {
                    Ok(Message::Job(job)) => jobs.push_back(job),
                    Ok(Message::Tidy) => self.tidy_now(),
                    Ok(Message::Close(done)) => close = Some(done),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if close.is_none() {
                self.batch(&mut jobs);
                continue;
            }
            while !jobs.is_empty() {
                self.batch(&mut jobs);
            }
            break close;
        };
        if let Some(Writer { conn, lock, .. }) = self.lock().take() {
            // Moves the log into the file, so that a closed store is one file. Only tidiness.
            let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);");
            drop(conn);
            drop(lock);
        }
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    /// Commits what stands at the front of the queue.
    fn batch(&self, jobs: &mut VecDeque<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let before = jobs.len();
        if let Some(writer) = self.lock().as_mut() {
            writer.batch(jobs);
        }
        self.waiting
            .fetch_sub(before - jobs.len(), Ordering::AcqRel);
        if pages::are_many() {
            self.tidy();
        }
    }

    fn tidy_now(&self) {
        self.tidy();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Moves the log into the file, behind the replies and in nobody's thread but the writer's. What readers
    /// still need of it stays for the next time.
    fn tidy(&self) {
        if let Some(writer) = self.lock().as_ref() {
            let _ = writer.conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE);");
        }
    }
}

/// How long the log is, which SQLite tells after each commit.
pub(crate) mod pages {
    use std::cell::Cell;
    use std::ffi::c_int;

    thread_local! {
        /// How many pages it had after the last commit in this thread, until somebody asks.
        static PAGES: Cell<usize> = const { Cell::new(0) };
    }

    /// To be called by SQLite.
    pub(crate) fn note(_: &rusqlite::hooks::Wal, pages: c_int) -> rusqlite::Result<()> {
        PAGES.set(usize::try_from(pages).unwrap_or(0));
        Ok(())
    }

    /// Whether it is to be moved into the file after what this thread has committed.
    pub(super) fn are_many() -> bool {
        PAGES.take() >= super::LOG
    }
}

impl Writer {
    /// Commits the jobs at the front of the queue, up to the first that spoils the transaction.
    fn batch(&mut self, jobs: &mut VecDeque<Box<dyn Job>>) {
        let mut applied = Vec::new();
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| self.commit(jobs, &mut applied)));
        let failure = match result {
            Ok(Ok(done)) => {
                let is_lone = applied.len() == 1 && begun.elapsed() < QUICK;
                self.lone = if is_lone {
                    self.lone.saturating_add(1)
                } else {
                    0
                };
                self.acknowledge(done, applied);
                return;
            }
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::Told(Error::broken(format!(
                "an operation on the task store failed in a way that should be impossible; \
                 nothing was changed: {}",
                panic_text(panic.as_ref())
            ))),
        };
        // It may have been rolled back already.
        let _ = self.conn.execute_batch("ROLLBACK");
        // It may hold what was never committed.
        self.known = None;
        self.lone = 0;
        let error = failure.into_error(&self.path);
        if applied.is_empty() {
            // The transaction could not begin: everybody who waits hears of it.
            applied.extend(jobs.drain(..));
        }
        for job in applied {
            job.reply(Some(same(&error)));
        }
    }

    fn commit(
        &mut self,
        jobs: &mut VecDeque<Box<dyn Job>>,
        applied: &mut Vec<Box<dyn Job>>,
    ) -> Result<Done, Failure> {
        let known = match &mut self.known {
            Some(known) => known,
            slot => slot.insert(Known::load(&self.conn, self.clock.now())?),
        };
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut unit = Unit::new(&self.conn, known, &*self.clock, &self.cache);
        let counted = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        unit.counting.wanted = counted.is_some();
        drop(counted);
        while let Some(job) = jobs.pop_front() {
            applied.push(job);
            let job = applied.last_mut().expect("pushed above");
            job.apply(&mut unit)?;
        }
        let done = Done {
            changed: unit.changed,
            notices: unit.notices,
            counting: unit.counting,
        };
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(done)
    }

    fn acknowledge(&mut self, done: Done, applied: Vec<Box<dyn Job>>) {
        for (id, task) in &done.changed {
            self.cache.publish(*id, task.as_ref());
        }
        let deleted = done.changed.iter().filter(|(_, task)| task.is_none());
        let deleted: Vec<_> = deleted.map(|(id, _)| *id).collect();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        done.counting.commit(&mut tally);
        drop(tally);
        for job in applied {
            job.reply(None);
        }
        if !deleted.is_empty() {
            self.blobs.remove_tasks(deleted.into_iter());
        }
        if let Some(sink) = self.sink.get() {
            // Notices may get lost; a sink that panics must not take the store with it.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                for notice in done.notices {
                    sink.notice(notice);
                }
            }));
        }
    }
}

/// What a committed batch leaves to be told.
struct Done {
    changed: std::collections::HashMap<outlast_core::TaskId, Option<Arc<outlast_core::Task>>>,
    notices: Vec<outlast_core::store::Notice>,
    counting: Counting,
}

/// The same error for another caller.
fn same(error: &Error) -> Error {
    Error::Store {
        message: error.to_string(),
        retryable: error.is_retryable(),
        source: None,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Reads what the writer must know at its start.
pub(crate) fn load(conn: &Connection, path: &Path, now: Timestamp) -> Result<Known> {
    Known::load(conn, now).map_err(|failure| failure.into_error(path))
}
