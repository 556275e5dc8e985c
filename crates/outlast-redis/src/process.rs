//! The processes that use a store, and which of them cannot be alive.
//!
//! A process writes its name, its machine, its process id and its worker into the hash `processes`,
//! renews the entry while it lives, and removes it when it closes the store. So one that is gone from
//! this machine is known to be dead, and one elsewhere is known to be silent. Leases decide who may
//! write; this only decides whom to wait for, and whose fault it was: [`crate::recover`].
//!
//! Two machines may have one name, and a system may not tell one process of another. So nobody who
//! renews is dead, unless the process table of this very boot says that it ended.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use outlast_core::event::RescueReason;
use outlast_core::id::WorkerId;
use outlast_core::store::cause_at_start;
use outlast_core::{Result, Timestamp};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::executor::Executor;
use crate::row;

/// After how long without renewal a process is silent.
const ALIVE: Duration = Duration::from_secs(15);
/// After how long an entry is renewed.
pub(crate) const RENEW: Duration = Duration::from_secs(5);
/// How long an entry that was not renewed is kept, to tell what became of its process.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A hash of the workers of processes that were buried.
const BURIED: &str = "buried";

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
            began: match look(pid) {
                Seen::Runs { began } => Some(began),
                Seen::Ended | Seen::Hidden => None,
            },
            worker,
            until: now + ALIVE,
        }
    }

    /// Whether it showed a sign of life lately, as far as can be seen from here.
    fn is_alive(&self, now: Timestamp) -> bool {
        self.until > now && !self.is_gone(now)
    }

    fn is_here(&self) -> bool {
        self.machine == machine()
    }

    /// Whether it ran on this machine and cannot run any more.
    fn is_gone(&self, now: Timestamp) -> bool {
        if !self.is_here() {
            return false;
        }
        let silent = self.until <= now;
        if self.boot.is_none() || self.boot != boot_id() || self.began.is_none() {
            // Of an earlier boot, or of a namesake; or nothing is told of processes here.
            return silent;
        }
        match look(self.pid) {
            Seen::Runs { began } => self.began != Some(began),
            Seen::Ended => true,
            Seen::Hidden => silent,
        }
    }

    /// What became of a process that is not alive.
    fn cause(&self) -> RescueReason {
        cause_at_start(!self.is_here() || self.boot == boot_id())
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

/// What a machine says of the process with an id.
enum Seen {
    /// It runs, since this moment as its machine counts.
    Runs { began: u64 },
    /// There is none.
    Ended,
    /// There may be one, of which nothing is told: of another user, or on a system that tells nothing.
    Hidden,
}

fn look(pid: u32) -> Seen {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let signalled = id.map(rustix::process::test_kill_process);
        return match signalled {
            None | Some(Err(Errno::SRCH)) => Seen::Ended,
            Some(_) => Seen::Hidden,
        };
    };
    // The name before it may hold anything, closing brackets too.
    let (_, rest) = text.rsplit_once(')').unwrap_or_default();
    let mut fields = rest.split_whitespace();
    // A process that was killed and not yet waited for runs nothing any more.
    if matches!(fields.next(), Some("Z" | "X")) {
        return Seen::Ended;
    }
    match fields.nth(18).map(str::parse) {
        Some(Ok(began)) => Seen::Runs { began },
        _ => Seen::Hidden,
    }
}

/// All processes that are known.
#[derive(Default)]
pub(crate) struct Processes(HashMap<String, Process>);

impl Processes {
    /// Those that are dead for certain, and why; `own` is whoever asks.
    pub(crate) fn dead(&self, own: &str, now: Timestamp) -> Vec<(String, RescueReason)> {
        let others = self.0.iter().filter(|(name, _)| *name != own);
        let dead = others.filter(|(_, process)| process.is_gone(now));
        dead.map(|(name, process)| (name.clone(), process.cause()))
            .collect()
    }

    /// Those of these workers that show no sign of life, and of which nothing else is known; `own` is
    /// whoever asks.
    pub(crate) fn silent(
        &self,
        workers: &BTreeSet<WorkerId>,
        own: &str,
        now: Timestamp,
    ) -> Vec<(String, RescueReason)> {
        let others = self.0.iter().filter(|(name, _)| *name != own);
        let silent = others.filter(|(_, process)| {
            let asked = process
                .worker
                .is_some_and(|worker| workers.contains(&worker));
            asked && !process.is_here() && process.until <= now
        });
        silent
            .map(|(name, process)| (name.clone(), process.cause()))
            .collect()
    }

    /// Another process that seems to be alive, in words.
    pub(crate) fn another(&self, own: &str, now: Timestamp) -> Option<String> {
        let mut others = self.0.iter().filter(|(name, _)| *name != own);
        let (_, process) = others.find(|(_, process)| process.is_alive(now))?;
        let machine = process.machine.split(' ').next().unwrap_or_default();
        Some(format!("process {} on {machine}", process.pid))
    }

    /// The worker of the process of this name.
    pub(crate) fn worker_of(&self, name: &str) -> Option<WorkerId> {
        self.0.get(name)?.worker
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

    /// The workers of processes that were taken for dead, and may not have been.
    pub(crate) async fn buried(&self) -> Result<BTreeSet<WorkerId>> {
        let all = redis::cmd("HKEYS").arg(self.link.key(BURIED)).take();
        let all = row::array(self.link.command(&all).await?);
        let workers = all.iter().map(|worker| row::text(worker).parse());
        Ok(workers.filter_map(std::result::Result::ok).collect())
    }

    /// Removes what a process has said of itself; `false` if somebody else has. Its worker is remembered, for
    /// the process may come back and claim before it says again who it is.
    pub(crate) async fn remove_entry(&self, name: &str, worker: Option<WorkerId>) -> Result<bool> {
        if let Some(worker) = worker {
            let (key, now) = (self.link.key(BURIED), row::millis(self.clock.now()));
            let note = redis::cmd("HSET")
                .arg(&key)
                .arg(worker.to_string())
                .arg(now)
                .take();
            self.link.command(&note).await?;
            let expire = redis::cmd("PEXPIRE")
                .arg(&key)
                .arg(KEPT.as_millis().to_string())
                .take();
            self.link.command(&expire).await?;
        }
        let remove = redis::cmd("HDEL")
            .arg(self.link.key("processes"))
            .arg(name)
            .take();
        Ok(row::int(&self.link.command(&remove).await?) == 1)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn gone(change: impl FnOnce(&mut Process), now: Timestamp) -> bool {
        let mut process = Process::this(None, NOW);
        change(&mut process);
        process.is_gone(now)
    }

    #[test]
    fn who_renews_is_dead_only_if_this_machine_knows_it() {
        let silent = NOW + ALIVE;
        assert!(!gone(|_| {}, NOW) && !gone(|_| {}, silent));
        // Nobody has that id, or another one has it now.
        assert!(gone(|process| process.pid = u32::MAX, NOW));
        assert!(gone(|process| process.began = Some(1), NOW));
        // A namesake, a machine that was started anew, and a system that tells nothing.
        let doubtful: [fn(&mut Process); 3] = [
            |process| process.boot = Some("another".into()),
            |process| process.boot = None,
            |process| process.began = None,
        ];
        for change in doubtful {
            assert!(!gone(change, NOW), "it renews");
            assert!(gone(change, silent), "it does not");
        }
        assert!(!gone(|process| process.machine = "another".into(), silent));
    }

    #[test]
    fn a_child_that_is_not_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !matches!(look(child.id()), Seen::Ended) {
            assert!(std::time::Instant::now() < deadline, "it never ends");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(matches!(look(std::process::id()), Seen::Runs { .. }));
    }
}
