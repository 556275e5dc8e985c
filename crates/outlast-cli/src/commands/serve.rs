//! `outlast serve`, `outlast dev` and `outlast worker`: the tools of a configuration file as a server.
//!
//! The file is the lowest layer: flags win over the environment, and that over the file. With
//! `--stdio` this process is a bridge to the one server of the store, and a changed file is a reason
//! for that server to make room for a new one.
//!
//! On SIGHUP, and under `dev` when the file changes, the file is read anew: see
//! [`outlast::RunningServer::reload`] for what becomes of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use outlast::auth::Secret;
use outlast::{Server, Settings, Tool};
use outlast_cli::command::{Defaults, Launcher, Runs, runs, tool};
use outlast_cli::config::{CommandTool, FILE_NAME, FileConfig, ServerConfig};

use super::USAGE;
use super::client::out;

/// Serve the tools of a configuration file
///
/// SIGHUP reads the file anew: tools, schedules, limits and the defaults of tools change, tasks that
/// run go on, and clients are told. A file that is wrong changes nothing. Other settings need a restart,
/// and the log names those that have changed.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration file
    #[arg(long, short, env = "OUTLAST_CONFIG", value_name = "FILE", default_value = FILE_NAME)]
    config: PathBuf,

    #[command(flatten)]
    settings: Settings,
}

/// Serve a configuration file while you write it
///
/// As `serve`, and the file is read anew as soon as it changes. Tasks that run go on, clients are told of
/// changed lists, and a file that is wrong changes nothing and is explained here.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The configuration file
    #[arg(env = "OUTLAST_CONFIG", default_value = FILE_NAME)]
    file: PathBuf,

    #[command(flatten)]
    settings: Settings,
}

/// Run the tools of a configuration file for servers elsewhere
///
/// Needs a store that is shared (--store redis://HOST); any number of workers may run. SIGHUP reads the
/// file anew, as for `serve`.
#[derive(Debug, Args)]
pub(crate) struct Work {
    #[command(flatten)]
    serve: Serve,
}

/// Do what is due in the store, and run no tool
///
/// Timers, schedules, leases that have run out and records that have expired. Needs a store that is shared
/// (--store redis://HOST), and the same file as the servers. Servers and workers do it beside their other
/// work; this is for where they come and go. Any number may run.
#[derive(Debug, Args)]
pub(crate) struct Scheduler {
    #[command(flatten)]
    serve: Serve,
}

/// How a file is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Serve,
    Dev,
    Worker,
    Scheduler,
}

impl Scheduler {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Scheduler, &self.serve.config, self.serve.settings)
    }
}

impl Work {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Worker, &self.serve.config, self.serve.settings)
    }
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Serve, &self.config, self.settings)
    }
}

impl Dev {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Dev, &self.file, self.settings)
    }
}

fn run_as(how: How, file: &Path, settings: Settings) -> ExitCode {
    match serve(how, file, settings) {
        Ok(code) => code,
        Err(sentence) => {
            out::complain(&sentence);
            ExitCode::from(USAGE)
        }
    }
}

fn serve(how: How, file: &Path, settings: Settings) -> Result<ExitCode, String> {
    let config = FileConfig::load(file).map_err(|error| error.to_string())?;
    if config.tools.is_empty() {
        out::complain(&format!("warning: {} has no tools", file.display()));
    }
    for warning in config.warnings() {
        out::complain(&format!("warning: {warning}"));
    }
    let (described, own) = (described_by(&config)?, settings.clone());
    let database = described.database_with(&settings);
    let database = database.map_err(|error| error.to_string())?;
    let launcher = Launcher::this_program()
        .map_err(|error| format!("cannot tell which program this is: {error}"))?;
    let runs = Runs::new(runs::beside(&database), launcher);
    let server = with_tools(described, config, &settings, &runs);
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let (source, kept) = (absolute.clone(), Arc::clone(&runs));
    let mut server = server
        .background(move |handle| {
            let runs = Arc::clone(&runs);
            async move { runs.sweep_forever(handle.side()).await }
        })
        .stdio_command(stdio_command(&absolute, &settings))
        .reload_from(move || {
            let config = FileConfig::load(&source).map_err(|error| error.to_string())?;
            Ok(with_tools(described_by(&config)?, config, &own, &kept))
        });
    if how == How::Dev {
        server = server.reload_on_change(&absolute);
        out::complain(&format!(
            "{}: read again when it changes",
            absolute.display()
        ));
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("the server cannot be started: {error}"))?;
    let ended = runtime.block_on(async {
        match how {
            How::Worker => server.work_with(settings).await,
            How::Scheduler => server.schedule_with(settings).await,
            How::Serve | How::Dev => server.run_with(settings).await,
        }
    });
    Ok(match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::complain(&error.to_string());
            ExitCode::FAILURE
        }
    })
}

/// The server of a file, without its tools.
fn described_by(config: &FileConfig) -> Result<Server, String> {
    let mut server = Server::new(config.server.name_in(&config.folder))
        .version(env!("CARGO_PKG_VERSION"))
        .settings(Settings {
            auth: config.auth.clone(),
            webhooks: config.webhooks.clone(),
            ..settings_of(&config.server)?
        })
        .order(config.limits.clone())
        .built_from(&config.text);
    if let Some(title) = &config.server.title {
        server = server.title(title);
    }
    if let Some(description) = &config.server.description {
        server = server.description(description);
    }
    if let Some(url) = &config.server.website_url {
        server = server.website_url(url);
    }
    if let Some(icon) = &config.server.icon {
        server = server.icon(icon.clone());
    }
    if let Some(instructions) = &config.server.instructions {
        server = server.instructions(instructions);
    }
    Ok(server)
}

/// `server` with the tools and schedules of its file, `settings` being what is said above it.
fn with_tools(server: Server, config: FileConfig, settings: &Settings, runs: &Arc<Runs>) -> Server {
    let usual = Defaults::default();
    let defaults = Defaults {
        task: settings.task.or(config.server.task).unwrap_or(usual.task),
        retention: settings
            .retention
            .or(config.server.retention)
            .unwrap_or(usual.retention),
    };
    // Those of the file are left out already.
    let secret = match &settings.webhooks.secret {
        Some(Secret::Env(name)) => Some(name.clone()),
        Some(Secret::File(_)) | None => None,
    };
    let tools = config.tools.into_iter().map(|mut command| {
        command.inherited.never.extend(secret.clone());
        offered(command, defaults, runs)
    });
    server.tools(tools).schedules(config.schedules)
}

/// What a client starts to speak with this server on standard input and output.
fn stdio_command(file: &Path, settings: &Settings) -> String {
    let mut words = vec!["outlast".to_owned(), "serve".to_owned()];
    words.extend(["--config".to_owned(), file.display().to_string()]);
    // A Redis may have its password in its address, which is not printed.
    let store = settings.store.as_ref().map(ToString::to_string);
    if let Some(store) = store.filter(|store| store.starts_with("sqlite:")) {
        words.extend(["--store".to_owned(), store]);
    }
    words.push("--stdio".to_owned());
    let quoted = words.iter().map(|word| super::quoted(word));
    quoted.collect::<Vec<_>>().join(" ")
}

/// A command as the server offers it.
fn offered(command: CommandTool, defaults: Defaults, runs: &Arc<Runs>) -> Tool {
    let (icon, tags) = (command.icon.clone(), command.tags.clone());
    let mut offered: Tool = tool(command, defaults, runs).into();
    if let Some(icon) = icon {
        offered = offered.icon(icon);
    }
    tags.into_iter().fold(offered, Tool::tag)
}

/// The file's settings as the server takes them.
fn settings_of(file: &ServerConfig) -> Result<Settings, String> {
    Ok(Settings {
        listen: file.listen.as_deref().map(str::parse).transpose()?,
        store: file.store.as_deref().map(str::parse).transpose()?,
        synchronous: file.synchronous.map(str::parse).transpose()?,
        task: file.task,
        retention: file.retention,
        detach_after: file.detach_after,
        heartbeat: file.heartbeat,
        lease: file.lease,
        no_worker_timeout: file.no_worker_timeout,
        worker_labels: file.worker_labels.clone(),
        health: file.health,
        helpers: file.helpers.map(str::parse).transpose()?,
        include_tags: file.include_tags.clone(),
        exclude_tags: file.exclude_tags.clone(),
        concurrency: file.concurrency,
        shutdown_grace: file.shutdown_grace,
        idle_exit: file.idle_exit,
        allowed_hosts: file.allowed_hosts.clone(),
        allowed_origins: file.allowed_origins.clone(),
        mcp_path: file.mcp_path.clone(),
        public_url: file.public_url.clone(),
        default_tool: file.default_tool.clone(),
        max_connections: file.max_connections,
        max_sessions: file.max_sessions,
        max_streams: file.max_streams,
        allow_unauthenticated: file.allow_unauthenticated,
        log_level: file.log_level.map(str::parse).transpose()?,
        log_format: file.log_format.map(str::parse).transpose()?,
        otlp_endpoint: file.otlp_endpoint.clone(),
        ..Settings::default()
    })
}
