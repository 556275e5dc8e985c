//! What a store must do: three traits, each method one atomic unit.
//!
//! * [`Store`] changes tasks. Every change goes through a verb of [`crate::machine`]: the store loads
//!   the record, applies the verb with the time of its own clock read once in that unit, and writes
//!   record and events together, or nothing at all.
//! * [`Reads`] only looks.
//! * [`Side`] keeps what belongs to tasks but is not part of their state: logs and small records.
//!
//! Rules for every implementation:
//!
//! * A method that returned `Ok` has made its change durable as far as [`StoreInfo::durable`]
//!   promises. A method that returned `Err` has changed nothing, with one exception: after
//!   [`crate::Error::Store`] the outcome may be unknown, and every method is safe to call again.
//! * A write that carries a [`Lease`] succeeds only if the task runs under it, also for logs (I1).
//! * After the commit, and never before, the store tells its [`NoticeSink`]. Notices are hints: they
//!   may be lost and repeated, and every reader reads the state again.
//! * All methods may be called from any thread and dropped at any await: a dropped call either
//!   happens as a whole or not at all, and leases that it would have returned are handed back, for
//!   nobody could use them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::blob::Blobs;
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::event::{Event, RescueReason};
pub use crate::filter::{Filter, Page, Stats};
use crate::id::{Owner, TaskId, WorkerId};
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalEntry, JournalKind, Recorded};
use crate::limit::{Control, Controls};
use crate::log::{LogLine, LogPage};
use crate::machine::{Answered, AttemptEnd, CancelMode};
use crate::no_worker::Missing;
use crate::progress::Progress;
use crate::schedule::Schedule;
use crate::signal::{NewSignal, Signal};
use crate::status::Phase;
use crate::task::{Awaiting, Lease, NewTask, Task, TaskSpec};
use crate::usage::Usage;
use crate::webhook::{DeliveryEnd, Taken};
use crate::worker::WorkerSign;

/// What a store promises about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StoreInfo {
    /// `sqlite`, `redis`, `memory`.
    pub kind: &'static str,
    /// Where it is, without secrets.
    pub location: String,
    /// Whether an acknowledged write survives `kill -9` of the process at any instruction.
    pub durable: bool,
    /// Among how many parts the owners are divided. What holds for several owners at once, such as a limit
    /// over all of them, holds in a store of one part alone.
    #[serde(skip_serializing_if = "is_whole")]
    pub shards: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde wants"
)]
fn is_whole(shards: &usize) -> bool {
    *shards == 1
}

/// A hint that something happened, given after the commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The task has reached at least this version, or was deleted.
    Changed {
        /// The task.
        task: TaskId,
        /// Its version.
        version: u64,
    },
    /// The task's log has grown.
    Logged(TaskId),
    /// The running task is to stop, or has been taken from its worker.
    Stop(TaskId),
    /// A task became ready to be claimed.
    Ready,
    /// The earliest [`Task::due_at`] may have moved forward to this moment.
    Due(Timestamp),
    /// Notices of other processes may have been lost: whoever waits for anything looks again.
    Missed,
    /// The store has lost everything under those at work on it, and holds nothing of what was declared to it:
    /// rules, pauses, schedules. Only from a store that others can empty.
    Emptied,
}

impl Notice {
    /// What the change of a record from `before` to `after` is announced as: the same in every store.
    pub fn between(before: &Task, after: &Task) -> Vec<Self> {
        let task = after.id();
        let mut notices = Vec::new();
        if after.state.version != before.state.version {
            notices.push(Self::Changed {
                task,
                version: after.state.version,
            });
        }
        let stops = after.state.cancel.is_some() && before.state.cancel.is_none();
        // A worker that lets go by itself keeps the epoch; taking a task from it moves the epoch on.
        let taken = before.state.held.is_some() && after.state.epoch != before.state.epoch;
        if stops || taken {
            notices.push(Self::Stop(task));
        }
        if after.state.phase == Phase::Queued && before.state.phase != Phase::Queued {
            notices.push(Self::Ready);
        }
        if after.due_at() < before.due_at() {
            notices.push(Self::Due(after.due_at()));
        }
        notices
    }
}

/// How long a task that is replaced by a later call may take to stop.
pub const REPLACE_PATIENCE: Duration = Duration::from_secs(30);

/// What a task that was replaced by `newer` is cancelled with.
pub fn replaced_by(newer: TaskId) -> Option<String> {
    Some(format!("replaced by task {newer}"))
}

/// Where a store sends its notices.
pub trait NoticeSink: Send + Sync + 'static {
    /// Takes a notice. Called by a thread of the store, or by one that has just changed something: must
    /// neither block nor wait for the store.
    fn notice(&self, notice: Notice);
}

/// The version of a tool that a worker can run: name and version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ToolVersion {
    /// The tool's name.
    pub tool: String,
    /// Its version.
    pub version: String,
}

impl ToolVersion {
    /// What a task needs a worker to run.
    pub fn of(spec: &TaskSpec) -> Self {
        Self {
            tool: spec.tool.clone(),
            version: spec.tool_version.clone(),
        }
    }
}

/// Who claims, and on what terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimBy {
    /// The worker.
    pub worker: WorkerId,
    /// The tools it knows. It leaves every other task alone.
    pub tools: Arc<BTreeSet<ToolVersion>>,
    /// How long the lease runs before it must be renewed.
    pub lease: Duration,
    /// Whether it has room for a task that may have crashed a process: [`crate::task::TaskState::suspect`].
    pub suspects: bool,
}

/// A task that was given to a worker, with everything that it needs to go on.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The record, running.
    pub task: Arc<Task>,
    /// The right to run it.
    pub lease: Lease,
    /// Everything recorded so far.
    pub journal: Vec<JournalEntry>,
}

/// When a task that is being created may be claimed in the same unit (fusing).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClaimNow {
    /// Only if it would be the next one for this worker anyway: it is due, and no ready task that
    /// this worker could take stands before it.
    IfNext(ClaimBy),
    /// In any case: the task is already running in memory and is only now written down.
    Running(ClaimBy),
}

/// What came of a creation.
#[derive(Clone, Debug)]
pub struct Created {
    /// The record.
    pub task: Arc<Task>,
    /// The lease, if it was claimed at once.
    pub lease: Option<Lease>,
    /// The call made no task of its own: this is the one of an earlier call that means the same
    /// ([`crate::same`]).
    pub joined: bool,
}

impl Created {
    /// The reply to a call that means an earlier one's task.
    pub fn joined(task: Arc<Task>) -> Self {
        Self {
            task,
            lease: None,
            joined: true,
        }
    }

    /// The reply to a creation whose task was there already. The lease is given back only to the
    /// worker that holds it, so that one whose reply got lost may repeat itself. It must still look
    /// whether it runs the task already: it may have claimed it in the meantime.
    pub fn again(task: Arc<Task>, claim: Option<&ClaimNow>) -> Self {
        let asks = claim.map(|claim| match claim {
            ClaimNow::IfNext(by) | ClaimNow::Running(by) => by.worker,
        });
        let holds = task.state.held.as_ref().map(|held| held.worker);
        let lease = task.lease().filter(|_| holds == asks);
        Self {
            task,
            lease,
            joined: false,
        }
    }
}

/// What a renewal says to the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeatReply {
    /// Go on.
    Held,
    /// Go on, but stop soon: the task is being cancelled.
    Cancelled,
    /// Stop now: the lease is lost and nothing more can be written.
    Lost,
    /// Not renewed: the part of the store that has the task did not answer. The lease runs as long as it did.
    Unknown,
}

/// What came of a suspension.
#[derive(Clone, Debug)]
pub enum SuspendReply {
    /// What was to be waited for has already happened. The lease still holds; the record carries
    /// the answers.
    Resolved(Arc<Task>),
    /// The task waits; the lease is gone.
    Suspended,
}

/// What came of a signal.
#[derive(Clone, PartialEq, Debug)]
pub struct Signalled {
    /// Its place among those of the same name.
    pub number: u64,
    /// A signal with the same id had come before; this one changed nothing.
    pub repeated: bool,
}

/// What came of a cancel.
#[derive(Clone, Debug)]
pub enum CancelReply {
    /// It had ended before, and stays as it was.
    AlreadyFinished(Arc<Task>),
    /// It is cancelled.
    Cancelled(Arc<Task>),
    /// It is being stopped.
    Requested(Arc<Task>),
}

/// What an attempt reports since the last time, in one unit: all of it is stored or nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Progress, if it has changed.
    pub progress: Option<Progress>,
    /// Lines for the log, as [`Side::log_append`] takes them.
    pub lines: Vec<LogLine>,
    /// What the attempt has used up so far, in all its entries.
    pub usage: Option<Usage>,
}

impl From<Progress> for Report {
    fn from(progress: Progress) -> Self {
        Self {
            progress: Some(progress),
            ..Self::default()
        }
    }
}

/// What came of the end of an attempt.
#[derive(Clone, Debug)]
pub struct FinishReply {
    /// The record after it.
    pub task: Arc<Task>,
    /// A task claimed in the same unit, if one was asked for and there was one.
    pub next: Option<Claimed>,
}

/// What a tick did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ticked {
    /// The time by which it looked.
    pub now: Timestamp,
    /// Tasks whose time came.
    pub changed: usize,
    /// Records deleted at the end of their retention.
    pub deleted: usize,
    /// All schedules whose time has come, the first that was due first, whatever the budget: those that nobody
    /// here can fire must not stand before the others. A tick does not change them: whoever knows their tools fires them,
    /// by [`Store::schedule_put`], and until then they are in every tick.
    pub schedules: Vec<Schedule>,
    /// What is to be told to webhooks, handed out to the caller: nobody else gets it for
    /// [`crate::webhook::IN_FLIGHT`].
    pub deliveries: Vec<DueDelivery>,
    /// The next moment at which something is due, if there is one; without the schedules above.
    pub next: Option<Timestamp>,
}

/// A delivery that was handed out.
#[derive(Clone, PartialEq, Debug)]
pub struct DueDelivery {
    /// The record. It may be past its retention: it is kept until everything is told.
    pub task: Arc<Task>,
    /// Which of its deliveries.
    pub taken: Taken,
}

impl DueDelivery {
    /// All that was handed out of one record.
    pub fn all(task: &Arc<Task>, taken: &[Taken]) -> Vec<Self> {
        let one = |taken: &Taken| Self {
            task: Arc::clone(task),
            taken: *taken,
        };
        taken.iter().map(one).collect()
    }
}

/// What came of writing a schedule.
#[derive(Clone, Debug)]
pub enum SchedulePut {
    /// It is written, and its task created, if there was one to be.
    Done {
        /// The record as it is now.
        schedule: Schedule,
        /// The task.
        created: Option<Created>,
    },
    /// Somebody changed it before; nothing was written. The record there now, if there is one.
    Stale(Option<Schedule>),
}

/// What was left behind by the process that had the store before this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Tasks that ran and are ready again.
    pub rescued: usize,
    /// Tasks that had crashed too often and have failed.
    pub failed: usize,
}

/// Changes of tasks.
#[async_trait]
pub trait Store: Reads + Side + Blobs {
    /// What this store promises.
    fn info(&self) -> StoreInfo;

    /// The store's clock: the one whose reading each unit passes to the state machine.
    fn clock(&self) -> Arc<dyn Clock>;

    /// An id for a task of `owner`: unguessable and unique, and one by which this store finds the task at
    /// once. A task with any other id is found too.
    fn new_id(&self, owner: &Owner) -> TaskId {
        let _ = owner;
        TaskId::random()
    }

    /// Sends all later notices to `sink`. Called once, before anything else.
    fn subscribe(&self, sink: Arc<dyn NoticeSink>);

    /// Takes back every task that runs under a worker that cannot be alive. A store that serves one
    /// process at a time knows at start that all of them are; one for many processes takes back
    /// expired leases only. Called once, before the first claim of `worker`.
    ///
    /// A crash counts against a task only if that task alone can have caused it: it was the only one
    /// running, or the only suspect.
    async fn recover(&self, worker: WorkerId) -> Result<Recovered>;

    /// Writes a new task with its first event, and claims it in the same unit if `claim` allows.
    ///
    /// Repeating a creation with the same id returns the task as it is: see [`Created::again`]. With
    /// [`ClaimNow::Running`] a task whose `run_at` lies ahead, or for which a limit or a rate has no room,
    /// is created unclaimed all the same.
    ///
    /// Whether the call means a task that is there already is decided first, in the same unit: see
    /// [`crate::same`].
    ///
    /// # Errors
    /// [`crate::Error::KeyReused`]. [`crate::Error::QueueFull`] if the task would have to wait where only so many may. Otherwise
    /// [`crate::Error::Store`] only; the arguments have been checked before.
    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created>;

    /// Gives up to `limit` ready tasks to a worker, in the order of priority (larger first), then
    /// creation (I4), passing over those for which a limit, a rate or a paused queue has no room (I3).
    /// A task that is passed over stays `queued` and is claimed as soon as there is room (I5); the
    /// store announces [`Notice::Ready`] then. In a store of several parts ([`StoreInfo::shards`]) the
    /// order is that of each part.
    ///
    /// Fewer than `limit` are all that there were. If these are `limit` and there are more, this process is told
    /// so by [`Notice::Ready`]. So whoever asks again before the next such notice asks in vain.
    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>>;

    /// Renews leases to `length` from now; one reply for each, in order. Never fails for a single one:
    /// [`BeatReply::Unknown`].
    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>>;

    /// Records what a running attempt reports.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn report(&self, lease: &Lease, report: Report) -> Result<()>;

    /// Records a journal entry, once (I8): if one with the same kind and name is there, it is
    /// returned and the new one forgotten. A new entry ends the count of crashes. `took` is
    /// [`JournalEntry::took`].
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`]; [`crate::Error::JournalMismatch`] if the entry that is there has
    /// another input hash; [`crate::Error::JournalFull`] if one of the limits in
    /// [`crate::journal`] would be exceeded; [`crate::Error::Invalid`] if it is a label that the task may
    /// not have ([`crate::label`]).
    async fn journal_put(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
        recorded: Recorded,
        took: Option<Duration>,
    ) -> Result<JournalEntry>;

    /// Creates a task as a child of the one that runs under `lease`, and records its id in that one's
    /// journal under the kind [`JournalKind::Child`] and `name`, in one unit. If the entry is there
    /// already, it is returned and nothing is created. The child gets its parent's owner.
    ///
    /// # Errors
    /// As [`Store::journal_put`] and [`Store::create`]; [`crate::Error::Invalid`] if the child would
    /// stand deeper than [`crate::machine::MAX_DEPTH`] or be one of more than
    /// [`crate::machine::MAX_CHILDREN`].
    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry>;

    /// Asks questions without giving up the worker. Returns the record, which carries the answers
    /// of questions that were asked before.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>>;

    /// Gives up the worker until something of `awaiting` happens, unless it already has.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply>;

    /// [`Store::ask`] and [`Store::suspend`] in one unit: whoever sees the questions sees a task that
    /// holds no worker, unless something of `awaiting` has happened already. So a task that may not be
    /// repeated is never found running with nothing left to do but wait.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply>;

    /// Ends an attempt, and claims the next task in the same unit if `next` is given. The same end
    /// may be reported twice.
    ///
    /// A task that has to be undone stays with its worker, which gets no next one: the record in the
    /// reply holds the lease for that ([`Task::lease`]).
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply>;

    /// Takes answers to questions. Keys that are not open are ignored and reported.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`].
    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered>;

    /// Keeps a signal for a task behind all that came before it. One with an id that came before
    /// changes nothing, also when the task has ended since.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::Finished`] if the task has ended;
    /// [`crate::Error::Invalid`] if the signal or their number exceeds a limit of [`crate::signal`].
    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled>;

    /// Cancels a task. Repeating it is harmless.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`].
    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply>;

    /// Deletes a finished task with everything that belongs to it. `false` if it has not ended, or has
    /// undos that still have to run.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`]; [`crate::Error::Invalid`] if it is an attached child of a task that
    /// has not ended.
    async fn delete(&self, task: TaskId) -> Result<bool>;

    /// Does what is due now, for at most `budget` tasks (of each part of a store that has several), one at
    /// least: timers, deadlines, expired leases, the end of retention. Any process may call it; it is
    /// idempotent.
    ///
    /// `alive` names the leases under which the caller really runs something: if one of them has
    /// expired it is renewed by `length` rather than taken back, for a process must not rescue its own
    /// work. A lease that was given and never arrived is not among them, and expires.
    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked>;

    /// Notes on those of `tasks` that are ready whether a living worker runs their tool: `None` says that one
    /// does. See [`Task::note_no_worker`]. Returns how many changed; those that are gone are passed over.
    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize>;

    /// Records what came of a delivery that a tick handed out: [`Task::delivery_ended`]. `false`, with nothing
    /// changed, if it has been handed out again since, is settled, or its task was deleted.
    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool>;

    /// Writes a schedule and creates `task`, if there is one, in one unit, if the record there has the
    /// version `expected`; `None`: if there is no such schedule. This is how schedules are made, changed
    /// and fired. The task is created as by [`Store::create`] without a claim. If it turns out to be one
    /// that is there already, the record is written with that one's id ([`Schedule::joined`]).
    ///
    /// The store announces [`Notice::Due`] for the moment at which the schedule is due then.
    ///
    /// # Errors
    /// As [`Store::create`]; then the schedule is as it was. [`crate::Error::Invalid`] if it would be one
    /// of more than [`crate::schedule::MAX_SCHEDULES`].
    async fn schedule_put(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut>;

    /// Removes a schedule; its tasks stay. `false` if there is none of this name.
    async fn schedule_delete(&self, name: &str) -> Result<bool>;

    /// Changes rules and pauses, together, and returns what holds then. They hold for tasks that wait
    /// already; tasks that run go on.
    async fn control(&self, changes: Vec<Control>) -> Result<Controls>;

    /// Shows others that a worker lives, until [`WorkerSign::until`]; one that is past says that it goes. A
    /// store that one process has for itself keeps nothing: there are no others.
    async fn worker_put(&self, sign: WorkerSign) -> Result<()> {
        let _ = sign;
        Ok(())
    }

    /// Waits until every write accepted so far is durable, and closes the store. Later calls fail.
    async fn close(&self) -> Result<()>;
}

/// Looks at tasks. Every method sees all changes acknowledged before it was called.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// The record, with its outcome. `None` if it was never created, was deleted, or is past its
    /// [`crate::task::TaskState::expire_at`].
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>>;

    /// The tasks that match, the latest created first, below the sequence `cursor`, at most `limit`; with
    /// [`Filter::oldest_first`] the other way round, above it. There may be fewer although there are
    /// more: see [`Page::next`].
    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<Page>;

    /// The tool versions of which tasks stand ready to be claimed, whatever the number of tasks: a question
    /// for every few seconds.
    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>>;

    /// At most `limit` of the tasks of `version` that stand ready to be claimed, after the first `skip`, in an
    /// order that stays the same as long as they do.
    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>>;

    /// The events with numbers above `after`, in order, at most `limit`. Empty for an unknown task.
    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>>;

    /// Everything recorded for the task, in the order of recording.
    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>>;

    /// A part of [`Reads::journal`]: at most `limit` entries after the first `skip`. Stores that can read them
    /// without the others do.
    async fn journal_slice(
        &self,
        task: TaskId,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let all = self.journal(task).await?.into_iter();
        Ok(all.skip(skip).take(limit).collect())
    }

    /// The entries of one kind with names above `after`, in the order of their names, at most `limit`.
    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>>;

    /// The entry of this kind and name.
    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>>;

    /// The task's signals under `name` with numbers above `after`, in order, at most `limit`.
    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>>;

    /// The log from `offset`, at most about `limit` bytes and at least one chunk if there is one.
    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage>;

    /// The rules and pauses.
    async fn controls(&self) -> Result<Controls>;

    /// The schedule of this name.
    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>>;

    /// All schedules, in the order of their names.
    async fn schedules(&self) -> Result<Vec<Schedule>>;

    /// The workers that have shown themselves to this store and are alive, in the order of their beginning;
    /// none where [`Store::worker_put`] keeps nothing.
    async fn workers(&self) -> Result<Vec<WorkerSign>> {
        Ok(Vec::new())
    }

    /// Counts.
    async fn stats(&self) -> Result<Stats>;
}

/// Keeps what belongs to tasks and to the server but is no part of a task's state.
#[async_trait]
pub trait Side: Send + Sync + 'static {
    /// Appends lines to the task's log and returns where it ends then. Not an event.
    ///
    /// # Errors
    /// [`crate::Error::LeaseLost`].
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64>;

    /// Puts a small record under (space, key), replacing what is there, until `expires_at`.
    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()>;

    /// Puts a small record unless one is there; returns the one that is there then.
    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>>;

    /// The record under (space, key), unless it has expired.
    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>>;
}

/// The cause a store of one process gives to the tasks it finds running at its start.
pub fn cause_at_start(same_boot: bool) -> RescueReason {
    if same_boot {
        RescueReason::Crash
    } else {
        RescueReason::Reboot
    }
}
