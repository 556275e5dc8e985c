//! A synchronous call that must be in the store before it may run: a limit, a rate, a key or a paused
//! queue applies to it, so the store decides when it runs, or that it is another call's task.
//!
//! The caller waits while a worker runs it, and hears what it reports through [`Observers`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use outlast_core::{InputRequest, LogLine, Progress, TaskId, TaskSpec};
use tokio_util::sync::CancellationToken;

use crate::handle::{CancelBy, Handle, gone, waited_for};
use crate::observer::Observer;
use crate::running::End;

/// Who wants to hear from a task that a worker of this process may run.
#[derive(Default)]
pub(crate) struct Observers {
    by_task: Mutex<HashMap<TaskId, Vec<Arc<dyn Observer>>>>,
}

impl Observers {
    /// The observers of a task, as one. Those who come later do not hear from this attempt.
    pub(crate) fn of(&self, task: TaskId) -> Option<Arc<dyn Observer>> {
        let by_task = self.by_task.lock().unwrap_or_else(PoisonError::into_inner);
        let all = by_task.get(&task)?.clone();
        Some(Arc::new(All(all)))
    }

    fn add(&self, task: TaskId, observer: Arc<dyn Observer>) {
        let mut by_task = self.by_task.lock().unwrap_or_else(PoisonError::into_inner);
        by_task.entry(task).or_default().push(observer);
    }

    fn remove(&self, task: TaskId, observer: &Arc<dyn Observer>) {
        let mut by_task = self.by_task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = by_task.get_mut(&task) {
            all.retain(|one| !Arc::ptr_eq(one, observer));
            if all.is_empty() {
                by_task.remove(&task);
            }
        }
    }
}

struct All(Vec<Arc<dyn Observer>>);

impl Observer for All {
    fn progress(&self, progress: &Progress) {
        self.0.iter().for_each(|one| one.progress(progress));
    }

    fn log(&self, line: &LogLine) {
        self.0.iter().for_each(|one| one.log(line));
    }

    fn asked(&self, questions: &[InputRequest]) {
        self.0.iter().for_each(|one| one.asked(questions));
    }
}

/// An observer in its place until it is dropped.
struct Listening {
    handle: Handle,
    task: TaskId,
    observer: Arc<dyn Observer>,
}

impl Listening {
    fn new(handle: &Handle, task: TaskId, observer: &Arc<dyn Observer>) -> Self {
        let observer = Arc::clone(observer);
        handle.shared.observers.add(task, Arc::clone(&observer));
        Self {
            handle: handle.clone(),
            task,
            observer,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let observers = &self.handle.shared.observers;
        observers.remove(self.task, &self.observer);
    }
}

/// What the caller and its call share.
pub(crate) struct Stored {
    /// The id that the call would have by itself.
    pub(crate) own: TaskId,
    /// Its task, once it has one.
    pub(crate) task: OnceLock<TaskId>,
    /// The caller wants it stopped.
    pub(crate) cancel: CancellationToken,
    /// Why there is no task.
    pub(crate) refused: OnceLock<outlast_core::Error>,
}

/// Creates the task, or finds the one that the call means, and waits for its end.
pub(crate) async fn run(
    handle: Handle,
    spec: TaskSpec,
    observer: Option<Arc<dyn Observer>>,
    stored: Arc<Stored>,
) -> End {
    let owner = spec.owner.clone();
    // Others may wait for such a task too: one caller that goes away must not end it for them.
    let is_shared = spec.idempotency.is_some() || spec.same.is_some();
    let listen = |task| {
        let observer = observer.as_ref();
        observer.map(|observer| Listening::new(&handle, task, observer))
    };
    let mut _listening = listen(spec.id);
    let task = match handle.create_spec(spec).await {
        Ok(task) => task,
        Err(error) => {
            let outcome = gone(&error.to_string());
            let _ = stored.refused.set(error);
            return outcome.into();
        }
    };
    let id = task.id();
    if id != stored.own {
        _listening = listen(id);
    }
    stored
        .task
        .set(id)
        .expect("only this future creates the task");
    if let Some(observer) = &observer {
        observer.stored(id);
    }
    let mut wait = std::pin::pin!(handle.outwait(&owner, id));
    let waited = tokio::select! {
        waited = &mut wait => waited,
        () = handle.stopping() => return End::GoesOn,
        () = stored.cancel.cancelled(), if !is_shared => {
            if let Err(error) = handle.cancel(&owner, id, None, CancelBy::Request).await {
                return gone(&error.to_string()).into();
            }
            wait.await
        }
    };
    waited_for(waited)
}
