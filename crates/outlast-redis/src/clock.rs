//! The server's time, without asking for it each time.
//!
//! All processes of a store must mean the same by "now", whatever their machines' clocks say. So the
//! clock runs on the time of Redis: it is asked for at each connection and every few seconds, and what
//! passes in between is taken from this machine's steady clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use outlast_core::{Clock, Timestamp};

/// The time of the Redis server. Never goes back within a process.
#[derive(Debug)]
pub(crate) struct ServerClock {
    began: Instant,
    /// What the server's clock showed at `began`, in milliseconds.
    offset: AtomicI64,
    latest: AtomicI64,
}

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            offset: AtomicI64::new(0),
            latest: AtomicI64::new(0),
        }
    }

    /// Sets the clock by an answer of the server, for which was asked `trip` ago.
    pub(crate) fn set(&self, server: Duration, trip: Duration) {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let offset = millis(server + trip / 2) - millis(self.began.elapsed());
        self.offset.store(offset, Ordering::Release);
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = self.offset.load(Ordering::Acquire).saturating_add(passed);
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
        clock.set(Duration::from_secs(2_000_000), Duration::from_secs(2));
        assert!(clock.now() >= Timestamp::from_millis(2_000_001_000));
    }
}
