//! The couriers of a process: when one is called, and what each is told from outside.
//!
//! A courier is called by whoever gives it somewhere to go: a session that creates a task or waits for
//! one, a stream that is opened. What nobody here has introduced, which is children, tasks of other
//! surfaces and other instances, and what was queued when its client came, is found when it changes: all
//! changes are listened to, and a task that asks, or belongs to a session here, gets its courier. A
//! courier follows its task as the task's owner, whoever called it.
//!
//! A client that waits for somebody else's task and may only read it is told of no question: its answer
//! would be refused, and nobody else would be asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use outlast_core::store::Filter;
use outlast_core::{Owner, Phase, Principal, Scope, Standing, Task, TaskId};
use outlast_engine::Changes;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::courier::follow;
use super::live::Session;
use super::outlet::Outlet;
use super::question::QuestionId;
use crate::jsonrpc::RequestId;
use crate::server::Inner;

/// How long after its introduction a client is taken to know a task that it has not asked about.
pub(super) const KNOWN_AFTER: Duration = Duration::from_secs(1);

/// How often a question is sent to clients that refuse it as unknown, or whose answer does not fit, before
/// that counts as their answer: with the pauses between, twenty seconds.
pub(crate) const TRIES: u32 = 10;

/// How long the question waits that was refused for the first time; after that twice as long each
/// time, up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);

pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many tasks are read at a time when a stream is opened, and how many of those that ask nothing
/// get a courier at once, the earliest first. The others get theirs when they change.
const AT_ONCE: usize = 500;

/// How long after a failed try the tasks of a client that has come are looked for again.
const AGAIN: Duration = Duration::from_secs(1);

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
    pub(super) results: Vec<Waiter>,
    /// The creating session has shown that it knows the task.
    pub(super) known: bool,
    /// The response that names the task was sent at this moment.
    pub(super) introduced: Option<Instant>,
    /// Deliveries that are to be repeated: the question's key, and which delivery it was.
    pub(super) again: Vec<(String, u32)>,
    /// Deliveries of an earlier process that their client still has.
    pub(super) asked: Vec<Asked>,
    /// Deliveries that were answered.
    pub(super) answered: Vec<(String, u32)>,
    /// Deliveries that the client was told to forget. What it says of them, that it has done so, is no
    /// answer.
    pub(super) withdrawn: BTreeSet<(String, u32)>,
    /// Questions that sent a person to a URL where all is done, not told yet.
    pub(super) completed: Vec<String>,
    /// Counts calls from outside, so that a courier about to leave notices one.
    pub(super) calls: u64,
}

/// A question that a client was sent by an earlier process.
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) delivery: u32,
    pub(super) id: RequestId,
    pub(super) session: Arc<Session>,
}

/// A client that waits for the result of a task.
pub(crate) struct Waiter {
    pub(crate) outlet: Outlet,
    pub(crate) session: Arc<Session>,
    /// Whether it may answer what the task asks.
    pub(crate) may_answer: bool,
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
            .retain(|waiter| !waiter.outlet.is(&self.outlet));
        self.round.changed.notify_one();
    }
}

impl Couriers {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Round>>> {
        self.by_task.lock().expect("nothing panics under this lock")
    }

    /// Sees to it that a courier follows the task, which is `owner`'s, and looks at the streams anew.
    fn call(&self, server: &Arc<Inner>, owner: &Owner, task: TaskId) -> Arc<Round> {
        self.call_with(server, owner, task, |_| {})
    }

    /// As [`Couriers::call`], and tells the courier something before it looks.
    fn call_with(
        &self,
        server: &Arc<Inner>,
        owner: &Owner,
        task: TaskId,
        tell: impl FnOnce(&mut Waiting),
    ) -> Arc<Round> {
        let mut by_task = self.lock();
        if let Some(round) = by_task.get(&task) {
            let mut waiting = round.lock();
            waiting.calls += 1;
            tell(&mut waiting);
            drop(waiting);
            round.changed.notify_one();
            return Arc::clone(round);
        }
        let round = Arc::<Round>::default();
        tell(&mut round.lock());
        by_task.insert(task, Arc::clone(&round));
        tokio::spawn(follow(
            Arc::clone(server),
            owner.clone(),
            task,
            Arc::clone(&round),
        ));
        round
    }

    /// A client waits for the result of a task, which is `owner`'s.
    pub(crate) fn attach(
        &self,
        server: &Arc<Inner>,
        owner: &Owner,
        task: TaskId,
        waiter: Waiter,
    ) -> Attached {
        let round = self.call(server, owner, task);
        let outlet = waiter.outlet.clone();
        {
            let mut waiting = round.lock();
            waiting.known = true;
            waiting.results.push(waiter);
        }
        round.changed.notify_one();
        Attached { round, outlet }
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

    /// A client refused a question because it does not know the task yet, or gave an answer that does not
    /// fit: it is sent again, after a pause. `false` if that has happened too often.
    pub(crate) fn refused(
        &self,
        server: &Arc<Inner>,
        owner: &Owner,
        question: &QuestionId,
    ) -> bool {
        let again = pause_after(question.delivery).is_some();
        if again {
            self.ask_again(server, owner, question);
        }
        again
    }

    /// The answer to a question was not taken: it is sent again, after a pause.
    pub(crate) fn ask_again(&self, server: &Arc<Inner>, owner: &Owner, question: &QuestionId) {
        let round = self.call(server, owner, question.task);
        round
            .lock()
            .again
            .push((question.key.clone(), question.delivery));
        round.changed.notify_one();
    }

    /// An earlier process has sent a client a question which that has not answered. `false` if no task asks
    /// it, as far as this client may know.
    ///
    /// It is not sent again, and withdrawn once it is answered elsewhere.
    pub(crate) async fn was_asked(
        &self,
        server: &Arc<Inner>,
        principal: &Principal,
        session: &Arc<Session>,
        id: &RequestId,
    ) -> bool {
        let text = id.as_string();
        let Some(question) = text.and_then(|text| QuestionId::open(&server.sealer, &text)) else {
            return false;
        };
        let task = match server.handle.get(principal, question.task).await {
            Ok(task) => task,
            // An answer to a question that is sent twice is taken once.
            Err(error) => return error.is_retryable(),
        };
        let asked = Asked {
            key: question.key,
            delivery: question.delivery,
            id: id.clone(),
            session: Arc::clone(session),
        };
        self.call_with(server, &task.spec.owner, task.id(), |waiting| {
            waiting.known = true;
            waiting.asked.push(asked);
        });
        true
    }

    /// A client has answered a question: there is nothing to withdraw from it.
    pub(crate) fn answered(&self, question: &QuestionId) {
        if let Some(round) = self.lock().get(&question.task) {
            let answered = (question.key.clone(), question.delivery);
            round.lock().answered.push(answered);
        }
    }

    /// Whether the client was told to forget this delivery.
    pub(crate) fn is_withdrawn(&self, question: &QuestionId) -> bool {
        let round = self.lock().get(&question.task).cloned();
        let delivery = (question.key.clone(), question.delivery);
        round.is_some_and(|round| round.lock().withdrawn.contains(&delivery))
    }

    /// A session that waits for a task may not answer its questions, or not any more.
    pub(crate) fn may_not_answer(&self, task: TaskId, session: &Session) {
        if let Some(round) = self.lock().get(&task) {
            let mut waiting = round.lock();
            let results = waiting.results.iter_mut();
            for waiter in results.filter(|waiter| waiter.session.key == session.key) {
                waiter.may_answer = false;
            }
        }
    }

    /// A stream was opened: whatever waits for one is brought.
    pub(crate) async fn opened(&self, server: &Arc<Inner>, owner: &Owner) {
        while let Err(error) = self.look_for_tasks(server, owner).await {
            tracing::warn!(%error, "cannot look for open questions");
            tokio::time::sleep(AGAIN).await;
            if !error.is_retryable() || server.sessions.listening(owner).is_empty() {
                return;
            }
        }
    }

    async fn look_for_tasks(&self, server: &Arc<Inner>, owner: &Owner) -> outlast_core::Result<()> {
        let unfinished = Filter {
            phases: Phase::UNFINISHED.to_vec(),
            oldest_first: true,
            ..Filter::default()
        };
        let first = server.handle.list(owner, unfinished, None, AT_ONCE).await?;
        let from_sessions = first.tasks.iter();
        for task in from_sessions.filter(|task| task.spec.reply_to.is_some()) {
            self.call(server, owner, task.id());
        }
        let asking = Filter {
            standings: vec![Standing::InputRequired],
            ..Filter::default()
        };
        let mut cursor = None;
        loop {
            let filter = asking.clone();
            let page = server.handle.list(owner, filter, cursor, AT_ONCE).await?;
            for task in page.tasks {
                self.call(server, owner, task.id());
            }
            if page.next.is_none() {
                return Ok(());
            }
            cursor = page.next;
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

    fn follows(&self, task: TaskId) -> bool {
        self.lock().contains_key(&task)
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

/// How long a question waits whose delivery of this number was refused. `None` if that was the last.
pub(super) fn pause_after(delivery: u32) -> Option<Duration> {
    (delivery + 1 < TRIES).then(|| (FIRST_PAUSE * (1 << delivery)).min(LONGEST_PAUSE))
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

/// Calls couriers for tasks that nobody introduced, until the server ends.
///
/// A change is looked at after [`KNOWN_AFTER`], for by then the response that names a new task has been
/// sent: nothing must be said about the task before it.
pub(crate) async fn notice_tasks(server: Weak<Inner>, mut changes: Changes) {
    loop {
        let Some(stopping) = server.upgrade().map(|server| server.stopping.clone()) else {
            return;
        };
        let changed = tokio::select! {
            changed = changes.next() => changed,
            () = stopping.cancelled() => return,
        };
        tokio::time::sleep(KNOWN_AFTER).await;
        let Some(server) = server.upgrade() else {
            return;
        };
        let reachable = server.sessions.reachable();
        if reachable.is_empty() {
            // Whoever comes looks for what it has missed.
            continue;
        }
        for id in changed.tasks.into_keys() {
            if !server.couriers.follows(id) {
                notice(&server, id).await;
            }
        }
        if changed.missed {
            let owners: BTreeSet<&Owner> = reachable.iter().map(|one| &one.owner).collect();
            for owner in owners {
                server.couriers.opened(&server, owner).await;
            }
        }
    }
}

/// Calls a courier for a task if anybody here should hear of it.
async fn notice(server: &Arc<Inner>, id: TaskId) {
    let everybody = Principal::new(Owner::local()).with_scope(Some(Scope::Admin));
    // A record that cannot be read now is read when its task changes again, or its client asks.
    let Ok(task) = server.handle.get(&everybody, id).await else {
        return;
    };
    if !task.is_finished() && concerns(server, &task) {
        server.couriers.call(server, &task.spec.owner, id);
    }
}

fn concerns(server: &Inner, task: &Task) -> bool {
    let asks = task.open_inputs().next().is_some();
    let home = task.spec.reply_to.as_ref();
    let home = home.and_then(|to| server.sessions.by_key(&to.session));
    (asks && !server.sessions.listening(&task.spec.owner).is_empty())
        || home.is_some_and(|home| home.general().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_question_waits_longer_each_time_and_not_for_ever() {
        let pauses: Vec<_> = (0..).map_while(pause_after).collect();
        assert!(pauses.is_sorted() && pauses.len() + 1 == TRIES as usize);
        let all: Duration = pauses.iter().sum();
        assert!((15..30).contains(&all.as_secs()), "{all:?}");
    }
}
