//! How far a task is: finished items out of a total, and what it is doing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The latest progress of a task. Counts *finished* items; kept in the final record.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Finished items. Never decreases over the life of a task.
    pub done: f64,
    /// All items, where known. May be corrected while the task runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What is happening now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The part of the work that is under way, where the work has parts. Then `done` of `total` is the
    /// whole in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ProgressPhase>,
    /// When the work will probably be done. An estimate, and unknown at first. `None` once the task
    /// has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Timestamp>,
    /// The last milestone that was passed and logged: 25, 50 or 75 per cent; 0 before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub milestone: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// A part of the work, and its own items.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ProgressPhase {
    /// Its name; for a part of a part `outer / inner`.
    pub name: String,
    /// Its finished items.
    pub done: f64,
    /// All its items, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
}

impl Progress {
    /// Done as a share of the total, from 0 to 100; `None` where no total is known.
    pub fn percent(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0.0)?;
        Some((self.done / total * 100.0).clamp(0.0, 100.0))
    }

    /// Whether nothing has been reported.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How long the work will probably take from `at` on; `None` while that is not known.
    pub fn remaining(&self, at: Timestamp) -> Option<Duration> {
        self.eta.map(|eta| eta.since(at))
    }

    /// One line for a status message: `45 % · 9 of 20 · message`, and with parts
    /// `45 % · Deleting · 9 of 20 · message`. `None` if nothing was reported.
    pub fn line(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(percent) = self.percent() {
            parts.push(format!("{percent:.0} %"));
        }
        let (done, total) = match &self.phase {
            Some(phase) => {
                parts.push(phase.name.clone());
                (phase.done, phase.total)
            }
            None => (self.done, self.total),
        };
        match total {
            Some(total) => parts.push(format!("{} of {}", Count(done), Count(total))),
            None if done > 0.0 => parts.push(Count(done).to_string()),
            None => {}
        }
        parts.extend(self.message.clone());
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
}

/// A span of time as an estimate is said: `about 40 s`, `about 12 min`, `about 3 h`.
pub fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        ..10.0 => return "a few seconds".into(),
        ..90.0 => ((seconds / 5.0).round() * 5.0, "s"),
        ..5400.0 => ((seconds / 60.0).round(), "min"),
        ..172_800.0 => ((seconds / 3600.0).round(), "h"),
        _ => ((seconds / 86_400.0).round(), "days"),
    };
    format!("about {number:.0} {unit}")
}

/// Whole numbers without a fraction, others with at most two digits of it.
struct Count(f64);

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.fract() == 0.0 {
            write!(f, "{:.0}", self.0)
        } else {
            write!(f, "{:.2}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let mut progress = Progress::default();
        assert_eq!(progress.line(), None);
        progress.message = Some("linking".into());
        assert_eq!(progress.line().unwrap(), "linking");
        progress.done = 9.0;
        assert_eq!(progress.line().unwrap(), "9 · linking");
        progress.total = Some(20.0);
        assert_eq!(progress.line().unwrap(), "45 % · 9 of 20 · linking");
    }

    #[test]
    fn parts_are_named() {
        let progress = Progress {
            done: 45.0,
            total: Some(100.0),
            phase: Some(ProgressPhase {
                name: "Deleting".into(),
                done: 9.0,
                total: Some(20.0),
            }),
            message: Some("s-9".into()),
            ..Progress::default()
        };
        assert_eq!(progress.line().unwrap(), "45 % · Deleting · 9 of 20 · s-9");
    }

    #[test]
    fn estimates_are_round() {
        let said = |seconds| about(Duration::from_secs(seconds));
        assert_eq!(said(3), "a few seconds");
        assert_eq!(said(42), "about 40 s");
        assert_eq!(said(700), "about 12 min");
        assert_eq!(said(11_000), "about 3 h");
        assert_eq!(said(400_000), "about 5 days");
    }

    #[test]
    fn a_total_of_zero_has_no_percentage() {
        let progress = Progress {
            total: Some(0.0),
            ..Progress::default()
        };
        assert_eq!(progress.percent(), None);
    }
}
