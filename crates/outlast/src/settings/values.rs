//! The values of settings, each with the sentence that says what is allowed.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use outlast_core::duration;
use outlast_core::task::{MAX_RETENTION, MIN_RETENTION};
use outlast_engine::TaskSupport;
use serde::{Deserialize, Deserializer, de};

/// Where to listen: an address for HTTP, `HOST:PORT`, or a socket in the file system, `unix:PATH`.
///
/// Addresses that other machines can reach need users, for whoever reaches a server without them runs
/// its tools. On a socket the user at the other end is known by the kernel, and is the owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen(String);

/// What stands before the path of a socket.
const UNIX: &str = "unix:";

impl Listen {
    /// The address where nothing else is said.
    pub(crate) fn usual() -> Self {
        Self("127.0.0.1:9876".into())
    }

    /// The socket in the file system, if it is one.
    pub(crate) fn unix_path(&self) -> Option<&Path> {
        self.0.strip_prefix(UNIX).map(Path::new)
    }

    /// The socket addresses it stands for; none for a socket in the file system. Other machines may
    /// reach them only if `open`.
    ///
    /// # Errors
    /// The name is unknown, or an address can be reached from other machines; the sentence says so.
    pub(crate) fn resolve(&self, open: bool) -> Result<Vec<SocketAddr>, String> {
        if self.unix_path().is_some() {
            return Ok(Vec::new());
        }
        let found = self.0.to_socket_addrs().map_err(|error| {
            format!("cannot listen on {self}: the name is unknown ({error}); use 127.0.0.1")
        })?;
        let found: Vec<SocketAddr> = found.collect();
        match found.iter().find(|address| !address.ip().is_loopback()) {
            Some(reachable) if !open => Err(format!(
                "will not listen on {reachable}: other machines could reach it and run the tools, and \
                 there are no users; say who may with --auth-tokens FILE (outlast token add makes \
                 tokens) or [auth] in the file, or listen on 127.0.0.1; --allow-unauthenticated \
                 lets everybody in who can reach it"
            )),
            _ => Ok(found),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.strip_prefix(UNIX).is_some_and(|path| !path.is_empty()) {
            return Ok(Self(text.to_owned()));
        }
        let fits = text.parse::<SocketAddr>().is_ok()
            || text.rsplit_once(':').is_some_and(|(host, port)| {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
                !host.is_empty() && host.chars().all(word) && port.parse::<u16>().is_ok()
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not an address; write HOST:PORT, for example 127.0.0.1:9876, or \
                 unix:PATH"
            ))
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of MCP: begins with a slash and does not end with one.
///
/// # Errors
/// It does not fit; the sentence says what is allowed.
pub(super) fn mcp_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    let fits = text.len() > 1
        && text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && !text.split('/').any(|part| matches!(part, "." | ".."))
        && text.chars().all(plain);
    if fits && outlast_http::is_taken(text) {
        Err(format!(
            "{text:?} is a path of the server's own, for REST, the dashboard or health; write another for MCP, \
             such as /mcp"
        ))
    } else if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a path for MCP; write one such as /mcp, without a slash at its end"
        ))
    }
}

/// The same in a file.
pub(super) fn mcp_path_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| mcp_path(&text).map_err(de::Error::custom))
        .transpose()
}

/// The address that people reach the server by, without a slash at its end.
///
/// # Errors
/// It does not fit; the sentence says what is allowed.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let address = text.trim_end_matches('/');
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}?#@".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(plain) => {
            Ok(address.to_owned())
        }
        _ => Err(format!(
            "{text:?} is not the address of a server; write one such as https://tasks.example.org"
        )),
    }
}

/// The same in a file.
pub(super) fn public_url_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| public_url(&text).map_err(de::Error::custom))
        .transpose()
}

/// The address of an OpenTelemetry collector, for OTLP over HTTP: `http://localhost:4318`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Collector(String);

impl Collector {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match public_url(text) {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(format!(
                "{text:?} is not the address of a collector; write one such as http://localhost:4318"
            )),
        }
    }
}

impl TryFrom<String> for Collector {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where tasks are kept: `sqlite:` and the path of a file, for one server, or the address of a Redis,
/// for any number of them.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(StoreAt);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreAt {
    /// A file.
    Sqlite(PathBuf),
    /// An address, perhaps with a password.
    Redis(String),
}

/// The schemes of Redis: a password may stand in such an address.
const REDIS: [&str; 8] = [
    "redis://",
    "rediss://",
    "valkey://",
    "redis+unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
];

impl StoreUrl {
    /// A SQLite file. A relative path is resolved against the current folder when the server starts.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(StoreAt::Sqlite(path.into()))
    }

    /// The address of a Redis as it was written, with its password; `None` for a file.
    pub fn redis(&self) -> Option<&str> {
        match &self.0 {
            StoreAt::Redis(address) => Some(address),
            StoreAt::Sqlite(_) => None,
        }
    }

    pub(crate) fn at(&self) -> &StoreAt {
        &self.0
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if REDIS.iter().any(|scheme| text.starts_with(scheme)) {
            return Ok(Self(StoreAt::Redis(text.into())));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Self::sqlite(path)),
            _ => Err(format!(
                "{text:?} is not a store; write sqlite:PATH or redis://HOST, for example \
                 sqlite:outlast.db"
            )),
        }
    }
}

/// Without what stands before the host, which may be a password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            StoreAt::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            StoreAt::Redis(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
                let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                let rest = rest.split_once('?').map_or(rest, |(host, _)| host);
                write!(f, "{scheme}://{rest}")
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a server speaks on standard input and output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StdioMode {
    /// By way of the one server of the store, which is started if it does not run. The client may
    /// end this process whenever it likes: the work goes on.
    Bridge,
    /// In this process. Tasks pause when the client leaves and go on at the next start.
    Inline,
}

impl FromStr for StdioMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "inline" => Ok(Self::Inline),
            _ => Err(format!(
                "{text:?} is not a way to use stdio; write bridge or inline"
            )),
        }
    }
}

/// What an acknowledged write has survived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synchronous {
    /// `kill -9` and the loss of power: each commit waits for the disk.
    Full,
    /// `kill -9`. A loss of power may take the last moments with it, and damages nothing.
    Normal,
}

impl FromStr for Synchronous {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "normal" => Ok(Self::Normal),
            _ => Err(format!("{text:?} is not a promise; write full or normal")),
        }
    }
}

/// How much the server itself says on standard error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "the words explain themselves")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => {
                return Err(format!(
                    "{text:?} is not a level; write off, error, warn, info, debug or trace"
                ));
            }
        })
    }
}

/// How the server writes its own log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// An object a line, with `timestamp`, `level`, `target`, `message` and the fields of what is told: `task`,
    /// `tool`, `attempt`. What a handler says itself through `tracing` has them in `span`.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is not a format; write text or json")),
        }
    }
}

macro_rules! read_from_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

read_from_text!(
    Listen,
    StoreUrl,
    StdioMode,
    Synchronous,
    LogFormat,
    LogLevel
);

/// Reads whether tools run as tasks.
pub(super) fn task_support(text: &str) -> Result<TaskSupport, String> {
    match text {
        "forbidden" => Ok(TaskSupport::Forbidden),
        "optional" => Ok(TaskSupport::Optional),
        "required" => Ok(TaskSupport::Required),
        _ => Err(format!(
            "{text:?} is not a mode; write forbidden, optional or required"
        )),
    }
}

/// Reads a time from a file.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| duration::parse(&text).map_err(de::Error::custom))
        .transpose()
}

/// Reads how often a call that still runs says so.
pub(super) fn heartbeat(text: &str) -> Result<Duration, String> {
    outlast_engine::heartbeat(duration::parse(text)?)
}

/// [`heartbeat`], in a file.
pub(super) fn heartbeat_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| heartbeat(&text).map_err(de::Error::custom))
        .transpose()
}

/// Reads how long a worker may be silent.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    outlast_engine::lease(duration::parse(text)?)
}

/// [`lease`], in a file.
pub(super) fn lease_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| lease(&text).map_err(de::Error::custom))
        .transpose()
}

/// Reads labels of a worker in a file.
pub(super) fn worker_labels_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let labels: Option<Vec<String>> = Option::deserialize(from)?;
    let read = |labels: Vec<String>| {
        let labels = labels
            .iter()
            .map(|label| outlast_engine::worker_label(label));
        labels.collect::<Result<_, _>>().map_err(de::Error::custom)
    };
    labels.map(read).transpose()
}

/// Reads how long finished tasks are kept.
pub(super) fn retention(text: &str) -> Result<Duration, String> {
    let retention = duration::parse(text)?;
    if retention > MAX_RETENTION {
        return Err(format!(
            "{text:?} is too long; finished tasks are kept for at most 30 days"
        ));
    }
    if retention < MIN_RETENTION {
        return Err(format!(
            "{text:?} is too short: nobody could fetch a result; finished tasks are kept for at least 1s"
        ));
    }
    Ok(retention)
}

/// [`retention`], in a file.
pub(super) fn retention_in_file<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| retention(&text).map_err(de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_users_only_this_machine_is_listened_to() {
        let resolve = |text: &str| text.parse::<Listen>().unwrap().resolve(false);
        assert_eq!(resolve("127.0.0.1:80").unwrap().len(), 1);
        assert!(resolve("[::1]:80").is_ok());
        for open in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
            assert!(open.parse::<Listen>().unwrap().resolve(true).is_ok());
            let error = resolve(open).unwrap_err();
            assert!(error.contains("there are no users"), "{open}: {error}");
        }
    }
}
