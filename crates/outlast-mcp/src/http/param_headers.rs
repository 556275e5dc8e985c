//! Arguments that are repeated as headers: properties marked `x-mcp-header` in a tool's schema.
//!
//! The schemas are read once. A tool without such a property costs nothing at a call.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName};
use outlast_engine::Tools;
use serde_json::Value;
use serde_json::value::RawValue;

use super::headers;
use crate::jsonrpc::RpcError;
use crate::protocol::names::HEADER_PARAM_PREFIX;

/// The marked properties by tool.
#[derive(Default)]
pub(crate) struct ParamHeaders {
    by_tool: HashMap<String, Vec<Marked>>,
}

struct Marked {
    header: HeaderName,
    path: Vec<String>,
}

impl ParamHeaders {
    pub(crate) fn new(tools: &Tools) -> Self {
        let mut by_tool = HashMap::new();
        for tool in tools.iter() {
            if !tool.input_schema.as_str().contains("x-mcp-header") {
                continue;
            }
            let mut marked = Vec::new();
            collect(&tool.input_schema.to_value(), &mut Vec::new(), &mut marked);
            if !marked.is_empty() {
                by_tool.insert(tool.name.clone(), marked);
            }
        }
        Self { by_tool }
    }

    /// Whether no tool has a marked property.
    pub(super) fn is_empty(&self) -> bool {
        self.by_tool.is_empty()
    }

    /// Holds the headers of a call against its arguments.
    ///
    /// # Errors
    /// A header is missing, says something else, or cannot be decoded.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        tool: &str,
        arguments: Option<&RawValue>,
    ) -> Result<(), RpcError> {
        let Some(marked) = self.by_tool.get(tool) else {
            return Ok(());
        };
        let arguments: Value = arguments
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or(Value::Null);
        for Marked { header, path } in marked {
            let value = path
                .iter()
                .try_fold(&arguments, |value, key| value.get(key));
            let value = value.filter(|value| !value.is_null());
            let said = headers::text(headers, header)?
                .map(headers::decoded)
                .transpose()?;
            let agrees = match (value, &said) {
                (None, None) => true,
                (Some(value), Some(said)) => is_same(value, said),
                _ => false,
            };
            if !agrees {
                return Err(RpcError::header_mismatch(format!(
                    "the header {header} must repeat the argument {:?}",
                    path.join(".")
                )));
            }
        }
        Ok(())
    }
}

fn collect(schema: &Value, path: &mut Vec<String>, marked: &mut Vec<Marked>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str) {
            let header = format!("{HEADER_PARAM_PREFIX}{}", header.to_ascii_lowercase());
            // A mark that is no header name marks nothing: no client could send it.
            if let Ok(header) = HeaderName::try_from(header) {
                marked.push(Marked {
                    header,
                    path: path.clone(),
                });
            }
        }
        collect(property, path, marked);
        path.pop();
    }
}

fn is_same(value: &Value, said: &str) -> bool {
    match value {
        Value::String(text) => text == said,
        Value::Bool(flag) => said == if *flag { "true" } else { "false" },
        // 42 and 42.0 are one number.
        Value::Number(number) => {
            number.to_string() == said
                || (said.parse().ok()).is_some_and(|said: f64| number.as_f64() == Some(said))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use outlast_core::{RawJson, ToolResult};
    use outlast_engine::{BoxFuture, Cx, Handler, Result as EngineResult, Tool};

    use super::*;

    struct Nothing;

    impl Handler for Nothing {
        fn check(&self, _arguments: &RawJson) -> Result<(), String> {
            Ok(())
        }

        fn call(
            &self,
            _arguments: RawJson,
            _cx: Cx,
        ) -> BoxFuture<'static, EngineResult<ToolResult>> {
            Box::pin(async { Ok(ToolResult::text("")) })
        }
    }

    #[test]
    fn marked_arguments_must_be_repeated() {
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}"#;
        let tool = Tool {
            input_schema: RawJson::parse(schema).unwrap(),
            ..Tool::new("t", Arc::new(Nothing))
        };
        let marked = ParamHeaders::new(&Tools::new([tool]).unwrap());
        let verdict = |pairs: &[(&'static str, &str)], arguments: &str| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            marked
                .check(
                    &headers,
                    "t",
                    Some(serde_json::from_str(arguments).unwrap()),
                )
                .is_ok()
        };
        assert!(verdict(&[("mcp-param-region", "eu")], r#"{"region":"eu"}"#));
        assert!(verdict(
            &[("mcp-param-region", "=?base64?ZXU=?=")],
            r#"{"region":"eu"}"#
        ));
        assert!(verdict(&[("mcp-param-n", "42.0")], r#"{"deep":{"n":42}}"#));
        assert!(verdict(&[], r#"{"region":null}"#));
        assert!(!verdict(&[], r#"{"region":"eu"}"#));
        assert!(!verdict(
            &[("mcp-param-region", "us")],
            r#"{"region":"eu"}"#
        ));
        assert!(!verdict(
            &[("mcp-param-region", "=?base64?ZXU?=")],
            r#"{"region":"eu"}"#
        ));
        assert!(!verdict(&[("mcp-param-region", "eu")], "{}"));
    }
}
