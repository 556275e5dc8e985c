//! The sentence in a tool's description that says how the tool runs for this client.
//!
//! A model chooses its next step by what it has read. It reads here whether a call may come back
//! with the id of a task, and what to call then.

use std::time::Duration;

use outlast_engine::{DetachAfter, TaskSupport, Tool};

use crate::detach;
use crate::offer::Audience;
use crate::server::Config;
use crate::spoken;

/// The sentence; `None` for a tool that is never a task.
pub(crate) fn sentence(
    tool: &Tool,
    config: &Config,
    audience: Audience,
    helpers: bool,
) -> Option<String> {
    if tool.task == TaskSupport::Forbidden {
        return None;
    }
    if audience.has_tasks {
        return Some(
            "Runs as a background task; your client follows it and brings the result.".into(),
        );
    }
    if tool.task == TaskSupport::Required {
        return Some("Runs as a task only; a plain call is refused.".into());
    }
    let then = if helpers {
        "call task_wait with that id to get the result, as often as needed."
    } else {
        "the result is kept under that id."
    };
    Some(match detach::usual(tool, config) {
        DetachAfter::Never => {
            "The call returns when the work is done, however long it takes.".into()
        }
        DetachAfter::After(Duration::ZERO) => {
            format!(
                "Starts the work, returns a task id at once and goes on in the background; {then}"
            )
        }
        DetachAfter::After(after) => format!(
            "If it takes longer than {}, it returns a task id and goes on in the background; {then}",
            spoken::time(after)
        ),
    })
}
