//! What this process has done since it began: counts, distributions of times, and the last three hours
//! minute by minute.
//!
//! Kept in memory, for whoever watches the process: a metrics page, a chart. What has to be known over
//! restarts is in the store, which counts its tasks itself ([`outlast_core::store::Stats`]). One note
//! costs one short lock; names of tools are the only thing that grows.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_core::{Standing, Task, Timestamp};

use crate::handle::Handle;

/// How many minutes are kept.
const MINUTES: usize = 180;

const MINUTE: i64 = 60_000;

/// How long tasks and store calls may take, in seconds: the upper bounds of the buckets.
const TASK_BOUNDS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// The bounds for calls of the store.
const STORE_BOUNDS: [f64; 11] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0,
];

/// A distribution of times.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and the last for what is above them all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    fn note(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// The upper bounds in seconds, each with how many times were not above it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }

    /// How many times there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// What became of tasks of one tool in this process.
#[derive(Clone, PartialEq, Debug)]
pub struct ToolFigures {
    /// Created by callers of this process; children and what schedules create are not among them.
    pub created: u64,
    /// Attempts begun here.
    pub attempts: u64,
    /// Attempts that failed and are followed by another.
    pub retries: u64,
    /// Ended here, by how: `completed`, `error` (the tool ran and said that it failed), `failed`,
    /// `cancelled`.
    pub ended: BTreeMap<&'static str, u64>,
    /// From when a task could have run, which is its creation or its `run_at`, to its first start.
    pub waiting: Histogram,
    /// From its first start to its end, with what it waited in between.
    pub running: Histogram,
}

impl Default for ToolFigures {
    fn default() -> Self {
        Self {
            created: 0,
            attempts: 0,
            retries: 0,
            ended: BTreeMap::new(),
            waiting: Histogram::new(&TASK_BOUNDS),
            running: Histogram::new(&TASK_BOUNDS),
        }
    }
}

/// One minute of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Minute {
    /// When it began.
    pub at: Timestamp,
    /// Tasks created by callers.
    pub created: u64,
    /// Tasks started for the first time.
    pub started: u64,
    /// Tasks that ended well.
    pub completed: u64,
    /// Tasks that ended otherwise.
    pub unsuccessful: u64,
    /// How long those that were started had waited, together.
    pub waited: Duration,
    /// The longest of these.
    pub longest_wait: Duration,
    /// How long those that ended had run, together.
    pub ran: Duration,
    /// The longest of these.
    pub longest_run: Duration,
}

/// What this process has done.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    /// Since when.
    pub since: Timestamp,
    /// By the names of the tools.
    pub tools: BTreeMap<String, ToolFigures>,
    /// Runs that were taken from this process because their lease ran out, or by a forced cancel.
    pub leases_lost: u64,
    /// Attempts to deliver webhooks, by what came of them: `delivered`, `failed`, `gone`.
    pub webhooks: BTreeMap<&'static str, u64>,
    /// How long the store took for a call, by what was called, with the wait for its turn.
    pub store: BTreeMap<&'static str, Histogram>,
    /// The last minutes in order, the present one last.
    pub minutes: Vec<Minute>,
    /// How many tasks this process runs at a time.
    pub slots: usize,
    /// How many of these are taken.
    pub slots_taken: usize,
}

impl Handle {
    /// What this process has done since it began.
    pub fn figures(&self) -> Figures {
        let (shared, now) = (&self.shared, self.now());
        let meters = shared.meters.lock();
        Figures {
            since: meters.since,
            tools: meters.tools.clone(),
            leases_lost: meters.leases_lost,
            webhooks: meters.webhooks.clone(),
            store: meters.store.clone(),
            minutes: meters.minutes_until(now),
            slots: shared.settings.slots,
            slots_taken: shared.settings.slots.saturating_sub(shared.slots.free()),
        }
    }
}

/// Where the figures are kept.
pub(crate) struct Meters(Mutex<Kept>);

struct Kept {
    since: Timestamp,
    tools: BTreeMap<String, ToolFigures>,
    leases_lost: u64,
    webhooks: BTreeMap<&'static str, u64>,
    store: BTreeMap<&'static str, Histogram>,
    minutes: VecDeque<Minute>,
}

impl Kept {
    fn tool(&mut self, name: &str) -> &mut ToolFigures {
        if !self.tools.contains_key(name) {
            self.tools.insert(name.to_owned(), ToolFigures::default());
        }
        self.tools.get_mut(name).expect("put there above")
    }

    fn minute(&mut self, now: Timestamp) -> &mut Minute {
        let at = minute_of(now);
        if self.minutes.back().is_none_or(|last| last.at < at) {
            if self.minutes.len() == MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute {
                at,
                ..Minute::default()
            });
        }
        self.minutes.back_mut().expect("pushed above")
    }

    /// All of the last minutes, also those in which nothing happened.
    fn minutes_until(&self, now: Timestamp) -> Vec<Minute> {
        let last = minute_of(now).as_millis();
        let first = minute_of(self.since).as_millis();
        let first = first.max(last - MINUTE * (MINUTES as i64 - 1));
        let mut kept = self.minutes.iter().peekable();
        let mut minutes = Vec::with_capacity(MINUTES);
        let mut at = first;
        while at <= last {
            while kept.next_if(|minute| minute.at.as_millis() < at).is_some() {}
            let there = kept.next_if(|minute| minute.at.as_millis() == at);
            minutes.push(there.copied().unwrap_or(Minute {
                at: Timestamp::from_millis(at),
                ..Minute::default()
            }));
            at += MINUTE;
        }
        minutes
    }
}

fn minute_of(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(MINUTE) * MINUTE)
}

impl Meters {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Kept {
            since: now,
            tools: BTreeMap::new(),
            leases_lost: 0,
            webhooks: BTreeMap::new(),
            store: BTreeMap::new(),
            minutes: VecDeque::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn created(&self, task: &Task) {
        let mut kept = self.lock();
        kept.tool(&task.spec.tool).created += 1;
        kept.minute(task.state.created_at).created += 1;
    }

    /// An attempt begins, with or without something recorded by an earlier entry.
    pub(crate) fn started(&self, task: &Task) {
        let state = &task.state;
        let (Some(_), Some(started)) = (&state.held, state.started_at) else {
            return;
        };
        if task.is_finished() {
            return;
        }
        let mut kept = self.lock();
        let tool = kept.tool(&task.spec.tool);
        tool.attempts += 1;
        // Its first lease: not an entry after a wait, and no later attempt, which may begin in the same millisecond.
        if state.epoch != 1 {
            return;
        }
        let could = task
            .spec
            .run_at
            .map_or(state.created_at, |at| at.max(state.created_at));
        let waited = started.since(could);
        tool.waiting.note(waited);
        let minute = kept.minute(started);
        minute.started += 1;
        minute.waited += waited;
        minute.longest_wait = minute.longest_wait.max(waited);
    }

    pub(crate) fn retried(&self, task: &Task) {
        self.lock().tool(&task.spec.tool).retries += 1;
    }

    /// A task got its outcome, here.
    pub(crate) fn ended(&self, task: &Task) {
        let Some(finished) = task.state.finished_at else {
            return;
        };
        let how = task.standing();
        let ran = task.state.started_at.map(|started| finished.since(started));
        let mut kept = self.lock();
        let tool = kept.tool(&task.spec.tool);
        *tool.ended.entry(how.as_str()).or_default() += 1;
        if let Some(ran) = ran {
            tool.running.note(ran);
        }
        let minute = kept.minute(finished);
        let ran = ran.unwrap_or_default();
        minute.ran += ran;
        minute.longest_run = minute.longest_run.max(ran);
        if how == Standing::Completed {
            minute.completed += 1;
        } else {
            minute.unsuccessful += 1;
        }
    }

    pub(crate) fn lease_lost(&self) {
        self.lock().leases_lost += 1;
    }

    /// A webhook was tried.
    pub(crate) fn webhook(&self, what: &'static str) {
        *self.lock().webhooks.entry(what).or_default() += 1;
    }

    /// Measures a call of the store.
    pub(crate) async fn timed<T>(&self, what: &'static str, call: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let value = call.await;
        let took = begun.elapsed();
        let mut kept = self.lock();
        let times = kept.store.entry(what);
        times
            .or_insert_with(|| Histogram::new(&STORE_BOUNDS))
            .note(took);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_every_bucket_that_is_not_below_it() {
        let mut times = Histogram::new(&STORE_BOUNDS);
        times.note(Duration::from_millis(1));
        times.note(Duration::from_millis(7));
        times.note(Duration::from_secs(9));
        let counts: Vec<_> = times.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]);
        assert_eq!(times.count(), 3);
        assert!((times.sum() - 9.008).abs() < 1e-9);
    }

    #[test]
    fn minutes_without_anything_are_there_too_and_old_ones_are_not() {
        let at = |minute: i64| Timestamp::from_millis(minute * MINUTE + 1);
        let meters = Meters::new(at(10));
        let mut kept = meters.lock();
        kept.minute(at(10)).created += 1;
        kept.minute(at(12)).created += 2;
        let created = |minutes: &[Minute]| -> Vec<u64> {
            minutes.iter().map(|minute| minute.created).collect()
        };
        assert_eq!(created(&kept.minutes_until(at(13))), [1, 0, 2, 0]);
        let later = kept.minutes_until(at(12 + MINUTES as i64 - 1));
        assert_eq!(later.len(), MINUTES);
        assert_eq!(created(&later[..2]), [2, 0]);
    }
}
