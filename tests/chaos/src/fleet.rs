//! The processes, and what is done to them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use outlast_processes::{Random, Redis, Server, Signal, binary};

/// Seconds, so that some pauses are longer and some shorter.
const LEASE: &str = "2s";
/// How many tasks a process runs at a time.
const CONCURRENCY: &str = "4";

/// Keys that stay, as docs/scaling.md has them.
const LASTING: [&str; 19] = [
    "all",
    "clock",
    "controls",
    "counts",
    "due",
    "groups",
    "held",
    "meta",
    "owners",
    "paces",
    "paused",
    "processes",
    "rates",
    "rules",
    "schedules",
    "sequence",
    "usual",
    "waiting",
    "workers",
];
/// What families of them begin with.
const LASTING_FAMILIES: [&str; 4] = ["kids:", "own:", "p:", "x:"];

/// What has been done so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    kills: usize,
    stops: usize,
    pauses: usize,
    redis_kills: usize,
    redis_pauses: usize,
}

impl Done {
    pub(crate) fn total(&self) -> usize {
        self.kills + self.stops + self.pauses + self.redis_kills + self.redis_pauses
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            stops,
            pauses,
            redis_kills,
            redis_pauses,
        } = self;
        write!(
            f,
            "{kills} processes killed, {stops} stopped cleanly, {pauses} paused; Redis killed \
             {redis_kills} times, paused {redis_pauses} times"
        )
    }
}

/// A Redis, and servers and workers on it.
pub(crate) struct Fleet {
    redis: Redis,
    servers: usize,
    /// The servers first.
    processes: Vec<Server>,
    /// Those that were told to stop and have not been started again.
    stopping: BTreeSet<usize>,
    done: Done,
}

impl Fleet {
    pub(crate) fn start(folder: &Path, servers: usize, workers: usize) -> Self {
        let redis = Redis::new();
        let address = redis.address("chaos");
        let mut processes = Vec::new();
        for number in 0..servers + workers {
            let folder = folder.join(format!("process-{number}"));
            std::fs::create_dir(&folder).expect("a folder");
            let mut arguments = vec!["--store", &address, "--lease", LEASE];
            arguments.extend(["--concurrency", CONCURRENCY, "--shutdown-grace", "200ms"]);
            arguments.extend(["--log-level", "warn"]);
            if number < servers {
                arguments.extend(["--listen", "127.0.0.1:{port}"]);
            } else {
                arguments.push("--worker");
            }
            let mut process = Server::new(&binary("conformance-server"), &arguments, &folder);
            process.launch();
            processes.push(process);
        }
        Self {
            redis,
            servers,
            processes,
            stopping: BTreeSet::new(),
            done: Done::default(),
        }
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        let servers = self.processes[..self.servers].iter();
        servers.map(Server::port).collect()
    }

    pub(crate) fn done(&self) -> Done {
        self.done
    }

    /// Waits a little and does one thing to one process, or to Redis.
    pub(crate) fn disturb(&mut self, random: &mut Random) {
        pause(100 + random.below(500));
        self.revive();
        let (what, whom) = (random.below(100), random.below(self.processes.len() as u64));
        let whom = usize::try_from(whom).expect("an index");
        let process = &mut self.processes[whom];
        match what {
            0..40 => {
                process.kill();
                self.done.kills += 1;
                pause(random.below(300));
                process.launch();
                self.stopping.remove(&whom);
            }
            40..60 => {
                process.tell(Signal::Term);
                self.stopping.insert(whom);
                self.done.stops += 1;
            }
            60..80 => {
                process.tell(Signal::Stop);
                self.done.pauses += 1;
                // Half of them are longer than a lease.
                pause(random.below(4_000));
                process.tell(Signal::Continue);
            }
            80..90 => {
                self.redis.kill();
                self.done.redis_kills += 1;
                pause(random.below(500));
                self.redis.restart_killed();
            }
            _ => {
                self.redis.tell(Signal::Stop);
                self.done.redis_pauses += 1;
                pause(random.below(4_000));
                self.redis.tell(Signal::Continue);
            }
        }
    }

    /// Starts again whatever has ended.
    fn revive(&mut self) {
        for (number, process) in self.processes.iter_mut().enumerate() {
            if process.ended().is_some() {
                process.launch();
                self.stopping.remove(&number);
            }
        }
    }

    /// Lets everything run, and waits until nothing ends any more.
    pub(crate) fn heal(&mut self) {
        // One that is about to end still listens.
        outlast_processes::eventually("the end of all that were told to stop", || {
            self.revive();
            self.stopping.is_empty().then_some(())
        });
        for server in 0..self.servers {
            self.revive();
            let port = self.processes[server].port();
            outlast_processes::eventually("a server that listens", || {
                self.revive();
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
        self.revive();
    }

    /// Keys that never expire, and stand in no document.
    pub(crate) fn check_keys(&self) -> Vec<String> {
        let keys = self.redis.lasting_keys();
        let strange = keys.iter().filter(|key| {
            let name = key.strip_prefix("{chaos}:").unwrap_or(key);
            let family = |prefix: &str| name.starts_with(prefix);
            !LASTING.contains(&name) && !LASTING_FAMILIES.iter().any(|prefix| family(prefix))
        });
        strange
            .map(|key| format!("the key {key} never expires, and is not documented"))
            .collect()
    }

    /// What the processes have said.
    pub(crate) fn logs(&self) -> String {
        self.processes.iter().map(Server::log).collect()
    }
}

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
