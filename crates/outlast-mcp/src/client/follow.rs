//! Following a task: when to look again.
//!
//! Looking is the truth. It is paced by doubling pauses, from short ones up to what the server asks
//! for, and cut short by news: status notifications (2025-11-25), or a subscription to the task
//! (2026-07-28), which is opened for tasks that take longer than a moment and dropped for good where
//! the server has none. News is never a reason not to look.

use std::time::Duration;

use outlast_core::{Era, Progress, TaskStatus};
use serde_json::json;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::error::ClientError;
use super::inbox::{ProgressFeed, TaskFeed};
use super::link::Background;
use super::params::Params;
use super::peer::Client;
use super::session::Ask;
use super::task_info::{Snapshot, TaskInfo};

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause where the server names none.
const UNNAMED: Duration = Duration::from_secs(1);
/// The shortest time between two looks, however much news there is.
const GAP: Duration = Duration::from_millis(50);
/// How old a task has to get under our eyes before it is subscribed to.
const SUBSCRIBE_AFTER: Duration = Duration::from_millis(400);

/// Looks at one task again and again.
pub(super) struct Follow {
    client: Client,
    id: String,
    feed: TaskFeed,
    begun: Instant,
    looked: Option<Instant>,
    pause: Duration,
    subscription: Option<Background>,
    result_stream: Option<Background>,
}

impl Follow {
    pub(super) fn new(client: Client, id: String) -> Self {
        let feed = client.inbox().task(&id);
        Self {
            client,
            id,
            feed,
            begun: Instant::now(),
            looked: None,
            pause: Duration::ZERO,
            subscription: None,
            result_stream: None,
        }
    }

    /// Waits until it is time, and looks. The first look is at once.
    pub(super) async fn look(&mut self) -> Result<Snapshot, ClientError> {
        if let Some(looked) = self.looked {
            tokio::select! {
                () = tokio::time::sleep_until(looked + self.pause) => {}
                () = self.feed.news() => tokio::time::sleep_until(looked + GAP).await,
            }
        }
        let snapshot = self.client.look(&self.id).await?;
        self.looked = Some(Instant::now());
        let most = snapshot.info.poll_interval.unwrap_or(UNNAMED).max(GAP);
        self.pause = (self.pause * 2).max(FIRST).min(most);
        if !snapshot.info.status.is_terminal() {
            self.attend(&snapshot).await?;
        }
        Ok(snapshot)
    }

    /// Does what a task that goes on needs from us.
    async fn attend(&mut self, snapshot: &Snapshot) -> Result<(), ClientError> {
        let era = self.client.session().await?.era();
        match era {
            Era::Modern => {
                self.client
                    .answering()
                    .settle(&self.client, &self.id, &snapshot.questions);
                if self.subscription.is_none()
                    && !self.client.no_news()
                    && self.begun.elapsed() >= SUBSCRIBE_AFTER
                {
                    let subscription = subscribe(self.client.clone(), self.id.clone());
                    self.subscription = Some(Background::spawn(subscription));
                }
            }
            Era::Legacy => {
                // The questions of the task come on the stream of its result, where the server has no
                // other (2025-11-25 tasks "Input Required Status").
                if snapshot.info.status == TaskStatus::InputRequired
                    && self.client.answerers().are_there()
                    // A server may have ended it before the task did; then it is asked anew.
                    && self.result_stream.as_ref().is_none_or(Background::is_finished)
                {
                    let (client, id) = (self.client.clone(), self.id.clone());
                    self.result_stream = Some(Background::spawn(async move {
                        let params = Params::default().with("taskId", &id);
                        // Its answer, or refusal, is looked for again when the task has ended.
                        let _ = client
                            .answer(&Ask::quick("tasks/result", params).about(&id))
                            .await;
                        client.inbox().wake(&id);
                    }));
                } else if snapshot.info.status == TaskStatus::Working {
                    self.result_stream = None;
                }
            }
        }
        Ok(())
    }
}

/// Keeps a subscription to the task open. The notifications reach the inbox by themselves.
async fn subscribe(client: Client, id: String) {
    let mut backoff = Backoff::endless();
    loop {
        let filter = json!({"taskIds": [id]});
        let params = Params::default().with("notifications", &filter);
        let ask = Ask {
            repeat: false,
            ..Ask::quick("subscriptions/listen", params)
        };
        match client.answer(&ask).await {
            Ok(Err(error)) => {
                tracing::debug!(%error, "the server has no subscriptions; polling alone");
                client.set_no_news();
                return;
            }
            // It ended, in good order or not.
            Ok(Ok(_)) | Err(ClientError::Lost { .. } | ClientError::Connect { .. }) => {}
            Err(error) => {
                tracing::debug!(%error, "subscribing failed; polling alone");
                client.set_no_news();
                return;
            }
        }
        backoff.pause().await;
    }
}

/// The changes of a task; see [`TaskHandle::watch`](super::TaskHandle::watch).
pub struct Watch {
    follow: Follow,
    feed: Option<ProgressFeed>,
    last: Option<TaskInfo>,
    ended: bool,
}

impl Watch {
    pub(super) fn new(client: Client, id: String, feed: Option<ProgressFeed>) -> Self {
        Self {
            follow: Follow::new(client, id),
            feed,
            last: None,
            ended: false,
        }
    }

    /// The next change; `None` after the one in which the task ended. Several changes between two
    /// looks are one.
    ///
    /// # Errors
    /// The task is gone, or the server cannot be reached for longer than the client's patience. The
    /// watch has ended then.
    ///
    /// # Cancel safety
    /// A dropped call loses nothing but time.
    pub async fn next(&mut self) -> Option<Result<TaskInfo, ClientError>> {
        if self.ended {
            return None;
        }
        loop {
            let next = match (&mut self.feed, &self.last) {
                // Progress notifications carry figures that the state of other servers lacks.
                (Some(feed), Some(last)) => tokio::select! {
                    looked = self.follow.look() => looked.map(|snapshot| snapshot.info),
                    progress = feed.next() => Ok(TaskInfo { progress, ..last.clone() }),
                },
                _ => self.follow.look().await.map(|snapshot| snapshot.info),
            };
            let mut info = match next {
                Ok(info) => info,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            self.ended = info.status.is_terminal();
            if let Some(last) = &self.last {
                info.progress = later(&last.progress, info.progress);
                if !self.ended && !differs(last, &info) {
                    continue;
                }
            }
            self.last = Some(info.clone());
            return Some(Ok(info));
        }
    }
}

/// Figures do not go back because the state does not tell them or tells them later.
fn later(known: &Progress, seen: Progress) -> Progress {
    if seen.is_empty() || seen.done < known.done {
        known.clone()
    } else {
        seen
    }
}

fn differs(one: &TaskInfo, other: &TaskInfo) -> bool {
    (one.status, &one.message, &one.progress) != (other.status, &other.message, &other.progress)
}
