//! The process table, and who descends from whom.
//!
//! A process can leave its group and its session, but not its ancestors: when a parent dies, the
//! nearest living ancestor that is a child subreaper inherits the child. The shim is one, and so
//! everything its command ever started stays below it. Only Linux has this; elsewhere no
//! descendants are known, and groups are all there is.

use std::io;

use rustix::process::{Pid, Signal};

/// One line of the process table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) state: char,
    /// Clock ticks since the machine started.
    pub(super) start_time: u64,
}

impl Process {
    /// Whether it still executes: neither ended and unreaped nor on its way there.
    pub(super) fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Sends a signal, provided that the id still means this process.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(false);
        };
        super::identity::signal_if(
            pid,
            signal,
            || matches!(read(self.pid), Ok(Some(now)) if now.start_time == self.start_time),
        )
    }

    /// Reads the text of `/proc/PID/stat`. The second field, the name, may hold anything, spaces
    /// and parentheses included, so the fields are counted from the last parenthesis.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "there is no /proc")
    )]
    fn parse(text: &str) -> Option<Self> {
        let pid = text.split(' ').next()?.parse().ok()?;
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut number = || fields.next()?.parse::<i32>().ok();
        let (parent, group, session) = (number()?, number()?, number()?);
        // Fields 7 to 21 lie between the session, field 6, and the start time, field 22.
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self {
            pid,
            parent,
            group,
            session,
            state,
            start_time,
        })
    }
}

/// The process with this id; `None` if there is none.
#[cfg(target_os = "linux")]
pub(super) fn read(pid: i32) -> io::Result<Option<Process>> {
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(bytes) => Process::parse(&String::from_utf8_lossy(&bytes))
            .map(Some)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has an unknown form"))),
        // A process that ends while its file is read answers ESRCH.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The process with this id; nothing is known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(_pid: i32) -> io::Result<Option<Process>> {
    Ok(None)
}

/// All processes that can be seen.
///
/// # Errors
/// The table cannot be read just now. What is left out of it then may be ours, so an incomplete table
/// is none.
#[cfg(target_os = "linux")]
pub(super) fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match read(pid) {
            Ok(process) => processes.extend(process),
            // Where /proc hides strangers from us (`hidepid`), one that is hidden is a stranger.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(processes)
}

/// All processes that can be seen; none here.
#[cfg(not(target_os = "linux"))]
pub(super) fn all() -> io::Result<Vec<Process>> {
    Ok(Vec::new())
}

/// How many processes and threads were made since the machine was started, if that is told.
pub(super) fn forks() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("processes "))?;
    count.trim().parse().ok()
}

/// How many ids there are: each is given once before the first is given again, but for a few at the
/// beginning that are passed over after that.
pub(super) fn ids() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
    text.trim().parse().ok()
}

/// The running descendants of the process `root`, nearest first.
pub(super) fn descendants(root: i32) -> io::Result<Vec<Process>> {
    Ok(below(root, &all()?)
        .into_iter()
        .filter(Process::runs)
        .collect())
}

/// The descendants of `root` in a table. Ended ones count as links to their own children.
fn below(root: i32, table: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while !parents.is_empty() {
        let children: Vec<Process> = table
            .iter()
            .filter(|process| parents.contains(&process.parent) && process.pid != root)
            // The table was not read in one instant: an id seen twice must not make a circle.
            .filter(|process| !found.iter().any(|known| known.pid == process.pid))
            .cloned()
            .collect();
        parents = children.iter().map(|process| process.pid).collect();
        found.extend(children);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let line = "42 (a) S (b)) R 7 8 9 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 0 0";
        let expected = Process {
            pid: 42,
            parent: 7,
            group: 8,
            session: 9,
            state: 'R',
            start_time: 123_456,
        };
        assert_eq!(Process::parse(line), Some(expected));
        for broken in [
            "",
            "42",
            "42 (a",
            "42 (a) ",
            "42 (a) R 1 2",
            "x (a) R 1 2 3",
        ] {
            assert_eq!(Process::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn descendants_are_found_through_the_dead() {
        let process = |pid, parent, state| Process {
            pid,
            parent,
            group: pid,
            session: pid,
            state,
            start_time: 0,
        };
        let table = [
            process(1, 0, 'S'),
            process(10, 1, 'S'),
            process(11, 10, 'Z'),
            process(12, 11, 'S'),
            process(13, 1, 'S'),
            process(14, 12, 'R'),
            // A circle, as a table read while ids are recycled can show it.
            process(20, 21, 'S'),
            process(21, 20, 'S'),
        ];
        let pids = |root| {
            below(root, &table)
                .iter()
                .map(|p| p.pid)
                .collect::<Vec<_>>()
        };
        assert_eq!(pids(10), [11, 12, 14]);
        assert_eq!(pids(14), [0; 0]);
        assert_eq!(pids(20), [21]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_in_the_table() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(
            all()
                .unwrap()
                .iter()
                .any(|process| process.pid == me && process.runs())
        );
        assert_eq!(read(i32::MAX).unwrap(), None);
    }
}
