//! A task in the hands of a client: an id, and what can be asked of it.

use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use outlast_core::{Era, Progress, RawJson, TaskStatus};
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::follow::{Follow, Watch};
use super::inbox::ProgressFeed;
use super::params::Params;
use super::peer::Client;
use super::question::{Asked, Elicited, OpenQuestion, Reply, Request};
use super::result::CallResult;
use super::session::Ask;
use super::task_info::{Snapshot, TaskInfo};
use crate::jsonrpc::RpcError;

/// A task of a server. Cheap to clone. Dropping it changes nothing: the task lives by itself, and
/// [`Client::task`] takes it up again by its id, from anywhere.
///
/// Awaiting it gives its result, as [`TaskHandle::result`] does.
#[derive(Clone)]
pub struct TaskHandle {
    client: Client,
    id: String,
    created: Option<Arc<TaskInfo>>,
    progress: Arc<Mutex<Option<ProgressFeed>>>,
}

impl TaskHandle {
    pub(super) fn new(
        client: Client,
        id: String,
        created: Option<TaskInfo>,
        progress: Option<ProgressFeed>,
    ) -> Self {
        let (created, progress) = (created.map(Arc::new), Arc::new(Mutex::new(progress)));
        Self {
            client,
            id,
            created,
            progress,
        }
    }

    /// The id. Whoever holds it, and may, can look at the task.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the server said when it created the task; nothing for a task that was taken up by id.
    pub fn created(&self) -> Option<&TaskInfo> {
        self.created.as_deref()
    }

    /// Where the task stands now.
    ///
    /// # Errors
    /// [`ClientError::TaskNotFound`], or the server cannot be reached for longer than the client's
    /// patience.
    pub async fn status(&self) -> Result<TaskInfo, ClientError> {
        Ok(self.client.look(&self.id).await?.info)
    }

    /// Waits until the task has ended, in whichever way. Questions that come up are answered by the
    /// client's answerer, if it has one.
    ///
    /// # Errors
    /// As [`TaskHandle::status`].
    ///
    /// # Cancel safety
    /// Stopping to wait changes nothing.
    pub async fn wait(&self) -> Result<TaskInfo, ClientError> {
        Ok(self.end().await?.info)
    }

    /// Waits for the end and fetches the result. Can be called as often as wanted.
    ///
    /// A result that the tool calls an error is a result: see [`CallResult::is_error`].
    ///
    /// # Errors
    /// [`ClientError::TaskFailed`], [`ClientError::TaskCancelled`], and as [`TaskHandle::status`].
    ///
    /// # Cancel safety
    /// Stopping to wait changes nothing.
    pub async fn result(&self) -> Result<CallResult, ClientError> {
        let end = self.end().await?;
        self.result_at(end).await
    }

    /// Waits for the end and reads the value the tool returned; see [`CallResult::data`].
    ///
    /// # Errors
    /// As [`TaskHandle::result`] and [`CallResult::data`].
    pub async fn data<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        self.result().await?.data()
    }

    /// Asks the server to stop the task, and says where it stands then: `cancelled`, or still
    /// `working` while it is being stopped, or as it ended before. Cancelling a finished task is no
    /// error and changes nothing.
    ///
    /// # Errors
    /// As [`TaskHandle::status`].
    pub async fn cancel(&self) -> Result<TaskInfo, ClientError> {
        match self
            .client
            .about_task("tasks/cancel", &self.id, Params::default())
            .await
        {
            // 2025-11-25 refuses to cancel what has ended in the same words as what is unknown.
            Ok(_) | Err(ClientError::TaskNotFound { .. }) => self.status().await,
            Err(error) => Err(error),
        }
    }

    /// The questions that the task asks at present, as far as this client may be asked: by
    /// [`ClientBuilder::on_question`](super::ClientBuilder::on_question) and its like it has said so.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] with a server of 2025-11-25, which asks its questions itself while
    /// somebody waits for the task; and as [`TaskHandle::status`].
    pub async fn questions(&self) -> Result<Vec<OpenQuestion>, ClientError> {
        self.require_update().await?;
        let open = self.client.look(&self.id).await?.questions;
        let read = |(key, request): (String, Request)| match request.elicitation(Some(&self.id)) {
            Ok(asked) => OpenQuestion {
                key,
                asked: match asked {
                    Elicited::Form(question) => Asked::Form(question),
                    Elicited::Url(question) => Asked::Url(question),
                },
            },
            // Sampling, roots, or what only a later client knows.
            Err(_) => OpenQuestion {
                key,
                asked: Asked::Other(request.method),
            },
        };
        Ok(open.into_iter().map(read).collect())
    }

    /// Answers one of the task's questions. A question that is not open any more is left as it is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the answer does not fit the question, which stays open then;
    /// [`ClientError::Unsupported`] as [`TaskHandle::questions`]; and as for every request.
    pub async fn answer(&self, question: &OpenQuestion, reply: Reply) -> Result<(), ClientError> {
        self.require_update().await?;
        let response = match question.asked {
            Asked::Url(_) => reply.into_consent(),
            Asked::Form(_) | Asked::Other(_) => reply.into_result(),
        };
        let responses = BTreeMap::from([(question.key.as_str(), response)]);
        let params = Params::default()
            .with("inputResponses", &responses)
            .with("taskId", &self.id);
        let ask = Ask::quick("tasks/update", params).about(&self.id);
        let answered = self.client.answer(&ask).await?;
        answered.map(drop).map_err(|error| ClientError::Refused {
            method: "tasks/update".to_owned(),
            error,
        })
    }

    async fn require_update(&self) -> Result<(), ClientError> {
        match self.client.session().await?.era() {
            Era::Modern => Ok(()),
            Era::Legacy => Err(ClientError::Unsupported(
                "2025-11-25 has no request for the answers of a task: the server asks while somebody \
                 waits for it"
                    .into(),
            )),
        }
    }

    /// Every change of the task from now on, up to its end. The first item is where it stands now.
    pub fn watch(&self) -> Watch {
        let feed = self
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Watch::new(self.client.clone(), self.id.clone(), feed)
    }

    /// The progress of the task from now on, up to its end. Servers other than ours may tell no
    /// figures; what they say the task is doing is then the message.
    pub fn progress(&self) -> ProgressStream {
        ProgressStream {
            watch: self.watch(),
            last: None,
        }
    }

    /// Waits for the result and reports the progress on the way.
    pub(super) async fn result_with_progress(
        &self,
        mut report: impl FnMut(Progress),
    ) -> Result<CallResult, ClientError> {
        let mut progress = self.progress();
        while let Some(next) = progress.next().await {
            report(next?);
        }
        self.result().await
    }

    /// The result of a task that has ended.
    pub(super) async fn result_at(&self, end: Snapshot) -> Result<CallResult, ClientError> {
        let id = || self.id.clone();
        if end.info.status == TaskStatus::Cancelled {
            return Err(ClientError::TaskCancelled { id: id() });
        }
        if let Some(result) = end.result {
            return self.read(result);
        }
        if let Some(error) = end.error {
            return Err(ClientError::TaskFailed { id: id(), error });
        }
        if self.client.session().await?.era() == Era::Modern {
            let status = end.info.status.as_str();
            let reason =
                format!("a task that is {status} comes without a result and without an error");
            return Err(self.client.not_protocol("tasks/get", &reason));
        }
        // 2025-11-25: fetched apart; a JSON-RPC error is what the tool ended with.
        let params = Params::default().with("taskId", &self.id);
        match self
            .client
            .answer(&Ask::quick("tasks/result", params).about(&self.id))
            .await?
        {
            Ok(result) => self.read(result),
            Err(error) => Err(ClientError::TaskFailed {
                id: id(),
                error: with_reason(error, &end),
            }),
        }
    }

    async fn end(&self) -> Result<Snapshot, ClientError> {
        let mut follow = Follow::new(self.client.clone(), self.id.clone());
        loop {
            let snapshot = follow.look().await?;
            if snapshot.info.status.is_terminal() {
                return Ok(snapshot);
            }
        }
    }

    fn read(&self, raw: RawJson) -> Result<CallResult, ClientError> {
        CallResult::read(raw)
            .map_err(|reason| self.client.not_protocol("the task's result", &reason))
    }
}

impl std::fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskHandle({} at {})", self.id, self.client.target())
    }
}

/// A server that says nothing about why says it in the status.
fn with_reason(mut error: RpcError, end: &Snapshot) -> RpcError {
    if error.message.is_empty()
        && let Some(message) = &end.info.message
    {
        error.message = message.clone().into();
    }
    error
}

/// The progress of a task; see [`TaskHandle::progress`].
pub struct ProgressStream {
    watch: Watch,
    last: Option<Progress>,
}

impl ProgressStream {
    /// The next progress; `None` once the task has ended.
    ///
    /// # Errors
    /// As [`TaskHandle::status`]; the stream has ended then.
    ///
    /// # Cancel safety
    /// No progress is lost but what a later one makes obsolete.
    pub async fn next(&mut self) -> Option<Result<Progress, ClientError>> {
        loop {
            let info = match self.watch.next().await? {
                Ok(info) => info,
                Err(error) => return Some(Err(error)),
            };
            let mut progress = info.progress;
            if progress.is_empty() && !info.status.is_terminal() {
                progress.message = info.message;
            }
            if !progress.is_empty() && self.last.as_ref() != Some(&progress) {
                self.last = Some(progress.clone());
                return Some(Ok(progress));
            }
        }
    }
}

type Boxed = Pin<Box<dyn Future<Output = Result<CallResult, ClientError>> + Send>>;

impl IntoFuture for TaskHandle {
    type Output = Result<CallResult, ClientError>;
    type IntoFuture = Boxed;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.result().await })
    }
}

impl IntoFuture for &TaskHandle {
    type Output = Result<CallResult, ClientError>;
    type IntoFuture = Boxed;

    fn into_future(self) -> Self::IntoFuture {
        self.clone().into_future()
    }
}
