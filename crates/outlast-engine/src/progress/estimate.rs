//! When a run will probably end, from how fast it got on so far.
//!
//! The rate is an average that forgets: over the last quarter of the run, and never over less than
//! ten seconds, so that one slow item does not throw the estimate about and a lasting change of pace
//! is believed. Nothing is said before there is something to go by: three seconds of work and two per
//! cent done since this process took the run up. What an earlier process did in a time that nobody
//! measured counts as done and not as speed.

use std::time::Duration;

use outlast_core::Timestamp;

/// The shortest time over which the rate is averaged, in milliseconds.
const MEMORY: f64 = 10_000.0;
/// What must have been seen before anything is said.
const WORKED: Duration = Duration::from_secs(3);
const DONE: f64 = 0.02;
/// An end further away than this is not worth saying.
const FURTHEST: f64 = 30.0 * 24.0 * 3_600_000.0;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    at: Timestamp,
    share: f64,
}

/// Follows how the done share of a run, from 0 to 1, grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Estimate {
    first: Option<Seen>,
    last: Option<Seen>,
    /// Share a millisecond.
    rate: Option<f64>,
}

impl Estimate {
    /// Notes that `share` is done at `at`. A smaller share than before, as after a corrected total,
    /// begins anew.
    pub(crate) fn observe(&mut self, at: Timestamp, share: f64) {
        let seen = Seen { at, share };
        let (Some(first), Some(last)) = (self.first, self.last) else {
            (self.first, self.last) = (Some(seen), Some(seen));
            return;
        };
        if share < last.share {
            *self = Self {
                first: Some(seen),
                last: Some(seen),
                rate: None,
            };
            return;
        }
        let passed = at.since(last.at).as_secs_f64() * 1000.0;
        // What comes in the same millisecond counts with the next one.
        if share == last.share || passed == 0.0 {
            return;
        }
        let pace = (share - last.share) / passed;
        let whole = at.since(first.at).as_secs_f64() * 1000.0;
        let memory = MEMORY.max(whole / 4.0);
        let weight = 1.0 - (-passed / memory).exp();
        self.rate = Some(match self.rate {
            // The first moments weigh as much as all that follow, else the first item would.
            Some(rate) if whole > memory => rate + weight * (pace - rate),
            _ => (share - first.share) / whole,
        });
        self.last = Some(seen);
    }

    /// When the run will probably have ended; `None` while that is not known.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        let (first, last) = (self.first?, self.last?);
        if last.at.since(first.at) < WORKED || last.share - first.share < DONE {
            return None;
        }
        let left = (1.0 - last.share).max(0.0) / self.rate?;
        (left <= FURTHEST).then(|| last.at + Duration::from_secs_f64(left / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_millis((seconds * 1000.0) as i64)
    }

    #[test]
    fn an_even_pace_is_foreseen_exactly_and_not_too_early() {
        let mut estimate = Estimate::default();
        for second in 0..=20 {
            assert_eq!(estimate.end().is_some(), second > 3, "after {second} s");
            estimate.observe(at(f64::from(second)), f64::from(second) / 100.0);
        }
        assert_eq!(estimate.end(), Some(at(100.0)));
    }

    #[test]
    fn one_slow_item_moves_it_little_and_a_new_pace_is_believed() {
        let mut estimate = Estimate::default();
        for second in 0..=50 {
            estimate.observe(at(f64::from(second)), f64::from(second) / 100.0);
        }
        estimate.observe(at(56.0), 0.51);
        let end = estimate.end().unwrap();
        assert!(end > at(100.0) && end < at(140.0), "{end:?}");
        // From here on half as fast.
        let mut share = 0.51;
        for step in 1..=80 {
            share += 0.005;
            estimate.observe(at(56.0 + f64::from(step)), share);
        }
        let left = (1.0 - share) / 0.005;
        let end = estimate.end().unwrap().since(at(136.0)).as_secs_f64();
        assert!((end / left - 1.0).abs() < 0.15, "{end} instead of {left}");
    }

    #[test]
    fn what_an_earlier_process_did_is_no_speed() {
        let mut estimate = Estimate::default();
        estimate.observe(at(1000.0), 0.5);
        for second in 1..=10 {
            estimate.observe(
                at(1000.0 + f64::from(second)),
                0.5 + f64::from(second) / 100.0,
            );
        }
        assert_eq!(estimate.end(), Some(at(1050.0)));
    }

    #[test]
    fn a_larger_total_begins_anew() {
        let mut estimate = Estimate::default();
        for second in 0..=10 {
            estimate.observe(at(f64::from(second)), f64::from(second) / 20.0);
        }
        estimate.observe(at(11.0), 0.1);
        assert_eq!(estimate.end(), None);
    }
}
