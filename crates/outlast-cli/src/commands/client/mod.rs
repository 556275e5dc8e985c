//! What the subcommands that talk to a server have in common.

pub(super) mod address;
pub(super) mod arguments;
pub(super) mod bar;
pub(super) mod exit;
pub(super) mod out;
pub(super) mod outcome;
pub(super) mod pace;
pub(super) mod prompt;
pub(super) mod tame;

use std::process::ExitCode;

use self::exit::{Exit, Trouble};

/// Runs a subcommand to its end and turns what came of it into an exit status.
pub(super) fn run(work: impl Future<Output = Result<Exit, Trouble>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            out::complain(&format!("outlast: cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = match runtime.block_on(work) {
        Ok(exit) => exit,
        Err(trouble) => {
            trouble.report();
            trouble.exit
        }
    };
    // A thread may still wait for a line at the terminal; it is left behind.
    runtime.shutdown_background();
    exit.into()
}

/// Awaits `work`, unless the user interrupts it first.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        _ = tokio::signal::ctrl_c() => None,
    }
}
