//! The journal of a task: what happened once and must not happen again.
//!
//! An entry is written once under the key (kind, name) and never changes (I8). A new attempt finds
//! it and takes the recorded value instead of running the work. Order is not compared, so steps may
//! run side by side.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::json::RawJson;

/// What kind of slot an entry records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JournalKind {
    /// The value, or the final error, of a step's work.
    Step,
    /// The moment a timer fires.
    Sleep,
    /// A question that was asked; the answer stands with the task's inputs.
    Ask,
    /// A value drawn once: time, random number or id.
    Value,
}

impl JournalKind {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Sleep => "sleep",
            Self::Ask => "ask",
            Self::Value => "value",
        }
    }
}

/// What an entry records: a value, or the error that ended the step's retries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// The work returned this.
    Value(RawJson),
    /// The work failed for good with this error, as the engine wrote it.
    Error(RawJson),
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalEntry {
    /// With `name`, the key.
    pub kind: JournalKind,
    /// Unique within its task and kind.
    pub name: String,
    /// A digest of the step's declared input, to notice that the code has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_hash: Option<u64>,
    /// What happened.
    pub recorded: Recorded,
    /// When it was recorded.
    pub at: Timestamp,
}
