//! What a server sends without being asked: progress, news of tasks, requests of its own.
//!
//! Nothing that arrives here is relied on. Progress goes to whoever waits for its token, news of a
//! task only wakes whoever waits for the task, and then the task itself is looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use outlast_core::{Progress, RawJson};
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};

use super::answerers::Answerers;
use super::question::Request;
use crate::jsonrpc::{self, Notification, RpcError};

/// The receiving end of a client.
pub(super) struct Inbox {
    answerers: Answerers,
    log: Option<LogSink>,
    wanted: Mutex<Wanted>,
}

/// How much progress of one call is kept for a reader that is late.
const BACKLOG: usize = 1_024;

/// Where log messages of the server go.
pub(super) type LogSink = Arc<dyn Fn(&LogMessage) + Send + Sync>;

#[derive(Default)]
struct Wanted {
    progress: HashMap<String, mpsc::Sender<Progress>>,
    tasks: HashMap<String, Vec<Weak<Notify>>>,
}

/// A log message of the server.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[non_exhaustive]
pub struct LogMessage {
    /// `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
    pub level: String,
    /// Who says it.
    #[serde(default)]
    pub logger: Option<String>,
    /// What is said: a string, or any other JSON.
    pub data: RawJson,
}

/// Progress of one call. Dropping it unsubscribes.
pub(super) struct ProgressFeed {
    inbox: Arc<Inbox>,
    token: String,
    receiver: mpsc::Receiver<Progress>,
}

/// News of one task. Dropping it unsubscribes.
pub(super) struct TaskFeed {
    news: Arc<Notify>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams {
    progress_token: RawJson,
    progress: f64,
    #[serde(default)]
    total: Option<f64>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct TaskParams {
    #[serde(rename = "taskId")]
    task_id: String,
}

#[derive(Deserialize)]
struct CompleteParams {
    #[serde(rename = "elicitationId")]
    elicitation_id: String,
}

impl Inbox {
    pub(super) fn new(answerers: Answerers, log: Option<LogSink>) -> Self {
        Self {
            answerers,
            log,
            wanted: Mutex::default(),
        }
    }

    pub(super) fn answerers(&self) -> &Answerers {
        &self.answerers
    }

    pub(super) fn wants_log(&self) -> bool {
        self.log.is_some()
    }

    /// The progress sent with `token`, from now on.
    pub(super) fn progress(self: &Arc<Self>, token: String) -> ProgressFeed {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.wanted().progress.insert(token.clone(), sender);
        ProgressFeed {
            inbox: Arc::clone(self),
            token,
            receiver,
        }
    }

    /// The news of a task, from now on.
    pub(super) fn task(&self, id: &str) -> TaskFeed {
        let news = Arc::new(Notify::new());
        let mut wanted = self.wanted();
        let feeds = wanted.tasks.entry(id.to_owned()).or_default();
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(Arc::downgrade(&news));
        TaskFeed { news }
    }

    /// Takes a notification.
    pub(super) fn notify(&self, notification: &Notification<'_>) {
        let Some(params) = notification.params else {
            return;
        };
        match &*notification.method {
            "notifications/progress" => {
                let Ok(params) = serde_json::from_str::<ProgressParams>(params.get()) else {
                    return;
                };
                let wanted = self.wanted();
                if let Some(feed) = wanted.progress.get(params.progress_token.as_str()) {
                    // Nobody may be reading; what does not fit is made up for by the next look.
                    let _ = feed.try_send(Progress {
                        done: params.progress,
                        total: params.total,
                        message: params.message,
                        ..Progress::default()
                    });
                }
            }
            "notifications/tasks/status" | "notifications/tasks" => {
                if let Ok(params) = serde_json::from_str::<TaskParams>(params.get()) {
                    self.wake(&params.task_id);
                }
            }
            "notifications/elicitation/complete" => {
                if let Some(hear) = &self.answerers.url_completed
                    && let Ok(params) = serde_json::from_str::<CompleteParams>(params.get())
                {
                    hear(&params.elicitation_id);
                }
            }
            "notifications/message" => {
                if let Some(sink) = &self.log
                    && let Ok(message) = serde_json::from_str::<LogMessage>(params.get())
                {
                    sink(&message);
                }
            }
            _ => {}
        }
    }

    /// Wakes whoever waits for this task.
    pub(super) fn wake(&self, task_id: &str) {
        let mut wanted = self.wanted();
        let Some(feeds) = wanted.tasks.get_mut(task_id) else {
            return;
        };
        feeds.retain(|feed| feed.upgrade().map(|feed| feed.notify_one()).is_some());
        if feeds.is_empty() {
            wanted.tasks.remove(task_id);
        }
    }

    /// Answers a request of the server: the bytes of the response to `id`.
    pub(super) async fn respond(
        self: Arc<Self>,
        id: String,
        request: Result<Request, RpcError>,
    ) -> Vec<u8> {
        let answer = match request {
            Ok(request) => self.answerers.answer(&request, None).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(result) => jsonrpc::response(&id, result.as_str()),
            Err(error) => jsonrpc::error_response(Some(&id), &error),
        }
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of the server, owned: its id, and the request or what is wrong with it.
pub(super) fn owned(request: &jsonrpc::Request<'_>) -> (String, Result<Request, RpcError>) {
    let params = request
        .params
        .map(|params| jsonrpc::owned("params", params))
        .transpose();
    (
        request.id.get().to_owned(),
        params.map(|params| Request {
            method: request.method.clone().into_owned(),
            params,
        }),
    )
}

impl ProgressFeed {
    /// The next progress. Never ends by itself.
    pub(super) async fn next(&mut self) -> Progress {
        match self.receiver.recv().await {
            Some(progress) => progress,
            None => std::future::pending().await,
        }
    }

    /// The next progress if it is there already.
    pub(super) fn try_next(&mut self) -> Option<Progress> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for ProgressFeed {
    fn drop(&mut self) {
        self.inbox.wanted().progress.remove(&self.token);
    }
}

impl TaskFeed {
    /// Returns once there is news since the last return.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::Message;

    fn deliver(inbox: &Inbox, text: &str) {
        let Ok(Message::Notification(notification)) = Message::parse(text.as_bytes()) else {
            panic!("a notification")
        };
        inbox.notify(&notification);
    }

    #[tokio::test]
    async fn progress_goes_to_its_token_alone() {
        let inbox = Arc::new(Inbox::new(Answerers::default(), None));
        let (mut a, mut b) = (inbox.progress("1".into()), inbox.progress(r#""1""#.into()));
        deliver(
            &inbox,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5,"total":2,"message":"m"}}"#,
        );
        assert_eq!(
            a.next().await,
            Progress {
                done: 0.5,
                total: Some(2.0),
                message: Some("m".into()),
                ..Progress::default()
            }
        );
        assert_eq!(b.try_next(), None);
        drop((a, b));
        assert!(inbox.wanted().progress.is_empty());
    }

    #[tokio::test]
    async fn news_of_a_task_wakes_everybody_who_waits_for_it() {
        let inbox = Inbox::new(Answerers::default(), None);
        let (one, two, other) = (inbox.task("t"), inbox.task("t"), inbox.task("u"));
        deliver(
            &inbox,
            r#"{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t","status":"working"}}"#,
        );
        one.news().await;
        two.news().await;
        drop((one, two));
        inbox.wake("t");
        assert!(!inbox.wanted().tasks.contains_key("t"));
        assert!(inbox.wanted().tasks.contains_key("u"));
        drop(other);
    }

    #[tokio::test]
    async fn nonsense_is_passed_over() {
        let inbox = Inbox::new(Answerers::default(), None);
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":"x"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":[]}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/unheard/of","params":{}}"#,
        ] {
            deliver(&inbox, text);
        }
    }
}
