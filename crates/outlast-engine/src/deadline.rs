//! The time limits of an attempt that runs: how long in all, and how long without a sign of life.
//!
//! Both are measured by the store's clock, like every other moment of a task, so that they are exact
//! with a clock that is moved by hand. An attempt that waits for an answer, a timer or another task
//! is not idle: it does what it should. The limits that hold while nothing runs, in the queue and for
//! the whole task, are kept by the state machine ([`outlast_core::Task::due_at`]).

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use outlast_core::{Failure, FailureReason, Timestamp};

use crate::engine::Shared;

/// What the limits of a run say at some moment.
pub(crate) enum Verdict {
    /// Nothing is limited.
    Unlimited,
    /// Nothing has run out; look again after this long.
    Within(Duration),
    /// Time has run out.
    Over(Failure),
}

pub(crate) struct Deadlines {
    timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    begun: Timestamp,
    /// The last sign of life, in milliseconds.
    alive: AtomicI64,
    waited: AtomicBool,
}

impl Deadlines {
    pub(crate) fn new(
        timeout: Option<Duration>,
        idle_timeout: Option<Duration>,
        begun: Timestamp,
    ) -> Self {
        Self {
            timeout,
            idle_timeout,
            begun,
            alive: AtomicI64::new(begun.as_millis()),
            waited: AtomicBool::new(false),
        }
    }

    /// Progress, a log line or a journal entry came.
    pub(crate) fn sign_of_life(&self, now: Timestamp) {
        self.alive.fetch_max(now.as_millis(), Ordering::AcqRel);
    }

    /// What holds at `now`; `waits` says whether the handler waits for something in the store.
    pub(crate) fn verdict(&self, waits: bool, now: Timestamp) -> Verdict {
        if self.waited.swap(waits, Ordering::AcqRel) || waits {
            self.sign_of_life(now);
        }
        let alive = Timestamp::from_millis(self.alive.load(Ordering::Acquire));
        let attempt = self.timeout.map(|limit| {
            let message = format!("the attempt took longer than {limit:?}");
            (self.begun + limit, FailureReason::Timeout, message)
        });
        let idle = self.idle_timeout.map(|limit| {
            let message = format!(
                "the attempt reported no progress, logged nothing and recorded nothing for {limit:?}"
            );
            (alive + limit, FailureReason::IdleTimeout, message)
        });
        let next = attempt.into_iter().chain(idle).min_by_key(|(at, ..)| *at);
        match next {
            None => Verdict::Unlimited,
            Some((at, ..)) if at > now => Verdict::Within(at.since(now)),
            Some((_, reason, message)) => Verdict::Over(Failure::internal(reason, message)),
        }
    }
}

impl Shared {
    /// Resolves at the moment `at` by the store's clock, also if that clock is moved by hand
    /// ([`crate::Engine::run_due`]).
    pub(crate) async fn until(&self, at: Timestamp) {
        loop {
            let moved = self.moved.notified();
            let now = self.store.clock().now();
            if now >= at {
                return;
            }
            tokio::select! {
                () = moved => {}
                () = tokio::time::sleep(at.since(now)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_nearer_limit_counts() {
        let limits = Deadlines::new(Some(10 * SECOND), Some(4 * SECOND), at(0));
        assert!(
            matches!(limits.verdict(false, at(1)), Verdict::Within(left) if left == 3 * SECOND)
        );
        limits.sign_of_life(at(3));
        assert!(
            matches!(limits.verdict(false, at(4)), Verdict::Within(left) if left == 3 * SECOND)
        );
        let Verdict::Over(failure) = limits.verdict(false, at(7)) else {
            panic!("four seconds without a word");
        };
        assert_eq!(failure.reason, FailureReason::IdleTimeout);
        limits.sign_of_life(at(9));
        let Verdict::Over(failure) = limits.verdict(false, at(10)) else {
            panic!("ten seconds in all");
        };
        assert_eq!(failure.reason, FailureReason::Timeout);
    }

    #[test]
    fn who_waits_is_not_idle() {
        let limits = Deadlines::new(None, Some(4 * SECOND), at(0));
        assert!(matches!(limits.verdict(true, at(100)), Verdict::Within(_)));
        // The wait ended at some moment since; time counts from when that is seen.
        assert!(
            matches!(limits.verdict(false, at(200)), Verdict::Within(left) if left == 4 * SECOND)
        );
        assert!(matches!(limits.verdict(false, at(204)), Verdict::Over(_)));
    }
}
