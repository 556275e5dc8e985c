//! `outlast.toml`: it is read, or every complaint says where and what.

use std::path::Path;

use outlast_cli::config::FileConfig;

pub(super) fn try_one(input: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(input);
    match FileConfig::parse(Path::new("outlast.toml"), Path::new("/"), &text) {
        Ok(config) => Ok(format!("{} tools", config.tools.len())),
        Err(error) => {
            let said = error.to_string();
            if said.trim().is_empty() {
                return Err("an error that says nothing".into());
            }
            let general: String = said.split(['"', '`']).step_by(2).collect();
            Ok(general
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .take(80)
                .collect())
        }
    }
}
