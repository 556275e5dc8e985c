//! Questions a task asks and the answers it gets.
//!
//! A question has a key that is unique for the task's whole life (I9; SEP-2663: keys must not be
//! reused). It stays open until the first answer, its deadline or the end of the task; the first
//! answer wins and later ones change nothing.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::json::RawJson;

/// A question to be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputRequest {
    /// Unique for the task's life.
    pub key: String,
    /// The request as the client will see it: `elicitation/create`, `sampling/createMessage` or
    /// `roots/list`.
    pub method: String,
    /// Its parameters.
    pub params: RawJson,
    /// When it ends unanswered with [`Answer::Expired`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What became of a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The client's response, for example `{"action":"accept","content":{…}}`.
    Given(RawJson),
    /// Nobody answered in time.
    Expired,
}

/// A question as the task's record keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// What was asked.
    pub request: InputRequest,
    /// What was answered; `None` while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

impl Input {
    /// Whether an answer would still change something.
    pub fn is_open(&self) -> bool {
        self.answer.is_none()
    }
}
