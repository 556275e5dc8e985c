//! Questions a task asks and the answers it gets.
//!
//! A question has a key that is unique for the task's whole life (I9; SEP-2663: keys must not be
//! reused). It stays open until the first answer, its deadline or the end of the task; the first
//! answer wins and later ones change nothing.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::json::RawJson;

/// Whose word counts as the answer to a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerBy {
    /// A person, through a client that shows the question, or on another surface. A model that holds
    /// the task's id may not answer in their place.
    #[default]
    Person,
    /// The model that called may answer by itself.
    Model,
}

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
    /// Whose word counts.
    #[serde(default, skip_serializing_if = "is_for_a_person")]
    pub answer_by: AnswerBy,
}

fn is_for_a_person(by: &AnswerBy) -> bool {
    *by == AnswerBy::Person
}

impl InputRequest {
    /// A question for a person, without a deadline.
    pub fn new(key: impl Into<String>, method: impl Into<String>, params: RawJson) -> Self {
        Self {
            key: key.into(),
            method: method.into(),
            params,
            expires_at: None,
            answer_by: AnswerBy::Person,
        }
    }
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
