//! Running a server as a program: command line, signals, exit codes.

use std::time::Duration;

use clap::Parser;
use outlast_core::{Clock, SystemClock};
use tokio::io::BufReader;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Server;
use outlast_engine::Role;

use super::parts::{Origin, SHUTDOWN_GRACE};
use super::reload::Reloads;
use super::running::RunningServer;
use crate::bridge::{self, Stage};
use crate::error::StartError;
use crate::say::say;
use crate::settings::{Listen, LogFormat, Settings, StdioMode, StoreAt};
use crate::{Result, blocking};

/// The exit code of a server that did not start.
const NOT_STARTED: i32 = 2;

/// After how long without clients and unfinished tasks a server behind a bridge ends.
const IDLE_EXIT: Duration = Duration::from_secs(600);

/// How long a server that makes room for another build waits for running work: the rest goes on in
/// the successor, and a client is waiting for it.
const HANDOVER_GRACE: Duration = Duration::from_secs(2);

/// How long a client may take to read the last messages of a server that ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Parser)]
#[command(disable_version_flag = true)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

impl Server {
    /// Runs the server until it is told to stop (SIGTERM, SIGINT), with the settings of the command
    /// line over those of the environment over those given by [`Server::settings`].
    ///
    /// By default it serves HTTP on 127.0.0.1:9876. With `--stdio` it is a bridge between standard
    /// input and output and the one server of its store, which it starts if there is none, and which
    /// ends after ten minutes without clients and unfinished tasks.
    ///
    /// A server that cannot start says why on standard error, in one sentence that says what to do,
    /// and **ends the process** with exit code 2; `--help` ends it with 0. A second signal ends it at
    /// once. Use [`Server::start`] inside a larger program.
    ///
    /// # Errors
    /// The store could not be closed cleanly at the end.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn run(self) -> Result<()> {
        let settings = self.command_line();
        self.run_with(settings).await
    }

    /// [`Server::run`] with settings from an application's own command line instead of the arguments
    /// of the process. Those given by [`Server::settings`] stand below.
    ///
    /// # Errors
    /// As [`Server::run`].
    ///
    /// # Panics
    /// As [`Server::run`].
    pub async fn run_with(mut self, settings: Settings) -> Result<()> {
        self.told = settings.clone();
        let settings = settings.over(self.settings.clone());
        let ran = match self.observe(&settings) {
            Ok(()) => self.run_as_told(&settings).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(result) => result,
            Err(error) => {
                say!("{}: {error}", self.name);
                let behind_a_bridge = bridge::stage().is_some();
                std::process::exit(if behind_a_bridge && error.may_pass() {
                    bridge::STORE_IN_USE
                } else {
                    NOT_STARTED
                });
            }
        }
    }

    /// Runs as a worker: runs the tools of a store that other servers serve, and listens nowhere but on a
    /// socket for this machine. Ends, and fails to start, as [`Server::run`] does.
    ///
    /// # Errors
    /// As [`Server::run`].
    ///
    /// # Panics
    /// As [`Server::run`].
    pub async fn work_with(self, settings: Settings) -> Result<()> {
        self.serve_nobody(settings, Role::Worker).await
    }

    /// Does what is due in the store (timers, schedules, leases that have run out, records that have
    /// expired) and runs no tool, with the given settings: for a store that is shared, where servers and
    /// workers come and go. Each of them does the same beside its other work, so none of it waits for
    /// this one.
    ///
    /// # Errors
    /// As [`Server::work_with`].
    ///
    /// # Panics
    /// As [`Server::run`].
    pub async fn schedule_with(self, settings: Settings) -> Result<()> {
        self.serve_nobody(settings, Role::Scheduler).await
    }

    async fn serve_nobody(mut self, settings: Settings, role: Role) -> Result<()> {
        self.told = settings.clone();
        let settings = settings.over(self.settings.clone());
        let ran = match self.observe(&settings) {
            Ok(()) => self.run_for_others(&settings, role).await,
            Err(error) => Err(error),
        };
        match ran {
            Ok(result) => result,
            Err(error) => {
                say!("{}: {error}", self.name);
                std::process::exit(NOT_STARTED);
            }
        }
    }

    /// Starts the server inside a larger program. Nothing is read from the command line or the
    /// environment, nothing is printed, and signals are left alone. It listens where `settings` say,
    /// and if they say nothing, only on its socket and on [`RunningServer::connect`].
    ///
    /// # Errors
    /// A sentence that says what to do: a port in use, a store in use, a newer store, tools that do
    /// not fit together.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn start(mut self, settings: Settings) -> Result<RunningServer, StartError> {
        self.told = settings.clone();
        let settings = settings.over(self.settings.clone());
        let listen = settings.listen.clone();
        self.assemble(&settings, listen, Origin::Owner, Role::Server)
            .await
    }

    fn command_line(&self) -> Settings {
        use clap::{CommandFactory, FromArgMatches};
        let mut about = format!("{} {}", self.name, self.version);
        if let Some(title) = &self.title {
            about = format!("{title} ({about})");
        }
        let command = CommandLine::command().about(format!(
            "{about}: an MCP server whose tools run as durable background tasks"
        ));
        let matches = command.get_matches();
        match CommandLine::from_arg_matches(&matches) {
            Ok(line) => line.settings,
            Err(error) => error.exit(),
        }
    }

    async fn run_as_told(&self, settings: &Settings) -> Result<Result<()>, StartError> {
        match settings.stdio {
            None => self.run_http(settings).await,
            Some(StdioMode::Inline) => self.run_inline(settings).await,
            Some(StdioMode::Bridge) => match bridge::stage() {
                None => {
                    // What cannot run is said here, where somebody reads it.
                    self.settle(settings)?;
                    let database = self.database(settings)?;
                    let carried = bridge::run(&database, &self.identity(settings)).await;
                    if let Err(error) = carried {
                        say!("{}: {error}", self.name);
                        // The thread that waits for the client's next line cannot be stopped.
                        std::process::exit(NOT_STARTED);
                    }
                    Ok(Ok(()))
                }
                Some(Stage::Launcher) => {
                    std::process::exit(bridge::launcher(&self.database(settings)?).await)
                }
                Some(Stage::Server) => self.run_detached(settings).await,
            },
        }
    }

    async fn run_http(&self, settings: &Settings) -> Result<Result<()>, StartError> {
        let (mut signals, mut reloads) = (Signals::listen()?, Reloads::listen(self)?);
        let listen = settings.listen.clone().unwrap_or_else(Listen::usual);
        let running = self
            .assemble(settings, Some(listen), Origin::Owner, Role::Server)
            .await?;
        self.announce(&running, settings);
        told_to_end(&mut signals, &mut reloads, &running).await;
        Ok(stop(running, grace(settings), signals).await)
    }

    async fn run_for_others(
        &self,
        settings: &Settings,
        role: Role,
    ) -> Result<Result<()>, StartError> {
        let shared = settings.store.as_ref();
        if !shared.is_some_and(|store| matches!(store.at(), StoreAt::Redis(_))) {
            let what = match role {
                Role::Scheduler => "scheduler",
                _ => "worker",
            };
            return Err(StartError::new(format!(
                "a {what} needs a store that it can share with a server: say --store redis://HOST \
                 (a SQLite file has one server, which does everything itself)"
            )));
        }
        let (mut signals, mut reloads) = (Signals::listen()?, Reloads::listen(self)?);
        let running = self.assemble(settings, None, Origin::Owner, role).await?;
        let what = match role {
            Role::Scheduler => "doing what is due",
            _ => "working",
        };
        say!("{}: {what}", self.name);
        self.announce(&running, settings);
        told_to_end(&mut signals, &mut reloads, &running).await;
        Ok(stop(running, grace(settings), signals).await)
    }

    async fn run_detached(&self, settings: &Settings) -> Result<Result<()>, StartError> {
        let (mut signals, mut reloads) = (Signals::listen()?, Reloads::listen(self)?);
        let listen = settings.listen.clone();
        let running = self
            .assemble(settings, listen, Origin::Bridge, Role::Server)
            .await?;
        self.announce(&running, settings);
        let grace = tokio::select! {
            () = signals.next() => grace(settings),
            () = reloads.serve(&running) => grace(settings),
            () = running.asked_to_hand_over() => grace(settings).min(HANDOVER_GRACE),
            () = running.unneeded(settings.idle_exit.unwrap_or(IDLE_EXIT)) => {
                tracing::info!("ending: no clients and no unfinished tasks");
                grace(settings)
            }
        };
        let stopped = stop(running, grace, signals).await;
        // The connection of a bridge that waits for our end is ended by it.
        std::process::exit(i32::from(stopped.is_err()));
    }

    async fn run_inline(&self, settings: &Settings) -> Result<Result<()>, StartError> {
        let (mut signals, mut reloads) = (Signals::listen()?, Reloads::listen(self)?);
        let protocol = take_standard_output()?;
        let listen = settings.listen.clone();
        let running = self
            .assemble(settings, listen, Origin::Owner, Role::Server)
            .await?;
        self.announce(&running, settings);
        tracing::info!("tasks pause when this process ends, and go on at the next start");
        let ended_by_client = {
            let input = BufReader::new(tokio::io::stdin());
            let mut served = std::pin::pin!(running.serve(input, protocol));
            tokio::select! {
                served = &mut served => {
                    if let Err(error) = served {
                        tracing::warn!("standard input or output broke: {error}");
                    }
                    true
                }
                () = told_to_end(&mut signals, &mut reloads, &running) => {
                    // Open requests and subscriptions get their last words before the stream ends.
                    running.mcp.stop();
                    let _ = tokio::time::timeout(LAST_WORDS, served).await;
                    false
                }
            }
        };
        let stopped = stop(running, grace(settings), signals).await;
        if !ended_by_client {
            // The thread that waits for the client's next line cannot be stopped.
            std::process::exit(i32::from(stopped.is_err()));
        }
        Ok(stopped)
    }

    /// Says where the server is reached, on standard error: a stream of the protocol carries nothing else.
    /// The line with the address of MCP is for programs too, and comes first. Where the log is JSON, this is too.
    fn announce(&self, running: &RunningServer, settings: &Settings) {
        if settings.log_format == Some(LogFormat::Json) {
            let unix = running.unix_path.iter();
            let unix = unix.map(|path| format!("unix:{}", path.display()));
            let mcp = running.addresses.iter();
            let mcp = mcp.map(|address| format!("http://{address}{}", running.mcp_path));
            let at = |scheme: &str, path: &str| {
                let address = running.local_addr();
                address.map(|address| format!("{scheme}://{address}{path}"))
            };
            let line = serde_json::json!({
                "timestamp": SystemClock::new().now().to_string(),
                "level": "INFO",
                "message": "listening",
                "server": self.name,
                "mcp": mcp.chain(unix).collect::<Vec<_>>(),
                "dashboard": at("http", "/"),
                "rest": at("http", "/tasks"),
                "websocket": at("ws", "/ws"),
                "stdio": self.stdio_command.as_ref().map(ToString::to_string),
                "store": running.location,
            });
            say!("{line}");
            return;
        }
        let Some(address) = running.local_addr() else {
            if let Some(path) = &running.unix_path {
                say!("{}: listening on unix:{}", self.name, path.display());
            }
            say!("{}: tasks are kept in {}", self.name, running.location);
            return;
        };
        for address in &running.addresses {
            let path = &running.mcp_path;
            say!("{}: listening on http://{address}{path}", self.name);
        }
        say!("  dashboard  http://{address}/");
        say!("  REST       http://{address}/tasks, described at http://{address}/openapi.json");
        say!("  WebSocket  ws://{address}/ws");
        if let Some(command) = &self.stdio_command {
            say!("  stdio      {command}");
        }
        say!("  store      {}", running.location);
    }
}

impl RunningServer {
    async fn serve<R, W>(&self, input: R, output: W) -> std::io::Result<()>
    where
        R: tokio::io::AsyncBufRead + Unpin,
        W: tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let _connected = self.connections.enter();
        let operator = outlast_core::Principal::operator();
        self.mcp.serve_lines(operator, input, output).await
    }
}

fn grace(settings: &Settings) -> Duration {
    settings.shutdown_grace.unwrap_or(SHUTDOWN_GRACE)
}

/// Reloads as it is asked for, until it is time to end.
async fn told_to_end(signals: &mut Signals, reloads: &mut Reloads, running: &RunningServer) {
    tokio::select! {
        () = signals.next() => {}
        () = reloads.serve(running) => {}
    }
}

/// Stops cleanly, unless a second signal says that it has to be at once.
async fn stop(running: RunningServer, grace: Duration, mut signals: Signals) -> Result<()> {
    let stopped = tokio::select! {
        stopped = running.shutdown(grace) => stopped,
        () = signals.next() => {
            say!("ended at once; running tasks go on at the next start");
            std::process::exit(130);
        }
    };
    if blocking::at_work() {
        // A blocking handler cannot be stopped, and its task has been handed back: it must not go on
        // beside the next attempt.
        say!("a blocking handler was still at work and is cut; its task goes on at the next start");
        std::process::exit(i32::from(stopped.is_err()));
    }
    stopped
}

/// Keeps the real standard output for the protocol, and sends what handlers print to standard error.
fn take_standard_output() -> Result<tokio::fs::File, StartError> {
    let cannot = |error: &dyn std::fmt::Display| {
        StartError::new(format!("cannot take over standard output: {error}"))
    };
    let protocol = rustix::io::dup(std::io::stdout()).map_err(|error| cannot(&error))?;
    rustix::stdio::dup2_stdout(std::io::stderr()).map_err(|error| cannot(&error))?;
    Ok(tokio::fs::File::from_std(std::fs::File::from(protocol)))
}

/// The signals that stop a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| StartError::new(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
