//! How long tools usually take: the only thing that can be said of a task that reports nothing.
//!
//! Of each tool the times of the last runs that ended well, in one go and without a question, are
//! kept; what is told is their median, from three runs on. It goes into the specification of each new
//! task, so that it costs no write of its own. The statistic is stored from time to time and at a clean
//! stop: a crash costs it the last half minute, which is nothing that anybody was promised.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outlast_core::{Outcome, Store, Task};
use tokio::sync::Notify;

use crate::shared::Shared;

/// Runs of a tool that are kept.
const KEPT: usize = 31;
/// Runs that must have been seen before anything is said.
const ENOUGH: usize = 3;
/// Tools that are kept; the names come from the server's own code and file.
const TOOLS: usize = 10_000;
/// How long a change may wait to be stored.
const STORE_AFTER: Duration = Duration::from_secs(30);
/// Where the statistic is.
const SPACE: &str = "engine";
const KEY: &str = "usual times";

/// Milliseconds of the last runs, the oldest first, by tool.
type Times = BTreeMap<String, VecDeque<u64>>;

#[derive(Default)]
pub(crate) struct UsualTimes {
    times: Mutex<Times>,
    changed: AtomicBool,
    change: Notify,
}

impl UsualTimes {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, outlast_core::Error> {
        let stored = store.record_get(SPACE, KEY).await?;
        // What cannot be read is a statistic of another build: it is collected anew.
        let times = stored.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Self {
            times: Mutex::new(times.unwrap_or_default()),
            ..Self::default()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().expect("nothing panics under this lock")
    }

    /// The median of the last runs of a tool, if there were enough.
    pub(crate) fn of(&self, tool: &str) -> Option<Duration> {
        let times = self.lock();
        let last = times.get(tool).filter(|last| last.len() >= ENOUGH)?;
        let mut sorted: Vec<u64> = last.iter().copied().collect();
        drop(times);
        sorted.sort_unstable();
        Some(Duration::from_millis(sorted[sorted.len() / 2]))
    }

    /// Notes how long a task took, if it ended well and says something about its tool.
    pub(crate) fn note(&self, task: &Task) {
        let state = &task.state;
        let well =
            matches!(task.outcome.as_deref(), Some(Outcome::Completed(result)) if !result.is_error);
        let (Some(started), Some(finished)) = (state.started_at, state.finished_at) else {
            return;
        };
        if !well || state.attempt != 1 || !state.inputs.is_empty() {
            return;
        }
        let took = u64::try_from(finished.since(started).as_millis()).unwrap_or(u64::MAX);
        let mut times = self.lock();
        if times.len() >= TOOLS && !times.contains_key(&task.spec.tool) {
            return;
        }
        let last = times.entry(task.spec.tool.clone()).or_default();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(took);
        drop(times);
        self.changed.store(true, Ordering::Release);
        self.change.notify_one();
    }

    /// Stores the statistic if it has changed.
    pub(crate) async fn store(&self, store: &dyn Store) {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return;
        }
        let json = serde_json::to_vec(&*self.lock()).expect("names and numbers have a JSON form");
        if let Err(error) = store.record_put(SPACE, KEY, json, None).await {
            self.changed.store(true, Ordering::Release);
            tracing::debug!(%error, "could not store how long tools usually take");
        }
    }
}

/// Stores the statistic from time to time, until the engine stops.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = shared.usual.change.notified() => {}
        }
        tokio::select! {
            // Stored with the stop.
            () = shared.stopping.cancelled() => return,
            () = tokio::time::sleep(STORE_AFTER) => shared.usual.store(&*shared.store).await,
        }
    }
}
