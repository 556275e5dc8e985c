//! The parts of a running server, put together in the one order in which nothing is half begun.
//!
//! The store first, because its lock decides who serves; then the ports, so that a port in use leaves
//! no task touched; then what handlers are given (lifespans); then the engine, which takes up what an
//! earlier process left; then the doors.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_engine::{Engine, Role};
use outlast_http::{HttpServer, Reloads, RestOptions};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::plan::Plan;
use super::reload::Served;
use super::running::RunningServer;
use super::secret_key;
use super::socket::{self, Door};
use super::store::open_store;
use super::unix::{self, UnixDoor};
use super::{Offered, Server, Stops};
use crate::bridge::{self, Identity};
use crate::error::StartError;
use crate::settings::place::{beside_store, usual_store};
use crate::settings::{Listen, Settings, StoreAt};

/// Who started the server, which decides when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A person or a program, which will end it.
    Owner,
    /// A bridge: it ends by itself, and makes room for another build.
    Bridge,
}

/// What a server in process is reached by.
#[cfg(feature = "testing")]
pub(crate) struct Doors {
    pub(crate) mcp: outlast_mcp::Server,
    pub(crate) http: HttpServer,
}

#[cfg(feature = "testing")]
impl Doors {
    /// Ends streams and sockets.
    pub(crate) fn close(&self) {
        self.mcp.stop();
    }
}

/// How long a clean stop waits where nothing is said.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

impl Server {
    /// The store's file, with every link in its path resolved as far as it exists; for a store that is
    /// no file, the place of what stands beside it on this machine.
    pub(crate) fn database(&self, settings: &Settings) -> Result<PathBuf, StartError> {
        let path = self.resolved(settings)?;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path);
        };
        if path.exists() {
            return Ok(path);
        }
        make_folder(folder)?;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Ok(folder.join(name))
    }

    /// As [`Server::database`], and nothing is made.
    pub(super) fn resolved(&self, settings: &Settings) -> Result<PathBuf, StartError> {
        let path = self.place(settings)?;
        if path.file_name().is_none() {
            return Err(StartError::new(format!(
                "{} is no file; name one, for example --store sqlite:outlast.db",
                path.display()
            )));
        }
        let known = path.ancestors().find_map(|there| {
            let real = there.canonicalize().ok()?;
            let rest = path.strip_prefix(there).ok()?;
            Some(if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            })
        });
        Ok(known.unwrap_or(path))
    }

    /// The store's file as it is named, or the place beside it.
    fn place(&self, settings: &Settings) -> Result<PathBuf, StartError> {
        let path = match &settings.store {
            Some(store) => match store.at() {
                StoreAt::Sqlite(path) => path.clone(),
                StoreAt::Redis(address) => beside_store(&self.name, address)?,
            },
            None => usual_store(&self.name)?,
        };
        Ok(std::path::absolute(&path).unwrap_or(path))
    }

    /// Where the socket of a server with `settings` over its own is while it runs on this machine. Nothing
    /// is made.
    ///
    /// # Errors
    /// No path is known; the sentence says what to do.
    pub fn socket_with(&self, settings: &Settings) -> Result<PathBuf, StartError> {
        let place = self.resolved(&settings.clone().over(self.settings.clone()))?;
        Ok(socket::socket_path(&place))
    }

    /// What this server is made from.
    pub(crate) fn identity(&self, settings: &Settings) -> Identity {
        // Not what is served, but where, for how long, and what is said of it.
        let telling = Settings {
            listen: None,
            stdio: None,
            store: None,
            log_level: None,
            log_format: None,
            idle_exit: None,
            ..settings.clone()
        };
        let telling = format!("{telling:?}");
        let arguments = match self.command_line_is_settings {
            true => Vec::new(),
            false => bridge::arguments(),
        };
        let arguments = arguments.iter().map(|argument| argument.as_bytes());
        let pieces = [
            self.name.as_bytes(),
            self.version.as_bytes(),
            telling.as_bytes(),
            &self.built_from,
        ];
        Identity {
            binary: bridge::binary().to_owned(),
            configuration: bridge::configuration(pieces.into_iter().chain(arguments)),
            listen: settings.listen.as_ref().map(ToString::to_string),
        }
    }

    /// Starts everything. `listen` is where to serve HTTP, if anywhere.
    pub(crate) async fn assemble(
        &self,
        settings: &Settings,
        listen: Option<Listen>,
        origin: Origin,
        role: Role,
    ) -> Result<RunningServer, StartError> {
        let mut stops = Stops::default();
        let assembled = self.put_together(settings, listen, origin, role, &mut stops);
        match assembled.await {
            Ok(mut running) => {
                running.stops = stops;
                Ok(running)
            }
            Err(error) => {
                stops.run().await;
                Err(error)
            }
        }
    }

    async fn put_together(
        &self,
        settings: &Settings,
        listen: Option<Listen>,
        origin: Origin,
        role: Role,
        stops: &mut Stops,
    ) -> Result<RunningServer, StartError> {
        // What cannot be is said before anything is begun.
        let Plan {
            offered,
            gate,
            webhooks,
            wanted,
            unix_path,
            reachable,
            mcp_path,
            config,
        } = self.plan(settings, listen.as_ref(), role)?;
        if reachable && gate.is_none() {
            tracing::warn!("there are no users: whoever reaches this server runs its tools");
        }
        let database = self.database(settings)?;
        let opened = open_store(&database, &self.name, settings).await?;
        let store = Arc::clone(&opened.store);
        let info = store.info();
        if !info.durable {
            tracing::warn!(
                "{} keeps no append-only file: tasks are lost when it restarts",
                info.location
            );
        }
        let servers = self.with_mounted();
        let listeners = bind_all(wanted).await?;
        let health = match settings.health {
            Some(address) => bind_all(vec![address]).await?.pop(),
            None => None,
        };
        let unix_listener = unix_path.as_deref().map(unix::bind).transpose()?;
        // A worker serves nobody: clients of this machine would be offered its tools in place of a server's.
        let door = match role {
            Role::Server => {
                let (path, place) = opened.socket_path(&database)?;
                Some((bind_socket(&path)?, path, place))
            }
            Role::Worker | Role::Scheduler => None,
        };
        let (door_listener, socket_path, place) = match door {
            Some((listener, path, place)) => (Some(listener), Some(path), place),
            None => (None, None, None),
        };
        let addresses: Vec<SocketAddr> = listeners.iter().map(|(_, address)| *address).collect();
        let reached_at = match addresses.first() {
            Some(address) => format!("http://{address}{mcp_path}"),
            None => match &socket_path {
                Some(path) => path.display().to_string(),
                None => "nowhere: it serves nobody".to_owned(),
            },
        };
        opened.set_address(&reached_at)?;

        let begun = self.begin(stops).await?;
        // Handlers of mounted servers hold the values that lifespans have made.
        let Offered { catalog, schedules } = if servers.iter().any(|server| server.has_lifespans())
        {
            begun.settle(settings)?
        } else {
            offered
        };
        let mut state = begun.state.clone();
        state.insert(catalog.clone());
        let tools = catalog.offer().tools();
        let sealed = tools.have_secrets() || settings.webhooks.lets_callers();
        let key = secret_key::load(&database, &*store, sealed).await?;
        let served = Served::new(self, settings, key.is_some());
        let mut engine = Engine::builder(Arc::clone(&store))
            .tools(tools)
            .named(&self.name, &self.version)
            .role(role)
            .worker_labels(settings.worker_labels.clone().unwrap_or_default())
            .order(self.order.clone())
            .state(state.clone())
            .schedules(schedules);
        for sink in servers.iter().flat_map(|server| &server.progress_sinks) {
            engine = engine.progress_sink(Arc::clone(sink));
        }
        if let Some(key) = key {
            engine = engine.secret_key(key);
        }
        if let Some(webhooks) = webhooks {
            engine = engine.webhooks(webhooks);
        }
        if let Some(lease) = settings.lease {
            engine = engine.lease(lease);
        }
        if let Some(timeout) = settings.no_worker_timeout {
            engine = engine.no_worker_timeout(timeout);
        }
        if let Some(concurrency) = settings.concurrency {
            engine = engine.slots(concurrency);
        }
        let engine = engine.start().await?;
        let handle = engine.handle();
        let offer = catalog.offer().clone();
        let mcp = outlast_mcp::Server::with_catalog(handle, offer, config).await?;

        let identity = Arc::new(Mutex::new(self.identity(settings)));
        let closing = CancellationToken::new();
        let handover = CancellationToken::new();
        let connections = Connections::new();
        let tasks = TaskTracker::new();
        let door = Door {
            mcp: mcp.clone(),
            identity: Arc::clone(&identity),
            connections: connections.clone(),
            closing: closing.clone(),
            handover: handover.clone(),
            yields: origin == Origin::Bridge,
            tasks: tasks.clone(),
        };
        for work in servers.iter().flat_map(|server| &server.background) {
            let (work, closing) = (work(engine.handle()), closing.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = work => {}
                    () = closing.cancelled() => {}
                }
            });
        }
        if let Some(listener) = door_listener {
            tasks.spawn(door.serve(listener));
        }
        let counted = connections.clone();
        let rest = self.rest_options(settings);
        let reloads = rest.reloads.clone();
        let mut http = HttpServer::with_rest(&mcp, rest)
            .with_mcp_path(&mcp_path)
            .with_companion(move || counted.enter());
        if let Some(most) = settings.max_connections {
            http = http.with_connections(most.get());
        }
        if let Some(gate) = gate {
            http = http.with_gate(gate);
        }
        if let Some(listener) = unix_listener {
            let door = UnixDoor {
                mcp: mcp.clone(),
                http: http.clone(),
                connections: connections.clone(),
                closing: closing.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn(door.serve(listener));
        }
        if let Some((listener, address)) = health {
            tracing::info!(%address, "answers probes");
            let metrics = settings.health_metrics == Some(true);
            let (mcp, closing) = (mcp.clone(), closing.clone().cancelled_owned());
            tasks.spawn(outlast_http::serve_health(listener, mcp, metrics, closing));
        }
        for (listener, _) in listeners {
            let (http, closing) = (http.clone(), closing.clone());
            tasks.spawn(async move { http.serve(listener, closing.cancelled_owned()).await });
        }
        #[cfg(feature = "otlp")]
        if let Some(telemetry) = self.telemetry.clone() {
            let (mcp, closing) = (mcp.clone(), closing.clone());
            tasks.spawn(async move {
                let read = || async { outlast_http::figures::Snapshot::of(&mcp).await.ok() };
                tokio::select! {
                    () = telemetry.push(read) => {}
                    () = closing.cancelled() => {}
                }
            });
        }
        Ok(RunningServer {
            catalog,
            engine: Some(engine),
            mcp,
            http,
            state,
            addresses,
            mcp_path,
            unix_path,
            database,
            location: info.location,
            _place: place,
            socket_path,
            closing,
            handover,
            connections,
            tasks,
            told: self.told.clone(),
            served: Mutex::new(served),
            identity,
            reloads,
            stops: Stops::default(),
            #[cfg(feature = "otlp")]
            telemetry: self.telemetry.clone(),
        })
    }

    /// The doors of a server in process, which nobody has to pass a port for. Users are asked for their
    /// tokens where the server has them.
    #[cfg(feature = "testing")]
    pub(crate) async fn doors_for_tests(
        &self,
        handle: outlast_engine::Handle,
        offer: outlast_mcp::offer::Catalog,
    ) -> Result<Doors, StartError> {
        let gate = self.gate(&self.settings)?;
        let config = self.mcp_config(&self.settings, false, gate.is_some())?;
        let mcp = outlast_mcp::Server::with_catalog(handle, offer, config).await?;
        let mut http = HttpServer::with_rest(&mcp, self.rest_options(&self.settings));
        if let Some(path) = &self.settings.mcp_path {
            http = http.with_mcp_path(path);
        }
        if let Some(gate) = gate {
            http = http.with_gate(gate);
        }
        Ok(Doors { mcp, http })
    }

    fn rest_options(&self, settings: &Settings) -> RestOptions {
        RestOptions {
            title: self.name.clone(),
            version: self.version.clone(),
            public_url: settings.public_url.clone(),
            default_tool: settings.default_tool.clone(),
            reloads: Reloads::default(),
        }
    }
}

/// The folder of the store, for nobody but its user.
fn make_folder(folder: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| {
        StartError::new(format!(
            "cannot make the folder {} for the task store: {error}",
            folder.display()
        ))
    })
}

/// All addresses of a name; that of another family may be missing on this machine.
async fn bind_all(wanted: Vec<SocketAddr>) -> Result<Vec<(TcpListener, SocketAddr)>, StartError> {
    let mut bound: Vec<(TcpListener, SocketAddr)> = Vec::new();
    for address in wanted {
        match outlast_http::bind(&address.to_string()).await {
            Ok(one) => bound.push(one),
            Err(error) if bound.is_empty() => return Err(StartError::new(error.to_string())),
            Err(error) => tracing::debug!("{error}"),
        }
        // A free port of one family says nothing about the other.
        if address.port() == 0 {
            break;
        }
    }
    Ok(bound)
}

fn bind_socket(path: &Path) -> Result<UnixListener, StartError> {
    socket::bind(path).map_err(|error| {
        StartError::new(format!(
            "cannot open the socket {}: {error}",
            path.display()
        ))
    })
}
