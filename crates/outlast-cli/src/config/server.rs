//! `[server]`: the settings of the server as a whole.
//!
//! Every setting also has a flag and an environment variable, which win over the file; an absent key
//! is therefore `None` and never a default.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use outlast_engine::TaskSupport;

use super::resolve;
use super::section::Section;
use super::tool::{LONGEST, TASK_MODES, up_to};

pub(super) const KEYS: [&str; 14] = [
    "name",
    "title",
    "instructions",
    "listen",
    "store",
    "synchronous",
    "task",
    "retention",
    "concurrency",
    "shutdown_grace",
    "idle_exit",
    "allowed_hosts",
    "allowed_origins",
    "log_level",
];

const LOG_LEVELS: [(&str, &str); 6] = [
    ("off", "off"),
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];

/// The settings in `[server]`; `None` where the file says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServerConfig {
    /// The server's name, as clients see it and as its store remembers it.
    pub name: Option<String>,
    /// A name for people.
    pub title: Option<String>,
    /// What a model should know about the server as a whole.
    pub instructions: Option<String>,
    /// The address for HTTP, `HOST:PORT`.
    pub listen: Option<String>,
    /// The store, `sqlite:` and an absolute path.
    pub store: Option<String>,
    /// Task support of every tool that does not say otherwise.
    pub task: Option<TaskSupport>,
    /// How long results are kept where a tool does not say otherwise.
    pub retention: Option<Duration>,
    /// What an acknowledged write survives: `full`, also the loss of power; `normal`, `kill -9`.
    pub synchronous: Option<&'static str>,
    /// How many tasks run at once.
    pub concurrency: Option<NonZeroUsize>,
    /// How long a clean stop waits for running work.
    pub shutdown_grace: Option<Duration>,
    /// After how long without clients and work a server behind standard input and output ends.
    pub idle_exit: Option<Duration>,
    /// Names that the Host header may have besides the loopback ones.
    pub allowed_hosts: Option<Vec<String>>,
    /// Origins that browsers may call from besides the loopback ones.
    pub allowed_origins: Option<Vec<String>>,
    /// How much the server itself logs: off, error, warn, info, debug, trace.
    pub log_level: Option<&'static str>,
}

/// Reads `[server]`; an absent table is one without keys.
pub(super) fn read(root: &Section<'_>, folder: &Path) -> ServerConfig {
    let Some((span, table)) = root.table("server") else {
        return ServerConfig::default();
    };
    let section = Section::open(
        "server".to_owned(),
        span,
        table,
        root.problems(),
        &KEYS,
        &[],
    );
    ServerConfig {
        name: section.text("name"),
        title: section.text("title"),
        instructions: section.text("instructions"),
        listen: read_listen(&section),
        store: read_store(&section, folder),
        task: section.choice("task", &TASK_MODES),
        retention: up_to(&section, "retention", LONGEST),
        synchronous: section.choice("synchronous", &[("full", "full"), ("normal", "normal")]),
        concurrency: read_concurrency(&section),
        idle_exit: up_to(&section, "idle_exit", LONGEST),
        allowed_hosts: names(&section, "allowed_hosts"),
        allowed_origins: names(&section, "allowed_origins"),
        log_level: section.choice("log_level", &LOG_LEVELS),
        shutdown_grace: up_to(&section, "shutdown_grace", Duration::from_secs(24 * 3600)),
    }
}

fn read_listen(section: &Section<'_>) -> Option<String> {
    let listen = section.text("listen")?;
    let by_name = || {
        let (host, port) = listen.rsplit_once(':')?;
        let plain = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        (plain && port.parse::<u16>().is_ok()).then_some(())
    };
    if listen.parse::<SocketAddr>().is_err() && by_name().is_none() {
        section.wrong(
            "listen",
            format!(
                "\"{listen}\" is not an address; allowed: HOST:PORT, for example 127.0.0.1:9876"
            ),
        );
        return None;
    }
    Some(listen)
}

fn read_store(section: &Section<'_>, folder: &Path) -> Option<String> {
    let store = section.text("store")?;
    match store.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => {
            Some(format!("sqlite:{}", resolve(folder, path).display()))
        }
        _ => {
            section.wrong(
                "store",
                format!(
                    "\"{store}\" is not a store; allowed: sqlite:PATH, for example \
                         sqlite:outlast.db"
                ),
            );
            None
        }
    }
}

fn read_concurrency(section: &Section<'_>) -> Option<NonZeroUsize> {
    let number = usize::try_from(section.count("concurrency", 10_000)?).ok()?;
    let number = NonZeroUsize::new(number);
    if number.is_none() {
        section.wrong("concurrency", "0 would run nothing; allowed: 1 to 10000");
    }
    number
}

fn names(section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let names: Vec<String> = section
        .strings(key)?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    if names.iter().any(|name| name.trim().is_empty()) {
        section.wrong(key, "an empty name in the list");
    }
    Some(names)
}
