//! Labels that a handler gives its own task.
//!
//! They are journal entries, so a handler that runs again does not put back what it said earlier; and they
//! stand in the call, where every list looks for labels.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::journal::JournalEntry;
use crate::label::{RecordedLabel, check};
use crate::task::Task;

impl Task {
    /// Gives the task the label that `entry` records, in the place of one with the same key. `None` if it
    /// has it already.
    ///
    /// # Errors
    /// The entry records no label, or the task may not have it; the sentence says why.
    pub(super) fn labelled(
        &mut self,
        entry: &JournalEntry,
        now: Timestamp,
    ) -> Result<Option<Event>, String> {
        let recorded = entry.recorded.json().to::<RecordedLabel>();
        let RecordedLabel { key, value } =
            recorded.map_err(|error| format!("{:?} records no label: {error}", entry.name))?;
        if self.spec.labels.get(&key) == Some(&value) {
            return Ok(None);
        }
        let mut labels = self.spec.labels.clone();
        labels.insert(key.clone(), value.clone());
        check(&labels)?;
        Arc::make_mut(&mut self.spec).labels = labels;
        Ok(Some(self.bump(now, EventKind::Labelled { key, value })))
    }
}
