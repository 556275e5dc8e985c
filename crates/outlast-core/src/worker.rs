//! Workers as others see them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::WorkerId;
use crate::store::ToolVersion;

/// A sign of life of one worker: which process it is, and how busy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerSign {
    /// The worker.
    pub worker: WorkerId,
    /// The name of its server.
    pub name: String,
    /// The version of its server.
    pub version: String,
    /// The machine that it runs on; empty if that is not known.
    pub machine: String,
    /// Its process id there.
    pub pid: u32,
    /// When it began.
    pub since: Timestamp,
    /// When it gave this sign.
    pub seen_at: Timestamp,
    /// Until when it counts as alive without another.
    pub until: Timestamp,
    /// How many tasks it runs at a time.
    pub slots: usize,
    /// How many of these are taken.
    pub slots_taken: usize,
    /// Attempts that it has begun.
    pub attempts: u64,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
    /// Runs that were taken from it.
    pub leases_lost: u64,
    /// What it is labelled with, for tools that require it.
    pub labels: Vec<String>,
    /// The tools that it runs.
    pub tools: Vec<String>,
    /// The same in each of the versions that it runs.
    #[serde(default)]
    pub runs: BTreeSet<ToolVersion>,
}
