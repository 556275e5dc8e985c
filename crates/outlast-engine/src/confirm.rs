//! Confirmation: a tool that asks whether it shall run before it does anything.
//!
//! The question belongs to the task, like any other ([`Cx::ask_raw`]): it holds no worker while nobody
//! answers, survives a restart, and can be answered from wherever the task's questions can be. So the
//! rule is the same on every surface, and a caller that cannot answer has started nothing. And as nothing is
//! done before the answer, a crash before it interrupts nothing, also where the tool may not be run twice.

use std::sync::Arc;

use outlast_core::{Answer, InputRequest, RawJson, ToolResult};
use serde_json::json;

use crate::BoxFuture;
use crate::context::Cx;
use crate::error::Result;
use crate::tool::{Handler, Tool};

/// The key of the question. Handlers should not use it for theirs.
pub const CONFIRM_KEY: &str = "outlast.confirm";

/// Asks first, then calls.
struct Confirmed {
    tool: String,
    inner: Arc<dyn Handler>,
}

impl Tool {
    /// This tool, asking first: "Run `name`?" with a switch to be set. Whoever declines, closes the
    /// form, leaves the switch or lets the question expire gets a tool error that says that nothing
    /// was done. Such a tool must be able to run as a task.
    #[must_use]
    pub fn confirmed(mut self) -> Self {
        self.handler = Arc::new(Confirmed {
            tool: self.title.clone().unwrap_or_else(|| self.name.clone()),
            inner: self.handler,
        });
        self.confirmed_by = Some(CONFIRM_KEY.to_owned());
        self
    }
}

impl Confirmed {
    fn question(&self) -> InputRequest {
        let params = json!({
            "mode": "form",
            "message": format!("Run {}?", self.tool),
            "requestedSchema": {
                "type": "object",
                "properties": {
                    "confirm": { "type": "boolean", "title": "Yes, run it", "default": false },
                },
                "required": ["confirm"],
            },
        });
        InputRequest::new(CONFIRM_KEY, "elicitation/create", params.into())
    }
}

impl Handler for Confirmed {
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        self.inner.check(arguments)
    }

    fn check_meta(&self, meta: Option<&RawJson>) -> Result<(), String> {
        self.inner.check_meta(meta)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let (question, inner) = (self.question(), Arc::clone(&self.inner));
        let tool = self.tool.clone();
        Box::pin(async move {
            let answer = cx.ask_raw(question).await?;
            if is_yes(&answer) {
                return inner.call(arguments, cx).await;
            }
            Ok(ToolResult::error(format!(
                "{tool} was not confirmed, so nothing was done"
            )))
        })
    }
}

fn is_yes(answer: &Answer) -> bool {
    let Answer::Given(response) = answer else {
        return false;
    };
    let response = response.to_value();
    response["action"] == "accept" && response["content"]["confirm"] == true
}
