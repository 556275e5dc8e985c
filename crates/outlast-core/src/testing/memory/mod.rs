//! The memory store: the state machine behind one mutex.

mod blobs;
mod claim;
mod create;
mod reads;
mod side;
mod store;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use self::blobs::MemoryBlobs;
use crate::blob::RecordedArtifact;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{Owner, TaskId};
use crate::journal::{JournalEntry, JournalKind};
use crate::log::LogChunk;
use crate::machine::{Consequence, LeaseLost, Ledger};
use crate::schedule::Schedule;
use crate::signal::Signal;
use crate::store::{ClaimBy, Notice, NoticeSink};
use crate::task::{Lease, Task};

/// A store that keeps everything in memory. For tests only.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    sink: OnceLock<Arc<dyn NoticeSink>>,
    inner: Mutex<Inner>,
    blobs: MemoryBlobs,
}

#[derive(Default)]
struct Inner {
    tasks: HashMap<TaskId, Kept>,
    sequence: u64,
    nonce: u64,
    records: HashMap<(String, String), (Vec<u8>, Option<Timestamp>)>,
    ledger: Ledger,
    /// Idempotency keys, and keys of the same work, by owner and tool.
    named: HashMap<(Owner, String, String), Name>,
    same: HashMap<(Owner, String, String), TaskId>,
    schedules: BTreeMap<String, Schedule>,
    closed: bool,
    notices: Vec<Notice>,
    /// What the changes of this unit mean for other tasks, not yet applied.
    owed: VecDeque<Consequence>,
    settling: bool,
    /// The time of this unit.
    now: Timestamp,
}

/// What is noted under an idempotency key.
#[derive(Clone)]
struct Name {
    task: TaskId,
    digest: String,
    until: Timestamp,
}

#[derive(Clone)]
struct Kept {
    task: Arc<Task>,
    events: Vec<Event>,
    journal: Vec<JournalEntry>,
    signals: Vec<Signal>,
    log: Vec<LogChunk>,
    log_end: u64,
    mark: Option<u64>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::new()))
    }
}

impl MemoryStore {
    /// An empty store that reads `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            sink: OnceLock::new(),
            inner: Mutex::default(),
            blobs: MemoryBlobs::default(),
        }
    }

    /// Whether there is a task that a worker could take now on these terms.
    pub fn could_claim(&self, by: &ClaimBy) -> bool {
        let now = self.clock.now();
        self.lock().first(by, by.suspects, now).is_some()
    }

    /// The store as the next process would find it after a crash of this one: the same records,
    /// nobody subscribed. Writes to this one do not reach the other.
    pub fn successor(&self) -> Self {
        let inner = self.lock();
        let inner = Inner {
            tasks: inner.tasks.clone(),
            sequence: inner.sequence,
            nonce: inner.nonce,
            records: inner.records.clone(),
            ledger: inner.ledger.clone(),
            named: inner.named.clone(),
            same: inner.same.clone(),
            schedules: inner.schedules.clone(),
            ..Inner::default()
        };
        // What no entry names is swept up at a start.
        let blobs = self.blobs.copy();
        blobs.retain(|task, blob| inner.names(task, blob));
        Self {
            clock: Arc::clone(&self.clock),
            sink: OnceLock::new(),
            inner: Mutex::new(inner),
            blobs,
        }
    }

    /// All records, also those that nobody may read any more.
    pub(super) fn records(&self) -> HashMap<TaskId, Arc<Task>> {
        let inner = self.lock();
        let tasks = inner.tasks.iter();
        tasks
            .map(|(id, kept)| (*id, Arc::clone(&kept.task)))
            .collect()
    }

    /// One atomic unit: runs `work` under the lock, then gives the notices.
    fn unit<T>(&self, work: impl FnOnce(&mut Inner, Timestamp) -> Result<T>) -> Result<T> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Error::broken("the task store is closed"));
        }
        let now = self.clock.now();
        inner.now = now;
        let result = work(&mut inner, now);
        let notices = std::mem::take(&mut inner.notices);
        drop(inner);
        if let Some(sink) = self.sink.get() {
            for notice in notices {
                sink.notice(notice);
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no unit panics halfway")
    }
}

impl Inner {
    /// Whether the journal of a task names a blob.
    fn names(&self, task: TaskId, blob: &str) -> bool {
        let named = |entry: &JournalEntry| {
            entry.kind == JournalKind::Artifact
                && entry
                    .recorded
                    .json()
                    .to::<RecordedArtifact>()
                    .is_ok_and(|artifact| artifact.blob == blob)
        };
        let kept = self.tasks.get(&task);
        kept.is_some_and(|kept| kept.journal.iter().any(named))
    }

    /// Applies a verb to a task and keeps what came of it.
    fn change<T>(
        &mut self,
        id: TaskId,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>)>,
    ) -> Result<(T, Arc<Task>)> {
        let kept = self.tasks.get_mut(&id).ok_or(Error::NotFound(id))?;
        let mut task = Task::clone(&kept.task);
        let (value, events) = verb(&mut task)?;
        self.notices.extend(Notice::between(&kept.task, &task));
        self.owed
            .extend(Consequence::between(Some(&kept.task), &task));
        let before = std::mem::replace(&mut kept.task, Arc::new(task));
        kept.events.extend(events);
        let after = Arc::clone(&kept.task);
        self.count(Some(&before), Some(&after));
        self.settle();
        Ok((value, Arc::clone(&self.tasks[&id].task)))
    }

    /// Applies what the changes so far mean for other tasks.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.settling, true) {
            // Called for such a change itself: the one who began goes on.
            return;
        }
        let now = self.now;
        while let Some(consequence) = self.owed.pop_front() {
            for id in self.concerned(&consequence) {
                let followed = self.change(id, |task| Ok(((), task.follow(&consequence, now))));
                followed.expect("it was just found");
            }
        }
        self.settling = false;
    }

    /// The tasks to which a consequence is to be applied, in the order of creation.
    fn concerned(&self, consequence: &Consequence) -> Vec<TaskId> {
        let is_concerned = |task: &Task| match consequence {
            Consequence::DependencyEnded { dependency, .. } => {
                let edges = &task.spec.after;
                !task.is_finished() && edges.iter().any(|edge| edge.task == *dependency)
            }
            Consequence::ChildEnded { parent, .. } => task.id() == *parent,
            Consequence::ParentStopped { parent, .. } => task.spec.attached_to() == Some(*parent),
        };
        let mut concerned: Vec<_> = self
            .tasks
            .values()
            .map(|kept| &kept.task)
            .filter(|task| is_concerned(task))
            .map(|task| (task.state.sequence, task.id()))
            .collect();
        concerned.sort_unstable();
        concerned.into_iter().map(|(_, id)| id).collect()
    }

    fn under_lease<T>(
        &mut self,
        lease: &Lease,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), LeaseLost>,
    ) -> Result<(T, Arc<Task>)> {
        let lost = || Error::LeaseLost(lease.task);
        self.change(lease.task, |task| verb(task).map_err(|LeaseLost| lost()))
            .map_err(|error| match error {
                Error::NotFound(_) => lost(),
                other => other,
            })
    }

    /// Counts a change of a record and announces the room that it made.
    fn count(&mut self, before: Option<&Task>, after: Option<&Task>) {
        if !self.ledger.changed(before, after, self.now).is_empty() {
            self.notices.push(Notice::Ready);
        }
    }
}
