//! The store's time, without asking for it each time.
//!
//! All processes of a store must mean the same by "now", whatever their machines' clocks say. So the
//! clock runs on the time of Redis: it is asked for with each [pulse](crate::pulse), and what passes in
//! between is taken from this machine's steady clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use outlast_core::{Clock, Timestamp};

/// An answer that took longer says too little about when it was given to move the clock.
const SLOW: Duration = Duration::from_secs(1);

/// The time of the store. Never goes back within a process.
#[derive(Debug)]
pub(crate) struct ServerClock {
    began: Instant,
    /// What the store's clock showed at `began`, in milliseconds; the smallest number before it is known.
    offset: AtomicI64,
    latest: AtomicI64,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            offset: AtomicI64::new(i64::MIN),
            latest: AtomicI64::new(0),
        }
    }

    /// Sets the clock by an answer of the server, for which was asked `trip` ago.
    pub(crate) fn set(&self, server: Duration, trip: Duration) {
        let known = self.offset.load(Ordering::Acquire) != i64::MIN;
        if known && trip > SLOW {
            return;
        }
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // Never ahead of the server by more than the way to it.
        let way = trip.min(SLOW) / 2;
        let offset = millis(server + way) - millis(self.began.elapsed());
        self.offset.store(offset, Ordering::Release);
    }

    /// The latest time that anybody may have been told; `None` before the first answer.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let latest = self.latest.load(Ordering::Acquire);
        (latest > 0).then(|| Timestamp::from_millis(latest))
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let offset = self.offset.load(Ordering::Acquire).max(0);
        let now = offset.saturating_add(passed);
        let latest = self.latest.fetch_max(now, Ordering::AcqRel);
        Timestamp::from_millis(now.max(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_server_and_never_goes_back() {
        let clock = ServerClock::new();
        clock.set(Duration::from_secs(1_000_000), Duration::ZERO);
        let first = clock.now();
        assert!(first >= Timestamp::from_millis(1_000_000_000));
        clock.set(Duration::from_secs(500_000), Duration::ZERO);
        assert!(clock.now() >= first);
        clock.set(Duration::from_secs(2_000_000), Duration::from_secs(1));
        assert!(clock.now() >= Timestamp::from_millis(2_000_000_500));
        // An answer that was long on its way moves nothing.
        clock.set(Duration::from_secs(3_000_000), Duration::from_secs(9));
        assert!(clock.now() < Timestamp::from_millis(3_000_000_000));
    }
}
