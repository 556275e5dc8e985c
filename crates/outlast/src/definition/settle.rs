//! A tool as the engine runs it, and what keeps one from being run.

use std::sync::Arc;
use std::time::Duration;

use outlast_engine::{DetachAfter, OnDisconnect, TaskSupport};
use serde_json::Value;

use super::Tool;
use crate::declared::Listed;
use crate::promise::Promised;

impl Tool {
    /// The tool as the engine runs it, with the server's defaults where it says nothing itself.
    ///
    /// # Errors
    /// What it says does not fit together, or clients could not read it; the sentence says what.
    pub(crate) fn settle(
        mut self,
        task: Option<TaskSupport>,
        retention: Option<Duration>,
    ) -> Result<outlast_engine::Tool, String> {
        self.tool.task = self.task.or(task).unwrap_or_default();
        if let Some(retention) = self.retention.or(retention) {
            self.tool.retention = retention;
        }
        if !self.annotations.is_empty() {
            self.tool.annotations = Some(Value::Object(self.annotations).into());
        }
        if self.confirm && self.tool.task == TaskSupport::Forbidden {
            return Err(format!(
                "the tool {:?} asks for a confirmation, so it cannot run without a task: declare it \
                 with #[tool(task, …)], or start the server with --task optional",
                self.tool.name
            ));
        }
        if self.confirm {
            self.tool = self.tool.confirmed();
        }
        let Listed {
            title,
            description,
            icons,
            meta,
        } = self
            .declared
            .settle(format_args!("the tool {:?}", self.tool.name))?;
        self.tool.title = title;
        self.tool.description = description;
        self.tool.icons = icons.or(self.tool.icons);
        self.tool.meta = meta;
        if self.tool.ask_first.is_some() && self.tool.task == TaskSupport::Forbidden {
            return Err(format!(
                "the tool {:?} asks questions before its task exists, so it cannot run without \
                 one: declare it with #[tool(task, …)], or start the server with --task optional",
                self.tool.name
            ));
        }
        check_serving(&self.tool)?;
        if let Some(schema) = &self.tool.output_schema {
            let inner = Arc::clone(&self.tool.handler);
            let promised = Promised::new(schema, inner).map_err(|why| {
                format!(
                    "the output schema of the tool {:?} is not valid: {why}",
                    self.tool.name
                )
            })?;
            self.tool.handler = Arc::new(promised);
        }
        Ok(self.tool)
    }
}

/// Refuses what a tool says about being served that cannot hold.
fn check_serving(tool: &outlast_engine::Tool) -> Result<(), String> {
    let name = &tool.name;
    let serving = &tool.serving;
    if let Some(heartbeat) = serving.heartbeat {
        outlast_engine::heartbeat(heartbeat)
            .map_err(|problem| format!("the tool {name:?}: {problem}"))?;
    }
    let detaches = matches!(serving.detach_after, Some(DetachAfter::After(_)));
    let goes_on = serving.on_disconnect == OnDisconnect::Detach;
    if (detaches || goes_on) && tool.task == TaskSupport::Forbidden {
        let what = if detaches {
            "detach_after"
        } else {
            "on_disconnect"
        };
        return Err(format!(
            "the tool {name:?} sets {what}, but a call that is never a task cannot go on without its \
             caller: declare it with #[tool(task, …)], or start the server with --task optional"
        ));
    }
    if detaches && tool.task == TaskSupport::Required {
        return Err(format!(
            "the tool {name:?} sets detach_after, but runs as a task only, so nobody waits for it: use \
             task = \"optional\", or leave detach_after away"
        ));
    }
    if detaches && tool.output_schema.is_some() && !serving.detach {
        return Err(format!(
            "the tool {name:?} sets detach_after and promises structured results, which the id of a \
             task would not fit: add detach = true, and it is offered without the promise"
        ));
    }
    Ok(())
}
