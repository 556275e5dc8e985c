//! The runs of a process that have a record, and who is told to look at their tasks again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use outlast_core::TaskId;

use crate::run::Run;

/// Stops that come for tasks of other processes are forgotten beyond this number.
const EARLY_STOPS: usize = 1024;

/// The runs of this process that have a record.
#[derive(Default)]
pub(crate) struct Runs {
    inner: Mutex<RunTable>,
}

#[derive(Default)]
struct RunTable {
    runs: HashMap<TaskId, Arc<Run>>,
    /// Tasks that were to be stopped before their run was entered here.
    stopped_early: HashSet<TaskId>,
}

impl Runs {
    fn lock(&self) -> std::sync::MutexGuard<'_, RunTable> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn insert(&self, run: Arc<Run>) {
        let mut table = self.lock();
        if table.stopped_early.remove(&run.spec.id) {
            run.look_again();
        }
        table.runs.insert(run.spec.id, run);
    }

    /// Removes this very run; another run of the same task stays.
    pub(crate) fn remove(&self, run: &Arc<Run>) {
        let mut table = self.lock();
        if table
            .runs
            .get(&run.spec.id)
            .is_some_and(|known| Arc::ptr_eq(known, run))
        {
            table.runs.remove(&run.spec.id);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        self.lock().runs.values().cloned().collect()
    }

    pub(crate) fn stop(&self, task: TaskId) {
        let mut table = self.lock();
        match table.runs.get(&task) {
            Some(run) => run.look_again(),
            None if table.stopped_early.len() < EARLY_STOPS => {
                table.stopped_early.insert(task);
            }
            None => table.stopped_early.clear(),
        }
    }

    /// Anything may have happened to any of them.
    pub(crate) fn look_again(&self) {
        for run in self.all() {
            run.look_again();
        }
    }

    pub(crate) fn changed(&self, task: TaskId) {
        if let Some(run) = self.lock().runs.get(&task)
            && run.waits.waiting_since().is_some()
        {
            run.look_again();
        }
    }
}
