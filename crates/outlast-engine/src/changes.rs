//! Which tasks change, for whoever watches all of them.
//!
//! A listener has a set of ids, not a queue of notices: a task that changes a hundred times before the
//! listener looks is looked at once, and one that nobody listens for costs one look at an empty list. What
//! is in the set is a hint, like every notice; the listener reads the records.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use outlast_core::TaskId;
use tokio::sync::Notify;

use crate::handle::Handle;

/// How many tasks a listener may be behind before it is told that it has missed some.
const MOST: usize = 20_000;

/// What has changed since a listener looked last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// The tasks, each with the first of the versions that it has reached since, or had when it was
    /// deleted.
    pub tasks: HashMap<TaskId, u64>,
    /// There were more, which nobody remembers: too many, or the store could not see them.
    pub missed: bool,
}

/// Listens for the changes of all tasks. Dropping it ends that.
pub struct Changes(Arc<Set>);

#[derive(Default)]
struct Set {
    changed: Mutex<Changed>,
    wake: Notify,
}

impl Set {
    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().expect("nothing panics under this lock")
    }
}

impl Handle {
    /// Begins to listen for the changes of all tasks, whoever they belong to: for callers that find out
    /// for whom each is.
    pub fn changes(&self) -> Changes {
        self.shared.listeners.add()
    }
}

impl Changes {
    /// Waits until something has changed since the last call, or since the listener began.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub async fn next(&mut self) -> Changed {
        loop {
            {
                let mut changed = self.0.lock();
                if changed.missed || !changed.tasks.is_empty() {
                    return std::mem::take(&mut *changed);
                }
            }
            self.0.wake.notified().await;
        }
    }
}

/// Those who listen.
#[derive(Default)]
pub(crate) struct Listeners {
    count: AtomicUsize,
    sets: Mutex<Vec<Arc<Set>>>,
}

impl Listeners {
    fn add(&self) -> Changes {
        let set = Arc::new(Set::default());
        let mut sets = self.sets.lock().expect("nothing panics under this lock");
        sets.push(Arc::clone(&set));
        self.count.store(sets.len(), Ordering::Release);
        Changes(set)
    }

    /// A task has reached `version`, or was deleted.
    pub(crate) fn note(&self, task: TaskId, version: u64) {
        self.tell(|changed| {
            if changed.tasks.len() >= MOST && !changed.tasks.contains_key(&task) {
                changed.missed = true;
            } else {
                changed.tasks.entry(task).or_insert(version);
            }
        });
    }

    /// The store has lost sight of its changes for a while: anything may have changed.
    pub(crate) fn missed(&self) {
        self.tell(|changed| changed.missed = true);
    }

    fn tell(&self, what: impl Fn(&mut Changed)) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut sets = self.sets.lock().expect("nothing panics under this lock");
        // Only this list holds the set of a listener that is gone.
        sets.retain(|set| Arc::strong_count(set) > 1);
        self.count.store(sets.len(), Ordering::Release);
        for set in sets.iter() {
            what(&mut set.lock());
            set.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_changes_often_is_told_once() {
        let listeners = Listeners::default();
        let (one, other) = (TaskId::random(), TaskId::random());
        listeners.note(one, 1);
        let mut changes = listeners.add();
        for version in 2..9 {
            listeners.note(one, version);
        }
        listeners.note(other, 1);
        let changed = changes.next().await;
        assert_eq!(changed.tasks, HashMap::from([(one, 2), (other, 1)]));
        assert!(!changed.missed);
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_so() {
        let listeners = Listeners::default();
        let mut changes = listeners.add();
        for _ in 0..=MOST {
            listeners.note(TaskId::random(), 1);
        }
        assert!(changes.next().await.missed);
        listeners.note(TaskId::random(), 1);
        assert!(!changes.next().await.missed);
        listeners.missed();
        assert!(changes.next().await.missed);
    }

    #[test]
    fn nobody_is_remembered_who_is_gone() {
        let listeners = Listeners::default();
        drop(listeners.add());
        listeners.note(TaskId::random(), 1);
        assert_eq!(listeners.count.load(Ordering::Acquire), 0);
    }
}
