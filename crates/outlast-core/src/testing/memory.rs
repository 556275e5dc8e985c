//! The memory store: the state machine behind one mutex.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::memory_blobs::MemoryBlobs;
use crate::blob::{BlobWriter, Blobs, RecordedArtifact};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Result};
use crate::event::{Event, RescueReason};
use crate::filter::Kind;
use crate::id::{Owner, TaskId, WorkerId};
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalEntry, JournalKind, Recorded};
use crate::limit::{Control, Controls};
use crate::log::{self, LOG_LIMIT, LogChunk, LogLine, LogPage};
use crate::machine::{
    Answered, AttemptEnd, CancelMode, Cancelled, Consequence, Due, LeaseLost, Ledger, Meant, Named,
    Rescue, Suspended,
};
use crate::schedule::Schedule;
use crate::signal::{NewSignal, Signal};
use crate::status::Phase;
use crate::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, DueDelivery, Filter, FinishReply,
    Notice, NoticeSink, Page, REPLACE_PATIENCE, Reads, Recovered, Report, SchedulePut, Side,
    Signalled, Stats, Store, StoreInfo, SuspendReply, Ticked, ToolVersion, replaced_by,
};
use crate::task::{Awaiting, Lease, NewTask, Task};
use crate::webhook::{DeliveryEnd, Taken};

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

    fn log_append(&mut self, lease: &Lease, lines: Vec<LogLine>, now: Timestamp) -> Result<u64> {
        let kept = self
            .tasks
            .get_mut(&lease.task)
            .filter(|kept| kept.task.holds(lease));
        let kept = kept.ok_or(Error::LeaseLost(lease.task))?;
        for line in lines {
            let LogLine {
                level,
                logger,
                text,
                mark,
            } = line;
            for piece in log::pieces(&text) {
                let offset = kept.log_end;
                kept.log_end += piece.len() as u64;
                kept.log.push(LogChunk {
                    offset,
                    at: now,
                    level,
                    logger: logger.clone(),
                    text: piece.to_vec(),
                });
            }
            kept.mark = mark.or(kept.mark);
        }
        if kept.log_end > LOG_LIMIT {
            let (head, tail) = (LOG_LIMIT / 2, kept.log_end - LOG_LIMIT / 2);
            kept.log
                .retain(|chunk| chunk.offset < head || chunk.end() > tail);
        }
        let end = kept.log_end;
        self.notices.push(Notice::Logged(lease.task));
        Ok(end)
    }

    fn create(
        &mut self,
        task: NewTask,
        claim: Option<ClaimNow>,
        now: Timestamp,
    ) -> Result<Created> {
        if let Some(kept) = self.tasks.get(&task.id) {
            return Ok(Created::again(Arc::clone(&kept.task), claim.as_ref()));
        }
        let meant = self.meant(&task, now)?;
        if let Meant::Task(joined) = meant {
            return Ok(Created::joined(joined));
        }
        let replaced = match meant {
            Meant::Replace(old) => Some(old),
            _ => None,
        };
        let replaces = replaced.as_ref().map(|old| old.id());
        let ended = task.ended_dependencies(replaces, now, |id| {
            Ok::<_, Error>(self.tasks.get(&id).map(|kept| Arc::clone(&kept.task)))
        })?;
        let (mut task, event) = Task::create(Arc::new(task), self.sequence + 1, now);
        let mut events = vec![event];
        for (dependency, status) in ended {
            events.extend(task.dependency_ended(dependency, status, now));
        }
        let by = self.fuses(&task, claim.as_ref(), now);
        // A task that takes another's place in the queue needs no further one.
        let placed = replaced
            .as_ref()
            .is_some_and(|old| old.quota_keys() == task.quota_keys());
        if by.is_none() && !placed {
            self.ledger.check_quotas(&task, now)?;
        }
        if let Some(old) = replaced {
            self.cancel(
                old.id(),
                replaced_by(task.id()),
                CancelMode::Ask(REPLACE_PATIENCE),
                now,
            )?;
        }
        self.sequence += 1;
        let id = task.id();
        self.notices.push(Notice::Changed {
            task: id,
            version: task.state.version,
        });
        self.notices.push(Notice::Due(task.due_at()));
        let task = Arc::new(task);
        self.count(None, Some(&task));
        let kept = Kept {
            task: Arc::clone(&task),
            events,
            journal: Vec::new(),
            signals: Vec::new(),
            log: Vec::new(),
            log_end: 0,
            mark: None,
        };
        self.tasks.insert(id, kept);
        self.remember(&task.spec, id, now);
        self.owed.extend(Consequence::between(None, &task));
        self.settle();
        match by {
            Some(by) => {
                let claimed = self.claim_one(id, by, now)?;
                Ok(Created {
                    task: claimed.task,
                    lease: Some(claimed.lease),
                    joined: false,
                })
            }
            None => {
                if task.state.phase == Phase::Queued {
                    self.notices.push(Notice::Ready);
                }
                Ok(Created {
                    task,
                    lease: None,
                    joined: false,
                })
            }
        }
    }

    /// The entry that is there already under this key.
    fn journaled(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
    ) -> Result<Option<JournalEntry>> {
        let lost = Error::LeaseLost(lease.task);
        let kept = self
            .tasks
            .get(&lease.task)
            .filter(|kept| kept.task.holds(lease));
        let mut journal = kept.ok_or(lost)?.journal.iter();
        let there = journal.find(|entry| entry.kind == kind && entry.name == name);
        if there.is_some_and(|entry| entry.input_hash != input_hash) {
            let (task, name) = (lease.task, name.to_owned());
            return Err(Error::JournalMismatch { task, kind, name });
        }
        Ok(there.cloned())
    }

    /// The first ready task that this worker may take now; suspects only if `suspects`.
    fn first(&self, by: &ClaimBy, suspects: bool, now: Timestamp) -> Option<Arc<Task>> {
        self.tasks
            .values()
            .map(|kept| &kept.task)
            .filter(|task| task.state.phase == Phase::Queued && knows(by, task))
            .filter(|task| suspects || !task.state.suspect)
            .filter(|task| self.ledger.lets_in(task, now))
            .min_by_key(|task| place(task))
            .cloned()
    }

    fn claim(&mut self, by: &ClaimBy, limit: usize, now: Timestamp) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        // Of several suspects only the first may run.
        let mut suspects = by.suspects;
        while claimed.len() < limit
            && let Some(task) = self.first(by, suspects, now)
        {
            suspects &= !task.state.suspect;
            claimed.push(self.claim_one(task.id(), by, now)?);
        }
        Ok(claimed)
    }

    /// What the call means, by its keys. A task that takes over the call has done so then.
    fn meant(&mut self, call: &NewTask, now: Timestamp) -> Result<Meant> {
        if let Some(key) = &call.idempotency
            && let Some(name) = self.named.get(&place_of(call, &key.key))
            && let Some(kept) = self.tasks.get(&name.task)
        {
            let named = Named {
                task: Arc::clone(&kept.task),
                until: name.until,
                digest: name.digest.clone(),
            };
            if let Some(task) = named.meant_by(call, now)? {
                return Ok(Meant::Task(task));
            }
        }
        let Some(same) = &call.same else {
            return Ok(Meant::New);
        };
        let there = self.same.get(&place_of(call, &same.key));
        let Some(there) = there.and_then(|id| self.tasks.get(id)) else {
            return Ok(Meant::New);
        };
        let meant = call.meant(Arc::clone(&there.task));
        let Meant::Task(there) = meant else {
            return Ok(meant);
        };
        let ((), joined) = self.change(there.id(), |task| {
            Ok(((), task.join(call, now).into_iter().collect()))
        })?;
        self.remember(call, joined.id(), now);
        Ok(Meant::Task(joined))
    }

    /// Notes that the keys of `call` mean this task from now on.
    fn remember(&mut self, call: &NewTask, task: TaskId, now: Timestamp) {
        if let Some(key) = &call.idempotency {
            let place = place_of(call, &key.key);
            let fresh = self
                .named
                .get(&place)
                .is_none_or(|named| named.until <= now || !self.tasks.contains_key(&named.task));
            if fresh {
                let named = Name {
                    task,
                    digest: key.digest.clone(),
                    until: now + key.window,
                };
                self.named.insert(place, named);
            }
        }
        if let Some(same) = &call.same {
            self.same.insert(place_of(call, &same.key), task);
        }
    }

    /// Deletes a record. Its names go with it: a task that gets the same id later is another one.
    fn remove(&mut self, id: TaskId) {
        if let Some(kept) = self.tasks.remove(&id) {
            self.count(Some(&kept.task), None);
        }
        self.named.retain(|_, named| named.task != id);
        self.same.retain(|_, task| *task != id);
    }

    fn cancel(
        &mut self,
        id: TaskId,
        reason: Option<String>,
        mode: CancelMode,
        now: Timestamp,
    ) -> Result<(Cancelled, Arc<Task>)> {
        self.change(id, |task| {
            let cancelled = task.cancel(reason, mode, now);
            let events = match &cancelled {
                Cancelled::AlreadyFinished | Cancelled::Requested(None) => Vec::new(),
                Cancelled::Now(event) | Cancelled::Requested(Some(event)) => vec![event.clone()],
            };
            Ok((cancelled, events))
        })
    }

    /// Counts a change of a record and announces the room that it made.
    fn count(&mut self, before: Option<&Task>, after: Option<&Task>) {
        if !self.ledger.changed(before, after, self.now).is_empty() {
            self.notices.push(Notice::Ready);
        }
    }

    /// Whether a task that is about to be written may be claimed with it.
    fn fuses<'a>(
        &self,
        task: &Task,
        claim: Option<&'a ClaimNow>,
        now: Timestamp,
    ) -> Option<&'a ClaimBy> {
        let ready = task.state.phase == Phase::Queued;
        match claim? {
            _ if !ready => None,
            ClaimNow::Running(by) => self.ledger.has_room(task, now).then_some(by),
            ClaimNow::IfNext(by) => {
                let first = self.first(by, by.suspects, now);
                let next = first.is_none_or(|first| place(task) < place(&first));
                (next && knows(by, task) && self.ledger.lets_in(task, now)).then_some(by)
            }
        }
    }

    fn claim_one(&mut self, id: TaskId, by: &ClaimBy, now: Timestamp) -> Result<Claimed> {
        self.nonce += 1;
        let nonce = self.nonce;
        if !self.ledger.start(&self.tasks[&id].task, now).is_empty() {
            let opening = self.ledger.next_opening(now);
            self.notices.extend(opening.map(Notice::Due));
        }
        let (lease, task) = self.change(id, |task| {
            let claimed = task.claim(by.worker, nonce, by.lease, now);
            let (lease, event) = claimed.expect("only queued tasks are ready");
            Ok((lease, vec![event]))
        })?;
        let journal = self.tasks[&id].journal.clone();
        Ok(Claimed {
            task,
            lease,
            journal,
        })
    }
}

/// Where a call's keys are kept apart from those of others.
fn place_of(call: &NewTask, key: &str) -> (Owner, String, String) {
    (call.owner.clone(), call.tool.clone(), key.to_owned())
}

/// The order of claiming: larger priorities first, then the order of creation.
fn place(task: &Task) -> (std::cmp::Reverse<i16>, u64) {
    (std::cmp::Reverse(task.spec.priority), task.state.sequence)
}

fn knows(by: &ClaimBy, task: &Task) -> bool {
    by.tools.contains(&ToolVersion {
        tool: task.spec.tool.clone(),
        version: task.spec.tool_version.clone(),
    })
}

#[async_trait]
impl Store for MemoryStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "memory",
            location: "memory".into(),
            durable: false,
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        assert!(self.sink.set(sink).is_ok(), "a store has one sink");
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        self.unit(|inner, now| {
            let mut running: Vec<_> = inner
                .tasks
                .values()
                .filter(|kept| {
                    kept.task
                        .state
                        .held
                        .as_ref()
                        .is_some_and(|held| held.worker != worker)
                })
                .map(|kept| Arc::clone(&kept.task))
                .collect();
            running.sort_unstable_by_key(|task| task.state.sequence);
            let suspects = running.iter().filter(|task| task.state.suspect).count();
            let mut recovered = Recovered::default();
            for task in &running {
                let rescue =
                    Rescue::after_death(RescueReason::Crash, task, running.len(), suspects);
                let (_, task) =
                    inner.change(task.id(), |task| Ok(((), vec![task.rescue(rescue, now)])))?;
                if task.state.phase == Phase::Finished {
                    recovered.failed += 1;
                } else {
                    recovered.rescued += 1;
                }
            }
            Ok(recovered)
        })
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        self.unit(|inner, now| inner.create(task, claim, now))
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        self.unit(|inner, now| inner.claim(by, limit, now))
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        self.unit(|inner, now| {
            Ok(leases
                .iter()
                .map(|lease| {
                    let renewed = inner.under_lease(lease, |task| {
                        Ok((task.renew(lease, length, now)?, Vec::new()))
                    });
                    match renewed {
                        Ok((true, _)) => BeatReply::Cancelled,
                        Ok((false, _)) => BeatReply::Held,
                        Err(_) => BeatReply::Lost,
                    }
                })
                .collect())
        })
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        let Report {
            progress,
            lines,
            usage,
        } = report;
        self.unit(|inner, now| {
            inner.under_lease(lease, |task| {
                if let Some(usage) = usage {
                    task.used(lease, usage)?;
                }
                let event = progress.map(|progress| task.report(lease, progress, now));
                Ok(((), event.transpose()?.flatten().into_iter().collect()))
            })?;
            if !lines.is_empty() {
                inner.log_append(lease, lines, now)?;
            }
            Ok(())
        })
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
        self.unit(|inner, now| {
            if let Some(entry) = inner.journaled(lease, kind, name, input_hash)? {
                return Ok(entry);
            }
            let entry = JournalEntry {
                kind,
                name: name.to_owned(),
                input_hash,
                recorded,
                at: now,
                took,
            };
            inner.change(lease.task, |task| {
                let event = task
                    .journaled(lease, &entry, now)
                    .map_err(|refused| refused.into_error(lease.task))?;
                Ok(((), event.into_iter().collect()))
            })?;
            let kept = inner.tasks.get_mut(&lease.task).expect("found above");
            kept.journal.push(entry.clone());
            Ok(entry)
        })
    }

    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        mut child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry> {
        self.unit(|inner, now| {
            if let Some(entry) = inner.journaled(lease, JournalKind::Child, name, input_hash)? {
                return Ok(entry);
            }
            let parent = Arc::clone(&inner.tasks[&lease.task].task);
            parent.adopt(lease, &mut child, detached)?;
            if inner.tasks.contains_key(&child.id) {
                return Err(child.id_is_taken());
            }
            let entry = JournalEntry::child(name, input_hash, child.id, now);
            // Whatever can be refused is refused before anything is written.
            Task::clone(&parent).spawn(lease, &child, &entry, now)?;
            let child = inner.create(child, None, now)?.task;
            inner.change(lease.task, |task| {
                Ok(((), task.spawn(lease, &child.spec, &entry, now)?))
            })?;
            let kept = inner.tasks.get_mut(&lease.task).expect("found above");
            kept.journal.push(entry.clone());
            Ok(entry)
        })
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        self.unit(|inner, now| {
            let ((), task) = inner.under_lease(lease, |task| {
                Ok(((), task.ask(lease, questions, now)?.into_iter().collect()))
            })?;
            Ok(task)
        })
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        self.ask_and_suspend(lease, Vec::new(), awaiting).await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        self.unit(|inner, now| {
            let has_ended = |id: &TaskId| {
                let child = inner.tasks.get(id);
                child.is_none_or(|kept| kept.task.is_finished())
            };
            let child_ended = awaiting.children.iter().any(has_ended);
            let (suspended, task) = inner.under_lease(lease, |task| {
                let mut events: Vec<_> = task.ask(lease, questions, now)?.into_iter().collect();
                let suspended = task.suspend(lease, awaiting, child_ended, now)?;
                let waits = match suspended {
                    Suspended::Resolved => false,
                    Suspended::Waiting(event) => {
                        events.push(event);
                        true
                    }
                };
                Ok((waits, events))
            })?;
            Ok(if suspended {
                SuspendReply::Suspended
            } else {
                SuspendReply::Resolved(task)
            })
        })
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        self.unit(|inner, now| {
            let ((), task) = inner.under_lease(lease, |task| {
                Ok(((), task.finish(lease, end, now)?.into_iter().collect()))
            })?;
            let next = match next {
                Some(by) if task.state.held.is_none() => inner.claim(by, 1, now)?.pop(),
                _ => None,
            };
            Ok(FinishReply { task, next })
        })
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        self.unit(|inner, now| {
            let (answered, _) = inner.change(task, |task| {
                let answered = task.answer(answers, now);
                let events = answered.events.clone();
                Ok((answered, events))
            })?;
            Ok(answered)
        })
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        self.unit(|inner, now| {
            signal.check()?;
            let kept = inner.tasks.get(&task).ok_or(Error::NotFound(task))?;
            let same = |old: &&Signal| signal.id.is_some() && old.id == signal.id;
            if let Some(old) = kept.signals.iter().find(same) {
                return Ok(Signalled {
                    number: old.number,
                    repeated: true,
                });
            }
            let (number, _) = inner.change(task, |task| task.signal(&signal.name, now))?;
            let NewSignal { name, id, payload } = signal;
            let kept = inner.tasks.get_mut(&task).expect("found above");
            kept.signals.push(Signal {
                name,
                number,
                id,
                payload,
                at: now,
            });
            Ok(Signalled {
                number,
                repeated: false,
            })
        })
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        self.unit(|inner, now| {
            let (cancelled, task) = inner.cancel(task, reason, mode, now)?;
            Ok(match cancelled {
                Cancelled::AlreadyFinished => CancelReply::AlreadyFinished(task),
                Cancelled::Now(_) => CancelReply::Cancelled(task),
                Cancelled::Requested(_) => CancelReply::Requested(task),
            })
        })
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.unit(|inner, now| {
            let kept = inner.tasks.get(&task).ok_or(Error::NotFound(task))?;
            let finished = kept.task.state.phase == Phase::Finished;
            if finished {
                let parent = kept.task.spec.attached_to();
                let parent = parent.and_then(|parent| inner.tasks.get(&parent));
                let parent = parent.map(|parent| &*parent.task);
                kept.task.check_deletable(parent, now)?;
                let version = kept.task.state.version;
                inner.remove(task);
                inner.notices.push(Notice::Changed { task, version });
            }
            Ok(finished)
        })
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        self.unit(|inner, now| {
            let mut ticked = Ticked {
                now,
                ..Ticked::default()
            };
            let mut due: Vec<_> = inner
                .tasks
                .values()
                .map(|kept| &kept.task)
                .map(|task| (task.due_at(), task.state.sequence, task.id()))
                .filter(|(due_at, ..)| *due_at <= now)
                .collect();
            due.sort_unstable();
            for (.., id) in due.into_iter().take(budget) {
                let (done, task) = inner.change(id, |task| {
                    if let Some(own) = task.lease().filter(|own| alive.contains(own)) {
                        task.renew(&own, length, now).expect("its own lease");
                    }
                    let due = task.due(now);
                    let events = match &due {
                        Due::Changed(events) => events.clone(),
                        Due::Nothing | Due::Delete | Due::Deliver(_) => Vec::new(),
                    };
                    Ok((due, events))
                })?;
                match done {
                    Due::Nothing => {}
                    Due::Changed(_) => ticked.changed += 1,
                    Due::Deliver(taken) => {
                        ticked.deliveries.extend(DueDelivery::all(&task, &taken));
                    }
                    Due::Delete => {
                        let version = task.state.version;
                        inner.remove(id);
                        inner.notices.push(Notice::Changed { task: id, version });
                        ticked.deleted += 1;
                    }
                }
            }
            if !inner.ledger.opened(now).is_empty() {
                inner.notices.push(Notice::Ready);
            }
            inner.ledger.forget_past(now);
            let due = inner.tasks.values().map(|kept| kept.task.due_at()).min();
            let mut next = due.into_iter().chain(inner.ledger.next_opening(now)).min();
            let mut schedules: Vec<_> = inner
                .schedules
                .values()
                .filter_map(|schedule| Some((schedule.due_at()?, schedule)))
                .collect();
            schedules.sort_unstable_by_key(|(due_at, schedule)| (*due_at, &schedule.spec.name));
            for (due_at, schedule) in schedules {
                if due_at > now {
                    next = Some(next.map_or(due_at, |next| next.min(due_at)));
                } else if ticked.schedules.len() < budget {
                    ticked.schedules.push(schedule.clone());
                }
            }
            ticked.next = next;
            Ok(ticked)
        })
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        self.unit(|inner, now| {
            if !inner.tasks.contains_key(&task) {
                return Ok(false);
            }
            let (put, _) = inner.change(task, |task| {
                Ok((task.delivery_ended(taken, end, now), Vec::new()))
            })?;
            Ok(put)
        })
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        mut schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        self.unit(|inner, now| {
            let there = inner.schedules.get(&schedule.spec.name);
            if there.map(|there| there.state.version) != expected {
                return Ok(SchedulePut::Stale(there.cloned()));
            }
            if there.is_none() {
                Schedule::check_number(inner.schedules.len())?;
            }
            let wanted = task.as_ref().map(|task| task.id);
            let created = task.map(|task| inner.create(task, None, now)).transpose()?;
            if let (Some(wanted), Some(created)) = (wanted, &created) {
                schedule.joined(wanted, created.task.id());
            }
            inner.notices.extend(schedule.due_at().map(Notice::Due));
            let name = schedule.spec.name.clone();
            inner.schedules.insert(name, schedule.clone());
            Ok(SchedulePut::Done { schedule, created })
        })
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        self.unit(|inner, _| Ok(inner.schedules.remove(name).is_some()))
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.unit(|inner, now| {
            let mut controls = inner.ledger.controls().clone();
            for change in changes {
                controls.apply(change);
            }
            inner.ledger.set_controls(controls.clone(), now);
            inner.notices.extend([Notice::Ready, Notice::Due(now)]);
            Ok(controls)
        })
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed = true;
        Ok(())
    }
}

#[async_trait]
impl Reads for MemoryStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.unit(|inner, now| {
            let kept = inner.tasks.get(&task);
            Ok(kept
                .map(|kept| Arc::clone(&kept.task))
                .filter(|task| !task.is_expired(now)))
        })
    }

    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<Page> {
        self.unit(|inner, now| {
            let mut tasks: Vec<_> = inner
                .tasks
                .values()
                .map(|kept| &kept.task)
                .filter(|task| filter.matches(task))
                .filter(|task| {
                    cursor.is_none_or(|cursor| match filter.oldest_first {
                        true => task.state.sequence > cursor,
                        false => task.state.sequence < cursor,
                    })
                })
                .filter(|task| !task.is_expired(now))
                .cloned()
                .collect();
            tasks.sort_unstable_by_key(|task| task.state.sequence);
            if !filter.oldest_first {
                tasks.reverse();
            }
            let more = tasks.len() > limit;
            tasks.truncate(limit);
            let next = tasks
                .last()
                .map(|task| task.state.sequence)
                .filter(|_| more);
            Ok(Page { tasks, next })
        })
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.unit(|inner, _| {
            let events = inner.tasks.get(&task).map(|kept| kept.events.as_slice());
            let later = events
                .unwrap_or_default()
                .iter()
                .filter(|event| event.number > after);
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.unit(|inner, _| {
            Ok(inner
                .tasks
                .get(&task)
                .map(|kept| kept.journal.clone())
                .unwrap_or_default())
        })
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let mut entries = self.journal(task).await?;
        entries.retain(|entry| entry.kind == kind && entry.name.as_str() > after);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.truncate(limit);
        Ok(entries)
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        let entries = self.journal(task).await?;
        let mut entries = entries.into_iter();
        Ok(entries.find(|entry| entry.kind == kind && entry.name == name))
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        self.unit(|inner, _| {
            let signals = inner.tasks.get(&task).map(|kept| kept.signals.as_slice());
            let later = signals
                .unwrap_or_default()
                .iter()
                .filter(|signal| signal.name == name && signal.number > after);
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.unit(|inner, _| {
            let Some(kept) = inner.tasks.get(&task) else {
                return Ok(LogPage::default());
            };
            let mut page = LogPage {
                next: offset,
                end: kept.log_end,
                mark: kept.mark,
                ..LogPage::default()
            };
            let mut bytes = 0;
            for chunk in kept.log.iter().filter(|chunk| chunk.end() > offset) {
                if bytes >= limit && !page.chunks.is_empty() {
                    break;
                }
                let mut chunk = chunk.clone();
                if chunk.offset < offset {
                    let skipped = usize::try_from(offset - chunk.offset).expect("within the chunk");
                    chunk.text.drain(..skipped);
                    chunk.offset = offset;
                }
                bytes += chunk.text.len();
                page.next = chunk.end();
                page.chunks.push(chunk);
            }
            Ok(page)
        })
    }

    async fn controls(&self) -> Result<Controls> {
        self.unit(|inner, _| Ok(inner.ledger.controls().clone()))
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        self.unit(|inner, _| Ok(inner.schedules.get(name).cloned()))
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.unit(|inner, _| Ok(inner.schedules.values().cloned().collect()))
    }

    async fn stats(&self) -> Result<Stats> {
        self.unit(|inner, _| {
            let mut stats = Stats::default();
            for kept in inner.tasks.values() {
                *stats.counts.entry(Kind::of(&kept.task)).or_default() += 1;
            }
            Ok(stats)
        })
    }
}

#[async_trait]
impl Blobs for MemoryStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        self.unit(|_, _| Ok(self.blobs.create(task)))
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.unit(|inner, _| {
            // Blobs go with their tasks.
            self.blobs.retain(|task, _| inner.tasks.contains_key(&task));
            Ok(self.blobs.read(task, blob, offset, limit))
        })
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        self.unit(|_, _| {
            self.blobs.remove(task, blob);
            Ok(())
        })
    }
}

#[async_trait]
impl Side for MemoryStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        self.unit(|inner, now| inner.log_append(lease, lines, now))
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        self.unit(|inner, _| {
            inner
                .records
                .insert((space.into(), key.into()), (value, expires_at));
            Ok(())
        })
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        self.unit(|inner, now| {
            let key = (space.to_owned(), key.to_owned());
            let expired = |expires_at: Option<Timestamp>| expires_at.is_some_and(|at| at <= now);
            if inner
                .records
                .get(&key)
                .is_some_and(|record| expired(record.1))
            {
                inner.records.remove(&key);
            }
            Ok(inner.records.entry(key).or_insert((value, None)).0.clone())
        })
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.unit(|inner, now| {
            let record = inner.records.get(&(space.into(), key.into()));
            Ok(record
                .filter(|(_, expires_at)| expires_at.is_none_or(|expires_at| expires_at > now))
                .map(|(value, _)| value.clone()))
        })
    }
}
