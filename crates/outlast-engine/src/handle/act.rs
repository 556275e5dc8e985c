//! What can be done to a task from outside: cancelling, answering, signalling, deleting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::{Answered, CancelMode};
use outlast_core::store::{CancelReply, Signalled};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::{Answer, Error, NewSignal, RawJson, TaskId};

use super::Handle;
use crate::sharing::{Asker, Right};

/// How a surface wants a task to be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelBy {
    /// Return when the request is recorded; the task ends when its worker has stopped, after 30 s at
    /// the latest (2026-07-28, REST, command line).
    Request,
    /// Return when the task is cancelled: wait for the worker this long, then write it off
    /// (2025-11-25: the answer must say `cancelled`).
    Wait(Duration),
}

/// How long a worker may take to stop before its task is written off as cancelled.
const CANCEL_DEADLINE: Duration = Duration::from_secs(30);

impl Handle {
    /// Cancels a task. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn cancel<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        reason: Option<String>,
        by: CancelBy,
    ) -> Result<CancelReply, Error> {
        let mut watch = self.watch_for(who.into(), id, Right::Run).await?;
        let ask = CancelMode::Ask(CANCEL_DEADLINE);
        let reply = self.store().cancel(id, reason.clone(), ask).await?;
        if let CancelReply::Cancelled(task) = &reply {
            self.shared.meters.ended(task);
        }
        let CancelBy::Wait(patience) = by else {
            return Ok(reply);
        };
        if !matches!(reply, CancelReply::Requested(_)) {
            return Ok(reply);
        }
        let stopped = async {
            while !watch.task().is_finished() {
                watch.changed().await?;
            }
            Ok(CancelReply::Cancelled(Arc::clone(watch.task())))
        };
        match tokio::time::timeout(patience, stopped).await {
            Ok(stopped) => stopped,
            Err(_) => match self.store().cancel(id, reason, CancelMode::Force).await? {
                // It stopped at the last moment, and because it was cancelled.
                CancelReply::AlreadyFinished(task) => Ok(CancelReply::Cancelled(task)),
                reply => Ok(reply),
            },
        }
    }

    /// Answers questions of a task. Keys that are not open are ignored and reported.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn answer<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        answers: BTreeMap<String, RawJson>,
    ) -> Result<Answered, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        let answers = answers
            .into_iter()
            .map(|(key, answer)| (key, Answer::Given(answer)))
            .collect();
        self.store().answer(id, answers).await
    }

    /// Sends a signal into a task; see [`outlast_core::signal`] for order, ids and limits.
    ///
    /// # Errors
    /// As [`Handle::get`]; [`Error::Finished`] if the task has ended; [`Error::Invalid`] with the limit
    /// that the signal exceeds.
    ///
    /// # Cancel safety
    /// A dropped call has sent the signal or has not; give it an id to repeat it.
    pub async fn signal<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        signal: NewSignal,
    ) -> Result<Signalled, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        self.store().signal(id, signal).await
    }

    /// Has a message to one of a task's webhooks sent again, by its [`Delivery::id`], whatever came of it: at
    /// once, and for as long as a new one would be tried. `false` if there is no such message, or no longer.
    ///
    /// # Errors
    /// As [`Handle::get`].
    ///
    /// # Cancel safety
    /// A dropped call has asked for it or has not; to ask twice is to send it twice.
    ///
    /// [`Delivery::id`]: outlast_core::webhook::Delivery::id
    pub async fn resend<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        delivery: &str,
    ) -> Result<bool, Error> {
        let mut task = self.permitted(who.into(), id, Right::Run).await?;
        loop {
            let mut all = task.state.deliveries.iter();
            let Some(found) = all.find(|one| one.id(id) == delivery) else {
                return Ok(false);
            };
            let which = Taken {
                number: found.number,
                webhook: found.webhook,
                taken: found.taken,
            };
            if self
                .store()
                .delivery_put(id, which, DeliveryEnd::Resend)
                .await?
            {
                return Ok(true);
            }
            // It was handed out since it was read, or its task was deleted.
            task = self.store().get(id).await?.ok_or(Error::NotFound(id))?;
        }
    }

    /// Deletes a finished task with everything that belongs to it; `false` if it has not ended.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn delete<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<bool, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        self.store().delete(id).await
    }
}
