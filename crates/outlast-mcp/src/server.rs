//! The server: what all transports and methods share.
//!
//! Everything here is made once at the start; a request borrows it. Both eras are served by the same
//! value at the same time.

use std::sync::Arc;

use outlast_core::{RawJson, Side, Store};
use outlast_engine::{Handle, Tools};
use tokio_util::sync::CancellationToken;

use crate::http::ParamHeaders;
use crate::listing::Listing;
use crate::protocol::names::META_SERVER_INFO;
use crate::seal::Sealer;
use crate::session::{Couriers, Registry};
use crate::wire::Object;

/// How many entries a page of a list has, where nothing else is set.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// The longest message that is read, where nothing else is set: 4 MiB.
pub const DEFAULT_MESSAGE_LIMIT: usize = 4 * 1024 * 1024;

/// What can be set about a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, for programs.
    pub name: String,
    /// The server's name, for people.
    pub title: Option<String>,
    /// The server's own version.
    pub version: String,
    /// What a model should know about the server as a whole.
    pub instructions: Option<String>,
    /// How many tools or tasks a page has; at least 1.
    pub page_size: usize,
    /// The longest message, in bytes.
    pub message_limit: usize,
    /// Names that `Host` may have besides the loopback ones, each with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Whether `Host` may be any address in digits. A page that rebinds a name cannot send one, so this
    /// is safe where requests are authenticated, and needed where a server is reached by address.
    pub allow_address_hosts: bool,
    /// Origins that may call besides the loopback ones, as `scheme://host[:port]`.
    pub allowed_origins: Vec<String>,
}

impl Config {
    /// The defaults for a server with this name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            version: version.into(),
            instructions: None,
            page_size: DEFAULT_PAGE_SIZE,
            message_limit: DEFAULT_MESSAGE_LIMIT,
            allowed_hosts: Vec::new(),
            allow_address_hosts: false,
            allowed_origins: Vec::new(),
        }
    }
}

/// An MCP server over an engine. Cheap to clone.
#[derive(Clone)]
pub struct Server(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) handle: Handle,
    pub(crate) config: Config,
    /// The tools as they were when the server was made.
    pub(crate) tools: Tools,
    pub(crate) listing: Listing,
    pub(crate) param_headers: ParamHeaders,
    pub(crate) sealer: Sealer,
    /// Where keys and sessions are recorded.
    store: Arc<dyn Store>,
    pub(crate) sessions: Registry,
    pub(crate) couriers: Couriers,
    /// The `Implementation` object of this server.
    pub(crate) info: RawJson,
    /// The members of `_meta` of every response of the newer era.
    pub(crate) meta: RawJson,
    /// No new requests; those that wait end.
    pub(crate) stopping: CancellationToken,
}

impl Inner {
    /// Where keys and sessions are recorded.
    pub(crate) fn side(&self) -> &dyn Side {
        &*self.store
    }
}

impl Server {
    /// A server for the tools of the engine behind `handle`.
    ///
    /// # Errors
    /// The store that keeps the sealing keys failed.
    pub async fn new(handle: Handle, config: Config) -> outlast_core::Result<Self> {
        let store = handle.side();
        let sealer = Sealer::load(&*store).await?;
        let tools = handle.tools();
        let info = implementation(&config);
        let meta = object(|meta| {
            meta.raw(META_SERVER_INFO, info.as_str());
        });
        Ok(Self(Arc::new(Inner {
            listing: Listing::new(&tools, config.page_size.max(1), &meta),
            param_headers: ParamHeaders::new(&tools),
            handle,
            config,
            tools,
            sealer,
            store,
            sessions: Registry::default(),
            couriers: Couriers::default(),
            info,
            meta,
            stopping: CancellationToken::new(),
        })))
    }

    /// Ends every wait: blocked requests are answered, streams are closed. Tasks go on.
    pub fn stop(&self) {
        self.0.stopping.cancel();
        self.0.sessions.close_streams();
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

fn implementation(config: &Config) -> RawJson {
    object(|info| {
        info.text("name", &config.name);
        if let Some(title) = &config.title {
            info.text("title", title);
        }
        info.text("version", &config.version);
    })
}
