//! What files are read as, and what is said where they are wrong.

mod files;
mod mistakes;
mod schedules;
mod tools;

use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<FileConfig, ConfigError> {
    FileConfig::parse(Path::new("outlast.toml"), Path::new("/etc/outlast"), text)
}

fn message(text: &str) -> String {
    match parse(text) {
        Err(error) => error.to_string(),
        Ok(config) => panic!("accepted: {config:?}"),
    }
}

fn one_tool(text: &str) -> CommandTool {
    let config = parse(text).unwrap_or_else(|error| panic!("{error}"));
    config.tools.into_iter().next().unwrap()
}

const BACKUP: &str = "[tools.backup]\ndescription = \"x\"\ncommand = [\"true\"]\n";
