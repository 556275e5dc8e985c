//! The server of a configuration file: what `serve` runs, and `check` and `doctor` ask whether it would run.

use std::sync::Arc;

use outlast::auth::Secret;
use outlast::{Server, Settings, Tool};
use outlast_cli::command::{Defaults, Launcher, Runs, runs, tool};
use outlast_cli::config::{CommandTool, FileConfig, ServerConfig};

use super::client::out;

/// Tells what is allowed and may still be a mistake, before a server of the file starts or would.
pub(super) fn warn(config: &FileConfig) {
    let warnings = config.warnings().into_iter().chain(config.missing());
    warnings.for_each(|warning| out::complain(&format!("warning: {warning}")));
}

/// The whole server of a file with `settings` above it, and the runs of its commands. Nothing is made.
///
/// # Errors
/// The sentence that the start ends with.
pub(super) fn of(config: FileConfig, settings: &Settings) -> Result<(Server, Arc<Runs>), String> {
    let described = described_by(&config)?;
    let database = described.database_with(settings);
    let database = database.map_err(|error| error.to_string())?;
    let launcher = Launcher::this_program()
        .map_err(|error| format!("cannot tell which program this is: {error}"))?;
    let runs = Runs::new(runs::beside(&database), launcher);
    Ok((with_tools(described, config, settings, &runs), runs))
}

/// Tells whether `serve` would start with a file and `settings` above it.
///
/// # Errors
/// The sentence that it would end with.
pub(super) fn check(config: FileConfig, settings: &Settings) -> Result<(), String> {
    let name = config.server.name_in(&config.folder);
    let (server, _) = of(config, settings)?;
    let checked = server.check(settings);
    checked.map_err(|error| format!("{name}: {error}"))
}

/// The server of a file, without its tools.
pub(super) fn described_by(config: &FileConfig) -> Result<Server, String> {
    let mut server = Server::new(config.server.name_in(&config.folder))
        .version(env!("CARGO_PKG_VERSION"))
        .settings(Settings {
            auth: config.auth.clone(),
            webhooks: config.webhooks.clone(),
            ..settings_of(&config.server)?
        })
        .order(config.limits.clone())
        .built_from(&config.text)
        .built_from(config.folder.as_os_str().as_encoded_bytes())
        .command_line_is_settings();
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
pub(super) fn with_tools(
    server: Server,
    config: FileConfig,
    settings: &Settings,
    runs: &Arc<Runs>,
) -> Server {
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
pub(super) fn settings_of(file: &ServerConfig) -> Result<Settings, String> {
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
        health_metrics: file.health_metrics,
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
