//! Same work: what a call means beside the task that its keys name, and how that task takes it in.
//!
//! The stores find the task; what the call then means is decided here, once for all of them.
//!
//! Decisions:
//! * A task that is being cancelled can only end cancelled, so no call joins it: the call is new work, and
//!   the keys mean its task from then on.
//! * A debounced call is taken over whole. The task keeps what it is known by, what it was told to come
//!   after and its place among equals; who may run beside it, its secrets, its priority and everything
//!   else are those of the newest call. Its quotas are not asked again: no task is added.
//! * What a task comes after is fixed when it is created ([`super::chain`]). So a call that comes after other
//!   tasks means the task that would take it in only if that one comes after them too; else it is refused, for
//!   it would run too early. One that comes after that very task has in it what it waits for.
//! * What was promised to a caller holds whatever task the call got: it can be read for as long as each
//!   asked, and while a key of any of them lasts; and everybody hears of it whom any of them named. A task
//!   that has as many receivers as there may be takes in no call that brings further ones.

use std::sync::Arc;

use super::chain::Dependency;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::same::Then;
use crate::status::Phase;
use crate::task::{Task, TaskSpec};
use crate::webhook::{MAX_RECEIVERS, Webhook};

/// What a call means.
#[derive(Clone, PartialEq, Debug)]
pub enum Meant {
    /// Something new.
    New,
    /// This task, which is to take it in: [`Task::join`].
    Task(Arc<Task>),
    /// Something new in the place of this task, which is to be cancelled.
    Replace(Arc<Task>),
}

/// What a store has noted under an idempotency key.
#[derive(Clone, PartialEq, Debug)]
pub struct Named {
    /// The task of the call that had it first.
    pub task: Arc<Task>,
    /// The end of its window.
    pub until: Timestamp,
    /// The digest of that call's arguments.
    pub digest: String,
}

impl Named {
    /// The task that `call`, which has this key, means; `None` once the window is over.
    ///
    /// # Errors
    /// [`Error::KeyReused`] if the call has other arguments.
    pub fn meant_by(self, call: &TaskSpec, now: Timestamp) -> Result<Option<Arc<Task>>, Error> {
        let Some(key) = call.idempotency.as_ref().filter(|_| self.until > now) else {
            return Ok(None);
        };
        if key.digest == self.digest {
            return Ok(Some(self.task));
        }
        let (key, task) = (key.key.clone(), self.task.id());
        Err(Error::KeyReused { key, task })
    }
}

impl TaskSpec {
    /// When the first attempt may start, as far as the call says, if it is created at `now`.
    pub(super) fn first_start(&self, now: Timestamp) -> Option<Timestamp> {
        let debounced = match &self.same {
            Some(same) => match same.then {
                Then::Debounce { delay, .. } => Some(now + delay),
                Then::Join | Then::Replace => None,
            },
            None => None,
        };
        self.run_at.max(debounced)
    }

    /// What the call means if `there` is the last task of the same work ([`TaskSpec::same`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the call comes after a task, other than `there` itself, that `there`, which would
    /// take it in, does not come after in the same way.
    pub fn meant(&self, there: Arc<Task>) -> Result<Meant, Error> {
        let Some(same) = self.same.as_ref().filter(|_| !there.is_finished()) else {
            return Ok(Meant::New);
        };
        let takes_it_in = match same.then {
            Then::Replace => return Ok(Meant::Replace(there)),
            Then::Join => there.state.cancel.is_none(),
            Then::Debounce { .. } => there.has_not_started(),
        };
        let receivers = there.spec.webhooks.len() + there.unknown_receivers(self).count();
        if !takes_it_in || receivers > MAX_RECEIVERS {
            return Ok(Meant::New);
        }
        let waited_for =
            |edge: &Dependency| edge.task == there.id() || there.spec.after.contains(edge);
        if let Some(edge) = self.after.iter().find(|edge| !waited_for(edge)) {
            return Err(Error::Invalid(format!(
                "the call is the same work as task {}, which does not come after task {} as the call says: \
                 leave that out, or call again when task {0} has ended",
                there.id(),
                edge.task
            )));
        }
        Ok(Meant::Task(there))
    }
}

impl Task {
    /// The key of the same work that means this task from `call` on, which has made it or was joined to it.
    ///
    /// None if it has ended, perhaps with its creation: nobody joins it, and a task of the same work that
    /// still runs keeps the key.
    pub fn takes_key<'c>(&self, call: &'c TaskSpec) -> Option<&'c str> {
        let same = call.same.as_ref().filter(|_| !self.is_finished());
        same.map(|same| same.key.as_str())
    }

    /// Whether nobody has ever claimed it.
    fn has_not_started(&self) -> bool {
        let waits = matches!(
            self.state.phase,
            Phase::Scheduled | Phase::Queued | Phase::Blocked
        );
        waits && self.state.epoch == 0
    }

    /// The receivers of `call` that this task does not have. Those of the server are known by their names.
    fn unknown_receivers<'c>(&self, call: &'c TaskSpec) -> impl Iterator<Item = &'c Webhook> {
        let known = |hook: &Webhook| self.spec.webhooks.iter().any(|own| own.to == hook.to);
        call.webhooks.iter().filter(move |hook| !known(hook))
    }

    /// Takes in a call that means this task ([`Meant::Task`]). It is kept as long as was asked there, whom
    /// the call named is told too, and if it has not started and the call is of a tool that debounces, the
    /// call takes the place of the earlier ones and the delay starts again.
    pub fn join(&mut self, call: &TaskSpec, now: Timestamp) -> Option<Event> {
        // Deliveries name receivers by their place, so those that are there stay where they are.
        let further: Vec<_> = self.unknown_receivers(call).cloned().collect();
        if !further.is_empty() {
            Arc::make_mut(&mut self.spec).webhooks.extend(further);
        }
        let event = self.postpone(call, now);
        let window = call.idempotency.as_ref().map(|key| key.window);
        let age = now.since(self.state.created_at);
        let asked = call.ttl.max(window).map(|asked| age.saturating_add(asked));
        if asked > self.spec.ttl {
            Arc::make_mut(&mut self.spec).ttl = asked;
        }
        event
    }

    fn postpone(&mut self, newest: &TaskSpec, now: Timestamp) -> Option<Event> {
        let Some(Then::Debounce { delay, at_most }) = newest.same.as_ref().map(|same| same.then)
        else {
            return None;
        };
        if !self.has_not_started() {
            return None;
        }
        let latest = at_most.map_or(Timestamp::MAX, |at_most| self.state.created_at + at_most);
        // The bound is on being put off, and not on what a caller asks for.
        let put_off = (now + delay).min(latest);
        let at = newest.run_at.map_or(put_off, |asked| asked.max(put_off));
        let first = &self.spec;
        self.spec = Arc::new(TaskSpec {
            id: first.id,
            idempotency: first.idempotency.clone(),
            after: first.after.clone(),
            parent: first.parent,
            retry_of: first.retry_of,
            sealed_for: newest.sealed.is_some().then_some(newest.id),
            ttl: first.ttl,
            retention: first.retention.max(newest.retention),
            webhooks: first.webhooks.clone(),
            ..newest.clone()
        });
        if at > now {
            self.state.phase = Phase::Scheduled;
            self.state.run_at = Some(at);
            // It does not stand ready any more.
            self.state.ready_since = None;
        } else {
            self.requeue_unless_blocked();
        }
        self.state.updated_at = now;
        Some(self.bump(now, EventKind::Postponed { at }))
    }
}
