//! Time as a parameter.
//!
//! A store reads its clock once inside each atomic unit and hands the reading to the state machine;
//! nothing else in the engine decides by the time of day. Tests shift a manual clock instead of
//! sleeping. The system clock never goes back within a process, so that no order of events can
//! contradict their times after somebody has set the machine's clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every moment a task can live to see.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates: a duration too long to count ends at [`Timestamp::MAX`].
    fn add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, as both protocol eras want it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Outside the years jiff can name: only `MAX` and broken records get here.
            Err(_) => f.write_str(if self.0 > 0 {
                "9999-12-30T22:00:00.999Z"
            } else {
                "-009999-01-02T01:59:59.000Z"
            }),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = String;

    /// RFC 3339 with an offset; what is finer than milliseconds is left off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            format!("{text:?} is no moment with an offset, as 2026-12-01T07:00:00+01:00")
        })?;
        Ok(Self(time.as_millisecond()))
    }
}

/// Where a store reads the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now. Never earlier than an answer this clock has given before.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, kept from going back.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl SystemClock {
    /// A clock that follows the machine's.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            });
        let latest = self.latest.fetch_max(wall, Ordering::AcqRel);
        Timestamp(wall.max(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rfc_3339() {
        let time = Timestamp::from_millis(1_795_230_000_042);
        assert_eq!(time.to_string(), "2026-11-21T03:00:00.042Z");
        assert_eq!(
            Timestamp::from_millis(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn reads_rfc_3339() {
        let time = Timestamp::from_millis(1_795_230_000_042);
        for text in ["2026-11-21T03:00:00.0429Z", "2026-11-21T04:00:00.042+01:00"] {
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
        for text in ["", "2026-11-21", "2026-11-21T03:00:00", "tomorrow"] {
            assert!(text.parse::<Timestamp>().unwrap_err().contains("offset"));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::from_millis(5) + Duration::MAX, Timestamp::MAX);
        assert_eq!(
            Timestamp::from_millis(5).since(Timestamp::from_millis(9)),
            Duration::ZERO
        );
        assert!(!Timestamp::MAX.to_string().is_empty());
    }
}
