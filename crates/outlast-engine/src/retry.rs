//! Retrying: how often, and how long to wait in between.

use std::time::Duration;

use outlast_core::TaskId;

/// A policy for trying again after an error: exponential backoff with jitter.
///
/// Counts errors only. Crashes have a bound of their own, and lost leases and clean stops count for
/// nothing. A protocol error or a tool error is retried unless it says otherwise
/// ([`crate::Error::never_retry`], [`crate::Error::retry_after`]); errors of the engine are not.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Retry {
    /// How often the work is tried in all; 1 means never again.
    pub attempts: u32,
    /// The wait after the first error.
    pub first: Duration,
    /// By how much each wait is longer than the one before.
    pub factor: f64,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Retry {
    /// Three attempts, waits of 1 s and 2 s, never more than a minute.
    fn default() -> Self {
        Self {
            attempts: 3,
            first: Duration::from_secs(1),
            factor: 2.0,
            longest: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The default waits with this many attempts.
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            ..Self::default()
        }
    }

    /// How long to wait after the `errors`th error; `None` if that was the last attempt. The upper
    /// half of the wait is random, so that what failed together does not come back together.
    pub(crate) fn wait_after(&self, errors: u32) -> Option<Duration> {
        if errors >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(errors.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.first.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let wait = grown.min(self.longest.as_secs_f64());
        let random = f64::from(TaskId::random().as_bytes()[0]) / 255.0;
        Some(Duration::from_secs_f64(wait * (0.5 + random / 2.0)))
    }
}

/// What an error says about trying again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum RetryHint {
    #[default]
    AsConfigured,
    After(Duration),
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let retry = Retry {
            attempts: 10,
            longest: Duration::from_secs(5),
            ..Retry::default()
        };
        for errors in 1..10 {
            let wait = retry.wait_after(errors).unwrap().as_secs_f64();
            let full = f64::from(2_u32.pow(errors - 1)).min(5.0);
            assert!((full / 2.0..=full).contains(&wait), "{errors}: {wait}");
        }
        assert_eq!(retry.wait_after(10), None);
        assert_eq!(Retry::attempts(1).wait_after(1), None);
    }
}
