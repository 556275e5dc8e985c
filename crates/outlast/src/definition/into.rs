//! What else becomes a tool, and how a tool names the state that it takes.

use std::any::TypeId;

use outlast_core::RawJson;
use serde_json::Value;

use super::Tool;

/// A state that a tool, a prompt or a resource takes.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl Need {
    pub(crate) fn of<S: StateOf>() -> Self {
        Self {
            id: TypeId::of::<S::Value>(),
            name: std::any::type_name::<S::Value>(),
        }
    }
}

impl From<outlast_engine::Tool> for Tool {
    /// A tool that was made for the engine. What it says about tasks and retention stands.
    fn from(tool: outlast_engine::Tool) -> Self {
        let (task, retention) = (tool.task, tool.retention);
        let mut tool = Self::around(tool, Some(task));
        tool.retention = Some(retention);
        tool.declared.title = tool.tool.title.take();
        tool.declared.description = tool.tool.description.take();
        tool.declared.meta = tool.tool.meta.take();
        if let Some(Value::Object(hints)) = tool.tool.annotations.as_ref().map(RawJson::to_value) {
            tool.annotations = hints;
        }
        tool
    }
}

/// [`crate::State`] of some type: how a tool names the state that it takes.
pub trait StateOf {
    /// The type of the state.
    type Value: Send + Sync + 'static;
}

impl<T: Send + Sync + 'static> StateOf for crate::State<T> {
    type Value = T;
}

/// What a server takes as a tool: a [`Tool`], or the name of a function with `#[tool]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "not a tool",
    note = "put #[tool] on the function and give the server its name without calling it, or make a \
            `Tool` by hand with `Tool::typed`"
)]
pub trait IntoTool {
    /// The tool.
    fn into_tool(self) -> Tool;
}

impl IntoTool for Tool {
    fn into_tool(self) -> Tool {
        self
    }
}

impl IntoTool for outlast_engine::Tool {
    fn into_tool(self) -> Tool {
        self.into()
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> Tool> IntoTool for F {
    fn into_tool(self) -> Tool {
        self()
    }
}
