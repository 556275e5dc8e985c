//! What is left of a command whose shim was killed.
//!
//! The command itself dies with its shim. What it had started does not, and a run that is repeated
//! must not find its predecessor's processes at work. They are recognised by two marks: they are in
//! the command's session, or their output goes to the run's log. A process that changed both, and
//! whose shim was killed at the same time, is beyond finding. Linux only; elsewhere the command's
//! process group is all that is looked for.
//!
//! A session is named by the id of its first process, and that id is given to another process once the
//! session is empty. So the name alone proves nothing: see `has_session`. Where it cannot be proved
//! that a session is the command's, its processes are left alone; to kill a stranger is worse than to
//! leave an orphan.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::folder::{RunFolder, Started};
use super::tree::{self, Process};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many ids the kernel passes over when it begins again, with a margin.
const PASSED_OVER: u64 = 1000;

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
    // As the kernel names it: without symbolic links.
    let log = folder
        .log_path()
        .canonicalize()
        .unwrap_or_else(|_| folder.log_path());
    loop {
        let table = tree::all()?;
        let left = orphans(started, &table, tree::forks(), |pid| writes_to(pid, &log));
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

/// What of a table descends from the command. `forks` is how many processes there were until now.
fn orphans<'a>(
    started: &Started,
    table: &'a [Process],
    forks: Option<u64>,
    speaks: impl Fn(i32) -> bool,
) -> Vec<&'a Process> {
    let since: u64 = started.command.start_time.parse().unwrap_or(u64::MAX);
    // Nothing that is older than the command can descend from it.
    let young = table
        .iter()
        .filter(|process| process.runs() && process.start_time >= since);
    let (mut orphans, mut silent) = (Vec::new(), Vec::new());
    for process in young {
        if speaks(process.pid) {
            orphans.push(process);
        } else if process.session == started.command.pid {
            silent.push(process);
        }
    }
    let in_session = |process: &&Process| process.session == started.command.pid;
    // A session is wholly the command's or wholly another's.
    if orphans.iter().any(in_session) || has_session(started, table, forks) {
        orphans.append(&mut silent);
    }
    orphans
}

/// Whether the session with the command's id is the command's for certain.
///
/// It is if the command itself is still there, be it as a zombie. It is not if another process has the
/// command's id. If nobody has, the id may have been given away and become free again, but not before
/// the kernel gave away all others.
fn has_session(started: &Started, table: &[Process], forks: Option<u64>) -> bool {
    let command = &started.command;
    if let Some(now) = table.iter().find(|process| process.pid == command.pid) {
        return now.start_time.to_string() == command.start_time;
    }
    match (started.forks, forks, tree::ids()) {
        (Some(then), Some(now), Some(ids)) => {
            now.saturating_sub(then) < ids.saturating_sub(PASSED_OVER)
        }
        _ => false,
    }
}

/// Whether the process prints into the file.
fn writes_to(pid: i32, log: &Path) -> bool {
    [1, 2].iter().any(|descriptor| {
        std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).is_ok_and(|file| file == log)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::command::ProcessIdentity;

    const SESSION: i32 = 42;

    fn process(pid: i32, session: i32, start_time: u64) -> Process {
        Process {
            pid,
            parent: 1,
            group: session,
            session,
            state: 'S',
            start_time,
        }
    }

    /// The ids of those that are taken for the orphans of a command that began at 100.
    fn found(table: &[Process], forks: u64, speaks: &[i32]) -> Vec<i32> {
        let command = ProcessIdentity {
            pid: SESSION,
            start_time: "100".into(),
            boot_id: String::new(),
        };
        let started = Started {
            shim: command.clone(),
            command,
            at_ms: 1,
            forks: Some(1000),
        };
        let speaks = |pid| speaks.contains(&pid);
        orphans(&started, table, Some(forks), speaks)
            .iter()
            .map(|process| process.pid)
            .collect()
    }

    #[test]
    fn a_session_of_another_is_left_alone() {
        let ids = tree::ids().unwrap();
        let member = process(50, SESSION, 200);
        let command = process(SESSION, SESSION, 100);
        let another = process(SESSION, SESSION, 150);
        let older = process(51, SESSION, 99);
        // The command is there, or its id cannot have been given away yet.
        assert_eq!(found(&[command, member.clone()], 1000 + ids, &[]), [42, 50]);
        assert_eq!(found(&[member.clone(), older], 1001, &[]), [50]);
        // A login or a daemon has its id.
        assert_eq!(found(&[another, member.clone()], 1001, &[]), [0; 0]);
        // It may have had, and have gone, as a daemon's first process does.
        assert_eq!(
            found(std::slice::from_ref(&member), 1000 + ids, &[]),
            [0; 0]
        );
        // One that writes into the log proves whose session it is.
        let speaking = process(52, SESSION, 201);
        assert_eq!(found(&[member, speaking], 1000 + ids, &[52]), [52, 50]);
        let elsewhere = process(53, 53, 201);
        assert_eq!(found(&[elsewhere], 1000 + ids, &[53]), [53]);
    }
}
