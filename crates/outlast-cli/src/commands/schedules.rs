//! `outlast schedules`: looks after the calls that make themselves.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use outlast_mcp::client::Client;
use serde_json::{Value, json};

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::out;

/// Look after schedules
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Schedules {
    #[command(subcommand)]
    verb: Verb,

    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the schedules with their next fire times
    List,
    /// Show a schedule: when it fires next, and what it did last
    Show(Name),
    /// Stop a schedule until `outlast schedules resume`, also over a restart of the server
    Pause(Name),
    /// Let a schedule go on; it makes up for nothing that it missed
    Resume(Name),
    /// Create a task of a schedule now, beside its fire times, and print the task's id
    Run(Name),
    /// Remove a schedule that was made at run time; its tasks stay
    Remove(Name),
}

#[derive(Debug, Args)]
struct Name {
    /// The schedule
    name: String,
}

impl Schedules {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.act())
    }

    async fn act(self) -> Result<Exit, Trouble> {
        let client = self.address.connect(Need::Any, &Bar::new(true)).await?;
        let done = self.verb.on(&client, self.address.json).await;
        client.close().await;
        done
    }
}

impl Verb {
    async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let (action, name) = match self {
            Self::List => return list(client, as_json).await,
            Self::Show(Name { name }) => ("show", name),
            Self::Pause(Name { name }) => ("pause", name),
            Self::Resume(Name { name }) => ("resume", name),
            Self::Run(Name { name }) => ("run", name),
            Self::Remove(Name { name }) => ("remove", name),
        };
        // Whether there is one decides the exit code, which a refusal alone does not tell.
        let known = all(client).await?;
        if !known
            .iter()
            .any(|schedule| schedule["name"] == name.as_str())
        {
            let names: Vec<_> = known.iter().map(|one| text(one, "name")).collect();
            let names = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            return Err(Trouble::new(
                Exit::NotFound,
                format!("there is no schedule {name:?}; the schedules are: {names}"),
            ));
        }
        let params = json!({"name": name, "action": action});
        let said = client
            .request("outlast/schedule", &params)
            .await?
            .to_value();
        let schedule = &said["schedule"];
        match action {
            "run" if as_json => out::json(&json!({"taskId": said["taskId"]})),
            "run" => out::line(said["taskId"].as_str().unwrap_or_default()),
            _ if as_json => out::json(schedule),
            "show" => show(schedule),
            "remove" => out::line(&format!("{name}  removed")),
            _ => out::line(&line(schedule)),
        }
        Ok(Exit::Ok)
    }
}

async fn all(client: &Client) -> Result<Vec<Value>, Trouble> {
    let said = client.request("outlast/schedules", &json!({})).await?;
    match said.to_value()["schedules"].take() {
        Value::Array(schedules) => Ok(schedules),
        _ => Ok(Vec::new()),
    }
}

async fn list(client: &Client, as_json: bool) -> Result<Exit, Trouble> {
    let schedules = all(client).await?;
    if as_json {
        out::json(&json!({"schedules": schedules}));
    } else {
        schedules
            .iter()
            .for_each(|schedule| out::line(&line(schedule)));
    }
    Ok(Exit::Ok)
}

/// One schedule in one line: name, tool, when it fires next.
fn line(schedule: &Value) -> String {
    let next = match schedule["nextAt"].as_str() {
        _ if schedule["paused"] == true => "paused",
        Some(next) => next,
        None => "has ended",
    };
    let (name, tool) = (text(schedule, "name"), text(schedule, "tool"));
    format!("{name:20}  {tool:20}  {next:24}  {}", rule(schedule))
}

fn rule(schedule: &Value) -> String {
    match schedule["cron"].as_str() {
        Some(cron) => format!("{cron} ({})", text(schedule, "timeZone")),
        None => format!("every {}", text(schedule, "every")),
    }
}

fn show(schedule: &Value) {
    let mut lines = vec![
        ("schedule", text(schedule, "name")),
        ("tool", text(schedule, "tool")),
        ("arguments", schedule["arguments"].to_string()),
        ("fires", rule(schedule)),
        ("missed", text(schedule, "catchUp")),
        ("overlap", text(schedule, "overlap")),
        ("fired", schedule["fired"].to_string()),
    ];
    if schedule["paused"] == true {
        lines.push(("state", "paused".to_owned()));
    }
    for (name, key) in [
        ("from", "start"),
        ("until", "end"),
        ("last", "lastFireAt"),
        ("last task", "lastTaskId"),
        ("note", "note"),
    ] {
        if schedule[key].is_string() {
            lines.push((name, text(schedule, key)));
        }
    }
    for time in schedule["upcoming"].as_array().into_iter().flatten() {
        lines.push(("next", time.as_str().unwrap_or_default().to_owned()));
    }
    for (name, value) in lines {
        out::line(&format!("{name:12}{value}"));
    }
}

fn text(schedule: &Value, key: &str) -> String {
    schedule[key].as_str().unwrap_or_default().to_owned()
}
