//! The couriers of a process: which tasks have one, and what they are told from outside.
//!
//! A courier is called when there may be something to bring: a task was created for a session, a client
//! waits for a result, a stream was opened, a question was refused. Calls are counted, so that a courier that
//! is about to leave does not miss one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use outlast_core::store::Filter;
use outlast_core::{Owner, Phase, TaskId};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::courier::{follow, pause_after};
use super::live::Session;
use super::outlet::Outlet;
use super::question::QuestionId;
use crate::server::Inner;

/// How many unfinished tasks get a courier when a stream is opened.
const AT_ONCE: usize = 500;

/// Which questions are done with.
type Told = broadcast::Receiver<(TaskId, String)>;

/// The couriers of this process.
#[derive(Default)]
pub(crate) struct Couriers {
    by_task: Mutex<HashMap<TaskId, Arc<Round>>>,
}

/// What a courier is told from outside.
#[derive(Default)]
pub(super) struct Round {
    waiting: Mutex<Waiting>,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Waiting {
    /// Clients that wait for the result, the latest last.
    pub(super) results: Vec<(Outlet, Arc<Session>)>,
    /// The creating session has shown that it knows the task.
    pub(super) known: bool,
    /// The response that names the task was sent at this moment.
    pub(super) introduced: Option<Instant>,
    /// Deliveries that the client refused: the question's key, and which delivery it was.
    pub(super) refused: Vec<(String, u32)>,
    /// Questions that sent a person to a URL where all is done, not told yet.
    pub(super) completed: Vec<String>,
    /// Counts calls from outside, so that a courier about to leave notices one.
    pub(super) calls: u64,
}

impl Round {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

/// A client that waits for the result of a task, until this is dropped.
pub(crate) struct Attached {
    round: Arc<Round>,
    outlet: Outlet,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.round
            .lock()
            .results
            .retain(|(outlet, _)| !outlet.is(&self.outlet));
        self.round.changed.notify_one();
    }
}

impl Couriers {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Round>>> {
        self.by_task.lock().expect("nothing panics under this lock")
    }

    /// Sees to it that a courier follows the task and looks at the streams anew.
    fn call(&self, server: &Arc<Inner>, owner: &Owner, task: TaskId) -> Arc<Round> {
        let mut by_task = self.lock();
        if let Some(round) = by_task.get(&task) {
            round.lock().calls += 1;
            round.changed.notify_one();
            return Arc::clone(round);
        }
        let round = Arc::<Round>::default();
        by_task.insert(task, Arc::clone(&round));
        tokio::spawn(follow(
            Arc::clone(server),
            owner.clone(),
            task,
            Arc::clone(&round),
        ));
        round
    }

    /// A client waits for the result on `outlet`.
    pub(crate) fn attach(
        &self,
        server: &Arc<Inner>,
        session: &Arc<Session>,
        task: TaskId,
        outlet: &Outlet,
    ) -> Attached {
        let round = self.call(server, &session.owner, task);
        {
            let mut waiting = round.lock();
            waiting.known = true;
            waiting.results.push((outlet.clone(), Arc::clone(session)));
        }
        round.changed.notify_one();
        Attached {
            round,
            outlet: outlet.clone(),
        }
    }

    /// A task was created by a session, or a question of one is to be sent: if any stream could
    /// carry a message about it, somebody must bring it.
    pub(crate) fn created(&self, server: &Arc<Inner>, session: &Session, task: TaskId) {
        if session.general().is_some() || !server.sessions.listening(&session.owner).is_empty() {
            let round = self.call(server, &session.owner, task);
            round.lock().introduced = Some(Instant::now());
            round.changed.notify_one();
        }
    }

    /// The session that created a task has asked about it.
    pub(crate) fn known(&self, task: TaskId) {
        let round = self.lock().get(&task).cloned();
        if let Some(round) = round
            && !std::mem::replace(&mut round.lock().known, true)
        {
            round.changed.notify_one();
        }
    }

    /// A client refused a question because it does not know the task yet: it is sent again, after a
    /// pause. `false` if that has happened too often.
    pub(crate) fn refused(
        &self,
        server: &Arc<Inner>,
        owner: &Owner,
        question: &QuestionId,
    ) -> bool {
        if pause_after(question.delivery).is_none() {
            return false;
        }
        let round = self.call(server, owner, question.task);
        round
            .lock()
            .refused
            .push((question.key.clone(), question.delivery));
        round.changed.notify_one();
        true
    }

    /// A stream was opened: whatever waits for one is brought.
    pub(crate) async fn opened(&self, server: &Arc<Inner>, owner: &Owner) {
        let filter = Filter {
            phases: Phase::UNFINISHED.to_vec(),
            ..Filter::default()
        };
        match server.handle.list(owner, filter, None, AT_ONCE).await {
            Ok(page) => {
                for task in page.tasks {
                    let from_here = task.spec.reply_to.is_some();
                    if from_here || task.open_inputs().next().is_some() {
                        self.call(server, owner, task.id());
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for open questions"),
        }
    }

    /// What the question `key` of a task sent a person to a URL for is done. Without a courier nobody was
    /// asked from here, and nobody is told.
    fn url_completed(&self, task: TaskId, key: String) {
        if let Some(round) = self.lock().get(&task) {
            round.lock().completed.push(key);
            round.changed.notify_one();
        }
    }

    /// Leaves, unless somebody called since the courier last looked.
    pub(super) fn leave(&self, task: TaskId, round: &Arc<Round>, seen: u64) -> bool {
        let mut by_task = self.lock();
        let waiting = round.lock();
        if waiting.calls != seen || !waiting.results.is_empty() {
            return false;
        }
        by_task.remove(&task);
        true
    }

    pub(super) fn finished(&self, task: TaskId) {
        self.lock().remove(&task);
    }
}

/// Brings to the couriers what handlers say of URLs that people were sent to, until the server ends.
pub(crate) async fn tell_completed_urls(server: Weak<Inner>, mut told: Told) {
    loop {
        match told.recv().await {
            Ok((task, key)) => match server.upgrade() {
                Some(server) => server.couriers.url_completed(task, key),
                None => return,
            },
            // A hint that was missed: clients do not depend on it.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
