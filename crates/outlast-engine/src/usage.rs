//! What a run uses up: the time its handler holds a thread, and what a command says about itself.
//!
//! The time is measured around each poll of the handler, and around the whole of a blocking one, so it
//! leaves out what the handler waits for. What other tasks that the handler spawned do is not seen.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use outlast_core::Usage;

use crate::context::Cx;

/// What is less than this is stored with other things only: it is not worth a write of its own.
const WORTH: Duration = Duration::from_millis(50);

pub(crate) struct Meter {
    /// What earlier entries of the attempt used up.
    before: Usage,
    /// Nanoseconds of this entry.
    busy: AtomicU64,
    said: Mutex<Usage>,
}

impl Meter {
    pub(crate) fn new(recorded: Option<Usage>) -> Self {
        Self {
            before: recorded.unwrap_or_default(),
            busy: AtomicU64::new(0),
            said: Mutex::default(),
        }
    }

    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.busy.fetch_add(nanos, Ordering::Relaxed);
    }

    fn here(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// Counts a thread as held until the returned value is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held {
            meter: self,
            since: Instant::now(),
        }
    }

    /// What the attempt has used up so far, when this entry has dropped `dropped` lines of its log.
    pub(crate) fn usage(&self, dropped: u64) -> Usage {
        let said = *self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Usage {
            busy: self.before.busy + self.here(),
            cpu: said.cpu.or(self.before.cpu),
            peak_memory: said.peak_memory.or(self.before.peak_memory),
            lines_dropped: self.before.lines_dropped + dropped,
        }
    }

    /// Whether there is something to tell that nothing else would carry.
    pub(crate) fn is_worth_telling(&self) -> bool {
        let said = *self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.cpu.is_some() || said.peak_memory.is_some() || self.here() >= WORTH
    }
}

/// See [`Meter::hold`].
pub(crate) struct Held<'a> {
    meter: &'a Meter,
    since: Instant,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.meter.add(self.since.elapsed());
    }
}

/// A future whose polls are measured.
pub(crate) struct Metered<'a, F> {
    future: F,
    meter: &'a Meter,
}

impl<'a, F> Metered<'a, F> {
    pub(crate) fn new(future: F, meter: &'a Meter) -> Self {
        Self { future, meter }
    }
}

impl<F: Future + Unpin> Future for Metered<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _held = self.meter.hold();
        Pin::new(&mut self.future).poll(cx)
    }
}

impl Cx {
    /// Says what a process that this attempt ran used up: processor time and the most memory it held,
    /// in bytes. Kept in the record. What was said before is replaced.
    pub fn used(&self, cpu: Option<Duration>, peak_memory: Option<u64>) {
        let said = &self.run.meter.said;
        *said.lock().unwrap_or_else(PoisonError::into_inner) = Usage {
            busy: Duration::ZERO,
            cpu,
            peak_memory,
            lines_dropped: 0,
        };
    }
}
