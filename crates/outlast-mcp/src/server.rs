//! The server: what all transports and methods share.
//!
//! Everything here is made once at the start; a request borrows it. Both eras are served by the same
//! value at the same time.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{Owner, RawJson, Side, Store};
use outlast_engine::{DetachAfter, Handle};
use tokio_util::sync::CancellationToken;

use crate::bounds::{Bound, Full, Open, Room};
use crate::helpers::Helpers;
use crate::offer::{Catalog, Snapshot};
use crate::protocol::Version;
use crate::protocol::names::META_SERVER_INFO;
use crate::requests::Requests;
use crate::retries::Retries;
use crate::seal::{Purpose, Sealer};
use crate::session::{self, Couriers, Followed, Instance, LatestClient, Registry};
use crate::wire::{self, Object};

/// How many entries a page of a list has, where nothing else is set.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// The longest message that is read, where nothing else is set: 4 MiB.
pub const DEFAULT_MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// How many sessions, and how many streams, are open at a time, where nothing else is set.
pub const DEFAULT_OPEN: usize = 10_000;

/// How often a call that still runs says so, where nothing else is set: 5 s.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(5);

/// What can be set about a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, for programs.
    pub name: String,
    /// The server's name, for people.
    pub title: Option<String>,
    /// What the server is for.
    pub description: Option<String>,
    /// The server's own version.
    pub version: String,
    /// Where people read about the server.
    pub website_url: Option<String>,
    /// The protocol's `icons` of the server, an array.
    pub icons: Option<RawJson>,
    /// What a model should know about the server as a whole.
    pub instructions: Option<String>,
    /// How many entries a page of any list has; at least 1.
    pub page_size: usize,
    /// The longest message, in bytes.
    pub message_limit: usize,
    /// When a call that still runs is answered with the id of its task, where neither the tool nor the
    /// caller says otherwise.
    pub detach_after: DetachAfter,
    /// How often a call that still runs says so, where its tool does not say otherwise; not zero.
    pub heartbeat: Duration,
    /// To whom the helper tools are offered.
    pub helpers: Helpers,
    /// How many sessions of 2025-11-25 and before are in use at a time: with an open stream, or with a
    /// request under way. Others cost nothing, because a session is its id.
    pub max_sessions: usize,
    /// How many of them one owner may have.
    pub max_sessions_per_owner: usize,
    /// How many streams that only listen are open at a time: `GET`, and `subscriptions/listen`.
    pub max_streams: usize,
    /// How many of them one owner may have.
    pub max_streams_per_owner: usize,
    /// Names that `Host` may have besides the loopback ones, each with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Whether `Host` may be any address in digits. A page that rebinds a name cannot send one, so this
    /// is safe where requests are authenticated, and needed where a server is reached by address.
    pub allow_address_hosts: bool,
    /// Origins that may call besides the loopback ones, as `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// Whether other servers serve the same store, for the same clients: then they tell each other in it
    /// which of them asks a client, and what came to one of them that another one waits for.
    pub shared: bool,
}

impl Config {
    /// The defaults for a server with this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: None,
            version: version.into(),
            website_url: None,
            icons: None,
            instructions: None,
            page_size: DEFAULT_PAGE_SIZE,
            message_limit: DEFAULT_MESSAGE_LIMIT,
            detach_after: DetachAfter::default(),
            heartbeat: DEFAULT_HEARTBEAT,
            helpers: Helpers::default(),
            max_sessions: DEFAULT_OPEN,
            max_sessions_per_owner: DEFAULT_OPEN,
            max_streams: DEFAULT_OPEN,
            max_streams_per_owner: DEFAULT_OPEN,
            allowed_hosts: Vec::new(),
            allow_address_hosts: false,
            allowed_origins: Vec::new(),
            shared: false,
        }
    }
}

/// An MCP server over an engine. Cheap to clone.
#[derive(Clone)]
pub struct Server(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) handle: Handle,
    pub(crate) config: Config,
    /// What is offered; a request takes one snapshot of it.
    pub(crate) catalog: Catalog,
    pub(crate) sealer: Sealer,
    /// Where keys and sessions are recorded.
    store: Arc<dyn Store>,
    pub(crate) sessions: Registry,
    /// The streams that only listen.
    pub(crate) streams: Arc<Open>,
    pub(crate) latest_client: LatestClient,
    pub(crate) couriers: Couriers,
    /// The tasks that somebody has subscribed to as resources.
    pub(crate) followed: Followed,
    /// How many requests came.
    pub(crate) requests: Requests,
    pub(crate) retries: Retries,
    /// This server among those of its store.
    pub(crate) instance: Instance,
    /// The `Implementation` object of this server, as the newer era has it.
    pub(crate) info: RawJson,
    /// The members of `_meta` of every response of the newer era.
    pub(crate) meta: RawJson,
    /// No new requests; those that wait end.
    pub(crate) stopping: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whatever only waits for something to happen ends with the server.
        self.stopping.cancel();
    }
}

impl Inner {
    pub(crate) fn seal_cursor(&self, position: u64) -> String {
        self.sealer.seal(Purpose::Cursor, &position.to_be_bytes())
    }

    pub(crate) fn open_cursor(&self, text: &str) -> Option<u64> {
        let plain = self.sealer.open(Purpose::Cursor, text)?;
        plain.try_into().ok().map(u64::from_be_bytes)
    }

    /// What is offered now.
    pub(crate) fn offer(&self) -> Arc<Snapshot> {
        self.catalog.current()
    }

    /// The same, shared.
    pub(crate) fn store(&self) -> Arc<dyn Side> {
        Arc::clone(&self.store) as Arc<dyn Side>
    }

    /// Where keys and sessions are recorded.
    pub(crate) fn side(&self) -> &dyn Side {
        &*self.store
    }
}

impl Server {
    /// Counts a stream that only listens, of whatever protocol it is: the bounds of [`Config::max_streams`]
    /// and [`Config::max_streams_per_owner`] are for all of them together.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn stream_room(&self, owner: &Owner) -> Result<Room, Full> {
        self.0.streams.enter(owner)
    }

    /// A server for the tools of the engine behind `handle`, and nothing else.
    ///
    /// # Errors
    /// The store that keeps the sealing keys failed; or a tool has the name of a helper tool.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn new(handle: Handle, config: Config) -> outlast_core::Result<Self> {
        let catalog = Catalog::of(handle.tools());
        Self::with_catalog(handle, catalog, config).await
    }

    /// A server for what `catalog` offers; the engine behind `handle` runs its tools from here on.
    /// One catalogue belongs to one server.
    ///
    /// # Errors
    /// The store that keeps the sealing keys failed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn with_catalog(
        handle: Handle,
        catalog: Catalog,
        config: Config,
    ) -> outlast_core::Result<Self> {
        let store = handle.side();
        let sealer = Sealer::load(&*store).await?;
        let info = object(|info| wire::implementation(info, &config, Version::LATEST));
        let meta = object(|meta| {
            meta.raw(META_SERVER_INFO, info.as_str());
        });
        config
            .helpers
            .check(&catalog.tools())
            .map_err(outlast_core::Error::Invalid)?;
        catalog.attach(&handle, &config);
        let sessions = Registry::new(Bound {
            all: config.max_sessions,
            of_one: config.max_sessions_per_owner,
        });
        let streams = Open::new(Bound {
            all: config.max_streams,
            of_one: config.max_streams_per_owner,
        });
        let inner = Arc::new(Inner {
            handle,
            config,
            catalog,
            sealer,
            store,
            sessions,
            streams,
            latest_client: LatestClient::default(),
            couriers: Couriers::default(),
            followed: Followed::default(),
            requests: Requests::default(),
            retries: Retries::default(),
            instance: Instance::new(),
            info,
            meta,
            stopping: CancellationToken::new(),
        });
        if inner.config.shared {
            let now = inner.handle.now();
            inner.instance.sign(inner.side(), now).await?;
        }
        tokio::spawn(session::cry(&inner));
        tokio::spawn(session::sweep(&inner));
        let completed = inner.handle.completed_urls();
        tokio::spawn(session::tell_completed_urls(
            Arc::downgrade(&inner),
            completed,
        ));
        let changes = inner.handle.changes();
        tokio::spawn(session::notice_tasks(Arc::downgrade(&inner), changes));
        Ok(Self(inner))
    }

    /// What is offered, and how it is changed.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// Ends every wait: blocked requests are answered, streams are closed. Tasks go on.
    pub fn stop(&self) {
        self.0.stopping.cancel();
        self.0.sessions.close_streams();
    }

    /// Resolves once [`Server::stop`] was called: when everything that only waits is to end. That is after
    /// the grace that a clean stop gives to tasks, so that whoever watches sees them end.
    pub async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    /// Seals what a browser keeps for its user, under the keys of the store: every instance opens it, and
    /// nobody else.
    pub fn seal_for_browser(&self, plain: &[u8]) -> String {
        self.0.sealer.seal(Purpose::Browser, plain)
    }

    /// Opens what [`Server::seal_for_browser`] made; `None` for everything else. Whatever must expire
    /// carries its own time.
    pub fn open_of_browser(&self, text: &str) -> Option<Vec<u8>> {
        self.0.sealer.open(Purpose::Browser, text)
    }

    /// A position in a list of tasks, as a caller may know it. Positions are the store's own numbers, and the
    /// distance of two of them would tell how much others do.
    pub fn seal_cursor(&self, position: u64) -> String {
        self.0.seal_cursor(position)
    }

    /// Opens what [`Server::seal_cursor`] made; `None` for everything else.
    pub fn open_cursor(&self, text: &str) -> Option<u64> {
        self.0.open_cursor(text)
    }

    /// The engine's handle.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// What was set.
    pub fn config(&self) -> &Config {
        &self.0.config
    }
}

/// The JSON object that `write` writes.
pub(crate) fn object(write: impl FnOnce(&mut Object<'_>)) -> RawJson {
    let mut out = Vec::with_capacity(128);
    write(&mut Object::new(&mut out));
    RawJson::parse(String::from_utf8(out).expect("JSON is UTF-8")).expect("written as JSON")
}
