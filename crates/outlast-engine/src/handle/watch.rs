//! Watching a task, and waiting for its end.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{Error, Owner, Principal, Task, TaskId};

use super::Handle;
use crate::hub::Subscription;
use crate::sharing::{Asker, Right};

/// The pauses between attempts to read a task from a store that cannot be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Handle {
    /// Begins to watch a task.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn watch<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<Watch, Error> {
        self.watch_for(who.into(), id, Right::Read).await
    }

    pub(super) async fn watch_for(
        &self,
        who: Asker<'_>,
        id: TaskId,
        right: Right,
    ) -> Result<Watch, Error> {
        // Subscribe, then read: what changes in between is announced.
        let subscription = self.shared.hub.subscribe(id);
        let task = self.permitted(who, id, right).await?;
        Ok(Watch {
            subscription,
            handle: self.clone(),
            who: who.kept(),
            task,
            stale: false,
        })
    }

    /// Waits until the task has ended.
    ///
    /// # Errors
    /// As [`Handle::get`]; also if the task is deleted meanwhile.
    ///
    /// # Cancel safety
    /// A dropped wait changes nothing.
    pub async fn wait<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Arc<Task>, Error> {
        let mut watch = self.watch(who, id).await?;
        while !watch.task().is_finished() {
            watch.changed().await?;
        }
        Ok(Arc::clone(watch.task()))
    }

    /// Waits until a task has finished, also over a time in which the store cannot be reached: for callers
    /// whose work goes on meanwhile.
    ///
    /// # Errors
    /// As [`Handle::wait`], where trying again does not help; the engine stops.
    pub(crate) async fn outwait(&self, owner: &Owner, id: TaskId) -> Result<Arc<Task>, Error> {
        self.patiently(|| self.wait(owner, id)).await
    }

    /// Repeats `read` until the store answers: for those who go on with what they have read before.
    ///
    /// # Errors
    /// Of `read`, where trying again does not help; also of one that may succeed later, once the engine
    /// stops.
    ///
    /// # Cancel safety
    /// As `read`.
    pub async fn patiently<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match read().await {
                Err(error) if error.is_retryable() && !self.shared.stopping.is_cancelled() => {
                    tracing::debug!(%error, "cannot read a task that is waited for; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                done => return done,
            }
        }
    }
}

/// Watches one task: sees its present state and is told of each later one, though not of each in
/// between.
pub struct Watch {
    subscription: Subscription,
    handle: Handle,
    who: Principal,
    task: Arc<Task>,
    /// A change was announced and the task not read since.
    stale: bool,
}

impl Watch {
    /// The task as last seen.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Waits for a change of the task or of its log, and returns the task. A store that cannot be reached
    /// for a while ends no watch: it is asked again until it answers, or until the engine stops.
    ///
    /// # Errors
    /// As [`Handle::get`], where trying again does not help; also once the task has been deleted.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing: the next one sees the change.
    pub async fn changed(&mut self) -> Result<&Arc<Task>, Error> {
        if !self.stale {
            self.subscription.changed().await;
            // Remembered, for a wait that is dropped here must not swallow the change.
            self.stale = true;
        }
        let id = self.task.id();
        let read = || self.handle.get(&self.who, id);
        self.task = self.handle.patiently(read).await?;
        self.stale = false;
        Ok(&self.task)
    }
}
