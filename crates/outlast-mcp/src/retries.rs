//! The retries that wait for a run, counted: the run is cancelled when the last of them leaves.
//!
//! A client of 2026-07-28 that loses the connection of a retry sends it again, and the server may learn of
//! the first one's end long after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use outlast_core::TaskId;

/// How many retries wait for each run, where any do.
#[derive(Clone, Default)]
pub(crate) struct Retries(Arc<Mutex<HashMap<TaskId, usize>>>);

/// One of them, until it is dropped.
pub(crate) struct Retrying {
    retries: Retries,
    task: TaskId,
}

impl Retries {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, usize>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// A retry waits for this run.
    pub(crate) fn begin(&self, task: TaskId) -> Retrying {
        *self.lock().entry(task).or_default() += 1;
        Retrying {
            retries: self.clone(),
            task,
        }
    }

    /// Whether any retry waits for this run.
    pub(crate) fn wait_for(&self, task: TaskId) -> bool {
        self.lock().contains_key(&task)
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        let mut retries = self.retries.lock();
        if let Some(count) = retries.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                retries.remove(&self.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_is_known() {
        let (retries, task) = (Retries::default(), TaskId::random());
        let first = retries.begin(task);
        let second = retries.begin(task);
        drop(first);
        assert!(retries.wait_for(task));
        drop(second);
        assert!(!retries.wait_for(task));
    }
}
