//! Cancel: how a task is stopped on request.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::outcome::Outcome;
use crate::status::Phase;
use crate::task::{CancelRequest, Task};

/// How patient a cancel is with a running attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelMode {
    /// Ask the worker to stop; after this long the task is written off as cancelled.
    Ask(Duration),
    /// The task is cancelled now. A worker that still runs it loses its lease.
    Force,
}

/// What came of a cancel.
#[derive(Clone, PartialEq, Debug)]
pub enum Cancelled {
    /// The task had already ended; it stays as it is.
    AlreadyFinished,
    /// It is cancelled.
    Now(Event),
    /// Its worker has been asked to stop. `None` if that had been asked before.
    Requested(Option<Event>),
}

impl Task {
    /// Cancels the task: at once if nothing runs, else as `mode` says. Repeating it is harmless, and
    /// the first reason stays.
    pub fn cancel(
        &mut self,
        reason: Option<String>,
        mode: CancelMode,
        now: Timestamp,
    ) -> Cancelled {
        if self.is_finished() {
            return Cancelled::AlreadyFinished;
        }
        match (self.state.phase, mode) {
            (Phase::Running, CancelMode::Ask(patience)) => {
                if self.state.cancel.is_some() {
                    return Cancelled::Requested(None);
                }
                self.state.cancel = Some(CancelRequest {
                    reason,
                    deadline: now + patience,
                });
                self.state.updated_at = now;
                Cancelled::Requested(Some(self.bump(now, EventKind::CancelRequested)))
            }
            _ => {
                let reason = self
                    .state
                    .cancel
                    .take()
                    .map_or(reason, |cancel| cancel.reason);
                Cancelled::Now(self.take_over(Outcome::Cancelled { reason }, now))
            }
        }
    }

    /// Ends the task over its worker's head: whoever holds a lease on it has lost it. Undos begin
    /// when that lease would have run out, and so do others under its limit keys, for until then its
    /// worker may not know.
    pub(super) fn take_over(&mut self, outcome: Outcome, now: Timestamp) -> Event {
        let until = self.state.held.as_ref().map(|held| held.until);
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
