//! Clean-up: what happens to a record between its outcome and its last undo.
//!
//! A record whose undos have to run has its outcome and goes through the phases once more: queued,
//! running, finished. So everything that keeps a task moving (the order, leases, rescue, the clock)
//! keeps its clean-up moving too. Only the end differs: there is no second outcome.
//!
//! Decision: the limit keys that the task held when it ended stay taken until it is undone, or until the
//! lease of its undos expires. A successor that ran in between would have its own work undone.

use super::{AttemptEnd, Due, Rescue};
use crate::clock::Timestamp;
use crate::event::{Event, EventKind, RescueReason};
use crate::journal::{JournalEntry, Recorded};
use crate::outcome::Outcome;
use crate::status::Phase;
use crate::task::{Held, Task};
use crate::undo::{Cleanup, MAX_CLEANUP};

impl Task {
    /// Whether the task has its outcome and its undos still have to run.
    pub fn is_cleaning_up(&self) -> bool {
        self.state.cleanup.is_open()
    }

    /// Where a record stands right after its outcome: its undos wait if there are any and what was
    /// done did not succeed. A tool's own error is no success.
    pub(super) fn settle_undos(&mut self, outcome: &Outcome) {
        let succeeded = matches!(outcome, Outcome::Completed(result) if !result.is_error);
        if succeeded || self.state.undos == 0 {
            self.state.phase = Phase::Finished;
            self.state.undos = 0;
            return;
        }
        self.state.phase = Phase::Queued;
        self.state.cleanup = Cleanup::Pending;
        // What the attempts did to the process says nothing about the undos.
        self.state.crashes = 0;
    }

    /// Lets the worker that ended the task go on with its undos, under the next epoch: whatever is
    /// left of the attempt can write no more.
    pub(super) fn go_on_cleaning_up(&mut self, held: Held) {
        self.state.phase = Phase::Running;
        self.state.epoch += 1;
        self.state.held = Some(held);
        self.state.cleanup = Cleanup::Running;
    }

    /// The end of a clean-up attempt, as its worker reports it.
    pub(super) fn finish_cleanup(&mut self, nonce: u64, end: AttemptEnd, now: Timestamp) -> Event {
        self.state.held_over = self.has_limits().then_some(now);
        match end {
            AttemptEnd::Release => {
                self.requeue();
                self.bump(now, EventKind::Released)
            }
            AttemptEnd::Retry { message, at } => {
                self.requeue();
                if at > now {
                    self.state.phase = Phase::Scheduled;
                    self.state.run_at = Some(at);
                }
                self.bump(now, EventKind::Retrying { message, at })
            }
            AttemptEnd::CleanedUp | AttemptEnd::Done(_) => {
                self.state.ended_by = Some(nonce);
                self.end_cleanup(now)
            }
        }
    }

    /// Notes an undo that has run, or that its handler has discarded.
    pub(super) fn undone(&mut self, entry: &JournalEntry, now: Timestamp) -> Option<Event> {
        self.state.undos = self.state.undos.saturating_sub(1);
        if !self.is_finished() {
            return None;
        }
        let failed = matches!(entry.recorded, Recorded::Error(_));
        self.state.undo_failed |= failed;
        self.state.updated_at = now;
        let name = entry.name.clone();
        Some(self.bump(now, EventKind::Undone { name, failed }))
    }

    /// When a task whose undos have to run must be looked at again.
    pub(super) fn cleanup_due_at(&self) -> Timestamp {
        let held = self.state.held.as_ref().map(|held| held.until);
        let next = held.into_iter().chain(self.state.run_at);
        next.fold(self.give_up_at(), Timestamp::min)
    }

    /// When the undos must have run.
    fn give_up_at(&self) -> Timestamp {
        self.state.finished_at.unwrap_or(self.state.created_at) + MAX_CLEANUP
    }

    /// What is due while undos have to run.
    pub(super) fn cleanup_due(&mut self, now: Timestamp) -> Due {
        let expired = |held: &Held| held.until <= now;
        let event = if self.give_up_at() <= now {
            let until = self.state.held.as_ref().map(|held| held.until);
            self.state.epoch += 1;
            let event = self.end_cleanup(now);
            // Its worker may not know.
            self.state.held_over = until.filter(|until| *until > now && self.has_limits());
            event
        } else if self.state.held.as_ref().is_some_and(expired) {
            let rescue = Rescue {
                reason: RescueReason::LeaseExpired,
                to_blame: false,
            };
            self.rescue(rescue, now)
        } else {
            self.requeue();
            self.bump(now, EventKind::Queued)
        };
        Due::Changed(vec![event])
    }

    /// Ends the clean-up: what has not run by now never will.
    pub(super) fn end_cleanup(&mut self, now: Timestamp) -> Event {
        let done = self.state.undos == 0 && !self.state.undo_failed;
        self.state.cleanup = if done { Cleanup::Done } else { Cleanup::Failed };
        self.state.phase = Phase::Finished;
        self.state.keeps_keys = false;
        self.state.held_over = None;
        self.state.held = None;
        self.state.run_at = None;
        self.state.updated_at = now;
        let cleanup = self.state.cleanup;
        self.bump(now, EventKind::CleanedUp { cleanup })
    }
}
