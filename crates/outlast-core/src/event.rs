//! Events: each visible change of a task, numbered without gaps.
//!
//! The number of an event is the version the task had after the change, so the first is 1 and there
//! is exactly one event for each version (I6), written in the same atomic unit as the change.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::TaskId;
use crate::progress::Progress;

/// One visible change of one task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The task that changed.
    pub task: TaskId,
    /// 1, 2, 3 …: the task's version after the change.
    pub number: u64,
    /// When it changed, by the store's clock.
    pub at: Timestamp,
    /// What changed.
    pub kind: EventKind,
}

/// What changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The task exists.
    Created,
    /// Its time has come, or what it waited for has happened: it is ready to run again.
    Queued,
    /// Its time has come, but another task or a limit holds it back.
    Blocked,
    /// It is ready, and no living worker runs its tool: [`crate::no_worker`]. When one comes before it has
    /// failed it is [`EventKind::Queued`] again, or started.
    NoWorker {
        /// The labels that a worker must have for it, as far as they are known.
        requires: Vec<String>,
    },
    /// A worker runs it.
    Started {
        /// Counts attempts from 1; an attempt that was suspended goes on under the same number.
        attempt: u32,
    },
    /// Progress was reported.
    Progress {
        /// The new state of it, whole.
        progress: Progress,
    },
    /// Questions were asked.
    InputRequired {
        /// Their keys.
        keys: Vec<String>,
    },
    /// Questions were answered, or ran out of time.
    InputAnswered {
        /// Their keys.
        keys: Vec<String>,
    },
    /// A child was started.
    Spawned {
        /// Its id.
        child: TaskId,
    },
    /// A child that is not detached has ended.
    ChildEnded {
        /// Its id.
        child: TaskId,
        /// How; a tool's own error is a failure here.
        status: crate::status::TaskStatus,
    },
    /// A signal came.
    Signalled {
        /// What it is read by.
        name: String,
        /// Its place among those of the same name.
        number: u64,
    },
    /// Part of the result was given out.
    Partial {
        /// Its number.
        number: u64,
    },
    /// A file was kept.
    Artifact {
        /// Its name.
        name: String,
    },
    /// Its handler gave it a label, in the place of one with the same key.
    Labelled {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The task gave up its worker to wait.
    Suspended,
    /// The worker is gone; the task will run again.
    Rescued {
        /// What happened to the worker.
        reason: RescueReason,
    },
    /// The worker was stopped cleanly and handed the task back.
    Released,
    /// The attempt failed and another will be made.
    Retrying {
        /// Why it failed.
        message: String,
        /// When the next attempt may start.
        at: Timestamp,
    },
    /// A later call of the same work took its place before it started: it has that call's arguments now.
    Postponed {
        /// When it may start.
        at: Timestamp,
    },
    /// Somebody asked for it to be cancelled; it is being stopped.
    CancelRequested,
    /// It has an outcome.
    Finished {
        /// `completed`, `failed` or `cancelled`, as the newer era says it.
        status: crate::status::TaskStatus,
    },
    /// A worker has taken over the undos of a task that had ended without one.
    CleaningUp,
    /// An undo has run.
    Undone {
        /// Its name in the journal, which holds what came of it.
        name: String,
        /// Whether it failed, after all its retries.
        failed: bool,
    },
    /// The undos are over. The outcome stays as it was.
    CleanedUp {
        /// `done`, or `failed` if one of them failed or they were given up.
        cleanup: crate::undo::Cleanup,
    },
}

/// What took a running task from its worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RescueReason {
    /// The server's process died without stopping cleanly.
    Crash,
    /// The machine was restarted.
    Reboot,
    /// The lease ran out: the worker was too slow, cut off or dead.
    LeaseExpired,
}
