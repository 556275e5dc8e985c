//! How far a task is: finished items out of a total, and what it is doing.

use serde::{Deserialize, Serialize};

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

    /// One line for a status message: `45 % · 9 of 20 · message`. `None` if nothing was reported.
    pub fn line(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(percent) = self.percent() {
            parts.push(format!("{percent:.0} %"));
        }
        match self.total {
            Some(total) => parts.push(format!("{} of {}", Count(self.done), Count(total))),
            None if self.done > 0.0 => parts.push(Count(self.done).to_string()),
            None => {}
        }
        parts.extend(self.message.clone());
        (!parts.is_empty()).then(|| parts.join(" · "))
    }
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
    fn a_total_of_zero_has_no_percentage() {
        let progress = Progress {
            total: Some(0.0),
            ..Progress::default()
        };
        assert_eq!(progress.percent(), None);
    }
}
