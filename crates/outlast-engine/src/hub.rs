//! The hub: from the store's notices to those who wait in this process.
//!
//! Whoever waits subscribes first, reads then, and waits last; so a change can fall before the
//! subscription or after it, but never between unseen. A notice is one look into one shard of a map;
//! a task nobody watches costs nothing more.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

use outlast_core::TaskId;
use tokio::sync::watch;

const SHARDS: usize = 16;

/// What is known to have happened to a watched task: counters that only tell "look again".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// The highest version announced.
    pub(crate) version: u64,
    /// How often the log is known to have grown.
    pub(crate) logged: u64,
}

#[derive(Default)]
pub(crate) struct Hub {
    hasher: RandomState,
    shards: [Mutex<HashMap<TaskId, watch::Sender<Seen>>>; SHARDS],
}

impl Hub {
    fn shard(&self, task: TaskId) -> &Mutex<HashMap<TaskId, watch::Sender<Seen>>> {
        let index = self.hasher.hash_one(task) as usize % SHARDS;
        &self.shards[index]
    }

    pub(crate) fn announce(&self, task: TaskId, change: impl FnOnce(&mut Seen)) {
        let shard = self
            .shard(task)
            .lock()
            .expect("nothing panics under this lock");
        if let Some(sender) = shard.get(&task) {
            sender.send_modify(change);
        }
    }

    /// Wakes everybody: anything may have happened.
    pub(crate) fn announce_all(&self) {
        for shard in &self.shards {
            let shard = shard.lock().expect("nothing panics under this lock");
            for sender in shard.values() {
                sender.send_modify(|_| {});
            }
        }
    }

    pub(crate) fn subscribe(self: &Arc<Self>, task: TaskId) -> Subscription {
        let mut shard = self
            .shard(task)
            .lock()
            .expect("nothing panics under this lock");
        let sender = shard
            .entry(task)
            .or_insert_with(|| watch::channel(Seen::default()).0);
        Subscription {
            receiver: sender.subscribe(),
            task,
            hub: Arc::clone(self),
        }
    }
}

/// One who watches a task. Dropping it ends the watch.
pub(crate) struct Subscription {
    receiver: watch::Receiver<Seen>,
    task: TaskId,
    hub: Arc<Hub>,
}

impl Subscription {
    /// Waits until something was announced since the last call, or since the subscription.
    ///
    /// Cancel safe: a dropped wait has consumed nothing.
    pub(crate) async fn changed(&mut self) {
        self.receiver
            .changed()
            .await
            .expect("the hub keeps the sender while somebody watches");
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut shard = self
            .hub
            .shard(self.task)
            .lock()
            .expect("nothing panics under this lock");
        // This receiver is still counted.
        if shard
            .get(&self.task)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            shard.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_subscribing_and_waiting_is_seen() {
        let hub = Arc::new(Hub::default());
        let task = TaskId::random();
        let mut watching = hub.subscribe(task);
        hub.announce(task, |seen| seen.version = 2);
        watching.changed().await;
    }

    #[test]
    fn the_last_watcher_leaves_nothing_behind() {
        let hub = Arc::new(Hub::default());
        let task = TaskId::random();
        let (first, second) = (hub.subscribe(task), hub.subscribe(task));
        drop(first);
        assert!(hub.shard(task).lock().unwrap().contains_key(&task));
        drop(second);
        assert!(!hub.shard(task).lock().unwrap().contains_key(&task));
    }
}
