//! Progress and journal marks of a running attempt.

use super::LeaseLost;
use crate::TaskId;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::journal::{JournalEntry, JournalKind};
use crate::progress::Progress;
use crate::task::{Lease, Task};
use crate::usage::{AttemptUsage, KEPT, Usage};

/// Why an entry is not recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalRefused {
    /// The lease does not hold (I1).
    LeaseLost,
    /// The entry is too large, or the journal is full; the sentence says which limit was reached.
    Full(String),
    /// What it records cannot hold; the sentence says why.
    Invalid(String),
}

impl JournalRefused {
    /// The store's error for `task`.
    pub fn into_error(self, task: TaskId) -> Error {
        match self {
            Self::LeaseLost => Error::LeaseLost(task),
            Self::Full(message) => Error::JournalFull { task, message },
            Self::Invalid(message) => Error::Invalid(message),
        }
    }
}

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
        self.fence_attempt(lease)?;
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

    /// Notes what the present attempt has used up so far, in all its entries. Not a visible change.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn used(&mut self, lease: &Lease, usage: Usage) -> Result<(), LeaseLost> {
        self.fence(lease)?;
        let attempt = self.state.attempt;
        let kept = &mut self.state.usage;
        match kept.last_mut() {
            Some(last) if last.attempt == attempt => last.usage = usage,
            _ => kept.push(AttemptUsage { attempt, usage }),
        }
        if kept.len() > KEPT {
            kept.remove(0);
        }
        Ok(())
    }

    /// Notes that a new journal entry is written: the task gets on, so its crashes are forgotten.
    /// While undos run, only their ends may be recorded.
    ///
    /// # Errors
    /// The task does not run under `lease`, the journal takes no more, or the entry's label is none that
    /// the task may have; then the entry must not be written.
    pub fn journaled(
        &mut self,
        lease: &Lease,
        entry: &JournalEntry,
        now: Timestamp,
    ) -> Result<Option<Event>, JournalRefused> {
        self.fence(lease)
            .map_err(|LeaseLost| JournalRefused::LeaseLost)?;
        if self.is_finished() && entry.kind != JournalKind::Undone {
            return Err(JournalRefused::LeaseLost);
        }
        // What an undo did must always find room.
        if entry.kind != JournalKind::Undone {
            self.state.journal = self
                .state
                .journal
                .with(entry)
                .map_err(JournalRefused::Full)?;
        }
        self.state.crashes = 0;
        self.state.shaken = false;
        self.state.suspect = false;
        Ok(match entry.kind {
            JournalKind::Undo => {
                self.state.undos += 1;
                None
            }
            JournalKind::Undone => self.undone(entry, now),
            JournalKind::Partial => {
                let number = entry.name.parse().unwrap_or_default();
                Some(self.bump(now, EventKind::Partial { number }))
            }
            JournalKind::Artifact => {
                let name = entry.name.clone();
                Some(self.bump(now, EventKind::Artifact { name }))
            }
            JournalKind::Begun => {
                self.state.begun = true;
                None
            }
            JournalKind::Label => self.labelled(entry, now).map_err(JournalRefused::Invalid)?,
            _ => None,
        })
    }
}
