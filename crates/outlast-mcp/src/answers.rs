//! Whether a client can be asked a question, and whether an answer fits it.

use crate::jsonrpc::{RpcError, code};
use crate::protocol::Capabilities;
use crate::session::elicitation_mode;
use outlast_core::{InputRequest, RawJson};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Accept,
    Decline,
    Cancel,
}

#[derive(Deserialize)]
struct Elicited {
    action: Action,
    #[serde(default)]
    content: Option<Value>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default, rename = "requestedSchema")]
    schema: Option<Value>,
}

/// Whether a client with these capabilities answers this question.
pub(crate) fn can(capabilities: Capabilities, question: &InputRequest) -> bool {
    capabilities.can_answer(&question.method, mode(question).as_deref())
}

/// What a question needs beyond the capability of its kind: the mode of an elicitation, `tools` of a sample.
fn mode(question: &InputRequest) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        tools: Option<IgnoredAny>,
        tool_choice: Option<IgnoredAny>,
    }
    if question.method != "sampling/createMessage" {
        return elicitation_mode(question);
    }
    let sample: Sample = question.params.to().ok()?;
    (sample.tools.is_some() || sample.tool_choice.is_some()).then(|| "tools".to_owned())
}

/// The client capability that a question needs.
pub(crate) fn capability(question: &InputRequest) -> &'static str {
    match question.method.as_str() {
        "sampling/createMessage" => "sampling",
        "roots/list" => "roots",
        _ => "elicitation",
    }
}

/// The error of a request that did not declare that its sender answers this question.
pub(crate) fn missing_capability(question: &InputRequest) -> RpcError {
    let capability = capability(question);
    let inner = match mode(question).as_deref() {
        Some("url") => r#"{"url":{}}"#,
        Some("tools") => r#"{"tools":{}}"#,
        _ => "{}",
    };
    let data = format!(r#"{{"requiredCapabilities":{{"{capability}":{inner}}}}}"#);
    RpcError::new(
        code::MISSING_CAPABILITY,
        format!("what was called asks its caller; declare the capability {capability:?}"),
    )
    .with_data(RawJson::parse(data).expect("written as JSON"))
}

/// A refusal in place of a response: the client's error.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Sampled {
    #[serde(rename = "role")]
    _role: Role,
    #[serde(rename = "model")]
    _model: String,
    content: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

#[derive(Deserialize)]
struct Rooted {
    #[serde(rename = "roots")]
    _roots: Vec<Root>,
}

#[derive(Deserialize)]
struct Root {
    #[serde(rename = "uri")]
    _uri: String,
}

/// Checks an answer against its question: the shape of the response, and for an accepted form the
/// content against the schema that was asked for. The first answer counts, so one that is none must not be
/// taken: nobody could give another.
///
/// # Errors
/// What is wrong, as the rest of a sentence that begins with "the answer".
pub fn check(question: &InputRequest, answer: &RawJson) -> Result<(), String> {
    if !answer.as_str().starts_with('{') {
        return Err("must be an object".into());
    }
    match question.method.as_str() {
        "elicitation/create" => check_elicited(question, answer),
        _ if matches!(answer.to::<Refusal>(), Ok(Refusal { error: Some(error) }) if error.is_object()) => {
            Ok(())
        }
        "sampling/createMessage" => check_sampled(answer),
        "roots/list" => match answer.to::<Rooted>() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                r#"needs "roots", a list of objects with a "uri", or an "error": {error}"#
            )),
        },
        _ => Ok(()),
    }
}

fn check_sampled(answer: &RawJson) -> Result<(), String> {
    let sampled: Sampled = answer.to().map_err(|error| {
        format!(r#"needs "role", "model" and "content", or an "error": {error}"#)
    })?;
    let is_block = |block: &Value| match block["type"].as_str() {
        Some("text") => block["text"].is_string(),
        Some("tool_use") => {
            block["id"].is_string() && block["name"].is_string() && block["input"].is_object()
        }
        kind => kind.is_some(),
    };
    let blocks = sampled.content.as_array();
    if blocks.map_or_else(
        || is_block(&sampled.content),
        |blocks| blocks.iter().all(is_block),
    ) {
        Ok(())
    } else {
        Err(r#"needs "content" of one block or of several, each as the protocol has it"#.into())
    }
}

fn check_elicited(question: &InputRequest, answer: &RawJson) -> Result<(), String> {
    let elicited: Elicited = answer
        .to()
        .map_err(|_| r#"needs an "action": "accept", "decline" or "cancel""#.to_owned())?;
    let asked: Asked = question.params.to().unwrap_or(Asked {
        mode: None,
        schema: None,
    });
    let is_form = asked.mode.as_deref().is_none_or(|mode| mode == "form");
    if !matches!(elicited.action, Action::Accept) || !is_form {
        return Ok(());
    }
    let Some(schema) = asked.schema else {
        return Ok(());
    };
    let content = elicited
        .content
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let Ok(validator) = jsonschema::validator_for(&schema) else {
        // The tool asked with a schema that is none; it cannot be held against the answer.
        return Ok(());
    };
    let problems: Vec<String> = validator
        .iter_errors(&content)
        .map(|error| error.to_string())
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "does not fit the requested schema: {}",
            problems.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> InputRequest {
        let params = r#"{"mode":"form","message":"sure?","requestedSchema":{"type":"object",
            "properties":{"confirm":{"type":"boolean"}},"required":["confirm"]}}"#;
        InputRequest::new("k", "elicitation/create", RawJson::parse(params).unwrap())
    }

    #[test]
    fn answers_are_held_against_the_schema() {
        let verdict = |json: &str| check(&question(), &RawJson::parse(json).unwrap());
        assert_eq!(
            verdict(r#"{"action":"accept","content":{"confirm":true}}"#),
            Ok(())
        );
        assert_eq!(verdict(r#"{"action":"decline"}"#), Ok(()));
        for bad in [
            r#"{"action":"accept","content":{"confirm":"yes"}}"#,
            r#"{"action":"accept"}"#,
            r#"{"action":"maybe"}"#,
            r#"{}"#,
            r#"["accept"]"#,
        ] {
            assert!(verdict(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn samples_and_roots_are_held_against_the_protocol() {
        let verdict = |method: &str, json: &str| {
            let question = InputRequest::new("k", method, RawJson::empty_object());
            check(&question, &RawJson::parse(json).unwrap())
        };
        for good in [
            r#"{"role":"assistant","model":"m","content":{"type":"text","text":"x"}}"#,
            r#"{"role":"assistant","model":"m","content":[{"type":"tool_use","id":"u","name":"n","input":{}}]}"#,
            r#"{"error":{"code":-1,"message":"no"}}"#,
        ] {
            assert_eq!(verdict("sampling/createMessage", good), Ok(()), "{good}");
        }
        for bad in [
            "{}",
            r#"{"x":1}"#,
            r#"{"role":"assistant","model":"m"}"#,
            r#"{"role":"assistant","model":"m","content":"x"}"#,
            r#"{"role":"assistant","model":"m","content":[{"text":"x"}]}"#,
            r#"{"role":"system","model":"m","content":{"type":"text"}}"#,
            r#"{"role":"assistant","model":"m","content":[{"type":"tool_use","id":"u"}]}"#,
            r#"{"error":"no"}"#,
        ] {
            assert!(verdict("sampling/createMessage", bad).is_err(), "{bad}");
        }
        for good in [r#"{"roots":[]}"#, r#"{"roots":[{"uri":"file:///a"}]}"#] {
            assert_eq!(verdict("roots/list", good), Ok(()), "{good}");
        }
        for bad in ["{}", r#"{"roots":"no"}"#, r#"{"roots":[{"name":"a"}]}"#] {
            assert!(verdict("roots/list", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tools_go_to_clients_that_take_them() {
        let plain = Capabilities {
            sampling: true,
            ..Capabilities::default()
        };
        let tools = Capabilities {
            sampling_tools: true,
            ..plain
        };
        let question = |params: &str| {
            InputRequest::new(
                "k",
                "sampling/createMessage",
                RawJson::parse(params).unwrap(),
            )
        };
        assert!(can(plain, &question(r#"{"messages":[],"maxTokens":1}"#)));
        for params in [r#"{"tools":[]}"#, r#"{"toolChoice":{"mode":"none"}}"#] {
            assert!(!can(plain, &question(params)), "{params}");
            assert!(can(tools, &question(params)), "{params}");
        }
        let error = missing_capability(&question(r#"{"tools":[]}"#));
        assert!(format!("{error:?}").contains("tools"), "{error:?}");
    }
}
