//! A tool that says what its structured result looks like, held to it.
//!
//! 2025-11-25 and 2026-07-28 tools, "Output Schema": the structured result must fit. Where it does not,
//! the call ends with a tool error that names the mismatch, so that neither the model nor the client
//! works with a value that was promised to be another. The value is not lost: it is kept with the
//! error under [`REJECTED`] in `_meta`. It is the code that is wrong, so the call is not tried again.

use std::sync::Arc;

use outlast_core::{RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Handler};
use serde_json::{Map, Value};

use crate::Result;

/// `_meta` of an error: the structured result that did not fit.
pub(crate) const REJECTED: &str = "outlast/rejectedResult";

/// A handler and the schema of its structured results, compiled once.
pub(crate) struct Promised {
    schema: Arc<jsonschema::Validator>,
    inner: Arc<dyn Handler>,
}

impl Promised {
    /// Holds `inner` to `schema`.
    ///
    /// # Errors
    /// The schema is none; the sentence says where.
    pub(crate) fn new(schema: &RawJson, inner: Arc<dyn Handler>) -> Result<Self, String> {
        let schema =
            jsonschema::draft202012::new(&schema.to_value()).map_err(|error| error.to_string())?;
        Ok(Self {
            schema: Arc::new(schema),
            inner,
        })
    }
}

impl Handler for Promised {
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        self.inner.check(arguments)
    }

    fn check_meta(&self, meta: Option<&RawJson>) -> Result<(), String> {
        self.inner.check_meta(meta)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let call = self.inner.call(arguments, cx);
        let schema = Arc::clone(&self.schema);
        Box::pin(async move { Ok(held_to(&schema, call.await?)) })
    }
}

/// The result, or the error that stands for one that does not fit.
fn held_to(schema: &jsonschema::Validator, result: ToolResult) -> ToolResult {
    if result.is_error {
        return result;
    }
    let Some(structured) = &result.structured else {
        return ToolResult::error(
            "the tool promises a structured result and returned none; this is a mistake of the tool",
        );
    };
    let value = structured.to_value();
    let problems: Vec<String> = schema
        .iter_errors(&value)
        .map(|error| format!("{error} at {:?}", error.instance_path().to_string()))
        .collect();
    if problems.is_empty() {
        return result;
    }
    let mut meta = match result.meta.as_ref().map(RawJson::to_value) {
        Some(Value::Object(meta)) => meta,
        _ => Map::new(),
    };
    meta.insert(REJECTED.into(), value);
    ToolResult {
        meta: Some(Value::Object(meta).into()),
        ..ToolResult::error(format!(
            "the structured result does not fit the schema that the tool promises; this is a mistake of \
             the tool: {}",
            problems.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held(structured: Option<Value>) -> ToolResult {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}},
            "required": ["n"]});
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        let result = ToolResult {
            structured: structured.map(Into::into),
            meta: Some(json!({"own": 1}).into()),
            ..ToolResult::text("t")
        };
        held_to(&schema, result)
    }

    #[test]
    fn what_fits_passes_unchanged() {
        let result = held(Some(json!({"n": 3})));
        assert!(!result.is_error && result.structured.is_some());
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_keeps_it() {
        let result = held(Some(json!({"n": "three"})));
        assert!(result.is_error && result.structured.is_none());
        assert!(result.content.as_str().contains("/n"), "{result:?}");
        let meta = result.meta.unwrap().to_value();
        assert_eq!(meta, json!({"own": 1, REJECTED: {"n": "three"}}));
        assert!(held(None).is_error);
        assert!(held(Some(json!({}))).content.as_str().contains("required"));
    }
}
