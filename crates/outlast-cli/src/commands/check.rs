//! `outlast check`: a configuration file is read as `serve` would read it, and nothing is started.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use outlast_cli::config::{CommandTool, FILE_NAME, FileConfig, Piece, Program, Word};
use serde_json::json;

use super::USAGE;

/// Check a configuration file without starting anything.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file.
    #[arg(long, short, env = "OUTLAST_CONFIG", default_value = FILE_NAME)]
    config: PathBuf,
    /// Print the tools with their schemas as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> ExitCode {
        let config = match FileConfig::load(&self.config) {
            Ok(config) => config,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(USAGE);
            }
        };
        for tool in &config.tools {
            if let Some(program) = missing_program(tool) {
                eprintln!(
                    "warning: tools.{}.command: no program \"{program}\" is found now",
                    tool.name
                );
            }
        }
        for warning in config.warnings() {
            eprintln!("warning: {warning}");
        }
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
            println!("{}", json!({ "file": self.config, "tools": tools }));
        } else {
            let names: Vec<_> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
            println!("{}: ok; tools: {}", self.config.display(), names.join(", "));
        }
        ExitCode::SUCCESS
    }
}

/// The program of a tool, if there is none of its name at present.
pub(super) fn missing_program(tool: &CommandTool) -> Option<&str> {
    let Program::Words(words) = &tool.program else {
        return None;
    };
    let Some(Word::Template(template)) = words.first() else {
        return None;
    };
    let Some(Piece::Text(program)) = template.0.first() else {
        return None;
    };
    let found = if program.contains('/') {
        Path::new(program).is_file()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    };
    (!found).then_some(program)
}
