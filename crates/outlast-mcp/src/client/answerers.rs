//! Who answers what a server asks, and what the client therefore declares.
//!
//! The same answerers serve every way on which a request comes: as one of its own (2025-11-25), in the
//! state of a task, or in place of a result (2026-07-28 multi round-trip requests). A client declares
//! what it was given somebody for and nothing else, and refuses what it did not declare.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use outlast_core::{Era, RawJson};
use serde_json::{Map, Value, json};

use super::question::{Answerer, Elicited, ReplyFuture, Request, UrlQuestion, undeclared};
use super::sampling::{Sampler, Sampling};
use crate::Root;
use crate::jsonrpc::RpcError;

/// Who sends a person to a URL.
pub(super) type UrlOpener = Arc<dyn Fn(UrlQuestion) -> ReplyFuture + Send + Sync>;

/// Who hears that what a person was sent to a URL for is done.
pub(super) type UrlCompleted = Arc<dyn Fn(&str) + Send + Sync>;

/// Everybody who answers.
#[derive(Clone, Default)]
pub(super) struct Answerers {
    pub(super) question: Option<Arc<dyn Answerer>>,
    pub(super) url: Option<UrlOpener>,
    pub(super) url_completed: Option<UrlCompleted>,
    pub(super) sampler: Option<Sampler>,
    /// Shared by all copies; `None` if the client has no roots to speak of.
    pub(super) roots: Option<Arc<RwLock<Vec<Root>>>>,
}

impl Answerers {
    /// Whether there is anybody.
    pub(super) fn are_there(&self) -> bool {
        self.question.is_some()
            || self.url.is_some()
            || self.sampler.is_some()
            || self.roots.is_some()
    }

    /// The client capabilities that follow.
    pub(super) fn capabilities(&self, era: Era) -> Value {
        let mut capabilities = Map::new();
        let mut modes = Map::new();
        if self.question.is_some() {
            modes.insert("form".into(), json!({}));
        }
        if self.url.is_some() {
            modes.insert("url".into(), json!({}));
        }
        if !modes.is_empty() {
            capabilities.insert("elicitation".into(), modes.into());
        }
        if self.sampler.is_some() {
            capabilities.insert("sampling".into(), json!({}));
        }
        if self.roots.is_some() {
            let roots = match era {
                Era::Legacy => json!({"listChanged": true}),
                // It is asked for them anew each time.
                Era::Modern => json!({}),
            };
            capabilities.insert("roots".into(), roots);
        }
        capabilities.into()
    }

    /// The result for a request of the server. `task_id` is the task in whose state it stood.
    ///
    /// # Errors
    /// The client did not declare that it does this, somebody refused where the protocol has an error for
    /// that, or the request is malformed. To be sent back.
    pub(super) async fn answer(
        &self,
        request: &Request,
        task_id: Option<&str>,
    ) -> Result<RawJson, RpcError> {
        let unknown = || RpcError::method_not_found(&request.method);
        match request.method.as_str() {
            "ping" => Ok(RawJson::empty_object()),
            "elicitation/create" if self.question.is_some() || self.url.is_some() => {
                match request.elicitation(task_id)? {
                    Elicited::Form(question) => {
                        let form = self.question.as_ref().ok_or_else(|| undeclared("form"))?;
                        Ok(form.answer(question).await.into_result())
                    }
                    Elicited::Url(question) => {
                        let opener = self.url.as_ref().ok_or_else(|| undeclared("url"))?;
                        Ok(opener(question).await.into_consent())
                    }
                }
            }
            "sampling/createMessage" => {
                let sampler = self.sampler.as_ref().ok_or_else(unknown)?;
                let mut sampling: Sampling = request.read()?;
                sampling.params = request.params.clone().unwrap_or_else(RawJson::empty_object);
                let sampled: Pin<Box<_>> = sampler(sampling);
                sampled.await.into_result()
            }
            "roots/list" => {
                let roots = self.roots.as_ref().ok_or_else(unknown)?;
                let roots = roots.read().unwrap_or_else(PoisonError::into_inner);
                Ok(json!({ "roots": &*roots }).into())
            }
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::question::{Question, Reply};
    use super::super::sampling::Sampled;
    use super::*;

    fn request(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    fn somebody() -> Answerers {
        Answerers {
            question: Some(Arc::new(|question: Question| async move {
                assert_eq!(question.task_id.as_deref(), Some("t"));
                Reply::accept(&json!({"echo": question.message})).unwrap()
            })),
            ..Answerers::default()
        }
    }

    fn everybody() -> Answerers {
        Answerers {
            url: Some(Arc::new(|question| {
                assert_eq!(question.url, "https://pay.example");
                Box::pin(async { Reply::Accept(RawJson::empty_object()) })
            })),
            sampler: Some(Arc::new(|sampling| {
                Box::pin(async move {
                    match &sampling.texts()[..] {
                        [(role, text)] if role == "user" => Sampled::Text {
                            model: "m".into(),
                            text: format!("{text} in {}", sampling.max_tokens),
                        },
                        _ => Sampled::Refused("no".into()),
                    }
                })
            })),
            roots: Some(Arc::new(RwLock::new(vec![Root::new("file:///a")]))),
            ..somebody()
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_in_the_words_of_the_protocol() {
        let asked = request(
            r#"{"method":"elicitation/create","params":{"message":"name?","requestedSchema":{"type":"object"},
                "_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}}"#,
        );
        let result = somebody().answer(&asked, None).await.unwrap();
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
    async fn each_kind_of_request_goes_to_whoever_answers_it() {
        let all = everybody();
        let url = request(
            r#"{"method":"elicitation/create","params":{"mode":"url","message":"?","url":"https://pay.example"}}"#,
        );
        let result = all.answer(&url, None).await.unwrap();
        assert_eq!(result.as_str(), r#"{"action":"accept"}"#);
        let sampling = |role: &str| {
            request(&format!(
                r#"{{"method":"sampling/createMessage","params":{{"maxTokens":7,"messages":[
                    {{"role":{role:?},"content":{{"type":"text","text":"x"}}}}]}}}}"#
            ))
        };
        let result = all
            .answer(&sampling("user"), None)
            .await
            .unwrap()
            .to_value();
        assert_eq!(result["content"]["text"], "x in 7");
        assert_eq!(result["role"], "assistant");
        let refused = all.answer(&sampling("assistant"), None).await.unwrap_err();
        assert_eq!((refused.code, &*refused.message), (-1, "no"));
        let roots = request(r#"{"method":"roots/list"}"#);
        let result = all.answer(&roots, None).await.unwrap();
        assert_eq!(result.to_value(), json!({"roots": [{"uri": "file:///a"}]}));
        assert_eq!(
            all.capabilities(Era::Legacy),
            json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": true}})
        );
        assert_eq!(all.capabilities(Era::Modern)["roots"], json!({}));
    }

    #[tokio::test]
    async fn what_was_not_declared_is_refused() {
        let nobody = Answerers::default();
        assert_eq!(nobody.capabilities(Era::Legacy), json!({}));
        for (asked, code) in [
            (
                r#"{"method":"elicitation/create","params":{"message":"?"}}"#,
                -32601,
            ),
            (r#"{"method":"sampling/createMessage"}"#, -32601),
            (r#"{"method":"roots/list"}"#, -32601),
        ] {
            let refused = nobody.answer(&request(asked), None).await.unwrap_err();
            assert_eq!(refused.code, code, "{asked}");
        }
        for mode in ["url", "telepathy"] {
            let asked = format!(
                r#"{{"method":"elicitation/create","params":{{"mode":{mode:?},"message":"?","url":"x"}}}}"#
            );
            let refused = somebody().answer(&request(&asked), None).await.unwrap_err();
            assert_eq!(refused.code, -32602, "{mode}");
        }
        let bad = request(r#"{"method":"sampling/createMessage","params":{"maxTokens":"x"}}"#);
        assert_eq!(
            everybody().answer(&bad, None).await.unwrap_err().code,
            -32602
        );
        let ping = nobody.answer(&request(r#"{"method":"ping"}"#), None).await;
        assert_eq!(ping.unwrap().as_str(), "{}");
    }
}
