//! The time limits of an attempt that runs: how long in all, and how long without a sign of life.
//!
//! Both are measured by the store's clock, like every other moment of a task, so that they are exact
//! with a clock that is moved by hand. An attempt that waits for an answer, a timer or another task
//! is not idle and takes no time: it does what it should, and whoever is asked has as long as the
//! question. Once it was suspended it has all of its time again. The limits that hold while nothing runs, in the queue and for
//! the whole task, are kept by the state machine ([`outlast_core::Task::due_at`]).

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use outlast_core::{Failure, FailureReason, Timestamp};

use crate::shared::Shared;

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
    run: Mutex<Run>,
    /// The last sign of life, in milliseconds.
    alive: AtomicI64,
}

struct Run {
    /// When it would have begun if it had never waited.
    begun: Timestamp,
    waits_since: Option<Timestamp>,
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
            run: Mutex::new(Run {
                begun,
                waits_since: None,
            }),
            alive: AtomicI64::new(begun.as_millis()),
        }
    }

    /// Progress, a log line or a journal entry came.
    pub(crate) fn sign_of_life(&self, now: Timestamp) {
        self.alive.fetch_max(now.as_millis(), Ordering::AcqRel);
    }

    /// Whether there is any limit.
    pub(crate) fn limit(&self) -> bool {
        self.timeout.is_some() || self.idle_timeout.is_some()
    }

    /// What holds at `now`; `waits` says whether the handler waits for something in the store, and does
    /// nothing else that is known.
    pub(crate) fn verdict(&self, waits: bool, now: Timestamp) -> Verdict {
        if !self.limit() {
            return Verdict::Unlimited;
        }
        let mut run = self.run.lock().expect("nothing panics under this lock");
        if waits {
            run.waits_since.get_or_insert(now);
            return Verdict::Unlimited;
        }
        if let Some(since) = run.waits_since.take() {
            run.begun = run.begun + now.since(since);
            self.sign_of_life(now);
        }
        let begun = run.begun;
        drop(run);
        let alive = Timestamp::from_millis(self.alive.load(Ordering::Acquire));
        let attempt = self.timeout.map(|limit| {
            let message = format!("the attempt took longer than {limit:?}");
            (begun + limit, FailureReason::Timeout, message)
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
        assert!(matches!(limits.verdict(true, at(100)), Verdict::Unlimited));
        // The wait ended at some moment since; time counts from when that is seen.
        assert!(
            matches!(limits.verdict(false, at(200)), Verdict::Within(left) if left == 4 * SECOND)
        );
        assert!(matches!(limits.verdict(false, at(204)), Verdict::Over(_)));
    }

    #[test]
    fn who_waits_takes_no_time() {
        let limits = Deadlines::new(Some(10 * SECOND), None, at(0));
        assert!(
            matches!(limits.verdict(false, at(8)), Verdict::Within(left) if left == 2 * SECOND)
        );
        assert!(matches!(limits.verdict(true, at(9)), Verdict::Unlimited));
        assert!(matches!(limits.verdict(true, at(60)), Verdict::Unlimited));
        // One second is left of the ten.
        assert!(matches!(limits.verdict(false, at(70)), Verdict::Within(left) if left == SECOND));
        assert!(matches!(limits.verdict(false, at(71)), Verdict::Over(_)));
    }
}
