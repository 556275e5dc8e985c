//! `outlast tasks prune`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use outlast_core::{TaskStatus, Timestamp, duration};
use outlast_mcp::client::Client;
use serde_json::{Map, json};

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;
use super::filter::{Which, find};

/// How many tasks are deleted at once.
const BATCH: usize = 200;

/// Delete tasks that have ended, with their results, logs and files
///
/// Tasks are deleted by themselves when their retention ends; this does it sooner. Asks first, unless
/// --yes is said. Tasks that have not ended are never touched.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Only tasks that ended longer ago than this, as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    older_than: Option<Duration>,

    #[command(flatten)]
    which: Which,

    /// Say which tasks would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Prune {
    pub(super) async fn on(mut self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        const ENDED: [TaskStatus; 3] = [
            TaskStatus::Completed,
            TaskStatus::Failed,
            TaskStatus::Cancelled,
        ];
        if let Some(status) = self.which.status.iter().find(|one| !one.is_terminal()) {
            return Err(Trouble::usage(format!(
                "--status {}: only tasks that have ended are deleted; write completed, failed or \
                 cancelled",
                status.as_str()
            )));
        }
        if self.which.status.is_empty() {
            self.which.status = ENDED.to_vec();
        }
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal() && !as_json;
        if !self.dry_run && !self.yes && !can_ask {
            return Err(Trouble::usage(
                "nobody can be asked here: say --yes to delete, or --dry-run to see what would be",
            ));
        }
        let mut more = Map::new();
        if let Some(age) = self.older_than {
            // By the server's clock: this machine's may be wrong, and what is deleted is gone.
            let overview = client.request("outlast/overview", &json!({})).await?;
            let now = overview.to_value()["now"]
                .as_str()
                .unwrap_or_default()
                .parse::<Timestamp>();
            let now = now.map_err(|error| Trouble::new(Exit::Failed, error))?;
            more.insert("updatedBefore".into(), (now - age).to_string().into());
        }
        let (tasks, _) = find(client, &self.which, more, usize::MAX - 1).await?;
        let ids: Vec<String> = tasks.into_iter().map(|task| task.id).collect();
        if self.dry_run {
            if as_json {
                out::json(&json!({"dryRun": true, "tasks": ids}));
            } else {
                ids.iter().for_each(|id| out::line(id));
                out::complain(&format!("{} would be deleted", count(ids.len())));
            }
            return Ok(Exit::Ok);
        }
        if !self.yes && !ids.is_empty() && !confirmed(ids.len()) {
            out::complain("nothing was deleted");
            return Ok(Exit::Ok);
        }
        let mut deleted = Vec::new();
        for batch in ids.chunks(BATCH) {
            let params = json!({"taskIds": batch});
            let said = client.request("outlast/delete", &params).await?.to_value();
            let gone = said["deleted"].as_array().into_iter().flatten();
            deleted.extend(gone.filter_map(|id| Some(id.as_str()?.to_owned())));
        }
        if as_json {
            out::json(&json!({"dryRun": false, "tasks": deleted}));
        } else {
            out::line(&format!("{} deleted", count(deleted.len())));
        }
        Ok(Exit::Ok)
    }
}

fn count(tasks: usize) -> String {
    match tasks {
        1 => "1 task".to_owned(),
        more => format!("{more} tasks"),
    }
}

fn confirmed(tasks: usize) -> bool {
    let mut err = io::stderr();
    // A terminal that cannot be written to cannot be read from either.
    let _ = write!(err, "Delete {} for good? [y/N] ", count(tasks)).and_then(|()| err.flush());
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
