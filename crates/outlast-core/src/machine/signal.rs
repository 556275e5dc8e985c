//! Signals as the record sees them: how many came under each name.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::signal::{MAX_SIGNAL_NAMES, MAX_SIGNALS};
use crate::task::Task;

impl Task {
    /// Counts a new signal under `name` and returns its number with what changed. A suspended task
    /// that waited for it becomes ready. The store keeps the signal itself, in the same unit.
    ///
    /// # Errors
    /// [`Error::Finished`] for a task that has ended; [`Error::Invalid`] if it has had as many signals,
    /// or names, as it may.
    pub fn signal(&mut self, name: &str, now: Timestamp) -> Result<(u64, Vec<Event>), Error> {
        if self.is_finished() {
            return Err(Error::Finished(self.id()));
        }
        let signals = &self.state.signals;
        let (id, names) = (self.id(), signals.len());
        if signals.values().sum::<u64>() >= MAX_SIGNALS {
            return Err(Error::Invalid(format!(
                "task {id} has had {MAX_SIGNALS} signals, which is all it takes"
            )));
        }
        if names >= MAX_SIGNAL_NAMES && !signals.contains_key(name) {
            return Err(Error::Invalid(format!(
                "task {id} has had signals under {MAX_SIGNAL_NAMES} names, and {name:?} would be one \
                 more than it takes"
            )));
        }
        let count = self.state.signals.entry(name.to_owned()).or_default();
        *count += 1;
        let number = *count;
        let name = name.to_owned();
        let mut events = vec![self.bump(now, EventKind::Signalled { name, number })];
        events.extend(self.wake(now));
        Ok((number, events))
    }
}
