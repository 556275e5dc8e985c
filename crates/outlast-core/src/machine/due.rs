//! What time does to a task: timers, deadlines, expired leases, the end of retention.
//!
//! One moment per record, [`Task::due_at`], says when something must be looked at again; one
//! function, [`Task::due`], does what is due. A store needs one index over that moment and nothing
//! else to keep every task moving.

use crate::clock::Timestamp;
use crate::event::{Event, EventKind, RescueReason};
use crate::input::Answer;
use crate::outcome::{Failure, FailureReason, Outcome};
use crate::status::Phase;
use crate::task::Task;
use crate::webhook::Taken;

/// What was due.
#[derive(Clone, PartialEq, Debug)]
pub enum Due {
    /// Nothing: the moment has not come.
    Nothing,
    /// Something changed; there may be more.
    Changed(Vec<Event>),
    /// Something is to be told to webhooks, and is handed out to the caller, or was given up; there may be
    /// more to do.
    Deliver(Vec<Taken>),
    /// The record is to be deleted, with everything that belongs to it.
    Delete,
}

/// Why a running task is taken from its worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rescue {
    /// What happened.
    pub reason: RescueReason,
    /// Whether this task alone can have caused it. Only then does a crash count against it.
    pub to_blame: bool,
}

impl Rescue {
    /// How each of the tasks is taken back that ran in a process which has died: one is to blame only if no
    /// other can be.
    pub fn after_death<'a>(
        reason: RescueReason,
        ran: impl IntoIterator<Item = &'a Task>,
    ) -> impl Fn(&Task) -> Self {
        let (mut able, mut suspects) = (0, 0);
        for task in ran.into_iter().filter(|task| task.may_crash()) {
            able += 1;
            suspects += usize::from(task.state.suspect);
        }
        move |task| Self {
            reason,
            to_blame: task.may_crash() && (able == 1 || (task.state.suspect && suspects == 1)),
        }
    }
}

impl Task {
    /// When this record must be looked at again. Every record has such a moment (I7).
    pub fn due_at(&self) -> Timestamp {
        let due = self.due_beside_webhooks();
        match self.next_delivery() {
            None => due,
            // It is kept until that is settled.
            Some(told) if self.waits_to_be_deleted() => told,
            Some(told) => told.min(due),
        }
    }

    fn due_beside_webhooks(&self) -> Timestamp {
        let state = &self.state;
        if let Some(expire_at) = state.expire_at.filter(|_| state.phase == Phase::Finished) {
            // As long as it holds keys it is not forgotten.
            return state.held_over.unwrap_or(expire_at);
        }
        let questions = self
            .open_inputs()
            .filter_map(|input| input.request.expires_at);
        let held = state.held.as_ref().map(|held| held.until);
        if self.is_finished() {
            return self.cleanup_due_at();
        }
        let cancel = state.cancel.as_ref().map(|cancel| cancel.deadline);
        let timer = state.awaiting.as_ref().and_then(|awaiting| awaiting.until);
        questions
            .chain(held)
            .chain(cancel)
            .chain(timer)
            .chain(state.run_at)
            .chain(self.start_by())
            .min()
            .map_or(self.oldest(), |next| next.min(self.oldest()))
    }

    /// When the whole task runs out of time. A task that was ordered for later has its time from then
    /// on.
    pub fn oldest(&self) -> Timestamp {
        let created = self.state.created_at;
        self.spec
            .run_at
            .map_or(created, |run_at| run_at.max(created))
            + self.spec.max_age
    }

    /// When it has stood ready for too long. A task that has ever started is past this limit: what it
    /// has done so far is not thrown away because the next entry must wait.
    fn start_by(&self) -> Option<Timestamp> {
        Some(self.state.ready_since? + self.spec.queue_timeout?)
    }

    /// Does what is due at `now`.
    pub fn due(&mut self, now: Timestamp) -> Due {
        if self.due_at() > now {
            return Due::Nothing;
        }
        if let Some(taken) = self.take_deliveries(now) {
            return Due::Deliver(taken);
        }
        if self.state.phase == Phase::Finished {
            return match self.state.held_over.take() {
                Some(_) => Due::Changed(Vec::new()),
                None => Due::Delete,
            };
        }
        if self.is_finished() {
            return self.cleanup_due(now);
        }
        if self.oldest() <= now {
            let message = format!(
                "the task reached its maximum age of {:?} before it ended",
                self.spec.max_age
            );
            let failure = Failure::internal(FailureReason::Expired, message);
            return Due::Changed(vec![self.take_over(Outcome::Failed(failure), now)]);
        }
        if self.start_by().is_some_and(|start_by| start_by <= now) {
            let message = format!(
                "the task was not started within {:?} of being ready: no worker was free for it, or a pause or a \
                 limit held it back",
                self.spec.queue_timeout.unwrap_or_default()
            );
            let failure = Failure::internal(FailureReason::QueueTimeout, message);
            return Due::Changed(vec![self.take_over(Outcome::Failed(failure), now)]);
        }
        if let Some(cancel) = self
            .state
            .cancel
            .as_ref()
            .filter(|cancel| cancel.deadline <= now)
        {
            let reason = cancel.reason.clone();
            return Due::Changed(vec![self.take_over(Outcome::Cancelled { reason }, now)]);
        }
        if self
            .state
            .held
            .as_ref()
            .is_some_and(|held| held.until <= now)
        {
            let rescue = Rescue {
                reason: RescueReason::LeaseExpired,
                to_blame: false,
            };
            return Due::Changed(vec![self.rescue(rescue, now)]);
        }
        let mut events = self.expire_questions(now);
        match self.state.phase {
            Phase::Scheduled if self.state.run_at.is_some_and(|run_at| run_at <= now) => {
                events.push(self.make_ready(now));
            }
            Phase::Suspended => events.extend(self.wake(now)),
            _ => {}
        }
        Due::Changed(events)
    }

    /// Ends a task of whose record no more is left than its call: what it has been through cannot be
    /// read. For stores whose records others can write to.
    pub fn give_up(&mut self, now: Timestamp) -> Event {
        let message = "the record of the task in the store could not be read any more";
        let failure = Failure::internal(FailureReason::Error, message);
        self.take_over(Outcome::Failed(failure), now)
    }

    /// Whether its tool has done nothing yet, because nobody has answered the question that stands before
    /// everything.
    fn is_unconfirmed(&self) -> bool {
        let is_answered = |key: &String| {
            let inputs = self.state.inputs.iter();
            inputs
                .into_iter()
                .any(|input| input.request.key == *key && !input.is_open())
        };
        self.spec
            .confirmed_by
            .as_ref()
            .is_some_and(|key| !is_answered(key))
    }

    fn expire_questions(&mut self, now: Timestamp) -> Vec<Event> {
        let mut keys = Vec::new();
        for input in &mut self.state.inputs {
            let expired = input
                .request
                .expires_at
                .is_some_and(|expires_at| expires_at <= now);
            if input.is_open() && expired {
                input.answer = Some(Answer::Expired);
                keys.push(input.request.key.clone());
            }
        }
        if keys.is_empty() {
            return Vec::new();
        }
        self.state.updated_at = now;
        vec![self.bump(now, EventKind::InputAnswered { keys })]
    }

    /// Whether it can have caused the death of the process that ran it. What runs in processes of its own
    /// cannot, and is allowed any number of them.
    fn may_crash(&self) -> bool {
        self.spec.max_crashes < u32::MAX
    }

    /// Takes a running task from a worker that is gone and makes it ready again; it keeps its place
    /// in the order. A crash that this task alone can have caused counts against it, and the last
    /// one allowed ends it; a task that may not be repeated ends at once. A cancelled task is not run again:
    /// it is cancelled, when nothing that it began is at work any more. Undos are taken back like any other
    /// work, and given up after as many crashes.
    ///
    /// # Panics
    /// If the task does not run.
    pub fn rescue(&mut self, rescue: Rescue, now: Timestamp) -> Event {
        assert_eq!(
            self.state.phase,
            Phase::Running,
            "only a running task can be rescued"
        );
        // Whoever held it is gone: nothing has to wait until its lease runs out.
        self.state.held = None;
        if let Some(cancel) = self.state.cancel.as_ref().filter(|_| !self.is_finished()) {
            if self.has_begun() {
                self.state.epoch += 1;
                self.wait_to_be_stopped();
                let reason = rescue.reason;
                return self.bump(now, EventKind::Rescued { reason });
            }
            let reason = cancel.reason.clone();
            return self.take_over(Outcome::Cancelled { reason }, now);
        }
        if rescue.reason == RescueReason::Crash && self.may_crash() {
            self.state.suspect |= self.state.shaken || rescue.to_blame;
            self.state.shaken = true;
            self.state.crashes += u32::from(rescue.to_blame);
            if self.state.crashes >= self.spec.max_crashes {
                if self.is_finished() {
                    self.state.epoch += 1;
                    return self.end_cleanup(now);
                }
                let message = format!(
                    "the server process died {} times in a row while it ran this task",
                    self.state.crashes
                );
                let failure = Failure::internal(FailureReason::Crashed, message);
                return self.take_over(Outcome::Failed(failure), now);
            }
        }
        if !self.spec.repeatable && !self.is_finished() && !self.is_unconfirmed() {
            let failure = Failure::interrupted(match rescue.reason {
                RescueReason::Crash => "the server process died",
                RescueReason::Reboot => "the machine was restarted",
                RescueReason::LeaseExpired => "its worker was cut off or too slow",
            });
            return self.take_over(Outcome::Failed(failure), now);
        }
        self.state.epoch += 1;
        self.requeue();
        self.bump(
            now,
            EventKind::Rescued {
                reason: rescue.reason,
            },
        )
    }
}
