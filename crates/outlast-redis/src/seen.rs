//! What an operation has read, and what it still wants to have read.

use std::collections::{BTreeSet, HashMap};

use outlast_core::{JournalEntry, TaskId};

use crate::row::Known;

/// Something an operation wants to have read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Record(TaskId),
    /// The tasks in the sorted set `dep:<id>` or `kids:<id>`.
    Related(Relation, TaskId),
    /// The value of a key.
    Name(String),
    /// A journal entry.
    Entry(TaskId, String),
    /// The number of the signal with this id.
    SignalId(TaskId, String),
}

/// A sorted set of tasks that belongs to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Relation {
    Dependants,
    Children,
}

impl Relation {
    pub(crate) fn key(self, id: TaskId) -> String {
        match self {
            Self::Dependants => format!("dep:{id}"),
            Self::Children => format!("kids:{id}"),
        }
    }
}

/// What has been read for an operation.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// Whether some of it was not read for this operation.
    pub(crate) remembered: bool,
    pub(crate) records: HashMap<TaskId, Option<Known>>,
    pub(crate) related: HashMap<(Relation, TaskId), Vec<TaskId>>,
    pub(crate) names: HashMap<String, Option<String>>,
    pub(crate) entries: HashMap<(TaskId, String), Option<JournalEntry>>,
    pub(crate) signals: HashMap<(TaskId, String), Option<u64>>,
    /// Records that cannot be read and are being set aside for this operation.
    pub(crate) setting_aside: BTreeSet<TaskId>,
}

impl Seen {
    /// As it was before anything was read.
    pub(crate) fn forget_all(&mut self) {
        *self = Self {
            setting_aside: std::mem::take(&mut self.setting_aside),
            ..Self::default()
        };
    }
}
