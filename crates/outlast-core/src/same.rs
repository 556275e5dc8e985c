//! Sameness: when a call is another call's task.
//!
//! There are two questions, and a call may ask both. An [`IdempotencyKey`] is the caller's: "have I said
//! this before?". A [`Same`] is the tool's: "is this work under way already, and what then?". Both are
//! asked and answered inside the unit that creates the task, so of any number of calls at once one
//! makes the task. Keys are apart by owner and by tool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A caller's name for one call, so that it may be repeated without harm.
///
/// A later call with the same key gets the first one's task for as long as the window lasts and the
/// task has not been deleted; the task is kept at least as long as the window. With other arguments it
/// is refused ([`crate::Error::KeyReused`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The name.
    pub key: String,
    /// How long it is remembered, from the first call.
    pub window: Duration,
    /// A digest of the arguments; equal ones mean equal arguments.
    pub digest: String,
}

/// What a tool does with calls that mean the same work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Same {
    /// Calls with equal keys mean the same work.
    pub key: String,
    /// What becomes of a call while such work is unfinished.
    pub then: Then,
}

/// What becomes of a call whose work is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It gets the unfinished task; one that is being cancelled can bring nothing, and the call makes a new
    /// one.
    Join,
    /// The unfinished task is cancelled; one that runs is asked to stop. The call makes a new one.
    Replace,
    /// The call's task starts after a delay. Until it starts, each further call gets the same task, takes
    /// the place of the earlier ones (arguments, secrets, limit keys, priority, labels and all the rest)
    /// and starts the delay again.
    Debounce {
        /// The delay.
        delay: Duration,
        /// The task starts at the latest so long after it was created.
        at_most: Option<Duration>,
    },
}
