//! Ready tasks that no living worker runs: who looks for them, what they say, and when they fail.
//!
//! Every process sees who is alive; one of them at a time watches for all, and another takes over when that
//! one is gone. It looks by tool version, so that its look costs little whatever the number of tasks, and
//! goes through the tasks of a version only where nobody runs it, or where that was noted before. A version
//! counts as missing when nobody has run it for [`PATIENCE`]: a worker that is replaced by the next one is
//! not missed in between.
//!
//! Decision: whether a task has waited too long is decided here too, right after a look at who is alive, and
//! by no clock in the store: a worker that has just come never finds its tasks failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::no_worker::Missing;
use outlast_core::store::ToolVersion;
use outlast_core::{Error, Timestamp, WorkerId};
use serde::{Deserialize, Serialize};

use crate::handle::Handle;
use crate::shared::Shared;

/// For how long nobody must have run a version until its tasks say so.
const PATIENCE: Duration = Duration::from_secs(10);

/// The least time between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// After how long whoever does not watch looks whether the watcher is still alive.
const RELIEF: Duration = Duration::from_secs(30);

/// After how long it goes on where there was more to do.
const SOON: Duration = Duration::from_secs(1);

/// How many tasks of a version one look goes through.
const PAGE: usize = 128;

/// The small record with what the watcher must not forget.
const RECORD: (&str, &str) = ("crew", "no worker");

/// A version of a tool of which tasks stand ready and that no living worker runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Unserved {
    /// The tool.
    pub tool: String,
    /// The version of it.
    pub version: String,
    /// The labels that a worker must have for it, as far as this process knows the tool.
    pub requires: Vec<String>,
}

/// What the watcher leaves to the next one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Watcher {
    worker: WorkerId,
    /// The versions of which tasks may say that nobody runs them.
    noted: BTreeSet<ToolVersion>,
}

impl Watcher {
    async fn put(&self, shared: &Shared) -> Result<(), Error> {
        let record = serde_json::to_vec(self).expect("names and ids have a JSON form");
        let put = shared.store.record_put(RECORD.0, RECORD.1, record, None);
        put.await
    }
}

/// What this process knows of who is missing.
#[derive(Default)]
pub(crate) struct Watch(tokio::sync::Mutex<Watching>);

#[derive(Default)]
struct Watching {
    /// Not before this moment.
    next: Timestamp,
    /// Versions of ready tasks that nobody runs, and since when.
    absent: BTreeMap<ToolVersion, Timestamp>,
    /// How many tasks of a version this round has gone through.
    passed: BTreeMap<ToolVersion, usize>,
    /// Those of which this round has changed some.
    changed: BTreeSet<ToolVersion>,
    /// Those of which tasks are told that somebody runs them again.
    clearing: BTreeSet<ToolVersion>,
}

/// What a look has brought.
#[derive(Default)]
pub(crate) struct Looked {
    /// How many tasks have changed.
    pub(crate) changed: usize,
    /// When there is more to do; without it the next look is at any later time.
    pub(crate) next: Option<Timestamp>,
}

/// Looks whether somebody runs what stands ready, if it is time to.
///
/// # Cancel safety
/// May be dropped and called again.
pub(crate) async fn look(shared: &Arc<Shared>) -> Looked {
    let now = shared.store.clock().now();
    // Whoever holds it looks already.
    let Ok(mut watching) = shared.watch.0.try_lock() else {
        return Looked::default();
    };
    if now < watching.next {
        return Looked {
            changed: 0,
            next: (!watching.absent.is_empty()).then_some(watching.next),
        };
    }
    watching.next = now + EVERY;
    match watching.look(shared, now).await {
        Ok(looked) => {
            if let Some(next) = looked.next {
                watching.next = next;
            }
            looked
        }
        Err(error) => {
            tracing::debug!(%error, "could not look who runs what stands ready; trying again");
            Looked::default()
        }
    }
}

impl Watching {
    async fn look(&mut self, shared: &Arc<Shared>, now: Timestamp) -> Result<Looked, Error> {
        let store = &*shared.store;
        let ready = store.ready_versions().await?;
        self.absent.retain(|version, _| ready.contains(version));
        self.passed.retain(|version, _| ready.contains(version));
        if ready.is_empty() {
            return Ok(Looked::default());
        }
        let crew = Crew::of(shared).await?;
        let absent: BTreeSet<_> = ready.difference(&crew.runs).cloned().collect();
        self.absent.retain(|version, _| absent.contains(version));
        for version in absent {
            self.absent.entry(version).or_insert(now);
        }
        let due = |since: &Timestamp| *since + PATIENCE <= now;
        let missing = self.absent.iter().filter(|(_, since)| due(since));
        let missing: BTreeSet<_> = missing.map(|(version, _)| version.clone()).collect();
        let waits = self.absent.values().filter(|since| !due(since)).min();
        let mut looked = Looked {
            changed: 0,
            next: waits.map(|since| *since + PATIENCE),
        };

        let there = store.record_get(RECORD.0, RECORD.1).await?;
        let there: Option<Watcher> = there.and_then(|left| serde_json::from_slice(&left).ok());
        if let Some(other) = &there
            && other.worker != shared.worker
            && crew.workers.contains(&other.worker)
        {
            // It sees the same.
            looked.next = Some(now + RELIEF);
            return Ok(looked);
        }
        let before = there.as_ref().map(|left| left.noted.clone());
        let mut mine = Watcher {
            worker: shared.worker,
            noted: before
                .unwrap_or_default()
                .union(&missing)
                .cloned()
                .collect(),
        };
        if mine.noted.is_empty() {
            return Ok(looked);
        }
        // Said before it is done: whoever comes after knows where to look.
        if there.as_ref() != Some(&mine) {
            mine.put(shared).await?;
        }
        let mut done = BTreeSet::new();
        for version in &mine.noted {
            let requires = missing.contains(version).then(|| crew.requires(version));
            if requires.is_none() && self.absent.contains_key(version) {
                // It was there, and is missed again, but not for long.
                continue;
            }
            let is_clear = requires.is_none();
            self.turn(version, is_clear);
            let round = self.go_through(shared, version, requires).await?;
            looked.changed += round.changed;
            if round.more {
                looked.next = Some(now + SOON);
            } else if !self.changed.remove(version) && is_clear {
                done.insert(version.clone());
            }
        }
        if !done.is_empty() {
            mine.noted.retain(|version| !done.contains(version));
            mine.put(shared).await?;
        }
        if !self.absent.is_empty() {
            let next = looked.next.unwrap_or(now + EVERY);
            looked.next = Some(next.min(now + EVERY));
        }
        Ok(looked)
    }

    /// Begins a new round where what is to be said of a version has changed.
    fn turn(&mut self, version: &ToolVersion, is_clear: bool) {
        let turned = match is_clear {
            true => self.clearing.insert(version.clone()),
            false => self.clearing.remove(version),
        };
        if turned {
            self.passed.remove(version);
            self.changed.remove(version);
        }
    }

    /// Notes on the next tasks of a version what is known of it.
    async fn go_through(
        &mut self,
        shared: &Shared,
        version: &ToolVersion,
        requires: Option<Vec<String>>,
    ) -> Result<Round, Error> {
        let passed = self.passed.get(version).copied().unwrap_or(0);
        let page = shared.store.ready_tasks(version, passed, PAGE).await?;
        let more = page.len() == PAGE;
        let count = page.len();
        let missing = requires.map(|requires| Missing {
            requires,
            timeout: shared.settings.no_worker_timeout,
        });
        let changed = match page.is_empty() {
            true => 0,
            false => shared.store.note_no_worker(page, missing).await?,
        };
        match more {
            true => self.passed.insert(version.clone(), passed + count),
            false => self.passed.remove(version),
        };
        if changed > 0 {
            self.changed.insert(version.clone());
        }
        Ok(Round { changed, more })
    }
}

/// What came of some tasks of a version.
struct Round {
    changed: usize,
    /// There are more in this round.
    more: bool,
}

/// Who is alive, and what they run.
struct Crew {
    workers: BTreeSet<WorkerId>,
    runs: BTreeSet<ToolVersion>,
    /// The labels that the tools of this process require, by its version.
    known: BTreeMap<ToolVersion, Vec<String>>,
}

impl Crew {
    async fn of(shared: &Arc<Shared>) -> Result<Self, Error> {
        let handle = Handle {
            shared: Arc::clone(shared),
        };
        let signs = handle.workers().await?;
        let tools = shared.tools();
        let known = tools.iter().map(|tool| {
            let version = ToolVersion {
                tool: tool.name.clone(),
                version: tool.version.clone(),
            };
            (version, tool.requires.iter().cloned().collect())
        });
        Ok(Self {
            known: known.collect(),
            workers: signs.iter().map(|sign| sign.worker).collect(),
            runs: signs.into_iter().flat_map(|sign| sign.runs).collect(),
        })
    }

    fn requires(&self, version: &ToolVersion) -> Vec<String> {
        self.known.get(version).cloned().unwrap_or_default()
    }
}

impl Handle {
    /// The tool versions of which tasks stand ready and that no living worker runs, at this moment.
    ///
    /// # Errors
    /// The store failed.
    pub async fn unserved(&self) -> Result<Vec<Unserved>, Error> {
        let ready = self.shared.store.ready_versions().await?;
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let crew = Crew::of(&self.shared).await?;
        let missing = ready.difference(&crew.runs);
        let unserved = missing.map(|version| Unserved {
            tool: version.tool.clone(),
            version: version.version.clone(),
            requires: crew.requires(version),
        });
        Ok(unserved.collect())
    }
}
