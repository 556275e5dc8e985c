//! `outlast serve`, `outlast dev` and `outlast worker`: the tools of a configuration file as a server.
//!
//! The file is the lowest layer: flags win over the environment, and that over the file. With
//! `--stdio` this process is a bridge to the one server of the store, and a changed file is a reason
//! for that server to make room for a new one.
//!
//! On SIGHUP, and under `dev` when the file changes, the file is read anew: see
//! [`outlast::RunningServer::reload`] for what becomes of it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use outlast::{Server, Settings};
use outlast_cli::config::FileConfig;

use super::client::out;
use super::file::ConfigFile;
use super::{USAGE, served};

/// Serve the tools of a configuration file
///
/// SIGHUP reads the file anew: tools, schedules, limits, webhooks and the defaults of tools change, tasks
/// that run go on, and clients are told. A file that is wrong changes nothing. Other settings need a restart,
/// and the log names those that have changed.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    file: ConfigFile,

    #[command(flatten)]
    settings: Settings,
}

/// Serve a configuration file while you write it
///
/// As `serve`, and the file is read anew as soon as it changes. Tasks that run go on, clients are told of
/// changed lists, and a file that is wrong changes nothing and is explained here.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    file: ConfigFile,

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
        run_as(How::Scheduler, &self.serve.file, self.serve.settings)
    }
}

impl Work {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Worker, &self.serve.file, self.serve.settings)
    }
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Serve, &self.file, self.settings)
    }
}

impl Dev {
    pub(super) fn run(self) -> ExitCode {
        run_as(How::Dev, &self.file, self.settings)
    }
}

fn run_as(how: How, file: &ConfigFile, settings: Settings) -> ExitCode {
    match serve(how, &file.path(), settings) {
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
    served::warn(&config);
    let own = settings.clone();
    let (server, runs) = served::of(config, &settings)?;
    // The two differ in what becomes of a changed file.
    let marked = move |server: Server| match how {
        How::Dev => server.built_from("dev"),
        _ => server,
    };
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let (source, kept) = (absolute.clone(), Arc::clone(&runs));
    let mut server = marked(server)
        .background(move |handle| {
            let runs = Arc::clone(&runs);
            async move { runs.sweep_forever(handle).await }
        })
        .stdio_command(stdio_command(&absolute, &settings))
        .reload_from(move || {
            let config = FileConfig::load(&source).map_err(|error| error.to_string())?;
            let described = served::described_by(&config)?;
            let server = served::with_tools(described, config, &own, &kept);
            Ok(marked(server))
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
