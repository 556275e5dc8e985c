//! `[server]`: the settings of the server as a whole.
//!
//! Every setting also has a flag and an environment variable, which win over the file; an absent key
//! is therefore `None` and never a default.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use outlast::Icon;
use outlast_engine::{DetachAfter, TaskSupport};

use super::icon;
use super::resolve;
use super::section::Section;
use super::spans::{LONGEST, detach_after, heartbeat, lease, limit, retention, up_to};
use super::tool::{TASK_MODES, tags, worker_labels};

/// The keys of `[server]`.
pub const KEYS: [&str; 36] = [
    "name",
    "title",
    "description",
    "website_url",
    "icon",
    "instructions",
    "listen",
    "store",
    "synchronous",
    "task",
    "retention",
    "detach_after",
    "heartbeat",
    "helpers",
    "include_tags",
    "exclude_tags",
    "concurrency",
    "lease",
    "no_worker_timeout",
    "worker_labels",
    "health",
    "health_metrics",
    "shutdown_grace",
    "idle_exit",
    "allowed_hosts",
    "allowed_origins",
    "mcp_path",
    "public_url",
    "default_tool",
    "max_connections",
    "max_sessions",
    "max_streams",
    "allow_unauthenticated",
    "log_level",
    "log_format",
    "otlp_endpoint",
];

const HELPERS: [(&str, &str); 3] = [("auto", "auto"), ("always", "always"), ("never", "never")];

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
    /// What the server is for, to people.
    pub description: Option<String>,
    /// Where people read about it.
    pub website_url: Option<String>,
    /// A picture of it.
    pub icon: Option<Icon>,
    /// What a model should know about the server as a whole.
    pub instructions: Option<String>,
    /// The address for HTTP, `HOST:PORT`.
    pub listen: Option<String>,
    /// The store: `sqlite:` and an absolute path, or the address of a Redis.
    pub store: Option<String>,
    /// Task support of every tool that does not say otherwise.
    pub task: Option<TaskSupport>,
    /// How long results are kept where a tool does not say otherwise.
    pub retention: Option<Duration>,
    /// When a call that still runs is answered with the id of its task, where a tool does not say
    /// otherwise.
    pub detach_after: Option<DetachAfter>,
    /// How often a call that still runs says so, where a tool does not say otherwise.
    pub heartbeat: Option<Duration>,
    /// Who is offered the helper tools: `auto`, `always` or `never`.
    pub helpers: Option<&'static str>,
    /// Tags of which a tool must have one to be offered.
    pub include_tags: Option<Vec<String>>,
    /// Tags of which a tool must have none to be offered.
    pub exclude_tags: Option<Vec<String>>,
    /// What an acknowledged write survives: `full`, also the loss of power; `normal`, `kill -9`.
    pub synchronous: Option<&'static str>,
    /// How many tasks run at once.
    pub concurrency: Option<usize>,
    /// How long a worker that shares its store may be silent before its tasks are taken from it.
    pub lease: Option<Duration>,
    /// For how long no living worker may run the tool of a ready task, until it fails.
    pub no_worker_timeout: Option<Duration>,
    /// What the process is labelled with as a worker.
    pub worker_labels: Option<Vec<String>>,
    /// Where probes are answered.
    pub health: Option<SocketAddr>,
    /// Whether the figures are given out there too.
    pub health_metrics: Option<bool>,
    /// How long a clean stop waits for running work.
    pub shutdown_grace: Option<Duration>,
    /// After how long without clients and work a server behind standard input and output ends.
    pub idle_exit: Option<Duration>,
    /// Names that the Host header may have besides the loopback ones.
    pub allowed_hosts: Option<Vec<String>>,
    /// Origins that browsers may call from besides the loopback ones.
    pub allowed_origins: Option<Vec<String>>,
    /// The path of MCP over HTTP.
    pub mcp_path: Option<String>,
    /// How people reach the server.
    pub public_url: Option<String>,
    /// The tool that `POST /tasks` calls if the body names none.
    pub default_tool: Option<String>,
    /// How many HTTP connections are open at a time.
    pub max_connections: Option<NonZeroUsize>,
    /// How many MCP sessions are in use at a time.
    pub max_sessions: Option<NonZeroUsize>,
    /// How many MCP streams that only listen are open at a time.
    pub max_streams: Option<NonZeroUsize>,
    /// Whether other machines may reach a server without users.
    pub allow_unauthenticated: Option<bool>,
    /// How much the server itself logs: off, error, warn, info, debug, trace.
    pub log_level: Option<&'static str>,
    /// How it writes that: text, json.
    pub log_format: Option<&'static str>,
    /// The OpenTelemetry collector that traces and metrics are sent to.
    pub otlp_endpoint: Option<outlast::Collector>,
}

impl ServerConfig {
    /// The server's name: by its folder where the file names none, so that two folders do not share a store.
    #[must_use]
    pub fn name_in(&self, folder: &Path) -> String {
        let by_folder = || Some(folder.file_name()?.to_string_lossy().into_owned());
        let name = self.name.clone().or_else(by_folder);
        name.unwrap_or_else(|| "outlast".to_owned())
    }
}

/// Reads `[server]`; an absent table is one without keys.
pub(super) fn read(root: &Section<'_>, folder: &Path) -> ServerConfig {
    let Some((span, table)) = root.table("server") else {
        return ServerConfig::default();
    };
    let section = Section::open("server".to_owned(), span, table, root.problems(), &KEYS);
    ServerConfig {
        name: section.text("name"),
        title: section.text("title"),
        description: section.text("description"),
        website_url: read_website(&section),
        icon: icon::read(&section, folder),
        instructions: section.text("instructions"),
        listen: read_listen(&section, folder),
        store: read_store(&section, folder),
        task: section.choice("task", &TASK_MODES),
        retention: retention(&section),
        detach_after: detach_after(&section),
        heartbeat: heartbeat(&section),
        helpers: section.choice("helpers", &HELPERS),
        include_tags: tags(&section, "include_tags"),
        exclude_tags: tags(&section, "exclude_tags"),
        synchronous: section.choice("synchronous", &[("full", "full"), ("normal", "normal")]),
        concurrency: section
            .count("concurrency", 10_000)
            .and_then(|number| usize::try_from(number).ok()),
        lease: lease(&section),
        no_worker_timeout: limit(&section, "no_worker_timeout"),
        worker_labels: worker_labels(&section, "worker_labels"),
        health: read_health(&section),
        health_metrics: section.boolean("health_metrics"),
        idle_exit: up_to(&section, "idle_exit", LONGEST),
        allowed_hosts: names(&section, "allowed_hosts"),
        allowed_origins: names(&section, "allowed_origins"),
        mcp_path: read_mcp_path(&section),
        public_url: read_public_url(&section),
        default_tool: section.text("default_tool"),
        max_connections: read_number(&section, "max_connections", 1_000_000),
        max_sessions: read_number(&section, "max_sessions", 1_000_000),
        max_streams: read_number(&section, "max_streams", 1_000_000),
        allow_unauthenticated: section.boolean("allow_unauthenticated"),
        log_level: section.choice("log_level", &LOG_LEVELS),
        log_format: section.choice("log_format", &[("text", "text"), ("json", "json")]),
        otlp_endpoint: read_collector(&section),
        shutdown_grace: up_to(&section, "shutdown_grace", Duration::from_secs(24 * 3600)),
    }
}

fn read_listen(section: &Section<'_>, folder: &Path) -> Option<String> {
    let listen = section.text("listen")?;
    let by_name = || {
        let (host, port) = listen.rsplit_once(':')?;
        let plain = !host.is_empty()
            && host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
        (plain && port.parse::<u16>().is_ok()).then_some(())
    };
    if listen
        .strip_prefix("unix:")
        .is_some_and(|path| !path.is_empty())
    {
        let path = resolve(folder, &listen["unix:".len()..]);
        return Some(format!("unix:{}", path.display()));
    }
    if listen.parse::<SocketAddr>().is_err() && by_name().is_none() {
        section.wrong(
            "listen",
            format!(
                "\"{listen}\" is not an address; allowed: HOST:PORT, for example 127.0.0.1:9876, or unix:PATH"
            ),
        );
        return None;
    }
    Some(listen)
}

fn read_collector(section: &Section<'_>) -> Option<outlast::Collector> {
    let read = section.text("otlp_endpoint")?.parse();
    read.map_err(|why: String| section.wrong("otlp_endpoint", why))
        .ok()
}

fn read_store(section: &Section<'_>, folder: &Path) -> Option<String> {
    let store = section.text("store")?;
    if store.contains("://") && store.parse::<outlast::StoreUrl>().is_ok() {
        return Some(store.to_owned());
    }
    match store.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => {
            Some(format!("sqlite:{}", resolve(folder, path).display()))
        }
        _ => {
            section.wrong(
                "store",
                format!(
                    "\"{store}\" is not a store; allowed: sqlite:PATH or redis://HOST, \
                     for example sqlite:outlast.db"
                ),
            );
            None
        }
    }
}

fn read_number(section: &Section<'_>, key: &str, most: u64) -> Option<NonZeroUsize> {
    let number = usize::try_from(section.count(key, most)?).ok()?;
    let number = NonZeroUsize::new(number);
    if number.is_none() {
        section.wrong(key, format!("0 would run nothing; allowed: 1 to {most}"));
    }
    number
}

fn read_health(section: &Section<'_>) -> Option<SocketAddr> {
    let text = section.text("health")?;
    let problem =
        || format!("{text:?} is no address to listen on; write IP:PORT, as 127.0.0.1:9877");
    text.parse()
        .map_err(|_| section.wrong("health", problem()))
        .ok()
}

fn read_mcp_path(section: &Section<'_>) -> Option<String> {
    let path = section.text("mcp_path")?;
    let fits = path.starts_with('/')
        && path.len() > 1
        && !path.ends_with('/')
        && !path.contains("//")
        && path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/-_.~".contains(c));
    if !fits {
        let message = format!("\"{path}\" is not a path for MCP; allowed: one such as /mcp");
        section.wrong("mcp_path", message);
        return None;
    }
    Some(path)
}

fn read_public_url(section: &Section<'_>) -> Option<String> {
    let address = section.text("public_url")?;
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', '@', ' ', '"'])
    });
    if !fits {
        let message = format!(
            "\"{address}\" is not the address of a server; allowed: one such as \
             https://tasks.example.org"
        );
        section.wrong("public_url", message);
        return None;
    }
    Some(address.trim_end_matches('/').to_owned())
}

fn read_website(section: &Section<'_>) -> Option<String> {
    let url = section.text("website_url")?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        let message =
            format!("\"{url}\" is not an address; allowed: one such as https://example.org/tasks");
        section.wrong("website_url", message);
        return None;
    }
    Some(url)
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
