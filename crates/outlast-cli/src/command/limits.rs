//! Limits of what a command may use: memory, processor time, processes, output.
//!
//! Memory and processor time are the kernel's own limits, set by the process that becomes the command
//! and inherited by everything it starts; each process has them for itself. Memory is `RLIMIT_DATA`,
//! what a process may write to and shares with nobody, and not `RLIMIT_AS`, which counts addresses:
//! programs that reserve much and use little, as every modern language runtime does, would not even
//! start. Processor time is `RLIMIT_CPU`; the kernel counts it in whole seconds.
//!
//! Processes are counted by the shim, from the process table. `RLIMIT_NPROC` would count every thread
//! of the user on the machine, so that a tool's limit would depend on what else runs there, and holds
//! nobody up who is root, as in most containers. Where a control group limits the machine's share, it
//! holds in addition: commands stay in the server's group.
//!
//! Output is counted by the shim too, as the length of the log.

use std::io;
use std::time::Duration;

use outlast_core::duration;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// SIGXCPU, on all systems named here.
const SIGXCPU: i32 = 24;

const SIGKILL: i32 = 9;

/// What a shell returns for a child that was killed is this and the signal.
const KILLED: i32 = 128;

/// What a command may use. `None` is no limit of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory that each of its processes may write to and shares with no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Seconds of processor time that each of its processes may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<u64>,
    /// Processes that it may have at a time, itself among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Bytes that it may print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
}

impl Limits {
    /// Sets this process's own limits, in the last moment before it becomes the command. A process that
    /// used its time up gets SIGXCPU, and SIGKILL when it still runs `grace` later.
    ///
    /// # Errors
    /// The system refuses: a limit is above the one that the server itself has been given.
    pub(super) fn apply(self, grace: Duration) -> io::Result<()> {
        if let Some(bytes) = self.memory {
            set(Resource::Data, "max_memory", bytes, bytes)?;
        }
        if let Some(seconds) = self.cpu_seconds {
            // The kernel counts whole seconds, and looks at the harder limit first.
            let hard = seconds + grace.as_secs().max(1);
            set(Resource::Cpu, "max_cpu_time", seconds, hard)?;
        }
        Ok(())
    }

    /// Whether a command that ended so had used its processor time up.
    ///
    /// SIGXCPU says it by itself. A shell tells its child's signal as a status of its own, and SIGKILL may
    /// come from anybody: these count only if time was used accordingly. The limit is counted by the
    /// clock's ticks and what was used more exactly, so the two may differ by a lot.
    pub(super) fn cpu_used_up(self, status: Option<i32>, signal: Option<i32>, cpu_ms: u64) -> bool {
        let Some(seconds) = self.cpu_seconds else {
            return false;
        };
        let used = |percent: u64| cpu_ms >= seconds.saturating_mul(10 * percent);
        let by_shell = |by: i32| status == Some(KILLED + by);
        signal == Some(SIGXCPU)
            || (by_shell(SIGXCPU) && used(50))
            || ((signal == Some(SIGKILL) || by_shell(SIGKILL)) && used(95))
    }

    /// A remark on a command that failed under a limit of memory: whether it failed because of that is
    /// known to nobody but itself, since all it saw was an allocation that was refused.
    pub(super) fn memory_remark(self, peak: Option<u64>) -> Option<String> {
        let limit = bytes(self.memory?);
        let held = peak.map_or_else(String::new, |peak| {
            format!(", and the largest held {}", bytes(peak))
        });
        Some(format!(
            "each of its processes may have {limit} of memory{held}"
        ))
    }

    /// What was used up by a command that was stopped for its processor time.
    pub(super) fn cpu_text(self) -> String {
        let seconds = self.cpu_seconds.unwrap_or_default();
        duration::format(Duration::from_secs(seconds))
    }
}

fn set(resource: Resource, key: &str, soft: u64, hard: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    setrlimit(resource, limit).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(
            error.kind(),
            format!("{key} cannot be set, is the server's own limit lower? {error}"),
        )
    })
}

/// A number of bytes for people.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size {
            let tenths = bytes / (size / 10).max(1);
            return if bytes.is_multiple_of(size) || tenths >= 1000 {
                format!("{}{unit}", bytes / size)
            } else {
                format!("{}.{}{unit}", bytes / size, (bytes % size) * 10 / size)
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_was_not_used_up_ended_nothing() {
        let limits = Limits {
            cpu_seconds: Some(10),
            ..Limits::default()
        };
        for (status, signal, cpu_ms, expected) in [
            (None, Some(24), 8_000, true),
            (Some(152), None, 8_000, true),
            (Some(137), None, 12_000, true),
            (None, Some(9), 9_950, true),
            (None, Some(9), 8_000, false),
            (None, Some(9), 5_000, false),
            (Some(152), None, 5, false),
            (Some(1), None, 20_000, false),
        ] {
            let told = limits.cpu_used_up(status, signal, cpu_ms);
            assert_eq!(told, expected, "{status:?} {signal:?} {cpu_ms}");
        }
        assert!(!Limits::default().cpu_used_up(None, Some(24), u64::MAX));
    }

    #[test]
    fn bytes_are_written_as_people_do() {
        for (number, text) in [
            (12, "12 bytes"),
            (1024, "1KiB"),
            (512 << 20, "512MiB"),
            (1_600_000, "1.5MiB"),
            (3 << 30, "3GiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
