//! Making a server anew while it runs: on SIGHUP, and when a file that is watched changes.
//!
//! What is served is swapped as a whole or not at all: everything that can be wrong is found out before the
//! first change, and what is wrong changes nothing. Tasks that run go on with the code they have; those that
//! wait are run by the new tools. Clients hear of the lists that read differently
//! (`notifications/*/list_changed`), and of no others.
//!
//! Reloaded are tools, prompts, resources, schedules, limits, webhooks, and of the settings `task`, `retention`,
//! `include_tags` and `exclude_tags`.
//! Everything else was built into the process at its start (sockets, store, users, what the protocol says of
//! the server); a change of it is named as one that needs a restart, and the rest is reloaded all the same.
//!
//! A terminal that is closed sends SIGHUP too. A server that was started at one ends then, as it always
//! did: nobody is there to read what a reload says.

use std::fmt;
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outlast_engine::Declarations;
use outlast_http::Reload;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plan::{check_default_tool, webhooks};
use super::running::RunningServer;
use super::{Offered, Server};
use crate::bridge::Identity;
use crate::error::StartError;
use crate::icon::Icon;
use crate::settings::Settings;

/// How often a watched file is read. It is small, and only development watches one.
const LOOK: Duration = Duration::from_millis(250);

/// Makes the server anew.
type Make = Arc<dyn Fn() -> Result<Server, String> + Send + Sync>;

/// Where a server comes from, for one that can be made anew.
#[derive(Clone)]
pub(super) struct Source {
    make: Make,
    watched: Option<PathBuf>,
}

impl Server {
    /// Lets the server be made anew while it runs: on SIGHUP, [`Server::run`] and its like call `make` and
    /// [reload](RunningServer::reload) what it returns. A sentence that it fails with is logged, and what
    /// was served before goes on.
    pub fn reload_from<F>(mut self, make: F) -> Self
    where
        F: Fn() -> Result<Self, String> + Send + Sync + 'static,
    {
        let watched = self.source.take().and_then(|source| source.watched);
        let make = Arc::new(make);
        self.source = Some(Source { make, watched });
        self
    }

    /// Makes the server anew also when the content of this file changes, for development. Of no effect
    /// without [`Server::reload_from`].
    pub fn reload_on_change(mut self, file: impl AsRef<Path>) -> Self {
        if let Some(source) = &mut self.source {
            source.watched = Some(file.as_ref().to_owned());
        }
        self
    }
}

/// What came of a reload.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Reloaded {
    /// Tools that are offered now and were not before.
    pub added: Vec<String>,
    /// Tools that were offered and are no longer.
    pub removed: Vec<String>,
    /// What has changed and is used only after a restart, by the names of the settings.
    pub needs_restart: Vec<String>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reloaded")?;
        for (what, names) in [("added", &self.added), ("removed", &self.removed)] {
            if !names.is_empty() {
                write!(f, "; {what} {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// What is served at present, as far as a reload has to know.
pub(super) struct Served {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) website_url: Option<String>,
    pub(super) icons: Vec<Icon>,
    pub(super) instructions: Option<String>,
    pub(super) settings: Settings,
    pub(super) may_have_secrets: bool,
}

impl Served {
    pub(super) fn new(server: &Server, settings: &Settings, may_have_secrets: bool) -> Self {
        Self {
            name: server.name.clone(),
            title: server.title.clone(),
            description: server.description.clone(),
            website_url: server.website_url.clone(),
            icons: server.icons.clone(),
            instructions: server.instructions.clone(),
            settings: settings.clone(),
            may_have_secrets,
        }
    }
}

impl RunningServer {
    /// Serves what `server` offers in the place of what is offered now: its tools, prompts, resources,
    /// schedules, limits, and defaults of its tools. Its other settings are used from the next start on,
    /// and named in the result. The settings that this server was started with stand above those of
    /// `server`, as they did at the start.
    ///
    /// Tasks that run go on with the code they have.
    ///
    /// # Errors
    /// A sentence that says what to do: the tools do not fit together, a schedule cannot hold, a handler
    /// takes a state that this server was not started with, or `server` has lifespans or mounted servers of
    /// its own, which begin with a start only. Nothing was changed then. Or the store failed to take the
    /// schedules and limits; the tools are reloaded then, and doing it again is harmless.
    pub async fn reload(&self, server: Server) -> Result<Reloaded, StartError> {
        let reloaded = self.try_reload(server).await;
        reloaded.map_err(|(error, _)| error)
    }

    /// As [`RunningServer::reload`]; tells with an error whether anything was changed.
    async fn try_reload(&self, server: Server) -> Result<Reloaded, (StartError, Changed)> {
        let reloaded = self.take(server).await;
        self.note(match &reloaded {
            Ok(reloaded) => Ok(reloaded.needs_restart.clone()),
            Err((error, _)) => Err(error.to_string()),
        });
        reloaded
    }

    /// There is no server to reload from.
    fn not_made(&self, sentence: String) -> (StartError, Changed) {
        self.note(Err(sentence.clone()));
        (StartError::new(sentence), Changed::Nothing)
    }

    /// For whoever asks how the server is.
    fn note(&self, ended: Result<Vec<String>, String>) {
        let at = self.handle().now();
        self.reloads.note(Reload { at, ended });
    }

    async fn take(&self, server: Server) -> Result<Reloaded, (StartError, Changed)> {
        let unchanged = |error| (error, Changed::Nothing);
        let settings = self.told.clone().over(server.settings.clone());
        let identity = server.identity(&settings);
        let (reloaded, declared) = self.swap(server, &settings).map_err(unchanged)?;
        let declared = self.handle().declare(declared).await;
        declared.map_err(|error| {
            let sentence = format!(
                "the tools are reloaded, and their limits and schedules could not be stored ({error}); \
                 reload again"
            );
            (StartError::new(sentence), Changed::Tools)
        })?;
        // Else a bridge with the new settings would take this server for one that has them.
        if reloaded.needs_restart.is_empty() {
            *lock(&self.identity) = identity;
        }
        Ok(reloaded)
    }

    /// Puts the tools of `server` in the place of those that are there; what they declare is left to be
    /// stored.
    fn swap(
        &self,
        server: Server,
        settings: &Settings,
    ) -> Result<(Reloaded, Declarations), StartError> {
        if !server.lifespans.is_empty() || !server.mounts.is_empty() {
            return Err(StartError::new(
                "a server with lifespans or mounted servers cannot be reloaded: restart it",
            ));
        }
        let Offered {
            catalog: next,
            schedules,
        } = server.settle_in(settings, &self.catalog)?;
        check_default_tool(&next, &self.served().settings)?;
        let (before, tools) = (self.catalog.offer().tools(), next.offer().tools());
        if tools.have_secrets() && !self.served().may_have_secrets {
            return Err(StartError::new(
                "there are arguments that are secret now, and the key for them is made at the start: \
                 restart the server",
            ));
        }
        if settings.webhooks.lets_callers() && !self.served().may_have_secrets {
            return Err(StartError::new(
                "callers may name webhooks now, and the key that their addresses are sealed with is made at the \
                 start: restart the server",
            ));
        }
        // Links in messages lead to where the server is reached, which a reload does not change.
        let public_url = self.served().settings.public_url.clone();
        let told = webhooks(&Settings {
            public_url,
            ..settings.clone()
        })?;
        let declared = Declarations::check(&tools, server.order.clone(), schedules)?;
        let next = next.offer();
        let swapped = self.catalog.offer().change(|changes| {
            changes.replace_by(next);
            Ok(())
        });
        swapped?;
        self.handle().set_webhooks(told);
        let needs_restart = self.needs_restart(&server, settings);
        let names =
            |these: &outlast_engine::Tools, others: &outlast_engine::Tools| -> Vec<String> {
                let names = these.iter().map(|tool| &tool.name);
                let new = names.filter(|name| others.get(name).is_none());
                new.cloned().collect()
            };
        let reloaded = Reloaded {
            added: names(&tools, &before),
            removed: names(&before, &tools),
            needs_restart,
        };
        Ok((reloaded, declared))
    }

    fn served(&self) -> std::sync::MutexGuard<'_, Served> {
        lock(&self.served)
    }

    /// What differs from the start and cannot be changed while the server runs.
    fn needs_restart(&self, server: &Server, settings: &Settings) -> Vec<String> {
        let served = self.served();
        let own = [
            ("name", served.name != server.name),
            ("title", served.title != server.title),
            ("description", served.description != server.description),
            ("website_url", served.website_url != server.website_url),
            ("icon", served.icons != server.icons),
            ("instructions", served.instructions != server.instructions),
        ];
        let own = own.into_iter().filter(|(_, differs)| *differs);
        let own = own.map(|(name, _)| name);
        let settings = settings.differences(&served.settings);
        let settings = settings.into_iter().filter(|name| !RELOADED.contains(name));
        own.chain(settings).map(str::to_owned).collect()
    }
}

/// What a reload that failed has changed.
enum Changed {
    Nothing,
    Tools,
}

/// The settings that a reload applies.
const RELOADED: [&str; 5] = [
    "task",
    "retention",
    "include_tags",
    "exclude_tags",
    "webhooks",
];

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The identity of a server, which changes with a reload.
pub(super) type SharedIdentity = Arc<Mutex<Identity>>;

/// What makes a server reload.
pub(super) struct Reloads {
    source: Option<Listening>,
}

struct Listening {
    make: Make,
    hangup: Signal,
    /// There was somebody at a terminal when the server started.
    at_terminal: bool,
    watched: Option<Watched>,
}

impl Reloads {
    /// # Errors
    /// Signals cannot be listened for.
    pub(super) fn listen(server: &Server) -> Result<Self, StartError> {
        let Some(source) = &server.source else {
            return Ok(Self { source: None });
        };
        let hangup = signal(SignalKind::hangup());
        let hangup = hangup
            .map_err(|error| StartError::new(format!("cannot listen for signals: {error}")))?;
        let listening = Listening {
            make: Arc::clone(&source.make),
            hangup,
            at_terminal: std::io::stdin().is_terminal(),
            watched: source.watched.clone().map(Watched::new),
        };
        Ok(Self {
            source: Some(listening),
        })
    }

    /// Reloads as often as it is asked for. Returns if the terminal is gone.
    pub(super) async fn serve(&mut self, running: &RunningServer) {
        let Some(listening) = &mut self.source else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                _ = listening.hangup.recv() => {
                    if listening.at_terminal && File::open("/dev/tty").is_err() {
                        return;
                    }
                }
                () = changed(listening.watched.as_mut()) => {}
            }
            let make = Arc::clone(&listening.make);
            // It reads files, and may do anything.
            let made = tokio::task::spawn_blocking(move || make()).await;
            let reloaded = match made {
                Ok(Ok(server)) => running.try_reload(server).await,
                Ok(Err(sentence)) => Err(running.not_made(sentence)),
                Err(panicked) => Err(running.not_made(panicked.to_string())),
            };
            match reloaded {
                Ok(reloaded) => {
                    tracing::info!("{reloaded}");
                    for name in &reloaded.needs_restart {
                        tracing::warn!("{name} changed: needs a restart");
                    }
                }
                Err((error, Changed::Nothing)) => {
                    tracing::error!("not reloaded, and nothing was changed: {error}");
                }
                Err((error, Changed::Tools)) => tracing::error!("{error}"),
            }
        }
    }
}

/// A file whose content is compared: times and inodes say too little of editors that write twice within a
/// tick or put another file in its place.
struct Watched {
    path: PathBuf,
    known: Option<Vec<u8>>,
    seen: Option<Vec<u8>>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        let known = std::fs::read(&path).ok();
        let seen = known.clone();
        Self { path, known, seen }
    }

    /// Whether the file has another content than it had, and has had it for one look.
    fn look(&mut self) -> bool {
        let now = std::fs::read(&self.path).ok();
        let settled = now == self.seen;
        self.seen = now;
        // A file that is away for a moment is being replaced.
        if settled && self.seen.is_some() && self.seen != self.known {
            self.known.clone_from(&self.seen);
            return true;
        }
        false
    }
}

/// Resolves when the file has changed.
async fn changed(watched: Option<&mut Watched>) {
    let Some(watched) = watched else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK).await;
        if watched.look() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "a").unwrap();
        let mut watched = Watched::new(path.clone());
        assert!(!watched.look());
        std::fs::write(&path, "half").unwrap();
        assert!(!watched.look(), "it may still be written");
        std::fs::write(&path, "whole").unwrap();
        assert!(!watched.look());
        assert!(watched.look());
        assert!(!watched.look());
        std::fs::remove_file(&path).unwrap();
        assert!(!watched.look() && !watched.look(), "it is away");
        std::fs::write(&path, "whole").unwrap();
        assert!(!watched.look() && !watched.look(), "it came back as it was");
    }
}
