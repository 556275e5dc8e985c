//! Progress and journal marks of a running attempt.

use super::LeaseLost;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::progress::Progress;
use crate::task::{Lease, Task};

impl Task {
    /// Records progress. `None` if nothing changed.
    ///
    /// What is done never decreases: a smaller figure, as a replay reports it, keeps the recorded
    /// one, and a message that comes with it is taken only if the figure is not older.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn report(
        &mut self,
        lease: &Lease,
        mut progress: Progress,
        now: Timestamp,
    ) -> Result<Option<Event>, LeaseLost> {
        self.fence(lease)?;
        // JSON has no words for infinity and not-a-number.
        progress.total = progress.total.filter(|total| total.is_finite());
        let recorded = &self.state.progress;
        if progress.done < recorded.done || !progress.done.is_finite() || progress == *recorded {
            return Ok(None);
        }
        self.state.progress = progress.clone();
        self.state.updated_at = now;
        Ok(Some(self.bump(now, EventKind::Progress { progress })))
    }

    /// Notes that a new journal entry was written: the task gets on, so its crashes are forgotten.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`; then the entry must not be written.
    pub fn journaled(&mut self, lease: &Lease) -> Result<(), LeaseLost> {
        self.fence(lease)?;
        self.state.crashes = 0;
        self.state.suspect = false;
        Ok(())
    }
}
