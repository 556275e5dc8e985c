//! Questions of a server to the person behind the client (elicitation), and who answers them.
//!
//! A client declares that it answers questions only if it was given somebody who does; see
//! [`super::answerers`] for the ways on which a question comes.

use std::future::Future;
use std::pin::Pin;

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

    /// The result of a request in URL mode, which has no content.
    pub(super) fn into_consent(self) -> RawJson {
        match self {
            Self::Accept(_) => RawJson::parse(r#"{"action":"accept"}"#).expect("a constant"),
            refused => refused.into_result(),
        }
    }

    /// The result of the request `elicitation/create`.
    pub(super) fn into_result(self) -> RawJson {
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

/// A URL that the server wants the person to go to (elicitation in URL mode), for what must not pass through
/// the client.
///
/// Show all of the URL and go there only if the person agrees: it may come from anybody (2025-11-25 and
/// 2026-07-28 elicitation, "Safe URL Handling"). [`Reply::Accept`], whatever it holds, says that they agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UrlQuestion {
    /// Why, for people.
    pub message: String,
    /// Where to.
    pub url: String,
    /// By what [`ClientBuilder::on_url_completed`](super::ClientBuilder::on_url_completed) names it; only in
    /// 2025-11-25.
    pub elicitation_id: Option<String>,
    /// The task that asks, where it is known.
    pub task_id: Option<String>,
}

/// A question that a task asks at present.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct OpenQuestion {
    /// By what the task knows it.
    pub key: String,
    /// What it asks.
    pub asked: Asked,
}

/// What a task asks.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Asked {
    /// To fill in a form.
    Form(Question),
    /// To go to a URL.
    Url(UrlQuestion),
    /// The method of a request that is no question to a person.
    Other(String),
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
    #[serde(default)]
    url: Option<String>,
    #[serde(default, rename = "elicitationId")]
    elicitation_id: Option<String>,
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
    /// Reads an elicitation. `task_id` is the task in whose state it stood.
    pub(super) fn elicitation(&self, task_id: Option<&str>) -> Result<Elicited, RpcError> {
        let read: Elicitation = self.read()?;
        let task_id = task_id
            .map(str::to_owned)
            .or_else(|| read.meta.related.map(|related| related.task_id));
        match read.mode.as_deref() {
            None | Some("form") => Ok(Elicited::Form(Question {
                message: read.message,
                schema: read.schema.unwrap_or_else(RawJson::empty_object),
                task_id,
            })),
            Some("url") => Ok(Elicited::Url(UrlQuestion {
                message: read.message,
                url: read.url.ok_or_else(|| {
                    RpcError::invalid_params(r#"invalid params: "url" is missing"#)
                })?,
                elicitation_id: read.elicitation_id,
                task_id,
            })),
            Some(mode) => Err(undeclared(mode)),
        }
    }

    /// The parameters, read as a `T`.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, RpcError> {
        let params = self.params.clone().unwrap_or_else(RawJson::empty_object);
        params
            .to()
            .map_err(|error| RpcError::invalid_params(format!("invalid params: {error}")))
    }
}

/// An elicitation of either mode.
pub(super) enum Elicited {
    Form(Question),
    Url(UrlQuestion),
}

/// The refusal of a mode that this client did not declare.
pub(super) fn undeclared(mode: &str) -> RpcError {
    RpcError::invalid_params(format!(
        "elicitation mode {mode:?} was not declared by this client"
    ))
}
