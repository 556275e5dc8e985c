//! Slots: how many attempts one process runs at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a worker.
#[derive(Clone)]
pub(crate) struct Slots {
    semaphore: Arc<Semaphore>,
}

/// A taken slot; free again when the last clone is dropped. Cloned into the thread of a blocking
/// handler, which cannot be stopped and so keeps its slot after the task has ended.
#[derive(Clone)]
pub(crate) struct Slot {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count)),
        }
    }

    /// A slot, if one is free.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.semaphore).try_acquire_owned().ok()?;
        Some(Slot {
            _permit: Arc::new(permit),
        })
    }

    /// Whether every slot is taken.
    pub(crate) fn are_taken(&self) -> bool {
        self.semaphore.available_permits() == 0
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Waits for a slot, and takes up to `most` of those that are free then. Cancel safe. `None` once the
    /// worker has stopped.
    pub(crate) async fn take(&self, most: usize) -> Option<Vec<Slot>> {
        let permit = Arc::clone(&self.semaphore).acquire_owned().await.ok()?;
        let mut slots = vec![Slot {
            _permit: Arc::new(permit),
        }];
        slots.extend(std::iter::from_fn(|| self.try_take()).take(most.saturating_sub(1)));
        Some(slots)
    }

    /// No slot is given any more.
    pub(crate) fn close(&self) {
        self.semaphore.close();
    }
}
