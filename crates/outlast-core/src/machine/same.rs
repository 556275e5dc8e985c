//! Postpone: a task that has not started takes over the arguments of a later call.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::same::Then;
use crate::status::Phase;
use crate::task::{Task, TaskSpec};

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
}

impl Task {
    /// Whether [`Task::postpone`] would do anything.
    pub fn can_be_postponed(&self) -> bool {
        matches!(self.state.phase, Phase::Scheduled | Phase::Queued) && self.state.epoch == 0
    }

    /// Takes over what the call `newest` asked, and starts the delay again. `None` if the task has
    /// started before, or is not of a tool that debounces.
    pub fn postpone(&mut self, newest: &TaskSpec, now: Timestamp) -> Option<Event> {
        let Some(Then::Debounce { delay, at_most }) = newest.same.as_ref().map(|same| same.then)
        else {
            return None;
        };
        if !self.can_be_postponed() {
            return None;
        }
        let latest = at_most.map_or(Timestamp::MAX, |at_most| self.state.created_at + at_most);
        let at = newest.run_at.unwrap_or(now).max(now + delay).min(latest);
        let spec = Arc::make_mut(&mut self.spec);
        spec.arguments = newest.arguments.clone();
        spec.client.clone_from(&newest.client);
        spec.request_meta.clone_from(&newest.request_meta);
        spec.first_answers.clone_from(&newest.first_answers);
        if at > now {
            self.state.phase = Phase::Scheduled;
            self.state.run_at = Some(at);
        } else {
            self.requeue_unless_blocked();
        }
        self.state.updated_at = now;
        Some(self.bump(now, EventKind::Postponed { at }))
    }
}
