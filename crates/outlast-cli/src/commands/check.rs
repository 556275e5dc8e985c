//! `outlast check`: a configuration is read and put together as `serve` would do it, and nothing is started.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use outlast::Settings;
use outlast_cli::config::FileConfig;
use serde_json::json;

use super::client::out;
use super::file::ConfigFile;
use super::{USAGE, served};

/// Check a configuration without starting anything
///
/// Refuses what `serve` would refuse, in the same words, with the same flags and environment above the file.
/// What other programs have at present (the port, the store) is left out, and no Redis is asked: see `doctor`.
/// Exit status: 0 if `serve` would start, 2 if not.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    file: ConfigFile,

    /// Print the tools with their schemas as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: Settings,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let file = self.file.path();
        match self.check(&file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(sentence) => {
                out::complain(&sentence);
                ExitCode::from(USAGE)
            }
        }
    }

    fn check(&self, file: &Path) -> Result<(), String> {
        let config = FileConfig::load(file).map_err(|error| error.to_string())?;
        served::warn(&config);
        served::check(config.clone(), &self.settings)?;
        if self.json {
            let tools: Vec<_> = config
                .tools
                .iter()
                .map(|tool| {
                    json!({
                        "name": tool.name,
                        "title": tool.title,
                        "description": tool.description,
                        "inputSchema": tool.input_schema(),
                    })
                })
                .collect();
            out::json(&json!({ "file": file, "tools": tools }));
        } else {
            let names: Vec<_> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
            out::line(&format!(
                "{}: ok; tools: {}",
                file.display(),
                names.join(", ")
            ));
        }
        Ok(())
    }
}
