//! A tool that asks before it goes on.

use outlast::core::Answer;
use outlast::prelude::*;
use outlast::{InputRequest, RawJson};
use serde_json::json;

pub(crate) fn tools() -> [Tool; 1] {
    [deploy()]
}

/// One field of each kind that a form may have, in the order in which they are asked.
const FORM: &str = r#"{
    "type": "object",
    "properties": {
        "strategy": {
            "type": "string", "title": "Strategy", "description": "How machines are taken over.",
            "oneOf": [
                {"const": "canary", "title": "One machine first"},
                {"const": "rolling", "title": "One after the other"},
                {"const": "all", "title": "All at once"}
            ],
            "default": "canary"
        },
        "machines": {"type": "integer", "title": "Machines", "minimum": 1, "maximum": 40, "default": 12},
        "notify": {
            "type": "array", "title": "Tell",
            "items": {"type": "string", "enum": ["editors", "support", "everybody"]}
        },
        "backup": {"type": "boolean", "title": "Back up first", "default": true},
        "note": {"type": "string", "title": "Note", "maxLength": 200}
    },
    "required": ["strategy", "machines"]
}"#;

/// Rolls a release out, after somebody has agreed.
#[tool(task, repeatable)]
async fn deploy(
    /// The release.
    version: String,
    cx: Cx,
) -> Result<String> {
    let schema = RawJson::parse(FORM)?;
    let params = json!({
        "mode": "form",
        "message": format!("Roll {version} out to production?"),
        "requestedSchema": schema,
    });
    let question = InputRequest::new("rollout", "elicitation/create", RawJson::of(&params)?);
    let Answer::Given(response) = cx.ask_raw(question).await? else {
        return Ok("kept back: nobody answered".to_owned());
    };
    let response = response.to_value();
    Ok(match response["action"].as_str() {
        Some("accept") => format!("rolled out: {}", response["content"]),
        _ => "kept back".to_owned(),
    })
}
