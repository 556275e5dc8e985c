//! The arguments of the helper tools. What is wrong with them is said to the model.

use outlast_core::{RawJson, TaskId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::wait::LONGEST;

/// One task.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct One {
    pub(super) task_id: String,
}

/// One task, and how long to wait for it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wait {
    pub(super) task_id: String,
    #[serde(default)]
    pub(super) seconds: Option<f64>,
}

/// Which tasks to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    pub(super) unfinished: bool,
    #[serde(default = "twenty")]
    pub(super) limit: usize,
}

fn twenty() -> usize {
    20
}

/// An answer to one question.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) task_id: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) action: Action,
    #[serde(default)]
    pub(super) content: Option<RawJson>,
}

/// What is said to a question.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    #[default]
    Accept,
    Decline,
    Cancel,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Cancel => "cancel",
        }
    }
}

/// Reads the arguments of `helper`.
///
/// # Errors
/// They do not fit; the sentence says how.
pub(super) fn read<T: DeserializeOwned>(helper: &str, arguments: &RawJson) -> Result<T, String> {
    arguments
        .to()
        .map_err(|error| format!("invalid arguments for {helper:?}: {error}"))
}

/// The task that is meant.
///
/// # Errors
/// The text is no id of ours, which is said in the same words as for one that is unknown.
pub(super) fn id(text: &str) -> Result<TaskId, String> {
    text.parse().map_err(|_| unknown(text))
}

/// There is no such task for this owner.
pub(super) fn unknown(id: &str) -> String {
    format!(
        "there is no task {id:?} here; it never was, is another owner's, or was deleted when its time was over"
    )
}

impl Wait {
    /// How long to wait.
    ///
    /// # Errors
    /// It is no time that may be waited for.
    pub(super) fn patience(&self) -> Result<std::time::Duration, String> {
        let longest = LONGEST.as_secs_f64();
        match self.seconds {
            None => Ok(LONGEST),
            Some(seconds) if (0.0..=longest).contains(&seconds) => {
                Ok(std::time::Duration::from_secs_f64(seconds))
            }
            Some(seconds) => Err(format!(
                "invalid arguments for \"task_wait\": \"seconds\" is {seconds}; allowed: 0 to {longest}"
            )),
        }
    }
}
