//! Suspend: a running task gives up its worker to wait.

use super::LeaseLost;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::status::Phase;
use crate::task::{Awaiting, Lease, Task};

/// What came of a wish to suspend.
#[derive(Clone, PartialEq, Debug)]
pub enum Suspended {
    /// What the task wanted to wait for has already happened: it keeps its worker and its lease.
    Resolved,
    /// It waits and holds nothing.
    Waiting(Event),
}

impl Awaiting {
    /// Whether something waited for has happened, as far as the record itself knows: children have
    /// records of their own.
    fn is_resolved(&self, task: &Task, now: Timestamp) -> bool {
        let answered = |key: &String| {
            task.state
                .inputs
                .iter()
                .any(|input| input.request.key == *key && !input.is_open())
        };
        let signalled = |(name, read): (&String, &u64)| {
            let came = task.state.signals.get(name).copied().unwrap_or_default();
            came > *read
        };
        self.until.is_some_and(|until| until <= now)
            || self.inputs.iter().any(answered)
            || self.signals.iter().any(signalled)
    }
}

impl Task {
    /// Suspends the task, unless what it waits for has already happened. Looking and suspending are
    /// one step, so no answer can fall between them.
    ///
    /// `child_ended` says whether one of the children waited for has ended, or does not exist.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn suspend(
        &mut self,
        lease: &Lease,
        awaiting: Awaiting,
        child_ended: bool,
        now: Timestamp,
    ) -> Result<Suspended, LeaseLost> {
        self.fence_attempt(lease)?;
        // A cancelled task must not sleep through its cancellation.
        if self.state.cancel.is_some() || child_ended || awaiting.is_resolved(self, now) {
            return Ok(Suspended::Resolved);
        }
        self.state.phase = Phase::Suspended;
        self.state.keeps_keys = self.keys_while_suspended();
        self.state.held = None;
        self.state.awaiting = Some(awaiting);
        Ok(Suspended::Waiting(self.bump(now, EventKind::Suspended)))
    }

    fn keys_while_suspended(&self) -> bool {
        let mut limits = self.spec.keys.limits.iter();
        limits.any(|limit| limit.while_suspended)
    }

    /// Makes a suspended task ready if what it waits for has happened.
    pub(super) fn wake(&mut self, now: Timestamp) -> Option<Event> {
        let awaiting = self.state.awaiting.as_ref()?;
        if !awaiting.is_resolved(self, now) {
            return None;
        }
        Some(self.resume(now))
    }

    /// Makes a suspended task ready; its attempt goes on.
    pub(super) fn resume(&mut self, now: Timestamp) -> Event {
        self.requeue();
        self.state.resuming = true;
        self.bump(now, EventKind::Queued)
    }
}
