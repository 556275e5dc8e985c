//! `outlast tasks list`.

use clap::Args;
use outlast_core::TaskStatus;
use outlast_mcp::client::{Client, TaskInfo};
use serde_json::json;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// List the tasks of a server, the latest first
///
/// For servers that list tasks: ours on this machine through its store's socket, and those that can
/// tell their callers apart.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only tasks with this status
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<TaskStatus>,

    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
}

fn status(text: &str) -> Result<TaskStatus, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "write working, input_required, completed, failed or cancelled".to_owned())
}

impl List {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let mut tasks = Vec::new();
        let mut cursor = None;
        while tasks.len() < self.limit {
            let page = client.task_page(cursor).await?;
            let wanted = |task: &TaskInfo| self.status.is_none_or(|status| task.status == status);
            tasks.extend(page.tasks.into_iter().filter(wanted));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let more = tasks.len() > self.limit || cursor.is_some();
        tasks.truncate(self.limit);
        if as_json {
            let tasks: Vec<_> = tasks.iter().map(|task| task.raw.to_value()).collect();
            out::json(&json!({"tasks": tasks, "more": more}));
            return Ok(Exit::Ok);
        }
        if tasks.is_empty() {
            out::complain("no tasks");
        }
        let width = |text: fn(&TaskInfo) -> usize| tasks.iter().map(text).max().unwrap_or(0);
        let tool = width(|task| task.tool.as_deref().map_or(0, |tool| tool.chars().count()));
        for task in &tasks {
            let line = format!(
                "{}  {:14}  {:tool$}  {}  {}",
                task.id,
                task.status.as_str(),
                task.tool.as_deref().unwrap_or_default(),
                task.created_at,
                task.message
                    .as_deref()
                    .unwrap_or_default()
                    .lines()
                    .next()
                    .unwrap_or_default(),
            );
            out::line(line.trim_end());
        }
        if more {
            out::complain("there are more; see them with --limit N");
        }
        Ok(Exit::Ok)
    }
}
