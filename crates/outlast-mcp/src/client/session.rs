//! Keeping a session with a server over lost connections.
//!
//! A request that changes nothing when it is repeated is repeated, with pauses, until the patience
//! ends. Any other is sent once; only where the server has provably not taken it up (it says that it
//! does not know the session) is it sent to the next session.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::{Era, RawJson};
use serde_json::json;

use super::backoff::Backoff;
use super::error::ClientError;
use super::inbox::Inbox;
use super::link::{Answer, Link, LinkError, Outgoing};
use super::options::Options;
use super::params::{Params, json as raw};
use super::target::Target;
use crate::jsonrpc;
use crate::protocol::Version;
use crate::protocol::names::{
    META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_VERSION, TASKS_EXTENSION,
};

/// What a server said about itself.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it wants to be used.
    pub instructions: Option<String>,
    /// The version of the protocol that is spoken with it.
    pub protocol: Version,
    /// Whether tools can be called as tasks.
    pub tasks: bool,
    /// Whether tasks can be listed.
    pub task_list: bool,
}

/// A settled connection.
pub(super) struct Session {
    pub(super) link: Link,
    pub(super) info: ServerInfo,
}

impl Session {
    pub(super) fn era(&self) -> Era {
        self.info.protocol.era()
    }
}

/// A request as its caller means it.
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) params: Params,
    /// What it is about.
    pub(super) name: Option<String>,
    /// Arguments repeated in headers.
    pub(super) headers: Vec<(String, String)>,
    /// Whether it may be sent twice.
    pub(super) repeat: bool,
    /// Whether the server is told when the caller stops waiting.
    pub(super) cancel: bool,
    /// How long one attempt may take.
    pub(super) timeout: Option<Duration>,
    /// Whether tasks are welcome as an answer, and spoken of.
    pub(super) tasks: bool,
}

impl Ask {
    /// A request that may be repeated and is answered soon.
    pub(super) fn quick(method: &str, params: Params) -> Self {
        Self {
            method: method.to_owned(),
            params,
            name: None,
            headers: Vec::new(),
            repeat: true,
            cancel: true,
            timeout: None,
            tasks: true,
        }
    }

    /// About this.
    pub(super) fn about(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

/// The way to one server.
pub(super) struct Connection {
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) inbox: Arc<Inbox>,
    ids: AtomicI64,
    current: tokio::sync::Mutex<Option<Arc<Session>>>,
    pub(super) found: Mutex<Option<Era>>,
}

impl Connection {
    pub(super) fn new(target: Target, options: Options) -> Self {
        let inbox = Arc::new(Inbox::new(options.answerers.clone(), options.log.clone()));
        Self {
            target,
            options,
            inbox,
            ids: AtomicI64::new(1),
            current: tokio::sync::Mutex::new(None),
            found: Mutex::new(None),
        }
    }

    /// A number nobody else has here: for ids and progress tokens.
    pub(super) fn next_id(&self) -> i64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The session, opened if there is none.
    ///
    /// # Errors
    /// The server cannot be reached or does not speak the protocol.
    pub(super) async fn session(&self) -> Result<Arc<Session>, LinkError> {
        let mut current = self.current.lock().await;
        if let Some(session) = &*current {
            match session.link.closed() {
                None => return Ok(Arc::clone(session)),
                Some(reason) if !self.target.can_be_reached_again() => {
                    return Err(LinkError::Unreachable(reason));
                }
                Some(_) => {}
            }
        }
        let session = Arc::new(self.open().await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Sends a request and waits for its answer, over as many sessions as it takes.
    ///
    /// # Errors
    /// As [`ClientError`] tells them apart.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<RawJson, ClientError> {
        self.answer(ask)
            .await?
            .map_err(|error| ClientError::Refused {
                method: ask.method.clone(),
                error,
            })
    }

    /// As [`Connection::ask`], with the refusal as a value.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) async fn answer(&self, ask: &Ask) -> Result<Answer, ClientError> {
        let mut backoff = Backoff::new(self.options.patience);
        let mut renewed = false;
        loop {
            let (sent, outcome) = match self.session().await {
                Ok(session) => {
                    let outcome = self.attempt(&session, ask).await;
                    if matches!(outcome, Err(LinkError::SessionGone)) {
                        self.forget(&session).await;
                    }
                    (true, outcome)
                }
                Err(error) => (false, Err(error)),
            };
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(LinkError::SessionGone) if !renewed => {
                    renewed = true;
                    continue;
                }
                Err(error) => error,
            };
            let again = ask.repeat && self.target.can_be_reached_again() && passes(&error);
            if !again || !backoff.pause().await {
                return Err(self.error(&ask.method, error, sent));
            }
            tracing::debug!(method = ask.method, ?error, "asking again");
        }
    }

    async fn attempt(&self, session: &Session, ask: &Ask) -> Result<Answer, LinkError> {
        let mut params = ask.params.clone();
        if session.era() == Era::Modern {
            self.modern_meta(&mut params, ask.tasks);
        }
        let id = self.next_id();
        let outgoing = Outgoing {
            id,
            method: &ask.method,
            body: jsonrpc::request(&id.to_string(), &ask.method, &params.into_json()),
            name: ask.name.as_deref(),
            headers: &ask.headers,
            cancel: ask.cancel,
        };
        in_time(ask.timeout, session.link.request(outgoing)).await
    }

    /// Tells a session of the older era, if there is one; the next one asks anew anyway.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) async fn tell(&self, method: &str) -> Result<(), ClientError> {
        let session = self.current.lock().await.clone();
        let Some(session) = session.filter(|session| session.era() == Era::Legacy) else {
            return Ok(());
        };
        let told = session
            .link
            .notify(jsonrpc::notification(method, &json!({})));
        told.await.map_err(|error| self.error(method, error, true))
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|now| Arc::ptr_eq(now, session))
        {
            *current = None;
        }
    }

    /// What a request of the newer era says about itself.
    pub(super) fn modern_meta(&self, params: &mut Params, tasks: bool) {
        params.set_meta(META_VERSION, raw(Version::LATEST.as_str()));
        params.set_meta(META_CLIENT_INFO, self.client_info());
        let mut capabilities = self.inbox.answerers().capabilities(Era::Modern);
        if tasks {
            capabilities["extensions"] = json!({TASKS_EXTENSION: {}});
        }
        params.set_meta(META_CLIENT_CAPABILITIES, capabilities.into());
        if self.inbox.wants_log() {
            params.set_meta(
                "io.modelcontextprotocol/logLevel",
                raw(&self.options.log_level),
            );
        }
    }

    pub(super) fn client_info(&self) -> RawJson {
        json!({"name": self.options.name, "version": self.options.version}).into()
    }

    /// Ends the session.
    pub(super) async fn close(&self) {
        let session = self.current.lock().await.take();
        if let Some(session) = session {
            session.link.close().await;
        }
    }

    /// The error for the caller. `sent` is whether the request may have left.
    pub(super) fn error(&self, method: &str, error: LinkError, sent: bool) -> ClientError {
        let target = self.target.to_string();
        match error {
            LinkError::Unreachable(reason) => ClientError::Connect { target, reason },
            LinkError::Lost(reason) if sent => ClientError::Lost {
                target,
                method: method.to_owned(),
                reason,
            },
            LinkError::Lost(reason) => ClientError::Connect { target, reason },
            LinkError::Timeout if sent => ClientError::Lost {
                target,
                method: method.to_owned(),
                reason: "no answer in time".to_owned(),
            },
            LinkError::Timeout => ClientError::Connect {
                target,
                reason: "no answer in time".to_owned(),
            },
            LinkError::SessionGone => ClientError::Connect {
                target,
                reason: "the server ends every session at once".into(),
            },
            LinkError::Unauthorized(status) => ClientError::Unauthorized { target, status },
            LinkError::Forbidden(reason) => ClientError::Forbidden { target, reason },
            LinkError::Status { status, body } if body.is_empty() => ClientError::Protocol {
                target,
                reason: format!("HTTP {status}"),
            },
            LinkError::Status { status, body } => ClientError::Protocol {
                target,
                reason: format!("HTTP {status}: {body}"),
            },
            LinkError::Newer(reason) | LinkError::Protocol(reason) => {
                ClientError::Protocol { target, reason }
            }
        }
    }
}

/// Whether waiting a while may help.
fn passes(error: &LinkError) -> bool {
    match error {
        LinkError::Unreachable(_)
        | LinkError::Lost(_)
        | LinkError::Timeout
        | LinkError::SessionGone => true,
        LinkError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
        LinkError::Unauthorized(_)
        | LinkError::Forbidden(_)
        | LinkError::Newer(_)
        | LinkError::Protocol(_) => false,
    }
}

pub(super) async fn in_time(
    limit: Option<Duration>,
    request: impl Future<Output = Result<Answer, LinkError>>,
) -> Result<Answer, LinkError> {
    match limit {
        None => request.await,
        Some(limit) => tokio::time::timeout(limit, request)
            .await
            .unwrap_or(Err(LinkError::Timeout)),
    }
}
