//! The record of a task: what was asked ([`TaskSpec`]) and what has become of it ([`Task`]).
//!
//! What the handler gets of the specification does not change once the task has started; it is shared,
//! not copied. Everything that moves stands in [`Task`] and is changed by the verbs of
//! [`crate::machine`] alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{Owner, TaskId, WorkerId};
use crate::input::Input;
use crate::journal::JournalSize;
use crate::json::RawJson;
use crate::limit::Keys;
use crate::machine::{Blocker, Children, Dependency, Parent};
use crate::no_worker::NoWorker;
use crate::outcome::Outcome;
use crate::progress::{Progress, about};
use crate::same::{IdempotencyKey, Same};
use crate::status::{Era, Phase, Standing, TaskStatus};
use crate::undo::Cleanup;
use crate::usage::AttemptUsage;
use crate::webhook::{Delivery, Webhook};

/// How long a finished task is kept where nothing else is said.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest that people may ask a finished task to be kept: whoever waits for a result, or polls for it,
/// must have the time to fetch it.
pub const MIN_RETENTION: Duration = Duration::from_secs(1);

/// The longest a finished task is kept, whatever a client asks for.
pub const MAX_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How old a task may grow before it must have ended, where nothing else is said.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many crashes in a row, without a new journal entry between them, end a task.
pub const DEFAULT_MAX_CRASHES: u32 = 3;

/// What was asked for. Written once, except that a task may take in a later call that means the same
/// work ([`Task::join`]), that a child learns the end of its parent ([`Parent::until`]), and that a handler
/// may label its task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task's name.
    pub id: TaskId,
    /// The tool to run.
    pub tool: String,
    /// The version of the tool that was asked for.
    pub tool_version: String,
    /// The arguments, a JSON object.
    pub arguments: RawJson,
    /// What was secret in the arguments, sealed under a key that is not in the store; dots stand in its
    /// place there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// The call whose secrets these are, if the task has taken over a later one's: they were sealed for
    /// the task that it would have made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_for: Option<TaskId>,
    /// Whom it belongs to.
    pub owner: Owner,
    /// Who called: the client's name, version and capabilities as it declared them. Later questions
    /// are gated by these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<RawJson>,
    /// The call's `_meta`, as it came; without transport headers, so without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_meta: Option<RawJson>,
    /// Where progress of this task is to be sent besides the record: the older era's session and
    /// progress token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<ReplyTo>,
    /// Answers that were collected before the task existed, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub first_answers: BTreeMap<String, RawJson>,
    /// Larger runs earlier; first in, first out inside one priority.
    #[serde(default)]
    pub priority: i16,
    /// Not before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Not before these tasks have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Dependency>,
    /// The caller's name for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyKey>,
    /// Which calls mean the same work, and what then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<Same>,
    /// What limits apply to it.
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub keys: Keys,
    /// The task that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The task whose call it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TaskId>,
    /// How long the caller asked to be able to read the task, from its creation. A floor, never a
    /// deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// How long the finished task is kept.
    pub retention: Duration,
    /// How old it may grow before it must have ended, counted from its creation or, if that is later,
    /// from its `run_at`.
    pub max_age: Duration,
    /// How long it may stand ready without being started for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Duration>,
    /// For how long no living worker may run its tool until it fails: [`crate::no_worker`]. Without it, it
    /// waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worker_timeout: Option<Duration>,
    /// How long earlier runs of the tool took, where that is known: the median. An estimate for a
    /// task that reports no progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<Duration>,
    /// How many crashes in a row end it. [`u32::MAX`] says that it cannot be what killed its process, for its
    /// work is done in others: then no crash counts against it, and it is never a suspect.
    pub max_crashes: u32,
    /// Whether an attempt that was interrupted may be made again.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub repeatable: bool,
    /// The key of a question before whose answer the tool does nothing: as long as it is not answered, an
    /// attempt may be made again whatever `repeatable` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
    /// Where its handler began work that outlives it, if that was before there was a record: in the
    /// handler's own words. Later it is in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<String>,
    /// Free words to find it by: [`crate::label`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who is told over HTTP of what becomes of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook>,
}

/// The older era's return address for progress notifications.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplyTo {
    /// The session that holds the token.
    pub session: String,
    /// The token, a string or a number.
    pub progress_token: Option<RawJson>,
}

/// A task to be created: a [`TaskSpec`] and nothing more, for the store adds the time and the order.
pub type NewTask = TaskSpec;

impl TaskSpec {
    /// A specification with the defaults of this crate.
    pub fn new(tool: impl Into<String>, arguments: RawJson) -> Self {
        Self {
            id: TaskId::random(),
            tool: tool.into(),
            tool_version: "1".into(),
            arguments,
            sealed: None,
            sealed_for: None,
            owner: Owner::local(),
            client: None,
            request_meta: None,
            reply_to: None,
            first_answers: BTreeMap::new(),
            priority: 0,
            run_at: None,
            after: Vec::new(),
            idempotency: None,
            same: None,
            parent: None,
            retry_of: None,
            keys: Keys::default(),
            ttl: None,
            retention: DEFAULT_RETENTION,
            max_age: DEFAULT_MAX_AGE,
            queue_timeout: None,
            no_worker_timeout: None,
            usual: None,
            max_crashes: DEFAULT_MAX_CRASHES,
            repeatable: true,
            confirmed_by: None,
            begun_at: None,
            labels: BTreeMap::new(),
            webhooks: Vec::new(),
        }
    }
}

/// The expiring, fenced right to run one task. Every write on behalf of an attempt carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Lease {
    /// The task.
    pub task: TaskId,
    /// Counts the leases and forced takeovers of the task.
    pub epoch: u64,
    /// Random, so that not even a store that lost its last writes can mistake one lease for another.
    pub nonce: u64,
}

/// Who holds a running task, and until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The worker.
    pub worker: WorkerId,
    /// See [`Lease::nonce`].
    pub nonce: u64,
    /// The rescuer takes the task back at this moment unless the lease is renewed before.
    pub until: Timestamp,
}

/// A request to stop a running task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CancelRequest {
    /// What the one who cancelled gave as the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the task is written off as cancelled even if its worker has not answered.
    pub deadline: Timestamp,
}

/// What a suspended task waits for. Any one of it wakes the task.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Awaiting {
    /// Keys of questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Names of signals, with how many of each have been read: the next one is waited for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, u64>,
    /// Children that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TaskId>,
    /// A timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The whole record of a task.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// What was asked for.
    pub spec: Arc<TaskSpec>,
    /// Everything that changes, except the outcome.
    pub state: TaskState,
    /// How it ended. `Some` in [`Phase::Finished`], and in the phases before it while undos have to
    /// run.
    pub outcome: Option<Arc<Outcome>>,
}

/// The changing part of a record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TaskState {
    /// Where it stands.
    pub phase: Phase,
    /// Counts visible changes; the number of the last event.
    pub version: u64,
    /// The order of creation in this store. Kept by every resume and promotion.
    pub sequence: u64,
    /// Counts leases and forced takeovers.
    pub epoch: u64,
    /// `Some` exactly in [`Phase::Running`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The nonce of the lease under which the task ended, so that the end may be reported twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<u64>,
    /// Attempts begun. An attempt that was suspended and goes on is the same one.
    pub attempt: u32,
    /// Attempts that ended with an error and were followed by another.
    #[serde(default)]
    pub errors: u32,
    /// Crashes since the last new journal entry.
    #[serde(default)]
    pub crashes: u32,
    /// Its process has died while it ran, and it has recorded nothing since.
    #[serde(default)]
    pub shaken: bool,
    /// It went down in two crashes in a row, or alone in one: it must run without another suspect beside it
    /// until it is cleared. One crash says nothing of the tasks that ran: most are somebody's `kill -9`, or
    /// a lack of memory, and to run them one at a time after it would hold them all up for nothing.
    #[serde(default)]
    pub suspect: bool,
    /// Its handler has recorded that it begins what outlives it ([`crate::JournalKind::Begun`]), so something
    /// of it may be at work although nobody holds it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
    /// The next claim goes on with the attempt instead of counting a new one.
    #[serde(default)]
    pub resuming: bool,
    /// It was suspended and has not been claimed since: it still holds those of its limit keys that are
    /// held while suspended.
    #[serde(default)]
    pub keeps_keys: bool,
    /// It holds all its limit keys although it does not run: for a worker from which it was taken, until
    /// that one's lease would have run out; for what it began outside, until that must have been stopped; or,
    /// if it has to be undone, until its undos are claimed. Only after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_over: Option<Timestamp>,
    /// What its attempts used up: the last of them, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<AttemptUsage>,
    /// The latest progress.
    #[serde(default, skip_serializing_if = "Progress::is_empty")]
    pub progress: Progress,
    /// A sentence about the state that does not come from progress: why it waits, why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Every question of its life, answered ones too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// How many signals came, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, u64>,
    /// How many children it has.
    #[serde(default, skip_serializing_if = "Children::is_empty")]
    pub children: Children,
    /// `Some` exactly in [`Phase::Suspended`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaiting: Option<Awaiting>,
    /// What must happen before it is ready. Not empty in [`Phase::Blocked`], perhaps not in
    /// [`Phase::Scheduled`], empty in every other phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<Blocker>,
    /// Set once somebody has asked to stop it while it ran, or while what it began outside may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRequest>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last change of status, message, progress or input: the wire's `lastUpdatedAt`.
    pub updated_at: Timestamp,
    /// When it became ready to be started for the first time; `None` once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// No living worker runs its tool; only in [`Phase::Queued`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worker: Option<NoWorker>,
    /// When it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Not to be claimed before this moment; in [`Phase::Scheduled`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it will be deleted. `None` until it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<Timestamp>,
    /// How much is in the journal.
    #[serde(default, skip_serializing_if = "JournalSize::is_empty")]
    pub journal: JournalSize,
    /// Undos that are recorded and have not run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub undos: u32,
    /// Whether an undo has failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo_failed: bool,
    /// How far the undos have got.
    #[serde(default, skip_serializing_if = "Cleanup::is_none")]
    pub cleanup: Cleanup,
    /// What was and is to be told to its webhooks, in the order of events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// Which of its webhooks want to hear no more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone_webhooks: BTreeSet<usize>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Task {
    /// The task's name.
    pub fn id(&self) -> TaskId {
        self.spec.id
    }

    /// Whether it has an outcome. Its undos may still have to run.
    pub fn is_finished(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether it is past the end of its retention: nobody may read it any more. A record whose undos
    /// have to run is kept until they have.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let expired = self
            .state
            .expire_at
            .is_some_and(|expire_at| expire_at <= now);
        expired && self.state.phase == Phase::Finished
    }

    /// How many lines of its log were dropped in all, as far as the record's attempts tell.
    pub fn lines_dropped(&self) -> u64 {
        let attempts = self.state.usage.iter();
        attempts.map(|attempt| attempt.usage.lines_dropped).sum()
    }

    /// The status shown to clients of `era`.
    pub fn status(&self, era: Era) -> TaskStatus {
        self.standing().status(era)
    }

    /// Where it stands, as it is counted and looked for.
    pub fn standing(&self) -> Standing {
        let open_questions = self.open_inputs().next().is_some();
        Standing::of(self.outcome.as_deref(), open_questions)
    }

    /// The questions that wait for an answer.
    pub fn open_inputs(&self) -> impl Iterator<Item = &Input> {
        self.state.inputs.iter().filter(|input| input.is_open())
    }

    /// One sentence for people about where it stands; the wire's `statusMessage`.
    pub fn status_message(&self) -> Option<String> {
        let message = self.outcome_message();
        let undos = match self.state.cleanup {
            Cleanup::None => return message,
            Cleanup::Pending => "what it did will be undone",
            Cleanup::Running => "what it did is being undone",
            Cleanup::Done => "what it did was undone",
            Cleanup::Failed => "what it did could not all be undone",
        };
        Some(message.map_or(undos.into(), |message| format!("{message} ({undos})")))
    }

    fn outcome_message(&self) -> Option<String> {
        match self.outcome.as_deref() {
            Some(Outcome::Failed(failure)) => Some(failure.message.clone()),
            Some(Outcome::Cancelled { reason }) => {
                Some(reason.clone().unwrap_or_else(|| "cancelled".into()))
            }
            Some(Outcome::Completed(result)) if result.is_error => {
                result.headline().or_else(|| self.state.note.clone())
            }
            Some(Outcome::Completed(_)) => self
                .state
                .note
                .clone()
                .or_else(|| self.state.progress.message.clone()),
            None if self.state.cancel.is_some() => Some("cancelling".into()),
            None if self.state.phase == Phase::Blocked => {
                Some("waits for other tasks to end".into())
            }
            None if self.state.no_worker.is_some() => self.no_worker_line(),
            None => self
                .progress_line()
                .or_else(|| self.state.note.clone())
                .or_else(|| self.usual_line()),
        }
    }

    /// The progress, with the time that was probably left when it was reported.
    fn progress_line(&self) -> Option<String> {
        let line = self.shown_progress().line()?;
        let left = self.state.progress.remaining(self.state.updated_at);
        Some(match left {
            Some(left) => format!("{line} · {} left", about(left)),
            None => line,
        })
    }

    /// What is known of a task that runs and says nothing.
    fn usual_line(&self) -> Option<String> {
        let usual = self.spec.usual?;
        (self.state.phase == Phase::Running).then(|| format!("usually takes {}", about(usual)))
    }

    /// How long the record can be read, from its creation: the wire's `ttl`. `None` until the end.
    pub fn ttl(&self) -> Option<Duration> {
        self.state
            .expire_at
            .map(|expire_at| expire_at.since(self.state.created_at))
    }

    /// The lease under which it runs, if it runs.
    pub fn lease(&self) -> Option<Lease> {
        self.state.held.as_ref().map(|held| Lease {
            task: self.id(),
            epoch: self.state.epoch,
            nonce: held.nonce,
        })
    }
}
