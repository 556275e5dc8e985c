//! `outlast pause` and `outlast resume`: stop and allow the start of tasks.

use std::process::ExitCode;

use clap::Args;
use outlast_mcp::client::ClientError;
use serde_json::json;

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::out;

/// Let no more tasks of a tool start
///
/// Tasks are still created and wait; those that run go on. It holds until `outlast resume`, also over a
/// restart of the server.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Pause {
    #[command(flatten)]
    queue: Queue,
}

/// Let tasks of a tool start again
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Resume {
    #[command(flatten)]
    queue: Queue,
}

#[derive(Debug, Args)]
struct Queue {
    /// The tool
    #[arg(required_unless_present = "all")]
    tool: Option<String>,

    /// All tools of the server; what was paused by its name stays so
    #[arg(long, conflicts_with = "tool")]
    all: bool,

    #[command(flatten)]
    address: Address,
}

impl Pause {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.queue.set(true))
    }
}

impl Resume {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.queue.set(false))
    }
}

impl Queue {
    async fn set(self, paused: bool) -> Result<Exit, Trouble> {
        let client = self.address.connect(Need::Any, &Bar::new(true)).await?;
        let params = match &self.tool {
            Some(tool) => json!({"tool": tool, "paused": paused}),
            None => json!({"paused": paused}),
        };
        let reply = client.request("outlast/pause", &params).await;
        // What is refused may be the tool's name; then the exit code is that of an unknown tool.
        let unknown = match (&reply, &self.tool) {
            (Err(ClientError::Refused { .. }), Some(name)) => {
                let tools = client.list_tools().await;
                tools.is_ok_and(|tools| tools.iter().all(|tool| tool.name != *name))
            }
            _ => false,
        };
        client.close().await;
        let reply = match reply {
            Err(error) if unknown => return Err(Trouble::new(Exit::NotFound, error.to_string())),
            reply => reply?.to_value(),
        };
        if self.address.json {
            out::json(&json!({"paused": reply["paused"]}));
            return Ok(Exit::Ok);
        }
        let names: Vec<&str> = reply["paused"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .map(|name| if name == "*" { "all tools" } else { name })
            .collect();
        out::line(&if names.is_empty() {
            "nothing is paused".to_owned()
        } else {
            format!("paused: {}", names.join(", "))
        });
        Ok(Exit::Ok)
    }
}
