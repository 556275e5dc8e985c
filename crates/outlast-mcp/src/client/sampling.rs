//! Requests of a server to the client's model (`sampling/createMessage`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use outlast_core::RawJson;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::jsonrpc::RpcError;

/// The code of a refusal (2025-11-25 sampling, "Error Handling").
const REFUSED: i64 = -1;

/// What a server wants the client's model to answer.
///
/// Show it to the person before the model sees it, and the answer before the server does (2025-11-25
/// sampling, "User Interaction Model").
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Sampling {
    /// The conversation: an array of the protocol's SamplingMessage objects.
    pub messages: RawJson,
    /// What the model is told before all messages, if the client agrees.
    #[serde(default)]
    pub system_prompt: Option<String>,
    /// How long the answer may be.
    pub max_tokens: u64,
    /// All of the request's parameters, as they came.
    #[serde(skip, default = "RawJson::empty_object")]
    pub params: RawJson,
}

impl Sampling {
    /// The texts of the messages, each with its role: `user` or `assistant`.
    pub fn texts(&self) -> Vec<(String, String)> {
        let Value::Array(messages) = self.messages.to_value() else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for message in messages {
            let role = message["role"].as_str().unwrap_or("user").to_owned();
            // One block, or several of them.
            let blocks = match &message["content"] {
                Value::Array(blocks) => blocks.clone(),
                block => vec![block.clone()],
            };
            let of_text = blocks.iter().filter_map(|block| block["text"].as_str());
            texts.extend(of_text.map(|text| (role.clone(), text.to_owned())));
        }
        texts
    }
}

/// What came of a [`Sampling`].
#[derive(Clone, PartialEq, Debug)]
pub enum Sampled {
    /// The model wrote this text and ended by itself.
    Text {
        /// The model's name.
        model: String,
        /// What it wrote.
        text: String,
    },
    /// A whole CreateMessageResult of the protocol, for other contents and stop reasons.
    Raw(RawJson),
    /// The person, or the client for them, refused; the sentence says why.
    Refused(String),
}

impl Sampled {
    pub(super) fn into_result(self) -> Result<RawJson, RpcError> {
        match self {
            Self::Raw(result) => Ok(result),
            Self::Refused(why) => Err(RpcError::new(REFUSED, why)),
            Self::Text { model, text } => Ok(json!({
                "role": "assistant",
                "model": model,
                "content": {"type": "text", "text": text},
                "stopReason": "endTurn",
            })
            .into()),
        }
    }
}

/// Who asks the model.
pub(super) type Sampler =
    Arc<dyn Fn(Sampling) -> Pin<Box<dyn Future<Output = Sampled> + Send>> + Send + Sync>;
