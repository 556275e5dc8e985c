//! `outlast tasks result`.

use clap::Args;
use outlast_mcp::client::Client;

use super::super::call::wait;
use super::super::client::bar::Bar;
use super::super::client::exit::{Exit, Trouble};

/// Fetch the result of a task, and wait for it if need be
///
/// Can be done as often as wanted, from anywhere, as long as the task is kept.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// The task
    id: String,
}

impl Fetch {
    pub(super) async fn on(self, client: &Client, bar: &Bar, json: bool) -> Result<Exit, Trouble> {
        wait(&client.task(self.id), bar, json).await
    }
}
