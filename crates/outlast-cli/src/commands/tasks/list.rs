//! `outlast tasks list`.

use clap::Args;
use outlast_core::Phase;
use outlast_mcp::client::{Client, TaskInfo};
use serde_json::{Map, Value, json};

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;
use super::filter::{Which, find, phase};

/// List the tasks of a server, the latest first
///
/// For servers that list tasks: ours on this machine through its store's socket, and those that can
/// tell their callers apart.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,

    /// Only tasks in one of these phases, separated by commas: scheduled, queued, blocked, running,
    /// suspended, finished
    #[arg(long, value_name = "PHASE", value_delimiter = ',', value_parser = phase)]
    phase: Vec<Phase>,

    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl List {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let mut more = Map::new();
        if !self.phase.is_empty() {
            let phases: Value = self.phase.iter().map(|phase| phase.as_str()).collect();
            more.insert("phases".into(), phases);
        }
        let (tasks, left) = find(client, &self.which, more, self.limit).await?;
        if as_json {
            let tasks: Vec<_> = tasks.iter().map(|task| task.raw.to_value()).collect();
            out::json(&json!({"tasks": tasks, "more": left}));
            return Ok(Exit::Ok);
        }
        if tasks.is_empty() {
            out::complain("no tasks");
        }
        let tool = |task: &TaskInfo| task.tool.clone().unwrap_or_default();
        let widths = tasks.iter().map(|task| tool(task).chars().count());
        let width = widths.max().unwrap_or(0);
        for task in &tasks {
            let message = task.message.as_deref().unwrap_or_default();
            let priority = match task.priority {
                0 => String::new(),
                priority => format!("priority {priority}  "),
            };
            let rest = format!(
                "{:width$}  {}  {priority}{}",
                tool(task),
                task.created_at,
                message.lines().next().unwrap_or_default(),
            );
            out::status_line(&format!("{}  ", task.id), task.shown_status(), &rest);
        }
        if left {
            out::complain("there are more; see them with --limit N");
        }
        if tasks.iter().any(|task| !task.status.is_terminal()) {
            say_what_is_paused(client).await;
        }
        Ok(Exit::Ok)
    }
}

/// Why some of the tasks may not start. A server that is not ours does not say.
async fn say_what_is_paused(client: &Client) {
    let Ok(overview) = client.request("outlast/overview", &json!({})).await else {
        return;
    };
    let overview = overview.to_value();
    let names: Vec<&str> = overview["paused"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| if name == "*" { "all tools" } else { name })
        .collect();
    if !names.is_empty() {
        let names = names.join(", ");
        out::complain(&format!("paused: {names}; see `outlast resume --help`"));
    }
}
