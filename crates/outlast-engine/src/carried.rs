//! What a run without a record has done so far.
//!
//! A tool that is never a task has no journal in a store. A caller that ends such a run because it
//! asks for something, and calls again with the answer, carries this from one run to the next: the
//! new run finds its steps recorded and its earlier questions answered.

use std::collections::BTreeMap;

use outlast_core::{Answer, JournalEntry};
use serde::{Deserialize, Serialize};

/// The journal and the answers of a run without a record.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Carried {
    /// What was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalEntry>,
    /// What was answered, by the keys of the questions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Answer>,
}
