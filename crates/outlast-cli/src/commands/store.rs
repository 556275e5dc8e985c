//! `outlast store`: what is done to a task store while no server runs on it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use outlast::core::Progress;
use outlast::core::archive::Copied;
use outlast::{KeyOfCopy, Server, Settings, StoreUrl};
use outlast_cli::command::runs;
use outlast_cli::config::{FILE_NAME, FileConfig};
use serde_json::json;

use super::USAGE;
use super::client::bar::Bar;
use super::client::out;

/// Copy a task store into another one
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Copy all tasks, ended ones too, with journals, events, logs and artifacts, schedules and sessions
    ///
    /// No server may run on either store, and no command of a task may be under way on this machine. May
    /// be repeated: then only what is missing or has changed is copied, and what has gone on in the other
    /// store is left alone.
    Copy {
        /// Where from: sqlite:PATH or redis://HOST
        from: StoreUrl,
        /// Where to
        to: StoreUrl,
        /// The name of the server that the stores belong to [default: that of the configuration file]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The configuration file
        #[arg(long, short, env = "OUTLAST_CONFIG", value_name = "FILE", default_value = FILE_NAME)]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Store {
    pub(super) fn run(self) -> ExitCode {
        let Verb::Copy {
            from,
            to,
            name,
            config,
            json,
        } = self.verb;
        let copied = name_of(name, &config).and_then(|name| copy(&name, &from, &to, json));
        match copied {
            Ok((copied, key)) => {
                tell(&copied, &key, json);
                ExitCode::SUCCESS
            }
            Err(sentence) => {
                out::complain(&sentence);
                ExitCode::from(USAGE)
            }
        }
    }
}

/// The name that the server of the configuration file has.
fn name_of(name: Option<String>, config: &std::path::Path) -> Result<String, String> {
    if let Some(name) = name {
        return Ok(name);
    }
    let file = FileConfig::load(config)
        .map_err(|error| format!("{error}\n(or name the server with --name)"))?;
    Ok(file.server.name_in(&file.folder))
}

/// Refuses while commands of the store's tasks are under way on this machine, or have left something that
/// no server has taken in: they are known beside this store only, and would be started a second time, or
/// lost, beside another.
fn check_commands(server: &Server, from: &StoreUrl) -> Result<(), String> {
    let text = from.to_string();
    if text
        .strip_prefix("sqlite:")
        .is_some_and(|path| !Path::new(path).is_file())
    {
        // That is told by the copy.
        return Ok(());
    }
    let settings = Settings {
        store: Some(from.clone()),
        ..Settings::default()
    };
    let database = server.database_with(&settings);
    let root = runs::beside(&database.map_err(|error| error.to_string())?);
    let tasks = runs::unsettled(&root)
        .map_err(|error| format!("the commands in {} cannot be read: {error}", root.display()))?;
    if tasks.is_empty() {
        return Ok(());
    }
    let tasks: Vec<_> = tasks.iter().map(ToString::to_string).collect();
    Err(format!(
        "commands of {} tasks are under way on this machine, or have ended and their results were not taken \
         in yet, and they belong to {from}: start its server once more, let them end or cancel them, stop it, \
         and copy then. The tasks: {}",
        tasks.len(),
        tasks.join(", ")
    ))
}

fn copy(
    name: &str,
    from: &StoreUrl,
    to: &StoreUrl,
    json: bool,
) -> Result<(Copied, KeyOfCopy), String> {
    let server = Server::new(name);
    check_commands(&server, from)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the copy cannot be started: {error}"))?;
    let bar = Bar::new(json);
    bar.start("copying");
    let copied = runtime.block_on(server.copy_store(from, to, |copied| {
        let done = copied.new + copied.changed + copied.unchanged + copied.newer_there;
        let progress = Progress {
            done: done as f64,
            ..Progress::default()
        };
        bar.set(&progress, Some(&format!("{done} tasks")));
    }));
    bar.finish();
    copied.map_err(|error| error.to_string())
}

fn tell(copied: &Copied, key: &KeyOfCopy, json: bool) {
    let Copied {
        new,
        changed,
        unchanged,
        newer_there,
        schedules,
        records,
        kept_there,
        lost,
    } = *copied;
    if json {
        out::json(&json!({
            "new": new, "changed": changed, "unchanged": unchanged, "newerThere": newer_there,
            "schedules": schedules, "records": records, "keptThere": kept_there, "lost": lost,
            "key": match key {
                KeyOfCopy::File(path) => json!({"file": path}),
                KeyOfCopy::Environment => json!({"environment": "OUTLAST_KEY"}),
                _ => json!(null),
            },
        }));
        return;
    }
    let mut line = format!(
        "{new} tasks copied, {changed} copied again because they had changed, {unchanged} unchanged; \
         {schedules} schedules"
    );
    if newer_there > 0 {
        line.push_str(&format!(
            "; {newer_there} have gone on in the other store and were left alone"
        ));
    }
    if kept_there > 0 {
        line.push_str(&format!(
            "; {kept_there} schedules, grants and other small records were changed there and were left alone"
        ));
    }
    if lost > 0 {
        line.push_str(&format!(
            "; {lost} artifacts have no bytes, or not all of them, and have none in the copy"
        ));
    }
    out::line(&line);
    match key {
        KeyOfCopy::File(path) => out::line(&format!(
            "the key of its secrets was taken along, into {}; servers on other machines need what it holds as \
             OUTLAST_KEY",
            path.display()
        )),
        KeyOfCopy::Environment => out::line(
            "its secrets are sealed with a key that no file here holds: start its servers with the OUTLAST_KEY \
             that the server of the first store had",
        ),
        _ => {}
    }
}
