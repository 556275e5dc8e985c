//! What can go wrong for a caller of tools, told apart by what the caller does next.

use outlast_core::TaskStatus;

use super::result::CallResult;
use crate::jsonrpc::RpcError;

/// An error of the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers there, and nothing was done. Start the server or correct the address.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// The address or the command.
        target: String,
        /// Why.
        reason: String,
    },

    /// The connection ended before the answer came, and repeating the request could do its work
    /// twice. The caller decides.
    #[error(
        "the connection to {target} was lost before {method} was answered; it may have been \
         carried out or not: {reason}"
    )]
    Lost {
        /// The address or the command.
        target: String,
        /// The request.
        method: String,
        /// Why.
        reason: String,
    },

    /// The server wants to know who is asking. Send credentials, or better ones.
    #[error(
        "{target} refuses access (HTTP {status}): send credentials with an Authorization header"
    )]
    Unauthorized {
        /// The address.
        target: String,
        /// 401.
        status: u16,
    },

    /// The server knows who is asking, and does not let them do this.
    #[error("{target} does not allow this (HTTP 403): {reason}")]
    Forbidden {
        /// The address.
        target: String,
        /// What the server says of it.
        reason: String,
    },

    /// There is no task with this id, or not for this caller, or no longer.
    #[error("no task {id} here: {reason}")]
    TaskNotFound {
        /// The id that was asked for.
        id: String,
        /// What the server said.
        reason: String,
    },

    /// The task ended without a result.
    #[error("task {id} failed: {error}")]
    TaskFailed {
        /// The task.
        id: String,
        /// Why it failed.
        error: RpcError,
    },

    /// The task was cancelled, so it has no result.
    #[error("task {id} was cancelled")]
    TaskCancelled {
        /// The task.
        id: String,
    },

    /// A task was asked for and the server ran the tool at once instead. The work is done; this is
    /// what came of it.
    #[error("the server ran the tool at once instead of as a task")]
    AnsweredAtOnce(Box<CallResult>),

    /// The tool ran and reported an error of its own.
    #[error("the tool reported an error: {}", .0.text())]
    Tool(Box<CallResult>),

    /// The result is there and does not have the wanted type.
    #[error("the result does not fit the wanted type: {0}")]
    Data(String),

    /// What was to be sent is not valid. Nothing was sent.
    #[error("{0}")]
    Invalid(String),

    /// The server does not offer what was asked for. Nothing was sent.
    #[error("{0}")]
    Unsupported(String),

    /// The server refused the request.
    #[error("the server refuses {method}: {error}")]
    Refused {
        /// The request.
        method: String,
        /// Its answer.
        error: RpcError,
    },

    /// What came back is not the protocol.
    #[error("{target} does not speak the protocol: {reason}")]
    Protocol {
        /// The address or the command.
        target: String,
        /// What came instead.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Lost { .. })
    }

    /// The status of the task this error is about, where it is about the end of one.
    pub fn task_status(&self) -> Option<TaskStatus> {
        match self {
            Self::TaskFailed { .. } => Some(TaskStatus::Failed),
            Self::TaskCancelled { .. } => Some(TaskStatus::Cancelled),
            _ => None,
        }
    }
}
