//! Questions of a server to the person behind the client (elicitation), and who answers them.
//!
//! A client declares that it answers questions only if it was given somebody who does. The same
//! answerer serves every way a question can come: as a request of its own (2025-11-25), in the state
//! of a task, or in place of a result (2026-07-28).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use outlast_core::RawJson;
use serde::{Deserialize, Serialize};

use super::error::ClientError;
use crate::jsonrpc::RpcError;

/// A question.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Question {
    /// What to ask, for people.
    pub message: String,
    /// The JSON Schema of the answer: an object of plain values.
    pub schema: RawJson,
    /// The task that asks, where it is known.
    pub task_id: Option<String>,
}

impl Question {
    /// A question that no task asks, for trying out an answerer.
    pub fn new(message: impl Into<String>, schema: RawJson) -> Self {
        Self {
            message: message.into(),
            schema,
            task_id: None,
        }
    }
}

/// What somebody says to a [`Question`].
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// An object that fits the question's schema.
    Accept(RawJson),
    /// No.
    Decline,
    /// Neither: the question was dismissed.
    Cancel,
}

impl Reply {
    /// The answer `content`.
    ///
    /// # Errors
    /// It has no JSON form, or is not an object.
    pub fn accept<T: Serialize + ?Sized>(content: &T) -> Result<Self, ClientError> {
        super::params::arguments(content).map(Self::Accept)
    }

    /// The result of the request `elicitation/create`.
    fn into_result(self) -> RawJson {
        #[derive(Serialize)]
        struct Wire {
            action: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            content: Option<RawJson>,
        }
        let (action, content) = match self {
            Self::Accept(content) => ("accept", Some(content)),
            Self::Decline => ("decline", None),
            Self::Cancel => ("cancel", None),
        };
        super::params::json(&Wire { action, content })
    }
}

/// A boxed future of a [`Reply`].
pub type ReplyFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Answers questions. Closures from a question to a future do.
pub trait Answerer: Send + Sync + 'static {
    /// Answers one. May take as long as it needs. Dropped if the question is settled elsewhere in
    /// the meantime.
    fn answer(&self, question: Question) -> ReplyFuture;
}

impl<F, R> Answerer for F
where
    F: Fn(Question) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    fn answer(&self, question: Question) -> ReplyFuture {
        Box::pin(self(question))
    }
}

/// A request of the server, whichever way it came.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub(super) struct Request {
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Option<RawJson>,
}

#[derive(Deserialize)]
struct Elicitation {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "requestedSchema")]
    schema: Option<RawJson>,
    #[serde(default, rename = "_meta")]
    meta: Meta,
}

#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default, rename = "io.modelcontextprotocol/related-task")]
    related: Option<Related>,
}

#[derive(Deserialize)]
struct Related {
    #[serde(rename = "taskId")]
    task_id: String,
}

impl Request {
    /// Reads the question. `task_id` is the task in whose state it stood.
    fn question(&self, task_id: Option<&str>) -> Result<Question, RpcError> {
        let params = self.params.clone().unwrap_or_else(RawJson::empty_object);
        let read: Elicitation = params
            .to()
            .map_err(|error| RpcError::invalid_params(format!("invalid params: {error}")))?;
        if let Some(mode) = read.mode.filter(|mode| mode != "form") {
            return Err(RpcError::invalid_params(format!(
                "elicitation mode {mode:?} was not declared by this client"
            )));
        }
        let related = read.meta.related.map(|related| related.task_id);
        Ok(Question {
            message: read.message,
            schema: read.schema.unwrap_or_else(RawJson::empty_object),
            task_id: task_id.map(str::to_owned).or(related),
        })
    }
}

/// The result for a request of the server.
///
/// # Errors
/// The client did not declare that it does this, or the request is malformed. To be sent back.
pub(super) async fn answer(
    answerer: Option<&Arc<dyn Answerer>>,
    request: &Request,
    task_id: Option<&str>,
) -> Result<RawJson, RpcError> {
    match (request.method.as_str(), answerer) {
        ("ping", _) => Ok(RawJson::empty_object()),
        ("elicitation/create", Some(answerer)) => {
            let question = request.question(task_id)?;
            Ok(answerer.answer(question).await.into_result())
        }
        (method, _) => Err(RpcError::method_not_found(method)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    fn somebody() -> Arc<dyn Answerer> {
        Arc::new(|question: Question| async move {
            assert_eq!(question.task_id.as_deref(), Some("t"));
            Reply::accept(&serde_json::json!({"echo": question.message})).unwrap()
        })
    }

    #[tokio::test]
    async fn a_question_is_answered_in_the_words_of_the_protocol() {
        let asked = request(
            r#"{"method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object"},
                "_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}"#,
        );
        let result = answer(Some(&somebody()), &asked, None).await.unwrap();
        assert_eq!(
            result.as_str(),
            r#"{"action":"accept","content":{"echo":"name?"}}"#
        );
        assert_eq!(
            Reply::Decline.into_result().as_str(),
            r#"{"action":"decline"}"#
        );
    }

    #[tokio::test]
    async fn what_was_not_declared_is_refused() {
        let asked = request(r#"{"method":"elicitation/create","params":{"message":"?"}}"#);
        assert_eq!(answer(None, &asked, None).await.unwrap_err().code, -32601);
        let by_url =
            request(r#"{"method":"elicitation/create","params":{"mode":"url","message":"?"}}"#);
        assert_eq!(
            answer(Some(&somebody()), &by_url, None)
                .await
                .unwrap_err()
                .code,
            -32602
        );
        let sampling = request(r#"{"method":"sampling/createMessage"}"#);
        assert_eq!(
            answer(Some(&somebody()), &sampling, None)
                .await
                .unwrap_err()
                .code,
            -32601
        );
        assert_eq!(
            answer(None, &request(r#"{"method":"ping"}"#), None)
                .await
                .unwrap()
                .as_str(),
            "{}"
        );
    }
}
