//! Records in memory, as they were last committed.
//!
//! The writer replaces a record after the commit and before the reply; so whoever was told of a
//! change finds it here, and nobody finds a change that could still be undone. A reader that fetched
//! a record from the file may add it only if nothing of the same shard was replaced in the meantime;
//! otherwise it could bring back an old state, or a deleted task.
//!
//! A task that has been suspended leaves at once: it may wait for days, there may be any number of them,
//! and whoever looks at one brings it back.
//!
//! Records leave in the order in which they came, except that one which was looked at since gets a
//! second round.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outlast_core::{Outcome, Phase, Task, TaskId, TaskSpec};

const SHARDS: usize = 16;

/// What all records together may take, by estimate.
const CAPACITY: usize = 32 * 1024 * 1024;

/// What a record takes before it says anything: its parts, its place here, and the short texts and lists that
/// every task has, each of which the allocator rounds up.
const EMPTY: usize = size_of::<Task>()
    + size_of::<TaskSpec>()
    + size_of::<Outcome>()
    + 2 * size_of::<(TaskId, Entry, TaskId)>()
    + 1280;

/// A cache of records, bounded by bytes.
#[derive(Debug)]
pub(crate) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes a shard may hold.
    room: usize,
}

#[derive(Debug, Default)]
struct Shard {
    records: HashMap<TaskId, Entry>,
    /// Who leaves next. May name records that are gone.
    order: VecDeque<TaskId>,
    bytes: usize,
    /// Counts replacements.
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    bytes: usize,
    looked_at: bool,
}

/// What a reader saw before it went to the file: see [`Cache::add`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generation(u64);

impl Default for Cache {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Cache {
    fn new(capacity: usize) -> Self {
        Self {
            shards: Default::default(),
            room: capacity / SHARDS,
        }
    }

    fn shard(&self, id: TaskId) -> MutexGuard<'_, Shard> {
        // Ids are random, so any byte will do.
        let index = usize::from(id.as_bytes()[15]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, if it is here.
    pub(crate) fn get(&self, id: TaskId) -> Option<Arc<Task>> {
        let mut shard = self.shard(id);
        let entry = shard.records.get_mut(&id)?;
        entry.looked_at = true;
        Some(Arc::clone(&entry.task))
    }

    /// To be asked before going to the file for this record.
    pub(crate) fn generation(&self, id: TaskId) -> Generation {
        Generation(self.shard(id).generation)
    }

    /// Adds a record that was read from the file after `seen`, unless it may be out of date.
    pub(crate) fn add(&self, task: &Arc<Task>, seen: Generation) {
        let mut shard = self.shard(task.id());
        if shard.generation == seen.0 {
            shard.put(task, self.room);
        }
    }

    /// Puts what has been committed: a record, or `None` for a deleted one.
    pub(crate) fn publish(&self, id: TaskId, task: Option<&Arc<Task>>) {
        let mut shard = self.shard(id);
        shard.generation += 1;
        match task {
            Some(task) if task.state.phase != Phase::Suspended => shard.put(task, self.room),
            _ => shard.remove(id),
        }
    }
}

impl Shard {
    fn put(&mut self, task: &Arc<Task>, room: usize) {
        let bytes = weight(task);
        if bytes > room / 2 {
            // One record must not drive out all others.
            self.remove(task.id());
            return;
        }
        let entry = Entry {
            task: Arc::clone(task),
            bytes,
            looked_at: false,
        };
        self.bytes += bytes;
        match self.records.insert(task.id(), entry) {
            Some(old) => self.bytes -= old.bytes,
            None => self.order.push_back(task.id()),
        }
        while self.bytes > room {
            let Some(id) = self.order.pop_front() else {
                break;
            };
            match self.records.get_mut(&id) {
                Some(entry) if entry.looked_at => {
                    entry.looked_at = false;
                    self.order.push_back(id);
                }
                _ => self.remove(id),
            }
        }
        // Names of records that are gone must not pile up.
        if self.order.len() > 2 * self.records.len() + 64 {
            let (records, mut seen) = (&self.records, HashSet::new());
            self.order
                .retain(|id| records.contains_key(id) && seen.insert(*id));
        }
    }

    fn remove(&mut self, id: TaskId) {
        if let Some(entry) = self.records.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }
}

/// About how many bytes a record takes.
fn weight(task: &Task) -> usize {
    let raw = |json: &Option<outlast_core::RawJson>| json.as_ref().map_or(0, |j| j.as_str().len());
    let spec = &task.spec;
    let mut bytes = EMPTY
        + spec.tool.len()
        + spec.arguments.as_str().len()
        + raw(&spec.client)
        + raw(&spec.request_meta);
    for input in &task.state.inputs {
        bytes += 256 + input.request.params.as_str().len();
        if let Some(outlast_core::Answer::Given(given)) = &input.answer {
            bytes += given.as_str().len();
        }
    }
    bytes += match task.outcome.as_deref() {
        Some(Outcome::Completed(result)) => {
            result.content.as_str().len() + raw(&result.structured) + raw(&result.meta)
        }
        Some(Outcome::Failed(failure)) => failure.message.len() + raw(&failure.data),
        Some(Outcome::Cancelled { .. }) | None => 0,
    };
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlast_core::{RawJson, TaskSpec, Timestamp};

    fn task(size: usize) -> Arc<Task> {
        let arguments = RawJson::of(&"x".repeat(size)).unwrap();
        let spec = Arc::new(TaskSpec::new("tool", arguments));
        Arc::new(Task::create(spec, 1, Timestamp::from_millis(0)).0)
    }

    #[test]
    fn an_old_reading_is_not_added() {
        let cache = Cache::default();
        let old = task(1);
        let mut new = Task::clone(&old);
        new.state.version = 2;
        let seen = cache.generation(old.id());
        cache.publish(old.id(), Some(&Arc::new(new)));
        cache.add(&old, seen);
        assert_eq!(cache.get(old.id()).unwrap().state.version, 2);

        let seen = cache.generation(old.id());
        cache.publish(old.id(), None);
        cache.add(&old, seen);
        assert!(cache.get(old.id()).is_none(), "deleted");
    }

    #[test]
    fn it_stays_within_its_bounds_and_keeps_what_is_looked_at() {
        let cache = Cache::new(SHARDS * 200_000);
        let kept = task(1000);
        cache.publish(kept.id(), Some(&kept));
        let mut newest = None;
        for _ in 0..5000 {
            assert!(cache.get(kept.id()).is_some());
            let one = task(1000);
            cache.publish(one.id(), Some(&one));
            newest = Some(one.id());
        }
        assert!(cache.get(newest.unwrap()).is_some());
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            let bytes: usize = shard.records.values().map(|entry| entry.bytes).sum();
            assert_eq!(bytes, shard.bytes);
            assert!(bytes <= 200_000);
        }
    }

    #[test]
    fn a_task_that_waits_takes_no_room() {
        let cache = Cache::default();
        let running = task(10);
        let mut suspended = Task::clone(&running);
        suspended.state.phase = Phase::Suspended;
        let suspended = Arc::new(suspended);
        for _ in 0..1000 {
            cache.publish(running.id(), Some(&running));
            cache.publish(running.id(), Some(&suspended));
        }
        assert!(cache.get(running.id()).is_none());
        let shard = cache.shard(running.id());
        assert_eq!(shard.bytes, 0);
        assert!(shard.order.len() < 100, "{}", shard.order.len());
        drop(shard);
        let seen = cache.generation(running.id());
        cache.add(&suspended, seen);
        assert!(cache.get(running.id()).is_some(), "somebody looks at it");
    }

    #[test]
    fn a_huge_record_drives_nobody_out() {
        let cache = Cache::new(SHARDS * 200_000);
        let huge = task(1_000_000);
        cache.publish(huge.id(), Some(&huge));
        assert!(cache.get(huge.id()).is_none());
    }
}
