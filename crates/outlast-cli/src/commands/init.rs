//! `outlast init`: a commented configuration file to begin with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use outlast_cli::config::{FILE_NAME, write_sample};

use super::USAGE;
use super::client::out;

/// Write a commented configuration file with sample tools.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write. One that exists is left alone.
    #[arg(default_value = FILE_NAME)]
    file: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> ExitCode {
        let file = self.file.display();
        match write_sample(&self.file) {
            Ok(()) => {
                out::line(&format!(
                    "{file} written; `outlast serve --config {file}` serves it"
                ));
                ExitCode::SUCCESS
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                out::complain(&format!(
                    "{file} exists and was left alone; name another file"
                ));
                ExitCode::from(USAGE)
            }
            Err(error) => {
                out::complain(&format!("{file} cannot be written: {error}"));
                ExitCode::from(USAGE)
            }
        }
    }
}
