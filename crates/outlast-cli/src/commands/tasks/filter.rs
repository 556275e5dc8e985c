//! Which tasks are meant: the filter of `tasks list` and `tasks prune`, and the pages of what it finds.

use clap::Args;
use outlast_core::{Era, Phase, Standing, TaskStatus};
use outlast_mcp::client::{Client, ClientError, TaskInfo};
use outlast_mcp::jsonrpc::code;
use serde_json::{Map, Value, json};

use super::super::client::exit::{Exit, Trouble};

/// The era whose words people are shown: what a tool calls its own error has failed.
const SHOWN: Era = Era::Legacy;

/// How many tasks are asked for at once.
const PAGE: usize = 500;

/// Which tasks.
#[derive(Debug, Args, Clone)]
pub(super) struct Which {
    /// Only tasks shown with one of these statuses, separated by commas: working, input_required, completed,
    /// failed, cancelled
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub(super) status: Vec<TaskStatus>,

    /// Only tasks of this tool
    #[arg(long, value_name = "NAME")]
    pub(super) tool: Option<String>,

    /// Only tasks with this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(super) label: Vec<(String, String)>,

    /// Only tasks with this text in their id, tool, arguments, labels or status message
    #[arg(long, value_name = "TEXT")]
    pub(super) text: Option<String>,
}

fn status(text: &str) -> Result<TaskStatus, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "write working, input_required, completed, failed or cancelled".to_owned())
}

pub(super) fn phase(text: &str) -> Result<Phase, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "write scheduled, queued, blocked, running, suspended or finished".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Which {
    /// The members that `outlast/tasks` takes.
    pub(super) fn params(&self) -> Map<String, Value> {
        let standings = self.status.iter();
        let standings = standings.flat_map(|status| Standing::with_status(*status, SHOWN));
        let labels: Map<_, _> = self
            .label
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let mut params = Map::new();
        let standings = standings.map(Standing::as_str);
        params.insert("standings".into(), standings.collect());
        params.insert("labels".into(), labels.into());
        params.extend(self.tool.iter().map(|tool| ("tool".into(), json!(tool))));
        params.extend(self.text.iter().map(|text| ("text".into(), json!(text))));
        params
    }

    /// Whether a task is shown with one of these statuses.
    fn takes(&self, task: &TaskInfo) -> bool {
        self.status.is_empty() || self.status.contains(&task.shown_status())
    }

    /// Whether more than the status is asked for, which another server's list cannot tell.
    fn is_fine(&self) -> bool {
        self.tool.is_some() || self.text.is_some() || !self.label.is_empty()
    }
}

/// The first tasks that are found, and whether there are more.
///
/// # Errors
/// The server does not list tasks, or cannot do so by what is asked for.
pub(super) async fn find(
    client: &Client,
    which: &Which,
    more: Map<String, Value>,
    most: usize,
) -> Result<(Vec<TaskInfo>, bool), Trouble> {
    let (mut tasks, mut cursor) = (Vec::new(), Value::Null);
    let fine = which.is_fine() || !more.is_empty();
    while tasks.len() <= most {
        let mut params = which.params();
        params.extend(more.clone());
        // One more than is shown tells whether there are more.
        params.insert("limit".into(), (most + 1 - tasks.len()).min(PAGE).into());
        if !cursor.is_null() {
            params.insert("cursor".into(), cursor.clone());
        }
        let page = match client.request("outlast/tasks", &params).await {
            Ok(page) => page.to_value(),
            Err(ClientError::Refused { error, .. })
                if !fine && cursor.is_null() && error.code == code::METHOD_NOT_FOUND =>
            {
                return foreign(client, which, most).await;
            }
            Err(error) => return Err(error.into()),
        };
        for task in page["tasks"].as_array().into_iter().flatten() {
            let task = TaskInfo::read(task.clone().into()).map_err(strange)?;
            // What is deleted must be what was meant, whatever a server of another build made of the question.
            tasks.extend(Some(task).filter(|task| which.takes(task)));
        }
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let left = tasks.len() > most || !cursor.is_null();
    tasks.truncate(most);
    Ok((tasks, left))
}

/// The same from a server that is not ours and lists tasks as 2025-11-25 has it.
async fn foreign(
    client: &Client,
    which: &Which,
    most: usize,
) -> Result<(Vec<TaskInfo>, bool), Trouble> {
    let (mut tasks, mut cursor) = (Vec::new(), None);
    while tasks.len() <= most {
        let page = client.task_page(cursor).await?;
        tasks.extend(page.tasks.into_iter().filter(|task| which.takes(task)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let left = tasks.len() > most || cursor.is_some();
    tasks.truncate(most);
    Ok((tasks, left))
}

fn strange(reason: String) -> Trouble {
    Trouble::new(
        Exit::Failed,
        format!("the server's list cannot be read: {reason}"),
    )
}
