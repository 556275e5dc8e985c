//! The kill ladder: SIGINT, SIGTERM, SIGKILL, with time in between, for everything a command started.
//!
//! Each rung reaches the command's process group and every descendant of the shim, also those that
//! left the group or the session. After SIGKILL the descendants are looked for again and again until
//! there are none: a process that was forked while the table was read is in the next reading. The
//! ladder is a value that is asked "what now?", so that the shim can wait for other things at the
//! same time.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::tree::{self, Process};

/// How often SIGKILL is repeated while something is left.
const REPEAT: Duration = Duration::from_millis(20);

/// How long that goes on before what is left, being stuck in the kernel, is left alone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which signal is next, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rung {
    Interrupt,
    Terminate,
    Kill,
}

/// A ladder that is being gone down.
#[derive(Debug)]
pub(super) struct Ladder {
    next: Rung,
    due: Instant,
    interrupt_grace: Duration,
    terminate_grace: Duration,
    kill_since: Option<Instant>,
}

impl Ladder {
    /// A ladder from the top: the command is being stopped.
    pub(super) fn stop(now: Instant, interrupt_grace: Duration, terminate_grace: Duration) -> Self {
        let next = if interrupt_grace.is_zero() {
            Rung::Terminate
        } else {
            Rung::Interrupt
        };
        Self {
            next,
            due: now,
            interrupt_grace,
            terminate_grace,
            kill_since: None,
        }
    }

    /// A ladder from SIGTERM on: the command has ended and left processes behind.
    pub(super) fn sweep(now: Instant, terminate_grace: Duration) -> Self {
        Self {
            next: Rung::Terminate,
            due: now,
            interrupt_grace: Duration::ZERO,
            terminate_grace,
            kill_since: None,
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether what is left now has outlived SIGKILL for long, and cannot be waited for.
    pub(super) fn gave_up(&self, now: Instant) -> bool {
        self.kill_since
            .is_some_and(|since| now.duration_since(since) > PATIENCE)
    }

    /// Sends the signals that are due. `group` is the command's process group.
    ///
    /// # Errors
    /// When the process table cannot be read. Nothing was sent then, and the rung is still due.
    pub(super) fn advance(&mut self, now: Instant, group: Group) -> io::Result<()> {
        if now < self.due {
            return Ok(());
        }
        let (signal, next, grace) = match self.next {
            Rung::Interrupt => (Signal::INT, Rung::Terminate, self.interrupt_grace),
            Rung::Terminate => (Signal::TERM, Rung::Kill, self.terminate_grace),
            Rung::Kill => (Signal::KILL, Rung::Kill, REPEAT),
        };
        group.send(signal)?;
        if signal == Signal::KILL {
            self.kill_since.get_or_insert(now);
        }
        (self.next, self.due) = (next, now + grace);
        if signal == Signal::TERM {
            // A stopped process handles nothing; woken, it finds the signal. If the table cannot be
            // read now, SIGKILL needs nobody to be awake.
            let _ = group.send(Signal::CONT);
        }
        Ok(())
    }
}

/// All that a command started, seen from its shim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The shim, ancestor of everything.
    pub(super) shim: i32,
    /// The command, whose id is its group's too.
    pub(super) command: i32,
    /// The command has not been reaped, so its id cannot have been given to another.
    pub(super) unreaped: bool,
}

impl Group {
    /// The running processes that are left.
    pub(super) fn left(self) -> io::Result<Vec<Process>> {
        tree::descendants(self.shim)
    }

    /// Sends a signal to each process once: to the group as one, to others by themselves.
    ///
    /// Programs count signals: a second SIGINT means "at once" to many of them.
    fn send(self, signal: Signal) -> io::Result<()> {
        let left = self.left()?;
        let in_group = |process: &&Process| process.group == self.command;
        // Without a member that is ours the group's id may have gone to somebody else.
        if (self.unreaped || left.iter().any(|process| in_group(&process)))
            && let Some(group) = Pid::from_raw(self.command)
        {
            // No such group: the command has not made it yet, or all of it has just ended.
            let _ = kill_process_group(group, signal);
        }
        for process in left.iter().filter(|process| !in_group(process)) {
            // Not ours to signal: a set-user-id program. There is nothing else to do about it.
            let _ = process.signal(signal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group that has nobody in it, as this test process has no children of its own here.
    const NOBODY: Group = Group {
        shim: i32::MAX,
        command: i32::MAX,
        unreaped: false,
    };

    #[test]
    fn the_rungs_come_in_time() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut ladder = Ladder::stop(start, 2 * second, 5 * second);
        assert_eq!((ladder.next, ladder.due()), (Rung::Interrupt, start));
        ladder.advance(start, NOBODY).unwrap();
        assert_eq!(
            (ladder.next, ladder.due()),
            (Rung::Terminate, start + 2 * second)
        );
        ladder.advance(start + second, NOBODY).unwrap();
        assert_eq!(ladder.next, Rung::Terminate, "not before its time");
        ladder.advance(start + 2 * second, NOBODY).unwrap();
        assert_eq!(
            (ladder.next, ladder.due()),
            (Rung::Kill, start + 7 * second)
        );
        ladder.advance(start + 7 * second, NOBODY).unwrap();
        assert_eq!(
            (ladder.next, ladder.due()),
            (Rung::Kill, start + 7 * second + REPEAT)
        );
        assert!(!ladder.gave_up(start + 8 * second));
        assert!(ladder.gave_up(start + 7 * second + PATIENCE + second));
    }

    #[test]
    fn no_interrupt_grace_means_no_interrupt() {
        let start = Instant::now();
        assert_eq!(
            Ladder::stop(start, Duration::ZERO, Duration::ZERO).next,
            Rung::Terminate
        );
        assert_eq!(Ladder::sweep(start, Duration::ZERO).next, Rung::Terminate);
    }
}
