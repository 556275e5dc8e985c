//! Whether a client can be asked a question, and whether an answer fits it.

use crate::jsonrpc::{RpcError, code};
use crate::protocol::Capabilities;
use crate::session::elicitation_mode;
use outlast_core::{InputRequest, RawJson};
use serde::Deserialize;
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
    let mode = elicitation_mode(question);
    capabilities.can_answer(&question.method, mode.as_deref())
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
    let inner = match elicitation_mode(question).as_deref() {
        Some("url") => r#"{"url":{}}"#,
        _ => "{}",
    };
    let data = format!(r#"{{"requiredCapabilities":{{"{capability}":{inner}}}}}"#);
    RpcError::new(
        code::MISSING_CAPABILITY,
        format!("what was called asks its caller; declare the capability {capability:?}"),
    )
    .with_data(RawJson::parse(data).expect("written as JSON"))
}

/// Checks an answer against its question: the shape of the response, and for an accepted form the
/// content against the schema that was asked for.
///
/// # Errors
/// What is wrong, as the rest of a sentence that begins with "the answer".
pub fn check(question: &InputRequest, answer: &RawJson) -> Result<(), String> {
    if !answer.as_str().starts_with('{') {
        return Err("must be an object".into());
    }
    if question.method != "elicitation/create" {
        return Ok(());
    }
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
}
