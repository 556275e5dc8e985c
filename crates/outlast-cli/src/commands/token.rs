//! `outlast token`: the bearer tokens of a server with users.
//!
//! Only the file is touched; a server that runs sees a change within a second. A token is shown once,
//! when it is made: the file has its digest alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use outlast::auth::{NewToken, Tokens};
use outlast_cli::config::{FILE_NAME, FileConfig};
use outlast_core::{Clock, Scope, SystemClock, Timestamp};
use serde_json::json;

use super::USAGE;
use super::client::out;

/// Make, list and revoke the bearer tokens of a server with users
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    verb: Verb,

    /// The file with the tokens [default: what [auth] tokens in the configuration file says]
    #[arg(long, env = "OUTLAST_AUTH_TOKENS", value_name = "FILE", global = true)]
    file: Option<PathBuf>,

    /// The configuration file [default: outlast.toml]
    #[arg(
        long,
        short,
        env = "OUTLAST_CONFIG",
        value_name = "FILE",
        global = true
    )]
    config: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it; it cannot be printed again
    Add {
        /// Whose it is: the owner of the tasks that are made with it
        owner: String,
        /// A group that its owner is in; may be repeated
        #[arg(long, value_name = "GROUP")]
        group: Vec<String>,
        /// What may be done with it: tasks:read, tasks:run or tasks:admin
        #[arg(long, value_name = "SCOPE", default_value_t = Scope::Run)]
        scope: Scope,
        /// How long it is good, for example 90d [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = outlast_core::duration::parse)]
        expires: Option<Duration>,
    },
    /// List the tokens, without what is secret of them
    List,
    /// Take tokens away: one by its id, or all of an owner
    Revoke {
        /// An id, as `list` shows it, or an owner
        id_or_owner: String,
    },
}

impl Token {
    pub(super) fn run(self) -> ExitCode {
        match self.act() {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => {
                out::complain(&sentence);
                ExitCode::from(USAGE)
            }
        }
    }

    fn act(self) -> Result<(), String> {
        let path = self.path()?;
        let load = || Tokens::load(&path).map_err(|error| error.to_string());
        let now = SystemClock::new().now();
        match self.verb {
            Verb::Add {
                owner,
                group,
                scope,
                expires,
            } => {
                check_name(&owner)?;
                group.iter().try_for_each(|group| check_name(group))?;
                let new = NewToken {
                    owner,
                    groups: group,
                    scope,
                    lifetime: expires,
                };
                let added = Tokens::change(&path, |tokens| {
                    let token = tokens.add(new, now);
                    let id = tokens.entries().last()?.id.clone();
                    Some((token, id))
                });
                let added = added.map_err(|error| error.to_string())?;
                let (token, id) = added.expect("it was added");
                if !self.json {
                    out::complain("the token, which is not shown again:");
                }
                let shown = if self.json {
                    out::try_json(&json!({ "token": token, "file": path }))
                } else {
                    out::try_line(&token)
                };
                if shown.is_err() {
                    // Nobody has seen it, so nobody may be let in with it.
                    let gone = Tokens::change(&path, |tokens| Some(tokens.revoke(&id)));
                    gone.map_err(|error| error.to_string())?;
                }
                out::finish(shown);
            }
            Verb::List if self.json => {
                let list: Vec<_> = load()?
                    .entries()
                    .iter()
                    .map(|entry| {
                        json!({
                            "id": entry.id,
                            "owner": entry.owner,
                            "groups": entry.groups,
                            "scope": entry.scope,
                            "createdAt": entry.created.to_string(),
                            "expiresAt": entry.expires.map(|at| at.to_string()),
                        })
                    })
                    .collect();
                out::json(&json!(list));
            }
            Verb::List => {
                for entry in load()?.entries() {
                    let groups = match entry.groups.as_slice() {
                        [] => String::new(),
                        groups => format!("  in {}", groups.join(", ")),
                    };
                    out::line(&format!(
                        "{}  {}  {}{groups}{}",
                        entry.id,
                        entry.owner,
                        entry.scope,
                        until(entry.expires, now)
                    ));
                }
            }
            Verb::Revoke { id_or_owner } => {
                let revoke = |tokens: &mut Tokens| {
                    Some(tokens.revoke(&id_or_owner)).filter(|gone| !gone.is_empty())
                };
                let gone = Tokens::change(&path, revoke).map_err(|error| error.to_string())?;
                let gone = gone.ok_or_else(|| {
                    format!(
                        "no token has the id or the owner {id_or_owner:?}; `outlast token list` \
                         shows them"
                    )
                })?;
                for entry in gone {
                    out::line(&format!("{}  {}  revoked", entry.id, entry.owner));
                }
            }
        }
        Ok(())
    }

    fn path(&self) -> Result<PathBuf, String> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let config = self.config.clone().unwrap_or_else(|| FILE_NAME.into());
        if self.config.is_some() || config.exists() {
            let read = FileConfig::load(&config).map_err(|error| error.to_string())?;
            if let Some(tokens) = read.auth.tokens {
                return Ok(tokens);
            }
        }
        Err(format!(
            "which file? say --file FILE, or in {}: [auth] tokens = \"tokens.json\"",
            config.display()
        ))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let sensible = |c: char| !c.is_control();
    if name.trim() != name || name.is_empty() || name.len() > 256 || !name.chars().all(sensible) {
        return Err(format!(
            "{name:?} is no name; allowed: up to 256 bytes without spaces around and control \
             characters"
        ));
    }
    if name.starts_with("group:") || name == "local" {
        return Err(format!(
            "{name:?} is taken: local is whoever runs the server, and group:… names groups"
        ));
    }
    Ok(())
}

fn until(expires: Option<Timestamp>, now: Timestamp) -> String {
    match expires {
        None => String::new(),
        Some(at) if at <= now => format!("  expired at {at}"),
        Some(at) => format!("  until {at}"),
    }
}
