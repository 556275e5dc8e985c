//! `outlast tasks watch`.

use clap::Args;
use futures_util::future::join_all;
use outlast_mcp::client::{Client, ClientError, TaskInfo};

use super::super::call::short;
use super::super::client::bar::Bar;
use super::super::client::exit::{Exit, Trouble};
use super::super::client::{out, unless_interrupted};

/// Watch tasks until they end
///
/// Prints a line for each change; as JSON, the task on each line. Ctrl-C ends the watching, not the
/// tasks. The exit code is that of the task's end; of several, that of the first in the order given that
/// did not end well.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The tasks
    #[arg(required = true)]
    ids: Vec<String>,
}

impl Watch {
    pub(super) async fn on(
        self,
        client: &Client,
        bar: &Bar,
        as_json: bool,
    ) -> Result<Exit, Trouble> {
        let several = self.ids.len() > 1;
        let watching = self.ids.into_iter().map(|id| {
            let bar = bar.below();
            bar.start(short(&id));
            async move {
                let watched = watch(client, id, &bar, as_json, several).await;
                bar.finish();
                watched
            }
        });
        let Some(ends) = unless_interrupted(join_all(watching)).await else {
            return Ok(Exit::Interrupted);
        };
        let mut exit = Exit::Ok;
        for end in ends {
            let one = match end {
                Ok(one) => one,
                // The others have ended too, and are heard.
                Err(trouble) if several => {
                    trouble.report();
                    trouble.exit
                }
                Err(trouble) => return Err(trouble),
            };
            if exit == Exit::Ok {
                exit = one;
            }
        }
        Ok(exit)
    }
}

async fn watch(
    client: &Client,
    id: String,
    bar: &Bar,
    as_json: bool,
    several: bool,
) -> Result<Exit, Trouble> {
    let task = client.task(id);
    let before = if several {
        format!("{}  ", task.id())
    } else {
        String::new()
    };
    let mut watch = task.watch();
    let mut shown = None;
    while let Some(info) = watch.next().await {
        let info = info?;
        bar.set(&info.progress, info.message.as_deref());
        if as_json {
            out::json_line(&info.raw.to_value());
            continue;
        }
        // A bar shows the rest of what changes.
        let message = if bar.is_shown() && !info.status.is_terminal() {
            String::new()
        } else {
            message(&info)
        };
        let change = (info.shown_status(), message);
        if shown.as_ref() != Some(&change) {
            bar.above(|| out::status_line(&before, change.0, &change.1));
            shown = Some(change);
        }
    }
    match task.result().await {
        Ok(result) if result.is_error() => Ok(Exit::ToolError),
        Ok(_) => Ok(Exit::Ok),
        // Its line was the last one shown.
        Err(ClientError::TaskFailed { .. }) => Ok(Exit::Failed),
        Err(ClientError::TaskCancelled { .. }) => Ok(Exit::Cancelled),
        Err(error) => Err(error.into()),
    }
}

fn message(info: &TaskInfo) -> String {
    let message = info.message.clone().or_else(|| info.progress.line());
    let message = message.unwrap_or_default();
    message.lines().next().unwrap_or_default().to_owned()
}
