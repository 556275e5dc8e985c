//! The numbers of one run, what of them has been told, and which milestones were passed.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_core::{Progress, Timestamp};

use super::estimate::Estimate;

/// Changes below one per cent wait this long.
const SLOW: Duration = Duration::from_secs(1);
/// Even a new message waits this long, so that a chatty handler cannot flood the store.
const FAST: Duration = Duration::from_millis(50);
/// Shares of the total that are logged when they are passed, in per cent.
const MILESTONES: [u8; 3] = [25, 50, 75];

pub(crate) struct ProgressCell {
    inner: Mutex<Inner>,
}

struct Inner {
    now: Progress,
    /// What this entry has counted by itself, from nothing.
    counted: f64,
    told: Progress,
    told_at: Option<Instant>,
    estimate: Estimate,
}

/// Whether progress is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tell {
    /// There is nothing new.
    Nothing,
    /// Not before this moment.
    Later(Instant),
    /// Now.
    Now,
}

/// What is to be told.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Taken {
    pub(crate) progress: Progress,
    /// Milestones that were passed and have not been logged before, in per cent.
    pub(crate) milestones: Vec<u8>,
    before: Progress,
}

impl ProgressCell {
    /// Goes on from what an earlier entry recorded.
    pub(crate) fn new(recorded: Progress, now: Timestamp) -> Self {
        let mut estimate = Estimate::default();
        if let Some(percent) = recorded.percent() {
            estimate.observe(now, percent / 100.0);
        }
        Self {
            inner: Mutex::new(Inner {
                now: recorded.clone(),
                counted: 0.0,
                told: recorded,
                told_at: None,
                estimate,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn snapshot(&self) -> Progress {
        self.lock().now.clone()
    }

    /// Changes the progress and returns it; `None` if that changed nothing. A report that falls
    /// behind what is recorded, as a replay makes it, is swallowed whole.
    pub(crate) fn change(
        &self,
        at: Timestamp,
        change: impl FnOnce(&mut Progress),
    ) -> Option<Progress> {
        Self::changed(&mut self.lock(), at, change)
    }

    /// Moves this entry's own count, which never decreases, and takes it over where it is ahead of what is
    /// recorded. Returns as [`ProgressCell::change`] does.
    pub(crate) fn count(&self, at: Timestamp, to: impl FnOnce(f64) -> f64) -> Option<Progress> {
        let mut inner = self.lock();
        let counted = to(inner.counted);
        if !counted.is_finite() {
            return None;
        }
        let counted = counted.max(inner.counted);
        inner.counted = counted;
        Self::changed(&mut inner, at, |progress| {
            progress.done = progress.done.max(counted);
        })
    }

    fn changed(
        inner: &mut Inner,
        at: Timestamp,
        change: impl FnOnce(&mut Progress),
    ) -> Option<Progress> {
        let mut next = inner.now.clone();
        change(&mut next);
        if !next.done.is_finite() || next.done < inner.told.done || next == inner.now {
            return None;
        }
        if let Some(percent) = next.percent() {
            inner.estimate.observe(at, percent / 100.0);
        }
        next.eta = inner.estimate.end();
        inner.now = next.clone();
        Some(next)
    }

    pub(crate) fn tell(&self, at: Instant) -> Tell {
        let inner = self.lock();
        if inner.now == inner.told {
            return Tell::Nothing;
        }
        let Some(told_at) = inner.told_at else {
            return Tell::Now;
        };
        let step = match (inner.now.percent(), inner.told.percent()) {
            (Some(now), Some(told)) => (now - told).abs() > 1.0,
            (now, told) => now.is_some() != told.is_some(),
        };
        let name = |progress: &Progress| progress.phase.as_ref().map(|phase| phase.name.clone());
        let words =
            inner.now.message != inner.told.message || name(&inner.now) != name(&inner.told);
        let due = told_at + if step || words { FAST } else { SLOW };
        if due <= at {
            Tell::Now
        } else {
            Tell::Later(due)
        }
    }

    /// What is to be told now; it counts as told from here on.
    pub(crate) fn take(&self, at: Instant) -> Option<Taken> {
        let mut inner = self.lock();
        if inner.now == inner.told {
            return None;
        }
        let percent = inner.now.percent().unwrap_or(0.0);
        let passed = MILESTONES
            .into_iter()
            .filter(|milestone| *milestone > inner.now.milestone)
            .filter(|milestone| percent >= f64::from(*milestone));
        let milestones: Vec<u8> = passed.collect();
        if let Some(last) = milestones.last() {
            inner.now.milestone = *last;
        }
        let now = inner.now.clone();
        let before = std::mem::replace(&mut inner.told, now);
        inner.told_at = Some(at);
        Some(Taken {
            progress: inner.now.clone(),
            milestones,
            before,
        })
    }

    /// What was taken could not be told: it is to be told again.
    pub(crate) fn put_back(&self, taken: Taken) {
        let mut inner = self.lock();
        inner.now.milestone = taken.before.milestone;
        inner.told = taken.before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn cell() -> (ProgressCell, Instant) {
        let cell = ProgressCell::new(Progress::default(), NOW);
        cell.change(NOW, |progress| progress.total = Some(1000.0));
        let start = Instant::now();
        assert_eq!(cell.tell(start), Tell::Now);
        cell.take(start);
        (cell, start)
    }

    #[test]
    fn a_small_step_waits_and_a_large_one_does_not() {
        let (cell, start) = cell();
        cell.change(NOW, |progress| progress.done = 5.0);
        assert_eq!(cell.tell(start), Tell::Later(start + SLOW));
        cell.change(NOW, |progress| progress.done = 11.0);
        assert_eq!(cell.tell(start), Tell::Later(start + FAST));
        assert_eq!(cell.tell(start + FAST), Tell::Now);
    }

    #[test]
    fn a_message_alone_is_told() {
        let (cell, start) = cell();
        cell.change(NOW, |progress| progress.message = Some("still here".into()));
        assert_eq!(cell.tell(start + FAST), Tell::Now);
    }

    #[test]
    fn a_replay_cannot_take_progress_back() {
        let recorded = Progress {
            done: 7.0,
            ..Progress::default()
        };
        let cell = ProgressCell::new(recorded, NOW);
        assert_eq!(cell.change(NOW, |progress| progress.done = 3.0), None);
        assert_eq!(cell.snapshot().done, 7.0);
    }

    #[test]
    fn a_replay_counts_nothing_twice() {
        let recorded = Progress {
            done: 7.0,
            total: Some(20.0),
            ..Progress::default()
        };
        let cell = ProgressCell::new(recorded, NOW);
        for _ in 0..7 {
            assert_eq!(cell.count(NOW, |counted| counted + 1.0), None);
        }
        let next = cell.count(NOW, |counted| counted + 1.0).unwrap();
        assert_eq!(next.done, 8.0);
        assert_eq!(cell.count(NOW, |_| f64::NAN), None);
        assert_eq!(cell.count(NOW, |counted| counted.max(3.0)), None);
    }

    #[test]
    fn milestones_are_passed_once() {
        let (cell, start) = cell();
        let passed = |done: f64| {
            cell.change(NOW, |progress| progress.done = done);
            cell.take(start).unwrap().milestones
        };
        assert!(passed(249.0).is_empty());
        assert_eq!(passed(600.0), [25, 50]);
        // The total grows and is worked off: nothing is passed twice.
        cell.change(NOW, |progress| progress.total = Some(4000.0));
        assert!(passed(2400.0).is_empty());
        assert_eq!(passed(4000.0), [75]);
        let next = ProgressCell::new(cell.snapshot(), NOW);
        next.change(NOW, |progress| progress.done = 4001.0);
        assert!(next.take(start).unwrap().milestones.is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let (cell, start) = cell();
        cell.change(NOW, |progress| progress.done = 300.0);
        let taken = cell.take(start).unwrap();
        assert_eq!(cell.tell(start), Tell::Nothing);
        cell.put_back(taken.clone());
        assert_ne!(cell.tell(start), Tell::Nothing);
        assert_eq!(cell.take(start).unwrap(), taken);
    }
}
