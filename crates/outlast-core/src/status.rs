//! Where a task stands: the inner phase, the wire's status, and the one function between them.
//!
//! The protocol's eras do not agree on a tool's own error (`isError`): 2025-11-25 calls such a task failed,
//! 2026-07-28 completed. For people there is one meaning: it failed. So tasks are counted and looked for by
//! [`Standing`], which tells it apart. What shows tasks to people (the dashboard, `outlast tasks`,
//! `outlast top`) shows it as failed; what answers programs (REST, webhooks) has the status of 2026-07-28, with
//! the outcome `error` and `isError` beside it.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// A generation of the protocol. The same task is shown to each in its own words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Era {
    /// 2025-11-25 and before: sessions, experimental tasks (SEP-1686).
    Legacy,
    /// 2026-07-28: stateless requests, the tasks extension (SEP-2663).
    Modern,
}

/// What the engine knows about a task. Never on the wire as a status; each value names who moves it on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its `run_at`. The scheduler makes it `queued`.
    Scheduled,
    /// Ready to run. A worker claims it.
    Queued,
    /// Waits for a limit or for another task. The store promotes it when there is room.
    Blocked,
    /// Runs under a lease. Its worker finishes or suspends it; the rescuer takes back an expired lease.
    Running,
    /// Waits for an answer, a timer or a child and holds no worker. An answer or the scheduler makes
    /// it `queued`.
    Suspended,
    /// Has an outcome. Final; the pruner deletes it at `expire_at`.
    Finished,
}

impl Phase {
    /// The phases of a task that has not ended.
    pub const UNFINISHED: [Self; 5] = [
        Self::Scheduled,
        Self::Queued,
        Self::Blocked,
        Self::Running,
        Self::Suspended,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Finished => "finished",
        }
    }
}

/// The status words of both protocol eras.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Not finished, and nothing is asked of the client.
    Working,
    /// Not finished, and at least one question is open.
    InputRequired,
    /// Finished with a result.
    Completed,
    /// Finished with an error.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl TaskStatus {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the task has an outcome that can no longer change.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The status of a task with this outcome, or without one, for clients of `era`.
    ///
    /// A tool's own error (`isError`) is `failed` in 2025-11-25 (tasks, "Task Status Lifecycle") and
    /// `completed` in 2026-07-28 (SEP-2663: `failed` is for JSON-RPC errors alone).
    pub fn of(outcome: Option<&Outcome>, open_questions: bool, era: Era) -> Self {
        Standing::of(outcome, open_questions).status(era)
    }
}

/// Where a task stands, as it is counted and looked for: its status, with a tool's own error told apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not finished, and nothing is asked of the client.
    Working,
    /// Not finished, and at least one question is open.
    InputRequired,
    /// Finished with a result that is no error.
    Completed,
    /// Finished with a result that the tool calls an error, `isError`.
    Error,
    /// Finished with an error of the server's, such as a handler that returned one.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Working,
        Self::InputRequired,
        Self::Completed,
        Self::Error,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word, in stores and on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            other => other.status(Era::Modern).as_str(),
        }
    }

    /// That of a task with this outcome, or without one.
    pub fn of(outcome: Option<&Outcome>, open_questions: bool) -> Self {
        match outcome {
            None if open_questions => Self::InputRequired,
            None => Self::Working,
            Some(Outcome::Completed(result)) if result.is_error => Self::Error,
            Some(Outcome::Completed(_)) => Self::Completed,
            Some(Outcome::Failed(_)) => Self::Failed,
            Some(Outcome::Cancelled { .. }) => Self::Cancelled,
        }
    }

    /// The status for clients of `era`; people are shown that of [`Era::Legacy`].
    pub fn status(self, era: Era) -> TaskStatus {
        match self {
            Self::Working => TaskStatus::Working,
            Self::InputRequired => TaskStatus::InputRequired,
            Self::Error if era == Era::Legacy => TaskStatus::Failed,
            Self::Completed | Self::Error => TaskStatus::Completed,
            Self::Failed => TaskStatus::Failed,
            Self::Cancelled => TaskStatus::Cancelled,
        }
    }

    /// Whether the task has an outcome that can no longer change.
    pub fn is_terminal(self) -> bool {
        self.status(Era::Modern).is_terminal()
    }

    /// All those that have this status for clients of `era`.
    pub fn with_status(status: TaskStatus, era: Era) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(move |standing| standing.status(era) == status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::ToolResult;

    #[test]
    fn a_tool_error_differs_by_era() {
        let outcome = Outcome::Completed(ToolResult::error("no"));
        assert_eq!(
            TaskStatus::of(Some(&outcome), false, Era::Legacy),
            TaskStatus::Failed
        );
        assert_eq!(
            TaskStatus::of(Some(&outcome), false, Era::Modern),
            TaskStatus::Completed
        );
    }

    #[test]
    fn every_standing_has_its_own_word() {
        let words = Standing::ALL.map(Standing::as_str);
        for (standing, word) in Standing::ALL.into_iter().zip(words) {
            assert_eq!(serde_json::to_value(standing).unwrap(), word);
            assert_eq!(words.iter().filter(|other| **other == word).count(), 1);
        }
        let failed = |era| Standing::with_status(TaskStatus::Failed, era).collect::<Vec<_>>();
        assert_eq!(failed(Era::Legacy), [Standing::Error, Standing::Failed]);
        assert_eq!(failed(Era::Modern), [Standing::Failed]);
    }

    #[test]
    fn open_questions_do_not_outlive_the_outcome() {
        let outcome = Outcome::Cancelled { reason: None };
        assert_eq!(
            TaskStatus::of(Some(&outcome), true, Era::Modern),
            TaskStatus::Cancelled
        );
    }
}
