//! The processes that use a store, and which of them cannot be alive.
//!
//! A process writes its name, its machine, its process id and its worker into the hash `processes`,
//! renews the entry while it lives, and removes it when it closes the store. A worker of which there is
//! no such entry, or one that was not renewed, cannot be alive; neither can one on this very machine
//! whose process is gone. So a server that is started again after a crash takes back what it ran at
//! once; what ran on another machine comes back when its leases run out. Leases decide who may write;
//! this only decides whom to wait for.

use std::collections::HashMap;
use std::time::Duration;

use outlast_core::event::RescueReason;
use outlast_core::id::WorkerId;
use outlast_core::store::cause_at_start;
use outlast_core::{Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::executor::Executor;
use crate::row;

/// How long an entry holds.
pub(crate) const ALIVE: Duration = Duration::from_secs(30);
/// How often it is renewed.
pub(crate) const RENEW: Duration = Duration::from_secs(5);
/// How long an entry that was not renewed is kept, to tell what became of its process.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// One process.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) struct Process {
    machine: String,
    boot: Option<String>,
    pid: u32,
    /// When the process began, as its machine counts.
    began: Option<u64>,
    pub(crate) worker: Option<WorkerId>,
    until: Timestamp,
}

impl Process {
    /// This process.
    pub(crate) fn this(worker: Option<WorkerId>, now: Timestamp) -> Self {
        let pid = std::process::id();
        Self {
            machine: machine(),
            boot: boot_id(),
            pid,
            began: began(pid),
            worker,
            until: now + ALIVE,
        }
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        if self.until <= now {
            return false;
        }
        if self.machine != machine() {
            return true;
        }
        self.boot == boot_id() && self.began.is_some() && self.began == began(self.pid)
    }

    /// What became of a process that is not alive.
    fn cause(&self) -> RescueReason {
        let here = self.machine == machine();
        cause_at_start(!here || self.boot == boot_id())
    }
}

/// The machine's name; the container's, in a container, for process ids are apart there.
fn machine() -> String {
    let name = rustix::system::uname();
    let namespace = std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{} {namespace}", name.nodename().to_string_lossy())
}

fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// When a process of this machine began; `None` if there is none with this id.
fn began(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, closing brackets too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A process that was killed and not yet waited for runs nothing any more.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// All processes that are known.
#[derive(Default)]
pub(crate) struct Processes(HashMap<String, Process>);

impl Processes {
    /// Why the tasks of a worker can be taken back, if it cannot be alive. The worker of the store
    /// `own` is whoever calls.
    pub(crate) fn death(
        &self,
        worker: WorkerId,
        own: &str,
        now: Timestamp,
    ) -> Option<RescueReason> {
        let mut entries = self.0.iter();
        let entry = entries.find(|(_, process)| process.worker == Some(worker));
        match entry {
            Some((name, _)) if name == own => None,
            Some((_, process)) if process.is_alive(now) => None,
            Some((_, process)) => Some(process.cause()),
            None => Some(RescueReason::Crash),
        }
    }

    /// Whether a worker has ever said which process it is.
    pub(crate) fn knows(&self, worker: WorkerId) -> bool {
        let mut processes = self.0.values();
        processes.any(|process| process.worker == Some(worker))
    }

    /// Whether the store of this name is open somewhere.
    pub(crate) fn is_open(&self, name: &str, now: Timestamp) -> bool {
        self.0
            .get(name)
            .is_some_and(|process| process.is_alive(now))
    }
}

impl Executor {
    /// The processes that use this store.
    pub(crate) async fn processes(&self) -> Result<Processes> {
        let all = redis::cmd("HGETALL").arg(self.link.key("processes")).take();
        let all = row::array(self.link.command(&all).await?);
        let entries = all.chunks_exact(2).filter_map(|pair| {
            // An entry of another version says nothing.
            let process = serde_json::from_slice(row::bytes(&pair[1])).ok()?;
            Some((row::text(&pair[0]), process))
        });
        Ok(Processes(entries.collect()))
    }

    /// Says that this process is alive.
    pub(crate) async fn sign_in(&self, worker: Option<WorkerId>) -> Result<()> {
        let process = Process::this(worker, self.clock.now());
        let entry = row::encode("process", &process)?;
        let key = self.link.key("processes");
        let set = redis::cmd("HSET")
            .arg(key)
            .arg(&self.origin)
            .arg(entry)
            .take();
        self.link.command(&set).await.map(|_| ())
    }

    /// Says that this process is done with the store, and forgets those that are long gone.
    pub(crate) async fn sign_out(&self) -> Result<()> {
        let now = self.clock.now();
        let processes = self.processes().await?.0.into_iter();
        let gone = processes.filter(|(_, process)| process.until + KEPT <= now);
        let mut remove = redis::cmd("HDEL");
        remove.arg(self.link.key("processes")).arg(&self.origin);
        for (name, _) in gone {
            remove.arg(name);
        }
        self.link.command(&remove).await.map(|_| ())
    }
}
