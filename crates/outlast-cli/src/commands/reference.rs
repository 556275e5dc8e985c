//! `outlast settings`: every setting of a server, made from the flags themselves and the configuration's own
//! words, so that the documentation cannot drift from the program.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Arg, Args, Command};
use outlast::Settings;
use outlast_cli::config;

use super::client::out;

/// Print the reference of all settings: flags, environment, and the configuration file
#[derive(Debug, Args)]
pub(crate) struct Reference {}

impl Reference {
    pub(super) fn run(self) -> ExitCode {
        out::bytes(text().as_bytes());
        ExitCode::SUCCESS
    }
}

const BEGINNING: &str = "\
<!-- Made by `outlast settings > docs/settings.md`; a test holds it to that. -->

# Settings

A flag wins over the environment, and that over the configuration file, `outlast.toml`. Times are a number and
a unit (`500ms`, `30s`, `10m`, `2h`, `7d`) or several (`1h 30m`).

SIGHUP, and `outlast dev` on each change, take over `task`, `retention`, `include_tags` and `exclude_tags`, and
everything of the file outside of `[server]` and `[auth]`. The other settings need a restart, and the
log names those that have changed.

## Flags of `serve`, `dev` and `worker`

";

/// The reference as it stands in the documentation.
fn text() -> String {
    let mut text = BEGINNING.to_owned();
    text.push_str(
        "| flag | environment | in `[server]` | default | what it does |\n|---|---|---|---|---|\n",
    );
    let command = Settings::augment_args(Command::new("outlast"));
    for argument in command.get_arguments() {
        row(&mut text, argument);
    }
    text.push('\n');
    text.push_str(config::REFERENCE);
    text
}

fn row(text: &mut String, argument: &Arg) {
    let Some(flag) = argument.get_long() else {
        return;
    };
    let value = argument.get_value_names().and_then(<[_]>::first);
    let value = value.map_or_else(String::new, |value| {
        match argument.is_require_equals_set() {
            true => format!("[={value}]"),
            false => format!(" {value}"),
        }
    });
    let environment = argument.get_env().map(|name| name.to_string_lossy());
    let environment = environment.map_or_else(String::new, |name| format!("`{name}`"));
    let id = argument.get_id().as_str();
    let key = if config::SERVER_KEYS.contains(&id) {
        format!("`{id}`")
    } else {
        match (id, flag) {
            ("tokens" | "resource" | "authorization_servers", _) => format!("`[auth] {id}`"),
            (_, "webhook-host") => "`[webhooks] hosts`".to_owned(),
            (_, "webhook-private") => "`[webhooks] private`".to_owned(),
            (_, "webhook-secret") => "`[webhooks] secret`".to_owned(),
            _ => String::new(),
        }
    };
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let (what, default) = match help.rsplit_once(" [default: ") {
        Some((what, default)) => (what, default.trim_end_matches(']')),
        None => (help.as_str(), ""),
    };
    let what = what.replace('|', "\\|");
    // A string is never full.
    let _ = writeln!(
        text,
        "| `--{flag}{value}` | {environment} | {key} | {default} | {what} |"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_what_the_program_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
        let there = std::fs::read_to_string(path).unwrap();
        assert!(
            there == text(),
            "docs/settings.md is stale: write it anew with `outlast settings > docs/settings.md`"
        );
    }

    /// What a server is called and says of itself stands in its file alone.
    const FILE_ONLY: [&str; 6] = [
        "name",
        "title",
        "description",
        "website_url",
        "icon",
        "instructions",
    ];

    #[test]
    fn every_key_is_in_the_reference_and_has_a_flag_or_is_known_to_have_none() {
        let text = text();
        for key in config::SERVER_KEYS {
            assert!(text.contains(&format!("`{key}`")), "{key}");
        }
        let command = Settings::augment_args(Command::new("outlast"));
        for key in config::SERVER_KEYS {
            let of_the_file = FILE_ONLY.contains(&key);
            let flag = command
                .get_arguments()
                .any(|argument| argument.get_id() == key);
            assert!(flag != of_the_file, "{key}");
        }
    }
}
