//! Undo: calls that take back what a task has done, and how far they have got.
//!
//! Outcome and clean-up are two things. The outcome is final the moment it is written; the undos run
//! afterwards, under a lease of their own, and can only change [`Cleanup`]. Each is recorded in the
//! journal before the change it undoes, so a process that dies in between has at worst an undo for
//! something that never happened: an undo must be harmless then, and when it is run twice.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::json::RawJson;

/// How long undos may take, from the outcome on; then they are given up, as when no worker that knows
/// the tool comes any more.
pub const MAX_CLEANUP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far the undos of a task that failed or was cancelled have got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// There is nothing to undo, or no reason to.
    #[default]
    None,
    /// Undos wait for a worker.
    Pending,
    /// A worker runs them.
    Running,
    /// All have run.
    Done,
    /// At least one has failed, or they were given up. The others have run.
    Failed,
}

impl Cleanup {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether undos still have to run.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// `None` is what a record does not mention.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// An undo as the journal keeps it: the call of a tool, so that any later process can run it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UndoCall {
    /// The tool.
    pub tool: String,
    /// Its version when the undo was recorded.
    pub version: String,
    /// Its arguments, a JSON object, with dots in the place of secrets.
    pub arguments: RawJson,
    /// The secrets among its arguments, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}
