//! The journal of a task: what happened once and must not happen again.
//!
//! An entry is written once under the key (kind, name) and never changes (I8). A new attempt finds
//! it and takes the recorded value instead of running the work. Order is not compared, so steps may
//! run side by side.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::TaskId;
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
    /// A call that undoes what comes after it, if the task does not succeed: a
    /// [`crate::undo::UndoCall`].
    Undo,
    /// What came of the undo with this name: `null`, or the error's text as a JSON string.
    Undone,
    /// The number of the branch that won a race.
    Race,
    /// The id of a child that was started.
    Child,
    /// What a look for a signal found that did not wait: the signal's number, or none.
    Signal,
    /// Part of the result that was given out before the end; named by [`partial_name`].
    Partial,
    /// A file that the task made: a [`crate::blob::RecordedArtifact`].
    Artifact,
    /// A label that the handler gave its task: a [`crate::label::RecordedLabel`].
    Label,
    /// Where the handler began what outlives it, in its own words: see
    /// [`TaskState::begun`](crate::task::TaskState::begun).
    Begun,
}

/// The name of a partial result's entry: names in the order of the numbers.
pub fn partial_name(number: u64) -> String {
    format!("{number:08}")
}

impl JournalKind {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Sleep => "sleep",
            Self::Ask => "ask",
            Self::Value => "value",
            Self::Undo => "undo",
            Self::Undone => "undone",
            Self::Race => "race",
            Self::Child => "child",
            Self::Signal => "signal",
            Self::Partial => "partial",
            Self::Artifact => "artifact",
            Self::Label => "label",
            Self::Begun => "begun",
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

/// The most entries of one task.
pub const MAX_ENTRIES: u32 = 100_000;

/// The most bytes of one entry: its name and what it records.
pub const MAX_ENTRY_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes of all entries of one task. They are read as a whole whenever the task is claimed.
pub const MAX_JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// How much is in a journal. The limits are part of the state machine, so that every store has the
/// same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct JournalSize {
    /// Entries.
    pub entries: u32,
    /// Bytes of their names and of what they record.
    pub bytes: u64,
}

impl JournalSize {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The size with one more entry, or a sentence that says which limit it exceeds.
    pub(crate) fn with(self, entry: &JournalEntry) -> Result<Self, String> {
        let bytes = entry.name.len() + entry.recorded.json().as_str().len();
        let what = format!("{} {:?}", entry.kind.as_str(), short(&entry.name));
        if bytes > MAX_ENTRY_BYTES {
            return Err(format!(
                "{what} has {bytes} bytes, and an entry may have {MAX_ENTRY_BYTES}: keep large data \
                 elsewhere and record where"
            ));
        }
        if self.entries >= MAX_ENTRIES {
            return Err(format!(
                "{what} would be entry {}, and a task may have {MAX_ENTRIES}: do several items in \
                 one step, or divide the work among tasks",
                u64::from(self.entries) + 1
            ));
        }
        let sum = self.bytes + bytes as u64;
        if sum > MAX_JOURNAL_BYTES {
            return Err(format!(
                "with {what} it would have {sum} bytes, and it may have {MAX_JOURNAL_BYTES}: keep \
                 large data elsewhere and record where"
            ));
        }
        Ok(Self {
            entries: self.entries + 1,
            bytes: sum,
        })
    }
}

/// Enough of a name to know it by.
fn short(name: &str) -> String {
    name.chars().take(80).collect()
}

impl Recorded {
    /// What is recorded, value or error.
    pub fn json(&self) -> &RawJson {
        match self {
            Self::Value(json) | Self::Error(json) => json,
        }
    }
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
    /// How long the work of a step took, with its tries. Told by whoever did it, and good for nothing
    /// but to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
}

impl JournalEntry {
    /// The entry of a child that is created with it.
    pub fn child(name: &str, input_hash: Option<u64>, child: TaskId, at: Timestamp) -> Self {
        Self {
            kind: JournalKind::Child,
            name: name.to_owned(),
            input_hash,
            recorded: Recorded::Value(RawJson::of(&child).expect("an id has a JSON form")),
            at,
            took: None,
        }
    }
}
