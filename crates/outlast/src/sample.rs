//! What a client has besides people: a model, and folders that it works in.

use outlast_core::{Answer as Raw, InputRequest, RawJson};
use outlast_engine::Cx;
use outlast_mcp::Root;
use outlast_mcp::offer::RequestCx;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Answer, Result};

/// A request to the client's model (`sampling/createMessage`).
///
/// ```
/// use outlast::prelude::*;
/// use outlast::{Answer, SampleRequest, Sample};
///
/// /// Summarises a text with the model of whoever calls.
/// #[tool(task)]
/// async fn summarise(text: String, cx: Cx) -> Result<String> {
///     let prompt = SampleRequest::new(format!("Summarise:\n{text}"), 200).system("Be brief.");
///     match cx.sample("summary", prompt).await? {
///         Answer::Accepted(sampled) => Ok(sampled.text),
///         _ => Err(Error::tool("the client's model did not answer")),
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Debug)]
#[must_use = "a prompt does nothing until it is sampled"]
pub struct SampleRequest {
    params: Value,
}

impl SampleRequest {
    /// One message of the user, to be answered with at most `max_tokens` tokens.
    pub fn new(text: impl Into<String>, max_tokens: u32) -> Self {
        Self {
            params: json!({"messages": [], "maxTokens": max_tokens}),
        }
        .message("user", text.into())
    }

    /// Adds an answer of the model, as if it had given it.
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message("assistant", text.into())
    }

    /// Adds a message of the user.
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message("user", text.into())
    }

    /// Sets what the model is told before all messages. The client may change it.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.params["systemPrompt"] = text.into().into();
        self
    }

    fn message(mut self, role: &str, text: String) -> Self {
        let message = json!({"role": role, "content": {"type": "text", "text": text}});
        self.params["messages"]
            .as_array_mut()
            .expect("made as an array")
            .push(message);
        self
    }

    /// The question that [`Sample::sample`] asks, for [`Cx::ask_all`].
    pub fn question(self, key: &str) -> InputRequest {
        InputRequest::new(key, "sampling/createMessage", self.params.into())
    }
}

/// What the client's model wrote.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Sampled {
    /// The text; empty if it wrote none.
    pub text: String,
    /// The model's name, as the client says it.
    pub model: String,
    /// Why it stopped, if the client says so: `endTurn`, `stopSequence`, `maxTokens` or another word.
    pub stop_reason: Option<String>,
    /// The whole response, as it came.
    pub raw: RawJson,
}

/// Asking the client itself. The client must have declared that it answers; the question waits, and
/// survives a restart, like those of [`crate::Ask`]. A client that refuses has declined.
pub trait Sample {
    /// Asks the client's model. `key` names the question and is used once in the life of the task.
    ///
    /// # Errors
    /// As [`Cx::ask_raw`]; the response is none of the protocol.
    fn sample(
        &self,
        key: &str,
        prompt: SampleRequest,
    ) -> impl Future<Output = Result<Answer<Sampled>>> + Send;

    /// Asks for the client's roots (`roots/list`). `key` names the question.
    ///
    /// # Errors
    /// As [`Cx::ask_raw`]; the response is none of the protocol.
    fn roots(&self, key: &str) -> impl Future<Output = Result<Answer<Vec<Root>>>> + Send;
}

impl Sample for Cx {
    fn sample(
        &self,
        key: &str,
        prompt: SampleRequest,
    ) -> impl Future<Output = Result<Answer<Sampled>>> + Send {
        let request = prompt.question(key);
        async move { sampled(&self.ask_raw(request).await?) }
    }

    fn roots(&self, key: &str) -> impl Future<Output = Result<Answer<Vec<Root>>>> + Send {
        let request = InputRequest::new(key, "roots/list", RawJson::empty_object());
        async move { roots(&self.ask_raw(request).await?) }
    }
}

impl Sample for RequestCx {
    fn sample(
        &self,
        key: &str,
        prompt: SampleRequest,
    ) -> impl Future<Output = Result<Answer<Sampled>>> + Send {
        let request = prompt.question(key);
        async move { sampled(&self.ask_raw(request).await?) }
    }

    fn roots(&self, key: &str) -> impl Future<Output = Result<Answer<Vec<Root>>>> + Send {
        let request = InputRequest::new(key, "roots/list", RawJson::empty_object());
        async move { roots(&self.ask_raw(request).await?) }
    }
}

/// The response, if there is one that is no refusal.
fn response(answer: &Raw) -> Answer<&RawJson> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<Value>,
    }
    match answer {
        Raw::Expired => Answer::Expired,
        Raw::Given(given) => match given.to::<Refusal>() {
            Ok(Refusal { error: Some(_) }) => Answer::Declined,
            _ => Answer::Accepted(given),
        },
    }
}

fn sampled(answer: &Raw) -> Result<Answer<Sampled>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        content: Value,
        model: String,
        #[serde(default)]
        stop_reason: Option<String>,
    }
    let raw = match response(answer) {
        Answer::Accepted(raw) => raw,
        Answer::Declined => return Ok(Answer::Declined),
        Answer::Cancelled => return Ok(Answer::Cancelled),
        Answer::Expired => return Ok(Answer::Expired),
    };
    let message: Message = raw.to()?;
    // One block, or several of them.
    let blocks = match message.content {
        Value::Array(blocks) => blocks,
        block => vec![block],
    };
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| block["text"].as_str())
        .collect();
    Ok(Answer::Accepted(Sampled {
        text: texts.join("\n"),
        model: message.model,
        stop_reason: message.stop_reason,
        raw: raw.clone(),
    }))
}

fn roots(answer: &Raw) -> Result<Answer<Vec<Root>>> {
    #[derive(Deserialize)]
    struct Roots {
        roots: Vec<Root>,
    }
    Ok(match response(answer) {
        Answer::Accepted(raw) => Answer::Accepted(raw.to::<Roots>()?.roots),
        Answer::Declined => Answer::Declined,
        Answer::Cancelled => Answer::Cancelled,
        Answer::Expired => Answer::Expired,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Raw {
        Raw::Given(value.into())
    }

    #[test]
    fn a_prompt_in_the_words_of_the_protocol() {
        let prompt = SampleRequest::new("a", 5)
            .assistant("b")
            .user("c")
            .system("s");
        let asked = prompt.question("k");
        assert_eq!(asked.method, "sampling/createMessage");
        let params = asked.params.to_value();
        assert_eq!(
            (&params["maxTokens"], &params["systemPrompt"]),
            (&json!(5), &json!("s"))
        );
        let roles: Vec<&str> = params["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
    }

    #[test]
    fn responses_and_refusals() {
        let text = json!({"type": "text", "text": "x"});
        for content in [text.clone(), json!([text])] {
            let message = json!({"role": "assistant", "model": "m", "content": content});
            let Answer::Accepted(sampled) = sampled(&given(message)).unwrap() else {
                panic!("refused");
            };
            assert_eq!((&*sampled.text, &*sampled.model), ("x", "m"));
        }
        let refused = given(json!({"error": {"code": -1, "message": "no"}}));
        assert_eq!(sampled(&refused).unwrap(), Answer::Declined);
        assert_eq!(roots(&refused).unwrap(), Answer::Declined);
        assert_eq!(roots(&Raw::Expired).unwrap(), Answer::Expired);
        let some = roots(&given(json!({"roots": [{"uri": "file:///a"}]}))).unwrap();
        assert!(matches!(some, Answer::Accepted(roots) if roots[0].uri == "file:///a"));
        assert!(sampled(&given(json!({"x": 1}))).is_err());
    }
}
