//! How a task ended, in the words of neither era.
//!
//! A result is stored as fragments of JSON text (content, structured content, `_meta`) and an
//! `is_error` mark; the envelope of the era that asks is put around them at the edge.

use serde::{Deserialize, Serialize};

use crate::json::RawJson;

/// The largest result, in bytes of JSON: 64 MiB. Larger things are artifacts.
pub const LARGEST_RESULT: usize = 64 * 1024 * 1024;

/// What a tool returned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToolResult {
    /// A JSON array of content blocks.
    pub content: RawJson,
    /// The structured content, if the tool gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<RawJson>,
    /// The tool ran and says that it failed. Not a protocol error.
    #[serde(default)]
    pub is_error: bool,
    /// The result's own `_meta` object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<RawJson>,
}

impl ToolResult {
    /// A result of one text block.
    pub fn text(text: impl AsRef<str>) -> Self {
        #[derive(Serialize)]
        struct Block<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let block = [Block {
            r#type: "text",
            text: text.as_ref(),
        }];
        Self {
            content: RawJson::of(&block).expect("a text block has a JSON form"),
            structured: None,
            is_error: false,
            meta: None,
        }
    }

    /// How many bytes of JSON it has.
    pub fn size(&self) -> usize {
        let rest = [&self.structured, &self.meta];
        let rest = rest.into_iter().flatten().map(|json| json.as_str().len());
        self.content.as_str().len() + rest.sum::<usize>()
    }

    /// The first line of the first text block, at most 200 characters of it: a sentence for lists and
    /// status lines. `None` if there is no text.
    pub fn headline(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Block {
            #[serde(default)]
            text: Option<String>,
        }
        let blocks: Vec<Block> = self.content.to().ok()?;
        let text = blocks.into_iter().find_map(|block| block.text)?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().take(200).collect())
    }

    /// A tool error of one text block: the model reads it and may try again (SEP-1303).
    pub fn error(text: impl AsRef<str>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }
}

/// Why a task failed: ours to name, stable, and part of every failure's `data.reason` on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureReason {
    /// The handler returned a protocol error.
    Error,
    /// The handler panicked.
    Panic,
    /// The process died under the task too often.
    Crashed,
    /// An attempt was interrupted, and the tool may not be run again.
    Interrupted,
    /// An attempt took longer than it may.
    Timeout,
    /// A running attempt gave no sign of life for longer than it may.
    IdleTimeout,
    /// The task stood ready for longer than it may, and no worker started it.
    QueueTimeout,
    /// A step took longer than it may, and the handler did not handle that.
    StepTimeout,
    /// The recorded journal does not fit the code that replays it.
    JournalMismatch,
    /// The task has recorded more than a journal holds; the message says which limit was reached.
    JournalFull,
    /// No worker that knows the tool appeared in time.
    NoWorker,
    /// The task reached its maximum age before it ended.
    Expired,
    /// The result has more than [`LARGEST_RESULT`] bytes.
    ResultTooLarge,
    /// A child failed or was cancelled, and the handler could not go on without it.
    Child,
    /// A task that had to complete first failed.
    Dependency,
}

/// A failure as a JSON-RPC error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Why, in one stable word.
    pub reason: FailureReason,
    /// The JSON-RPC error code.
    pub code: i64,
    /// One sentence for people.
    pub message: String,
    /// The error's own `data`, if the handler gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<RawJson>,
}

impl Failure {
    /// The JSON-RPC code for an internal error.
    pub const INTERNAL: i64 = -32603;

    /// An attempt of a tool that may not be run again was interrupted by what `why` says.
    pub fn interrupted(why: &str) -> Self {
        let message = format!(
            "the attempt was interrupted: {why}; what it had done by then is not known, and the tool \
             does not say that it may be run again"
        );
        Self::internal(FailureReason::Interrupted, message)
    }

    /// A failure that is not the caller's fault (-32603).
    pub fn internal(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            code: Self::INTERNAL,
            message: message.into(),
            data: None,
        }
    }
}

/// The end of a task. Final.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The tool returned, with a result or with a tool error.
    Completed(ToolResult),
    /// There is no result.
    Failed(Failure),
    /// It was stopped on request.
    Cancelled {
        /// What the one who cancelled gave as the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_is_short_and_not_empty() {
        let result = ToolResult::error("\n  no such file  \nsearched everywhere");
        assert_eq!(result.headline().unwrap(), "no such file");
        assert_eq!(
            ToolResult::text("x".repeat(500)).headline().unwrap().len(),
            200
        );
        assert_eq!(ToolResult::text("").headline(), None);
    }
}
