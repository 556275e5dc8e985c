//! How fast something goes, and when it will be done, from what is seen of its progress.
//!
//! The rate is that of the latest part and not of the whole, so that a slow beginning does not spoil it: half
//! of what it says is younger than [`HALF`]. Nothing is said before two looks lie a moment apart.

use std::time::{Duration, Instant};

use outlast_core::Progress;

/// After so long a change of pace has half its weight.
const HALF: Duration = Duration::from_secs(10);

/// Looks that are nearer to each other tell more of the network than of the work.
const MOMENT: Duration = Duration::from_millis(400);

/// What is known of the pace of one task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    seen: Option<(Instant, f64)>,
    /// Units a second.
    rate: Option<f64>,
}

impl Pace {
    /// Takes a look.
    pub(crate) fn look(&mut self, done: f64, now: Instant) {
        let Some((at, before)) = self.seen else {
            self.seen = Some((now, done));
            return;
        };
        let passed = now.saturating_duration_since(at);
        if done < before {
            // A new attempt begins anew.
            *self = Self::default();
            self.seen = Some((now, done));
            return;
        }
        if passed < MOMENT {
            return;
        }
        let latest = (done - before) / passed.as_secs_f64();
        let weight = 1.0 - 0.5_f64.powf(passed.as_secs_f64() / HALF.as_secs_f64());
        self.rate = Some(match self.rate {
            None => latest,
            Some(rate) => rate + (latest - rate) * weight,
        });
        self.seen = Some((now, done));
    }

    /// Units a second, if something moves.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate.filter(|rate| *rate > 0.0 && rate.is_finite())
    }

    /// How long the rest takes at this pace.
    pub(crate) fn left(&self, progress: &Progress) -> Option<Duration> {
        let rest = progress.total? - progress.done;
        if rest <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(rest / self.rate()?).ok()
    }

    /// The figures in words: `12 of 40, 1.3/s, 21s left`. Empty where there are none.
    pub(crate) fn words(&self, progress: &Progress) -> String {
        let mut words = Vec::new();
        if let Some(total) = progress.total {
            words.push(format!("{} of {total}", progress.done));
        } else if progress.done > 0.0 {
            words.push(progress.done.to_string());
        }
        words.extend(self.rate().map(rate));
        words.extend(
            self.left(progress)
                .map(|left| format!("{} left", short(left))),
        );
        words.join(", ")
    }
}

/// Progress without its signs of life: a server that has nothing new to say adds a millionth of the total to
/// the last value, which the protocol wants to increase (2025-11-25, "Progress"), and leaves the total out once
/// the value has passed it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    received: f64,
    shown: Progress,
}

impl Figures {
    /// Above it a millionth may be a step of its own.
    const LARGEST: f64 = 1e5;

    /// What is to be shown for `progress`, which has come after all the others.
    pub(crate) fn real(&mut self, progress: &Progress) -> Progress {
        let total = self
            .shown
            .total
            .filter(|total| (0.0..Self::LARGEST).contains(total));
        let step = total.unwrap_or(1.0) / 1e6;
        let is_sign = (progress.done - self.received - step).abs() < step / 2.0;
        self.received = progress.done;
        if is_sign {
            self.shown.message.clone_from(&progress.message);
        } else {
            self.shown.clone_from(progress);
        }
        self.shown.clone()
    }
}

/// A rate for people: what is slower than one a second is said by the minute or the hour.
fn rate(a_second: f64) -> String {
    for (unit, seconds) in [("s", 1.0), ("min", 60.0)] {
        let figure = a_second * seconds;
        if figure >= 1.0 {
            let digits = usize::from(figure < 10.0);
            return format!("{figure:.digits$}/{unit}");
        }
    }
    format!("{:.1}/h", a_second * 3600.0)
}

/// A time for people, in its two largest units at most.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: f64, total: f64) -> Progress {
        Progress {
            done,
            total: Some(total),
            ..Progress::default()
        }
    }

    #[test]
    fn a_sign_of_life_is_no_figure() {
        let mut figures = Figures::default();
        let mut shown = |done, total| {
            let progress = Progress {
                total,
                ..progress(done, 0.0)
            };
            let real = figures.real(&progress);
            (real.done, real.total)
        };
        let total = Some(20.0);
        assert_eq!(shown(10.0, total), (10.0, total));
        assert_eq!(shown(10.00002, total), (10.0, total));
        assert_eq!(shown(10.00004, total), (10.0, total));
        assert_eq!(shown(10.5, total), (10.5, total));
        assert_eq!(shown(20.0, total), (20.0, total));
        assert_eq!(shown(20.00002, None), (20.0, total), "the total stays");
        assert_eq!(shown(3.0, None), (3.0, None));
        assert_eq!(shown(3.000001, None), (3.0, None));
        // A step of one in a million is one.
        let many = Some(1e6);
        assert_eq!(shown(7.0, many), (7.0, many));
        assert_eq!(shown(8.0, many), (8.0, many));
    }

    #[test]
    fn the_pace_is_that_of_the_latest_part() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        pace.look(0.0, at(0));
        assert_eq!(pace.words(&progress(0.0, 100.0)), "0 of 100");
        pace.look(10.0, at(10));
        assert_eq!(
            pace.words(&progress(10.0, 100.0)),
            "10 of 100, 1.0/s, 1m30s left"
        );
        pace.look(10.5, at(10) + Duration::from_millis(1));
        assert_eq!(pace.rate(), Some(1.0), "too near to the look before");
        pace.look(50.0, at(50));
        pace.look(90.0, at(60));
        let rate = pace.rate().unwrap();
        assert!((2.0..4.0).contains(&rate), "{rate}");
        pace.look(0.0, at(61));
        assert_eq!(pace.rate(), None, "another attempt");
        assert_eq!(pace.left(&progress(7.0, 7.0)), None);
    }

    #[test]
    fn figures_are_for_people() {
        assert_eq!(
            [rate(12.4), rate(2.25), rate(0.05), rate(0.001)],
            ["12/s", "2.2/s", "3.0/min", "3.6/h"]
        );
        let times = [59, 61, 3_700, 90_000].map(|seconds| short(Duration::from_secs(seconds)));
        assert_eq!(times, ["59s", "1m01s", "1h01m", "1d01h"]);
    }
}
