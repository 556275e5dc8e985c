//! `outlast serve`: the tools of a configuration file as a server.
//!
//! The file is the lowest layer: flags win over the environment, and that over the file. With
//! `--stdio` this process is a bridge to the one server of the store, and a changed file is a reason
//! for that server to make room for a new one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use outlast::{Server, Settings};
use outlast_cli::command::{Defaults, Launcher, Runs, runs, tool};
use outlast_cli::config::{FILE_NAME, FileConfig, ServerConfig};

use super::USAGE;

/// Serve the tools of a configuration file.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration file.
    #[arg(long, short, env = "OUTLAST_CONFIG", value_name = "FILE", default_value = FILE_NAME)]
    config: PathBuf,

    #[command(flatten)]
    settings: Settings,
}

/// Run the tools of a configuration file for servers elsewhere: a store that is shared is needed
/// (--store redis://HOST), and any number of workers may run.
#[derive(Debug, Args)]
pub(crate) struct Work {
    #[command(flatten)]
    serve: Serve,
}

impl Work {
    pub(super) fn run(self) -> ExitCode {
        self.serve.run_as(true)
    }
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        self.run_as(false)
    }

    fn run_as(self, worker: bool) -> ExitCode {
        match self.serve(worker) {
            Ok(code) => code,
            Err(sentence) => {
                eprintln!("{sentence}");
                ExitCode::from(USAGE)
            }
        }
    }

    fn serve(self, worker: bool) -> Result<ExitCode, String> {
        let config = FileConfig::load(&self.config).map_err(|error| error.to_string())?;
        if config.tools.is_empty() {
            eprintln!("warning: {} has no tools", self.config.display());
        }
        let server = server(config, &self.settings)?;
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|error| format!("the server cannot be started: {error}"))?;
        let ended = runtime.block_on(async {
            if worker {
                server.work_with(self.settings).await
            } else {
                server.run_with(self.settings).await
            }
        });
        Ok(match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        })
    }
}

/// The server that a file describes, `settings` being what is said above it.
fn server(config: FileConfig, settings: &Settings) -> Result<Server, String> {
    // Two folders without a name in their files must not share a store.
    let by_folder = || {
        config
            .folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let name = config.server.name.clone().or_else(by_folder);
    let mut server = Server::new(name.unwrap_or_else(|| "outlast".to_owned()))
        .version(env!("CARGO_PKG_VERSION"))
        .settings(Settings {
            auth: config.auth.clone(),
            ..settings_of(&config.server)?
        })
        .order(config.limits.clone())
        .built_from(&config.text);
    if let Some(title) = &config.server.title {
        server = server.title(title);
    }
    if let Some(instructions) = &config.server.instructions {
        server = server.instructions(instructions);
    }
    let launcher = Launcher::this_program()
        .map_err(|error| format!("cannot tell which program this is: {error}"))?;
    let database = server
        .database_with(settings)
        .map_err(|error| error.to_string())?;
    let runs = Runs::new(runs::beside(&database), launcher);

    let usual = Defaults::default();
    let defaults = Defaults {
        task: settings.task.or(config.server.task).unwrap_or(usual.task),
        retention: settings
            .retention
            .or(config.server.retention)
            .unwrap_or(usual.retention),
    };
    let tools = config
        .tools
        .into_iter()
        .map(|command| tool(command, defaults, &runs));
    let server = server.tools(tools).schedules(config.schedules);
    Ok(server.background(move |handle| {
        let runs = Arc::clone(&runs);
        async move { runs.sweep_forever(handle.side()).await }
    }))
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
        helpers: file.helpers.map(str::parse).transpose()?,
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
        ..Settings::default()
    })
}
