//! `outlast tasks retry`.

use clap::Args;
use outlast_mcp::client::Client;
use serde_json::json;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Make the call of a task that has ended once more
///
/// What comes of it is a new task, whose id is printed; the old one stays as it is.
#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The task
    id: String,
}

impl Retry {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        // An unknown task has an exit code of its own.
        client.task(&self.id).status().await?;
        let params = json!({"taskId": self.id});
        let said = client.request("outlast/retry", &params).await?.to_value();
        if as_json {
            out::json(&json!({"taskId": said["taskId"], "retryOf": self.id}));
        } else {
            out::line(said["taskId"].as_str().unwrap_or_default());
        }
        Ok(Exit::Ok)
    }
}
