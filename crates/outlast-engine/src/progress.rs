//! Progress: what a handler reports, and when it is told to the world.
//!
//! Reporting is a change of a few numbers under a lock; it never waits and never fails. The driver
//! stores what is worth it: a step of more than one per cent, a new message, or anything after a
//! second; and always the last word. What is done never decreases.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_core::Progress;

use crate::run::Run;

/// Changes below one per cent wait this long.
const SLOW: Duration = Duration::from_secs(1);
/// Even a new message waits this long, so that a chatty handler cannot flood the store.
const FAST: Duration = Duration::from_millis(50);

pub(crate) struct ProgressCell {
    inner: Mutex<Inner>,
}

struct Inner {
    now: Progress,
    told: Progress,
    told_at: Option<Instant>,
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

impl ProgressCell {
    /// Goes on from what an earlier entry recorded.
    pub(crate) fn new(recorded: Progress) -> Self {
        Self {
            inner: Mutex::new(Inner {
                now: recorded.clone(),
                told: recorded,
                told_at: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn snapshot(&self) -> Progress {
        self.lock().now.clone()
    }

    /// Changes the progress. A report that falls behind what is recorded, as a replay makes it, is
    /// swallowed whole.
    fn change(&self, change: impl FnOnce(&mut Progress)) -> bool {
        let mut inner = self.lock();
        let mut next = inner.now.clone();
        change(&mut next);
        if !next.done.is_finite() || next.done < inner.told.done || next == inner.now {
            return false;
        }
        inner.now = next;
        true
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
        let due = told_at
            + if step || inner.now.message != inner.told.message {
                FAST
            } else {
                SLOW
            };
        if due <= at {
            Tell::Now
        } else {
            Tell::Later(due)
        }
    }

    /// What is to be told now; it counts as told from here on.
    pub(crate) fn take(&self, at: Instant) -> Option<Progress> {
        let mut inner = self.lock();
        if inner.now == inner.told {
            return None;
        }
        inner.told = inner.now.clone();
        inner.told_at = Some(at);
        Some(inner.now.clone())
    }
}

/// Reports progress. Cheap to clone; every clone speaks for the same run.
#[derive(Clone)]
pub struct ProgressReporter {
    pub(crate) run: Arc<Run>,
}

impl ProgressReporter {
    fn change(&self, change: impl FnOnce(&mut Progress)) -> &Self {
        if self.run.progress.change(change) {
            self.run.sign_of_life();
            self.run.poke.notify_one();
        }
        self
    }

    /// Sets how many items there are. May be corrected at any time.
    pub fn total(&self, total: impl Into<f64>) -> &Self {
        let total = total.into();
        self.change(|progress| progress.total = Some(total).filter(|total| total.is_finite()))
    }

    /// Counts `items` more as finished.
    pub fn inc(&self, items: impl Into<f64>) -> &Self {
        let items = items.into();
        self.change(|progress| progress.done += items.max(0.0))
    }

    /// Sets how many items are finished. A smaller number than before changes nothing.
    pub fn done(&self, done: impl Into<f64>) -> &Self {
        let done = done.into();
        self.change(|progress| progress.done = progress.done.max(done))
    }

    /// Says what is happening now.
    pub fn message(&self, message: impl Into<String>) -> &Self {
        let message = message.into();
        self.change(|progress| progress.message = Some(message))
    }

    /// What has been reported so far.
    pub fn snapshot(&self) -> Progress {
        self.run.progress.snapshot()
    }

    /// Goes through `items` and counts each as finished when the next one is asked for. The total is
    /// what the iterator says about its length, where it knows.
    pub fn over<I: IntoIterator>(&self, items: I) -> Over<I::IntoIter> {
        let items = items.into_iter();
        if let (lower, Some(upper)) = items.size_hint()
            && lower == upper
        {
            self.total(upper as f64);
        }
        Over {
            items,
            reporter: self.clone(),
            begun: 0,
        }
    }
}

/// The iterator of [`ProgressReporter::over`].
pub struct Over<I> {
    items: I,
    reporter: ProgressReporter,
    begun: u32,
}

impl<I: Iterator> Iterator for Over<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        // Counted absolutely and not by increments, so that a replay does not count twice.
        self.reporter.done(self.begun);
        let item = self.items.next()?;
        self.begun += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> (ProgressCell, Instant) {
        let cell = ProgressCell::new(Progress::default());
        cell.change(|progress| progress.total = Some(1000.0));
        let start = Instant::now();
        assert_eq!(cell.tell(start), Tell::Now);
        cell.take(start);
        (cell, start)
    }

    #[test]
    fn a_small_step_waits_and_a_large_one_does_not() {
        let (cell, start) = cell();
        cell.change(|progress| progress.done = 5.0);
        assert_eq!(cell.tell(start), Tell::Later(start + SLOW));
        cell.change(|progress| progress.done = 11.0);
        assert_eq!(cell.tell(start), Tell::Later(start + FAST));
        assert_eq!(cell.tell(start + FAST), Tell::Now);
    }

    #[test]
    fn a_message_alone_is_told() {
        let (cell, start) = cell();
        cell.change(|progress| progress.message = Some("still here".into()));
        assert_eq!(cell.tell(start + FAST), Tell::Now);
    }

    #[test]
    fn a_replay_cannot_take_progress_back() {
        let cell = ProgressCell::new(Progress {
            done: 7.0,
            ..Progress::default()
        });
        assert!(!cell.change(|progress| progress.done = 3.0));
        assert_eq!(cell.snapshot().done, 7.0);
    }
}
