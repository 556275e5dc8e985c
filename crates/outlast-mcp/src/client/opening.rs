//! Opening a session: what is dialled, which era the server is of, and the handshake of that era.
//!
//! The newer era is tried first: `server/discover`, and `initialize` on any answer that is not the
//! newer era's own (2026-07-28 "Backward Compatibility"). What a server was found to be is
//! remembered for the next connection to it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use outlast_core::{Era, RawJson};
use serde::Deserialize;
use serde_json::json;

use super::http::{Http, header_map, is_modern_error};
use super::lines::Lines;
use super::link::{Answer, Link, LinkError, Outgoing};
use super::options::Protocol;
use super::params::Params;
use super::process::Process;
use super::session::{Connection, ServerInfo, Session, in_time};
use super::target::Kind;
use crate::jsonrpc::{self, RpcError, code};
use crate::protocol::Version;
use crate::protocol::names::{META_SERVER_INFO, TASKS_EXTENSION};

/// How long a server that is being asked for its era may be silent before it counts as an older one.
const PROBE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default, rename = "_meta")]
    meta: std::collections::BTreeMap<String, RawJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    server_info: Named,
    #[serde(default)]
    instructions: Option<String>,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    #[serde(default)]
    extensions: std::collections::BTreeMap<String, RawJson>,
    #[serde(default)]
    tasks: Option<LegacyTasks>,
    #[serde(default)]
    logging: Option<RawJson>,
}

#[derive(Deserialize)]
struct LegacyTasks {
    #[serde(default)]
    list: Option<RawJson>,
    #[serde(default)]
    requests: Option<LegacyRequests>,
}

#[derive(Deserialize)]
struct LegacyRequests {
    #[serde(default)]
    tools: Option<LegacyTools>,
}

#[derive(Deserialize)]
struct LegacyTools {
    #[serde(default)]
    call: Option<RawJson>,
}

impl LegacyTasks {
    fn for_tools(&self) -> bool {
        let tools = self
            .requests
            .as_ref()
            .and_then(|requests| requests.tools.as_ref());
        tools.is_some_and(|tools| tools.call.is_some())
    }
}

impl Connection {
    pub(super) async fn open(&self) -> Result<Session, LinkError> {
        let known = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match (self.options.protocol, known) {
            (Protocol::Modern, _) | (Protocol::Auto, Some(Era::Modern)) => {
                let link = self.dial().await?;
                match self.discover(&link, self.options.timeout).await? {
                    Found::Modern(discovered) => modern(link, discovered)?,
                    Found::Older(reason) | Found::Refused(reason) => {
                        return Err(LinkError::Protocol(format!("server/discover: {reason}")));
                    }
                }
            }
            (Protocol::Legacy, _) | (Protocol::Auto, Some(Era::Legacy)) => {
                let link = self.dial().await?;
                let info = self.initialize(&link).await?;
                Session { link, info }
            }
            (Protocol::Auto, None) => self.probe().await?,
        };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.era());
        Ok(session)
    }

    async fn dial(&self) -> Result<Link, LinkError> {
        match &self.target.kind {
            Kind::Http(url) => {
                let headers = header_map(&self.options.headers).map_err(LinkError::Protocol)?;
                let http = Http::new(url, headers, Arc::clone(&self.inbox));
                http.map(Link::Http).map_err(LinkError::Unreachable)
            }
            Kind::Command(line) => {
                let (halves, process) = Process::start(line).map_err(|error| {
                    let program = line.program.to_string_lossy();
                    LinkError::Unreachable(format!("{program:?} cannot be started: {error}"))
                })?;
                Ok(Link::Lines(Lines::start(
                    halves,
                    Some(process),
                    Arc::clone(&self.inbox),
                )))
            }
            Kind::Dial { dial, .. } => {
                let halves = dial()
                    .await
                    .map_err(|error| LinkError::Unreachable(error.to_string()))?;
                Ok(Link::Lines(Lines::start(
                    halves,
                    None,
                    Arc::clone(&self.inbox),
                )))
            }
        }
    }

    /// Finds out which era the server is of, and opens a session of it.
    async fn probe(&self) -> Result<Session, LinkError> {
        let link = self.dial().await?;
        let is_http = matches!(link, Link::Http(_));
        match self.discover(&link, Some(PROBE)).await {
            Ok(Found::Modern(discovered)) if discovered.speaks(Version::LATEST) => {
                return modern(link, discovered);
            }
            Ok(Found::Modern(_) | Found::Older(_)) => {}
            Ok(Found::Refused(reason)) => {
                return Err(LinkError::Protocol(format!("server/discover: {reason}")));
            }
            // A server that ends at a request it does not know has to be started again.
            Err(LinkError::Lost(_)) if !is_http => {
                link.close().await;
                let link = self.dial().await?;
                let info = self.initialize(&link).await?;
                return Ok(Session { link, info });
            }
            Err(
                error @ (LinkError::Unreachable(_)
                | LinkError::Unauthorized(_)
                | LinkError::Forbidden(_)
                | LinkError::Lost(_)),
            ) => return Err(error),
            Err(_) => {}
        }
        match self.initialize(&link).await {
            Ok(info) => Ok(Session { link, info }),
            // It was only slow to answer, and knows by now which era it serves here.
            Err(LinkError::Newer(reason)) => {
                match self.discover(&link, self.options.timeout).await? {
                    Found::Modern(discovered) => modern(link, discovered),
                    Found::Older(_) | Found::Refused(_) => Err(LinkError::Protocol(reason)),
                }
            }
            Err(LinkError::Status {
                status: status @ (404 | 405),
                ..
            }) => Err(LinkError::Protocol(format!(
                "HTTP {status}; is this the address of the endpoint, with its path (often /mcp)?"
            ))),
            Err(other) => Err(other),
        }
    }

    /// Asks a server about itself in the newer era's way.
    async fn discover(&self, link: &Link, patience: Option<Duration>) -> Result<Found, LinkError> {
        if let Link::Http(http) = link {
            http.set_version(Some(Version::LATEST));
        }
        let mut params = Params::default();
        self.modern_meta(&mut params, true);
        Ok(
            match self
                .handshake(link, "server/discover", params, patience)
                .await?
            {
                Ok(result) => match result.to() {
                    Ok(discovered) => Found::Modern(discovered),
                    Err(error) => Found::Older(error.to_string()),
                },
                Err(error) if is_modern_error(&error) && !names_older_version(&error) => {
                    Found::Refused(error.to_string())
                }
                Err(error) => Found::Older(error.to_string()),
            },
        )
    }

    /// Opens a session of the older era on `link`.
    async fn initialize(&self, link: &Link) -> Result<ServerInfo, LinkError> {
        if let Link::Http(http) = link {
            http.set_version(None);
        }
        let params = Params::default()
            .with("protocolVersion", Version::LATEST_LEGACY.as_str())
            .with(
                "capabilities",
                &self.inbox.answerers().capabilities(Era::Legacy),
            )
            .with_raw("clientInfo", self.client_info());
        let answer = self
            .handshake(link, "initialize", params, self.options.timeout)
            .await?;
        let result = answer.map_err(|error| {
            let reason = format!("initialize: {error}");
            if is_modern_error(&error) {
                LinkError::Newer(reason)
            } else {
                LinkError::Protocol(reason)
            }
        })?;
        let read: Initialized = result
            .to()
            .map_err(|error| LinkError::Protocol(format!("initialize: {error}")))?;
        let version = Version::parse(&read.protocol_version)
            .filter(|version| version.era() == Era::Legacy)
            .ok_or_else(|| {
                LinkError::Protocol(format!(
                    "it speaks version {:?}, which this client does not",
                    read.protocol_version
                ))
            })?;
        if let Link::Http(http) = link {
            http.set_version(Some(version));
        }
        link.notify(jsonrpc::notification(
            "notifications/initialized",
            &json!({}),
        ))
        .await?;
        if let Link::Http(http) = link {
            http.listen();
        }
        let tasks = read
            .capabilities
            .tasks
            .filter(|_| version.has_legacy_tasks());
        let info = ServerInfo {
            name: read.server_info.name,
            version: read.server_info.version,
            instructions: read.instructions,
            protocol: version,
            tasks: tasks.as_ref().is_some_and(LegacyTasks::for_tools),
            task_list: tasks.as_ref().is_some_and(|tasks| tasks.list.is_some()),
        };
        if self.inbox.wants_log() && read.capabilities.logging.is_some() {
            let params = Params::default().with("level", &self.options.log_level);
            // Log messages are an extra; a server that refuses the level is still of use.
            let _ = self
                .handshake(link, "logging/setLevel", params, self.options.timeout)
                .await?;
        }
        Ok(info)
    }

    async fn handshake(
        &self,
        link: &Link,
        method: &str,
        params: Params,
        timeout: Option<Duration>,
    ) -> Result<Answer, LinkError> {
        let id = self.next_id();
        let body = jsonrpc::request(&id.to_string(), method, &params.into_json());
        let outgoing = Outgoing {
            id,
            method,
            body,
            name: None,
            headers: &[],
            cancel: false,
        };
        in_time(timeout, link.request(outgoing)).await
    }
}

/// What `server/discover` brought to light.
enum Found {
    /// A server of the newer era.
    Modern(Discovered),
    /// One that begins with a handshake, or is worth the attempt.
    Older(String),
    /// One of the newer era that does not take this client.
    Refused(String),
}

impl Discovered {
    fn speaks(&self, version: Version) -> bool {
        self.supported_versions
            .iter()
            .any(|one| one == version.as_str())
    }
}

fn modern(link: Link, discovered: Discovered) -> Result<Session, LinkError> {
    if !discovered.speaks(Version::LATEST) {
        return Err(LinkError::Protocol(format!(
            "it speaks the versions {}, not {}",
            discovered.supported_versions.join(", "),
            Version::LATEST.as_str()
        )));
    }
    let named: Named = discovered
        .meta
        .get(META_SERVER_INFO)
        .and_then(|info| info.to().ok())
        .unwrap_or_default();
    let info = ServerInfo {
        name: named.name,
        version: named.version,
        instructions: discovered.instructions,
        protocol: Version::LATEST,
        tasks: discovered
            .capabilities
            .extensions
            .contains_key(TASKS_EXTENSION),
        task_list: false,
    };
    Ok(Session { link, info })
}

/// Whether an error of the newer era names a version that begins with a handshake.
fn names_older_version(error: &RpcError) -> bool {
    #[derive(Deserialize)]
    struct Supported {
        supported: Vec<String>,
    }
    let supported = error
        .data
        .as_ref()
        .and_then(|data| data.to::<Supported>().ok());
    error.code == code::UNSUPPORTED_VERSION
        && supported.is_some_and(|data| {
            let mut known = data.supported.iter().filter_map(|one| Version::parse(one));
            known.any(|version| version.era() == Era::Legacy)
        })
}
