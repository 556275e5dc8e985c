//! Whether an answer fits its question.

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
        InputRequest {
            key: "k".into(),
            method: "elicitation/create".into(),
            params: RawJson::parse(params).unwrap(),
            expires_at: None,
        }
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
