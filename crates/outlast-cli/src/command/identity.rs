//! Which process a recorded process id means, so that a recycled id is never taken for ours.
//!
//! A process id alone names nothing after its process has ended: the kernel gives it to the next
//! one. Together with the start time it is unique within one boot of the machine, and together with
//! the boot's id it is unique. A container that is started anew counts its processes from the beginning
//! and is given the same ids in the same order: it is a boot too. Signals go through a process file descriptor that is opened before
//! the identity is compared, so that no recycling can come between the look and the signal.
//!
//! On Linux the facts come from `/proc`; elsewhere from `ps` and `sysctl`.

use std::io;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process that can be told from every other one that has, had or will have its id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process id.
    pub pid: i32,
    /// When it started, in the system's own form; only compared.
    pub start_time: String,
    /// The boot of the machine, or the start of the container, in which it started.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The identity of this process.
    ///
    /// # Errors
    /// When the system does not tell, for example without `/proc`.
    pub fn current() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::of(pid)?.ok_or_else(|| io::Error::other("this process is not in the process table"))
    }

    /// The identity of the process that has this id now; `None` if there is none, or if it has
    /// ended and only waits to be reaped.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        let Some(start_time) = start_time(pid)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid,
            start_time,
            boot_id: boot_id()?,
        }))
    }

    /// Whether this very process still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(Self::of(self.pid), Ok(Some(now)) if now == *self)
    }

    /// Whether neither the machine nor the container has been started anew since.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(boot_id()? == self.boot_id)
    }

    /// Sends a signal if this very process still runs; tells whether it was sent.
    ///
    /// # Errors
    /// When the process is there and the signal may not be sent to it.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(false);
        };
        signal_if(pid, signal, || self.is_alive())
    }
}

/// Sends a signal to whatever has the id `pid` while `is_ours` holds.
#[cfg(target_os = "linux")]
pub(super) fn signal_if(
    pid: Pid,
    signal: Signal,
    is_ours: impl FnOnce() -> bool,
) -> io::Result<bool> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // The descriptor now means one process for good. If that one is ours, the signal cannot reach
    // another.
    if !is_ours() {
        return Ok(false);
    }
    match pidfd_send_signal(&descriptor, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sends a signal to whatever has the id `pid` while `is_ours` holds.
#[cfg(not(target_os = "linux"))]
pub(super) fn signal_if(
    pid: Pid,
    signal: Signal,
    is_ours: impl FnOnce() -> bool,
) -> io::Result<bool> {
    if !is_ours() {
        return Ok(false);
    }
    match rustix::process::kill_process(pid, signal) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The id of this boot of the machine, and of the container if this is one.
#[cfg(target_os = "linux")]
fn boot_id() -> io::Result<String> {
    // Neither changes while this process lives.
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let machine = machine.trim();
    let id = match super::tree::read(1) {
        Ok(Some(first)) => format!("{machine}.{}", first.start_time),
        Ok(None) => machine.to_owned(),
        // Hidden from us (`hidepid`): the machine's boot is all there is to go by.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => machine.to_owned(),
        Err(error) => return Err(error),
    };
    Ok(KNOWN.get_or_init(|| id).clone())
}

#[cfg(target_os = "linux")]
fn start_time(pid: i32) -> io::Result<Option<String>> {
    Ok(super::tree::read(pid)?
        .filter(|process| process.runs())
        .map(|process| process.start_time.to_string()))
}

/// The id of this boot of the machine.
#[cfg(not(target_os = "linux"))]
fn boot_id() -> io::Result<String> {
    told_by("sysctl", &["-n", "kern.bootsessionuuid"])?
        .ok_or_else(|| io::Error::other("sysctl does not tell the id of this boot"))
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: i32) -> io::Result<Option<String>> {
    told_by("ps", &["-o", "lstart=", "-p", &pid.to_string()])
}

#[cfg(not(target_os = "linux"))]
fn told_by(program: &str, arguments: &[&str]) -> io::Result<Option<String>> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_no_other_is_taken_for_it() {
        let me = ProcessIdentity::current().unwrap();
        assert!(me.is_alive());
        let recycled = ProcessIdentity {
            start_time: "1".into(),
            ..me.clone()
        };
        assert!(
            !recycled.is_alive(),
            "the same id with another start is another process"
        );
        let earlier = ProcessIdentity {
            boot_id: "earlier".into(),
            ..me.clone()
        };
        assert!(
            !earlier.is_alive(),
            "the same id in another boot is another process"
        );
        // Neither is ever signalled: this test would not survive it.
        assert!(!recycled.signal(Signal::KILL).unwrap());
        assert!(!earlier.signal(Signal::KILL).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_container_that_is_started_anew_is_another_boot() {
        let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let first = crate::command::tree::read(1).unwrap().unwrap();
        let id = format!("{}.{}", machine.trim(), first.start_time);
        assert_eq!(ProcessIdentity::current().unwrap().boot_id, id);
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = ProcessIdentity::of(pid).unwrap().unwrap();
        assert!(identity.is_alive());
        assert!(identity.signal(Signal::KILL).unwrap());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while identity.is_alive() {
            assert!(
                std::time::Instant::now() < deadline,
                "it never became a zombie"
            );
            std::thread::yield_now();
        }
        assert!(!identity.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }
}
