//! `outlast tools`: the tools of a server.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::out;

/// List the tools of a server and what they take
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Tools {
    /// Only this tool
    tool: Option<String>,

    #[command(flatten)]
    address: Address,
}

impl Tools {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.list())
    }

    async fn list(self) -> Result<Exit, Trouble> {
        let client = self.address.connect(Need::Any, &Bar::new(true)).await?;
        let tools = client.list_tools().await;
        client.close().await;
        let mut tools = tools?;
        if let Some(name) = &self.tool {
            tools.retain(|tool| tool.name == *name);
            if tools.is_empty() {
                return Err(Trouble::new(
                    Exit::NotFound,
                    format!("the server has no tool {name:?}"),
                ));
            }
        }
        if self.address.json {
            let tools: Vec<_> = tools.iter().map(|tool| tool.raw.to_value()).collect();
            out::json(&json!({"tools": tools}));
            return Ok(Exit::Ok);
        }
        for tool in tools {
            out::line(&tool.name);
            for line in tool
                .description
                .as_deref()
                .unwrap_or_default()
                .trim()
                .lines()
            {
                out::line(&format!("    {}", line.trim_end()));
            }
            for line in arguments(&tool.input_schema.to_value()) {
                out::line(&format!("  {line}"));
            }
        }
        Ok(Exit::Ok)
    }
}

/// A line for each argument.
fn arguments(schema: &Value) -> Vec<String> {
    let required: Vec<_> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let line = |(name, property): (&String, &Value)| {
        let kind = match property.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            Some(Value::Array(kinds)) => kinds
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join("|"),
            _ => "value".to_owned(),
        };
        let mut line = format!("{name}={kind}");
        if let Some(choices) = property.get("enum").and_then(Value::as_array) {
            let choices: Vec<_> = choices.iter().map(Value::to_string).collect();
            line.push_str(&format!(" ({})", choices.join(", ")));
        }
        if let Some(default) = property.get("default") {
            line.push_str(&format!(" [default: {default}]"));
        } else if !required.contains(&name.as_str()) {
            line.push_str(" [optional]");
        }
        if let Some(text) = property.get("description").and_then(Value::as_str) {
            line.push_str(&format!("  {text}"));
        }
        line
    };
    properties.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_a_line_each() {
        let schema = json!({
            "properties": {
                "a": {"type": "integer", "description": "First."},
                "b": {"type": ["string", "null"]},
                "c": {"enum": ["x", "y"], "default": "x"},
            },
            "required": ["a"],
        });
        assert_eq!(
            arguments(&schema),
            [
                "a=integer  First.",
                "b=string|null [optional]",
                r#"c=value ("x", "y") [default: "x"]"#
            ]
        );
    }
}
