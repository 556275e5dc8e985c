//! The state machine: everything that can happen to a task, as pure functions.
//!
//! Each verb takes the record, its arguments and the time, and returns what changed. A verb that
//! refuses leaves the record as it was. Nothing here reads a clock, a store or a random number, so
//! every rule can be tested alone and every store be compared with it.
//!
//! The rules kept here: a write under a lease happens only while the task runs under that very lease
//! (I1); finished is final (I2); every version has exactly one event (I6); every record has a moment
//! at which something will happen to it ([`Task::due_at`], I7); a question's key is used once (I9). What is
//! to be told to webhooks is noted with the change itself ([`crate::webhook`]).

mod cancel;
mod chain;
mod child;
mod claim;
mod consequence;
mod due;
mod finish;
mod input;
mod label;
mod limit;
mod no_worker;
mod report;
mod same;
mod schedule;
mod signal;
mod suspend;
mod undo;
mod webhook;

pub use cancel::{CancelMode, Cancelled};
pub use chain::{Blocker, Dependency, MAX_DEPENDENCIES, Needs};
pub use child::{Children, MAX_CHILDREN, MAX_DEPTH, Parent};
pub use consequence::Consequence;
pub use due::{Due, Rescue};
pub use finish::AttemptEnd;
pub use input::Answered;
pub use limit::{Gate, Ledger, Room, come_back};
pub use report::JournalRefused;
pub use same::{Meant, Named};
pub use suspend::Suspended;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::journal::JournalSize;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::status::{Phase, TaskStatus};
use crate::task::{Lease, Task, TaskSpec, TaskState};
use crate::undo::Cleanup;

/// The lease does not hold: the write must not happen (I1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseLost;

impl Task {
    /// A new task with its first event. `sequence` is its place in the store's order of creation.
    pub fn create(spec: Arc<TaskSpec>, sequence: u64, now: Timestamp) -> (Self, Event) {
        let run_at = spec.first_start(now).filter(|run_at| *run_at > now);
        let blocked: Vec<_> = spec.after.iter().copied().map(Blocker::Task).collect();
        let mut task = Self {
            state: TaskState {
                phase: if run_at.is_some() {
                    Phase::Scheduled
                } else if !blocked.is_empty() {
                    Phase::Blocked
                } else {
                    Phase::Queued
                },
                version: 0,
                sequence,
                epoch: 0,
                held: None,
                ended_by: None,
                attempt: 0,
                errors: 0,
                crashes: 0,
                shaken: false,
                suspect: false,
                begun: false,
                resuming: false,
                keeps_keys: false,
                held_over: None,
                usage: Vec::new(),
                progress: Progress::default(),
                note: None,
                inputs: Vec::new(),
                signals: std::collections::BTreeMap::new(),
                children: Children::default(),
                awaiting: None,
                blocked,
                cancel: None,
                created_at: now,
                updated_at: now,
                ready_since: None,
                no_worker: None,
                started_at: None,
                run_at,
                finished_at: None,
                expire_at: None,
                journal: JournalSize::default(),
                undos: 0,
                undo_failed: false,
                cleanup: Cleanup::None,
                deliveries: Vec::new(),
                gone_webhooks: std::collections::BTreeSet::new(),
            },
            spec,
            outcome: None,
        };
        let event = task.bump(now, EventKind::Created);
        (task, event)
    }

    /// Whether the task runs under this very lease.
    pub fn holds(&self, lease: &Lease) -> bool {
        self.lease() == Some(*lease)
    }

    fn fence(&self, lease: &Lease) -> Result<(), LeaseLost> {
        if self.holds(lease) {
            Ok(())
        } else {
            Err(LeaseLost)
        }
    }

    /// For what an attempt does and an undo must not.
    fn fence_attempt(&self, lease: &Lease) -> Result<(), LeaseLost> {
        if self.is_finished() {
            return Err(LeaseLost);
        }
        self.fence(lease)
    }

    /// The only way to a new version, so that no version can lack its event.
    fn bump(&mut self, now: Timestamp, kind: EventKind) -> Event {
        self.state.version += 1;
        if self.state.phase == Phase::Queued && self.state.started_at.is_none() {
            self.state.ready_since.get_or_insert(now);
        }
        if self.state.phase != Phase::Queued || self.is_finished() {
            self.state.no_worker = None;
        }
        let event = Event {
            task: self.id(),
            number: self.state.version,
            at: now,
            kind,
        };
        self.note_deliveries(&event);
        event
    }

    /// Makes the task ready to be claimed again, at its old place in the order.
    fn requeue(&mut self) {
        self.state.phase = Phase::Queued;
        self.state.held = None;
        self.state.awaiting = None;
        self.state.run_at = None;
        if self.is_cleaning_up() {
            self.state.cleanup = Cleanup::Pending;
        }
    }

    /// Ends the task for good. If it has to be undone it is ready to be.
    fn end(&mut self, outcome: Outcome, now: Timestamp) -> Event {
        let status = TaskStatus::of(Some(&outcome), false, crate::status::Era::Modern);
        self.settle_undos(&outcome);
        // Nothing that needs its keys runs before it is undone.
        self.state.keeps_keys &= self.is_cleaning_up();
        self.state.held = None;
        self.state.awaiting = None;
        self.state.blocked.clear();
        self.state.run_at = None;
        self.state.ready_since = None;
        self.state.progress.eta = None;
        self.state.updated_at = now;
        self.state.finished_at = Some(now);
        self.state.expire_at = Some(self.expiry(now));
        self.outcome = Some(Arc::new(outcome));
        self.bump(now, EventKind::Finished { status })
    }

    /// Retention counts from the end. A child that its parent may still ask for is kept until the
    /// parent has ended.
    fn expiry(&self, finished_at: Timestamp) -> Timestamp {
        let kept = self.kept_from(finished_at);
        let parent = self.spec.parent.filter(|parent| !parent.detached);
        parent.map_or(kept, |parent| kept.max(parent.until))
    }
}
