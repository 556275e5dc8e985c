//! What a client has besides people: a model, and folders that it works in.

use outlast_core::{Answer as Raw, InputRequest, RawJson};
use outlast_engine::Cx;
use outlast_mcp::Root;
use outlast_mcp::offer::RequestCx;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Answer, Content, Result};

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
    /// One message of the user, to be answered with at most `max_tokens` tokens. Text, image or sound: other content
    /// is none of a sample, and the client will refuse it.
    pub fn new(content: impl Into<Content>, max_tokens: u32) -> Self {
        Self {
            params: json!({"messages": [], "maxTokens": max_tokens}),
        }
        .user(content)
    }

    /// Adds an answer of the model, as if it had given it.
    pub fn assistant(self, content: impl Into<Content>) -> Self {
        self.message("assistant", json!(content.into()))
    }

    /// Adds a message of the user.
    pub fn user(self, content: impl Into<Content>) -> Self {
        self.message("user", json!(content.into()))
    }

    /// Sets what the model is told before all messages. The client may change it.
    pub fn system(self, text: impl Into<String>) -> Self {
        self.with("systemPrompt", text.into())
    }

    /// Sets how freely the model chooses its words.
    pub fn temperature(self, temperature: f64) -> Self {
        self.with("temperature", temperature)
    }

    /// Ends the answer before any of these texts.
    pub fn stop<S: Into<String>>(self, at: impl IntoIterator<Item = S>) -> Self {
        let at: Vec<String> = at.into_iter().map(Into::into).collect();
        self.with("stopSequences", at)
    }

    /// Prefers a model whose name has this in it; may be said several times, the most wanted first. The client
    /// decides, and may have none of them.
    pub fn model(mut self, hint: impl Into<String>) -> Self {
        let hints = &mut self.params["modelPreferences"]["hints"];
        let hint = json!({"name": hint.into()});
        match hints.as_array_mut() {
            Some(hints) => hints.push(hint),
            None => *hints = json!([hint]),
        }
        self
    }

    /// Says how much a low price, speed and ability of the model matter, each from 0 to 1.
    pub fn priorities(mut self, cost: f64, speed: f64, intelligence: f64) -> Self {
        let preferences = &mut self.params["modelPreferences"];
        preferences["costPriority"] = cost.into();
        preferences["speedPriority"] = speed.into();
        preferences["intelligencePriority"] = intelligence.into();
        self
    }

    /// Hands something on to whoever provides the model, in the provider's own words.
    pub fn metadata(self, metadata: Value) -> Self {
        self.with("metadata", metadata)
    }

    /// Offers a tool to the model, which may answer with [`Sampled::tool_uses`]; `schema` is that of its arguments.
    /// Only a client that declared `sampling.tools` (2025-11-25 and later) is asked such a question.
    pub fn tool(
        mut self,
        name: impl Into<String>,
        description: impl Into<String>,
        schema: Value,
    ) -> Self {
        let tool =
            json!({"name": name.into(), "description": description.into(), "inputSchema": schema});
        match self.params["tools"].as_array_mut() {
            Some(tools) => tools.push(tool),
            None => self.params["tools"] = json!([tool]),
        }
        self
    }

    /// Sets whether the model uses tools at all. Without it the model decides.
    pub fn tool_choice(self, choice: ToolChoice) -> Self {
        let mode = match choice {
            ToolChoice::Auto => "auto",
            ToolChoice::Required => "required",
            ToolChoice::Never => "none",
        };
        self.with("toolChoice", json!({"mode": mode}))
    }

    /// Adds what the model answered, and what its tools made of it: `results` has the id of each use and its content.
    /// The protocol wants a result for every use, and nothing else in that message.
    pub fn used(
        self,
        answer: &Sampled,
        results: impl IntoIterator<Item = (String, Content)>,
    ) -> Self {
        let said = answer.raw.to_value()["content"].take();
        let results: Vec<Value> = results
            .into_iter()
            .map(|(id, content)| json!({"type": "tool_result", "toolUseId": id, "content": [content]}))
            .collect();
        self.message("assistant", said)
            .message("user", results.into())
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.params[name] = value.into();
        self
    }

    fn message(mut self, role: &str, content: Value) -> Self {
        self.params["messages"]
            .as_array_mut()
            .expect("made as an array")
            .push(json!({"role": role, "content": content}));
        self
    }

    /// The question that [`Sample::sample`] asks, for [`Cx::ask_all`].
    pub fn question(self, key: &str) -> InputRequest {
        InputRequest::new(key, "sampling/createMessage", self.params.into())
    }
}

/// Whether a model that is sampled uses the tools it is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// At least one of them.
    Required,
    /// None of them.
    Never,
}

/// A tool that the model wants to be used: see [`SampleRequest::tool`].
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[non_exhaustive]
pub struct ToolUse {
    /// Names this use, for [`SampleRequest::used`].
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, by the schema that it was offered with.
    pub input: Value,
}

/// What the client's model wrote.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Sampled {
    /// The text; empty if it wrote none.
    pub text: String,
    /// The tools that it wants to be used, before it goes on.
    pub tool_uses: Vec<ToolUse>,
    /// The model's name, as the client says it.
    pub model: String,
    /// Why it stopped, if the client says so: `endTurn`, `stopSequence`, `maxTokens`, `toolUse` or another word.
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
        tool_uses: blocks
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .map(ToolUse::deserialize)
            .collect::<std::result::Result<_, _>>()?,
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
    fn everything_that_a_sample_can_say() {
        let asked = SampleRequest::new(Content::image("image/png", b"x"), 5)
            .temperature(0.5)
            .stop(["END"])
            .model("small")
            .model("fast")
            .priorities(0.1, 0.9, 0.2)
            .metadata(json!({"user": 1}))
            .tool("look", "Looks something up.", json!({"type": "object"}))
            .tool_choice(ToolChoice::Required)
            .question("k");
        assert_eq!(
            asked.params.to_value(),
            json!({
                "messages": [{"role": "user",
                    "content": {"type": "image", "data": "eA==", "mimeType": "image/png"}}],
                "maxTokens": 5, "temperature": 0.5, "stopSequences": ["END"],
                "modelPreferences": {"hints": [{"name": "small"}, {"name": "fast"}],
                    "costPriority": 0.1, "speedPriority": 0.9, "intelligencePriority": 0.2},
                "metadata": {"user": 1},
                "tools": [{"name": "look", "description": "Looks something up.",
                    "inputSchema": {"type": "object"}}],
                "toolChoice": {"mode": "required"},
            })
        );
    }

    #[test]
    fn the_use_of_a_tool_and_its_result() {
        let block = json!({"type": "tool_use", "id": "u1", "name": "look", "input": {"a": 1}});
        let message =
            json!({"role": "assistant", "model": "m", "content": [block], "stopReason": "toolUse"});
        let Answer::Accepted(answer) = sampled(&given(message)).unwrap() else {
            panic!("refused");
        };
        assert_eq!(answer.tool_uses.len(), 1);
        let used = &answer.tool_uses[0];
        assert_eq!(
            (&*used.id, &*used.name, &used.input),
            ("u1", "look", &json!({"a": 1}))
        );
        let next = SampleRequest::new("a", 5).used(&answer, [(used.id.clone(), "found".into())]);
        let messages = next.question("k").params.to_value()["messages"].take();
        assert_eq!(
            messages[1],
            json!({"role": "assistant", "content": [block]})
        );
        assert_eq!(
            messages[2],
            json!({"role": "user", "content": [{"type": "tool_result", "toolUseId": "u1",
                "content": [{"type": "text", "text": "found"}]}]})
        );
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
