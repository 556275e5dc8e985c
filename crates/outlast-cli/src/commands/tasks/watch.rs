//! `outlast tasks watch`.

use clap::Args;
use outlast_mcp::client::{Client, ClientError, TaskInfo};

use super::super::call::short;
use super::super::client::bar::Bar;
use super::super::client::exit::{Exit, Trouble};
use super::super::client::{out, unless_interrupted};

/// Watch a task until it ends
///
/// Prints a line for each change; as JSON, the task on each line. Ctrl-C ends the watching, not the
/// task. The exit code is that of the task's end.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The task
    id: String,
}

impl Watch {
    pub(super) async fn on(
        self,
        client: &Client,
        bar: &Bar,
        as_json: bool,
    ) -> Result<Exit, Trouble> {
        let task = client.task(self.id);
        bar.start(short(task.id()));
        let watching = async {
            let mut watch = task.watch();
            let mut shown = None;
            while let Some(info) = watch.next().await {
                let info = info?;
                bar.set(&info.progress, info.message.as_deref());
                if as_json {
                    out::json_line(&info.raw.to_value());
                } else {
                    let line = line(&info);
                    if shown.as_ref() != Some(&line) {
                        bar.above(|| out::line(&line));
                        shown = Some(line);
                    }
                }
            }
            task.result().await
        };
        let Some(outcome) = unless_interrupted(watching).await else {
            return Ok(Exit::Interrupted);
        };
        match outcome {
            Ok(result) if result.is_error() => Ok(Exit::ToolError),
            Ok(_) => Ok(Exit::Ok),
            // Its line was the last one shown.
            Err(ClientError::TaskFailed { .. }) => Ok(Exit::Failed),
            Err(ClientError::TaskCancelled { .. }) => Ok(Exit::Cancelled),
            Err(error) => Err(error.into()),
        }
    }
}

fn line(info: &TaskInfo) -> String {
    let message = info
        .message
        .clone()
        .or_else(|| info.progress.line())
        .unwrap_or_default();
    let line = format!(
        "{:14}  {}",
        info.status.as_str(),
        message.lines().next().unwrap_or_default()
    );
    line.trim_end().to_owned()
}
