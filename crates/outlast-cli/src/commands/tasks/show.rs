//! `outlast tasks show`.

use clap::Args;
use outlast_core::TaskStatus;
use outlast_mcp::client::{Asked, Client};

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;
use super::family;

/// Show where a task stands
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The task
    id: String,
}

impl Show {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let handle = client.task(self.id);
        let task = handle.status().await?;
        if as_json {
            out::json(&task.raw.to_value());
            return Ok(Exit::Ok);
        }
        let mut lines = vec![
            ("task", task.id.clone()),
            ("status", task.shown_status().as_str().to_owned()),
        ];
        lines.extend(task.tool.clone().map(|tool| ("tool", tool)));
        lines.extend(task.parent.clone().map(|parent| ("child of", parent)));
        if task.priority != 0 {
            lines.push(("priority", task.priority.to_string()));
        }
        lines.extend(task.message.clone().map(|message| ("message", message)));
        if let Some(percent) = task.progress.percent() {
            let (done, total) = (task.progress.done, task.progress.total.unwrap_or_default());
            lines.push(("progress", format!("{percent:.0} % ({done} of {total})")));
        }
        let meta = &task.raw.to_value()["_meta"];
        if let Some(first) = meta["outlast/retryOf"].as_str() {
            lines.push(("retry of", first.to_owned()));
        }
        for (key, value) in meta["outlast/labels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            lines.push(("label", format!("{key}={value}")));
        }
        if task.lines_dropped > 0 {
            let dropped = task.lines_dropped;
            lines.push((
                "log",
                format!("{dropped} lines were dropped: logged faster than stored"),
            ));
        }
        lines.push(("created", task.created_at.clone()));
        lines.push(("changed", task.last_updated_at.clone()));
        if let Some(ttl) = task.ttl {
            lines.push((
                "kept for",
                format!("{} s after its creation", ttl.as_secs()),
            ));
        }
        if task.status == TaskStatus::InputRequired {
            // A server of the older era has no way to say them here.
            for question in handle.questions().await.unwrap_or_default() {
                let asks = match &question.asked {
                    Asked::Form(form) => form.message.clone(),
                    Asked::Url(url) => format!("{} {}", url.message, url.url),
                    _ => "what is no question to a person".to_owned(),
                };
                lines.push(("asks", format!("{}: {asks}", question.key)));
            }
            lines.push(("answer", format!("outlast tasks answer {}", handle.id())));
        }
        for (name, value) in lines {
            out::line(&format!("{name:10}{value}"));
        }
        if task.children > 0 {
            out::line(&format!("{:10}{}", "children", task.children));
            family::print(client, &task).await?;
        }
        Ok(Exit::Ok)
    }
}
