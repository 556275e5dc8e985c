//! The subcommands of `outlast`, one file each.
//!
//! Every one returns an exit status that scripts can use: 0 for success, 2 for a wrong call or a
//! wrong configuration, others as its own help says. Messages for people go to standard error, and
//! what was asked for to standard output.

mod call;
mod check;
mod client;
mod completions;
mod doctor;
mod file;
mod init;
mod install;
mod pause;
mod reference;
mod schedules;
mod serve;
mod served;
mod store;
mod tasks;
mod token;
mod tools;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A wrong call, or a configuration that cannot be used; nothing was started.
const USAGE: u8 = 2;

/// What a person reads who tries the program for the first time.
const EXAMPLES: &str = "\
Begin:
  outlast init                   write a sample configuration, outlast.toml
  outlast dev                    serve it, and read it again when you change it
  outlast call count to=5        run one of its tools, with a progress bar
  outlast top                    watch everything that runs

In service:
  outlast check                  tell what is wrong in the configuration, if anything is
  outlast serve                  serve its tools at http://127.0.0.1:9876/mcp
  outlast install cursor         let a client use them; also claude-code, vscode, codex and others
  outlast tasks list             see the tasks, whoever created them
  outlast doctor                 find out what keeps it from running well

Exit status: 0 for success, 2 for a wrong call or a configuration that cannot be used; others as
each command's --help says. Settings: outlast settings. Completions: outlast completions SHELL.";

/// Runs commands and scripts as durable background tasks of an MCP server
///
/// A task outlives the connection, the client, the server process and the machine: whoever holds its id
/// sees its progress, answers its questions, cancels it and fetches its result.
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
    Scheduler(Box<serve::Scheduler>),
    Init(init::Init),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Install(install::Install),
    Call(Box<call::Call>),
    Tools(tools::Tools),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Tasks(Box<tasks::Tasks>),
    Top(Box<top::Top>),
    Schedules(schedules::Schedules),
    Store(store::Store),
    Token(token::Token),
    Settings(reference::Reference),
    Completions(completions::Completions),
    Man(completions::Man),
}

impl Outlast {
    /// Runs the subcommand to its end.
    pub(crate) fn run(self) -> ExitCode {
        match self.subcommand {
            Subcommands::Serve(serve) => serve.run(),
            Subcommands::Dev(dev) => dev.run(),
            Subcommands::Worker(worker) => worker.run(),
            Subcommands::Scheduler(scheduler) => scheduler.run(),
            Subcommands::Init(init) => init.run(),
            Subcommands::Check(check) => check.run(),
            Subcommands::Call(call) => call.run(),
            Subcommands::Tools(tools) => tools.run(),
            Subcommands::Pause(pause) => pause.run(),
            Subcommands::Resume(resume) => resume.run(),
            Subcommands::Tasks(tasks) => tasks.run(),
            Subcommands::Top(top) => top.run(),
            Subcommands::Schedules(schedules) => schedules.run(),
            Subcommands::Store(store) => store.run(),
            Subcommands::Token(token) => token.run(),
            Subcommands::Doctor(doctor) => doctor.run(),
            Subcommands::Install(install) => install.run(),
            Subcommands::Settings(settings) => settings.run(),
            Subcommands::Completions(completions) => completions.run(),
            Subcommands::Man(man) => man.run(),
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
