//! What an attempt used up: thread time, processor time, memory; and what it said in vain.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many attempts a record keeps the figures of: the last ones.
pub const KEPT: usize = 20;

/// What was used up. What is not known is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// How long a handler held a thread of the server.
    pub busy: Duration,
    /// The processor time of a command and of everything that it started and waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Duration>,
    /// The most memory that a process of a command held at a time, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// How many lines of its log were dropped, because they were logged faster than they could be
    /// stored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lines_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What one attempt used up, over all its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptUsage {
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// What it used up.
    #[serde(flatten)]
    pub usage: Usage,
}
