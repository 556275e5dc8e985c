//! Claim, renew: how a task gets a worker and keeps it.

use std::time::Duration;

use super::LeaseLost;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::id::WorkerId;
use crate::status::Phase;
use crate::task::{Held, Lease, Task};
use crate::undo::Cleanup;

impl Task {
    /// Gives a queued task to a worker under a new lease. `None` if it is not queued.
    ///
    /// A task that comes back from suspension goes on with its attempt; any other claim begins a new
    /// one. A task that has its outcome is claimed for its undos.
    pub fn claim(
        &mut self,
        worker: WorkerId,
        nonce: u64,
        lease: Duration,
        now: Timestamp,
    ) -> Option<(Lease, Event)> {
        if self.state.phase != Phase::Queued {
            return None;
        }
        self.state.phase = Phase::Running;
        // From now on it holds all of them because it runs.
        self.state.keeps_keys = false;
        self.state.held_over = None;
        self.state.epoch += 1;
        self.state.held = Some(Held {
            worker,
            nonce,
            until: now + lease,
        });
        if self.is_finished() {
            self.state.cleanup = Cleanup::Running;
            self.state.updated_at = now;
            let event = self.bump(now, EventKind::CleaningUp);
            return Some((self.lease().expect("it is held"), event));
        }
        self.state.started_at.get_or_insert(now);
        self.state.ready_since = None;
        if !std::mem::take(&mut self.state.resuming) {
            self.state.attempt += 1;
        }
        let event = self.bump(
            now,
            EventKind::Started {
                attempt: self.state.attempt,
            },
        );
        Some((
            self.lease().expect("it runs under the lease just made"),
            event,
        ))
    }

    /// Extends the lease. Says whether the attempt is to stop. Not a visible change.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn renew(
        &mut self,
        lease: &Lease,
        length: Duration,
        now: Timestamp,
    ) -> Result<bool, LeaseLost> {
        self.fence(lease)?;
        let held = self.state.held.as_mut().expect("fenced");
        held.until = held.until.max(now + length);
        Ok(self.state.cancel.is_some())
    }
}
