//! The one error type of handlers.
//!
//! A handler fails in one of two ways. A *tool error* is a result that says so: the model reads it
//! and may try again. A *protocol error* is a JSON-RPC error: there is no result. Everything that
//! implements [`std::error::Error`] becomes a tool error through `?`; a protocol error is made on
//! purpose with [`Error::protocol`]. The remaining kinds come from the engine and are passed on.

use std::fmt;
use std::time::Duration;

use outlast_core::{Failure, FailureReason, Outcome, RawJson, ToolResult};
use serde::{Deserialize, Serialize};

use crate::child::ChildFailure;
use crate::retry::{Retry, RetryHint};

/// The result of a handler, a step or any method of the context.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a handler or a method of its context failed.
///
/// Does not implement [`std::error::Error`], so that everything that does converts into it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: RetryHint,
}

/// The kinds of [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The tool failed; the caller gets a result with `isError`.
    Tool(ToolResult),
    /// The call failed; the caller gets a JSON-RPC error.
    Protocol {
        /// The JSON-RPC error code.
        code: i64,
        /// One sentence.
        message: String,
        /// The error's `data`.
        data: Option<RawJson>,
    },
    /// There is no result, for a reason with a name of its own; the caller gets a JSON-RPC error.
    Failed(Failure),
    /// The arguments do not fit the tool; the sentence says which and how.
    Arguments(String),
    /// A child brought no result. A tool's own error goes on to the caller as one.
    Child(ChildFailure),
    /// The task is being cancelled.
    Cancelled,
    /// The task was taken from this worker: nothing it does from here on is recorded.
    LeaseLost,
    /// A slot of the context was used inside a step: only progress and log may be.
    InsideStep(&'static str),
    /// A name was used twice in one run, or the code no longer fits the journal.
    Journal(String),
    /// This run cannot wait for anything: it is not a task and has no record.
    NotATask(&'static str),
    /// The store could not do its part.
    Store(outlast_core::Error),
}

impl Error {
    /// A tool error with this text.
    pub fn tool(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Tool(ToolResult::error(message.to_string())))
    }

    /// A tool error with content of its own. `is_error` is set whatever it was.
    pub fn tool_result(result: ToolResult) -> Self {
        Self::new(ErrorKind::Tool(ToolResult {
            is_error: true,
            ..result
        }))
    }

    /// A JSON-RPC error.
    pub fn protocol(code: i64, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Protocol {
            code,
            message: message.to_string(),
            data: None,
        })
    }

    /// A JSON-RPC error for one of the named reasons.
    pub fn failed(failure: Failure) -> Self {
        Self::new(ErrorKind::Failed(failure))
    }

    /// The arguments do not fit the tool.
    pub fn arguments(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Arguments(message.to_string()))
    }

    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: RetryHint::AsConfigured,
        }))
    }

    /// Asks for the next attempt after `wait`, instead of the wait that is configured. How many
    /// attempts there are stays as configured.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry = RetryHint::After(wait);
        self
    }

    /// Says that trying again is useless.
    #[must_use]
    pub fn never_retry(mut self) -> Self {
        self.0.retry = RetryHint::Never;
        self
    }

    /// How long to wait before the work is tried again, after `errors` errors in all; `None` if it is
    /// not.
    pub(crate) fn wait_before_retry(&self, retry: Option<&Retry>, errors: u32) -> Option<Duration> {
        let is_tried_again = match self.kind() {
            ErrorKind::Tool(_) | ErrorKind::Protocol { .. } => true,
            ErrorKind::Failed(failure) => matches!(
                failure.reason,
                FailureReason::Timeout | FailureReason::IdleTimeout | FailureReason::StepTimeout
            ),
            _ => false,
        };
        if !is_tried_again {
            return None;
        }
        let configured = retry?.wait_after(errors)?;
        match self.0.retry {
            RetryHint::AsConfigured => Some(configured),
            RetryHint::After(wait) => Some(wait),
            RetryHint::Never => None,
        }
    }

    /// How the child ended, if this is the error of one.
    pub fn child(&self) -> Option<&ChildFailure> {
        match self.kind() {
            ErrorKind::Child(child) => Some(child),
            _ => None,
        }
    }

    /// What kind of error it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What the task ends with if its handler returns this error.
    pub(crate) fn into_outcome(self) -> Outcome {
        match self.0.kind {
            ErrorKind::Tool(result) => Outcome::Completed(result),
            ErrorKind::Arguments(message) => {
                Outcome::Completed(ToolResult::error(format!("invalid arguments: {message}")))
            }
            ErrorKind::Protocol {
                code,
                message,
                data,
            } => Outcome::Failed(Failure {
                reason: FailureReason::Error,
                code,
                message,
                data,
            }),
            ErrorKind::Failed(failure) => Outcome::Failed(failure),
            ErrorKind::Child(child) => match &*child.outcome {
                Outcome::Completed(_) => Outcome::Completed(ToolResult::error(child.to_string())),
                _ => Outcome::Failed(Failure::internal(FailureReason::Child, child.to_string())),
            },
            ErrorKind::Cancelled => Outcome::Cancelled { reason: None },
            ErrorKind::Journal(message) => {
                Outcome::Failed(Failure::internal(FailureReason::JournalMismatch, message))
            }
            kind @ (ErrorKind::LeaseLost
            | ErrorKind::InsideStep(_)
            | ErrorKind::NotATask(_)
            | ErrorKind::Store(_)) => {
                let message = Self::new(kind).to_string();
                Outcome::Failed(Failure::internal(FailureReason::Error, message))
            }
        }
    }

    /// The error as a journal keeps it. `None` for errors that must not be recorded.
    pub(crate) fn to_recorded(&self) -> Option<RecordedError> {
        match self.kind() {
            ErrorKind::Tool(result) => Some(RecordedError::Tool(result.clone())),
            ErrorKind::Protocol {
                code,
                message,
                data,
            } => Some(RecordedError::Protocol {
                code: *code,
                message: message.clone(),
                data: data.clone(),
            }),
            ErrorKind::Failed(failure) => Some(RecordedError::Failed(failure.clone())),
            _ => None,
        }
    }
}

/// A step's final error in the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordedError {
    Tool(ToolResult),
    Protocol {
        code: i64,
        message: String,
        data: Option<RawJson>,
    },
    Failed(Failure),
}

impl From<RecordedError> for Error {
    fn from(recorded: RecordedError) -> Self {
        Self::new(match recorded {
            RecordedError::Tool(result) => ErrorKind::Tool(result),
            RecordedError::Failed(failure) => ErrorKind::Failed(failure),
            RecordedError::Protocol {
                code,
                message,
                data,
            } => ErrorKind::Protocol {
                code,
                message,
                data,
            },
        })
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    /// A tool error whose text is the error and its chain of sources.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::tool(text)
    }
}

/// A store's error on behalf of an attempt.
pub(crate) fn from_store(error: outlast_core::Error) -> Error {
    Error::new(match error {
        outlast_core::Error::LeaseLost(_) => ErrorKind::LeaseLost,
        error @ outlast_core::Error::JournalMismatch { .. } => {
            ErrorKind::Journal(error.to_string())
        }
        error @ outlast_core::Error::JournalFull { .. } => ErrorKind::Failed(Failure::internal(
            FailureReason::JournalFull,
            error.to_string(),
        )),
        error => ErrorKind::Store(error),
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            ErrorKind::Tool(result) => f.write_str(&first_text(result)),
            ErrorKind::Protocol { message, .. } | ErrorKind::Journal(message) => {
                f.write_str(message)
            }
            ErrorKind::Failed(failure) => f.write_str(&failure.message),
            ErrorKind::Child(child) => child.fmt(f),
            ErrorKind::Arguments(message) => write!(f, "invalid arguments: {message}"),
            ErrorKind::Cancelled => f.write_str("the task is being cancelled"),
            ErrorKind::LeaseLost => f.write_str("the task was taken from this worker"),
            ErrorKind::InsideStep(what) => {
                write!(
                    f,
                    "{what} was called inside a step; only progress and log may be"
                )
            }
            ErrorKind::NotATask(what) => {
                write!(
                    f,
                    "{what} needs a task; declare the tool with #[tool(task)]"
                )
            }
            ErrorKind::Store(error) => write!(f, "the store failed: {error}"),
        }
    }
}

impl fmt::Debug for Error {
    /// As [`fmt::Display`], so that `main` may return it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn first_text(result: &ToolResult) -> String {
    #[derive(Deserialize)]
    struct Block {
        text: Option<String>,
    }
    let blocks: Vec<Block> = result.content.to().unwrap_or_default();
    blocks
        .into_iter()
        .find_map(|block| block.text)
        .unwrap_or_else(|| "the tool failed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_a_tool_error() {
        fn fails() -> Result<()> {
            Err(std::io::Error::other("disk on fire"))?;
            Ok(())
        }
        let error = fails().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tool(result) if result.is_error));
        assert_eq!(error.to_string(), "disk on fire");
    }

    #[test]
    fn a_protocol_error_fails_the_task() {
        let outcome = Error::protocol(-32000, "no such host").into_outcome();
        assert!(matches!(outcome, Outcome::Failed(failure) if failure.code == -32000));
    }

    #[test]
    fn interruptions_are_not_recorded() {
        for kind in [ErrorKind::Cancelled, ErrorKind::LeaseLost] {
            assert!(Error::new(kind).to_recorded().is_none());
        }
    }
}
