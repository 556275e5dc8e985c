//! `outlast completions` and `outlast man`: what a shell and `man` read, made from the commands themselves.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Outlast, USAGE};

/// Print the completions of a shell
///
/// bash:  outlast completions bash > ~/.local/share/bash-completion/completions/outlast
///
/// zsh:   outlast completions zsh > "${fpath[1]}/_outlast"
///
/// fish:  outlast completions fish > ~/.config/fish/completions/outlast.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> ExitCode {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Outlast::command(), "outlast", &mut text);
        super::client::out::bytes(&text);
        ExitCode::SUCCESS
    }
}

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write a page for each command into this folder, as outlast-serve.1
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> ExitCode {
        let written = match &self.dir {
            None => page(),
            Some(folder) => std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(Outlast::command(), folder)),
        };
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                super::client::out::complain(&format!(
                    "outlast: the manual cannot be written: {error}"
                ));
                ExitCode::from(USAGE)
            }
        }
    }
}

fn page() -> io::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Outlast::command()).render(&mut text)?;
    text.flush()?;
    super::client::out::bytes(&text);
    Ok(())
}
