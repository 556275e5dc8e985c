//! Ready tasks whose tool no living worker runs.
//!
//! A worker leaves alone what it does not know, so a task may stand ready although nobody will ever come
//! for it: its tool was taken out of the configuration, the release that has this version runs nowhere
//! any more, or no machine has the labels that the tool requires.
//!
//! Decision: only whoever sees who is alive can tell, so it is noted from outside, by
//! [`crate::Store::note_no_worker`], and no clock in the record ends the task: one that waits for long fails
//! when somebody looks again and still finds nobody, and never at a moment at which a worker may just have
//! come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What a task keeps of that nobody runs its tool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoWorker {
    /// Since when that has been known.
    pub since: Timestamp,
    /// The labels that a worker must have for it, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
}

/// What is known of a tool version that no living worker runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    /// The labels that a worker must have for it, as far as they are known.
    pub requires: Vec<String>,
    /// How long tasks wait that do not say it themselves
    /// ([`TaskSpec::no_worker_timeout`](crate::TaskSpec::no_worker_timeout)); `None`: until a worker comes.
    pub timeout: Option<Duration>,
}
