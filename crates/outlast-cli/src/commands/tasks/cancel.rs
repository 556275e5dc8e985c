//! `outlast tasks cancel`.

use clap::Args;
use outlast_core::TaskStatus;
use outlast_mcp::client::Client;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Cancel tasks
///
/// A task that has ended stays as it is, which is no error.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The tasks
    #[arg(required = true)]
    ids: Vec<String>,
}

impl Cancel {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let mut exit = Exit::Ok;
        for id in self.ids {
            match client.task(&id).cancel().await {
                Ok(task) if as_json => out::json_line(&task.raw.to_value()),
                Ok(task) => {
                    let said = match task.shown_status() {
                        TaskStatus::Cancelled => "cancelled",
                        TaskStatus::Working | TaskStatus::InputRequired => "being cancelled",
                        TaskStatus::Completed => "had completed",
                        TaskStatus::Failed => "had failed",
                    };
                    out::line(&format!("{id}  {said}"));
                }
                // The others are still to be cancelled.
                Err(error) => {
                    let trouble = Trouble::from(error);
                    trouble.report();
                    exit = trouble.exit;
                }
            }
        }
        Ok(exit)
    }
}
