//! Cancel: how a task is stopped on request.
//!
//! A handler may have begun what outlives it, such as a process on its machine ([`TaskState::begun`]). When
//! nobody holds the task any more, for its worker is gone, or it waits for a pause or a limit, that goes on. So
//! such a task does not end when it is cancelled: it stands suspended, waits for nothing, holds all its limit
//! keys and is claimed by nobody, until whoever can stop what it began has seen that nothing of it is left
//! ([`CancelMode::Stopped`]), or until the cancel's patience is over, for that machine may be gone as well.
//!
//! Decision: it is not claimed for that. A claim would have to pass by pauses and limits, and may go to a
//! machine from which nothing can be stopped.
//!
//! [`TaskState::begun`]: crate::task::TaskState::begun

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::outcome::Outcome;
use crate::status::Phase;
use crate::task::{Awaiting, CancelRequest, Task};

/// How long what a task began outside may take to be stopped, if nobody has said how patient to be.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// How patient a cancel is with what is at work for the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelMode {
    /// Ask whoever is at work to stop; after this long the task is written off as cancelled.
    Ask(Duration),
    /// The task is cancelled now. A worker that still runs it loses its lease.
    Force,
    /// The task [is being stopped](Task::is_stopping), and the caller has seen that nothing of what it began
    /// is at work any more: it is cancelled now, and its keys are free. Any other task is left as it is.
    Stopped,
}

/// What came of a cancel.
#[derive(Clone, PartialEq, Debug)]
pub enum Cancelled {
    /// The task had already ended; it stays as it is.
    AlreadyFinished,
    /// It is cancelled.
    Now(Event),
    /// Whoever is at work for it has been asked to stop. `None` if that had been asked before, or if nobody
    /// asked for anything ([`CancelMode::Stopped`]).
    Requested(Option<Event>),
}

impl Task {
    /// Whether it has a cancel to wait for, and nobody holds it: what it began outside is to be stopped.
    pub fn is_stopping(&self) -> bool {
        self.state.cancel.is_some() && self.state.phase == Phase::Suspended
    }

    /// Whether something that it began outside may be at work.
    pub(super) fn has_begun(&self) -> bool {
        self.state.begun || self.spec.begun_at.is_some()
    }

    /// Cancels the task: at once if nothing of it can be at work, else as `mode` says. Repeating it is
    /// harmless, and the first reason stays.
    pub fn cancel(
        &mut self,
        reason: Option<String>,
        mode: CancelMode,
        now: Timestamp,
    ) -> Cancelled {
        if self.is_finished() {
            return Cancelled::AlreadyFinished;
        }
        let runs = self.state.phase == Phase::Running;
        match mode {
            CancelMode::Ask(patience) if runs || self.has_begun() => {
                if self.state.cancel.is_some() {
                    return Cancelled::Requested(None);
                }
                self.state.cancel = Some(CancelRequest {
                    reason,
                    deadline: now + patience,
                });
                self.state.updated_at = now;
                if !runs {
                    self.wait_to_be_stopped();
                }
                Cancelled::Requested(Some(self.bump(now, EventKind::CancelRequested)))
            }
            CancelMode::Stopped if !self.is_stopping() => Cancelled::Requested(None),
            CancelMode::Stopped => {
                let outcome = self.cancelled(reason);
                self.state.epoch += 1;
                Cancelled::Now(self.end(outcome, now))
            }
            CancelMode::Ask(_) | CancelMode::Force => {
                let outcome = self.cancelled(reason);
                Cancelled::Now(self.take_over(outcome, now))
            }
        }
    }

    /// How it ends by a cancel. The first reason stays.
    fn cancelled(&self, reason: Option<String>) -> Outcome {
        let first = self.state.cancel.as_ref();
        let reason = first.map_or(reason, |cancel| cancel.reason.clone());
        Outcome::Cancelled { reason }
    }

    /// Nobody holds it, and it goes on only to be cancelled.
    pub(super) fn wait_to_be_stopped(&mut self) {
        self.state.phase = Phase::Suspended;
        self.state.held = None;
        self.state.awaiting = Some(Awaiting::default());
        self.state.blocked.clear();
        self.state.run_at = None;
        self.state.ready_since = None;
    }

    /// Ends the task over the head of whoever is at work for it: a lease on it is lost, and what it began
    /// outside is to be stopped. Undos begin when that lease would have run out, or what was begun must have
    /// been stopped, and so do others under its limit keys, for until then somebody may not know.
    pub(super) fn take_over(&mut self, outcome: Outcome, now: Timestamp) -> Event {
        let until = match (&self.state.held, &self.state.cancel) {
            (Some(held), _) => Some(held.until),
            (None, _) if !self.has_begun() => None,
            (None, Some(cancel)) => Some(cancel.deadline),
            (None, None) => Some(now + STOPPED_WITHIN),
        };
        let until = until.filter(|until| *until > now);
        self.state.epoch += 1;
        let event = self.end(outcome, now);
        self.state.held_over = until.filter(|_| self.has_limits());
        if let Some(until) = until.filter(|_| self.is_cleaning_up()) {
            self.state.phase = Phase::Scheduled;
            self.state.run_at = Some(until);
        }
        event
    }
}
