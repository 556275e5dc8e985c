//! Finding a server's era, and keeping a session with it over lost connections.
//!
//! A request that changes nothing when it is repeated is repeated, with pauses, until the patience
//! ends. Any other is sent once; only where the server has provably not taken it up (it says that it
//! does not know the session) is it sent to the next session.
//!
//! The newer era is tried first: `server/discover`, and `initialize` on any answer that is not the
//! newer era's own (2026-07-28 "Backward Compatibility"). What a server was found to be is
//! remembered for the next connection to it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outlast_core::{Era, RawJson};
use serde::Deserialize;
use serde_json::json;

use super::backoff::Backoff;
use super::error::ClientError;
use super::http::{Http, header_map, is_modern_error};
use super::inbox::Inbox;
use super::lines::Lines;
use super::link::{Answer, Link, LinkError, Outgoing};
use super::options::{Options, Protocol};
use super::params::{Params, json as raw};
use super::process::Process;
use super::target::{Kind, Target};
use crate::jsonrpc::{self, RpcError, code};
use crate::protocol::Version;
use crate::protocol::names::{
    META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_SERVER_INFO, META_VERSION, TASKS_EXTENSION,
};

/// How long a server that is being asked for its era may be silent before it counts as an older one.
const PROBE: Duration = Duration::from_secs(10);

/// What a server said about itself.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it wants to be used.
    pub instructions: Option<String>,
    /// The version of the protocol that is spoken with it.
    pub protocol: Version,
    /// Whether tools can be called as tasks.
    pub tasks: bool,
    /// Whether tasks can be listed.
    pub task_list: bool,
}

/// A settled connection.
pub(super) struct Session {
    pub(super) link: Link,
    pub(super) info: ServerInfo,
}

impl Session {
    pub(super) fn era(&self) -> Era {
        self.info.protocol.era()
    }
}

/// A request as its caller means it.
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) params: Params,
    /// What it is about.
    pub(super) name: Option<String>,
    /// Arguments repeated in headers.
    pub(super) headers: Vec<(String, String)>,
    /// Whether it may be sent twice.
    pub(super) repeat: bool,
    /// Whether the server is told when the caller stops waiting.
    pub(super) cancel: bool,
    /// How long one attempt may take.
    pub(super) timeout: Option<Duration>,
    /// Whether tasks are welcome as an answer, and spoken of.
    pub(super) tasks: bool,
}

impl Ask {
    /// A request that may be repeated and is answered soon.
    pub(super) fn quick(method: &str, params: Params) -> Self {
        Self {
            method: method.to_owned(),
            params,
            name: None,
            headers: Vec::new(),
            repeat: true,
            cancel: true,
            timeout: None,
            tasks: true,
        }
    }

    /// About this.
    pub(super) fn about(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

/// The way to one server.
pub(super) struct Connection {
    target: Target,
    options: Options,
    pub(super) inbox: Arc<Inbox>,
    ids: AtomicI64,
    current: tokio::sync::Mutex<Option<Arc<Session>>>,
    found: Mutex<Option<Era>>,
}

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
    pub(super) fn new(target: Target, options: Options) -> Self {
        let inbox = Arc::new(Inbox::new(options.answerers.clone(), options.log.clone()));
        Self {
            target,
            options,
            inbox,
            ids: AtomicI64::new(1),
            current: tokio::sync::Mutex::new(None),
            found: Mutex::new(None),
        }
    }

    /// A number nobody else has here: for ids and progress tokens.
    pub(super) fn next_id(&self) -> i64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The session, opened if there is none.
    ///
    /// # Errors
    /// The server cannot be reached or does not speak the protocol.
    pub(super) async fn session(&self) -> Result<Arc<Session>, LinkError> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current {
            match session.link.closed() {
                None => return Ok(Arc::clone(session)),
                Some(reason) if !self.target.can_be_reached_again() => {
                    return Err(LinkError::Unreachable(reason));
                }
                Some(_) => {}
            }
        }
        let session = Arc::new(self.open().await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Sends a request and waits for its answer, over as many sessions as it takes.
    ///
    /// # Errors
    /// As [`ClientError`] tells them apart.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<RawJson, ClientError> {
        self.answer(ask)
            .await?
            .map_err(|error| ClientError::Refused {
                method: ask.method.clone(),
                error,
            })
    }

    /// As [`Connection::ask`], with the refusal as a value.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn answer(&self, ask: &Ask) -> Result<Answer, ClientError> {
        let mut backoff = Backoff::new(self.options.patience);
        let mut renewed = false;
        loop {
            let (sent, outcome) = match self.session().await {
                Ok(session) => {
                    let outcome = self.attempt(&session, ask).await;
                    if matches!(outcome, Err(LinkError::SessionGone)) {
                        self.forget(&session).await;
                    }
                    (true, outcome)
                }
                Err(error) => (false, Err(error)),
            };
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(LinkError::SessionGone) if !renewed => {
                    renewed = true;
                    continue;
                }
                Err(error) => error,
            };
            let again = ask.repeat && self.target.can_be_reached_again() && passes(&error);
            if !again || !backoff.pause().await {
                return Err(self.error(&ask.method, error, sent));
            }
            tracing::debug!(method = ask.method, ?error, "asking again");
        }
    }

    async fn attempt(&self, session: &Session, ask: &Ask) -> Result<Answer, LinkError> {
        let mut params = ask.params.clone();
        if session.era() == Era::Modern {
            self.modern_meta(&mut params, ask.tasks);
        }
        let id = self.next_id();
        let outgoing = Outgoing {
            id,
            method: &ask.method,
            body: jsonrpc::request(&id.to_string(), &ask.method, &params.into_json()),
            name: ask.name.as_deref(),
            headers: &ask.headers,
            cancel: ask.cancel,
        };
        in_time(ask.timeout, session.link.request(outgoing)).await
    }

    /// Tells a session of the older era, if there is one; the next one asks anew anyway.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn tell(&self, method: &str) -> Result<(), ClientError> {
        let session = self.current.lock().await.clone();
        let Some(session) = session.filter(|session| session.era() == Era::Legacy) else {
            return Ok(());
        };
        let told = session
            .link
            .notify(jsonrpc::notification(method, &json!({})));
        told.await.map_err(|error| self.error(method, error, true))
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, session))
        {
            *current = None;
        }
    }

    /// What a request of the newer era says about itself.
    fn modern_meta(&self, params: &mut Params, tasks: bool) {
        params.set_meta(META_VERSION, raw(Version::LATEST.as_str()));
        params.set_meta(META_CLIENT_INFO, self.client_info());
        let mut capabilities = self.inbox.answerers().capabilities(Era::Modern);
        if tasks {
            capabilities["extensions"] = json!({TASKS_EXTENSION: {}});
        }
        params.set_meta(META_CLIENT_CAPABILITIES, capabilities.into());
        if self.inbox.wants_log() {
            params.set_meta(
                "io.modelcontextprotocol/logLevel",
                raw(&self.options.log_level),
            );
        }
    }

    fn client_info(&self) -> RawJson {
        json!({"name": self.options.name, "version": self.options.version}).into()
    }

    // ---- opening -------------------------------------------------------------------------------

    async fn open(&self) -> Result<Session, LinkError> {
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

    /// Ends the session.
    pub(super) async fn close(&self) {
        let session = self.current.lock().await.take();
        if let Some(session) = session {
            session.link.close().await;
        }
    }

    /// The error for the caller. `sent` is whether the request may have left.
    pub(super) fn error(&self, method: &str, error: LinkError, sent: bool) -> ClientError {
        let target = self.target.to_string();
        match error {
            LinkError::Unreachable(reason) => ClientError::Connect { target, reason },
            LinkError::Lost(reason) if sent => ClientError::Lost {
                target,
                method: method.to_owned(),
                reason,
            },
            LinkError::Lost(reason) => ClientError::Connect { target, reason },
            LinkError::Timeout if sent => ClientError::Lost {
                target,
                method: method.to_owned(),
                reason: "no answer in time".to_owned(),
            },
            LinkError::Timeout => ClientError::Connect {
                target,
                reason: "no answer in time".to_owned(),
            },
            LinkError::SessionGone => ClientError::Connect {
                target,
                reason: "the server ends every session at once".into(),
            },
            LinkError::Unauthorized(status) => ClientError::Unauthorized { target, status },
            LinkError::Status { status, body } if body.is_empty() => ClientError::Protocol {
                target,
                reason: format!("HTTP {status}"),
            },
            LinkError::Status { status, body } => ClientError::Protocol {
                target,
                reason: format!("HTTP {status}: {body}"),
            },
            LinkError::Newer(reason) | LinkError::Protocol(reason) => {
                ClientError::Protocol { target, reason }
            }
        }
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

/// Whether waiting a while may help.
fn passes(error: &LinkError) -> bool {
    match error {
        LinkError::Unreachable(_)
        | LinkError::Lost(_)
        | LinkError::Timeout
        | LinkError::SessionGone => true,
        LinkError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
        LinkError::Unauthorized(_) | LinkError::Newer(_) | LinkError::Protocol(_) => false,
    }
}

async fn in_time(
    limit: Option<Duration>,
    request: impl Future<Output = Result<Answer, LinkError>>,
) -> Result<Answer, LinkError> {
    match limit {
        None => request.await,
        Some(limit) => tokio::time::timeout(limit, request)
            .await
            .unwrap_or(Err(LinkError::Timeout)),
    }
}
