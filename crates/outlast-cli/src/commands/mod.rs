//! The subcommands of `outlast`, one file each.
//!
//! Every one returns an exit status that scripts can use: 0 for success, 2 for a wrong call or a
//! wrong configuration, others as its own help says. Messages for people go to standard error, and
//! what was asked for to standard output.

mod call;
mod check;
mod client;
mod init;
mod pause;
mod schedules;
mod serve;
mod tasks;
mod token;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A wrong call, or a configuration that cannot be used; nothing was started.
const USAGE: u8 = 2;

/// What a person reads who tries the program for the first time.
const EXAMPLES: &str = "\
Examples:
  outlast init              write a sample configuration, outlast.toml
  outlast check             tell what is wrong in it, if anything is
  outlast serve             serve its tools at http://127.0.0.1:9876/mcp
  outlast serve --stdio     be the command that an MCP client starts
  outlast call count to=5   run one of its tools, with a progress bar

Exit status: 0 for success, 2 for a wrong call or a configuration that cannot be used.";

/// Runs commands and scripts as durable background tasks of an MCP server
#[derive(Debug, Parser)]
#[command(name = "outlast", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Outlast {
    #[command(subcommand)]
    subcommand: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Serve(Box<serve::Serve>),
    Dev(Box<serve::Dev>),
    Worker(Box<serve::Work>),
    Init(init::Init),
    Check(check::Check),
    Call(Box<call::Call>),
    Tools(tools::Tools),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Tasks(tasks::Tasks),
    Schedules(schedules::Schedules),
    Token(token::Token),
}

impl Outlast {
    /// Runs the subcommand to its end.
    pub(crate) fn run(self) -> ExitCode {
        match self.subcommand {
            Subcommands::Serve(serve) => serve.run(),
            Subcommands::Dev(dev) => dev.run(),
            Subcommands::Worker(worker) => worker.run(),
            Subcommands::Init(init) => init.run(),
            Subcommands::Check(check) => check.run(),
            Subcommands::Call(call) => call.run(),
            Subcommands::Tools(tools) => tools.run(),
            Subcommands::Pause(pause) => pause.run(),
            Subcommands::Resume(resume) => resume.run(),
            Subcommands::Tasks(tasks) => tasks.run(),
            Subcommands::Schedules(schedules) => schedules.run(),
            Subcommands::Token(token) => token.run(),
        }
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
