//! The client itself: one server, its tools and its tasks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outlast_core::{Era, RawJson};
use serde::Serialize;

use super::answerers::Answerers;
use super::answering::Answering;
use super::call::{Call, CallTask};
use super::error::ClientError;
use super::handle::TaskHandle;
use super::headers::{self, Mirrored};
use super::inbox::Inbox;
use super::link::{Answer, Link};
use super::options::{ClientBuilder, Options};
use super::params::Params;
use super::session::{Ask, Connection, ServerInfo, Session};
use super::target::Target;
use super::task_info::{Snapshot, TaskInfo};
use super::tool_info::ToolInfo;
use crate::Root;
use crate::jsonrpc::code;

/// A client of one server. Cheap to clone; all clones share one connection.
///
/// Dropping the last clone ends the connection; [`Client::close`] does so in good order and waits
/// for a server that was started as a command to end.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Connection,
    timeout: Option<Duration>,
    answering: Answering,
    /// Which arguments of which tools are repeated in headers, as last listed.
    mirrored: Mutex<HashMap<String, Vec<Mirrored>>>,
    /// Whether the server has refused to send news of tasks.
    no_news: AtomicBool,
}

/// A page of a list of tasks.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<TaskInfo>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl Client {
    /// Connects to a server, in whichever era it speaks.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(target: Target) -> Result<Self, ClientError> {
        Self::builder(target).connect().await
    }

    /// A client to be set up before it connects.
    pub fn builder(target: Target) -> ClientBuilder {
        ClientBuilder::new(target)
    }

    pub(super) async fn open(target: Target, options: Options) -> Result<Self, ClientError> {
        let timeout = options.timeout;
        let connection = Connection::new(target, options);
        connection
            .session()
            .await
            .map_err(|error| connection.error("initialize", error, false))?;
        Ok(Self {
            inner: Arc::new(Inner {
                connection,
                timeout,
                answering: Answering::default(),
                mirrored: Mutex::default(),
                no_news: AtomicBool::new(false),
            }),
        })
    }

    /// What the server said about itself, and which version is spoken with it.
    ///
    /// # Errors
    /// The connection was lost and the server cannot be reached.
    pub async fn server(&self) -> Result<ServerInfo, ClientError> {
        Ok(self.session().await?.info.clone())
    }

    /// Replaces the roots, and tells a server of the older era that they have changed (2025-11-25 roots, "Root
    /// List Changes"); one of the newer era asks anew each time.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] if the client was built without [`ClientBuilder::roots`], so that the
    /// server knows of none; the connection is lost, and the next one has the new roots.
    pub async fn set_roots(
        &self,
        roots: impl IntoIterator<Item = Root>,
    ) -> Result<(), ClientError> {
        let Some(own) = &self.answerers().roots else {
            return Err(ClientError::Unsupported(
                "the server was told that this client has no roots; build it with .roots([])"
                    .into(),
            ));
        };
        *own.write().unwrap_or_else(PoisonError::into_inner) = roots.into_iter().collect();
        let connection = &self.inner.connection;
        connection.tell("notifications/roots/list_changed").await
    }

    /// The tools of the server, all pages.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or sends what is no list.
    pub async fn list_tools(&self) -> Result<Vec<ToolInfo>, ClientError> {
        let session = self.session().await?;
        let has_tasks = session.info.protocol.has_legacy_tasks();
        let read = |raw| ToolInfo::read(raw, has_tasks);
        let mut tools = self.all("tools/list", "tools", read).await?;
        let mut mirrored = HashMap::new();
        if session.era() == Era::Modern && matches!(session.link, Link::Http(_)) {
            tools.retain(|tool| match headers::mirrored(&tool.input_schema) {
                Ok(marks) => {
                    mirrored.insert(tool.name.clone(), marks);
                    true
                }
                Err(reason) => {
                    // 2026-07-28 "Custom Headers from Tool Parameters": left out, and said.
                    tracing::warn!(tool = tool.name, reason, "a tool is left out");
                    false
                }
            });
        }
        *self.mirrored_lock() = mirrored;
        Ok(tools)
    }

    /// Calls a tool and waits for its result. `arguments` is anything that serialises to an object;
    /// `()` for none.
    ///
    /// A tool that runs only as a task is run as one, and waited for.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub fn call<A: Serialize>(&self, tool: impl Into<String>, arguments: A) -> Call {
        Call::new(
            self.clone(),
            tool.into(),
            super::params::arguments(&arguments),
        )
    }

    /// Calls a tool as a task. The future ends as soon as the task exists; it then lives by itself.
    ///
    /// # Cancel safety
    /// If the future is dropped the task may exist all the same, and nobody knows its id.
    pub fn call_task<A: Serialize>(&self, tool: impl Into<String>, arguments: A) -> CallTask {
        CallTask::new(
            self.clone(),
            tool.into(),
            super::params::arguments(&arguments),
        )
    }

    /// The task with this id, which may have been created by another client, in another process or
    /// in the other era. Nothing is sent until something is asked of it.
    pub fn task(&self, id: impl Into<String>) -> TaskHandle {
        TaskHandle::new(self.clone(), id.into(), None, None)
    }

    /// A page of the list of tasks, for servers that have one ([`ServerInfo::task_list`]): in
    /// 2025-11-25 those that can tell their callers apart, in 2026-07-28 none.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] if the server has no list, and as for every request.
    pub async fn task_page(&self, cursor: Option<String>) -> Result<TaskPage, ClientError> {
        if !self.session().await?.info.task_list {
            return Err(ClientError::Unsupported(format!(
                "{} does not list tasks over this connection; ask for one by its id",
                self.inner.connection.target()
            )));
        }
        let page = self.page("tasks/list", "tasks", cursor).await?;
        let read = |raw| {
            Snapshot::read(raw)
                .map(|snapshot| snapshot.info)
                .map_err(|reason| self.not_protocol("tasks/list", &reason))
        };
        let tasks = page.entries.into_iter().map(read);
        Ok(TaskPage {
            tasks: tasks.collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// The whole list of tasks; see [`Client::task_page`].
    ///
    /// # Errors
    /// As [`Client::task_page`].
    pub async fn list_tasks(&self) -> Result<Vec<TaskInfo>, ClientError> {
        let mut tasks = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.task_page(cursor).await?;
            tasks.extend(page.tasks);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(tasks);
            }
        }
    }

    /// Sends a request this client has no name for, once, and returns its result as it came.
    ///
    /// # Errors
    /// The parameters are no object; the server cannot be reached or refuses.
    pub async fn request<P: Serialize>(
        &self,
        method: &str,
        params: &P,
    ) -> Result<RawJson, ClientError> {
        let ask = Ask {
            repeat: false,
            ..Ask::quick(method, Params::of(params)?)
        };
        self.inner.connection.ask(&ask).await
    }

    /// Ends the connection in good order: the session over HTTP, the child process of a command. The
    /// tasks of a server that keeps them go on.
    pub async fn close(&self) {
        self.inner.connection.close().await;
    }

    // ---- for the other files -------------------------------------------------------------------

    pub(super) async fn session(&self) -> Result<Arc<Session>, ClientError> {
        let connection = &self.inner.connection;
        connection
            .session()
            .await
            .map_err(|error| connection.error("initialize", error, false))
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<RawJson, ClientError> {
        self.inner.connection.ask(ask).await
    }

    /// A request that is answered within the time that the client was given.
    pub(super) fn in_time(&self, ask: Ask) -> Ask {
        Ask {
            timeout: self.inner.timeout,
            ..ask
        }
    }

    pub(super) async fn answer(&self, ask: &Ask) -> Result<Answer, ClientError> {
        self.inner.connection.answer(ask).await
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inner.connection.inbox
    }

    pub(super) fn next_id(&self) -> i64 {
        self.inner.connection.next_id()
    }

    pub(super) fn target(&self) -> String {
        self.inner.connection.target().to_string()
    }

    pub(super) fn answerers(&self) -> &Answerers {
        self.inbox().answerers()
    }

    pub(super) fn answering(&self) -> &Answering {
        &self.inner.answering
    }

    pub(super) fn no_news(&self) -> bool {
        self.inner.no_news.load(Ordering::Relaxed)
    }

    pub(super) fn set_no_news(&self) {
        self.inner.no_news.store(true, Ordering::Relaxed);
    }

    /// A request about a task: repeated if need be, answered soon.
    pub(super) async fn about_task(
        &self,
        method: &str,
        id: &str,
        params: Params,
    ) -> Result<RawJson, ClientError> {
        let ask = Ask::quick(method, params.with("taskId", id)).about(id);
        let ask = self.in_time(ask);
        self.answer(&ask).await?.map_err(|error| {
            // On a request whose parameters are right this code means the id (2025-11-25 tasks
            // "Error Handling", SEP-2663 "Error Handling").
            if error.code == code::INVALID_PARAMS {
                ClientError::TaskNotFound {
                    id: id.to_owned(),
                    reason: error.message.into_owned(),
                }
            } else {
                ClientError::Refused {
                    method: method.to_owned(),
                    error,
                }
            }
        })
    }

    /// Looks at a task.
    pub(super) async fn look(&self, id: &str) -> Result<Snapshot, ClientError> {
        let raw = self.about_task("tasks/get", id, Params::default()).await?;
        Snapshot::read(raw).map_err(|reason| self.not_protocol("tasks/get", &reason))
    }

    /// Answers one question of a task.
    pub(super) async fn update(
        &self,
        id: &str,
        key: &str,
        answer: RawJson,
    ) -> Result<(), ClientError> {
        let params = Params::default().with("inputResponses", &BTreeMap::from([(key, answer)]));
        self.about_task("tasks/update", id, params).await.map(drop)
    }

    /// The headers for a call of `tool`. Known once the tools were listed.
    pub(super) fn headers_for(&self, tool: &str, arguments: &RawJson) -> Vec<(String, String)> {
        let mirrored = self.mirrored_lock();
        mirrored
            .get(tool)
            .map_or_else(Vec::new, |marks| headers::of_arguments(marks, arguments))
    }

    /// Whether the tools were listed, so that their headers are known.
    pub(super) fn knows_headers_of(&self, tool: &str) -> bool {
        self.mirrored_lock().contains_key(tool)
    }

    pub(super) fn not_protocol(&self, method: &str, reason: &str) -> ClientError {
        ClientError::Protocol {
            target: self.target(),
            reason: format!("{method}: {reason}"),
        }
    }

    fn mirrored_lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Mirrored>>> {
        self.inner
            .mirrored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.target())
    }
}
