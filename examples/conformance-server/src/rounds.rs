//! Tools that ask their caller while it waits, and are never a task.

use outlast::prelude::*;
use outlast::{Answer, Ask, InputRequest, RawJson, question};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) fn tools() -> [Tool; 14] {
    [
        test_elicitation(),
        test_elicitation_sep1034_defaults(),
        test_elicitation_sep1330_enums(),
        test_input_required_result_capabilities(),
        test_input_required_result_elicitation(),
        test_input_required_result_list_roots(),
        test_input_required_result_multi_round(),
        test_input_required_result_multiple_inputs(),
        test_input_required_result_request_state(),
        test_input_required_result_sampling(),
        test_input_required_result_tampered_state(),
        test_missing_capability(),
        test_sampling(),
        test_streaming_elicitation(),
    ]
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Name {
    /// A name.
    name: String,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Agreement {
    /// Whether it is right.
    ok: bool,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Colour {
    /// A colour.
    color: String,
}

/// A form with a schema of its own.
fn form(key: &str, message: &str, properties: &Value) -> InputRequest {
    let params = json!({
        "mode": "form",
        "message": message,
        "requestedSchema": {"type": "object", "properties": properties},
    });
    InputRequest::new(key, "elicitation/create", params.into())
}

fn sampling(key: &str, prompt: &str, max_tokens: u32) -> InputRequest {
    let params = json!({
        "messages": [{"role": "user", "content": {"type": "text", "text": prompt}}],
        "maxTokens": max_tokens,
    });
    InputRequest::new(key, "sampling/createMessage", params.into())
}

fn roots(key: &str) -> InputRequest {
    InputRequest::new(key, "roots/list", RawJson::empty_object())
}

/// The answer as it came.
fn said(answer: outlast::core::Answer) -> String {
    match answer {
        outlast::core::Answer::Given(answer) => answer.as_str().to_owned(),
        outlast::core::Answer::Expired => "nothing".into(),
    }
}

/// What the model of the client wrote.
fn sampled(answer: outlast::core::Answer) -> String {
    #[derive(Deserialize)]
    struct Message {
        content: Block,
    }
    #[derive(Deserialize)]
    struct Block {
        text: String,
    }
    match answer {
        outlast::core::Answer::Given(answer) => answer.to::<Message>().map_or_else(
            |_| answer.as_str().to_owned(),
            |message| message.content.text,
        ),
        outlast::core::Answer::Expired => "nothing".into(),
    }
}

async fn form_result(cx: &Cx, request: InputRequest) -> Result<String> {
    #[derive(Deserialize)]
    struct Response {
        action: String,
        #[serde(default)]
        content: Option<RawJson>,
    }
    let outlast::core::Answer::Given(answer) = cx.ask_raw(request).await? else {
        return Ok("Elicitation expired".into());
    };
    let Response { action, content } = answer.to()?;
    let content = content.unwrap_or_else(RawJson::empty_object);
    Ok(format!(
        "Elicitation completed: action={action}, content={}",
        content.as_str()
    ))
}

/// Asks for a user name and an address.
#[tool]
async fn test_elicitation(message: String, cx: Cx) -> Result<String> {
    let properties = json!({
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    });
    let mut request = form("user", &message, &properties);
    let mut params = request.params.to_value();
    params["requestedSchema"]["required"] = json!(["username", "email"]);
    request.params = params.into();
    form_result(&cx, request).await
}

/// Asks with a default for each kind of value.
#[tool]
async fn test_elicitation_sep1034_defaults(cx: Cx) -> Result<String> {
    let properties = json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    });
    form_result(
        &cx,
        form("defaults", "Please check these values.", &properties),
    )
    .await
}

/// Asks with each kind of choice.
#[tool]
async fn test_elicitation_sep1330_enums(cx: Cx) -> Result<String> {
    let titled = |first: &str| {
        json!([
            {"const": "value1", "title": format!("First {first}")},
            {"const": "value2", "title": format!("Second {first}")},
            {"const": "value3", "title": format!("Third {first}")},
        ])
    };
    let properties = json!({
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled("Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {"type": "array", "items": {"anyOf": titled("Choice")}},
    });
    form_result(&cx, form("choices", "Please choose.", &properties)).await
}

/// Asks the model of the client.
#[tool]
async fn test_sampling(prompt: String, cx: Cx) -> Result<String> {
    let answer = cx.ask_raw(sampling("prompt", &prompt, 100)).await?;
    Ok(format!("LLM response: {}", sampled(answer)))
}

/// Asks for a name.
#[tool]
async fn test_input_required_result_elicitation(cx: Cx) -> Result<String> {
    greet(&cx, "user_name", "What is your name?").await
}

async fn greet(cx: &Cx, key: &str, message: &str) -> Result<String> {
    Ok(match cx.ask::<Name>(key, message).await? {
        Answer::Accepted(Name { name }) => format!("Hello, {name}!"),
        _ => "Hello, whoever you are!".into(),
    })
}

/// Asks the model of the client for a capital.
#[tool]
async fn test_input_required_result_sampling(cx: Cx) -> Result<String> {
    let question = sampling("capital_question", "What is the capital of France?", 100);
    Ok(sampled(cx.ask_raw(question).await?))
}

/// Asks for the client's roots.
#[tool]
async fn test_input_required_result_list_roots(cx: Cx) -> Result<String> {
    Ok(said(cx.ask_raw(roots("client_roots")).await?))
}

/// Asks for a confirmation, with a state between the rounds.
#[tool]
async fn test_input_required_result_request_state(cx: Cx) -> Result<String> {
    let confirmed = confirmed(&cx).await?;
    Ok(format!("state-ok, confirmed: {confirmed}"))
}

/// Asks, with a state that nobody may change.
#[tool]
async fn test_input_required_result_tampered_state(cx: Cx) -> Result<String> {
    let confirmed = confirmed(&cx).await?;
    Ok(format!(
        "the state came back as it was, confirmed: {confirmed}"
    ))
}

async fn confirmed(cx: &Cx) -> Result<bool> {
    let answer = cx.ask::<Agreement>("confirm", "Please confirm").await?;
    Ok(matches!(answer, Answer::Accepted(Agreement { ok: true })))
}

/// Asks three things at once.
#[tool]
async fn test_input_required_result_multiple_inputs(cx: Cx) -> Result<String> {
    ask_for_everything(&cx).await
}

/// Asks its client for one thing of every kind, at once, and says what it was told.
pub(crate) async fn ask_for_everything(cx: &Cx) -> Result<String> {
    let questions = vec![
        question::<Name>("user_name", "What is your name?")?,
        sampling("greeting", "Generate a greeting", 50),
        roots("client_roots"),
    ];
    let answers = cx.ask_all(questions).await?;
    let said: Vec<String> = answers.into_iter().map(said).collect();
    Ok(said.join("\n"))
}

/// Asks twice, one after the other.
#[tool]
async fn test_input_required_result_multi_round(cx: Cx) -> Result<String> {
    let hello = greet(&cx, "step1", "Step 1: What is your name?").await?;
    let colour = cx
        .ask::<Colour>("step2", "Step 2: What is your favorite color?")
        .await?;
    Ok(match colour {
        Answer::Accepted(Colour { color }) => format!("{hello} You like {color}."),
        _ => hello,
    })
}

/// Asks whatever the client declared that it answers.
#[tool]
async fn test_input_required_result_capabilities(cx: Cx) -> Result<String> {
    let declared = cx.client().map(RawJson::to_value).unwrap_or_default();
    let can = |capability: &str| declared["capabilities"][capability].is_object();
    let mut questions = Vec::new();
    if can("elicitation") {
        questions.push(question::<Name>("user_name", "What is your name?")?);
    }
    if can("sampling") {
        questions.push(sampling("greeting", "Generate a greeting", 50));
    }
    if can("roots") {
        questions.push(roots("client_roots"));
    }
    let answers = cx.ask_all(questions).await?;
    Ok(format!("{} answers", answers.len()))
}

/// Needs a client that samples.
#[tool]
async fn test_missing_capability(cx: Cx) -> Result<String> {
    let answer = cx
        .ask_raw(sampling("anything", "Say anything.", 10))
        .await?;
    Ok(sampled(answer))
}

/// Asks in the middle of a stream.
#[tool]
async fn test_streaming_elicitation(cx: Cx) -> Result<String> {
    cx.progress().total(2).done(1).message("about to ask");
    greet(&cx, "name", "What is your name?").await
}
