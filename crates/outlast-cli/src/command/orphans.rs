//! What is left of a command whose shim was killed.
//!
//! The command itself dies with its shim. What it had started does not, and a run that is repeated
//! must not find its predecessor's processes at work. They are recognised by two marks: they are in
//! the command's session, or their output goes to the run's log. A process that changed both, and
//! whose shim was killed at the same time, is beyond finding. Linux only; elsewhere the command's
//! process group is all that is looked for.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::folder::{RunFolder, Started};
use super::tree::{self, Process};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills what a vanished run has left and waits until it is gone; returns how many there were.
///
/// # Errors
/// When the process table cannot be read, or something survives SIGKILL for ten seconds.
///
/// # Cancel safety
/// May be dropped and called again.
pub async fn kill(folder: &RunFolder, started: &Started) -> io::Result<usize> {
    if !started.command.is_of_this_boot()? {
        return Ok(0);
    }
    let deadline = Instant::now() + PATIENCE;
    let mut killed = 0;
    if started.command.signal(Signal::KILL)? {
        killed += 1;
    }
    loop {
        let left = orphans(folder, started)?;
        if left.is_empty() && !started.command.is_alive() {
            return Ok(killed);
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "{} processes of a vanished command survive SIGKILL",
                left.len()
            )));
        }
        for process in &left {
            killed += usize::from(process.signal(Signal::KILL)?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn orphans(folder: &RunFolder, started: &Started) -> io::Result<Vec<Process>> {
    // As the kernel names it: without symbolic links.
    let log = folder
        .log_path()
        .canonicalize()
        .unwrap_or_else(|_| folder.log_path());
    let since: u64 = started.command.start_time.parse().unwrap_or(u64::MAX);
    let ours = |process: &Process| {
        // Nothing that is older than the command can descend from it.
        process.runs()
            && process.start_time >= since
            && (process.session == started.command.pid || writes_to(process.pid, &log))
    };
    Ok(tree::all()?.into_iter().filter(ours).collect())
}

/// Whether the process prints into the file.
fn writes_to(pid: i32, log: &std::path::Path) -> bool {
    [1, 2].iter().any(|descriptor| {
        std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).is_ok_and(|file| file == log)
    })
}
