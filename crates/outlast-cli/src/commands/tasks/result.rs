//! `outlast tasks result`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use outlast_mcp::client::{CallResult, Client, Content};

use super::super::call::{self, wait};
use super::super::client::bar::Bar;
use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Fetch the result of a task, and wait for it if need be
///
/// Can be done as often as wanted, from anywhere, as long as the task is kept.
#[derive(Debug, Args)]
pub(super) struct Fetch {
    /// The task
    id: String,

    /// Write the content to this file, bytes for an image or a sound, and text otherwise. With --json
    /// the document is written there. A file that is there is replaced when all has been written
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Fetch {
    pub(super) async fn on(self, client: &Client, bar: &Bar, json: bool) -> Result<Exit, Trouble> {
        let task = client.task(self.id);
        let Some(file) = &self.output else {
            return wait(&task, bar, json).await;
        };
        let result = call::end(&task, bar).await??;
        if json {
            let document = super::super::client::outcome::completed(task.id(), &result);
            write(file, format!("{document}\n").as_bytes())?;
        } else {
            write(file, &content(&result)?)?;
        }
        out::complain(&format!("written to {}", file.display()));
        Ok(if result.is_error() {
            Exit::ToolError
        } else {
            Exit::Ok
        })
    }
}

/// What stands in the file.
fn content(result: &CallResult) -> Result<Vec<u8>, Trouble> {
    match result.content() {
        [Content::Image { data, .. } | Content::Audio { data, .. }] => Ok(data.to_vec()),
        [] => Ok(result.structured().map_or_else(Vec::new, |structured| {
            format!("{}\n", structured.as_str()).into_bytes()
        })),
        blocks => {
            let text = |block: &Content| match block {
                Content::Text(text) => Some(text.clone()),
                _ => None,
            };
            let texts: Option<Vec<_>> = blocks.iter().map(text).collect();
            let texts = texts.ok_or_else(|| {
                Trouble::usage("the result has parts of several kinds; write it with --json")
            })?;
            Ok(texts.concat().into_bytes())
        }
    }
}

/// Writes a file so that it is there whole or as it was before.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let cannot = |error: std::io::Error| {
        Trouble::usage(format!("{} cannot be written: {error}", file.display()))
    };
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = folder.unwrap_or(Path::new(".")).join(name);
    let written = std::fs::File::create(&beside)
        .and_then(|mut new| new.write_all(bytes).and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(cannot)
}
