//! Calls of tools, plain and as tasks.
//!
//! A call is sent once. It is sent again only where the server has said that it did nothing: it asks
//! for more first (2026-07-28 "Multi Round-Trip Requests"), wants headers it did not get, or runs the
//! tool as a task only.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use outlast_core::{Era, Progress, RawJson};
use serde::Deserialize;
use serde_json::json;

use super::error::ClientError;
use super::handle::TaskHandle;
use super::inbox::ProgressFeed;
use super::params::Params;
use super::peer::Client;
use super::result::CallResult;
use super::rounds::Rounds;
use super::session::Ask;
use super::task_info::Snapshot;
use crate::jsonrpc::{RpcError, code};
use crate::protocol::names::META_DETACH_AFTER;

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, ClientError>> + Send>>;

type OnProgress = Box<dyn FnMut(Progress) + Send>;

/// A call to be made; awaiting it makes it.
#[must_use = "a call is made by awaiting it"]
pub struct Call {
    sending: Sending,
    on_progress: Option<OnProgress>,
}

/// A call as a task to be made; awaiting it makes it.
#[must_use = "a call is made by awaiting it"]
pub struct CallTask {
    sending: Sending,
    ttl: Option<Duration>,
}

/// What both have in common.
struct Sending {
    client: Client,
    tool: String,
    arguments: Result<RawJson, ClientError>,
    meta: Vec<(String, RawJson)>,
}

/// What a call was answered with.
enum Outcome {
    Result(CallResult),
    Task(Box<Snapshot>),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    task: Option<RawJson>,
    #[serde(default, rename = "_meta")]
    meta: Option<AnsweredMeta>,
}

#[derive(Deserialize)]
struct AnsweredMeta {
    #[serde(default, rename = "modelcontextprotocol.io/task")]
    draft_task: Option<DraftTask>,
}

/// How drafts of SEP-1686 said that a task was created. Servers that say only this are in use.
#[derive(Deserialize)]
struct DraftTask {
    #[serde(default, rename = "taskId")]
    task_id: Option<String>,
}

impl Call {
    pub(super) fn new(
        client: Client,
        tool: String,
        arguments: Result<RawJson, ClientError>,
    ) -> Self {
        Self {
            sending: Sending {
                client,
                tool,
                arguments,
                meta: Vec::new(),
            },
            on_progress: None,
        }
    }

    /// Calls `on_progress` for each progress the server reports while the call runs.
    pub fn on_progress(mut self, on_progress: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// A member for the request's `_meta`.
    pub fn meta(mut self, key: impl Into<String>, value: RawJson) -> Self {
        self.sending.meta.push((key.into(), value));
        self
    }

    async fn run(mut self) -> Result<CallResult, ClientError> {
        let client = self.sending.client.clone();
        let mut feed = None;
        if self.on_progress.is_some() {
            let token = client.next_id().to_string();
            feed = Some(client.inbox().progress(token.clone()));
            let token = RawJson::parse(token).expect("a number is JSON");
            self.sending.meta.push(("progressToken".to_owned(), token));
        }
        // Our own server: the result is waited for, however long it takes.
        let params = Params::default().with_meta(META_DETACH_AFTER, &());
        let sent = self.sending.send(params, false);
        let outcome = match (feed, &mut self.on_progress) {
            (Some(feed), Some(report)) => with_progress(sent, feed, report).await,
            _ => sent.await,
        };
        match outcome {
            Ok(Outcome::Result(result)) => Ok(result),
            // Not asked for, and the result is what counts.
            Ok(Outcome::Task(task)) => client.task(task.info.id).result().await,
            Err(ClientError::Refused { error, .. }) if is_task_only(&error) => {
                let arguments = self.sending.arguments.clone_ok();
                let task = CallTask::new(client, self.sending.tool, arguments);
                let task = task.await?;
                match self.on_progress {
                    Some(report) => task.result_with_progress(report).await,
                    None => task.result().await,
                }
            }
            Err(error) => Err(error),
        }
    }
}

impl CallTask {
    pub(super) fn new(
        client: Client,
        tool: String,
        arguments: Result<RawJson, ClientError>,
    ) -> Self {
        Self {
            sending: Sending {
                client,
                tool,
                arguments,
                meta: Vec::new(),
            },
            ttl: None,
        }
    }

    /// How long after its creation the task shall be kept at least (2025-11-25 only; the newer era
    /// leaves it to the server). Servers may keep it longer or shorter.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// A member for the request's `_meta`.
    pub fn meta(mut self, key: impl Into<String>, value: RawJson) -> Self {
        self.sending.meta.push((key.into(), value));
        self
    }

    async fn run(mut self) -> Result<TaskHandle, ClientError> {
        let client = self.sending.client.clone();
        let session = client.session().await?;
        if !session.info.tasks {
            return Err(ClientError::Unsupported(format!(
                "{} does not run tools as tasks; call {:?} without a task",
                client.target(),
                self.sending.tool
            )));
        }
        let mut params = Params::default();
        let mut feed = None;
        if session.era() == Era::Legacy {
            let ttl = self
                .ttl
                .map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            params = params.with("task", &ttl.map_or(json!({}), |ttl| json!({"ttl": ttl})));
            // The token stays good for the life of the task (2025-11-25 tasks "Progress").
            let token = client.next_id().to_string();
            feed = Some(client.inbox().progress(token.clone()));
            let token = RawJson::parse(token).expect("a number is JSON");
            self.sending.meta.push(("progressToken".to_owned(), token));
        }
        match self.sending.send(params, true).await? {
            Outcome::Task(task) => {
                let id = task.info.id.clone();
                Ok(TaskHandle::new(client, id, Some(task.info), feed))
            }
            Outcome::Result(result) => Err(ClientError::AnsweredAtOnce(Box::new(result))),
        }
    }
}

impl Sending {
    /// Sends the call until it is answered with a result or a task.
    async fn send(&mut self, params: Params, as_task: bool) -> Result<Outcome, ClientError> {
        let arguments = self.arguments.clone_ok()?;
        let mut params = params
            .with("name", &self.tool)
            .with_raw("arguments", arguments.clone());
        for (key, value) in &self.meta {
            params.set_meta(key, value.clone());
        }
        let mut ask = Ask {
            method: "tools/call".to_owned(),
            params: params.clone(),
            name: Some(self.tool.clone()),
            headers: self.client.headers_for(&self.tool, &arguments),
            repeat: false,
            // A task, once it exists, is cancelled by its own request only.
            cancel: !as_task,
            timeout: None,
            tasks: as_task,
        };
        let mut rounds = Rounds::new(params);
        loop {
            let raw = match self.client.answer(&ask).await? {
                Ok(raw) => raw,
                Err(error)
                    if error.code == code::HEADER_MISMATCH
                        && !self.client.knows_headers_of(&self.tool) =>
                {
                    self.client.list_tools().await?;
                    ask.headers = self.client.headers_for(&self.tool, &arguments);
                    if ask.headers.is_empty() {
                        return Err(ClientError::Refused {
                            method: ask.method,
                            error,
                        });
                    }
                    continue;
                }
                Err(error) => {
                    return Err(ClientError::Refused {
                        method: ask.method,
                        error,
                    });
                }
            };
            match rounds.next(&self.client, "tools/call", &raw).await? {
                Some(params) => ask.params = params,
                None => return self.outcome(raw, as_task),
            }
        }
    }

    fn outcome(&self, raw: RawJson, as_task: bool) -> Result<Outcome, ClientError> {
        let answered: Answered = raw.to().unwrap_or_default();
        let wrong = |reason: String| self.client.not_protocol("tools/call", &reason);
        if answered.result_type.as_deref() == Some("task") {
            return Snapshot::read(raw)
                .map(|task| Outcome::Task(Box::new(task)))
                .map_err(wrong);
        }
        if as_task {
            if let Some(task) = answered.task {
                return Snapshot::read(task)
                    .map(|task| Outcome::Task(Box::new(task)))
                    .map_err(wrong);
            }
            let draft = answered.meta.and_then(|meta| meta.draft_task);
            if let Some(id) = draft.and_then(|task| task.task_id) {
                let task = json!({"taskId": id, "status": "working"});
                return Snapshot::read(task.into())
                    .map(|task| Outcome::Task(Box::new(task)))
                    .map_err(wrong);
            }
        }
        CallResult::read(raw).map(Outcome::Result).map_err(wrong)
    }
}

/// Whether the server refuses because the tool runs as a task only; then nothing was run.
fn is_task_only(error: &RpcError) -> bool {
    match error.code {
        // 2026-07-28: the message names the extension as what is missing.
        code::MISSING_CAPABILITY => error
            .data
            .as_ref()
            .is_some_and(|data| data.as_str().contains("io.modelcontextprotocol/tasks")),
        // 2025-11-25: the code for a required tool that was called plainly.
        code::METHOD_NOT_FOUND => true,
        _ => false,
    }
}

/// Awaits `sent` and hands on the progress that comes in the meantime, all of it before the result.
async fn with_progress<T>(
    sent: impl Future<Output = T>,
    mut feed: ProgressFeed,
    report: &mut OnProgress,
) -> T {
    let mut sent = std::pin::pin!(sent);
    let done = loop {
        tokio::select! {
            biased;
            progress = feed.next() => report(progress),
            done = &mut sent => break done,
        }
    };
    while let Some(progress) = feed.try_next() {
        report(progress);
    }
    done
}

/// A result whose error can be given away once: it is a complaint about what the caller passed.
trait CloneOk {
    fn clone_ok(&mut self) -> Result<RawJson, ClientError>;
}

impl CloneOk for Result<RawJson, ClientError> {
    fn clone_ok(&mut self) -> Result<RawJson, ClientError> {
        match self {
            Ok(value) => Ok(value.clone()),
            Err(_) => std::mem::replace(self, Ok(RawJson::empty_object())),
        }
    }
}

impl IntoFuture for Call {
    type Output = Result<CallResult, ClientError>;
    type IntoFuture = Boxed<CallResult>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl IntoFuture for CallTask {
    type Output = Result<TaskHandle, ClientError>;
    type IntoFuture = Boxed<TaskHandle>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
