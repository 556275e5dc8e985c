//! How a client is set up.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::Client;
use super::answerers::Answerers;
use super::error::ClientError;
use super::inbox::{LogMessage, LogSink};
use super::question::{Answerer, Reply, UrlQuestion};
use super::sampling::{Sampled, Sampling};
use super::target::Target;
use crate::Root;

/// Which era to speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// The newer one where the server speaks it, else the older.
    #[default]
    Auto,
    /// 2026-07-28 only.
    Modern,
    /// 2025-11-25, or an older version if the server prefers it.
    Legacy,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) protocol: Protocol,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) answerers: Answerers,
    pub(super) log: Option<LogSink>,
    pub(super) log_level: String,
    pub(super) patience: Duration,
    pub(super) timeout: Option<Duration>,
}

/// A client to be connected.
#[derive(Clone)]
pub struct ClientBuilder {
    target: Target,
    options: Options,
}

impl ClientBuilder {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            options: Options {
                protocol: Protocol::Auto,
                name: "outlast".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                headers: Vec::new(),
                answerers: Answerers::default(),
                log: None,
                log_level: "info".to_owned(),
                patience: Duration::from_secs(60),
                timeout: Some(Duration::from_secs(30)),
            },
        }
    }

    /// Speaks this era only. Default: whichever the server speaks.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.options.protocol = protocol;
        self
    }

    /// The name and version the server is told. Default: this library's.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.options.name = name.into();
        self.options.version = version.into();
        self
    }

    /// An HTTP header for every request, such as `Authorization`. Of no effect on other transports.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// Who answers the server's questions. Without it the server is told that nobody does.
    #[must_use]
    pub fn on_question(mut self, answerer: impl Answerer) -> Self {
        self.options.answerers.question = Some(Arc::new(answerer));
        self
    }

    /// Who sends the person to a URL, if the person agrees ([`UrlQuestion`] says how). Without it the
    /// server is told that nobody does.
    #[must_use]
    pub fn on_url<F, R>(mut self, open: F) -> Self
    where
        F: Fn(UrlQuestion) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        self.options.answerers.url = Some(Arc::new(move |question| Box::pin(open(question))));
        self
    }

    /// Who hears that what the person was sent to a URL for is done, by the elicitation's id. Only servers
    /// of 2025-11-25 say so, and they need not.
    #[must_use]
    pub fn on_url_completed(mut self, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.options.answerers.url_completed = Some(Arc::new(hear));
        self
    }

    /// Who asks the client's model for the server. Without it the server is told that nobody does.
    #[must_use]
    pub fn on_sampling<F, R>(mut self, sample: F) -> Self
    where
        F: Fn(Sampling) -> R + Send + Sync + 'static,
        R: Future<Output = Sampled> + Send + 'static,
    {
        let sampler = move |sampling| -> Pin<Box<dyn Future<Output = Sampled> + Send>> {
            Box::pin(sample(sampling))
        };
        self.options.answerers.sampler = Some(Arc::new(sampler));
        self
    }

    /// The folders and files the client works in, which servers may ask for; [`Client::set_roots`] changes
    /// them. Without it the server is told that there is nothing to ask for.
    #[must_use]
    pub fn roots(mut self, roots: impl IntoIterator<Item = Root>) -> Self {
        let roots = RwLock::new(roots.into_iter().collect());
        self.options.answerers.roots = Some(Arc::new(roots));
        self
    }

    /// Where the server's log messages of at least this level go: `debug`, `info`, `notice`,
    /// `warning`, `error`, `critical`, `alert` or `emergency`. Without it none are asked for.
    #[must_use]
    pub fn on_log(
        mut self,
        level: impl Into<String>,
        sink: impl Fn(&LogMessage) + Send + Sync + 'static,
    ) -> Self {
        self.options.log = Some(Arc::new(sink));
        self.options.log_level = level.into();
        self
    }

    /// How long a request that may be repeated is repeated while the server cannot be reached.
    /// Default 60 s. Waiting for a task survives outages up to this long.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// How long one attempt of a request may take that a server answers at once: everything but
    /// calls, the results of running tasks, and [`Client::request`]. Default 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Connect`] if nobody answers there, [`ClientError::Unauthorized`],
    /// [`ClientError::Protocol`] if neither era is spoken.
    pub async fn connect(self) -> Result<Client, ClientError> {
        Client::open(self.target, self.options).await
    }
}
