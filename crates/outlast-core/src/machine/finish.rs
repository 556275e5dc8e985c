//! Finish: how an attempt ends.

use super::LeaseLost;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::outcome::Outcome;
use crate::status::Phase;
use crate::task::{Lease, Task};

/// The end of an attempt, as its worker reports it.
#[derive(Clone, PartialEq, Debug)]
pub enum AttemptEnd {
    /// The task has its outcome.
    Done(Outcome),
    /// The attempt failed; another is to begin at `at`.
    Retry {
        /// Why it failed, in one sentence.
        message: String,
        /// Not before this moment.
        at: Timestamp,
    },
    /// The worker stops and hands the task back; the attempt does not count.
    Release,
    /// The undos have run, as far as they could be; see [`crate::undo`]. Of a task without an outcome
    /// it says no more than `Release`.
    CleanedUp,
}

impl Task {
    /// Ends the attempt that runs under `lease`.
    ///
    /// Once a cancel was accepted the task ends cancelled, whatever the attempt brings: late results
    /// are discarded (2025-11-25 tasks, "Task Cancellation"); if the worker lets go of it while something
    /// that it began may be at work, it [is being stopped](Task::is_stopping). Reporting the end of a finished task a
    /// second time under the lease that ended it changes nothing and returns `None`, so that a
    /// worker whose reply got lost may repeat itself.
    ///
    /// A task that has to be undone stays with its worker, under a new lease that the record holds.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn finish(
        &mut self,
        lease: &Lease,
        end: AttemptEnd,
        now: Timestamp,
    ) -> Result<Option<Event>, LeaseLost> {
        if self.was_ended_by(lease) {
            return Ok(None);
        }
        self.fence(lease)?;
        if self.is_finished() {
            return Ok(Some(self.finish_cleanup(lease.nonce, end, now)));
        }
        if let Some(cancel) = &self.state.cancel {
            if !matches!(end, AttemptEnd::Done(_)) && self.has_begun() {
                self.wait_to_be_stopped();
                return Ok(Some(self.bump(now, EventKind::Released)));
            }
            let reason = cancel.reason.clone();
            return Ok(Some(
                self.end_under_lease(Outcome::Cancelled { reason }, now),
            ));
        }
        Ok(Some(match end {
            AttemptEnd::Done(outcome) => {
                // What an earlier attempt failed for says nothing of how this one ended.
                self.state.note = None;
                self.end_under_lease(outcome, now)
            }
            AttemptEnd::Retry { message, at } => {
                self.requeue();
                self.state.errors += 1;
                self.state.note = Some(message.clone());
                self.state.updated_at = now;
                if at > now {
                    self.state.phase = Phase::Scheduled;
                    self.state.run_at = Some(at);
                }
                self.bump(now, EventKind::Retrying { message, at })
            }
            AttemptEnd::Release | AttemptEnd::CleanedUp => {
                self.requeue();
                self.state.resuming = true;
                self.bump(now, EventKind::Released)
            }
        }))
    }

    fn end_under_lease(&mut self, outcome: Outcome, now: Timestamp) -> Event {
        let held = self.state.held.clone().expect("fenced");
        let nonce = held.nonce;
        let event = self.end(outcome, now);
        self.state.ended_by = Some(nonce);
        if self.is_cleaning_up() {
            self.go_on_cleaning_up(held);
        }
        event
    }

    /// Whether the task ended under this lease, and nothing has happened to it since but what
    /// follows from that: its worker may have kept it for the undos.
    fn was_ended_by(&self, lease: &Lease) -> bool {
        let epoch = lease.epoch + u64::from(self.state.phase == Phase::Running);
        self.is_finished() && self.state.epoch == epoch && self.state.ended_by == Some(lease.nonce)
    }
}
