//! What can go wrong with a store, by what the caller does next.

use std::time::Duration;

use crate::id::TaskId;
use crate::journal::JournalKind;
use crate::limit::Key;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store operation that did not happen. Nothing of it has been written, unless the variant says
/// that this is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such task: it was never created, or it has been deleted.
    #[error("task {0} not found")]
    NotFound(TaskId),

    /// The task has ended, and what was asked for can only be done before.
    #[error("task {0} has ended")]
    Finished(TaskId),

    /// The lease no longer holds. Somebody else runs the task, or it has ended: stop working on it.
    #[error("the lease on task {0} is lost")]
    LeaseLost(TaskId),

    /// The journal holds something else under this name: the code has changed under the task.
    #[error("journal mismatch in task {task}: {} {name:?} was recorded with another input", kind.as_str())]
    JournalMismatch {
        /// The task.
        task: TaskId,
        /// The kind of the entry.
        kind: JournalKind,
        /// Its name.
        name: String,
    },

    /// As many tasks wait as may; nothing was stored. The same call succeeds once one of them has
    /// started.
    #[error("the queue is full: {max} tasks of {key} wait already; call again in {} s", .retry_after.as_secs().max(1))]
    QueueFull {
        /// What has reached its quota.
        key: Key,
        /// The quota.
        max: u64,
        /// When to come back.
        retry_after: Duration,
    },

    /// The journal takes no more: an entry is too large, or there are too many.
    #[error("the journal of task {task} is full: {message}")]
    JournalFull {
        /// The task.
        task: TaskId,
        /// Which limit was reached, and what to do instead.
        message: String,
    },

    /// The idempotency key was used before, with other arguments. Nothing was stored.
    #[error(
        "the idempotency key {key:?} was used for task {task} with other arguments: use a new key for a new call"
    )]
    KeyReused {
        /// The key.
        key: String,
        /// The task of the first call.
        task: TaskId,
    },

    /// The request can never succeed as it is; the message says why.
    #[error("{0}")]
    Invalid(String),

    /// The store could not do it. If [`Error::is_retryable`], the same call may succeed later.
    #[error("{message}")]
    Store {
        /// A sentence that says what to do.
        message: String,
        /// Whether trying again makes sense.
        retryable: bool,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// A failure of the store itself that may pass.
    pub fn unavailable(
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Store {
            message: message.into(),
            retryable: true,
            source: Some(source.into()),
        }
    }

    /// A failure of the store itself that needs a hand: a full disk, a broken file, a newer schema.
    pub fn broken(message: impl Into<String>) -> Self {
        Self::Store {
            message: message.into(),
            retryable: false,
            source: None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Store {
                retryable: true,
                ..
            }
        )
    }
}
