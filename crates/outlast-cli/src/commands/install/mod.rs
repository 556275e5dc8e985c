//! `outlast install`: writes a client's configuration, so that it has this server.
//!
//! The file belongs to the client and its user: one entry is put in, everything else stays as it is, the file
//! before stands beside it, and the new one takes its place in one step. Doing it again changes nothing.

pub(super) mod clients;
pub(super) mod edit;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use outlast_cli::config::{FILE_NAME, FileConfig};
use serde_json::json;

use super::USAGE;
use super::client::out;
use clients::{Known, Reach};

/// What is put behind the name of the file that was there before.
const BACKUP: &str = ".before-outlast";

/// Let a client use this server: write its configuration
///
/// Clients: claude-desktop, claude-code, cursor, vscode, windsurf, zed, codex, gemini. By default the
/// client starts the server of the configuration file as a command, which is a bridge to the one that runs;
/// with --url it connects over HTTP. Everything else in the client's file stays, and a copy of the file as it
/// was stands beside it.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The client
    #[arg(value_parser = clients::find)]
    client: Known,

    /// The configuration file whose server it is
    #[arg(long, short, env = "OUTLAST_CONFIG", value_name = "FILE", default_value = FILE_NAME)]
    config: PathBuf,

    /// What the client calls the server [default: the server's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Connect over HTTP, to this address, instead of starting a command
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// The variable in the client's environment that holds the token for --url; the token itself is not
    /// written
    #[arg(long, value_name = "NAME", requires = "url")]
    token_env: Option<String>,

    /// Write the client's file of the project in this folder, which can be checked in
    #[arg(long)]
    project: bool,

    /// Take the server out again
    #[arg(long, conflicts_with_all = ["print", "url"])]
    remove: bool,

    /// Print what would be put into the file, and write nothing
    #[arg(long)]
    print: bool,

    /// Print JSON: the file, and what was done
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Written,
    Removed,
    /// It was so before.
    Nothing,
}

impl Install {
    pub(super) fn run(self) -> ExitCode {
        match self.install() {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => {
                out::complain(&format!("outlast: {sentence}"));
                ExitCode::from(USAGE)
            }
        }
    }

    fn install(&self) -> Result<(), String> {
        let name = self.name()?;
        let file = self.file()?;
        if self.print {
            let entry = self.client.entry(&self.reach()?)?;
            let text = edit::put(&self.client, "", &name, &entry)?;
            out::complain(&format!("for {}:", file.display()));
            out::bytes(text.as_bytes());
            return Ok(());
        }
        let before = match fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
        };
        let there = before.as_deref().unwrap_or_default();
        let wrong = |problem| format!("{} was left alone: {problem}", file.display());
        let after = if self.remove {
            edit::remove(&self.client, there, &name).map_err(wrong)?
        } else {
            let entry = self.client.entry(&self.reach()?)?;
            let after = edit::put(&self.client, there, &name, &entry).map_err(wrong)?;
            (before.as_deref() != Some(&*after)).then_some(after)
        };
        let done = match &after {
            None => Done::Nothing,
            Some(_) if self.remove => Done::Removed,
            Some(_) => Done::Written,
        };
        let mut backup = None;
        if let Some(after) = after {
            let file = follow(&file);
            if before.is_some() {
                let copy = beside(&file, BACKUP);
                fs::copy(&file, &copy)
                    .map_err(|error| format!("{} cannot be written: {error}", copy.display()))?;
                backup = Some(copy);
            }
            replace(&file, &after)
                .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
        }
        self.say(&name, &file, backup.as_deref(), done);
        Ok(())
    }

    fn say(&self, name: &str, file: &Path, backup: Option<&Path>, done: Done) {
        if self.json {
            let word = match done {
                Done::Written => "written",
                Done::Removed => "removed",
                Done::Nothing => "nothing",
            };
            let said = json!({"client": self.client.id, "name": name, "file": file,
                              "backup": backup, "done": word});
            out::json(&said);
            return;
        }
        let (title, file) = (self.client.title, file.display());
        out::line(&match done {
            Done::Nothing if self.remove => format!("{title} has no server {name:?} in {file}"),
            Done::Nothing => format!("{title} has {name:?} already, in {file}"),
            Done::Removed => format!("{name:?} was taken out of {file}"),
            Done::Written => format!("{name:?} was written to {file}"),
        });
        if let Some(backup) = backup {
            out::line(&format!("the file before is {}", backup.display()));
        }
        if done != Done::Nothing {
            out::line(&format!("{title} reads it when it starts next"));
        }
        if let (Some(variable), false) = (&self.token_env, self.remove) {
            out::line(&format!(
                "set {variable} to a token where {title} is started; outlast token add makes one"
            ));
        }
    }

    fn name(&self) -> Result<String, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if !self.config.exists() {
            return Err(format!(
                "{} is not there; say which server with --config FILE, or what to call it with --name",
                self.config.display()
            ));
        }
        let server = FileConfig::load_server(&self.config).map_err(|error| error.to_string())?;
        Ok(server.name.unwrap_or_default())
    }

    fn file(&self) -> Result<PathBuf, String> {
        if !self.project {
            return self.client.user_file();
        }
        let file = self.client.project.ok_or_else(|| {
            format!(
                "{} has no file for a project; leave out --project",
                self.client.title
            )
        })?;
        Ok(PathBuf::from(file))
    }

    fn reach(&self) -> Result<Reach, String> {
        if let Some(url) = &self.url {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(format!("{url:?} is no address; write http://HOST:PORT/mcp"));
            }
            return Ok(Reach::Http {
                url: url.clone(),
                token_env: self.token_env.clone(),
            });
        }
        // What a client could not start is said now.
        FileConfig::load(&self.config).map_err(|error| error.to_string())?;
        let program = std::env::current_exe();
        let program = program.map_err(|error| format!("which program this is: {error}"))?;
        let config = std::path::absolute(&self.config);
        let config = config.map_err(|error| format!("{}: {error}", self.config.display()))?;
        let text = |path: PathBuf| path.into_os_string().into_string();
        let words = [text(program), text(config)].map(|path| {
            path.map_err(|path| format!("{} cannot be written as text", path.display()))
        });
        let [program, config] = words;
        Ok(Reach::Command(vec![
            program?,
            "serve".to_owned(),
            "--config".to_owned(),
            config?,
            "--stdio".to_owned(),
        ]))
    }
}

/// The file itself where its name is a link, as those who keep their settings elsewhere have it.
fn follow(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes a file so that it is there whole or as it was before, with the mode that it had.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = beside(file, &format!(".{}.tmp", std::process::id()));
    let written = fs::File::create(&new)
        .and_then(|mut out| {
            if let Ok(there) = fs::metadata(file) {
                out.set_permissions(there.permissions())?;
            }
            out.write_all(text.as_bytes())?;
            out.sync_all()
        })
        .and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&new);
    }
    written
}
